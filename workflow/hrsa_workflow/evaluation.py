"""One model through one group of benchmark tasks, keeping results that are still right.

A task's files lie together: `mteb`'s own results, the items, and a record with the row of the table
and the key of what it was made from. A result whose key is the wanted one is kept, so that a new
task, or one that failed, costs only itself; so is what a job finished before it was killed.
"""

import json
import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from hrsa.errors import UserError
from hrsa_workflow.benchmark_groups import LOCAL, NO_SUITE, entry_tasks
from hrsa_workflow.model_identity import model_part
from hrsa_workflow.status import Failure, subject_failure, write_status
from hrsa_workflow.tables import BENCHMARKS, typed

RECORD = ".record.json"
LIBRARIES = ("mteb", "sentence-transformers", "transformers", "torch", "scikit-learn")


def evaluate_group(
    *,
    instance: str,
    record: str | None,
    group: Mapping[str, Any],
    corpus: Sequence[str],
    prompts: str | None,
    results: Path,
    table: Path,
    status: Path,
    labels: Mapping[str, Any],
    settings: Mapping[str, Any],
    data: Mapping[str, Any],
    attempt: int,
    code: str,
) -> None:
    """Run what is new of a group's tasks, and write the table of all.

    Parameters
    ----------
    instance
        Name of the model, for messages.
    record
        The model's record.json; None for BM25.
    group
        Of `hrsa_workflow.benchmark_groups.TaskGroup`.
    corpus
        Files of generated tasks; may be empty.
    prompts
        File with what is put before queries.
    results
        Folder for the tasks' files. What earlier jobs finished lies in a folder beside it.
    table, status
        Files to write.
    labels
        Columns that name the model.
    settings
        seeds, batch_size, max_length, dtype, device, query_template, mteb (its version).
    data
        What decides the data of each generated task.
    attempt
        Which attempt of the job it is.
    code
        Version of the code.
    """
    from hrsa.benchmarks.task_runs import BENCHMARK_COLUMNS, failed_row

    folder = Path(corpus[0]).parent if corpus else None
    model = None if record is None else Path(record)
    reader = _once(lambda: _reader(model, settings, prompts, share=group["suite"] == LOCAL))
    common = _common_key(model, settings, code)
    kept = KeptResults(results)
    failures: list[Failure] = []
    rows = []
    for task in _tasks(group, folder, is_lexical=model is None):
        key = common | _task_key(task, settings, data.get(task.name), prompts if model else None)
        row = kept.row(task.name, key)
        if row is None:
            with subject_failure(failures, f"{task.name} of {instance}"):
                row = _run(reader, task, key, kept, settings)
        rows.append(row or failed_row(task))
    frame = pd.DataFrame(rows, columns=BENCHMARK_COLUMNS).assign(**labels)
    typed([frame], BENCHMARKS).to_parquet(table, index=False)
    kept.finish()
    write_status(status, failures, attempt=attempt)


class KeptResults:
    """Files of finished tasks, which outlive the job, however it ends.

    Parameters
    ----------
    results
        Folder of the job's results, which Snakemake removes before the job. What is in it is kept
        in a folder beside it, under the same names and in the same place on the disk.
    """

    def __init__(self, results: Path) -> None:
        self.results = results
        self.folder = results.with_name(f"{results.name}.kept")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._used: list[str] = []

    def row(self, task: str, key: Mapping[str, Any]) -> dict[str, Any] | None:
        """The row of a finished task with this key; None where there is none."""
        record = _read_record(self.folder / f"{task}{RECORD}")
        if record is None or record["key"] != key:
            return None
        names = [*record["files"], f"{task}{RECORD}"]
        if not all((self.folder / name).exists() for name in names):
            return None
        self._used += names
        print(f"kept {task}: it was run on the same model, data and code")
        return dict(record["row"])

    def add(self, task: str, record: Mapping[str, Any], files: Path) -> None:
        """Take in the files of a task that was run, its record last: what has one is whole."""
        (self.folder / f"{task}{RECORD}").unlink(missing_ok=True)
        names = sorted(file.name for file in files.iterdir())
        for name in names:
            (files / name).replace(self.folder / name)
        content = json.dumps({**record, "files": names}, indent=1, ensure_ascii=False) + "\n"
        part = files / "record"
        part.write_text(content, encoding="utf-8")
        part.replace(self.folder / f"{task}{RECORD}")
        self._used += [*names, f"{task}{RECORD}"]

    def finish(self) -> None:
        """Fill the results, and forget the files of tasks that are no longer asked for."""
        self.results.mkdir(parents=True, exist_ok=True)
        for name in self._used:
            _link(self.folder / name, self.results / name)
        for file in self.folder.iterdir():
            if file.is_dir():  # of a job that was killed while it ran a task
                shutil.rmtree(file)
            elif file.name not in self._used:
                file.unlink()


def _link(file: Path, other: Path) -> None:
    """Give a file a second name, or a copy where the disk has no such names."""
    other.unlink(missing_ok=True)
    try:
        os.link(file, other)
    except OSError:
        shutil.copy2(file, other)


def _once(load: Callable[[], Any]) -> Callable[[], Any]:
    """Load when first asked, and never again: what cannot be loaded fails in the same way."""
    loaded: list[Any] = []
    refused: list[UserError] = []

    def get() -> Any:
        if not loaded and not refused:
            try:
                loaded.append(load())
            except UserError as error:
                refused.append(error)
        if refused:
            raise refused[0]
        return loaded[0]

    return get


def _run(
    reader: Callable[[], Any],
    task: Any,
    key: Mapping[str, Any],
    kept: KeptResults,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Run a task into a folder of its own, and keep what it left."""
    from hrsa.benchmarks.task_runs import run_task

    # On the same disk, so that files are moved and never copied; after a kill, `finish` removes it.
    with TemporaryDirectory(dir=kept.folder) as place:
        row = run_task(
            reader(),
            task,
            output=Path(place),
            seeds=settings["seeds"],
            batch_size=settings["batch_size"],
        )
        row = _plain(row)
        used = getattr(reader(), "used", {})
        prompts = {name: text for name, text in used.items() if name.split("/")[0] == task.name}
        record = {"key": key, "row": row, "prompts": prompts, "libraries": _libraries()}
        kept.add(task.name, record, Path(place))
    return row


def _tasks(group: Mapping[str, Any], folder: Path | None, *, is_lexical: bool) -> list[Any]:
    """The tasks of a group that the model takes part in."""
    from hrsa.benchmarks.evaluate import LEXICAL_TYPES
    from hrsa.benchmarks.task_runs import generated_task, suite_task

    if folder is not None:
        tasks = [generated_task(name, folder) for name in group["tasks"]]
    else:
        suite = None if group["suite"] == NO_SUITE else group["suite"]
        asked = entry_tasks(suite, group["tasks"], group["languages"])
        tasks = [suite_task(group["suite"], task) for task in asked]
    tasks = [
        task
        for task in tasks
        if task.name not in group["without"] and (not is_lexical or task.type in LEXICAL_TYPES)
    ]
    return [min(tasks, key=_size)] if group["smallest"] and tasks else tasks


def _size(task: Any) -> float:
    """Characters of a task of a suite; one whose size is not known is not the smallest."""
    from hrsa.benchmarks.suites import task_size

    size = task_size(task.task)
    return math.inf if size is None else size


def _reader(
    record: Path | None, settings: Mapping[str, Any], prompts: str | None, *, share: bool
) -> Any:
    from hrsa.benchmarks.evaluate import load_reader
    from hrsa.benchmarks.task_prompts import load_prompts

    if record is None:
        return load_reader("bm25")
    return load_reader(
        record.parent,
        device=settings["device"],
        dtype=settings["dtype"],
        max_length=settings["max_length"],
        prompts=load_prompts(prompts) if prompts else None,
        template=settings["query_template"],
        # Of a suite's tasks few share texts, and the embeddings of all would not fit the memory.
        share=share,
    )


def _common_key(record: Path | None, settings: Mapping[str, Any], code: str) -> dict[str, Any]:
    """What the results of all tasks depend on; `device` is left out, as with activations."""
    names = ("max_length", "batch_size", "dtype")
    return {
        "model": model_part(json.loads(record.read_text(encoding="utf-8")), record.parent, None)
        if record
        else None,
        "settings": {name: settings[name] for name in names} if record else None,
        "mteb": settings["mteb"],
        "code": code,
    }


def _task_key(
    task: Any, settings: Mapping[str, Any], data: Any, prompts: str | None
) -> dict[str, Any]:
    """What the result of one task depends on."""
    metadata = task.task.metadata
    return _plain(
        {
            "suite": task.suite,
            "revision": metadata.dataset.get("revision"),
            "splits": list(task.task.eval_splits),
            "subsets": sorted(task.task.hf_subsets),
            "seeds": task.seeds(settings["seeds"]),
            "data": data,
            "prompts": _prompts_of(task.name, prompts, settings["query_template"]),
        }
    )


def _prompts_of(task: str, prompts: str | None, template: str | None) -> Any:
    if prompts is None:
        return None
    entries = _prompt_entries(prompts)
    own = {name: entry for name, entry in entries.items() if name.split("/")[0] == task}
    return [template, own] if own else None


@cache
def _prompt_entries(prompts: str) -> dict[str, Any]:
    from hrsa.benchmarks.task_prompts import load_prompts

    return load_prompts(prompts).entries


def _libraries() -> dict[str, str]:
    return {name: version(name) for name in LIBRARIES}


def _read_record(path: Path) -> dict[str, Any] | None:
    """The record; None where there is none, or one that was cut short."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return None


def _plain(value: Any) -> Any:
    """Values as JSON gives them back: no numpy's numbers, no tuples, and null for NaN."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and math.isnan(value) else value

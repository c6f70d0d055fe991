"""One model through one group of benchmark tasks, keeping results that are still right.

A task's files lie together: `mteb`'s own results, the items, and a record with the row of the table
and the key of what it was made from. A result whose key is the wanted one is kept, so that a new
task, or one that failed, costs only itself; so is what a job finished before it was killed.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from hrsa.errors import UserError
from hrsa_workflow.benchmark_groups import LOCAL, NO_SUITE, entry_tasks
from hrsa_workflow.kept_results import KeptResults
from hrsa_workflow.result_keys import common_key, libraries, task_key
from hrsa_workflow.status import Failure, subject_failure, write_status
from hrsa_workflow.tables import BENCHMARKS, typed
from hrsa_workflow.task_results import load, run


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
    result_code: str,
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
        Folder for the tasks' files. What earlier jobs finished of the suite lies beside it.
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
    result_code
        Version of the code that makes a task's result (`hrsa_workflow.task_results`).
    """
    from hrsa.benchmarks.task_runs import BENCHMARK_COLUMNS, failed_row

    folder = Path(corpus[0]).parent if corpus else None
    model = None if record is None else Path(record)
    # Of a suite's tasks few share texts, and the embeddings of all would not fit the memory.
    reader = _once(lambda: load(model, settings, prompts, share=group["suite"] == LOCAL))
    common = common_key(model, settings, result_code)
    kept = KeptResults(results, results.with_name(f"{group['stem']}.kept"))
    failures: list[Failure] = []
    rows = []
    for task in _tasks(group, folder, is_lexical=model is None):
        key = common | task_key(task, settings, data.get(task.name), prompts if model else None)
        row = kept.find(task.name, key)
        if row is None:
            with subject_failure(failures, f"{task.name} of {instance}"):
                row = _run(reader, task, key, kept, settings)
        rows.append(row or failed_row(task))
    frame = pd.DataFrame(rows, columns=BENCHMARK_COLUMNS).assign(**labels)
    typed([frame], BENCHMARKS).to_parquet(table, index=False)
    write_status(status, failures, attempt=attempt)


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
    """Run a task, and keep what it left."""
    with kept.room() as files:
        row, prompts = run(reader(), task, output=files, settings=settings)
        used = {"mteb": version("mteb"), **libraries(is_lexical=key["model"] is None)}
        record = {"key": key, "row": row, "prompts": prompts, "libraries": used}
        kept.add(task.name, record, files)
    return row


def _tasks(group: Mapping[str, Any], folder: Path | None, *, is_lexical: bool) -> list[Any]:
    """The tasks of a group that the model takes part in; the smallest is that for all models."""
    from hrsa.benchmarks.evaluate import takes_part
    from hrsa.benchmarks.task_runs import generated_task, suite_task

    if folder is not None:
        tasks = [generated_task(name, folder) for name in group["tasks"]]
    else:
        suite = None if group["suite"] == NO_SUITE else group["suite"]
        asked = entry_tasks(suite, group["tasks"], group["languages"])
        tasks = [suite_task(group["suite"], task) for task in asked]
    tasks = [task for task in tasks if task.name not in group["without"]]
    if group["smallest"] and tasks:
        tasks = [min(tasks, key=_size)]
    return [task for task in tasks if takes_part(task.type, lexical=is_lexical)]


def _size(task: Any) -> float:
    """Characters of a task of a suite; one whose size is not known is not the smallest."""
    from hrsa.benchmarks.suites import task_size

    size = task_size(task.task)
    return math.inf if size is None else size

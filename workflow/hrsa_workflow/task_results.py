"""How the result of one benchmark task on one model is made.

A result is kept as long as it would be made by the same code, which is this module with all that it
imports (`result_code` of the rule `evaluate`). What only divides tasks into jobs, keeps results or
writes tables is elsewhere, so that a change there costs no model another run.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def load(
    record: Path | None, settings: Mapping[str, Any], prompts: str | None, *, share: bool
) -> Any:
    """Load what reads texts: a model, by its record.json, or BM25 (None).

    Parameters
    ----------
    record
        Beside the model's files.
    settings
        device, dtype, max_length, query_template.
    prompts
        File with what is put before queries.
    share
        Whether a text is embedded once for all tasks (`hrsa.benchmarks.evaluate.load_reader`).
    """
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
        share=share,
    )


def run(
    reader: Any, task: Any, *, output: Path, settings: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Run a task; its files go to `output`.

    Parameters
    ----------
    reader
        From `load`.
    task : `hrsa.benchmarks.task_runs.BenchmarkTask`
    output
        Folder.
    settings
        seeds, batch_size.

    Returns
    -------
    row : dict
        Of the table, in plain values.
    prompts : dict
        What was put before texts, by "task/subset/role".
    """
    from hrsa.benchmarks.task_runs import run_task

    row = run_task(
        reader,
        task,
        output=output,
        seeds=settings["seeds"],
        batch_size=settings["batch_size"],
    )
    names = prompted_names(task)
    used = getattr(reader, "used", {})
    return plain(row), {name: text for name, text in used.items() if name.split("/")[0] in names}


def prompted_names(task: Any) -> list[str]:
    """Names by which prompts of a task are looked up: of an aggregate task, those of its parts."""
    from hrsa.benchmarks.task_runs import part_names

    return part_names(task)


def plain(value: Any) -> Any:
    """Values as JSON gives them back: no numpy's numbers, no tuples, and null for NaN."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and math.isnan(value) else value

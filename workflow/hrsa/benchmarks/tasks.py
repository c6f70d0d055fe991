"""The study's own benchmark tasks by name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hrsa.benchmarks.bitext_task import WordLanguageBitext
from hrsa.benchmarks.local_task import SUITE, LocalTask
from hrsa.benchmarks.pair_tasks import ParaphrasePairs, TextSimilarity
from hrsa.benchmarks.retrieval_tasks import SolutionRetrieval, TopicRetrieval
from hrsa.benchmarks.topic_tasks import TopicClassification, TopicClustering
from hrsa.errors import UserError, did_you_mean

__all__ = ["LOCAL_TASKS", "SUITE", "TopicClassification", "TopicRetrieval", "local_tasks"]

LOCAL_TASKS: dict[str, type[LocalTask]] = {
    task.__name__: task
    for task in (
        TopicClassification,
        TopicClustering,
        TopicRetrieval,
        SolutionRetrieval,
        TextSimilarity,
        ParaphrasePairs,
        WordLanguageBitext,
    )
}


def local_tasks(names: Iterable[str], corpus: Path, *, seed: int = 42) -> list[Any]:
    """Make the study's own tasks by name.

    Parameters
    ----------
    names
        Keys of `LOCAL_TASKS`.
    corpus
        Folder with the Parquet files.
    seed
        Decides which texts a classification or clustering task draws.

    Returns
    -------
    list of `LocalTask`, each also an `mteb` task
        Data are read when a task is run.

    Raises
    ------
    UserError
        There is no task of that name.
    """
    return [_task_class(name)(corpus, seed=seed) for name in names]


def _task_class(name: str) -> type[LocalTask]:
    if name not in LOCAL_TASKS:
        raise UserError(
            f"There is no benchmark task {name!r} (`benchmarks: tasks:`)."
            f"{did_you_mean(name, LOCAL_TASKS)} "
            f"Known tasks are {', '.join(sorted(LOCAL_TASKS))}."
        )
    return LOCAL_TASKS[name]

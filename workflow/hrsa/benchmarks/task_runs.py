"""One benchmark task on one model: its runs, one for each seed, its score, its items.

A task is the study's own (`hrsa.benchmarks.local_task`) or one that `mteb` knows. Both are scored
by `mteb` alone; of the latter the items are made from what the model predicted. Some of `mteb`'s
tasks are means of others, their parts: each part is run as a task of its own, since `mteb` would
run all with one seed, whatever seed is asked for.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import mteb
import numpy as np
import pandas as pd
from mteb.abstasks.classification import AbsTaskClassification
from mteb.abstasks.clustering import AbsTaskClustering
from mteb.abstasks.clustering_legacy import AbsTaskClusteringLegacy
from mteb.abstasks.multilabel_classification import AbsTaskMultilabelClassification
from mteb.abstasks.regression import AbsTaskRegression

from hrsa.benchmarks.aggregate_items import joined_items
from hrsa.benchmarks.intervals import score_interval
from hrsa.benchmarks.item_contents import by_content, with_contents
from hrsa.benchmarks.items import count_items
from hrsa.benchmarks.local_task import SUITE, LocalTask
from hrsa.benchmarks.machine_faults import raise_fault
from hrsa.benchmarks.task_items import Predictions, predicted_items
from hrsa.benchmarks.tasks import local_tasks
from hrsa.errors import UserError

__all__ = [
    *("BENCHMARK_COLUMNS", "BenchmarkTask", "failed_row", "generated_task"),
    *("part_names", "run_task", "suite_task"),
]

BENCHMARK_COLUMNS = [
    *("suite", "task", "type", "metric"),
    *("value", "ci_low", "ci_high", "chance", "n_items", "evaluation_seeds", "note"),
]
# Tasks whose scores depend on the seed: what they train on, cluster or leave out is drawn.
DRAWING = (
    AbsTaskClassification,
    AbsTaskClustering,
    AbsTaskClusteringLegacy,
    AbsTaskMultilabelClassification,
    AbsTaskRegression,
)
FAILED = "failed; the report's list of what is missing says why"
ITEM_WORDS = {
    "Retrieval": "query",
    "Reranking": "query",
    "Classification": "text",
    "BitextMining": "sentence",
    "Clustering": "text",
    "STS": "pair",
    "PairClassification": "pair",
}


@dataclass(frozen=True)
class BenchmarkTask:
    """A task of a suite.

    Attributes
    ----------
    suite : str
        "local" for the study's own tasks, else `mteb`'s name of the suite.
    task : `mteb` task
        What is told of it without running it; it is left as it is.
    make : callable
        Gives the task anew for a seed.
    """

    suite: str
    task: Any
    make: Callable[[int], Any]

    @property
    def name(self) -> str:
        """The task's name in `mteb`."""
        return str(self.task.metadata.name)

    @property
    def type(self) -> str:
        """The task's type in `mteb`."""
        return str(self.task.metadata.type)

    @cached_property
    def parts(self) -> list[BenchmarkTask]:
        """The tasks that it is the mean of; none where it is a task of its own."""
        tasks = self.task.metadata.tasks if self.task.is_aggregate else []
        return [suite_task(self.suite, task) for task in tasks]

    @property
    def draws_samples(self) -> bool:
        """Whether the seed decides anything."""
        if self.parts:
            return any(part.draws_samples for part in self.parts)
        return bool(getattr(self.task, "draws_samples", isinstance(self.task, DRAWING)))

    def seeds(self, seeds: Sequence[int]) -> list[int]:
        """The seeds that it is run with: of a task that draws nothing, the first."""
        return list(seeds if self.draws_samples else seeds[:1])


def generated_task(name: str, corpus: Path) -> BenchmarkTask:
    """One of the study's own tasks (`hrsa.benchmarks.tasks.LOCAL_TASKS`).

    Raises
    ------
    UserError
        There is no task of that name.
    """

    def make(seed: int) -> Any:
        return local_tasks([name], corpus, seed=seed)[0]

    return BenchmarkTask(SUITE, make(0), make)


def suite_task(suite: str, task: Any) -> BenchmarkTask:
    """A task of `mteb`, its subsets and splits as they are (`hrsa.benchmarks.suites`)."""

    def make(seed: int) -> Any:
        made = copy.deepcopy(task)
        anew = type(task)(seed=seed)
        made.seed, made.rng_state, made.np_rng = anew.seed, anew.rng_state, anew.np_rng
        return made

    return BenchmarkTask(suite, task, make)


def part_names(task: BenchmarkTask) -> list[str]:
    """Names of a task and of its parts: what `mteb` calls a task where it asks a model for texts.

    Parameters
    ----------
    task : BenchmarkTask

    Returns
    -------
    list of str
        Its own name, and for a mean of tasks those of its parts.
    """
    return [task.name, *(name for part in task.parts for name in part_names(part))]


def run_task(
    reader: Any, task: BenchmarkTask, *, output: Path, seeds: Sequence[int], batch_size: int
) -> dict[str, Any]:
    """Run a task once for each seed, and keep what its score is computed from.

    Parameters
    ----------
    reader : `mteb` encoder or search model
    task : BenchmarkTask
    output
        Folder for `mteb`'s results (``<task>.json``, or ``<task>.seed<seed>.json`` for several
        seeds) and the items (``<task>.items.parquet``; none where `mteb` tells too little).
    seeds
        Of what the task draws; scores are averaged over them. Only the first counts for a task
        that draws nothing.
    batch_size
        Texts per forward pass.

    Returns
    -------
    dict
        The keys are `BENCHMARK_COLUMNS`.

    Raises
    ------
    UserError
        The task's data cannot be had, it cannot be run on this model, or its score is undefined.
    """
    used = task.seeds(seeds)
    runs: dict[int, _Run] = {}
    for seed in used:
        runs[seed] = _run(reader, task, seed, batch_size)
        suffix = f".seed{seed}" if len(used) > 1 else ""
        runs[seed].result.to_disk(output / f"{task.name}{suffix}.json")
    return _row(task, runs, output)


def failed_row(task: BenchmarkTask) -> dict[str, Any]:
    """The row of a task that has no score; the keys are `BENCHMARK_COLUMNS`.

    It says that the task failed, not why: messages of other libraries hold addresses and times, and
    two runs shall have the same tables.
    """
    labels = {"suite": task.suite, "task": task.name, "type": task.type}
    labels["metric"] = task.task.metadata.main_score
    return dict.fromkeys(BENCHMARK_COLUMNS) | labels | {"note": FAILED}


@dataclass(frozen=True, eq=False)
class _Run:
    """What one run of a task left; `note` says why there are no items."""

    result: Any
    items: pd.DataFrame | None
    note: str
    chance: float
    experiments: list[float]  # scores, where the task draws several times with one seed
    drawn: str = "samples"


def _run(reader: Any, task: BenchmarkTask, seed: int, batch_size: int) -> _Run:
    if task.parts:
        return _run_parts(reader, task, seed, batch_size)
    made = task.make(seed)
    _load_data(made)
    if isinstance(made, LocalTask):
        result = _evaluate(reader, made, batch_size)
        experiments = _experiments(made, result)
        return _Run(result, made.items(), "", made.chance(), experiments, made.drawn)
    predictions = Predictions(made)
    result = _evaluate(reader, made, batch_size)
    items, note = predicted_items(made, predictions, result)
    if items is not None and task.draws_samples:
        items = with_contents(made, items)
    made.unload_data()
    return _Run(result, items, note, math.nan, _experiments(made, result))


def _run_parts(reader: Any, task: BenchmarkTask, seed: int, batch_size: int) -> _Run:
    """Run each part as a task of its own, and put them together as the task itself does."""
    runs: dict[str, _Run] = {}
    for part in task.parts:
        try:
            runs[part.name] = _run(reader, part, seed, batch_size)
        except UserError as error:
            raise UserError(f"its part {part.name}: {error}") from error
    made = task.make(seed)
    result = made.combine_task_results([run.result for run in runs.values()])
    parts = {name: (run.items, run.note) for name, run in runs.items()}
    return _Run(result, *joined_items(made, parts, result), math.nan, [])


def _load_data(task: Any) -> None:
    """Load a task's data beforehand: `mteb` forgets the data, ids and all, that it loaded itself.

    Data come from outside, so that anything may be wrong with them: no network, a repository that
    is gone or closed, another layout than `mteb` knows.
    """
    try:
        task.load_data()
    except Exception as error:
        raise_fault(error)
        if _is_said(task, error):
            raise
        raise UserError(
            f"its data cannot be had ({_in_short(error)}). Without a network, run it once where "
            "there is one, so that the data lie in the cache, or leave the task out of `benchmarks`"
        ) from error


def _evaluate(reader: Any, task: Any, batch_size: int) -> Any:
    try:
        results = mteb.evaluate(
            reader,
            task,
            cache=None,  # the default writes to the home directory
            co2_tracker=False,
            encode_kwargs={"batch_size": batch_size, "show_progress_bar": False},
            show_progress_bar=False,
            # `mteb` hands predictions over where it is given a folder, to which nothing is written
            prediction_folder=None if isinstance(task, LocalTask) else Path("nowhere"),
        )
    except Exception as error:
        raise_fault(error)
        if _is_said(task, error):
            raise
        raise UserError(f"mteb could not run it ({_in_short(error)})") from error
    result = results.task_results[0]
    if not math.isfinite(result.get_score()):
        raise UserError(
            f"mteb's score of it, {task.metadata.main_score}, is undefined for this model, as it "
            "is where the embeddings of all texts are equal, or are not finite. Look whether the "
            "model's weights are sound, or leave the model or the task out of `benchmarks`"
        )
    return result


def _is_said(task: Any, error: Exception) -> bool:
    """Whether an error already says what is wrong: it is for people, or of our own task."""
    return isinstance(error, UserError) or isinstance(task, LocalTask)


def _in_short(error: Exception) -> str:
    first = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _row(task: BenchmarkTask, runs: dict[int, _Run], output: Path) -> dict[str, Any]:
    first = next(iter(runs.values()))
    row: dict[str, Any] = {"ci_low": None, "ci_high": None, "n_items": None}
    notes = list(dict.fromkeys(run.note for run in runs.values()))
    if all(run.items is not None for run in runs.values()):
        items = _kept_items(task, runs)
        items.to_parquet(output / f"{task.name}.items.parquet", index=False)
        word = getattr(task.task, "item", ITEM_WORDS.get(task.type, "item"))
        metric = task.task.metadata.main_score
        low, high, note = score_interval(task.type, items, item=word, metric=metric)
        row = {"ci_low": low, "ci_high": high, "n_items": count_items(items)}
        notes.append(note)
    notes += _draws(runs)
    return row | {
        "suite": task.suite,
        "task": task.name,
        "type": task.type,
        "metric": task.task.metadata.main_score,
        "value": float(np.mean([run.result.get_score() for run in runs.values()])),
        "chance": first.chance,
        "evaluation_seeds": " ".join(map(str, runs)) if task.draws_samples else "",
        "note": "; ".join(note for note in notes if note),
    }


def _kept_items(task: BenchmarkTask, runs: dict[int, _Run]) -> pd.DataFrame:
    """Items of all runs; where a task draws samples, with the seed that drew them."""
    parts = [
        run.items.assign(**({"seed": seed} if task.draws_samples else {}))
        for seed, run in runs.items()
        if run.items is not None
    ]
    return by_content(pd.concat(parts, ignore_index=True))


def _draws(runs: dict[int, _Run]) -> list[str]:
    """Say how far `mteb`'s experiments, each with other texts, lie apart."""
    values = [value for run in runs.values() for value in run.experiments]
    if not values:
        return []
    drawn = next(iter(runs.values())).drawn
    spread = f"{min(values):.3f} to {max(values):.3f}, standard deviation {np.std(values):.3f}"
    return [f"mean of {len(values)} draws of {drawn} ({spread})"]


def _experiments(task: Any, result: Any) -> list[float]:
    """Scores of a run's draws, where the task has one split and one subset."""
    parts = [scores for split in result.scores.values() for scores in split]
    if len(parts) != 1:
        return []
    levels = parts[0].get("v_measures", {})
    experiments = parts[0].get("scores_per_experiment", [])
    drawn = levels.values() if isinstance(levels, dict) else [levels]
    return [value for level in drawn for value in level] + [
        experiment[task.metadata.main_score] for experiment in experiments
    ]

"""The scores of two models side by side: differences by couple of runs, suite and task.

Whether a model is above chance on a task is asked of its mean score over training seeds, whose
interval comes from the items of all its runs: the same items are drawn for all of them, so that the
interval holds the runs fixed, as that of a single run does, and becomes the narrower the less the
runs err on the same items. (The mean of the runs' intervals would take them to err on the same
items all the time, and hide a model that is above chance.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hrsa.benchmarks.chance import is_at_chance, left_out
from hrsa.benchmarks.intervals import score_interval
from hrsa.benchmarks.items import STRATA
from hrsa.benchmarks.paired_items import DifferentItems, PairedDifference, item_difference
from hrsa.errors import UserError


@dataclass(frozen=True)
class Couple:
    """Two trained models side by side.

    Attributes
    ----------
    reference, candidate : str
        Instances, one per seed.
    seed : int or None
        The training seed that they are matched by; None: models without seeds.
    """

    reference: str
    candidate: str
    seed: int | None


@dataclass(frozen=True)
class BenchmarkPair:
    """A pair of a study: how it is named, and the couples that it stands for, one per seed."""

    name: str
    kind: str
    reference: str
    candidate: str
    couples: Sequence[Couple]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What the evaluation of one model left.

    Attributes
    ----------
    scores : DataFrame
        Columns suite, task, type, value, and where known metric, ci_low and chance; one row per
        task.
    items : mapping of (suite, task) to Path
        Files with what each score is computed from (`hrsa.benchmarks.items`).
    """

    scores: pd.DataFrame
    items: Mapping[tuple[str, str], Path]


@dataclass(frozen=True)
class TaskDifference:
    """One task of one couple; `reason` says why there is no `over_items`."""

    couple: Couple
    suite: str
    task: str
    type: str
    delta: float
    over_items: PairedDifference | None = None
    reason: str = ""
    same_items: bool = True

    @property
    def n_items(self) -> int | None:
        """Items that both models were scored on; None where there is no test over them."""
        return self.over_items.n if self.over_items else None


@dataclass(frozen=True, eq=False)
class SuiteDifferences:
    """The tasks of one suite: differences by couple and task, and the tasks that some model has."""

    name: str
    cells: Mapping[tuple[Couple, str], TaskDifference]
    couples: Sequence[Couple]  # those that have scores
    asked: Sequence[str]
    evaluations: Mapping[str, Evaluation]

    @cached_property
    def at_chance(self) -> list[str]:
        """Tasks on which neither model of the pair is shown above chance."""
        return [task for task in self.asked if self._is_at_chance(task)]

    def _is_at_chance(self, task: str) -> bool:
        couples = [one for one in self.couples if (one, task) in self.cells]
        sides = ([one.reference for one in couples], [one.candidate for one in couples])
        runs = [[self.evaluations[name] for name in dict.fromkeys(side)] for side in sides]
        # one model above chance is enough, so that the other one need not be looked at
        return bool(couples) and is_at_chance(beyond_chance(one, self.name, task) for one in runs)

    def tasks(self, *couples: Couple) -> list[str]:
        """Tasks that each of some couples has scores for, but those at chance."""
        return [
            task
            for task in self.asked
            if task not in self.at_chance
            and all((couple, task) in self.cells for couple in couples)
        ]

    def deltas(self, couples: Sequence[Couple], tasks: Sequence[str]) -> np.ndarray:
        """Differences, shape (n_couples, n_tasks)."""
        return np.array([[self.cells[one, task].delta for task in tasks] for one in couples])

    def without(self, tasks: Sequence[str]) -> list[str]:
        """Say which tasks are left out, if any are."""
        absent = [task for task in self.asked if task not in {*tasks, *self.at_chance}]
        return left_out(absent, self.at_chance)


def task_differences(
    couple: Couple, evaluations: Mapping[str, Evaluation]
) -> Iterator[TaskDifference]:
    """The tasks that both models of a couple have a score for."""
    sides = [evaluations[name] for name in (couple.reference, couple.candidate)]
    scored = [one.scores[one.scores["value"].notna()] for one in sides]
    metrics = _metrics(sides[0].scores)
    both = scored[0].merge(scored[1], on=["suite", "task", "type"], suffixes=("_0", "_1"))
    columns = both[["suite", "task", "type", "value_0", "value_1"]]
    for suite, task, kind, *values in columns.itertuples(index=False, name=None):
        cell = partial(TaskDifference, couple, suite, task, kind, float(values[1] - values[0]))
        try:
            items = [_read_items(one.items.get((suite, task))) for one in sides]
            yield cell(over_items=item_difference(kind, *items, metric=metrics.get((suite, task))))
        except DifferentItems as error:
            yield cell(reason=str(error), same_items=False)
        except UserError as error:
            yield cell(reason=str(error))


def beyond_chance(runs: Sequence[Evaluation], suite: str, task: str) -> float:
    """Where the 95 % interval of a task's score, mean over training runs, begins above chance.

    Parameters
    ----------
    runs : sequence of Evaluation
        Of the training seeds of one model; all have a score of the task.
    suite, task : str

    Returns
    -------
    float
        Lower end minus the mean chance level, in the unit of the score: of one run as its table has
        it, of several by the bootstrap of the same items in all of them. Where some run kept no
        items, the mean of the runs' lower ends, which is too low. NaN where it is not known.
    """
    rows = [_row(one.scores, suite, task) for one in runs]
    numbers = np.array([[row.get("ci_low"), row.get("chance")] for row in rows], dtype=np.float64)
    low, chance = numbers.mean(axis=0)
    if len(runs) > 1 and np.isfinite(chance):
        try:
            items = [_read_items(one.items.get((suite, task))) for one in runs]
            metric = _metrics(runs[0].scores).get((suite, task))
            low = _low_of_mean(rows[0]["type"], items, metric)
        except UserError:
            pass  # the mean of their lower ends
    return float(low - chance)


def _low_of_mean(task_type: str, runs: Sequence[pd.DataFrame], metric: str | None) -> float:
    """Lower end of the interval of a mean over runs, which are read as splits of one score."""
    split = STRATA[0]
    parts = [
        items.assign(**{split: f"run {i} " + (items[split].astype(str) if split in items else "")})
        for i, items in enumerate(runs)
    ]
    return score_interval(task_type, pd.concat(parts, ignore_index=True), metric=metric)[0]


def _row(scores: pd.DataFrame, suite: str, task: str) -> dict[str, Any]:
    own = (scores["suite"] == suite) & (scores["task"] == task) & scores["value"].notna()
    return {str(name): value for name, value in scores[own].iloc[0].items()}


def _metrics(scores: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Name of each task's main score, where the table has it."""
    if "metric" not in scores:
        return {}
    names = scores[["suite", "task", "metric"]].dropna()
    return {(suite, task): metric for suite, task, metric in names.itertuples(index=False)}


def _read_items(path: Path | None) -> pd.DataFrame:
    if path is None or not path.exists():
        raise UserError("no test over items: none were kept of one of the models")
    return pd.read_parquet(path)


def suite_differences(
    pair: BenchmarkPair, cells: Sequence[TaskDifference], evaluations: Mapping[str, Evaluation]
) -> Iterator[SuiteDifferences]:
    """Gather the cells whose scores are of the same items, suite by suite."""
    models = {name for one in pair.couples for name in (one.reference, one.candidate)}
    for name in sorted({cell.suite for cell in cells}):
        own = {
            (cell.couple, cell.task): cell
            for cell in cells
            if cell.suite == name and cell.same_items
        }
        tables = [evaluations[model].scores for model in sorted(models)]
        asked = {task for table in tables for task in table.loc[table["suite"] == name, "task"]}
        couples = [one for one in pair.couples if any(couple == one for couple, _ in own)]
        yield SuiteDifferences(name, own, couples, sorted(asked), evaluations)

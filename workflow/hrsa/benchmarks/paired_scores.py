"""The scores of two models side by side: differences by couple of runs, suite and task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pandas as pd

from hrsa.benchmarks.chance import is_at_chance, left_out
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
    """One task of one couple; `reason` says why there is no `over_items`.

    `beyond_chance` is for each model the lower end of its score's interval minus chance.
    """

    couple: Couple
    suite: str
    task: str
    type: str
    delta: float
    beyond_chance: tuple[float, float]
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

    @cached_property
    def at_chance(self) -> list[str]:
        """Tasks on which both models of the pair are at chance."""
        lower_ends: dict[str, list[tuple[float, float]]] = {}
        for (_, task), cell in self.cells.items():
            lower_ends.setdefault(task, []).append(cell.beyond_chance)
        return [task for task in self.asked if is_at_chance(lower_ends.get(task, []))]

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
    scored = [_scored(one.scores) for one in sides]
    metrics = _metrics(sides[0].scores)
    both = scored[0].merge(scored[1], on=["suite", "task", "type"], suffixes=("_0", "_1"))
    numbers = ["value_0", "value_1", "beyond_chance_0", "beyond_chance_1"]
    columns = both[["suite", "task", "type", *numbers]]
    for suite, task, kind, *values, low_0, low_1 in columns.itertuples(index=False, name=None):
        delta = float(values[1] - values[0])
        cell = partial(TaskDifference, couple, suite, task, kind, delta, (low_0, low_1))
        try:
            items = [_read_items(one.items.get((suite, task))) for one in sides]
            yield cell(over_items=item_difference(kind, *items, metric=metrics.get((suite, task))))
        except DifferentItems as error:
            yield cell(reason=str(error), same_items=False)
        except UserError as error:
            yield cell(reason=str(error))


def _scored(scores: pd.DataFrame) -> pd.DataFrame:
    """Tasks that a model has a score for, with the lower end of its interval minus chance."""
    known = scores[scores["value"].notna()]
    ends = known.reindex(columns=["ci_low", "chance"]).astype("float64")
    return known.assign(beyond_chance=ends["ci_low"] - ends["chance"])


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
        yield SuiteDifferences(name, own, couples, sorted(asked))

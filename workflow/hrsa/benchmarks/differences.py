"""Paired differences between models on benchmarks: over items, over training seeds, over tasks.

Each level takes its own unit as random and holds the rest fixed, and so speaks of other units of
its kind alone: of other items of a task for these training runs, of other training runs on these
tasks, or of other tasks for these training runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd

from hrsa.benchmarks.chance import NO_TASK_LEFT, at_chance_remark, one_run
from hrsa.benchmarks.paired_scores import (
    BenchmarkPair,
    Couple,
    Evaluation,
    SuiteDifferences,
    TaskDifference,
    suite_differences,
    task_differences,
)
from hrsa.errors import UserError
from hrsa.statistics.equivalence import Equivalence, check_margin, equivalence, paired_equivalence
from hrsa.statistics.multiplicity import holm
from hrsa.statistics.power import (
    FEWEST,
    MOST_UNITS,
    detectable_difference,
    smallest_margin,
    units_needed,
)

DIFFERENCE_COLUMNS = (
    "pair", "kind", "reference", "candidate", "level", "suite", "task", "type", "seed", "delta",
    "se", "df", "n", "ci90_low", "ci90_high", "ci95_low", "ci95_high", "p_difference",
    "holm_family", "p_holm", "p_tost", "margin", "verdict", "smallest_margin",
    "detectable_difference", "units_needed", "n_items", "note",
)  # fmt: skip
ITEMS, SEEDS, TASKS = "items", "seeds", "tasks"
_Test = Callable[..., Equivalence]


def differences_table(
    pairs: Sequence[BenchmarkPair],
    evaluations: Mapping[str, Evaluation],
    *,
    margins: Sequence[float],
) -> pd.DataFrame:
    """Test how far apart the models of each pair score, against zero and against margins.

    Parameters
    ----------
    pairs : sequence of BenchmarkPair
    evaluations : mapping of instance to Evaluation
        Of every model of the pairs.
    margins : sequence of float
        Of equivalence, > 0, in the unit of the scores; a row for each.

    Returns
    -------
    DataFrame
        Columns DIFFERENCE_COLUMNS; `delta` is candidate − reference. `level` is what is random:

        - items: a row per couple and task, on the same items
          (`hrsa.benchmarks.paired_items.item_difference`);
        - seeds: a row per task, and one per suite (no task) for the mean over its tasks: t over
          the training seeds, at least three;
        - tasks: a row per suite and seed, and one (no seed) for the mean over seeds: t on the
          tasks' means.

        `p_holm` is `p_difference` after Holm's correction for the tasks (and, over items, seeds) of
        the pair at that level. `smallest_margin` is that which would show a true difference of zero
        equivalent with a power of 0.8, `detectable_difference` the one that would be found with it,
        `units_needed` the units of the level (at least as many as its test asks for) with which the
        row's own margin would do, all three taking the observed spread for the true one. A test
        that cannot be had leaves its numbers empty, and `note` says why. A task that one of the
        models has no score for has no row, and is left out of means over tasks, as `note` says; so
        is one on which neither model is shown above chance (`hrsa.benchmarks.chance`), which keeps
        its rows.

    Raises
    ------
    UserError
        A margin of zero or less.

    References
    ----------
    Schuirmann (1987), A comparison of the two one-sided tests procedure and the power approach for
    assessing the equivalence of average bioavailability. Holm (1979), A simple sequentially
    rejective multiple test procedure.
    """
    for margin in margins:
        check_margin(margin)
    records = [row for pair in pairs for row in _pair_rows(pair, evaluations, margins)]
    return _with_holm(pd.DataFrame(records, columns=list(DIFFERENCE_COLUMNS)))


def _pair_rows(
    pair: BenchmarkPair, evaluations: Mapping[str, Evaluation], margins: Sequence[float]
) -> Iterator[dict[str, Any]]:
    """All tests of a pair, a row for each margin."""
    cells = [cell for couple in pair.couples for cell in task_differences(couple, evaluations)]
    suites = list(suite_differences(pair, cells, evaluations))
    at_chance = {(suite.name, task) for suite in suites for task in suite.at_chance}
    for record, test in _tests(pair, cells, suites):
        for row in _tested(record, test, margins):
            if (row["suite"], row["task"]) in at_chance:
                remark = at_chance_remark(row["verdict"])
                row["note"] = "; ".join(filter(None, [row["note"], remark]))
            yield row


def _tests(
    pair: BenchmarkPair, cells: Sequence[TaskDifference], suites: Sequence[SuiteDifferences]
) -> Iterator[tuple[dict[str, Any], _Test | None]]:
    """Labels of each row of a pair, and its test; None where `note` already says why not."""
    for cell in sorted(cells, key=lambda one: (one.suite, one.task)):
        yield _item_test(pair, cell)
    for suite in suites:
        yield from _seed_tests(pair, suite)
    for suite in suites:
        yield from _task_tests(pair, suite)


def _item_test(pair: BenchmarkPair, cell: TaskDifference) -> tuple[dict[str, Any], _Test | None]:
    record = _record(pair, ITEMS, cell.suite) | _of_couple(cell.couple) | _of_task(cell)
    found = cell.over_items
    if found is None:
        return record | {"note": cell.reason}, None
    test = partial(equivalence, found.difference, found.se, found.df, n=found.n)
    return record | {"n": found.n, "note": found.method}, test


def _seed_tests(
    pair: BenchmarkPair, suite: SuiteDifferences
) -> Iterator[tuple[dict[str, Any], _Test | None]]:
    """Each task of a suite over training seeds, then their mean."""
    seeded = [one for one in suite.couples if one.seed is not None]
    for task in suite.asked:
        couples = [one for one in seeded if (one, task) in suite.cells]
        of_task = [cell for (_, name), cell in suite.cells.items() if name == task]
        if of_task:
            record = _record(pair, SEEDS, suite.name) | _of_task(of_task[0])
            yield _over_seeds(record, couples, suite.deltas(couples, [task]), [])
    tasks = suite.tasks(*suite.couples)
    record = _record(pair, SEEDS, suite.name)
    if tasks and suite.couples:
        yield _over_seeds(record, seeded, suite.deltas(seeded, tasks), suite.without(tasks))
    elif suite.at_chance:
        yield _without_tasks(record, suite, len(seeded))


def _over_seeds(
    record: dict[str, Any], couples: Sequence[Couple], deltas: np.ndarray, remarks: list[str]
) -> tuple[dict[str, Any], _Test | None]:
    n, least = len(couples), FEWEST[SEEDS]
    if n < least:
        refused = (
            f"no test over seeds: it needs at least {least} training seeds, and there "
            f"{'is' if n == 1 else 'are'} {n}; the rows over items are of these training runs"
        )
        return record | {"n": n, "note": "; ".join([refused, *remarks])}, None
    single = one_run([one.reference for one in couples], [one.candidate for one in couples])
    note = "; ".join(["t over training seeds", *single, *remarks])
    test = partial(paired_equivalence, deltas.mean(axis=1))
    return record | {"n": n, "note": note}, test


def _task_tests(
    pair: BenchmarkPair, suite: SuiteDifferences
) -> Iterator[tuple[dict[str, Any], _Test | None]]:
    """Task means of each seed, then those of the mean over seeds."""
    for couple in suite.couples:
        if couple.seed is not None:
            record = _record(pair, TASKS, suite.name) | _of_couple(couple)
            yield _over_tasks(record, suite, [couple])
    if suite.couples:
        yield _over_tasks(_record(pair, TASKS, suite.name), suite, suite.couples)


def _over_tasks(
    record: dict[str, Any], suite: SuiteDifferences, couples: Sequence[Couple]
) -> tuple[dict[str, Any], _Test | None]:
    tasks, least = suite.tasks(*couples), FEWEST[TASKS]
    if not tasks and suite.at_chance:
        return _without_tasks(record, suite, 0)
    seeds = [f"mean over {len(couples)} seeds"] if len(couples) > 1 else []
    remarks = [*seeds, *suite.without(tasks)]
    n = len(tasks)
    if n < least:
        refused = (
            f"no test over tasks: it needs at least {least}, and there {'is' if n == 1 else 'are'} "
            f"{n}"
        )
        return record | {"n": n, "note": "; ".join([refused, *remarks])}, None
    test = partial(paired_equivalence, suite.deltas(couples, tasks).mean(axis=0))
    return record | {"n": n, "note": "; ".join(["t over means of tasks", *remarks])}, test


def _without_tasks(
    record: dict[str, Any], suite: SuiteDifferences, n: int
) -> tuple[dict[str, Any], _Test | None]:
    """Refuse a mean that only tasks at chance could be part of."""
    return record | {"n": n, "note": "; ".join([NO_TASK_LEFT, *suite.without([])])}, None


def _record(pair: BenchmarkPair, level: str, suite: str) -> dict[str, Any]:
    names = {"pair": pair.name, "kind": pair.kind, "level": level, "suite": suite}
    models = {"reference": pair.reference, "candidate": pair.candidate}
    return dict.fromkeys(DIFFERENCE_COLUMNS) | names | models


def _of_couple(couple: Couple) -> dict[str, Any]:
    return {"reference": couple.reference, "candidate": couple.candidate, "seed": couple.seed}


def _of_task(cell: TaskDifference) -> dict[str, Any]:
    return {"task": cell.task, "type": cell.type, "n_items": cell.n_items}


def _tested(
    record: Mapping[str, Any], test: _Test | None, margins: Sequence[float]
) -> Iterator[dict[str, Any]]:
    """Results of a row for each margin."""
    for margin in margins:
        if test is None:
            yield {**record, "margin": float(margin)}
            continue
        found = test(margin=margin)
        design, remarks = _design(found, record["level"])
        yield {
            **record,
            "delta": found.difference,
            "se": found.se,
            "df": float(found.df),
            "ci90_low": found.ci90[0],
            "ci90_high": found.ci90[1],
            "ci95_low": found.ci95[0],
            "ci95_high": found.ci95[1],
            "p_difference": found.p_difference,
            "p_tost": found.p_tost,
            "margin": found.margin,
            "verdict": found.verdict,
            "note": "; ".join([record["note"], *remarks]),
            **design,
        }


def _design(found: Equivalence, level: str) -> tuple[dict[str, float | None], list[str]]:
    """What a study with this spread could have shown, and how many units would do."""
    units = round(found.df) + 1  # fewer than n where the error is that of blocks of items
    spread = found.se * math.sqrt(units)
    needed, remarks = None, []
    try:
        needed = units_needed(found.se * math.sqrt(found.n or units), found.margin)
        needed = max(needed, FEWEST[level])
    except UserError:
        remarks = [f"more than {MOST_UNITS:,} {level} would be needed"]
    design = {
        "smallest_margin": spread * _of_unit_spread(smallest_margin, units),
        "detectable_difference": spread * _of_unit_spread(detectable_difference, units),
        "units_needed": needed,
    }
    return design, remarks


@cache
def _of_unit_spread(planned: Callable[[int, float], float], units: int) -> float:
    return planned(units, 1.0)


def _with_holm(table: pd.DataFrame) -> pd.DataFrame:
    """Adjust p-values for the tasks that a pair is compared on at one level."""
    table = table.astype({"holm_family": "object", "p_holm": "float64"})
    tested = table[table["task"].notna() & table["p_difference"].notna()]
    for (pair, level, margin), rows in tested.groupby(["pair", "level", "margin"], sort=False):
        n = len(rows)
        family = f"{pair}, {level}, ±{margin:g}: {n} test{'s' * (n > 1)}"
        table.loc[rows.index, "holm_family"] = family
        table.loc[rows.index, "p_holm"] = holm(rows["p_difference"].to_numpy("float64"))
    return table

"""Means of a suite's scores over its tasks and over types of task, as `mteb` takes them.

`mteb` (`Benchmark.get_score`, and its leaderboard) takes the mean over tasks, and the mean over
types of each type's mean, so that a type with many tasks counts no more than one with few. Neither
exists there before all tasks have a score. Here too, with the missing tasks named.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from hrsa.errors import UserError

__all__ = ["MEAN_COLUMNS", "suite_means"]

SCORE_COLUMNS = ["suite", "task", "type", "value"]
MODEL_COLUMNS = ["model", "recipe", "seed", "step"]
MEAN_COLUMNS = [
    *("suite", "mean", "type", "value", "value_of_present"),
    *("n_tasks", "n_missing", "complete", "note"),
]


def suite_means(scores: pd.DataFrame) -> pd.DataFrame:
    """Take the means of each suite, for each model.

    Parameters
    ----------
    scores : DataFrame
        One row per task, with `SCORE_COLUMNS`; `value` is NaN for a task that failed. Of `model`,
        `recipe`, `seed` and `step` those that are there tell models apart.
        The tasks of a suite are those that any model has a row for.

    Returns
    -------
    DataFrame with the columns that tell models apart and `MEAN_COLUMNS`
        `mean` is "tasks" (over all tasks), "types" (over the means of types) or "type" (over the
        tasks of one, named in `type`). `value` is NaN where a task is missing, as in `mteb`: a
        missing task never counts as zero. `value_of_present` is the mean without the missing tasks,
        which is another quantity and not to be compared with a complete mean. `note` names them.

    Raises
    ------
    UserError
        A column is missing, a task has two rows for one model, or two types.
    """
    absent = [column for column in SCORE_COLUMNS if column not in scores]
    if absent:
        raise UserError(
            f"The scores have no column {absent[0]!r}; needed are {', '.join(SCORE_COLUMNS)}. "
            "Give a table as `benchmarks.csv`."
        )
    by = [column for column in MODEL_COLUMNS if column in scores]
    _check_rows(scores, by)
    rows = []
    for labels, of_model in scores.groupby(by, dropna=False) if by else [((), scores)]:
        for suite, types in _present(scores).items():
            one = of_model[of_model["suite"] == suite]
            values = one.set_index("task")["value"].astype(float)
            table = pd.DataFrame({"type": pd.Series(types), "value": values.reindex(list(types))})
            rows += [
                {**dict(zip(by, labels, strict=True)), "suite": suite, **row}
                for row in _means(table)
            ]
    return pd.DataFrame(rows, columns=[*by, *MEAN_COLUMNS])


def _means(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Means of one suite and model; `table` has the columns type and value, rows named by task."""
    of_types = table.groupby("type", sort=True)["value"]
    rows = [
        _row("tasks", "", table, table["value"].mean()),
        _row("types", "", table, of_types.mean().mean()),
    ]
    return rows + [
        _row("type", str(one), part, part["value"].mean())
        for one, part in table.groupby("type", sort=True)
    ]


def _row(mean: str, type_: str, table: pd.DataFrame, present: float) -> dict[str, Any]:
    missing = sorted(table.index[table["value"].isna()])
    note = f"incomplete, without {', '.join(missing)}" if missing else ""
    return {
        "mean": mean,
        "type": type_,
        "value": float("nan") if missing else present,
        "value_of_present": present,
        "n_tasks": len(table),
        "n_missing": len(missing),
        "complete": not missing,
        "note": note,
    }


def _present(scores: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Tasks that some model has a row for, by suite."""
    return {
        str(suite): dict(zip(part["task"], part["type"], strict=True))
        for suite, part in scores.groupby("suite", sort=True)
    }


def _check_rows(scores: pd.DataFrame, by: list[str]) -> None:
    repeated = scores[scores.duplicated([*by, "suite", "task"])]
    if len(repeated):
        raise UserError(
            f"The task {repeated['task'].iloc[0]!r} of the suite {repeated['suite'].iloc[0]!r} has "
            "two scores for one model. Give one row per task, or a column `model`, `seed` or "
            "`step` that tells them apart."
        )
    types = scores.groupby(["suite", "task"])["type"].nunique()
    if (types > 1).any():
        suite, task = types.index[types > 1][0]
        raise UserError(
            f"The task {task!r} of the suite {suite!r} has two types. Give each task one type."
        )

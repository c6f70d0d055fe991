"""What the report says of differences between models on the benchmarks: one line per test."""

from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd

from hrsa.benchmarks.chance import NO_TASK_LEFT, remark_at_chance, remarks_on_tasks
from hrsa.benchmarks.differences import ITEMS, SEEDS
from hrsa.benchmarks.paired_items import DIFFERENT_ITEMS
from hrsa.statistics.equivalence import INCONCLUSIVE

_NONE = "–"


def differences_summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return the differences for a reader: the mean over tasks and each task, a verdict per margin.

    Parameters
    ----------
    table : DataFrame
        Of `hrsa.benchmarks.differences.differences_table`.

    Returns
    -------
    DataFrame
        For each pair and suite the mean over tasks, tested over training seeds and over tasks, then
        each task, tested over training seeds or, where they are too few, over its items, seed by
        seed. Column `over` says what is random, and how many there are. An inconclusive test says
        how many would do for models that score the same, where these are more. `note` says which
        tasks a mean is without, that neither model is shown above chance on a task, and that one
        side is a single run. A mean that is refused for want of tasks has a dash for its numbers.
    """
    margins = [float(margin) for margin in table["margin"].unique()]
    refused = table["note"].str.startswith(NO_TASK_LEFT, na=False)
    rows = table[table["verdict"].notna() | refused]
    lines = [
        _line(test)
        for _, found in rows.groupby(["pair", "suite"], sort=False)
        for chosen in _shown(found)
        for _, test in chosen.groupby(["level", "seed"], sort=False, dropna=False)
    ]
    columns = ["pair", "kind", "task", "seed", "over", "difference", "90 % interval"]
    columns += ["95 % interval", *(_heading(margin) for margin in margins), "note"]
    return pd.DataFrame(lines, columns=columns).astype({"seed": "Int64"})


def unmatched_items(table: pd.DataFrame) -> dict[str, str]:
    """Say which models were scored on different items of a task: their scores are no pair.

    Parameters
    ----------
    table : DataFrame
        Of `hrsa.benchmarks.differences.differences_table`.

    Returns
    -------
    dict
        What cannot be compared, in words, and why.
    """
    return _without_test(table, lambda note: note.startswith(DIFFERENT_ITEMS))


def untested_items(table: pd.DataFrame) -> dict[str, str]:
    """Say what has no test over items for another reason, as `unmatched_items` does."""
    return _without_test(table, lambda note: not note.startswith(DIFFERENT_ITEMS))


def _without_test(table: pd.DataFrame, has_reason: Callable[[str], bool]) -> dict[str, str]:
    rows = table[(table["level"] == ITEMS) & table["verdict"].isna()]
    keys = ["pair", "reference", "candidate", "task", "note"]
    return {
        f"difference of {candidate} and {reference} on {task} (pair {pair})": note
        for pair, reference, candidate, task, note in rows[keys].itertuples(index=False, name=None)
        if has_reason(note)
    }


def _shown(rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Choose what is shown of a pair and suite: the means over tasks, then task by task."""
    of_task = rows["task"].notna()
    yield rows[~of_task & ((rows["level"] == SEEDS) | rows["seed"].isna())]
    for _, task in rows[of_task].groupby("task", sort=True):
        over_seeds = task[task["level"] == SEEDS]
        yield task if over_seeds.empty else over_seeds


def _line(rows: pd.DataFrame) -> dict[str, Any]:
    """One test: its rows, one per margin, differ in the verdicts alone."""
    first = rows.iloc[0]
    verdicts = {_heading(float(row["margin"])): _verdict(row) for row in rows.to_dict("records")}
    return {
        "pair": first["pair"],
        "kind": first["kind"],
        "task": f"mean of {first['suite']}" if pd.isna(first["task"]) else first["task"],
        "seed": first["seed"],
        "over": f"{first['n']} {first['level']}",
        "difference": _NONE if pd.isna(first["delta"]) else _signs(f"{first['delta']:+.3f}"),
        "90 % interval": _interval(first, "ci90"),
        "95 % interval": _interval(first, "ci95"),
        **verdicts,
        "note": _note(first),
    }


def _note(row: pd.Series) -> str:
    """What the note of a test says of chance, of missing tasks and of a side with one run."""
    note = None if pd.isna(row["note"]) else str(row["note"])
    return "; ".join(filter(None, [remark_at_chance(note), *remarks_on_tasks(note)]))


def _verdict(row: dict[Any, Any]) -> str:
    if pd.isna(row["verdict"]):
        return _NONE
    needed = row["units_needed"]
    # As many as there are would do for models that score the same: here the estimate is too far off
    if row["verdict"] != INCONCLUSIVE or pd.isna(needed) or needed <= row["n"]:
        return str(row["verdict"])
    return f"{INCONCLUSIVE}; {int(needed)} {row['level']} would do"


def _heading(margin: float) -> str:
    return f"at ±{margin:g}"


def _interval(row: pd.Series, name: str) -> str:
    if pd.isna(row[f"{name}_low"]):
        return _NONE
    return _signs(f"[{row[f'{name}_low']:.3f}, {row[f'{name}_high']:.3f}]")


def _signs(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")

"""Items of a task of `mteb` that is the mean of other tasks: those of its parts together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from hrsa.benchmarks.task_data import NoItems
from hrsa.benchmarks.task_items import NOTHING, check_items
from hrsa.errors import UserError

__all__ = ["joined_items"]


def joined_items(
    task: Any, parts: Mapping[str, tuple[pd.DataFrame | None, str]], result: Any
) -> tuple[pd.DataFrame | None, str]:
    """What the score of a mean of tasks is computed from, item by item.

    Parameters
    ----------
    task : `mteb` task
        The mean of tasks.
    parts : mapping
        By the name of the part, its items, or None and why there are none
        (`hrsa.benchmarks.task_items.predicted_items`).
    result : `mteb.results.TaskResult`
        What the task made of its parts' results.

    Returns
    -------
    DataFrame or None
        The items of all parts, each part a subset of its name (``part/subset`` where it has several
        itself). None where the score is not the mean of the parts' scores, each counting the same,
        or where a part has no items.
    str
        "", or why there are none.
    """
    frames = []
    for name, (items, note) in parts.items():
        if items is None:
            return None, f"{NOTHING}of its part {name}, {note.removeprefix(NOTHING)}"
        counted = items[items["split"].isin(list(result.scores))]
        several = counted["subset"].nunique() > 1
        frames.append(counted.assign(subset=name + "/" + counted["subset"] if several else name))
    joined = pd.concat(frames, ignore_index=True)
    try:
        check_items(task, joined, result)
    except (NoItems, UserError) as reason:
        return None, f"{NOTHING}{reason}"
    return joined, ""

"""What the data of an `mteb` task are, and which ids its texts have."""

from __future__ import annotations

from typing import Any

import numpy as np
from datasets import Dataset


class NoItems(Exception):
    """Why the items of a task cannot be kept."""


def data_of(task: Any, subset: str) -> Any:
    """Splits of a subset; a task without subsets may leave out the level."""
    whole = task.dataset
    return whole if subset not in whole and subset == "default" else whole[subset]


def ids_of(data: Any) -> np.ndarray:
    """The texts' own ids where they have some that are distinct, else the numbers of the rows."""
    if isinstance(data, Dataset) and "id" in data.column_names:
        own = [str(one) for one in data["id"]]
        if len(set(own)) == len(own):
            return np.array(own, dtype=object)
    n_rows = len(data) if isinstance(data, Dataset) else len(next(iter(data.values())))
    return np.array([str(row) for row in range(n_rows)], dtype=object)

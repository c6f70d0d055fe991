"""Training sets from outside: columns or templates of a file or a hub data set, by their role.

What a recipe trains on has columns by role: `query`, `document` and perhaps `negatives` for
contrastive training; `question` with `answer`, `trace` or `solution` for SFT and RLVR; `text` for
continued pretraining.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from hrsa.data.datasets import read_table
from hrsa.data.selection import draw_order, fulfilling, priorities
from hrsa.data.table import Table, describe, is_missing
from hrsa.data.templates import render
from hrsa.errors import UserError

ROLES = ("query", "document", "question", "answer", "trace", "solution", "text")
NEGATIVES = "negatives"


def load_training_set(settings: Mapping[str, Any], *, seed: int) -> pd.DataFrame:
    """Read a training set.

    Parameters
    ----------
    settings : mapping
        `path`, or `hub` with `name`, `revision` and `data_split`, as for a data set
        (`hrsa.data.datasets.load_dataset`); for each role of `ROLES` that the set fills a column or
        a template; `negatives`, a column of lists; `where` and `samples`.
    seed : int
        Draws the samples, by their place in the source.

    Returns
    -------
    DataFrame
        A column for each role that is named. Where a row lacks a field the text is empty: the
        recipe drops and counts such rows.

    Raises
    ------
    UserError
        As in `load_dataset`, or a negative that is no text.
    """
    table = read_table({"data_split": "train", **settings})
    if "where" in settings:
        table = table.take(fulfilling(table, settings["where"]))
    table = _drawn(table, settings.get("samples"), settings.get("seed", seed))
    columns: dict[str, list[Any]] = {
        role: [text or "" for text in render(settings[role], table)]
        for role in ROLES
        if role in settings
    }
    if NEGATIVES in settings:
        columns[NEGATIVES] = _lists(table, settings[NEGATIVES])
    print(f"{table.source}: {len(table.ids)} rows for training", flush=True)
    return pd.DataFrame(columns)


def _drawn(table: Table, samples: int | None, seed: int) -> Table:
    """Take samples by a hash of seed and place: a larger number keeps those of a smaller."""
    if samples is None or samples >= len(table.ids):
        return table
    keep = np.zeros(len(table.ids), dtype=bool)
    keep[draw_order(priorities(list(table.ids), seed))[:samples]] = True
    return table.take(keep)


def _lists(table: Table, field: str) -> list[list[str]]:
    """Hard negatives of each row, none where it has none."""
    lists = []
    for row, value in zip(table.ids, table.values(field, NEGATIVES), strict=True):
        items = [] if is_missing(value) else value if isinstance(value, list) else [value]
        if wrong := [item for item in items if not isinstance(item, str)]:
            raise UserError(
                f"`{NEGATIVES}: {field}` is to hold lists of texts, but row {row} of "
                f"{table.source} holds {describe(wrong[0])}. Name another column."
            )
        lists.append([item for item in items if item.strip()])
    return lists

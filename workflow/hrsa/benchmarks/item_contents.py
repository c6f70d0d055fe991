"""Items by their texts, where an id stands for other texts at another seed."""

from __future__ import annotations

import hashlib
from typing import Any

import pandas as pd
from datasets import Dataset

from hrsa.benchmarks.items import STRATA
from hrsa.benchmarks.task_data import data_of, ids_of


def with_contents(task: Any, items: pd.DataFrame) -> pd.DataFrame:
    """Add a hash of the text behind each item, where the data are a table of texts.

    Some tasks draw the texts that they test with their seed. Their row numbers then say nothing
    across seeds: `by_content` finds that out.

    Parameters
    ----------
    task : `mteb` task
        Its data still loaded.
    items : DataFrame
        Of `predicted_items`.

    Returns
    -------
    DataFrame
        With a column `content`, or as it was.
    """
    parts = []
    for (split, subset), part in items.groupby(list(STRATA), sort=False):
        data = data_of(task, str(subset))
        data = data[split] if data is not None and split in data else None
        column = getattr(task, "input_column_name", None)
        if not isinstance(data, Dataset) or column not in data.column_names:
            return items
        texts = [hashlib.sha256(str(text).encode()).hexdigest()[:16] for text in data[column]]
        known = dict(zip(ids_of(data), texts, strict=True))
        parts.append(part.assign(content=part["item"].map(known)))
    return pd.concat(parts).sort_index()


def by_content(items: pd.DataFrame) -> pd.DataFrame:
    """Name items by their texts where one id stands for other texts at another seed.

    Parameters
    ----------
    items : DataFrame
        Of several seeds, perhaps with a column `content` (`with_contents`).

    Returns
    -------
    DataFrame without that column
        Rows of one text are one item then, whichever rows of a sample they were. Items whose text
        is not known keep their ids.
    """
    if "content" not in items:
        return items
    same = items.groupby([*STRATA, "item"])["content"].nunique().le(1).all()
    named = items if same else items.assign(item=items["content"].fillna(items["item"]))
    return named.drop(columns="content")

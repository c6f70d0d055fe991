"""Means of the items' values, where seeds may draw other texts: over seeds of each seed's mean.

A task that draws the texts that it tests is scored once with each seed, and its score is the mean
over seeds, each counting the same. A text that R seeds drew is one item with R values, and one that
a single seed drew has one. So the mean over items is not the score: with x_ir the value of item i
with seed r, and m_ir its rows there (its experiments; more of a text that the data have twice),

    score = Σ_ir w_ir x_ir,    w_ir = m_ir / (R Σ_i m_ir).

Where all seeds have the same texts, that is the plain mean over items of their mean values.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

__all__ = ["item_means", "resampled_means", "same_texts"]


def same_texts(items: pd.DataFrame) -> bool:
    """Whether all seeds have the same texts, each equally often.

    Parameters
    ----------
    items : DataFrame
        With the columns item, value and perhaps seed, of one split and subset.
    """
    rows = _rows(items).to_numpy()
    return bool(rows.min() == rows.max())


def item_means(items: pd.DataFrame) -> pd.Series:
    """Value of each item, so that their mean is the score.

    Parameters
    ----------
    items : DataFrame
        As in `same_texts`.

    Returns
    -------
    Series of float, shape (n_items,), indexed by `item`, sorted
        Where all seeds have the same texts, the mean of each item's values. Elsewhere, for n items,
        score + n e_i with e_i = Σ_r w_ir (x_ir − score), the share of the item in the score's
        deviations. The e_i add up to 0, and the t standard error of the mean of these values is
        that of the score by clusters of texts, SE² = n / (n − 1) Σ_i e_i².

    References
    ----------
    Liang and Zeger (1986), Longitudinal data analysis using generalized linear models.
    """
    if same_texts(items):
        return items.groupby("item", sort=True)["value"].mean()
    rows = _rows(items)
    values = items.groupby([_seeds(items), "item"])["value"].mean().unstack()
    least = float(items["value"].min())  # so that a constant is exact in spite of rounding
    moved = values.where(rows > 0, least) - least
    weights = rows.div(rows.sum(axis=1), axis=0) / len(rows)
    score = float((weights * moved).to_numpy().sum())
    shares = (weights * (moved - score)).sum(axis=0)
    return (least + score + len(shares) * shares).rename("value")


def resampled_means(items: pd.DataFrame, counts: np.ndarray) -> np.ndarray:
    """Score of each resample of the items.

    Parameters
    ----------
    items : DataFrame
        As in `same_texts`.
    counts : int array, shape (n_resamples, n_items)
        How often each item is in a resample; items in the order of their sorted ids.

    Returns
    -------
    float array, shape (n_resamples,)
        NaN for a resample without any text of one of the seeds.
    """
    if same_texts(items):
        values = items.groupby("item", sort=True)["value"].mean()
        return np.asarray(counts @ values.to_numpy() / counts.sum(axis=1))
    rows = _rows(items).to_numpy()
    sums = items.groupby([_seeds(items), "item"])["value"].sum().unstack(fill_value=0).to_numpy()
    means = [counts @ one / (counts @ times) for one, times in zip(sums, rows, strict=True)]
    return np.asarray(np.mean(means, axis=0))


def _seeds(items: pd.DataFrame) -> pd.Series:
    return items["seed"] if "seed" in items else pd.Series(0, index=items.index, name="seed")


def _rows(items: pd.DataFrame) -> pd.DataFrame:
    """How many rows each item has with each seed: seeds × items."""
    return items.groupby([_seeds(items), "item"]).size().unstack(fill_value=0)

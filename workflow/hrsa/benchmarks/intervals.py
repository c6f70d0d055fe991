"""95 % intervals of scores over the items of a task, by the bootstrap, alike for all models.

They hold the model fixed, and what was fitted for the score: on training texts, and to clusters.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from hrsa.benchmarks.items import item_values, resampled_scores, score_of_items

RESAMPLES = 2000
QUANTILES = (0.025, 0.975)


def bootstrap_interval(values: np.ndarray, *, seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap interval of a mean over independent items.

    Parameters
    ----------
    values
        Score of each item, shape (n_items,).
    seed
        Seed of the resamples, the same for all models, so that equal scores give equal intervals.

    References
    ----------
    Efron & Tibshirani (1993), An Introduction to the Bootstrap, ch. 13.
    """
    n_items = len(values)
    draws = np.random.default_rng(seed).integers(n_items, size=(RESAMPLES, n_items))
    low, high = np.quantile(values[draws].mean(axis=1), QUANTILES)
    return float(low), float(high)


def score_interval(
    task_type: str, items: pd.DataFrame, *, item: str = "item", seed: int = 0
) -> tuple[float, float, str]:
    """95 % bootstrap interval of a task's main score over its items, and how it was made.

    Parameters
    ----------
    task_type
        `mteb`'s type of the task.
    items
        What the task kept (`hrsa.benchmarks.items`).
    item
        What one item is, in words.
    seed
        Seed of the resamples, the same for all models.

    Returns
    -------
    tuple of float, float, str
        Low end, high end, and a note. Where the score is no mean of items, the score of each
        resample is computed anew, and the resamples are shifted so that their mean is the score:
        items that occur twice raise a V-measure, so that an unshifted interval would lie above it.

    Notes
    -----
    Simulated coverage: Spearman's correlation 0.93 (100 data sets of 120 pairs), average precision
    0.96 (200 of 240 pairs), V-measure 0.96 of what is to be expected with as many texts (150 of 320
    texts), which lies above the V-measure of endless texts, by 0.03 there.
    """
    values = item_values(task_type, items)
    n_items = items["item"].nunique()
    note = f"interval: percentile bootstrap over {n_items} test items ({item})"
    if values is not None:
        return *bootstrap_interval(values.to_numpy(), seed=seed), note
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(n_items, np.full(n_items, 1 / n_items), size=RESAMPLES)
    scores = resampled_scores(task_type, items, counts)
    shift = score_of_items(task_type, items) - np.nanmean(scores)
    low, high = np.nanquantile(scores + shift, QUANTILES)
    return float(low), float(high), f"{note} of the whole score, shifted so that it is their mean"

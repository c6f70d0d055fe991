"""How far apart two models score on the same items of one task, and how sure that is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hrsa.benchmarks.items import item_values, resampled_scores
from hrsa.errors import UserError
from hrsa.statistics.blocks import N_BLOCKS, balanced_blocks
from hrsa.statistics.resampling import jackknife_standard_error


class DifferentItems(UserError):
    """Two models were not scored on the same items, so that their scores are no pair."""


@dataclass(frozen=True)
class PairedDifference:
    """Difference of two models' scores on the items of one task.

    Attributes
    ----------
    difference : float
        Candidate minus reference, in the unit of the score.
    se : float
        Its standard error over items, the models and what was fitted to them held fixed.
    df : int
        Degrees of freedom of the t distribution.
    n : int
        Items.
    method : str
        How the standard error was had.
    """

    difference: float
    se: float
    df: int
    n: int
    method: str


def item_difference(
    task_type: str, reference: pd.DataFrame, candidate: pd.DataFrame
) -> PairedDifference:
    """Compare two models on the items of one task.

    Parameters
    ----------
    task_type : str
        `mteb`'s type of the task.
    reference, candidate : DataFrame
        What each model's score is computed from (`hrsa.benchmarks.items`).

    Returns
    -------
    PairedDifference
        Where the score is a mean of items, the mean of the items' differences with its t standard
        error. Elsewhere the difference of the two scores, with the standard error of the jackknife
        that leaves out one of 25 blocks of items (each item, where there are fewer), the same
        blocks for both models.

    Raises
    ------
    DifferentItems
        The models were scored on different items; the common ones are not picked out silently.
    UserError
        There are fewer than two items, or the score of a model is undefined on them, or without
        some of them.

    Notes
    -----
    Simulated coverage of the jackknife's 95 % interval, 300 data sets of two models each:
    Spearman's correlation 0.93 (200 pairs), average precision 0.99 (the better of two similarities,
    240 pairs: conservative), V-measure 0.95 (320 texts, 8 labels).

    References
    ----------
    Efron and Stein (1981), The jackknife estimate of variance.
    """
    _check_items(reference, candidate)
    values = [item_values(task_type, items) for items in (reference, candidate)]
    if values[0] is not None and values[1] is not None:
        return _of_means(values[1].to_numpy("float64") - values[0].to_numpy("float64"))
    return _of_scores(task_type, reference, candidate)


def _of_means(differences: np.ndarray) -> PairedDifference:
    _check_defined(differences)
    n = len(differences)
    if np.ptp(differences) == 0:  # rounding of the mean would make a tiny spread out of none
        difference, se = float(differences[0]), 0.0
    else:
        difference = float(differences.mean())
        se = float(differences.std(ddof=1)) / math.sqrt(n)
    return PairedDifference(difference, se, n - 1, n, "t over items")


def _of_scores(
    task_type: str, reference: pd.DataFrame, candidate: pd.DataFrame
) -> PairedDifference:
    n = reference["item"].nunique()
    blocks = balanced_blocks(np.arange(n), n_blocks=N_BLOCKS)
    n_blocks = int(blocks.max()) + 1
    # the first row of counts has all items, each other one lacks a block
    without = blocks != np.arange(n_blocks)[:, None]
    counts = np.vstack([np.ones(n, dtype=int), without.astype(int)])
    scores = [resampled_scores(task_type, items, counts) for items in (reference, candidate)]
    differences = scores[1] - scores[0]
    _check_defined(differences)
    return PairedDifference(
        difference=float(differences[0]),
        se=jackknife_standard_error(differences[1:]),
        df=n_blocks - 1,
        n=n,
        method=f"jackknife over {n_blocks} blocks of items",
    )


def _check_items(reference: pd.DataFrame, candidate: pd.DataFrame) -> None:
    first, second = (set(items["item"]) for items in (reference, candidate))
    if first != second:
        raise DifferentItems(
            f"the models were scored on different items: the reference on {len(first)}, the "
            f"candidate on {len(second)}, {len(first & second)} of them in common; evaluate both "
            "on the same texts"
        )
    if len(first) < 2:
        raise UserError(f"no test over items: at least 2 are needed, and there are {len(first)}")


def _check_defined(differences: np.ndarray) -> None:
    if not np.isfinite(differences).all():
        raise UserError(
            "no test over items: the score of a model is undefined on them or without some of "
            "them, as where all similarities are equal"
        )

"""How far apart two models score on the same items of one task, and how sure that is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hrsa.benchmarks.items import STRATA, count_items, item_values, resampled_scores, strata
from hrsa.errors import UserError
from hrsa.statistics.blocks import N_BLOCKS, balanced_blocks
from hrsa.statistics.resampling import jackknife_standard_error

# How the reason begins where two models were scored on other items.
DIFFERENT_ITEMS = "the models were scored on different items"


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
    df : float
        Degrees of freedom of the t distribution.
    n : int
        Items, those of each split and subset counted for themselves.
    method : str
        How the standard error was had.
    """

    difference: float
    se: float
    df: float
    n: int
    method: str


def item_difference(
    task_type: str,
    reference: pd.DataFrame,
    candidate: pd.DataFrame,
    *,
    metric: str | None = None,
) -> PairedDifference:
    """Compare two models on the items of one task.

    Parameters
    ----------
    task_type : str
        `mteb`'s type of the task.
    reference, candidate : DataFrame
        What each model's score is computed from (`hrsa.benchmarks.items`).
    metric : str, optional
        Name of the main score; None: the usual one of the type.

    Returns
    -------
    PairedDifference
        Where the score is a mean of items, the mean of the items' differences with its t standard
        error. Elsewhere the difference of the two scores, with the standard error of the jackknife
        that leaves out one of 25 blocks of items (each item, where there are fewer), the same
        blocks for both models. With several splits or subsets, the difference of the means over
        them, in which each counts the same; see the notes.

    Raises
    ------
    DifferentItems
        The models were scored on different items; the common ones are not picked out silently.
    UserError
        There are fewer than two items (of a split and subset), or the score of a model is undefined
        on them, or without some of them.

    Notes
    -----
    Where seeds drew other texts, a text is one item with all the seeds that drew it
    (`hrsa.benchmarks.value_means`). Simulated coverage of 95 % intervals, 2000 data sets each:
    0.939 to 0.953, with 2 or 3 seeds of which each draws 10 to 60 of 20 to 1000 texts, whether the
    seeds differ or not.

    Of S splits and subsets, item i of subset s, with n_s items, differs by d_si from the subset's
    mean difference, and moves the macro mean by u_si = √(n_s / (n_s − 1)) · d_si / (S n_s). Ids in
    several subsets are often one text in several languages, on which models differ alike, so that
    the clusters of an id are independent, not their rows: se² = Σ_i (Σ_s u_si)². Where no id is in
    two subsets this is the sum over independent strata, Σ_s se_s² / S²; where all are in all, the t
    standard error of the items' means over subsets; and where ids agree by chance (numbers of
    rows), the products of different subsets are zero on average. Degrees of freedom: the fewer of
    Welch and Satterthwaite's for the strata, and of the ids less one. The blocks of the jackknife
    are of ids too.

    Simulated coverage of 95 % intervals for the macro mean, 2000 data sets each: subsets of 30, 60
    and 120 items with ids of their own 0.952, with row numbers that mean nothing 0.949; four
    subsets of the same 60 texts (correlation 0.5) 0.945, where the formula for independent strata
    has 0.783. The jackknife of Spearman's correlation, 400 data sets: 0.935 (subsets of 60, 100
    and 150 pairs) and 0.960 (four of the same 100).

    Simulated coverage of the jackknife's 95 % interval, 300 data sets of two models each:
    Spearman's correlation 0.93 (200 pairs), average precision 0.99 (the better of two similarities,
    240 pairs: conservative), V-measure 0.95 (320 texts, 8 labels).

    References
    ----------
    Efron and Stein (1981), The jackknife estimate of variance. Liang and Zeger (1986), Longitudinal
    data analysis using generalized linear models (variance by clusters). Satterthwaite (1946), An
    approximate distribution of estimates of variance components.
    """
    _check_items(reference, candidate)
    values = [item_values(task_type, items, metric=metric) for items in (reference, candidate)]
    if values[0] is None or values[1] is None:
        return _of_scores(task_type, reference, candidate, metric)
    differences = values[1].astype("float64").sub(values[0].astype("float64"))
    if differences.index.nlevels > 1:
        return _of_macro_means(differences)
    return _of_means(differences.to_numpy())


def _of_means(differences: np.ndarray) -> PairedDifference:
    _check_defined(differences)
    n = len(differences)
    if np.ptp(differences) == 0:  # rounding of the mean would make a tiny spread out of none
        difference, se = float(differences[0]), 0.0
    else:
        difference = float(differences.mean())
        se = float(differences.std(ddof=1)) / math.sqrt(n)
    return PairedDifference(difference, se, n - 1, n, "t over items")


def _of_macro_means(differences: pd.Series) -> PairedDifference:
    """Mean over splits and subsets of their mean differences, its error by clusters of ids."""
    by_stratum = differences.groupby(level=list(range(differences.index.nlevels - 1)), sort=True)
    parts = [_of_means(part.to_numpy()) for _, part in by_stratum]
    sizes = by_stratum.transform("size")
    centred = differences.sub(by_stratum.transform("mean"))
    moves = centred.div(np.sqrt(sizes * (sizes - 1)) * len(parts))
    of_ids = moves.groupby(level=-1).sum()
    exact = all(part.se == 0 for part in parts)  # rounding makes tiny moves out of none
    variances = np.array([part.se**2 for part in parts])
    freedom = np.array([part.df for part in parts])
    satterthwaite = (
        freedom.sum() if exact else variances.sum() ** 2 / (variances**2 / freedom).sum()
    )
    return PairedDifference(
        difference=float(np.mean([part.difference for part in parts])),
        se=0.0 if exact else float(np.sqrt((of_ids**2).sum())),
        df=float(min(satterthwaite, len(of_ids) - 1)),
        n=len(differences),
        method=f"t over items of {len(parts)} splits and subsets, those of one id together",
    )


def _of_scores(
    task_type: str, reference: pd.DataFrame, candidate: pd.DataFrame, metric: str | None
) -> PairedDifference:
    n = reference["item"].nunique()
    blocks = balanced_blocks(np.arange(n), n_blocks=N_BLOCKS)
    n_blocks = int(blocks.max()) + 1
    # the first row of counts has all items, each other one lacks a block
    without = blocks != np.arange(n_blocks)[:, None]
    counts = np.vstack([np.ones(n, dtype=int), without.astype(int)])
    scores = [
        resampled_scores(task_type, items, counts, metric=metric)
        for items in (reference, candidate)
    ]
    differences = scores[1] - scores[0]
    _check_defined(differences)
    return PairedDifference(
        difference=float(differences[0]),
        se=jackknife_standard_error(differences[1:]),
        df=n_blocks - 1,
        n=count_items(reference),
        method=f"jackknife over {n_blocks} blocks of items{_of_strata(reference)}",
    )


def _of_strata(items: pd.DataFrame) -> str:
    n_parts = len(strata(items))
    return f" of {n_parts} splits and subsets, those of one id together" if n_parts > 1 else ""


def _check_items(reference: pd.DataFrame, candidate: pd.DataFrame) -> None:
    first, second = (_labels(items) for items in (reference, candidate))
    if first != second:
        raise DifferentItems(
            f"{DIFFERENT_ITEMS}: the reference on {len(first)}, the candidate on {len(second)}, "
            f"{len(first & second)} of them in common; evaluate both on the same texts"
        )
    fewest = min(part["item"].nunique() for part in strata(reference))
    if fewest < 2:
        where = " in each split and subset" if len(strata(reference)) > 1 else ""
        raise UserError(f"no test over items: at least 2 are needed{where}, and there are {fewest}")


def _labels(items: pd.DataFrame) -> set[tuple[Any, ...]]:
    """Each item with its split, its subset and the seed that drew it, as far as there are such."""
    named = [name for name in (*STRATA, "seed") if name in items]
    labels = items[[*named, "item"]].drop_duplicates()
    return set(labels.itertuples(index=False, name=None))


def _check_defined(differences: np.ndarray) -> None:
    if not np.isfinite(differences).all():
        raise UserError(
            "no test over items: the score of a model is undefined on them or without some of "
            "them, as where all similarities are equal"
        )

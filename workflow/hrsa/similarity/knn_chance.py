"""Chance level of the k-NN overlap: exact without ties, over permutations with them."""

from functools import cache
from math import comb
from typing import Literal

import numpy as np

from hrsa.similarity.neighbours import TieCounts

Score = Literal["jaccard", "overlap"]
SCORES: tuple[Score, ...] = ("jaccard", "overlap")
# Permutations of the candidate's rows, when ties rule out the exact chance level.
N_PERMUTATIONS = 20


def score_overlap(weight: np.ndarray, k: int, score: Score) -> np.ndarray:
    """Turn Σ_j min(w_A, w_B) of rows into their overlap or Jaccard.

    Weights sum to k in both models, so that Σ max = 2k − Σ min.
    """
    return weight / k if score == "overlap" else weight / (2 * k - weight)


@cache
def expected_overlap(n_allowed: int, k: int, score: Score) -> float:
    """Chance level of two independent neighbourhoods of size ``k`` among ``n_allowed`` rows.

    Parameters
    ----------
    n_allowed, k : int
        k at most ``n_allowed``.
    score : {"jaccard", "overlap"}
        E[h/(2k − h)] or E[h/k], h hypergeometric(n_allowed, k, k).
    """
    if score == "overlap":
        return k / n_allowed
    ways = [comb(k, h) * comb(n_allowed - k, k - h) for h in range(k + 1)]
    total = comb(n_allowed, k)
    return sum(h / (2 * k - h) * (way / total) for h, way in enumerate(ways))


def chance_levels(
    a: TieCounts, b: TieCounts, n_allowed: np.ndarray, k: int
) -> tuple[dict[Score, float], float]:
    """Mean chance level over rows, for either score.

    A permutation of the candidate's rows gives a row the neighbourhood of another, at random places
    among the rows that may be its neighbours. Without ties each row's level is exact. With ties
    only the numbers of nearer and tied rows matter: given the permutation, the overlap's mean
    follows from them, and Jaccard is drawn.

    Parameters
    ----------
    a, b : TieCounts
        Of the reference and the candidate.
    n_allowed : numpy.ndarray of int64, shape (n_rows,)
        Rows that may be a neighbour of each row.
    k : int
        Size of the neighbourhood.

    Returns
    -------
    levels : dict of score to float
    share_tied : float
        Share of rows with a tie at the k-th place in either model.
    """
    share_tied = float(((a.share < 1) | (b.share < 1)).mean())
    sizes, inverse = np.unique(n_allowed, return_inverse=True)
    levels: dict[Score, float] = {}
    for score in SCORES:
        untied = np.array([expected_overlap(int(n), k, score) for n in sizes])[inverse]
        expected = _permuted(a, b, n_allowed, k, score, untied) if share_tied else untied
        levels[score] = float(expected.mean())
    return levels, share_tied


def _permuted(
    a: TieCounts, b: TieCounts, n_allowed: np.ndarray, k: int, score: Score, untied: np.ndarray
) -> np.ndarray:
    """Mean score of each row (n_rows,) over permutations; ``untied`` where neither has ties."""
    rng = np.random.default_rng(0)
    total = np.zeros(len(n_allowed))
    for _ in range(N_PERMUTATIONS):
        other = rng.permutation(len(n_allowed))
        tied = np.flatnonzero((a.share < 1) | (b.share[other] < 1))
        own, theirs = a.take(tied), _fit(b.take(other[tied]), n_allowed[tied])
        expected = untied.copy()
        if score == "overlap":
            expected[tied] = _mean_weight(own, theirs) / n_allowed[tied] / k
        else:
            drawn = _draw_weight(own, theirs, n_allowed[tied], rng)
            expected[tied] = score_overlap(drawn, k, score)
        total += expected
    return total / N_PERMUTATIONS


def _fit(counts: TieCounts, n_allowed: np.ndarray) -> TieCounts:
    """Cut a tie set from elsewhere that is larger than what a row allows; it keeps its weight."""
    tied = np.minimum(counts.tied, n_allowed - counts.nearer)
    return TieCounts(counts.nearer, tied, counts.share * counts.tied / tied)


def _mean_weight(a: TieCounts, b: TieCounts) -> np.ndarray:
    """Σ over pairs of members of min(w_A, w_B): n_allowed times the mean of the shared weight."""
    return (
        a.nearer * (b.nearer + b.tied * b.share)
        + a.tied * a.share * b.nearer
        + a.tied * b.tied * np.minimum(a.share, b.share)
    )


def _draw_weight(
    a: TieCounts, b: TieCounts, n_allowed: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Draw Σ_j min(w_A, w_B) with the members of ``a`` at random places among the rows allowed."""
    rest = n_allowed - b.nearer - b.tied
    nearer_nearer = rng.hypergeometric(b.nearer, b.tied + rest, a.nearer)
    nearer_tied = rng.hypergeometric(b.tied, rest, a.nearer - nearer_nearer)
    left_nearer, left_tied = b.nearer - nearer_nearer, b.tied - nearer_tied
    left = n_allowed - a.nearer - left_nearer
    tied_nearer = rng.hypergeometric(left_nearer, left, a.tied)
    tied_tied = rng.hypergeometric(left_tied, left - left_tied, a.tied - tied_nearer)
    return (
        nearer_nearer
        + nearer_tied * b.share
        + tied_nearer * a.share
        + tied_tied * np.minimum(a.share, b.share)
    )

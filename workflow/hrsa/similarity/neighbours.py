"""Nearest neighbours by cosine: exact, tiled, with ties."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hrsa.similarity.arrays import check_matrix
from hrsa.similarity.cosine_tiles import TIE_TOLERANCE, TILE_BUDGET, kept_shape
from hrsa.similarity.exclusions import EXCLUSIONS, AllowedRows, Exclusion, allowed_rows
from hrsa.similarity.neighbour_search import search
from hrsa.similarity.running_selection import TileNeighbours
from hrsa.similarity.unit_rows import KeptRows, unit_rows

__all__ = [
    "EXCLUSIONS",
    "Exclusion",
    "Membership",
    "Neighbours",
    "TieCounts",
    "fewest_allowed",
    "membership",
    "n_kept",
    "nearest_neighbours",
    "neighbours_by_exclusion",
    "surplus",
]


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest neighbours of each row, nearest first, with all that tie with the last.

    Attributes
    ----------
    starts : numpy.ndarray of int64, shape (n_rows + 1,)
        Where each row's neighbours start in ``index``: lists are as long as their ties make them.
    index : numpy.ndarray of int32
        Rows that are neighbours.
    distance : numpy.ndarray of float32
        Their distances √(2 − 2cos).
    n_neighbours : int
        Every list holds at least as many.
    n_allowed : numpy.ndarray of int64, shape (n_rows,)
        Rows that could have been a neighbour of each row.
    exclude : str
        Which rows could not: see `nearest_neighbours`.
    """

    starts: np.ndarray
    index: np.ndarray
    distance: np.ndarray
    n_neighbours: int
    n_allowed: np.ndarray
    exclude: str

    @property
    def row(self) -> np.ndarray:
        """The row that each entry belongs to."""
        return np.repeat(np.arange(len(self.n_allowed)), np.diff(self.starts))


@dataclass(frozen=True, eq=False)
class TieCounts:
    """How each row's neighbourhood of k is made up; arrays of shape (n_rows,).

    Attributes
    ----------
    nearer, tied : numpy.ndarray of int64
        Rows nearer than the k-th, and rows tied with it (the k-th included).
    share : numpy.ndarray of float64
        Weight of a tied row: the places that are left, shared equally. 1 where there is no tie.
    """

    nearer: np.ndarray
    tied: np.ndarray
    share: np.ndarray

    def take(self, rows: np.ndarray) -> "TieCounts":
        """Give the counts of some rows."""
        return TieCounts(self.nearer[rows], self.tied[rows], self.share[rows])


@dataclass(frozen=True, eq=False)
class Membership:
    """Who is among the k nearest; each row's weights sum to k.

    Attributes
    ----------
    weight : numpy.ndarray, one per entry of the neighbours
        1 for those nearer than the k-th, equal fractions for those tied with it, 0 beyond.
    counts : TieCounts
        The same, counted per row.
    """

    weight: np.ndarray
    counts: TieCounts


def nearest_neighbours(
    X: npt.ArrayLike,
    n_neighbours: int,
    *,
    exclude: Exclusion = "self",
    samples: npt.ArrayLike | None = None,
    tokens: npt.ArrayLike | None = None,
    budget: int = TILE_BUDGET,
) -> Neighbours:
    """Find the nearest neighbours of each row by cosine (rows are not centred).

    Parameters
    ----------
    X : array-like, shape (n_tokens, width)
        Hidden states.
    n_neighbours : int
        At least 1, at most the number of rows allowed.
    exclude : {"self", "sample", "type"}
        Rows that are no neighbours of a row: itself; also those of its sample; also those of the
        same token.
    samples, tokens : array-like of length n_tokens, or None
        Sample of each row (needed for "sample"; None: each row its own), token id (for "type").
    budget : int
        Bytes of a tile of cosines, the largest table that is held beside the rows and the lists.

    Returns
    -------
    Neighbours

    Raises
    ------
    ValueError
        For a malformed array, a row of zeros, too few rows, or labels that ``exclude`` needs.
    """
    matrix = check_matrix(X, "X")
    return neighbours_by_exclusion(
        matrix, n_neighbours, exclude=(exclude,), samples=samples, tokens=tokens, budget=budget
    )[exclude]


def neighbours_by_exclusion(
    X: np.ndarray,
    n_neighbours: int,
    *,
    exclude: Sequence[Exclusion],
    samples: npt.ArrayLike | None = None,
    tokens: npt.ArrayLike | None = None,
    budget: int = TILE_BUDGET,
) -> dict[Exclusion, Neighbours]:
    """Find nearest neighbours under several exclusions from one computation of the cosines.

    Parameters
    ----------
    X : numpy.ndarray of float64, shape (n_tokens, width)
        Finite (see `hrsa.similarity.arrays.check_matrix`).
    n_neighbours, samples, tokens, budget
        As for `nearest_neighbours`.
    exclude : sequence of {"self", "sample", "type"}
        Exclusions wanted.

    Raises
    ------
    ValueError
        As `nearest_neighbours`.
    """
    allowed = allowed_rows(exclude, len(X), samples, tokens)
    allowed.check(n_neighbours)
    found: dict[Exclusion, list[TileNeighbours]] = {name: [] for name in allowed.labels}
    shape = kept_shape(len(X), len(found), budget)
    for name, part in search(KeptRows(unit_rows(X)), n_neighbours, allowed.labels, shape):
        found[name].append(part)
    return {
        name: _join(parts, n_neighbours, allowed.n_allowed[name], name)
        for name, parts in found.items()
    }


def membership(neighbours: Neighbours, k: int) -> Membership:
    """Weigh each neighbour's membership in the ``k`` nearest, ties shared equally.

    Parameters
    ----------
    neighbours : Neighbours
        Lists of at least ``k``.
    k : int
        Size of the neighbourhood.

    Raises
    ------
    ValueError
        When the lists are shorter than ``k``.
    """
    if k > neighbours.n_neighbours:
        raise ValueError(
            f"k = {k} but only {neighbours.n_neighbours} neighbours of each row are known"
        )
    first, lengths = neighbours.starts[:-1], np.diff(neighbours.starts)
    distance = neighbours.distance.astype(np.float64)
    gap = np.repeat(distance[first + k - 1], lengths) - distance
    nearer = gap > TIE_TOLERANCE
    tied = np.abs(gap) <= TIE_TOLERANCE
    n_nearer = np.add.reduceat(nearer, first, dtype=np.int64)
    n_tied = np.add.reduceat(tied, first, dtype=np.int64)
    share = (k - n_nearer) / n_tied
    weight = np.where(nearer, 1.0, np.where(tied, np.repeat(share, lengths), 0.0))
    return Membership(weight, TieCounts(n_nearer, n_tied, share))


def surplus(
    ks: Sequence[int],
    n_rows: int,
    *,
    exclude: Sequence[Exclusion],
    samples: npt.ArrayLike | None = None,
    tokens: npt.ArrayLike | None = None,
) -> int:
    """Neighbours to keep so that ``max(ks)`` are left when samples are deleted.

    Parameters
    ----------
    ks : sequence of int
        Sizes of neighbourhood that will be asked for.
    n_rows : int
        Rows in all.
    exclude, samples, tokens
        As for `neighbours_by_exclusion`.

    Returns
    -------
    int
        2 · max(ks) + 32, or as many as a small set of rows allows.

    Raises
    ------
    ValueError
        When fewer than ``max(ks)`` rows may be neighbours of a row.
    """
    return n_kept(ks, allowed_rows(exclude, n_rows, samples, tokens))


def n_kept(ks: Sequence[int], allowed: AllowedRows) -> int:
    """Count the neighbours to keep, as `surplus` does, where the allowed rows are known.

    Raises
    ------
    ValueError
        As `surplus`.
    """
    allowed.check(max(ks))
    return min(2 * max(ks) + 32, allowed.fewest)


def fewest_allowed(
    n_rows: int,
    *,
    exclude: Exclusion,
    samples: npt.ArrayLike | None = None,
    tokens: npt.ArrayLike | None = None,
) -> int:
    """Count the rows that may be neighbours of the row that has fewest.

    Parameters
    ----------
    n_rows : int
        Rows in all.
    exclude, samples, tokens
        As for `nearest_neighbours`.
    """
    return allowed_rows((exclude,), n_rows, samples, tokens).fewest


def _join(
    lists: list[TileNeighbours], n_neighbours: int, n_allowed: np.ndarray, exclude: str
) -> Neighbours:
    lengths = np.concatenate([part.lengths for part in lists])
    return Neighbours(
        starts=np.concatenate([[0], np.cumsum(lengths)]),
        index=np.concatenate([part.index for part in lists]),
        distance=np.concatenate([part.distance for part in lists]),
        n_neighbours=n_neighbours,
        n_allowed=n_allowed,
        exclude=exclude,
    )

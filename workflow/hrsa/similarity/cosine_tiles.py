"""Nearest rows by cosine within a tile of rows: exact in order, ties included."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

# Distances √(2 − 2cos), those of rows scaled to length 1, that differ by no more are tied.
TIE_TOLERANCE = 1e-6
# Bytes of a tile of cosines in float32; what is worked out from it takes about as much again.
TILE_BUDGET = 2**26
_MAX_TILE_ROWS = 512
# Pairs of rows whose cosines are refined at once: few enough to stay in the cache.
_REFINED_PAIRS = 2**11
# Cosines in float32 that are closer than this are computed again in float64: it covers the
# tolerance (a step of 1e-6 in distance is at most 2e-6 in cosine) and an error of 1.5e-6 in each.
_CLOSE = 2 * TIE_TOLERANCE + 2 * 1.5e-6
# Columns of which only the largest is looked at when bounding the k-th cosine of a row from below.
_GROUP = 8


@dataclass(frozen=True, eq=False)
class TileNeighbours:
    """Neighbours of some rows: how many each has, and their indices and distances joined."""

    lengths: np.ndarray
    index: np.ndarray
    distance: np.ndarray


def tiles(n_rows: int, budget: int = TILE_BUDGET) -> Iterator[np.ndarray]:
    """Split rows into tiles whose tables against all rows have a bounded size.

    Parameters
    ----------
    n_rows : int
        Rows in all.
    budget : int
        Bytes that a tile of 4-byte numbers may have; a tile has one row in any case.
    """
    height = min(max(budget // (4 * n_rows), 1), _MAX_TILE_ROWS)
    for start in range(0, n_rows, height):
        yield np.arange(start, min(start + height, n_rows))


def unit_rows(X: np.ndarray) -> np.ndarray:
    """Scale rows to length 1.

    Raises
    ------
    ValueError
        When a row is all zeros.
    """
    norms = np.linalg.norm(X, axis=1)
    if not norms.all():
        row = int(np.argmin(norms))
        raise ValueError(f"row {row} is all zeros: it has no direction, so no cosine is defined")
    return X / norms[:, None]


def select_nearest(
    cosines: np.ndarray, tile: np.ndarray, unit: np.ndarray, k: int
) -> TileNeighbours:
    """Pick the ``k`` nearest of each row of a tile and what ties with the last, nearest first.

    Parameters
    ----------
    cosines : numpy.ndarray of float32, shape (n_tile, n_rows)
        −∞ for rows that may not be a neighbour.
    tile : numpy.ndarray of int64, shape (n_tile,)
        Rows of the tile.
    unit : numpy.ndarray of float64, shape (n_rows, width)
        All rows, of length 1: where float32 cannot tell two cosines apart, they are taken anew.
    k : int
        Wanted neighbours; each row of the tile may have as many.
    """
    floor = _lower_bound(cosines, k) - _CLOSE
    place = np.flatnonzero(cosines >= floor[:, None])
    row = place // cosines.shape[1]
    counts = np.bincount(row, minlength=len(tile))
    within = np.arange(len(place)) - (np.cumsum(counts) - counts)[row]
    values = np.full((len(tile), counts.max()), -np.inf)
    columns = np.zeros(values.shape, dtype=np.int32)
    values[row, within] = cosines.ravel()[place]
    columns[row, within] = place - row * cosines.shape[1]
    values, columns = _sort(values, columns)
    _refine(values, columns, tile, unit)
    values, columns = _sort(values, columns)
    # Rounded before ties are decided, so that lists from a file decide as those in memory.
    distances = np.sqrt(np.maximum(2 - 2 * values, 0)).astype(np.float32)
    last = distances[:, k - 1].astype(np.float64)
    kept = distances <= (last + TIE_TOLERANCE)[:, None]
    return TileNeighbours(kept.sum(axis=1), columns[kept], distances[kept])


def _lower_bound(cosines: np.ndarray, k: int) -> np.ndarray:
    """Give a value that at least ``k`` cosines of each row reach, close to the k-th largest.

    The k-th largest of maxima of disjoint groups of columns is one, and is found in far less time.
    """
    n_groups = cosines.shape[1] // _GROUP
    if n_groups >= 2 * k:
        grouped = cosines[:, : n_groups * _GROUP].reshape(len(cosines), _GROUP, n_groups)
        candidates = grouped.max(axis=1)
        bound = _kth_largest(candidates, k)
        if np.isfinite(bound).all():
            return bound
    return _kth_largest(cosines, k)


def _kth_largest(values: np.ndarray, k: int) -> np.ndarray:
    place = values.shape[1] - k
    return np.partition(values, place, axis=1)[:, place]


def _sort(values: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sort each row by falling cosine, then rising column, whatever order they come in."""
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(values, order, 1), np.take_along_axis(columns, order, 1)


def _refine(values: np.ndarray, columns: np.ndarray, tile: np.ndarray, unit: np.ndarray) -> None:
    """Compute again, in float64 and in place, cosines that float32 may have put out of order."""
    with np.errstate(invalid="ignore"):
        close = values[:, :-1] - values[:, 1:] < _CLOSE
    near = np.zeros(values.shape, dtype=bool)
    near[:, :-1] |= close
    near[:, 1:] |= close
    near &= np.isfinite(values)
    rows, places = np.nonzero(near)
    for start in range(0, len(rows), _REFINED_PAIRS):
        row, place = rows[start : start + _REFINED_PAIRS], places[start : start + _REFINED_PAIRS]
        values[row, place] = np.einsum("ij,ij->i", unit[tile[row]], unit[columns[row, place]])

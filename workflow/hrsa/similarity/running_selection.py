"""The nearest rows of a tile, kept while cosines with ever more rows come in."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hrsa.similarity.cosine_tiles import SORT_BYTES, TIE_TOLERANCE
from hrsa.similarity.unit_rows import UnitRows

# Cosines in float32 that are closer than this are computed again in float64: it covers the
# tolerance (a step of 1e-6 in distance is at most 2e-6 in cosine) and an error of 1.5e-6 in each.
_CLOSE = 2 * TIE_TOLERANCE + 2 * 1.5e-6
# Columns of which only the largest is looked at when bounding the k-th cosine of a row from below.
_GROUP = 8
# Below every cosine, above the −∞ of rows that may not be a neighbour.
_LEAST = np.float32(-2)


class TooManyTied(Exception):
    """Rows of a tile have more neighbours than it may hold, since many tie."""


@dataclass(frozen=True, eq=False)
class TileNeighbours:
    """Neighbours of some rows: how many each has, and their indices and distances joined."""

    lengths: np.ndarray
    index: np.ndarray
    distance: np.ndarray


class RunningSelection:
    """What may be among the k nearest of each row of a tile, or tie with the last of them.

    Cosines are in float32, so that all within their error of the k-th largest so far are held;
    `finish` decides in float64.

    Parameters
    ----------
    first, n_rows : int
        The tile: rows ``first`` to ``first + n_rows - 1``.
    k : int
        Wanted neighbours; each row of the tile has as many once all cosines were added.
    most_held : int
        See `hrsa.similarity.cosine_tiles.TileShape`.
    """

    def __init__(self, first: int, n_rows: int, k: int, most_held: int) -> None:
        self._first, self._n_rows, self._k = first, n_rows, k
        self._most_held = most_held
        self._floor = np.full(n_rows, _LEAST)
        self._parts: list[_Entries] = []

    @property
    def _n_held(self) -> int:
        return sum(len(part.row) for part in self._parts)

    def add(self, cosines: np.ndarray, start: int) -> None:
        """Take in cosines of the tile with further rows, in rising order of these.

        Parameters
        ----------
        cosines : numpy.ndarray of float32, shape (n_rows, n_columns)
            −∞ for rows that may not be a neighbour.
        start : int
            Row that the first column is.

        Raises
        ------
        TooManyTied
            When more would be held than there is room for; a tile of one row takes all it has.
        """
        if not self._parts and cosines.shape[1] >= self._k:
            self._raise_floor(_lower_bound(cosines, self._k))
        above = cosines >= self._floor[:, None]
        n_new = np.count_nonzero(above)
        if self._parts and self._n_held + n_new > self._most_held:
            self._prune()
            if cosines.shape[1] >= self._k:  # nearer than all before, perhaps: a topic of its own
                self._raise_floor(_lower_bound(cosines, self._k))
            above = cosines >= self._floor[:, None]
            n_new = np.count_nonzero(above)
        if self._n_held + n_new > 2 * self._most_held and self._n_rows > 1:
            raise TooManyTied
        place = np.flatnonzero(above)
        row = (place // cosines.shape[1]).astype(np.int32)
        column = (place - row.astype(np.int64) * cosines.shape[1] + start).astype(np.int32)
        self._parts.append(_Entries(row, column, cosines.ravel()[place]))

    def finish(self, rows: UnitRows, sort_bytes: int) -> Iterator[TileNeighbours]:
        """Give the neighbours of the tile's rows in order, as many rows at once as can be sorted.

        Parameters
        ----------
        rows : UnitRows
            All rows: where float32 cannot tell two cosines apart, they are taken anew.
        sort_bytes : int
            Bytes that this may take; one row is sorted in any case.
        """
        if len(self._parts) > 1:
            self._prune()
        entries = self._parts[0]
        counts = np.bincount(entries.row, minlength=self._n_rows)
        for group in _groups(counts, sort_bytes, rows.held_bytes):
            values, columns = entries.padded(counts, group)
            tile = np.arange(self._first + group.start, self._first + group.stop)
            yield _nearest(values, columns, tile, rows, self._k)

    def _prune(self) -> None:
        """Join what is held, in order of rows, without what is out of the running by now."""
        entries = _joined(self._parts)
        counts = np.bincount(entries.row, minlength=self._n_rows)
        if counts.max() >= self._k:
            bound = np.full(self._n_rows, -np.inf, dtype=np.float32)
            for group in _groups(counts, SORT_BYTES * self._most_held, 0):
                values, _ = entries.padded(counts, group)
                if values.shape[1] >= self._k:
                    bound[group] = _kth_largest(values, self._k)
            self._raise_floor(bound)
            entries = entries.take(entries.value >= self._floor[entries.row])
        self._parts = [entries]

    def _raise_floor(self, bound: np.ndarray) -> None:
        """At least k cosines reach ``bound``: what is clearly below it will never be wanted."""
        self._floor = np.maximum(self._floor, bound - np.float32(_CLOSE))


@dataclass(frozen=True, eq=False)
class _Entries:
    """Candidates: row within the tile, column among all rows, cosine."""

    row: np.ndarray
    column: np.ndarray
    value: np.ndarray

    def take(self, chosen: np.ndarray) -> "_Entries":
        return _Entries(self.row[chosen], self.column[chosen], self.value[chosen])

    def padded(self, counts: np.ndarray, group: slice) -> tuple[np.ndarray, np.ndarray]:
        """Cosines and columns of some rows as tables, filled up with −∞; entries are by row."""
        start = int(counts[: group.start].sum())
        own = counts[group]
        part = slice(start, start + int(own.sum()))
        row = self.row[part] - group.start
        within = np.arange(len(row)) - (np.cumsum(own) - own)[row]
        values = np.full((len(own), own.max()), -np.inf, dtype=np.float32)
        columns = np.zeros(values.shape, dtype=np.int32)
        values[row, within] = self.value[part]
        columns[row, within] = self.column[part]
        return values, columns


def _joined(parts: list[_Entries]) -> _Entries:
    """Join parts that are each by row, and together by rising column, to one by row."""
    row = np.concatenate([part.row for part in parts])
    order = np.argsort(row, kind="stable")
    return _Entries(
        row[order],
        np.concatenate([part.column for part in parts])[order],
        np.concatenate([part.value for part in parts])[order],
    )


def _groups(counts: np.ndarray, most_bytes: int, row_bytes: int) -> Iterator[slice]:
    """Split rows so that a table of their entries, and what else a row takes, fits."""
    start = 0
    while start < len(counts):
        widest = np.maximum.accumulate(counts[start:])
        sizes = np.arange(1, len(widest) + 1) * (widest * SORT_BYTES + row_bytes)
        stop = start + max(int(np.searchsorted(sizes, most_bytes, side="right")), 1)
        yield slice(start, stop)
        start = stop


def _nearest(
    cosines: np.ndarray, columns: np.ndarray, tile: np.ndarray, rows: UnitRows, k: int
) -> TileNeighbours:
    """Pick the ``k`` nearest of each row and what ties with the last, nearest first."""
    values, columns = _sort(cosines.astype(np.float64), columns)
    _refine(values, columns, tile, rows)
    values, columns = _sort(values, columns)
    _order_equals(values, columns)
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
    """Sort each row by falling cosine."""
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(values, order, 1), np.take_along_axis(columns, order, 1)


def _order_equals(values: np.ndarray, columns: np.ndarray) -> None:
    """Put columns of equal cosine in rising order, in place, whatever noise had them sorted by."""
    swapped = (values[:, :-1] == values[:, 1:]) & (columns[:, :-1] > columns[:, 1:])
    rows = np.flatnonzero(swapped.any(axis=1))
    if len(rows):
        order = np.lexsort((columns[rows], -values[rows]), axis=1)
        columns[rows] = np.take_along_axis(columns[rows], order, 1)


def _refine(values: np.ndarray, columns: np.ndarray, tile: np.ndarray, rows: UnitRows) -> None:
    """Compute again, in float64 and in place, cosines that float32 may have put out of order."""
    with np.errstate(invalid="ignore"):
        close = values[:, :-1] - values[:, 1:] < _CLOSE
    near = np.zeros(values.shape, dtype=bool)
    near[:, :-1] |= close
    near[:, 1:] |= close
    near &= np.isfinite(values)
    row, place = np.nonzero(near)
    values[row, place] = rows.cosines(tile[row], columns[row, place])

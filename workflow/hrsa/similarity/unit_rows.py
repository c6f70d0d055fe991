"""Rows scaled to length 1: in single precision to search among, in double to decide by."""

from collections.abc import Callable
from itertools import pairwise
from typing import Protocol

import numpy as np

# Pairs of rows whose cosines are taken at once have this many bytes: few enough for the cache.
_PAIR_BYTES = 2**21
# Bytes of rows in float64 that are scaled at once on their way from the file.
_BLOCK_BYTES = 2**20

Reader = Callable[[np.ndarray], np.ndarray]


class UnitRows(Protocol):
    """Rows of length 1, wherever they are kept.

    Attributes
    ----------
    n_rows, width : int
    held_bytes : int
        What `cosines` takes for each row of the span that its pairs begin in.
    """

    n_rows: int
    width: int
    held_bytes: int

    def single(self, rows: slice) -> np.ndarray:
        """Rows as float32, shape (n, width)."""

    def cosines(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Cosines of pairs of rows (int arrays, one entry a pair), taken in float64."""


def unit_rows(X: np.ndarray, *, first: int = 0) -> np.ndarray:
    """Scale rows to length 1.

    Parameters
    ----------
    X : numpy.ndarray of float64, shape (n_rows, width)
        Finite rows.
    first : int
        Number of the first of them, for the message.

    Raises
    ------
    ValueError
        When a row is all zeros.
    """
    return X / _lengths(X, first)[:, None]


class KeptRows:
    """Unit rows in memory; 12 bytes a number.

    Parameters
    ----------
    unit : numpy.ndarray of float64, shape (n_rows, width)
        See `unit_rows`.
    """

    held_bytes = 0

    def __init__(self, unit: np.ndarray) -> None:
        self._unit = unit
        self._single = unit.astype(np.float32)
        self.n_rows, self.width = unit.shape

    def single(self, rows: slice) -> np.ndarray:
        """Rows as float32: a view."""
        return self._single[rows]

    @staticmethod
    def size(n_rows: int, width: int) -> int:
        """Bytes that so many rows take."""
        return 12 * n_rows * width

    @classmethod
    def from_reader(cls, read: Reader, n_rows: int, width: int) -> "KeptRows":
        """Read all rows once; see `StreamedRows` for the parameters."""
        unit = np.empty((n_rows, width))
        step = max(_BLOCK_BYTES // (8 * width), 1)
        for start in range(0, n_rows, step):
            rows = np.arange(start, min(start + step, n_rows))
            unit[rows] = unit_rows(read(rows).astype(np.float64), first=start)
        return cls(unit)

    def cosines(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Cosines of pairs, in float64."""
        values = np.empty(len(rows))
        step = max(_PAIR_BYTES // (8 * self.width), 1)
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            values[part] = _products(self._unit[rows[part]], self._unit[columns[part]])
        return values


class StreamedRows:
    """Unit rows that are read anew each time; only their lengths are kept.

    Parameters
    ----------
    read : callable
        Given row numbers, their values, shape (n, width).
    n_rows, width : int
        Shape of the whole.
    memory : int
        Bytes in which blocks of rows are read.

    Raises
    ------
    ValueError
        When a row is all zeros.
    """

    def __init__(self, read: Reader, n_rows: int, width: int, *, memory: int) -> None:
        self.n_rows, self.width = n_rows, width
        self.held_bytes = 8 * width
        self._read = read
        # A block is there as it was read, twice while it is gathered, and in float64.
        self._block = max(min(_BLOCK_BYTES, memory // 3) // (8 * width), 1)
        # Rows that are gathered: as blocks, with what lies between them in the file where one read
        # goes across it; then both ends of as many pairs.
        self._gathered = max(min(_PAIR_BYTES, memory // 6) // (8 * width), 1)
        self._length = np.empty(n_rows)
        for start in range(0, n_rows, self._block):
            rows = np.arange(start, min(start + self._block, n_rows))
            self._length[rows] = _lengths(read(rows).astype(np.float64), start)

    def single(self, rows: slice) -> np.ndarray:
        """Rows as float32."""
        return self._span(rows, np.float32)

    def cosines(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Cosines of pairs, in float64; what they end in is read in the order of the file."""
        values = np.empty(len(rows))
        if len(rows) == 0:
            return values
        first = int(rows.min())
        begin = self._span(slice(first, int(rows.max()) + 1), np.float64)
        order = np.argsort(columns, kind="stable")
        wanted, starts = np.unique(columns[order], return_index=True)
        edges = [*starts[:: self._gathered].tolist(), len(order)]
        for block, (start, stop) in enumerate(pairwise(edges)):
            read = wanted[block * self._gathered : (block + 1) * self._gathered]
            end = self._scaled(read)
            for part in range(start, stop, self._gathered):
                pairs = order[part : min(part + self._gathered, stop)]
                place = np.searchsorted(read, columns[pairs])
                values[pairs] = _products(begin[rows[pairs] - first], end[place])
        return values

    def _span(self, rows: slice, dtype: type) -> np.ndarray:
        out = np.empty((rows.stop - rows.start, self.width), dtype=dtype)
        for start in range(rows.start, rows.stop, self._block):
            stop = min(start + self._block, rows.stop)
            out[start - rows.start : stop - rows.start] = self._scaled(np.arange(start, stop))
        return out

    def _scaled(self, rows: np.ndarray) -> np.ndarray:
        unit = self._read(rows).astype(np.float64)
        unit /= self._length[rows, None]
        return unit


def _products(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Inner products of matching rows; each is summed alike, whatever rows stand beside it."""
    return np.einsum("ij,ij->i", a, b)


def _lengths(X: np.ndarray, first: int) -> np.ndarray:
    lengths = np.linalg.norm(X, axis=1)
    if not lengths.all():
        row = first + int(np.argmin(lengths))
        raise ValueError(f"row {row} is all zeros: it has no direction, so no cosine is defined")
    return lengths

"""Matched rows of one layer of two models, centred: kept where they fit, else read piece by piece.

Whoever sums over rows names them by their places in the matched rows, in any order, so that a
subset of the samples is read alone. What is kept is one piece.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from hrsa.similarity.arrays import is_constant
from hrsa.similarity.rotation import cross_without

Reader = Callable[[np.ndarray], np.ndarray]


class CentredRows:
    """Rows of a layer, centred by the mean of all: ``centred[rows]`` gives some, in float64.

    Parameters
    ----------
    read : callable
        Given places in the matched rows, a new array (n × width) of those rows.
    n_rows : int
        Matched rows.
    step : int
        Rows that are read at once.
    kept : bool
        Keep them all, rather than read them anew whenever they are asked for.

    Attributes
    ----------
    shape : tuple of int
        (n_rows, width).
    varies : bool
        Whether any two rows differ.
    """

    def __init__(self, read: Reader, n_rows: int, *, step: int, kept: bool) -> None:
        self._read = read
        self._kept: np.ndarray | None = None
        if kept:
            self._kept = np.asarray(read(np.arange(n_rows)), dtype=np.float64)
            self.varies = not is_constant(self._kept)
            self._mean = self._kept.mean(axis=0)
            self._kept -= self._mean
        else:
            self._mean, self.varies = _mean_of(read, n_rows, step)
        self.shape: tuple[int, int] = (n_rows, len(self._mean))

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        if self._kept is not None:
            return self._kept[rows]
        values = np.asarray(self._read(rows), dtype=np.float64)
        values -= self._mean
        return values


@dataclass(frozen=True, eq=False)
class Rest:
    """What is left of two matrices when rows go.

    Attributes
    ----------
    cross : numpy.ndarray, shape (p, q)
        S of the rows that are left, centred by their own means.
    shift_x, shift_y : numpy.ndarray, shapes (p,) and (q,)
        Added to a row that is centred by the mean of all, centres it by that of the rest.
    """

    cross: np.ndarray
    shift_x: np.ndarray
    shift_y: np.ndarray


@dataclass(frozen=True, eq=False)
class RowPair:
    """Matched rows of reference and candidate.

    Attributes
    ----------
    x, y : CentredRows
        Shapes (n_rows, p) and (n_rows, q).
    step : int
        Rows of a piece at most.
    """

    x: CentredRows
    y: CentredRows
    step: int

    @property
    def n_rows(self) -> int:
        """Number of matched rows."""
        return self.x.shape[0]

    def pieces(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Hand out some rows a piece at a time: their places, x and y."""
        for start in range(0, len(rows), self.step):
            part = rows[start : start + self.step]
            yield part, self.x[part], self.y[part]

    def sums(self) -> tuple[np.ndarray, float, float]:
        """S = X_cᵀY_c (p × q), ‖X_c‖² and ‖Y_c‖² of all rows, in one read."""
        cross = np.zeros((self.x.shape[1], self.y.shape[1]))
        squares_x = squares_y = 0.0
        for _, x, y in self.pieces(np.arange(self.n_rows)):
            cross += x.T @ y
            squares_x += float(np.vdot(x, x))
            squares_y += float(np.vdot(y, y))
        return cross, squares_x, squares_y

    def cross_of(self, rows: np.ndarray) -> np.ndarray:
        """S (p × q) of some rows, centred by their own means.

        Read twice: a rank could not be told from rounding had the means been taken off afterwards.
        """
        sum_x, sum_y = np.zeros(self.x.shape[1]), np.zeros(self.y.shape[1])
        for _, x, y in self.pieces(rows):
            sum_x += x.sum(axis=0)
            sum_y += y.sum(axis=0)
        cross = np.zeros((len(sum_x), len(sum_y)))
        for _, x, y in self.pieces(rows):
            x -= sum_x / len(rows)
            y -= sum_y / len(rows)
            cross += x.T @ y
        return cross

    def without(self, cross: np.ndarray, rows: np.ndarray) -> Rest:
        """Take rows out of the S (p × q) of all; at least one must be left.

        One piece after another goes, each centred by the mean of what was left before it.
        """
        sum_x, sum_y = np.zeros(self.x.shape[1]), np.zeros(self.y.shape[1])
        left = self.n_rows
        for part, x, y in self.pieces(rows):
            gone_x, gone_y = x.sum(axis=0), y.sum(axis=0)
            x += sum_x / left
            y += sum_y / left
            left -= len(part)
            cross = cross_without(cross, x, y, left)
            sum_x += gone_x
            sum_y += gone_y
        return Rest(cross, sum_x / left, sum_y / left)


def row_pair(
    reference: Reader,
    candidate: Reader,
    n_rows: int,
    widths: tuple[int, int],
    *,
    memory: int,
) -> RowPair:
    """Pair two layers, kept when both take at most a quarter of the memory in float64.

    Parameters
    ----------
    reference, candidate : callable
        Given places in the matched rows, a new array of those rows.
    n_rows : int
        Matched rows.
    widths : (int, int)
        Of the reference and of the candidate.
    memory : int
        Bytes that rows may take, with what is computed of them. Products of p × q come on top.
    """
    per_row = np.dtype(np.float64).itemsize * sum(widths)
    kept = n_rows * per_row <= memory // 4
    step = n_rows if kept else max(1, memory // (8 * per_row))
    x, y = (CentredRows(read, n_rows, step=step, kept=kept) for read in (reference, candidate))
    return RowPair(x, y, step)


def _mean_of(read: Reader, n_rows: int, step: int) -> tuple[np.ndarray, bool]:
    """Mean of all rows (width,), and whether any two differ.

    Shifted by the first row, so that a large offset costs no digits, and so that the mean of a
    constant column is that constant to the last one.
    """
    shift = read(np.arange(1))[0].astype(np.float64)
    total, varies = np.zeros_like(shift), False
    for start in range(0, n_rows, step):
        shifted = np.asarray(read(np.arange(start, min(start + step, n_rows))), dtype=np.float64)
        shifted -= shift
        total += shifted.sum(axis=0)
        varies = varies or bool(shifted.any())
    return shift + total / n_rows, varies

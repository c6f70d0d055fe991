"""Rows of an activation file: the columns that describe them, their numbers and blocks."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

TOKEN_COLUMNS = ("id", "position", "char_start", "char_end")


def row_blocks(n_rows: int, rows: int) -> list[slice]:
    """Consecutive slices of at most `rows` rows that cover `n_rows` rows."""
    if rows < 1:
        raise ValueError(f"a block needs at least one row, got rows={rows}")
    return [slice(start, min(start + rows, n_rows)) for start in range(0, n_rows, rows)]


def runs(rows: np.ndarray) -> Iterator[tuple[int, int]]:
    """Index ranges of ascending `rows` in which the rows are consecutive."""
    if len(rows) == 0:
        return
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    edges = [0, *breaks.tolist(), len(rows)]
    yield from pairwise(edges)


def row_numbers(rows: Sequence[int] | np.ndarray, n_rows: int) -> np.ndarray:
    """Row numbers as int64, from integers (negative ones count from the end) or a mask."""
    numbers = np.asarray(rows)
    if numbers.ndim != 1:
        raise IndexError(f"rows must be one-dimensional, got shape {numbers.shape}")
    if numbers.dtype == bool:
        if len(numbers) != n_rows:
            raise IndexError(f"a mask of {len(numbers)} rows for {n_rows} rows")
        return np.flatnonzero(numbers)
    if len(numbers) and not np.issubdtype(numbers.dtype, np.integer):
        raise IndexError(f"rows must be integers or a mask, got {numbers.dtype}")
    numbers = numbers.astype(np.int64)
    outside = (numbers < -n_rows) | (numbers >= n_rows)
    if outside.any():
        raise IndexError(f"row {numbers[np.argmax(outside)]} is outside the {n_rows} rows")
    return np.where(numbers < 0, numbers + n_rows, numbers)

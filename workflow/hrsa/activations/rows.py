"""Rows of an activation file: the tables that describe them, their numbers, runs and blocks."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

TOKEN_COLUMNS = ("id", "position", "char_start", "char_end")


def row_blocks(n_rows: int, rows: int) -> list[slice]:
    """Consecutive slices of at most `rows` rows that cover `n_rows` rows."""
    if rows < 1:
        raise ValueError(f"a block needs at least one row, got rows={rows}")
    return [slice(start, min(start + rows, n_rows)) for start in range(0, n_rows, rows)]


def part_blocks(edges: Sequence[int] | np.ndarray, rows: int) -> list[slice]:
    """Consecutive slices of at most `rows` rows that begin anew at each of the rising `edges`."""
    return [
        slice(start + block.start, start + block.stop)
        for start, stop in pairwise(map(int, edges))
        for block in row_blocks(stop - start, rows)
    ]


def check_tables(
    samples: Sequence[str], offsets: np.ndarray, tokens: Mapping[str, np.ndarray]
) -> None:
    """Check that the tables of a file fit together.

    Parameters
    ----------
    samples
        Ids (n_samples).
    offsets : int array (n_samples + 1)
        First row of each sample, and the number of rows.
    tokens
        The TOKEN_COLUMNS, int (n_tokens) each.

    Raises
    ------
    ValueError
    """
    n_tokens = len(tokens["id"])
    if n_tokens == 0:
        raise ValueError("there are no tokens to write")
    if any(len(column) != n_tokens for column in tokens.values()):
        lengths = {name: len(column) for name, column in tokens.items()}
        raise ValueError(f"columns of tokens differ in length: {lengths}")
    if (
        len(offsets) != len(samples) + 1
        or offsets[0] != 0
        or offsets[-1] != n_tokens
        or np.any(np.diff(offsets) < 0)
    ):
        raise ValueError(
            f"sample_offsets must rise from 0 to {n_tokens} in {len(samples) + 1} steps"
        )
    if len(set(samples)) < len(samples):
        raise ValueError("ids of samples must be unique")
    if _has_repeated_ends(offsets, tokens["char_end"]):
        raise ValueError("two rows of one sample end at the same character")


def _has_repeated_ends(offsets: np.ndarray, char_end: np.ndarray) -> bool:
    rises = char_end[1:] > char_end[:-1]
    starts = offsets[(offsets > 0) & (offsets < len(char_end))]
    rises[starts - 1] = True
    if rises.all():
        return False
    # Not in the order of the text, so that only sorting tells.
    sample = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    return len(np.unique((sample << 32) + char_end)) < len(char_end)


def runs(rows: np.ndarray, *others: np.ndarray) -> Iterator[tuple[int, int]]:
    """Index ranges in which `rows`, and others of its length, are consecutive numbers."""
    if len(rows) == 0:
        return
    breaks = np.zeros(len(rows) - 1, dtype=bool)
    for numbers in (rows, *others):
        breaks |= np.diff(numbers) != 1
    edges = [0, *(np.flatnonzero(breaks) + 1).tolist(), len(rows)]
    yield from pairwise(edges)


class Run(NamedTuple):
    """Consecutive rows of a file that lie one after the other in an array, too.

    Attributes
    ----------
    row, place : int
        The first one's number in the file, and in the array.
    length : int
    """

    row: int
    place: int
    length: int


def grouped_runs(rows: np.ndarray, places: np.ndarray, most: int) -> Iterator[list[Run]]:
    """Runs of ascending rows and their places in an array, in groups of near places.

    The places of a group rise, and span at most `most` rows of the array.
    """
    group: list[Run] = []
    for start, stop in runs(rows, places):
        for block in row_blocks(stop - start, most):
            row, place = int(rows[start]) + block.start, int(places[start]) + block.start
            run = Run(row, place, block.stop - block.start)
            if group and not (
                group[-1].place < place and place + run.length - group[0].place <= most
            ):
                yield group
                group = []
            group.append(run)
    if group:
        yield group


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

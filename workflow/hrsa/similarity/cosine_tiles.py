"""Tables of cosines in tiles: how large they may be, and which of their values to look at."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

# Distances √(2 − 2cos), those of rows scaled to length 1, that differ by no more are tied.
TIE_TOLERANCE = 1e-6
# Bytes of a tile of cosines in float32; what is worked out from it takes about as much again.
TILE_BUDGET = 2**26
_MAX_TILE_ROWS = 512
# Streamed, all rows are read again for each tile: the taller it is, the less often.
_MAX_STREAMED_ROWS = 8192
_MAX_CHUNK_ROWS = 1024
_MIN_CHUNK_ROWS = 16
# Bytes of one neighbour that a running selection holds: row, column and cosine.
HELD_BYTES = 12
# Bytes that an entry takes while lists are sorted, with all copies.
SORT_BYTES = 50


@dataclass(frozen=True)
class TileShape:
    """How much of the cosines is worked on at once.

    Attributes
    ----------
    height : int
        Rows whose neighbours are looked for together.
    width : int
        Rows that they are compared with at once.
    most_held : int
        Neighbours that a selection may hold before it drops those that are out of the running; it
        ends with at most twice as many, or the tile is split.
    sort_bytes : int
        What sorting the lists may take; they are sorted some rows at a time.
    """

    height: int
    width: int
    most_held: int
    sort_bytes: int


def tiles(n_rows: int, budget: int = TILE_BUDGET) -> Iterator[np.ndarray]:
    """Split rows into tiles whose tables against all rows have a bounded size.

    Parameters
    ----------
    n_rows : int
        Rows in all.
    budget : int
        Bytes that a tile of 4-byte numbers may have; a tile has one row in any case.
    """
    height = _height(n_rows, budget)
    for start in range(0, n_rows, height):
        yield np.arange(start, min(start + height, n_rows))


def kept_shape(n_rows: int, n_selections: int, budget: int) -> TileShape:
    """Shape of tiles where all rows are in memory: against all of them at once.

    Parameters
    ----------
    n_rows : int
        Rows in all.
    n_selections : int
        Selections that are made from the same cosines.
    budget : int
        Bytes of a tile of cosines; the selections take at most as much again, so does sorting.
    """
    return TileShape(
        height=_height(n_rows, budget),
        width=n_rows,
        most_held=max(budget // (2 * HELD_BYTES * n_selections), 1),
        sort_bytes=budget,
    )


def streamed_shape(width: int, k: int, n_selections: int, memory: int) -> TileShape:
    """Shape of tiles where rows are read from disk: as tall as the memory allows.

    Parameters
    ----------
    width : int
        Numbers in a row.
    k : int
        Wanted neighbours.
    n_selections : int
        Selections that are made from the same cosines.
    memory : int
        Bytes for all of it, rows included. A quarter of it is left to whoever reads the rows.
    """
    row = 4 * width
    chunk = min(max(memory // (8 * row), _MIN_CHUNK_ROWS), _MAX_CHUNK_ROWS)
    # Half as many again as wanted are held; twice that for a moment, and copied once to drop some.
    held = k + k // 2
    lists = 2 * HELD_BYTES * held * (n_selections + 1)
    # Cosines, which of them may not count, and which are large enough.
    cosines = (4 + 1 + 1) * chunk
    height = (memory * 3 // 4 - row * chunk) // (row + lists + cosines)
    height = min(max(height, 1), _MAX_STREAMED_ROWS)
    return TileShape(height, chunk, height * held, memory // 8)


def _height(n_rows: int, budget: int) -> int:
    return min(max(budget // (4 * n_rows), 1), _MAX_TILE_ROWS)

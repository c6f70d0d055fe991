"""Exact search for nearest rows: tiles of rows against chunks of rows, from memory or from disk."""

from collections.abc import Iterator

import numpy as np

from hrsa.similarity.cosine_tiles import TileShape
from hrsa.similarity.exclusions import Exclusion
from hrsa.similarity.running_selection import RunningSelection, TileNeighbours, TooManyTied
from hrsa.similarity.unit_rows import UnitRows


def search(
    rows: UnitRows, k: int, labels: dict[Exclusion, list[np.ndarray]], shape: TileShape
) -> Iterator[tuple[Exclusion, TileNeighbours]]:
    """Find the ``k`` nearest of every row and what ties with the last, some rows at a time.

    Parameters
    ----------
    rows : UnitRows
        The rows.
    k : int
        Wanted neighbours; every row has as many under each exclusion.
    labels : dict
        Exclusions and what they add to the one before (`AllowedRows.labels`).
    shape : TileShape
        How much to work on at once. Tiles are split where ties make the lists too long for it.

    Yields
    ------
    exclude : str
        An exclusion.
    found : TileNeighbours
        Neighbours of the rows that follow the last ones given for this exclusion.
    """
    start, height = 0, shape.height
    while start < rows.n_rows:
        tile = slice(start, min(start + height, rows.n_rows))
        try:
            selections = _select(rows, tile, k, labels, shape)
        except TooManyTied:
            height = (tile.stop - tile.start) // 2
            continue
        for name in list(selections):
            for found in selections.pop(name).finish(rows, shape.sort_bytes):
                yield name, found
        start, height = tile.stop, shape.height


def _select(
    rows: UnitRows,
    tile: slice,
    k: int,
    labels: dict[Exclusion, list[np.ndarray]],
    shape: TileShape,
) -> dict[Exclusion, RunningSelection]:
    """Go once over all rows for one tile; one table of cosines serves all exclusions."""
    n_tile = tile.stop - tile.start
    selections = {name: RunningSelection(tile.start, n_tile, k, shape.most_held) for name in labels}
    queries = rows.single(tile)
    table = np.empty(n_tile * min(shape.width, rows.n_rows), dtype=np.float32)
    for start in range(0, rows.n_rows, shape.width):
        chunk = slice(start, min(start + shape.width, rows.n_rows))
        n_chunk = chunk.stop - start
        cosines = table[: n_tile * n_chunk].reshape(n_tile, n_chunk)
        np.matmul(queries, rows.single(chunk).T, out=cosines)
        own = np.arange(max(tile.start, start), min(tile.stop, chunk.stop))
        cosines[own - tile.start, own - start] = -np.inf
        # Each exclusion adds to the one before it.
        for name, differing in labels.items():
            for codes in differing:
                _forbid(cosines, codes[tile], codes[chunk])
            selections[name].add(cosines, start)
    return selections


def _forbid(cosines: np.ndarray, of_rows: np.ndarray, of_columns: np.ndarray) -> None:
    """Set cosines of rows with the same label to −∞, in place."""
    concerned = np.flatnonzero(np.isin(of_rows, of_columns))
    if len(concerned):
        # Rows of one sample mostly lie together.
        span = slice(concerned[0], concerned[-1] + 1)
        np.copyto(cosines[span], -np.inf, where=of_rows[span, None] == of_columns)

"""‖S‖², ‖W‖² and ⟨S, W⟩ of every cell of an L × L' comparison, whole and without each block.

Two ways to the same numbers. `by_grams` walks over pairs of row tiles, forms each layer's tile of
the Gram matrix once and takes all L × L' inner products of tiles, since ‖X_iᵀY_j‖² = ⟨K_i, M_j⟩:
its cost is O(L n² D). `by_products` forms each S_ij = X_iᵀY_j: O(L² n D²). The first is cheaper
while n is below about L · D (see `cheaper_route`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from threading import local
from typing import Any

import numpy as np

from hrsa.similarity.cells import Cells
from hrsa.similarity.distinct_samples import PairSums, Products, sample_indicator
from hrsa.similarity.layer_stack import LayerStack, Piece
from hrsa.similarity.workers import workers

# What the sums over p × q matrices of one block cost `by_products` beside the product itself, in
# rows of that product (`make benchmark`: with 7 layers of width 128 the routes cost the same near
# n = 4000).
ROWS_OF_SUMS = 400
# Rows of a tile on its long side: with fewer the processor is idle.
TILE_ROWS = 1024
# Rows of a piece at most; blocks that are no larger stay whole, which keeps tiles square.
PIECE_ROWS = 640


@dataclass(eq=False)
class _BlockTable:
    """Sums T_bc over pairs of blocks, kept as what leaving out a block needs.

    Rows and columns are kept apart, since ⟨S, W⟩ pairs rows of one block with samples of another.
    """

    rows: np.ndarray
    columns: np.ndarray
    diagonal: np.ndarray

    @classmethod
    def zeros(cls, n_blocks: int, size: int) -> "_BlockTable":
        """Nothing summed yet."""
        return cls(*(np.zeros((n_blocks, size)) for _ in range(3)))

    def add(self, first: int, second: int, values: np.ndarray) -> None:
        """Add a sum over rows of block ``first`` and columns of block ``second``."""
        self.rows[first] += values
        self.columns[second] += values
        if first == second:
            self.diagonal[first] += values

    def products(self) -> Products:
        """All pairs, and all without a block."""
        total = self.rows.sum(axis=0)
        return Products(total, total - self.rows - self.columns + self.diagonal)


def by_grams(
    x: LayerStack,
    y: LayerStack,
    cells: Cells,
    pieces: list[Piece],
    *,
    by_sample: bool,
    memory: int,
    put: Any = np.asarray,
) -> PairSums:
    """Sum over tiles of Gram matrices.

    Parameters
    ----------
    x, y : LayerStack
        Reference and candidate.
    cells : Cells
    pieces : list of Piece
        Covering all rows; tiles are pairs of them.
    by_sample : bool
        Whether samples are more than one row.
    memory : int
        Bytes of rows that are held while others pass by; more of them means fewer reads.
    put : callable
        Takes an array to the device that multiplies.
    """
    tables = [_BlockTable.zeros(x.order.n_blocks, cells.size) for _ in range(3 if by_sample else 1)]
    per_row = sum(stack.n_layers * stack.dtype.itemsize for stack in (x, y))
    longest = max(piece.n_rows for piece in pieces)
    per_row_read = sum(stack.n_layers * stack.width * stack.dtype.itemsize for stack in (x, y))
    # of each thread: a tile, and the rows that pass by; a long sample is a piece by itself
    most = memory // (longest * (per_row * max(TILE_ROWS, longest) + per_row_read))
    multiply = _Multiplier()
    with workers(most if put is np.asarray else 1) as in_order:
        for group in _groups(x, y, pieces, memory):
            held = [(bundle, _rows(x, y, _span(bundle), put)) for bundle in group]

            def sums_with(second: Piece, held: list[Any] = held) -> list[_Sum]:
                right = _rows(x, y, second.rows, put)
                sums: list[_Sum] = []
                for first, left in held:
                    # of a symmetric matrix the upper half is enough: no rows below the piece's own
                    kept = [piece for piece in first if piece.rows.start <= second.rows.start]
                    if kept:
                        n_kept = kept[-1].rows.stop - kept[0].rows.start
                        tiles = multiply([side[:, :n_kept] for side in left], right)
                        sums += _sums_of_tiles(cells, x, kept, second, tiles, by_sample, put)
                return sums

            # those with most rows above them first, so that no thread waits long for the last one
            for part in in_order(sums_with, reversed(pieces[pieces.index(group[0][0]) :])):
                for one in part:
                    tables[one.table].add(one.first, one.second, one.values)
    found = [table.products() for table in tables]
    return PairSums(*(found if by_sample else found * 3))


def by_products(
    x: LayerStack,
    y: LayerStack,
    cells: Cells,
    pieces: list[Piece],
    *,
    by_sample: bool,
    memory: int,
    put: Any = np.asarray,
) -> PairSums:
    """Sum by way of the p × q products of every two layers.

    Parameters
    ----------
    x, y, cells, pieces, by_sample, put
        As for `by_grams`; pieces of one block follow one another.
    memory : int
        Bytes that products of blocks may take before they are formed a second time instead.
    """
    n_blocks = x.order.n_blocks
    totals, without = np.zeros((3, cells.size)), np.zeros((3, n_blocks, cells.size))
    for place, left, i, right, js in _rows_of_cells(x, y, cells, memory):
        columns = slice(place, place + len(js))
        parts = _BlockProducts(left, i, right, js, pieces, by_sample, put)
        totals[:, columns], without[:, :, columns] = parts.sums(memory)
    return PairSums(*(Products(t, w) for t, w in zip(totals, without, strict=True)))


def operations(n_rows: int, widths: tuple[int, int], layers: tuple[int, int]) -> dict[str, float]:
    """Floating-point operations that each way needs, with the values without each block.

    Parameters
    ----------
    n_rows : int
    widths : tuple of int
        Of the reference and the candidate.
    layers : tuple of int
        Layers of each.
    """
    (p, q), (n_x, n_y) = widths, layers
    # Gram matrices are symmetric: half of n² entries, two operations for each product
    grams = n_rows**2 * (n_x * p + n_y * q + n_x * n_y + n_x + n_y)
    products = 2 * n_rows * (n_x * n_y * p * q + n_x * p**2 + n_y * q**2)
    return {"grams": float(grams), "products": float(products)}


def cheaper_route(
    n_rows: int, widths: tuple[int, int], layers: tuple[int, int], *, n_blocks: int
) -> str:
    """Which way costs less, "grams" or "products"; arguments as for `operations`."""
    grams = operations(n_rows, widths, layers)["grams"]
    products = operations(n_rows + ROWS_OF_SUMS * n_blocks, widths, layers)["products"]
    return "grams" if grams <= products else "products"


def _bundles(pieces: list[Piece], most_rows: int) -> list[list[Piece]]:
    """Gather consecutive pieces to tiles that a matrix product is efficient on."""
    bundles: list[list[Piece]] = [[]]
    for piece in pieces:
        if bundles[-1] and piece.rows.stop - bundles[-1][0].rows.start > most_rows:
            bundles.append([])
        bundles[-1].append(piece)
    return bundles


def _groups(
    x: LayerStack, y: LayerStack, pieces: list[Piece], memory: int
) -> Iterator[list[list[Piece]]]:
    """Gather pieces to bundles, and those that fit in memory together (one piece at least)."""
    per_row = sum(stack.n_layers * stack.width * stack.dtype.itemsize for stack in (x, y))
    most_rows = memory // per_row
    group: list[list[Piece]] = []
    for bundle in _bundles(pieces, min(TILE_ROWS, most_rows)):
        if group and bundle[-1].rows.stop - group[0][0].rows.start > most_rows:
            yield group
            group = []
        group.append(bundle)
    yield group


def _span(bundle: list[Piece]) -> slice:
    return slice(bundle[0].rows.start, bundle[-1].rows.stop)


def _rows(x: LayerStack, y: LayerStack, rows: slice, put: Any) -> tuple[Any, Any]:
    return put(x.rows(rows)), put(y.rows(rows))


class _Multiplier(local):
    """Products a bᵀ of every layer of both models; in NumPy always in the same memory of a thread.

    Fresh memory of this size comes from the system a page at a time, which costs a tenth of the
    product itself. A product is valid until the thread's next one.
    """

    def __init__(self) -> None:
        self._memory: dict[int, np.ndarray] = {}

    def __call__(self, left: Sequence[Any], right: Sequence[Any]) -> list[Any]:
        return [
            self._product(side, *both) for side, both in enumerate(zip(left, right, strict=True))
        ]

    def _product(self, side: int, a: Any, b: Any) -> Any:
        if not isinstance(a, np.ndarray):
            return a @ b.mT
        shape = (len(a), a.shape[1], b.shape[1])
        size = int(np.prod(shape))
        kept = self._memory.get(side)
        if kept is None or kept.size < size:
            kept = self._memory[side] = np.empty(size, dtype=a.dtype)
        return np.matmul(a, b.mT, out=kept[:size].reshape(shape))


@dataclass(frozen=True, eq=False)
class _Sum:
    """Sums of all cells over rows of one block and columns of another, and the table they go to."""

    table: int
    first: int
    second: int
    values: np.ndarray


def _sums_of_tiles(
    cells: Cells,
    x: LayerStack,
    bundle: list[Piece],
    second: Piece,
    tiles: list[Any],
    by_sample: bool,
    put: Any,
) -> Iterator[_Sum]:
    """Sum over a tile of several pieces by one, piece by piece: each is contiguous in memory."""
    start = bundle[0].rows.start
    for first in bundle:
        rows = slice(first.rows.start - start, first.rows.stop - start)
        yield from _sums_of_tile(
            cells, x, first, second, [tile[:, rows] for tile in tiles], by_sample, put
        )


def _sums_of_tile(
    cells: Cells,
    x: LayerStack,
    first: Piece,
    second: Piece,
    tiles: list[Any],
    by_sample: bool,
    put: Any,
) -> Iterator[_Sum]:
    """Sum over tiles of all layers' Gram matrices, and over the transposed place of another."""
    there, back = (first.block, second.block), (second.block, first.block)
    places = [there] if first is second else [there, back]
    values = cells.inner(*tiles)
    yield from (_Sum(0, *place, values) for place in places)
    if not by_sample:
        return
    left, right = (put(sample_indicator(x, piece)) for piece in (first, second))
    rows_samples = [tile @ right for tile in tiles]
    values = cells.inner(*(left.T @ tile for tile in rows_samples))
    yield from (_Sum(1, *place, values) for place in places)
    yield _Sum(2, *there, cells.inner(*rows_samples))
    if first is not second:
        yield _Sum(2, *back, cells.inner(*(left.T @ tile for tile in tiles)))


def _rows_of_cells(
    x: LayerStack, y: LayerStack, cells: Cells, memory: int
) -> Iterator[tuple[int, LayerStack, int, LayerStack, list[int]]]:
    """Split the flat axis: place, layer of one stack, layers of another that are done with it."""
    # S, W, S_b and W_b of each layer are held at once
    most = max(1, memory // (4 * 8 * x.width * y.width))
    for i in range(cells.n_x):
        for j in range(0, cells.n_y, most):
            yield i * cells.n_y + j, x, i, y, list(range(j, min(j + most, cells.n_y)))
    own = cells.n_x * cells.n_y
    for i in range(cells.n_x):
        yield own + i, x, i, x, [i]
    for j in range(cells.n_y):
        yield own + cells.n_x + j, y, j, y, [j]


@dataclass(frozen=True, eq=False)
class _BlockProducts:
    """S_b and W_b of each block, of one layer with several others."""

    x: LayerStack
    i: int
    y: LayerStack
    js: list[int]
    pieces: list[Piece]
    by_sample: bool
    put: Any

    def sums(self, memory: int) -> tuple[np.ndarray, np.ndarray]:
        """‖S‖², ‖W‖² and ⟨S, W⟩ of each cell, shapes (3, n_js) and (3, B, n_js)."""
        shape = (len(self.js), self.x.width, self.y.width)
        blocks = [list(pieces) for _, pieces in groupby(self.pieces, key=lambda piece: piece.block)]
        of_block = 2 * 8 * int(np.prod(shape))
        keep = len(blocks) * of_block <= memory
        kept: list[tuple[np.ndarray, np.ndarray]] = []
        s = np.zeros(shape)
        w = np.zeros(shape) if self.by_sample else s
        # of each thread: the products of a block, then what is left without them
        with workers(memory // (2 * of_block) if self.put is np.asarray else 1) as in_order:
            for s_b, w_b in in_order(self._of_block, blocks):
                s += s_b
                if self.by_sample:
                    w += w_b
                if keep:
                    kept.append((s_b, w_b))

            def without(place: int) -> np.ndarray:
                s_b, w_b = kept[place] if keep else self._of_block(blocks[place])
                rest = s - s_b
                return _products_of(rest, w - w_b if self.by_sample else rest)

            left = np.array(list(in_order(without, range(len(blocks)))))
        return _products_of(s, w), left.transpose(1, 0, 2)

    def _of_block(self, pieces: list[Piece]) -> tuple[np.ndarray, np.ndarray]:
        """S_b and W_b of a block (n_js × p × q, float64); S_b twice where rows are samples."""
        s_b = np.zeros((len(self.js), self.x.width, self.y.width))
        w_b = np.zeros(s_b.shape) if self.by_sample else s_b
        for piece in pieces:
            left, right = self.x.rows(piece.rows, [self.i]), self.y.rows(piece.rows, self.js)
            s_b += self._product(left, right)
            if self.by_sample:
                member = sample_indicator(self.x, piece).T
                w_b += self._product(member @ left, member @ right)
        return s_b, w_b

    def _product(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        product: Any = self.put(left).mT @ self.put(right)
        return np.asarray(product.cpu() if hasattr(product, "cpu") else product, dtype=np.float64)


def _products_of(s: np.ndarray, w: np.ndarray) -> np.ndarray:
    """‖S‖², ‖W‖² and ⟨S, W⟩ of several matrices (n × p × q) each, shape (3, n)."""
    if w is s:
        return np.repeat(_dots(s, s)[None], 3, axis=0)
    return np.array([_dots(s, s), _dots(w, w), _dots(s, w)])


def _dots(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Inner product of each matrix of a (n × p × q) with that of b, shape (n,)."""
    return np.array([np.vdot(left, right) for left, right in zip(a, b, strict=True)])

"""Pearson correlation of dimension j with dimension j, for every layer of one model with another's.

It needs Σx, Σy, Σx², Σy² and Σxy of each column, whole and without each block. Sums of products are
taken for all pairs of layers together, a slice of the dimensions at a time.
"""

from dataclasses import dataclass

import numpy as np

from hrsa.similarity.layer_stack import LayerStack, Piece, pieces_of

# A variance that is this small a part of the whole is rounding of a constant.
_NO_VARIANCE = 1e-12


@dataclass(frozen=True, eq=False)
class Correlations:
    """Correlation of each dimension for every pair of layers.

    Attributes
    ----------
    per_dimension : numpy.ndarray, shape (n_x, n_y, width)
        NaN where a column does not vary in one of the models.
    replicates : numpy.ndarray, shape (n_x, n_y, n_blocks)
        Signed mean over dimensions with each block left out; NaN where none varies.
    """

    per_dimension: np.ndarray
    replicates: np.ndarray


def correlate_cells(x: LayerStack, y: LayerStack, *, memory: int) -> Correlations:
    """Correlate matched dimensions of all pairs of layers.

    Parameters
    ----------
    x, y : LayerStack
        Of equal width, in one order.
    memory : int
        Bytes that sums of products, and rows, may take each; less of it means more reads.
    """
    n_blocks, width = x.order.n_blocks, x.width
    shape = (x.n_layers, y.n_layers)
    per_dimension = np.empty((*shape, width))
    totals, counts = np.zeros((2, *shape, n_blocks))
    # the sums, what is left without each block, and its correlation
    per_column = 8 * 4 * n_blocks * x.n_layers * y.n_layers
    step = max(1, min(width, memory // per_column))
    # rows of all layers, and the same turned over for products by dimension
    rows = max(16, memory // (2 * 8 * width * (x.n_layers + y.n_layers)))
    pieces = pieces_of(x.order.by_row(), rows)
    for start in range(0, width, step):
        columns = slice(start, min(start + step, width))
        whole, without = _correlate(x, y, pieces, columns)
        per_dimension[:, :, columns] = whole
        varies = ~np.isnan(without)
        totals += np.where(varies, without, 0).sum(axis=2)
        counts += varies.sum(axis=2)
    replicates = np.divide(totals, counts, out=np.full(totals.shape, np.nan), where=counts > 0)
    return Correlations(per_dimension, replicates)


def _correlate(
    x: LayerStack, y: LayerStack, pieces: list[Piece], columns: slice
) -> tuple[np.ndarray, np.ndarray]:
    """Correlations (n_x × n_y × columns), and without each block (… × B)."""
    n_blocks = x.order.n_blocks
    n_columns = columns.stop - columns.start
    products = np.zeros((n_blocks, n_columns, x.n_layers, y.n_layers))
    squares = [np.zeros((n_blocks, n_columns, stack.n_layers)) for stack in (x, y)]
    for piece in pieces:
        left, right = (
            np.ascontiguousarray(
                stack.rows(piece.rows)[:, :, columns].transpose(2, 0, 1), dtype=np.float64
            )
            for stack in (x, y)
        )
        products[piece.block] += left @ right.transpose(0, 2, 1)
        for total, rows in zip(squares, (left, right), strict=True):
            total[piece.block] += np.einsum("dlm,dlm->dl", rows, rows)
    sizes = x.order.block_sizes.astype(np.float64)
    sums = [stack.block_sums[:, :, columns].transpose(1, 2, 0) for stack in (x, y)]
    constant = x.constant[:, None, columns] | y.constant[None, :, columns]
    whole = _pearson(sizes.sum(keepdims=True), sums, squares, products, of_all=True)[0]
    whole = np.where(constant, np.nan, whole.transpose(1, 2, 0))
    without = _pearson(sizes.sum() - sizes, sums, squares, products, of_all=False)
    return whole, np.where(constant[..., None], np.nan, without.transpose(2, 3, 1, 0))


def _pearson(
    n: np.ndarray,
    sums: list[np.ndarray],
    squares: list[np.ndarray],
    products: np.ndarray,
    *,
    of_all: bool,
) -> np.ndarray:
    """Pearson's r of all blocks (1 × columns × n_x × n_y), or without each (B × …).

    NaN where a variance is not above rounding.
    """

    def chosen(parts: np.ndarray) -> np.ndarray:
        total = parts.sum(axis=0, keepdims=True)
        return total if of_all else total - parts

    n = np.maximum(n, 1)[:, None, None]
    means = [chosen(one) / n for one in sums]
    spread = []
    for mean, square in zip(means, squares, strict=True):
        variance = chosen(square) - n * mean**2
        least = _NO_VARIANCE * square.sum(axis=0, keepdims=True)
        spread.append(np.sqrt(np.where(variance > least, variance, np.nan)))
    covariance = chosen(products) - n[..., None] * means[0][..., :, None] * means[1][..., None, :]
    return covariance / (spread[0][..., :, None] * spread[1][..., None, :])

"""Linear CKA of every layer of one model with every layer of another, by three estimators.

``biased`` (the published one), ``song`` (without the pairs of a token with itself) and
``sample_debiased`` (without the pairs of tokens of one sample), each with every block left out.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from hrsa.similarity.cells import Cells
from hrsa.similarity.devices import mover
from hrsa.similarity.distinct_samples import cell_sums, hsic, recentred
from hrsa.similarity.layer_stack import MEMORY, LayerStack, Piece, pieces_of
from hrsa.similarity.pair_sums import PIECE_ROWS, PairSums, by_grams, by_products, cheaper_route

Route = Literal["auto", "grams", "products"]
# A self term that is this small a part of ‖A‖²/n² is rounding of 0.
_ROUNDING = {np.dtype(np.float64): 1e-12, np.dtype(np.float32): 1e-6}


@dataclass(frozen=True, eq=False)
class Estimates:
    """One estimator: values (L × L'; NaN where undefined) and with each block left out (… × B)."""

    values: np.ndarray
    replicates: np.ndarray


@dataclass(frozen=True, eq=False)
class CkaCells:
    """The three estimators, and the exact mean of the biased one under permutation of rows."""

    biased: Estimates
    song: Estimates
    sample_debiased: Estimates
    chance: np.ndarray


def cka_cells(
    x: LayerStack,
    y: LayerStack,
    *,
    route: Route = "auto",
    device: str = "auto",
    memory: int = MEMORY,
) -> CkaCells:
    """Linear CKA of all cells with exact delete-one-block values.

    Parameters
    ----------
    x, y : LayerStack
        Reference and candidate on the same matched rows, in one order.
    route : {"auto", "grams", "products"}
        How products are summed (`hrsa.similarity.pair_sums`); "auto" takes the cheaper one.
    device : {"auto", "cpu", "cuda"}
        Where they are computed.
    memory : int
        Bytes that may be held at once; what the stacks keep counts as theirs.

    Returns
    -------
    CkaCells

    References
    ----------
    Kornblith et al. (2019), Similarity of neural network representations revisited, eq. 4.
    Song et al. (2012), Feature selection via dependence maximization, eq. 5 (HSIC₁).
    """
    order, cells = x.order, Cells(x.n_layers, y.n_layers)
    by_sample = order.n_samples < order.n_rows
    pieces = pieces_of(order, piece_rows(x, y, memory, 8))
    sums = cell_sums(x, y, cells, pieces, by_sample=by_sample, memory=memory // 4)
    tiles = pieces_of(order, min(PIECE_ROWS, piece_rows(x, y, memory, x.dtype.itemsize)))
    products = _pair_sums(x, y, cells, tiles, by_sample, route, device, memory)
    rows_only = PairSums(products.cross, products.cross, products.cross)
    norms = np.sqrt(cells.own(products.cross.total))
    least = _ROUNDING[x.dtype] * norms**2 / order.n_rows**2
    found = []
    for terms, row_sums, one in (
        (rows_only, sums.song, order.by_row()),
        (products, sums.sample_debiased, order),
    ):
        whole, without = hsic(cells, terms, row_sums, x, y, one)
        found.append(_estimates(cells, whole, without, least))
    traces = sums.song.norms_x.sum(axis=1), sums.song.norms_y.sum(axis=1)
    scale = norms[: cells.n_x, None] * norms[None, cells.n_x :]
    with np.errstate(divide="ignore", invalid="ignore"):
        chance = np.multiply.outer(*traces) / ((order.n_rows - 1) * scale)
    biased = _estimates(
        cells, products.cross.total, recentred(cells, products, sums, x, y), np.zeros(len(least))
    )
    return CkaCells(biased, found[0], found[1], np.where(scale > 0, chance, np.nan))


def piece_rows(x: LayerStack, y: LayerStack, memory: int, itemsize: int) -> int:
    """Rows in a piece, so that rows and tiles of all layers take an eighth of the memory."""
    n_layers = x.n_layers + y.n_layers
    per_row = 2 * (x.n_layers * x.width + y.n_layers * y.width)
    budget = memory / (8 * itemsize)
    # m rows hold per_row · m numbers, their tiles n_layers · m²: the root of the quadratic
    root = np.sqrt(per_row**2 + 4 * n_layers * budget)
    return max(16, int((root - per_row) / (2 * n_layers)))


def _pair_sums(
    x: LayerStack,
    y: LayerStack,
    cells: Cells,
    pieces: list[Piece],
    by_sample: bool,
    route: Route,
    device: str,
    memory: int,
) -> PairSums:
    order = x.order
    cheaper = cheaper_route(
        order.n_rows, (x.width, y.width), (x.n_layers, y.n_layers), n_blocks=order.n_blocks
    )
    put = mover(device)
    sum_up = by_grams if (cheaper if route == "auto" else route) == "grams" else by_products
    return sum_up(x, y, cells, pieces, by_sample=by_sample, memory=memory // 4, put=put)


def _estimates(
    cells: Cells, whole: np.ndarray, without: np.ndarray, least: np.ndarray
) -> Estimates:
    return Estimates(cells.ratio(whole, least), np.moveaxis(cells.ratio(without, least), 0, -1))

"""HSIC as a U-statistic over distinct samples, for all cells and with each block left out.

Tokens of one text resemble one another in every model, so that pairs of tokens of one sample make
unrelated models look alike. The estimator averages ⟨x_i, x_j⟩⟨y_i, y_j⟩ over pairs (T₁), triples
(T₃) and quadruples (T₂) of rows of which no two share a sample: HSIC = T₁ − 2T₃ + T₂. With each row
a sample of its own that is HSIC₁ of Song et al. (2012).

Matrices are centred by their means over all rows, once, also for the delete-one-block values. In
the module's symbols S = Σ x_i y_iᵀ, u_a and v_a are a sample's column sums, W = Σ u_a v_aᵀ,
g_a = ‖u_a‖², h_a = ‖v_a‖², f = Σ‖S_a‖², c = Σ u_aᵀ S_a v_a; U and V are the column sums of what is
left without a block (0 when nothing is left out).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from hrsa.similarity.cells import Cells
from hrsa.similarity.layer_stack import LayerStack, Piece
from hrsa.similarity.workers import workers
from hrsa.statistics.blocks import BlockOrder

# T₂ runs over quadruples of distinct samples.
MIN_SAMPLES = 4
# Entries of samples' Gram matrices, all layers together, that a thread holds at once (64 MiB).
_GRAM_ENTRIES = 2**23


@dataclass(frozen=True, eq=False)
class Products:
    """Sums over pairs of rows: over all of them (size,), and without each block (B, size)."""

    total: np.ndarray
    without: np.ndarray


@dataclass(frozen=True, eq=False)
class PairSums:
    """‖S‖², ‖W‖² and ⟨S, W⟩ of every cell; one and the same where rows are samples."""

    cross: Products
    sums_cross: Products
    inner: Products


@dataclass(eq=False)
class RowSums:
    """Sums over rows and samples: all additive, none needs a product of layers with each other.

    Attributes
    ----------
    f, c, gh : numpy.ndarray, shape (B, size)
        f, c and Σgh of each block.
    norms_x, norms_y : numpy.ndarray, shapes (n_x, B), (n_y, B)
        Σg and Σh of each block.
    rest_rows, rest_samples : numpy.ndarray, shape (B, size)
        Σ_i x_i·(U − u_a) y_i·(V − v_a) and Σ_a (u_a·U − g_a)(v_a·V − h_a), over what is left.
    """

    f: np.ndarray
    c: np.ndarray
    gh: np.ndarray
    norms_x: np.ndarray
    norms_y: np.ndarray
    rest_rows: np.ndarray
    rest_samples: np.ndarray

    @classmethod
    def zeros(cls, cells: Cells, n_blocks: int) -> "RowSums":
        """Nothing summed yet."""
        f, c, gh, rest_rows, rest_samples = np.zeros((5, n_blocks, cells.size))
        norms_x, norms_y = (np.zeros((n, n_blocks)) for n in (cells.n_x, cells.n_y))
        return cls(f, c, gh, norms_x, norms_y, rest_rows, rest_samples)

    def add(self, block: int, piece: "_PieceSums") -> None:
        """Add the sums of a piece of a block."""
        self.f[block] += piece.f
        self.c[block] += piece.c
        self.gh[block] += piece.gh
        self.norms_x[:, block] += piece.norms_x
        self.norms_y[:, block] += piece.norms_y
        self.rest_rows += piece.rest_rows
        self.rest_samples += piece.rest_samples


@dataclass(frozen=True, eq=False)
class _PieceSums:
    """What one piece adds to `RowSums`: (size,), but norms (n_x,), (n_y,) and rest (B, size)."""

    f: np.ndarray
    c: np.ndarray
    gh: np.ndarray
    norms_x: np.ndarray
    norms_y: np.ndarray
    rest_rows: np.ndarray
    rest_samples: np.ndarray


@dataclass(eq=False)
class CellSums:
    """What is summed over rows for every estimator.

    Attributes
    ----------
    song, sample_debiased : RowSums
        With each row a sample, and with samples as they are.
    full_rows : numpy.ndarray, shape (B, size)
        Uᵀ S V without each block, which recentres the biased estimator.
    """

    song: RowSums
    sample_debiased: RowSums
    full_rows: np.ndarray


@dataclass(frozen=True, eq=False)
class _Features:
    """A piece of one model for all layers; m rows, s samples, B blocks.

    Attributes
    ----------
    projected : numpy.ndarray, shape (n_layers, m, B)
        x_i · U.
    within : numpy.ndarray, shape (n_layers, m)
        x_i · u_a.
    norms : numpy.ndarray, shape (n_layers, s)
        g_a.
    sample_projected : numpy.ndarray, shape (n_layers, s, B)
        u_a · U.
    """

    projected: np.ndarray
    within: np.ndarray
    norms: np.ndarray
    sample_projected: np.ndarray


def cell_sums(
    x: LayerStack,
    y: LayerStack,
    cells: Cells,
    pieces: list[Piece],
    *,
    by_sample: bool,
    memory: int,
) -> CellSums:
    """Sum over rows and samples, a piece at a time.

    Parameters
    ----------
    x, y : LayerStack
        Reference and candidate, in one order.
    cells : Cells
    pieces : list of Piece
        Covering all rows.
    by_sample : bool
        Also for samples as they are; False where each row is its own.
    memory : int
        Bytes that the pieces in work may take; one piece is worked on in any case.
    """
    n_blocks = x.order.n_blocks
    song = RowSums.zeros(cells, n_blocks)
    grouped = RowSums.zeros(cells, n_blocks) if by_sample else song
    sums = CellSums(song, grouped, np.zeros((n_blocks, cells.size)))

    def sums_of(piece: Piece) -> tuple[int, np.ndarray, _PieceSums, _PieceSums | None]:
        left, right = x.rows(piece.rows), y.rows(piece.rows)
        projected = _projected(x, left), _projected(y, right)
        full = _outside(cells, *projected, piece.block)
        a, b = _by_row(projected[0], left), _by_row(projected[1], right)
        by_row = _piece_sums(cells, a, b, piece.block, cells.inner(a.within, b.within))
        if not by_sample:
            return piece.block, full, by_row, None
        member = sample_indicator(x, piece)
        a, b = _by_sample(projected[0], left, member), _by_sample(projected[1], right, member)
        starts = x.order.sample_starts[piece.samples] - piece.rows.start
        f = sum(cells.inner(*grams) for grams in _sample_grams(left, right, starts))
        return piece.block, full, by_row, _piece_sums(cells, a, b, piece.block, np.asarray(f))

    with workers(memory // _bytes_of_piece(x, y, pieces)) as in_order:
        for block, full, by_row, by_samples in in_order(sums_of, pieces):
            sums.full_rows += full
            song.add(block, by_row)
            if by_samples is not None:
                grouped.add(block, by_samples)
    return sums


def _bytes_of_piece(x: LayerStack, y: LayerStack, pieces: list[Piece]) -> int:
    """What the largest piece takes while it is summed: its rows twice, and samples' Grams."""
    most_rows = max(piece.n_rows for piece in pieces)
    n_layers = x.n_layers + y.n_layers
    rows = 2 * most_rows * (x.n_layers * x.width + y.n_layers * y.width)
    projected = 3 * most_rows * n_layers * x.order.n_blocks
    grams = 2 * min(_GRAM_ENTRIES, n_layers * most_rows * int(x.order.sample_sizes.max()))
    return (rows + projected + grams) * x.dtype.itemsize


def sample_indicator(stack: LayerStack, piece: Piece) -> np.ndarray:
    """Which sample of a piece each of its rows is of, shape (m, s), in the stack's type."""
    starts = stack.order.sample_starts[piece.samples] - piece.rows.start
    sizes = np.diff(starts, append=piece.n_rows)
    return np.repeat(np.eye(len(sizes), dtype=stack.dtype), sizes, axis=0)


def hsic(
    cells: Cells, products: PairSums, rows: RowSums, x: LayerStack, y: LayerStack, order: BlockOrder
) -> tuple[np.ndarray, np.ndarray]:
    """HSIC over distinct samples: on all rows, and with each block left out.

    Parameters
    ----------
    cells : Cells
    products, rows
        Sums of one estimator.
    x, y : LayerStack
        Reference and candidate.
    order : BlockOrder
        Samples and blocks of the estimator (`by_row` for Song's).

    Returns
    -------
    tuple of numpy.ndarray, shapes (size,) and (B, size)
        NaN where fewer than four samples remain.
    """
    powers = order.sample_sizes.astype(np.float64) ** np.arange(1, 5)[:, None]
    at = order.sample_block_starts
    n_left = order.n_samples - np.diff(at, append=order.n_samples)
    block_powers = np.add.reduceat(powers, at, axis=1)
    c, gh = rows.c.sum(axis=0), rows.gh.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = _combine(
            (products.cross.total, products.sums_cross.total, products.inner.total),
            (rows.f.sum(axis=0), c, gh),
            # Nothing is left out: U and V are 0, x_i·(U − u_a) is minus the row's own sample.
            cells.by_block(rows.norms_x.sum(1)[:, None], rows.norms_y.sum(1)[:, None])[0],
            (c, gh),
            powers.sum(axis=1),
        )
        without = _combine(
            (products.cross.without, products.sums_cross.without, products.inner.without),
            (_all_but(rows.f), _all_but(rows.c), _all_but(rows.gh)),
            cells.by_block(_spread(x, rows.norms_x), _spread(y, rows.norms_y)),
            (rows.rest_rows, rows.rest_samples),
            (powers.sum(axis=1)[:, None] - block_powers)[:, :, None],
        )
    without[n_left < MIN_SAMPLES] = np.nan
    return (whole if order.n_samples >= MIN_SAMPLES else np.full_like(whole, np.nan)), without


def recentred(
    cells: Cells, products: PairSums, sums: CellSums, x: LayerStack, y: LayerStack
) -> np.ndarray:
    """‖S‖² without each block, centred by the means of what is left, shape (B, size)."""
    n_left = (x.order.n_rows - x.order.block_sizes)[:, None].astype(np.float64)
    squared = cells.by_block(_squared_sums(x), _squared_sums(y))
    with np.errstate(divide="ignore", invalid="ignore"):
        return products.cross.without - 2 * sums.full_rows / n_left + squared / n_left**2


def _combine(
    pairs: tuple[np.ndarray, np.ndarray, np.ndarray],
    inside: tuple[np.ndarray, np.ndarray, np.ndarray],
    spread: np.ndarray,
    rest: tuple[np.ndarray, np.ndarray],
    powers: np.ndarray,
) -> np.ndarray:
    """T₁ − 2T₃ + T₂ from (‖S‖², ‖W‖², ⟨S, W⟩), (f, c, Σgh), (‖U‖² − Σg)(‖V‖² − Σh), the sums
    over rows and samples of the rest, and the power sums p₁ … p₄ of the samples' sizes."""
    cross, sums_cross, inner = pairs
    f, c, gh = inside
    p1, p2, p3, p4 = powers
    t1 = (cross - f) / (p1**2 - p2)
    t3 = (rest[0] - inner + c) / (p1**3 - 3 * p1 * p2 + 2 * p3)
    quadruples = p1**4 - 6 * p1**2 * p2 + 3 * p2**2 + 8 * p1 * p3 - 6 * p4
    t2 = (spread - 4 * rest[1] + 2 * (sums_cross - gh)) / quadruples
    return t1 - 2 * t3 + t2


def _projected(stack: LayerStack, rows: np.ndarray) -> np.ndarray:
    """x_i · U for each block left out, shape (n_layers, m, B)."""
    # U, the column sums without a block, is minus that block's sums: all sums together are 0.
    return rows @ -stack.block_sums.transpose(0, 2, 1).astype(rows.dtype)


def _by_row(projected: np.ndarray, rows: np.ndarray) -> _Features:
    squares = np.einsum("lmd,lmd->lm", rows, rows)
    return _Features(projected, squares, squares, projected)


def _by_sample(projected: np.ndarray, rows: np.ndarray, member: np.ndarray) -> _Features:
    # as products with the indicator, which the processor does many times faster than sums of runs
    sums = member.T @ rows
    own = np.argmax(member, axis=1)
    return _Features(
        projected,
        (rows @ sums.mT)[:, np.arange(len(own)), own],
        np.einsum("lsd,lsd->ls", sums, sums),
        member.T @ projected,
    )


def _sample_grams(
    left: np.ndarray, right: np.ndarray, starts: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Gram matrices within samples, both models', flattened: as many at once as memory allows."""
    most = max(1, _GRAM_ENTRIES // (len(left) + len(right)))
    gathered: list[list[np.ndarray]] = [[], []]
    size = 0
    for first, last in pairwise([*starts.tolist(), left.shape[1]]):
        step = max(1, most // (last - first))
        for row in range(first, last, step):
            for kept, rows in zip(gathered, (left, right), strict=True):
                gram = rows[:, row : min(row + step, last)] @ rows[:, first:last].mT
                kept.append(gram.reshape(len(rows), -1))
            size += gathered[0][-1].shape[1]
            if size >= most:
                yield np.concatenate(gathered[0], axis=1), np.concatenate(gathered[1], axis=1)
                gathered, size = [[], []], 0
    if size:
        yield np.concatenate(gathered[0], axis=1), np.concatenate(gathered[1], axis=1)


def _piece_sums(cells: Cells, a: _Features, b: _Features, block: int, f: np.ndarray) -> _PieceSums:
    rest_a, rest_b = (one.projected - one.within[:, :, None] for one in (a, b))
    samples_a, samples_b = (one.sample_projected - one.norms[:, :, None] for one in (a, b))
    return _PieceSums(
        f=f,
        c=cells.inner(a.within, b.within),
        gh=cells.inner(a.norms, b.norms),
        norms_x=a.norms.sum(axis=1),
        norms_y=b.norms.sum(axis=1),
        rest_rows=_outside(cells, rest_a, rest_b, block),
        rest_samples=_outside(cells, samples_a, samples_b, block),
    )


def _outside(cells: Cells, x: np.ndarray, y: np.ndarray, block: int) -> np.ndarray:
    """Sums over the piece's rows for each block left out, except the piece's own (B × size)."""
    sums = cells.rows_by_block(x, y)
    sums[block] = 0.0
    return sums


def _spread(stack: LayerStack, norms: np.ndarray) -> np.ndarray:
    """‖U‖² − Σg without each block, shape (n_layers, B)."""
    return _squared_sums(stack) - (norms.sum(axis=1, keepdims=True) - norms)


def _squared_sums(stack: LayerStack) -> np.ndarray:
    """‖U‖² without each block, shape (n_layers, B)."""
    return np.einsum("lbd,lbd->lb", stack.block_sums, stack.block_sums)


def _all_but(totals: np.ndarray) -> np.ndarray:
    return totals.sum(axis=0) - totals

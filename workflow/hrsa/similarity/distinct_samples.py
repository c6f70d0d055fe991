"""HSIC as a U-statistic over distinct samples, with its delete-one-block values.

Tokens of one text resemble one another in every model, so that pairs of tokens of one sample make
unrelated models look alike. The estimator averages ⟨x_i, x_j⟩⟨y_i, y_j⟩ over pairs (T₁), triples
(T₃) and quadruples (T₂) of rows of which no two share a sample: HSIC = T₁ − 2T₃ + T₂. With each row
a sample of its own that is HSIC₁ of Song et al. (2012).

Matrices are centred by their means over all rows, once, also for the delete-one-block values.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hrsa.statistics.blocks import BlockOrder

# T₂ runs over quadruples of distinct samples.
MIN_SAMPLES = 4


@dataclass(frozen=True, eq=False)
class SampleSums:
    """A centred matrix (n_tokens × width) in block order, with what each sample adds.

    Attributes
    ----------
    order : BlockOrder
        Samples and blocks of the rows.
    rows : numpy.ndarray, shape (n_tokens, width)
        x_i.
    sums : numpy.ndarray, shape (n_samples, width)
        u_a, the column sums of each sample.
    within : numpy.ndarray, shape (n_tokens,)
        x_i · u_a, with the row's own sample.
    norms : numpy.ndarray, shape (n_samples,)
        g_a = ‖u_a‖².
    grams : numpy.ndarray, shape (Σ m_a²,)
        Entries of the samples' m_a × m_a Gram matrices, one after another.
    """

    order: BlockOrder
    rows: np.ndarray
    sums: np.ndarray
    within: np.ndarray
    norms: np.ndarray
    grams: np.ndarray

    @cached_property
    def block_sums(self) -> np.ndarray:
        """Column sums of each block, shape (n_blocks, width)."""
        return np.add.reduceat(self.rows, self.order.block_starts, axis=0)

    @cached_property
    def rest_by_row(self) -> np.ndarray:
        """x_i · (U − u_a), U the column sums without each block, shape (n_tokens, n_blocks)."""
        return -self.rows @ self.block_sums.T - self.within[:, None]

    @cached_property
    def rest_by_sample(self) -> np.ndarray:
        """u_a · U − g_a, U the column sums without each block, shape (n_samples, n_blocks)."""
        return -self.sums @ self.block_sums.T - self.norms[:, None]


@dataclass(frozen=True, eq=False)
class _Terms:
    """Sums that HSIC is made of, over all rows or per block left out (scalars or (n_blocks,)).

    In the symbols of the module: ‖S‖², f, c, ‖W‖², ⟨S, W⟩, Σgh, Σg, Σh; ‖U‖² and ‖V‖² of the
    remaining column sums; Σ_i x_i·(U − u_a) y_i·(V − v_a) and Σ_a (u_a·U − g_a)(v_a·V − h_a); and
    the power sums p₁ … p₄ of the samples' sizes (4, or 4 × n_blocks).
    """

    cross: np.ndarray
    f: np.ndarray
    c: np.ndarray
    sums_cross: np.ndarray
    inner: np.ndarray
    gh: np.ndarray
    g: np.ndarray
    h: np.ndarray
    total_x: np.ndarray
    total_y: np.ndarray
    rest_rows: np.ndarray
    rest_samples: np.ndarray
    powers: np.ndarray


def sample_sums(rows: np.ndarray, order: BlockOrder) -> SampleSums:
    """Gather what each sample adds.

    Parameters
    ----------
    rows : numpy.ndarray of float64, shape (n_tokens, width)
        Centred, in the order of ``order``.
    order : BlockOrder
        Samples and blocks.
    """
    if order.n_samples == order.n_rows:
        squares = np.einsum("ij,ij->i", rows, rows)
        return SampleSums(order, rows, rows, squares, squares, squares)
    grams = [
        rows[start : start + size] @ rows[start : start + size].T
        for start, size in zip(order.sample_starts, order.sample_sizes, strict=True)
    ]
    within = np.concatenate([gram.sum(axis=1) for gram in grams])
    return SampleSums(
        order,
        rows,
        np.add.reduceat(rows, order.sample_starts, axis=0),
        within,
        np.add.reduceat(within, order.sample_starts),
        np.concatenate([gram.ravel() for gram in grams]),
    )


def cross_product(x: SampleSums, y: SampleSums) -> np.ndarray:
    """S = XᵀY, shape (p, q)."""
    return x.rows.T @ y.rows


def hsic(x: SampleSums, y: SampleSums, *, cross: np.ndarray) -> float:
    """HSIC over distinct samples.

    Parameters
    ----------
    x, y : SampleSums
        Of two matrices with the same rows; the same one twice for a self term.
    cross : numpy.ndarray, shape (p, q)
        S = XᵀY.
    """
    sums_cross = _sums_cross(x, y, cross)
    own_rows = np.dot(x.within, y.within)
    own_samples = np.dot(x.norms, y.norms)
    zero = np.zeros(())
    terms = _Terms(
        cross=np.vdot(cross, cross),
        f=np.dot(x.grams, y.grams),
        c=own_rows,
        sums_cross=np.vdot(sums_cross, sums_cross),
        inner=np.vdot(cross, sums_cross),
        gh=own_samples,
        g=x.norms.sum(),
        h=y.norms.sum(),
        total_x=zero,
        total_y=zero,
        rest_rows=own_rows,
        rest_samples=own_samples,
        powers=_powers(x.order).sum(axis=1),
    )
    return float(_combine(terms))


def hsic_without_blocks(x: SampleSums, y: SampleSums, *, cross: np.ndarray) -> np.ndarray:
    """HSIC over distinct samples with each block left out.

    Parameters
    ----------
    x, y, cross
        As for `hsic`.

    Returns
    -------
    numpy.ndarray, shape (n_blocks,)
        NaN where fewer than four samples remain.
    """
    order = x.order
    at_samples = order.sample_block_starts
    at_grams = np.cumsum([0, *order.sample_sizes**2])[at_samples]
    powers = _powers(order)
    block_powers = np.add.reduceat(powers, at_samples, axis=1)
    sums_cross = _sums_cross(x, y, cross)
    products = np.array(
        [_products(x, y, cross, sums_cross, block) for block in range(order.n_blocks)]
    ).T
    own_rows = _all_but(x.within * y.within, order.block_starts)
    own_samples = _all_but(x.norms * y.norms, at_samples)
    terms = _Terms(
        cross=products[0],
        f=_all_but(x.grams * y.grams, at_grams),
        c=own_rows,
        sums_cross=products[1],
        inner=products[2],
        gh=own_samples,
        g=_all_but(x.norms, at_samples),
        h=_all_but(y.norms, at_samples),
        total_x=np.einsum("ij,ij->i", x.block_sums, x.block_sums),
        total_y=np.einsum("ij,ij->i", y.block_sums, y.block_sums),
        rest_rows=_all_but_own(x.rest_by_row * y.rest_by_row, order.block_starts),
        rest_samples=_all_but_own(x.rest_by_sample * y.rest_by_sample, at_samples),
        powers=powers.sum(axis=1, keepdims=True) - block_powers,
    )
    left = order.n_samples - np.diff(at_samples, append=order.n_samples)
    values = np.full(order.n_blocks, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        values[left >= MIN_SAMPLES] = _combine(terms)[left >= MIN_SAMPLES]
    return values


def _combine(terms: _Terms) -> np.ndarray:
    p1, p2, p3, p4 = terms.powers
    pairs = p1**2 - p2
    triples = p1**3 - 3 * p1 * p2 + 2 * p3
    quadruples = p1**4 - 6 * p1**2 * p2 + 3 * p2**2 + 8 * p1 * p3 - 6 * p4
    t1 = (terms.cross - terms.f) / pairs
    t3 = (terms.rest_rows - terms.inner + terms.c) / triples
    t2 = (
        (terms.total_x - terms.g) * (terms.total_y - terms.h)
        - 4 * terms.rest_samples
        + 2 * (terms.sums_cross - terms.gh)
    ) / quadruples
    return t1 - 2 * t3 + t2


def _products(
    x: SampleSums, y: SampleSums, cross: np.ndarray, sums_cross: np.ndarray, block: int
) -> tuple[float, float, float]:
    """‖S‖², ‖W‖² and ⟨S, W⟩ without a block: one p × q matrix at a time."""
    rows = _slice(x.order.block_starts, block)
    rest = cross - x.rows[rows].T @ y.rows[rows]
    squared = float(np.vdot(rest, rest))
    if x.sums is x.rows:
        return squared, squared, squared
    samples = _slice(x.order.sample_block_starts, block)
    rest_sums = sums_cross - x.sums[samples].T @ y.sums[samples]
    return squared, float(np.vdot(rest_sums, rest_sums)), float(np.vdot(rest, rest_sums))


def _sums_cross(x: SampleSums, y: SampleSums, cross: np.ndarray) -> np.ndarray:
    """W = Σ_a u_a v_aᵀ, shape (p, q)."""
    return cross if x.sums is x.rows else x.sums.T @ y.sums


def _powers(order: BlockOrder) -> np.ndarray:
    """First to fourth power of each sample's size, shape (4, n_samples)."""
    return order.sample_sizes.astype(np.float64) ** np.arange(1, 5)[:, None]


def _slice(starts: np.ndarray, block: int) -> slice:
    return slice(starts[block], starts[block + 1] if block + 1 < len(starts) else None)


def _all_but(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Sum of all values but those of each block, shape (n_blocks,)."""
    return values.sum() - np.add.reduceat(values, starts)


def _all_but_own(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Sum of column b (n × n_blocks) over all rows but those of block b, shape (n_blocks,)."""
    return values.sum(axis=0) - np.diagonal(np.add.reduceat(values, starts, axis=0))

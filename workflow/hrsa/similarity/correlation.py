"""Dimension-wise correlation: does dimension j carry the same thing in two models?"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hrsa.activations.alignment import PairedRows
from hrsa.activations.store import Activations
from hrsa.errors import UserError
from hrsa.similarity.arrays import check_pair
from hrsa.similarity.layers import (
    MetricTable,
    check_rows,
    join_notes,
    matched_layers,
    read_layer,
)
from hrsa.similarity.results import NO_P, CorrelationResult, LayerComparison
from hrsa.statistics.blocks import N_BLOCKS, BlockOrder, block_order
from hrsa.statistics.resampling import Interval, jackknife_interval

MIN_ROWS = 3
NO_INTERVAL = "no interval: fewer than two blocks of samples, or a block holds all the variance"
NO_SPREAD_INTERVAL = "no interval or chance level is computed for this statistic: read the mean"
# A variance that is this small a part of the whole is rounding of a constant.
_NO_VARIANCE = 1e-12


@dataclass(frozen=True, eq=False)
class _Columns:
    """A centred matrix in block order, with each block's sums and sums of squares (B × width)."""

    values: np.ndarray
    sums: np.ndarray
    squares: np.ndarray
    constant: np.ndarray


@dataclass(frozen=True, eq=False)
class _Correlation:
    """Correlation of each dimension (width,) and, per block left out, of each (B × width)."""

    per_dimension: np.ndarray
    without_block: np.ndarray

    @property
    def mean(self) -> float | None:
        """Signed mean over dimensions that vary."""
        return _mean_or_none(self.per_dimension)

    @property
    def replicates(self) -> np.ndarray:
        """Signed mean with each block left out, shape (B,)."""
        varies = ~np.isnan(self.without_block)
        total = np.where(varies, self.without_block, 0).sum(axis=1)
        count = varies.sum(axis=1)
        return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)


def dimension_correlation(
    X: npt.ArrayLike,
    Y: npt.ArrayLike,
    *,
    samples: npt.ArrayLike | None = None,
    blocks: npt.ArrayLike | None = None,
) -> CorrelationResult:
    """Pearson correlation of each dimension of X with the same dimension of Y, and its mean.

    Parameters
    ----------
    X, Y : array-like, shape (n_tokens, width)
        Hidden states of the reference and the candidate, rows matched.
    samples : array-like of length n_tokens, or None
        The sample (text) of each row, in any order; None: each row is its own.
    blocks : array-like of length n_tokens, or None
        Blocks of samples for the interval; None: 25 balanced ones.

    Returns
    -------
    CorrelationResult
        ``value`` is the signed mean over dimensions. Dimensions without variance are left out and
        counted. The interval is the jackknife's over blocks; where a few tokens have massive norms
        its coverage falls, so read it without them. Chance is the mean under permutation of rows,
        which is 0.

    Raises
    ------
    ValueError
        When widths differ, no dimension varies in both models, or an array is malformed.

    References
    ----------
    "Do Reasoning Models Enhance Embedding Models?" (arXiv 2601.21192): representation level.
    """
    reference, candidate = check_pair(X, Y, min_rows=MIN_ROWS)
    if reference.shape[1] != candidate.shape[1]:
        raise ValueError(_widths_differ(reference.shape[1], candidate.shape[1]))
    order = block_order(samples, len(reference), blocks=blocks)
    found = _correlate(_columns(reference, order), _columns(candidate, order), order)
    if found.mean is None:
        raise ValueError(
            f"none of the {reference.shape[1]} dimensions varies in both X and Y, "
            "so no correlation is defined"
        )
    interval, note = _interval(found.mean, found.replicates)
    return CorrelationResult(
        value=found.mean,
        se=interval.se,
        ci_low=interval.low,
        ci_high=interval.high,
        interval_method=interval.method,
        replicates=found.replicates if interval.se is not None else None,
        chance=0.0,
        note=note,
        per_dimension=found.per_dimension,
        mean_abs=_mean_or_none(np.abs(found.per_dimension)),
        share_positive=_share_positive(found.per_dimension),
        n_constant=int(np.isnan(found.per_dimension).sum()),
    )


def correlation_layers(
    reference: Activations,
    candidate: Activations,
    rows: PairedRows,
    *,
    n_blocks: int = N_BLOCKS,
    seed: int = 0,
) -> LayerComparison:
    """Dimension-wise correlation of every layer of one model with every layer of another.

    Parameters
    ----------
    reference, candidate : Activations
        Open activation files of equal width.
    rows : PairedRows
        Matched rows.
    n_blocks, seed : int
        Blocks of samples for the intervals.

    Returns
    -------
    LayerComparison
        Table: statistic ``mean`` for every pair of layers; ``mean_abs`` and ``share_positive`` for
        matched layers; means over matched layers, layer 0 left out. Arrays: ``mean`` (L × L'),
        ``replicates`` (L × L' × n_blocks), ``per_dimension`` (matched layers × width),
        ``layers_reference`` and ``layers_candidate``.

    Raises
    ------
    UserError
        When widths differ, or too few rows match.
    """
    if reference.width != candidate.width:
        raise UserError(_widths_differ(reference.width, candidate.width))
    check_rows(rows, least=MIN_ROWS)
    order = block_order(rows.samples, len(rows.reference), n_blocks=n_blocks, seed=seed)
    matched = matched_layers(reference, candidate)
    table = MetricTable.of_rows("correlation", matched, rows)
    shape = (len(reference.layers), len(candidate.layers))
    means = np.full(shape, np.nan)
    replicates = np.full((*shape, order.n_blocks), np.nan)
    per_dimension = np.empty((len(matched.pairs), reference.width))
    others = [_columns(read_layer(candidate, j, rows.candidate), order) for j in candidate.layers]
    for a, i in enumerate(reference.layers):
        columns = _columns(read_layer(reference, i, rows.reference), order)
        for b, j in enumerate(candidate.layers):
            found = _correlate(columns, others[b], order)
            _add_mean(table, (i, j), found)
            means[a, b] = np.nan if found.mean is None else found.mean
            replicates[a, b] = found.replicates
            if (i, j) in matched.pairs:
                _add_spread(table, (i, j), found)
                per_dimension[matched.pairs.index((i, j))] = found.per_dimension
    inner = [pair for pair in matched.pairs if pair[0] > 0]
    joint = [replicates[reference.layers.index(i), candidate.layers.index(j)] for i, j in inner]
    table.add_layer_mean("mean", replicates=np.array(joint), note=NO_P)
    for statistic in ("mean_abs", "share_positive"):
        table.add_layer_mean(statistic, note=NO_SPREAD_INTERVAL)
    return table.build(
        {
            "mean": means,
            "replicates": replicates,
            "per_dimension": per_dimension,
            "layers_reference": np.array(reference.layers),
            "layers_candidate": np.array(candidate.layers),
        }
    )


def _columns(matrix: np.ndarray, order: BlockOrder) -> _Columns:
    constant = matrix.max(axis=0) == matrix.min(axis=0)
    centred = (matrix - matrix.mean(axis=0))[order.order]
    sums = np.add.reduceat(centred, order.block_starts, axis=0)
    squares = np.add.reduceat(centred**2, order.block_starts, axis=0)
    return _Columns(centred, sums, squares, constant)


def _correlate(x: _Columns, y: _Columns, order: BlockOrder) -> _Correlation:
    products = np.add.reduceat(x.values * y.values, order.block_starts, axis=0)
    sizes = np.broadcast_to(order.block_sizes[:, None], products.shape)
    parts = np.array([sizes, x.sums, y.sums, x.squares, y.squares, products])
    whole = parts.sum(axis=1, keepdims=True)
    constant = x.constant | y.constant
    least = _NO_VARIANCE * whole[3:5]
    per_dimension = np.where(constant, np.nan, _pearson(whole, least)[0])
    rest = whole - parts if order.n_blocks > 1 else np.zeros_like(parts)
    return _Correlation(per_dimension, np.where(constant, np.nan, _pearson(rest, least)))


def _pearson(sums: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Pearson correlation of each column from n, Σx, Σy, Σx², Σy², Σxy (6 × m × width).

    NaN where a variance is not above ``least`` (2 × 1 × width).
    """
    n, sum_x, sum_y, squares_x, squares_y, products = sums
    n = np.maximum(n, 1)
    variance_x, variance_y = squares_x - sum_x**2 / n, squares_y - sum_y**2 / n
    varies = (variance_x > least[0]) & (variance_y > least[1])
    scale = np.sqrt(np.where(varies, variance_x * variance_y, np.nan))
    return (products - sum_x * sum_y / n) / scale


def _mean_or_none(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def _share_positive(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float((known > 0).mean()) if len(known) else None


def _interval(value: float, replicates: np.ndarray) -> tuple[Interval, str]:
    interval = jackknife_interval(value, replicates)
    return interval, join_notes("" if interval.se is not None else NO_INTERVAL, NO_P)


def _add_mean(table: MetricTable, layers: tuple[int, int], found: _Correlation) -> None:
    if found.mean is None:
        table.add("mean", layers, None, note="undefined: no dimension varies in both models")
        return
    interval, note = _interval(found.mean, found.replicates)
    table.add(
        "mean",
        layers,
        found.mean,
        se=interval.se,
        ci_low=interval.low,
        ci_high=interval.high,
        interval_method=interval.method,
        chance=0.0,
        note=join_notes(_constant_note(found.per_dimension), note),
    )


def _add_spread(table: MetricTable, layers: tuple[int, int], found: _Correlation) -> None:
    values = found.per_dimension
    note = join_notes(_constant_note(values), NO_SPREAD_INTERVAL)
    table.add("mean_abs", layers, _mean_or_none(np.abs(values)), note=note)
    table.add("share_positive", layers, _share_positive(values), note=note)


def _constant_note(per_dimension: np.ndarray) -> str:
    n_constant = int(np.isnan(per_dimension).sum())
    return f"{n_constant} dimensions without variance left out" if n_constant else ""


def _widths_differ(p: int, q: int) -> str:
    return (
        f"dimension-wise correlation needs models of equal width, got {p} and {q}: dimension j of "
        "one has no counterpart in the other. Use procrustes, linear CKA or k-NN overlap instead"
    )

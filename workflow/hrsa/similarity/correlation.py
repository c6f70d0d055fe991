"""Dimension-wise correlation: does dimension j carry the same thing in two models?"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hrsa.activations.alignment import PairedRows
from hrsa.activations.store import Activations
from hrsa.errors import NotApplicable
from hrsa.similarity.arrays import check_pair
from hrsa.similarity.correlation_cells import correlate_cells
from hrsa.similarity.layer_nulls import Null, p_over_layers, permuted_layers
from hrsa.similarity.layer_stack import MEMORY, LayerStack, array_reader, stack_of_file
from hrsa.similarity.layers import (
    MAXIMUM_NOTE,
    MEAN_OVER_LAYERS,
    NO_P,
    NULL_ROWS,
    MetricTable,
    check_rows,
    interval_columns,
    join_notes,
    matched_layers,
)
from hrsa.similarity.results import CorrelationResult, LayerComparison
from hrsa.statistics.blocks import N_BLOCKS, block_order, sample_blocks, sample_codes
from hrsa.statistics.permutation import (
    N_PERMUTATIONS,
    equal_rows,
    p_value,
    sample_permutations,
)
from hrsa.statistics.resampling import jackknife_interval

MIN_ROWS = 3
NO_INTERVAL = "no interval: fewer than two blocks of samples, or a block holds all the variance"
NO_SPREAD_INTERVAL = "no interval or chance level is computed for this statistic: read the mean"


def dimension_correlation(
    X: npt.ArrayLike,
    Y: npt.ArrayLike,
    *,
    samples: npt.ArrayLike | None = None,
    blocks: npt.ArrayLike | None = None,
    n_permutations: int = N_PERMUTATIONS,
    seed: int = 0,
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
    n_permutations : int
        Permutations of whole samples for the p-value; 0: no p.
    seed : int
        Of the blocks and the permutations.

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
    codes = sample_codes(samples, len(reference))
    order = block_order(codes, len(codes), blocks=blocks, seed=seed)
    x, y = (
        LayerStack([array_reader(one)], order, dtype=np.float64, memory=MEMORY)
        for one in (reference, candidate)
    )
    cells = correlate_cells(x, y, memory=MEMORY)
    per_dimension, replicates = cells.per_dimension[0, 0], cells.replicates[0, 0]
    mean = _mean_or_none(per_dimension)
    if mean is None:
        raise ValueError(
            f"none of the {reference.shape[1]} dimensions varies in both X and Y, "
            "so no correlation is defined"
        )
    equal = equal_rows(codes, seed=seed, most_rows=NULL_ROWS)
    permutations = sample_permutations(len(equal.rows), n_permutations, seed=seed)
    null = _null(reference[equal.rows], candidate[equal.rows], permutations)
    interval = jackknife_interval(mean, replicates)
    p_note = equal.note if len(permutations) else NO_P
    return CorrelationResult(
        value=mean,
        se=interval.se,
        ci_low=interval.low,
        ci_high=interval.high,
        interval_method=interval.method,
        replicates=replicates if interval.se is not None else None,
        chance=0.0,
        p=p_value(null.observed, null.permuted),
        note=join_notes("" if interval.se is not None else NO_INTERVAL, p_note),
        per_dimension=per_dimension,
        mean_abs=_mean_or_none(np.abs(per_dimension)),
        share_positive=_share_positive(per_dimension),
        n_constant=int(np.isnan(per_dimension).sum()),
    )


def correlation_layers(
    reference: Activations,
    candidate: Activations,
    rows: PairedRows,
    *,
    n_blocks: int = N_BLOCKS,
    seed: int = 0,
    n_permutations: int = N_PERMUTATIONS,
    memory: int = MEMORY,
) -> LayerComparison:
    """Dimension-wise correlation of every layer of one model with every layer of another.

    Parameters
    ----------
    reference, candidate : Activations
        Open activation files of equal width.
    rows : PairedRows
        Matched rows.
    n_blocks, seed : int
        Blocks of samples for the intervals, and the permutations.
    n_permutations : int
        For the p-values of matched layers; 0: no p.
    memory : int
        Bytes that may be held at once.

    Returns
    -------
    LayerComparison
        Table: statistic ``mean`` for every pair of layers; ``mean_abs`` and ``share_positive`` for
        matched layers; means over matched layers, layer 0 left out, and their maximum
        (``mean_max``). Arrays: ``mean`` (L × L'),
        ``replicates`` (L × L' × n_blocks), ``per_dimension`` (matched layers × width),
        ``layers_reference`` and ``layers_candidate``.

    Raises
    ------
    NotApplicable
        When widths differ.
    UserError
        When too few rows match.
    """
    if reference.width != candidate.width:
        raise NotApplicable(_widths_differ(reference.width, candidate.width))
    check_rows(rows, least=MIN_ROWS)
    order = block_order(rows.samples, len(rows.reference), n_blocks=n_blocks, seed=seed)
    matched = matched_layers(reference, candidate)
    table = MetricTable.of_rows("correlation", matched, rows)
    x = stack_of_file(reference, rows.reference, order, dtype=np.float64, memory=memory // 4)
    y = stack_of_file(candidate, rows.candidate, order, dtype=np.float64, memory=memory // 4)
    cells = correlate_cells(x, y, memory=memory // 4)
    permuted = permuted_layers(
        reference, candidate, rows, matched, n_permutations=n_permutations, seed=seed
    )
    nulls = _Nulls(
        {pair: _null(left, right, permuted.permutations) for pair, left, right in permuted},
        permuted.note,
    )
    means = np.full(cells.replicates.shape[:2], np.nan)
    for a, i in enumerate(reference.layers):
        for b, j in enumerate(candidate.layers):
            values = cells.per_dimension[a, b]
            mean = _mean_or_none(values)
            means[a, b] = np.nan if mean is None else mean
            _add_mean(table, (i, j), values, cells.replicates[a, b], nulls)
            if (i, j) in matched.pairs:
                _add_spread(table, (i, j), values)
    at = tuple(
        np.array(
            [(reference.layers.index(i), candidate.layers.index(j)) for i, j in matched.pairs]
        ).T
    )
    inner = np.array([i > 0 for i, _ in matched.pairs])
    _add_over_layers(table, means[at][inner], cells.replicates[at][inner], nulls)
    for statistic in ("mean_abs", "share_positive"):
        table.add_layer_mean(statistic, note=NO_SPREAD_INTERVAL)
    return table.build(
        {
            "mean": means,
            "sample_blocks": sample_blocks(rows.samples, order),
            "replicates": cells.replicates,
            "per_dimension": cells.per_dimension[at],
            "layers_reference": np.array(reference.layers),
            "layers_candidate": np.array(candidate.layers),
        }
    )


@dataclass(frozen=True, eq=False)
class _Nulls:
    """The nulls of matched layers, under the same permutations; empty without any."""

    layers: dict[tuple[int, int], Null]
    note: str


def _null(X: np.ndarray, Y: np.ndarray, permutations: np.ndarray) -> Null:
    """Mean correlation with the candidate's samples (n_samples × m × width) permuted.

    Σ_i x_ij y_π(i)j over the m rows of each sample is a sum of look-ups in a table over pairs of
    samples: C_ab = Σ_r Σ_j x_arj y_brj, of columns scaled to unit norm.
    """
    x, y = (_unit_columns(rows) for rows in (X, Y))
    varies = x.any(axis=(0, 1)) & y.any(axis=(0, 1))
    if not varies.any():
        return Null(np.nan, np.full(len(permutations), np.nan))
    left, right = (rows[:, :, varies].reshape(len(rows), -1) for rows in (x, y))
    table = left @ right.T / varies.sum()
    each = np.arange(len(table))
    return Null(float(np.trace(table)), table[each, permutations].sum(axis=1))


def _unit_columns(rows: np.ndarray) -> np.ndarray:
    """Centre and scale columns to norm 1 over all rows; constant columns become 0."""
    centred = rows - rows.mean(axis=(0, 1))
    norms = np.sqrt(np.sum(centred**2, axis=(0, 1)))
    constant = np.ptp(rows, axis=(0, 1)) == 0
    return np.where(constant, 0.0, centred) / np.where(constant | (norms == 0), 1.0, norms)


def _mean_or_none(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def _share_positive(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float((known > 0).mean()) if len(known) else None


def _add_mean(
    table: MetricTable,
    layers: tuple[int, int],
    per_dimension: np.ndarray,
    replicates: np.ndarray,
    nulls: _Nulls,
) -> None:
    mean = _mean_or_none(per_dimension)
    if mean is None:
        table.add("mean", layers, None, note="undefined: no dimension varies in both models")
        return
    interval = jackknife_interval(mean, replicates)
    null = nulls.layers.get(layers)
    p = null.p if null else None
    p_note = nulls.note if null or not nulls.layers else "p: for matched layers alone"
    no_interval = "" if interval.se is not None else NO_INTERVAL
    note = join_notes(_constant_note(per_dimension), no_interval, p_note)
    table.add("mean", layers, mean, chance=0.0, p=p, note=note, **interval_columns(interval))


def _add_over_layers(
    table: MetricTable, means: np.ndarray, replicates: np.ndarray, nulls: _Nulls
) -> None:
    """Add the mean over matched layers, layer 0 left out, and their maximum."""
    p_mean, p_max = p_over_layers([null for (i, _), null in nulls.layers.items() if i > 0])
    table.add_layer_mean("mean", replicates=replicates, p=p_mean, note=nulls.note)
    if len(means) and np.isfinite(means).all():
        note = join_notes(MAXIMUM_NOTE, nulls.note)
        layers = (MEAN_OVER_LAYERS, MEAN_OVER_LAYERS)
        table.add("mean_max", layers, float(means.max()), p=p_max, note=note)


def _add_spread(table: MetricTable, layers: tuple[int, int], values: np.ndarray) -> None:
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

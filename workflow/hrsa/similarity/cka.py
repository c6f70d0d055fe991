"""Linear CKA: do two models put tokens in the same geometry, whatever the axes?

Three estimators: ``biased`` (the published one), ``song`` (without the pairs of a token with
itself) and ``sample_debiased`` (without the pairs of tokens of one sample).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from hrsa.activations.alignment import PairedRows
from hrsa.activations.store import Activations
from hrsa.similarity.arrays import check_pair, check_varies, is_constant
from hrsa.similarity.distinct_samples import (
    MIN_SAMPLES,
    SampleSums,
    cross_product,
    hsic,
    hsic_without_blocks,
    sample_sums,
)
from hrsa.similarity.layers import (
    MatchedLayers,
    MetricTable,
    check_rows,
    join_notes,
    matched_layers,
    read_layer,
)
from hrsa.similarity.results import NO_P, CkaResult, LayerComparison
from hrsa.statistics.blocks import N_BLOCKS, BlockOrder, block_order, sample_codes
from hrsa.statistics.resampling import Interval, jackknife_interval

MIN_ROWS = 2
DEBIASED = ("song", "sample_debiased")
BIASED_NOTE = (
    "biased: no valid interval for the population's value, read the debiased estimator; "
    "chance: exact mean under permutation of rows"
)
NO_INTERVAL = "no interval: undefined without one of the blocks, or there are fewer than two"
NOT_POSITIVE = "undefined: a self term of the debiased estimator is not positive"
# A self term that is this small a part of ‖A‖²/n² is rounding of 0.
_ROUNDING = 1e-12
# Centred layers of the candidate that are kept in memory rather than read again.
_CACHE_BYTES = 2**30


@dataclass(frozen=True, eq=False)
class _Own:
    """A matrix centred and in block order, with what it contributes to every CKA alone."""

    sums: SampleSums
    product: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, order: BlockOrder) -> "_Own":
        """Prepare centred rows (n_tokens × width) in the order of ``order``."""
        sums = sample_sums(rows, order)
        return cls(sums, cross_product(sums, sums))

    @cached_property
    def norm(self) -> float:
        """‖A‖_F."""
        return float(np.linalg.norm(self.product))

    @property
    def least_hsic(self) -> float:
        """What HSIC must be above to be more than rounding of 0."""
        return _ROUNDING * self.norm**2 / len(self.sums.rows) ** 2

    @cached_property
    def hsic(self) -> float:
        """HSIC with itself over distinct samples."""
        return hsic(self.sums, self.sums, cross=self.product)

    @cached_property
    def hsic_without_blocks(self) -> np.ndarray:
        """The same with each block left out, shape (n_blocks,)."""
        return hsic_without_blocks(self.sums, self.sums, cross=self.product)


@dataclass(frozen=True, eq=False)
class _Layer:
    """A layer for the three estimators: rows as samples (``song``), and samples as they are."""

    song: _Own
    sample_debiased: _Own


@dataclass(frozen=True, eq=False)
class _Debiased:
    """A debiased CKA, with each block left out (n_blocks,), its interval and note."""

    value: float | None
    replicates: np.ndarray
    interval: Interval
    note: str


def linear_cka(
    X: npt.ArrayLike,
    Y: npt.ArrayLike,
    *,
    debiased: bool = False,
    samples: npt.ArrayLike | None = None,
    blocks: npt.ArrayLike | None = None,
) -> CkaResult:
    """Linear centred kernel alignment of two representations.

    Parameters
    ----------
    X, Y : array-like, shapes (n_tokens, p) and (n_tokens, q)
        Hidden states of the reference and the candidate, rows matched.
    debiased : bool
        False: ‖S‖²_F/(‖A‖_F‖B‖_F), above 0 for unrelated models. True: the U-statistic over
        distinct samples; with ``samples`` None that is Song's.
    samples : array-like of length n_tokens, or None
        The sample (text) of each row, in any order; None: each row is its own.
    blocks : array-like of length n_tokens, or None
        Blocks of samples for the interval; None: 25 balanced ones.

    Returns
    -------
    CkaResult
        ``value`` is never clamped: a debiased one may be negative, and is None where a self term is
        not positive. Chance is exact under permutation of rows for the biased estimator, and 0 for
        the debiased ones. The interval (debiased only) is the jackknife's over blocks.

    Raises
    ------
    ValueError
        When a matrix is malformed or constant, or ``debiased`` has fewer than four samples.

    References
    ----------
    Kornblith et al. (2019), Similarity of neural network representations revisited, eq. 4.
    Song et al. (2012), Feature selection via dependence maximization, eq. 5 (HSIC₁).
    """
    reference, candidate = check_pair(X, Y, min_rows=MIN_ROWS)
    check_varies(reference, "X")
    check_varies(candidate, "Y")
    codes = sample_codes(samples, len(reference))
    order = block_order(codes, len(codes), blocks=blocks)
    if debiased:
        variant = "song" if samples is None else "sample_debiased"
        return _debiased_result(_prepare(reference, order), _prepare(candidate, order), variant)
    by_row = order.by_row()
    x, y = _prepare(reference, by_row), _prepare(candidate, by_row)
    value, chance = _biased(x, y, cross_product(x.sums, y.sums))
    note = join_notes(BIASED_NOTE, NO_P)
    return CkaResult(value=value, chance=chance, variant="biased", note=note)


def cka_layers(
    reference: Activations,
    candidate: Activations,
    rows: PairedRows,
    *,
    n_blocks: int = N_BLOCKS,
    seed: int = 0,
) -> LayerComparison:
    """Linear CKA of every layer of one model with every layer of another.

    Parameters
    ----------
    reference, candidate : Activations
        Open activation files; widths and depths may differ.
    rows : PairedRows
        Matched rows.
    n_blocks, seed : int
        Blocks of samples for the intervals.

    Returns
    -------
    LayerComparison
        Table: statistic ``cka``; variant ``biased`` for every pair of layers, ``song`` and
        ``sample_debiased`` for matched layers; means over matched layers, layer 0 left out.
        Arrays: ``biased``, ``song`` and ``sample_debiased`` (L × L', NaN where undefined),
        ``song_replicates`` and ``sample_debiased_replicates`` (matched layers × n_blocks),
        ``layers_reference`` and ``layers_candidate``.

    Raises
    ------
    UserError
        When too few rows or samples match.
    """
    check_rows(rows, least=MIN_SAMPLES, least_samples=MIN_SAMPLES)
    order = block_order(rows.samples, len(rows.reference), n_blocks=n_blocks, seed=seed)
    matched = matched_layers(reference, candidate)
    table = MetricTable.of_rows("cka", matched, rows)
    shape = (len(reference.layers), len(candidate.layers))
    arrays = {variant: np.full(shape, np.nan) for variant in ("biased", *DEBIASED)}
    for variant in DEBIASED:
        arrays[f"{variant}_replicates"] = np.full((len(matched.pairs), order.n_blocks), np.nan)
    candidate_layer = _layer_reader(candidate, rows.candidate, order)
    for a, i in enumerate(reference.layers):
        x = _prepare_layer(read_layer(reference, i, rows.reference), order)
        for b, j in enumerate(candidate.layers):
            y = candidate_layer(j)
            cross = cross_product(x.song.sums, y.song.sums)
            biased, chance = _biased(x.song, y.song, cross)
            _add_biased(table, (i, j), biased, chance)
            arrays["biased"][a, b] = np.nan if biased is None else biased
            for variant in DEBIASED:
                arrays[variant][a, b] = _ratio(*_pick(variant, x, y), cross)
            if (i, j) in matched.pairs:
                place = matched.pairs.index((i, j))
                for variant in DEBIASED:
                    found = _debias(*_pick(variant, x, y), cross)
                    _add_debiased(table, (i, j), variant, found)
                    arrays[f"{variant}_replicates"][place] = found.replicates
    _add_means(table, matched, arrays)
    arrays["layers_reference"] = np.array(reference.layers)
    arrays["layers_candidate"] = np.array(candidate.layers)
    return table.build(arrays)


def _prepare(matrix: np.ndarray, order: BlockOrder) -> _Own:
    # Centred before any product: an offset of 3000 leaves nothing of a product in float32.
    centred = (matrix - matrix.mean(axis=0))[order.order]
    # The mean of a constant may differ from it in the last digit.
    return _Own.of(np.zeros_like(centred) if is_constant(matrix) else centred, order)


def _prepare_layer(matrix: np.ndarray, order: BlockOrder) -> _Layer:
    by_row = _prepare(matrix, order.by_row())
    by_sample = _Own(sample_sums(by_row.sums.rows, order), by_row.product)
    return _Layer(song=by_row, sample_debiased=by_sample)


def _pick(variant: str, x: _Layer, y: _Layer) -> tuple[_Own, _Own]:
    return getattr(x, variant), getattr(y, variant)


def _layer_reader(
    activations: Activations, rows: np.ndarray, order: BlockOrder
) -> Callable[[int], _Layer]:
    """Read and prepare layers, keeping as many as memory allows."""
    size = len(rows) * activations.width * np.dtype(np.float64).itemsize
    keep = len(activations.layers) if size * len(activations.layers) <= _CACHE_BYTES else 1

    @lru_cache(maxsize=keep)
    def read(layer: int) -> _Layer:
        return _prepare_layer(read_layer(activations, layer, rows), order)

    return read


def _biased(x: _Own, y: _Own, cross: np.ndarray) -> tuple[float | None, float | None]:
    """CKA = ‖S‖²/(‖A‖‖B‖), and its exact mean under permutation of rows."""
    scale = x.norm * y.norm
    if scale == 0:
        return None, None
    n_rows = len(x.sums.rows)
    traces = float(np.trace(x.product) * np.trace(y.product))
    return float(np.vdot(cross, cross)) / scale, traces / ((n_rows - 1) * scale)


def _ratio(x: _Own, y: _Own, cross: np.ndarray) -> float:
    """HSIC(X, Y)/√(HSIC(X, X)·HSIC(Y, Y)); NaN where a self term is not positive."""
    if x.hsic <= x.least_hsic or y.hsic <= y.least_hsic:
        return np.nan
    return hsic(x.sums, y.sums, cross=cross) / np.sqrt(x.hsic * y.hsic)


def _debias(x: _Own, y: _Own, cross: np.ndarray) -> _Debiased:
    value = _ratio(x, y, cross)
    n_blocks = x.sums.order.n_blocks
    if np.isnan(value):
        return _Debiased(None, np.full(n_blocks, np.nan), Interval(), NOT_POSITIVE)
    own_x, own_y = x.hsic_without_blocks, y.hsic_without_blocks
    positive = (own_x > x.least_hsic) & (own_y > y.least_hsic)
    scale = np.sqrt(np.where(positive, own_x * own_y, np.nan))
    replicates = hsic_without_blocks(x.sums, y.sums, cross=cross) / scale
    interval = jackknife_interval(value, replicates)
    return _Debiased(float(value), replicates, interval, "" if interval.method else NO_INTERVAL)


def _debiased_result(x: _Own, y: _Own, variant: str) -> CkaResult:
    n_samples = x.sums.order.n_samples
    if n_samples < MIN_SAMPLES:
        raise ValueError(
            f"debiased CKA needs at least {MIN_SAMPLES} samples, got {n_samples} "
            f"in {len(x.sums.rows)} rows"
        )
    found = _debias(x, y, cross_product(x.sums, y.sums))
    return CkaResult(
        value=found.value,
        se=found.interval.se,
        ci_low=found.interval.low,
        ci_high=found.interval.high,
        interval_method=found.interval.method,
        replicates=found.replicates if found.interval.method else None,
        chance=None if found.value is None else 0.0,
        variant=variant,
        note=join_notes(found.note, NO_P),
    )


def _add_biased(
    table: MetricTable, layers: tuple[int, int], value: float | None, chance: float | None
) -> None:
    note = "undefined: a model is constant at this layer" if value is None else BIASED_NOTE
    table.add("cka", layers, value, variant="biased", chance=chance, note=note)


def _add_debiased(
    table: MetricTable, layers: tuple[int, int], variant: str, found: _Debiased
) -> None:
    table.add(
        "cka",
        layers,
        found.value,
        variant=variant,
        se=found.interval.se,
        ci_low=found.interval.low,
        ci_high=found.interval.high,
        interval_method=found.interval.method,
        chance=None if found.value is None else 0.0,
        note=join_notes(found.note, NO_P),
    )


def _add_means(table: MetricTable, matched: MatchedLayers, arrays: dict[str, np.ndarray]) -> None:
    inner = [place for place, (i, _) in enumerate(matched.pairs) if i > 0]
    table.add_layer_mean("cka", variant="biased", note=BIASED_NOTE)
    for variant in DEBIASED:
        replicates = arrays[f"{variant}_replicates"][inner]
        table.add_layer_mean("cka", variant=variant, replicates=replicates, note=NO_P)

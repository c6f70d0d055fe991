"""Linear CKA: do two models put tokens in the same geometry, whatever the axes?"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hrsa.activations.alignment import PairedRows
from hrsa.activations.store import Activations
from hrsa.similarity.arrays import check_pair, check_varies
from hrsa.similarity.cka_cells import CkaCells, Route, cka_cells
from hrsa.similarity.cka_null import NO_P_SONG, LayerNulls, cka_null
from hrsa.similarity.distinct_samples import MIN_SAMPLES
from hrsa.similarity.layer_nulls import permuted_layers
from hrsa.similarity.layer_stack import MEMORY, LayerStack, array_reader, stack_of_file
from hrsa.similarity.layers import (
    MAXIMUM_NOTE,
    MEAN_OVER_LAYERS,
    NO_P,
    NULL_ROWS,
    MatchedLayers,
    MetricTable,
    check_rows,
    interval_columns,
    join_notes,
    matched_layers,
)
from hrsa.similarity.results import CkaResult, LayerComparison
from hrsa.statistics.blocks import N_BLOCKS, block_order, sample_blocks, sample_codes
from hrsa.statistics.permutation import N_PERMUTATIONS, equal_rows, sample_permutations
from hrsa.statistics.resampling import Interval, jackknife_interval

MIN_ROWS = 2
VARIANTS = ("biased", "song", "sample_debiased")
BIASED_NOTE = (
    "biased: no valid interval for the population's value, read the debiased estimator; "
    "chance: exact mean under permutation of rows"
)
NO_INTERVAL = "no interval: undefined without one of the blocks, or there are fewer than two"
NOT_POSITIVE = "undefined: a self term of the debiased estimator is not positive"
CONSTANT = "undefined: a model is constant at this layer"


def linear_cka(
    X: npt.ArrayLike,
    Y: npt.ArrayLike,
    *,
    debiased: bool = False,
    samples: npt.ArrayLike | None = None,
    blocks: npt.ArrayLike | None = None,
    n_permutations: int = N_PERMUTATIONS,
    seed: int = 0,
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
    n_permutations : int
        Permutations of whole samples for the p-value, on at most 2000 rows; 0: no p.
    seed : int
        Of the blocks and the permutations.

    Returns
    -------
    CkaResult
        ``value`` is never clamped: a debiased one may be negative, and is None where a self term is
        not positive. Chance is exact under permutation of rows for the biased estimator, and 0 for
        the debiased ones. The interval (debiased only) is the jackknife's over blocks;
        ``replicates`` are the values with each block left out.

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
    order = block_order(codes, len(codes), blocks=blocks, seed=seed)
    if debiased and order.n_samples < MIN_SAMPLES:
        raise ValueError(
            f"debiased CKA needs at least {MIN_SAMPLES} samples, got {order.n_samples} "
            f"in {len(reference)} rows"
        )
    x, y = (
        LayerStack([array_reader(one)], order, dtype=np.float64, memory=MEMORY)
        for one in (reference, candidate)
    )
    cells = cka_cells(x, y, device="cpu")
    variant = "biased" if not debiased else "song" if samples is None else "sample_debiased"
    null = _null(reference, candidate, codes, n_permutations, seed)
    # With each row its own sample the two debiased estimators are one.
    p, p_note = null.p("sample_debiased" if debiased else "biased", (0, 0))
    found = _cell(cells, variant, (0, 0))
    return CkaResult(
        value=found.value,
        se=found.interval.se,
        ci_low=found.interval.low,
        ci_high=found.interval.high,
        interval_method=found.interval.method,
        replicates=found.replicates,
        chance=found.chance,
        p=None if found.value is None else p,
        variant=variant,
        note=join_notes(found.note, p_note),
    )


def cka_layers(
    reference: Activations,
    candidate: Activations,
    rows: PairedRows,
    *,
    n_blocks: int = N_BLOCKS,
    seed: int = 0,
    n_permutations: int = N_PERMUTATIONS,
    route: Route = "auto",
    device: str = "auto",
    dtype: str | None = None,
    memory: int = MEMORY,
) -> LayerComparison:
    """Linear CKA of every layer of one model with every layer of another.

    Parameters
    ----------
    reference, candidate : Activations
        Open activation files; widths and depths may differ.
    rows : PairedRows
        Matched rows.
    n_blocks, seed : int
        Blocks of samples for the intervals, and the permutations.
    n_permutations : int
        For the p-values of matched layers; 0: no p.
    route, device, memory
        As for `hrsa.similarity.cka_cells.cka_cells`.
    dtype : {"float32", "float64"}, optional
        Type that products are computed in. Left out: float64, and float32 for work of more than
        about 10¹² operations on a file that holds no more digits.

    Returns
    -------
    LayerComparison
        Table: statistic ``cka``; variants ``biased`` and ``sample_debiased`` for every pair of
        layers, ``song`` for matched layers; means over matched layers, layer 0 left out, and their
        maximum (``cka_max``). Arrays: ``biased``, ``song`` and ``sample_debiased`` (L × L', NaN
        where undefined), the same with ``_replicates`` (L × L' × n_blocks), ``layers_reference``
        and ``layers_candidate``.

    Raises
    ------
    UserError
        When too few rows or samples match.
    """
    check_rows(rows, least=MIN_SAMPLES, least_samples=MIN_SAMPLES)
    order = block_order(rows.samples, len(rows.reference), n_blocks=n_blocks, seed=seed)
    matched = matched_layers(reference, candidate)
    chosen = np.dtype(dtype or _dtype_for(reference, candidate, len(rows.reference)))
    x = stack_of_file(reference, rows.reference, order, dtype=chosen, memory=memory // 4)
    y = stack_of_file(candidate, rows.candidate, order, dtype=chosen, memory=memory // 4)
    cells = cka_cells(x, y, route=route, device=device, memory=memory)
    permuted = permuted_layers(
        reference, candidate, rows, matched, n_permutations=n_permutations, seed=seed
    )
    nulls = {pair: cka_null(left, right, permuted.permutations) for pair, left, right in permuted}
    null = LayerNulls(nulls, permuted.note)
    table = MetricTable.of_rows("cka", matched, rows)
    for a, i in enumerate(reference.layers):
        for b, j in enumerate(candidate.layers):
            for variant in VARIANTS:
                if variant != "song" or (i, j) in matched.pairs:
                    _add_cell(table, (i, j), _cell(cells, variant, (a, b)), null)
    arrays = {"sample_blocks": sample_blocks(rows.samples, order)}
    for variant in VARIANTS:
        estimates = getattr(cells, variant)
        arrays |= {variant: estimates.values, f"{variant}_replicates": estimates.replicates}
        _add_over_layers(
            table,
            matched,
            variant,
            estimates.values,
            estimates.replicates,
            null,
            reference,
            candidate,
        )
    arrays["layers_reference"] = np.array(reference.layers)
    arrays["layers_candidate"] = np.array(candidate.layers)
    return table.build(arrays)


@dataclass(frozen=True, eq=False)
class _Cell:
    """One estimator of one pair of layers."""

    variant: str
    value: float | None
    replicates: np.ndarray
    interval: Interval
    chance: float | None
    note: str


def _cell(cells: CkaCells, variant: str, place: tuple[int, int]) -> _Cell:
    estimates = getattr(cells, variant)
    value, replicates = float(estimates.values[place]), estimates.replicates[place]
    if np.isnan(value):
        constant = np.isnan(cells.biased.values[place])
        note = CONSTANT if constant else NOT_POSITIVE
        return _Cell(variant, None, replicates, Interval(), None, note)
    if variant == "biased":
        chance = float(cells.chance[place])
        return _Cell(variant, value, replicates, Interval(), chance, BIASED_NOTE)
    interval = jackknife_interval(value, replicates)
    note = "" if interval.method else NO_INTERVAL
    return _Cell(variant, value, replicates, interval, 0.0, note)


def _add_cell(table: MetricTable, layers: tuple[int, int], cell: _Cell, null: LayerNulls) -> None:
    p, p_note = null.p(cell.variant, layers)
    table.add(
        "cka",
        layers,
        cell.value,
        variant=cell.variant,
        chance=cell.chance,
        p=None if cell.value is None else p,
        note=join_notes(cell.note, p_note),
        **interval_columns(cell.interval),
    )


def _add_over_layers(
    table: MetricTable,
    matched: MatchedLayers,
    variant: str,
    values: np.ndarray,
    replicates: np.ndarray,
    null: LayerNulls,
    reference: Activations,
    candidate: Activations,
) -> None:
    """Add the mean over matched layers, layer 0 left out, and their maximum."""
    inner = [
        (reference.layers.index(i), candidate.layers.index(j)) for i, j in matched.pairs if i > 0
    ]
    if not inner:
        return
    at = tuple(np.array(inner).T)
    p_mean, p_max = null.over_layers(variant)
    note = {"biased": BIASED_NOTE, "song": NO_P_SONG}.get(variant, "")
    p_note = null.note if variant != "song" else ""
    joint = None if variant == "biased" else replicates[at]
    table.add_layer_mean(
        "cka", variant=variant, replicates=joint, p=p_mean, note=join_notes(note, p_note)
    )
    if variant != "song" and np.isfinite(values[at]).all():
        note = join_notes(MAXIMUM_NOTE, p_note)
        layers = (MEAN_OVER_LAYERS, MEAN_OVER_LAYERS)
        table.add("cka_max", layers, float(values[at].max()), variant=variant, p=p_max, note=note)


def _null(
    X: np.ndarray, Y: np.ndarray, codes: np.ndarray, n_permutations: int, seed: int
) -> LayerNulls:
    equal = equal_rows(codes, seed=seed, most_rows=NULL_ROWS)
    permutations = sample_permutations(len(equal.rows), n_permutations, seed=seed)
    if not len(permutations):
        return LayerNulls({}, NO_P)
    return LayerNulls({(0, 0): cka_null(X[equal.rows], Y[equal.rows], permutations)}, equal.note)


def _dtype_for(reference: Activations, candidate: Activations, n_rows: int) -> str:
    if "float64" in (reference.attrs["dtype"], candidate.attrs["dtype"]):
        return "float64"
    operations = (
        2
        * n_rows
        * min(n_rows, len(reference.layers) * reference.width)
        * len(candidate.layers)
        * candidate.width
    )
    return "float64" if operations < 1e12 else "float32"

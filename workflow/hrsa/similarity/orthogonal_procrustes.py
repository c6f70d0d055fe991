"""Orthogonal Procrustes: the rotation that takes one representation closest to another."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hrsa.activations.alignment import PairedRows
from hrsa.activations.store import Activations
from hrsa.errors import UserError
from hrsa.similarity.arrays import check_pair, check_varies
from hrsa.similarity.centred_rows import row_pair
from hrsa.similarity.layer_stack import MEMORY, array_reader, file_reader
from hrsa.similarity.layers import (
    NULL_ROWS,
    MatchedLayers,
    MetricTable,
    check_rows,
    join_notes,
    matched_layers,
)
from hrsa.similarity.procrustes_comparison import (
    NO_COS_INTERVAL,
    SUBSETS,
    Comparison,
    Permutations,
    Sampling,
    compare_rows,
)
from hrsa.similarity.procrustes_null import PermutedFits
from hrsa.similarity.results import LayerComparison, ProcrustesResult
from hrsa.statistics.blocks import N_BLOCKS, block_order, sample_codes
from hrsa.statistics.deletion import N_DRAWS, deletion_draws
from hrsa.statistics.permutation import N_PERMUTATIONS

MIN_ROWS = 3
IN_SAMPLE = "computed in sample, no valid interval nor chance level: read cos_heldout; p: read cos"
NO_H_INV_P = "chance: the Haar line; p: of cos alone"
REFITS_PER_LAYER = "refits at single layers only, final by default"
STATISTICS = ("cos", "cos_heldout", "residual", "h_inv", *SUBSETS)


def procrustes(
    X: npt.ArrayLike,
    Y: npt.ArrayLike,
    *,
    samples: npt.ArrayLike | None = None,
    blocks: npt.ArrayLike | None = None,
    n_permutations: int = N_PERMUTATIONS,
    most_refits: int | None = None,
    n_draws: int = N_DRAWS,
    seed: int = 0,
) -> ProcrustesResult:
    """Fit O* = argmin ‖X_cO − Y_c‖_F over orthogonal O, and say how close and how local it is.

    Parameters
    ----------
    X, Y : array-like, shapes (n_tokens, p) and (n_tokens, q)
        Hidden states of the reference and the candidate, rows matched. With p ≠ q the narrower is
        padded with zero columns.
    samples : array-like of length n_tokens, or None
        The sample (text) of each row, in any order; None: each row is its own.
    blocks : array-like of length n_tokens, or None
        Blocks of samples for the folds and the interval; None: 25 balanced ones.
    n_permutations : int
        Permutations of whole samples for p; 0: no p and no chance levels but the Haar line.
    most_refits : int or None
        Cap on them; None: 199 up to width 256 and 20 above, where a refit takes half a second.
        With a cap below ``n_permutations`` there is no p, the chance levels stay.
    n_draws : int
        Draws that delete a fifth of the samples, a refit each, for the interval of H_inv.
    seed : int
        Of the blocks, the draws and the permutations.

    Returns
    -------
    ProcrustesResult
        ``value`` = ‖S‖_*/(‖X_c‖‖Y_c‖) is inflated in sample (0.94 for independent data at 64 rows
        and width 256); ``p`` tests it, on rows of which every sample has equally many.
        ``cos_heldout`` is a 5-fold cross-fit over whole samples: an estimate of the cosine on new
        samples with 80 % of n to fit on; near 0 its interval is too narrow, read ``p``. ``h_inv``
        is 1 for a signed permutation, depends on n, and is None where the rank of S is below the
        width, or p ≠ q; its interval is conservative, at this n.

    Raises
    ------
    ValueError
        When a matrix is malformed or constant.

    References
    ----------
    Schönemann (1966), A generalized solution of the orthogonal Procrustes problem.
    Williams et al. (2021), Generalized shape metrics on neural representations: arccos is a metric.
    "Do Reasoning Models Enhance Embedding Models?" (arXiv 2601.21192): inverse row entropy.
    """
    reference, candidate = check_pair(X, Y, min_rows=MIN_ROWS)
    check_varies(reference, "X")
    check_varies(candidate, "Y")
    codes = sample_codes(samples, len(reference))
    order = block_order(codes, len(codes), blocks=blocks, seed=seed)
    deleted = deletion_draws(order.n_samples, n_draws=n_draws, seed=seed)
    permutations = Permutations(n_permutations, most_refits, seed)
    sampling = Sampling(codes, order, deleted)
    pair = row_pair(
        array_reader(reference),
        array_reader(candidate),
        len(reference),
        (reference.shape[1], candidate.shape[1]),
        memory=MEMORY,
    )
    return compare_rows(pair, sampling, permutations).result


def procrustes_layers(
    reference: Activations,
    candidate: Activations,
    rows: PairedRows,
    *,
    n_blocks: int = N_BLOCKS,
    seed: int = 0,
    n_permutations: int = N_PERMUTATIONS,
    most_refits: int | None = None,
    n_draws: int = N_DRAWS,
    refit_layers: Sequence[int] | None = None,
    keep_rotations: bool = False,
    memory: int = MEMORY,
) -> LayerComparison:
    """Procrustes of matched layers.

    Parameters
    ----------
    reference, candidate : Activations
        Open activation files; widths and depths may differ.
    rows : PairedRows
        Matched rows.
    n_blocks, seed : int
        Blocks of samples for the folds and the intervals; the seed also of draws and permutations.
    n_permutations, most_refits, n_draws : int
        See `procrustes`. Permutations are of at most 2000 rows, in whole samples.
    refit_layers : sequence of int, or None
        Layers of the reference at which draws and permutations are refitted; None: the final one.
    keep_rotations : bool
        Keep O* of all matched layers, not of the final one alone.
    memory : int
        Bytes that rows may take; two layers of more than a quarter of it are read piece by piece.

    Returns
    -------
    LayerComparison
        Table: statistics ``cos``, ``cos_heldout``, ``residual``, ``h_inv``, ``h_inv_half`` and
        ``h_inv_quarter`` for matched layers, and their means, layer 0 left out; where it was
        refitted also ``cos_permutation_chance`` and ``h_inv_permutation_chance``: means over
        permutations, at the n of the rows that are permuted.
        Arrays: ``rotation`` (p × q) of the final layer, left out where that is constant;
        ``rotations`` (matched layers × p × q) when asked for; ``cos_heldout_replicates`` (matched
        layers × n_blocks); with equal widths ``h_inv_rows``, ``h_inv_half_rows``,
        ``h_inv_quarter_rows`` (matched layers × width) and ``h_inv_draws`` (matched layers ×
        n_draws); ``layers_reference`` and ``layers_candidate`` of the matched layers. NaN where
        undefined or not refitted.

    Raises
    ------
    UserError
        When too few rows match, or a layer is not stored.
    """
    check_rows(rows, least=MIN_ROWS)
    codes = sample_codes(rows.samples, len(rows.reference))
    order = block_order(codes, len(codes), n_blocks=n_blocks, seed=seed)
    deleted = deletion_draws(order.n_samples, n_draws=n_draws, seed=seed)
    sampling = Sampling(codes, order, deleted)
    permutations = Permutations(n_permutations, most_refits, seed, most_rows=NULL_ROWS)
    matched = matched_layers(reference, candidate)
    refitted = _refit_layers(reference, matched, refit_layers)
    table = MetricTable.of_rows("procrustes", matched, rows)
    widths = reference.width, candidate.width
    arrays = _empty_arrays(matched, widths, order.n_blocks, len(deleted), keep_rotations)
    for place, (i, j) in enumerate(matched.pairs):
        pair = row_pair(
            file_reader(reference, i, rows.reference),
            file_reader(candidate, j, rows.candidate),
            order.n_rows,
            widths,
            memory=memory,
        )
        if not (pair.x.varies and pair.y.varies):
            _add_undefined(table, (i, j))
            continue
        refits = permutations if i in refitted else None
        comparison = compare_rows(pair, sampling, refits)
        _add_layer(table, (i, j), comparison)
        _keep(arrays, place, comparison.result)
        if place == len(matched.pairs) - 1:
            arrays["rotation"] = comparison.result.rotation
    inner = [place for place, (i, _) in enumerate(matched.pairs) if i > 0]
    _add_means(table, arrays["cos_heldout_replicates"][inner])
    arrays["layers_reference"] = np.array([i for i, _ in matched.pairs])
    arrays["layers_candidate"] = np.array([j for _, j in matched.pairs])
    return table.build(arrays)


def _refit_layers(
    reference: Activations, matched: MatchedLayers, wanted: Sequence[int] | None
) -> set[int]:
    if wanted is None:
        return {matched.pairs[-1][0]}
    missing = sorted(set(wanted) - set(reference.layers))
    if missing:
        raise UserError(
            f"{reference.path}: layer {missing[0]} is not in the file, which stores "
            f"{', '.join(map(str, reference.layers))}"
        )
    return set(wanted)


def _empty_arrays(
    matched: MatchedLayers,
    widths: tuple[int, int],
    n_blocks: int,
    n_draws: int,
    keep_rotations: bool,
) -> dict[str, np.ndarray]:
    """Arrays over matched layers, NaN where nothing is filled in."""
    shapes: dict[str, tuple[int, ...]] = {"cos_heldout_replicates": (n_blocks,)}
    if widths[0] == widths[1]:
        shapes |= {f"{name}_rows": (widths[0],) for name in ("h_inv", *SUBSETS)}
        shapes["h_inv_draws"] = (n_draws,)
    if keep_rotations:
        shapes["rotations"] = widths
    return {name: np.full((len(matched.pairs), *shape), np.nan) for name, shape in shapes.items()}


def _keep(arrays: dict[str, np.ndarray], place: int, found: ProcrustesResult) -> None:
    """Put what a result has of the arrays over matched layers in its place."""
    for name, array in arrays.items():
        value = found.rotation if name == "rotations" else getattr(found, name)
        if value is not None:
            array[place] = value


def _add_layer(table: MetricTable, layers: tuple[int, int], comparison: Comparison) -> None:
    found = comparison.result
    notes = comparison.cos_note, comparison.p_note
    table.add("cos", layers, found.value, chance=found.chance, p=found.p, note=join_notes(*notes))
    table.add(
        "cos_heldout",
        layers,
        found.cos_heldout,
        se=found.cos_heldout_se,
        ci_low=found.cos_heldout_ci_low,
        ci_high=found.cos_heldout_ci_high,
        interval_method=found.cos_heldout_method,
        chance=found.cos_heldout_chance,
        p=None if found.cos_heldout is None else found.p,
        note=join_notes(comparison.heldout_note, comparison.p_note),
    )
    table.add("residual", layers, found.residual, note=IN_SAMPLE)
    for statistic, entropy in comparison.entropies.items():
        table.add(
            statistic,
            layers,
            entropy.value,
            se=entropy.interval.se,
            ci_low=entropy.interval.low,
            ci_high=entropy.interval.high,
            interval_method=entropy.interval.method,
            chance=entropy.chance,
            n_tokens=entropy.n_tokens,
            n_samples=entropy.n_samples,
            note=join_notes(entropy.note, NO_H_INV_P),
        )
    if comparison.permuted is not None:
        _add_chances(table, layers, comparison.permuted, haar=found.h_inv_chance)


def _add_chances(
    table: MetricTable, layers: tuple[int, int], permuted: PermutedFits, *, haar: float | None
) -> None:
    """Add the chance levels by permutation, which hold at the n of the rows permuted."""
    counts: dict[str, Any] = {"n_tokens": permuted.n_tokens, "n_samples": permuted.n_samples}
    no_interval = "a chance level, no interval; p: read cos"
    cos_note = f"mean of {len(permuted.null)} refits to permuted samples; {no_interval}"
    table.add("cos_permutation_chance", layers, permuted.chance, note=cos_note, **counts)
    table.add(
        "h_inv_permutation_chance",
        layers,
        permuted.h_inv,
        chance=haar,
        note=join_notes(permuted.h_inv_note, "chance: the Haar line", no_interval),
        **counts,
    )


def _add_undefined(table: MetricTable, layers: tuple[int, int]) -> None:
    for statistic in STATISTICS:
        table.add(statistic, layers, None, note="undefined: a model is constant at this layer")


def _add_means(table: MetricTable, replicates: np.ndarray) -> None:
    table.add_layer_mean(
        "cos_heldout", replicates=replicates, note=f"p: {REFITS_PER_LAYER}, read that of cos"
    )
    no_chance = f"chance and p: {REFITS_PER_LAYER}"
    table.add_layer_mean("cos", note=join_notes(NO_COS_INTERVAL, no_chance))
    table.add_layer_mean("residual", note=IN_SAMPLE)
    for statistic in ("h_inv", *SUBSETS):
        note = join_notes(f"compare at equal n only, no interval: {REFITS_PER_LAYER}", NO_H_INV_P)
        table.add_layer_mean(statistic, note=note)

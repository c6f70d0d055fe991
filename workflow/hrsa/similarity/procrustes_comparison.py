"""Everything that orthogonal Procrustes says of one pair of layers, from one cross-product."""

from dataclasses import dataclass

import numpy as np

from hrsa.similarity.centred_rows import RowPair
from hrsa.similarity.layers import join_notes
from hrsa.similarity.procrustes_heldout import HeldOut, held_out_cosine
from hrsa.similarity.procrustes_null import PermutedFits, permuted_fits
from hrsa.similarity.results import ProcrustesResult
from hrsa.similarity.rotation import Rotation, closeness, fit_rotation
from hrsa.similarity.row_entropy import (
    RowEntropy,
    entropy_draws,
    entropy_of,
    subset_entropy,
    with_interval,
    without_interval,
)
from hrsa.statistics.blocks import BlockOrder

NO_COS_INTERVAL = "cos in sample is inflated and has no valid interval: read cos_heldout"
NOT_REFITTED = "not refitted at this layer"
SUBSETS = {"h_inv_half": 2, "h_inv_quarter": 4}


@dataclass(frozen=True, eq=False)
class Sampling:
    """The samples of the rows, and what is left out of them.

    Attributes
    ----------
    codes : numpy.ndarray of int64, shape (n_rows,)
        Sample of each row, numbered from 0.
    order : BlockOrder
        Blocks for the folds and the jackknife.
    deleted : numpy.ndarray of bool, shape (n_draws, n_samples)
        Draws for the interval of H_inv.
    """

    codes: np.ndarray
    order: BlockOrder
    deleted: np.ndarray


@dataclass(frozen=True)
class Permutations:
    """How the candidate's samples are permuted.

    Attributes
    ----------
    asked : int
        Permutations that are asked for.
    most : int or None
        Cap on their refits; None: by width.
    seed : int
    most_rows : int or None
        Cap on the rows that are permuted; None: no cap.
    """

    asked: int
    most: int | None
    seed: int
    most_rows: int | None = None


@dataclass(frozen=True, eq=False)
class Comparison:
    """The result of two layers, with what a table says row by row.

    Attributes
    ----------
    result : ProcrustesResult
    entropies : dict of str to RowEntropy
        H_inv at n, n/2 and n/4, by statistic.
    permuted : PermutedFits or None
        None where nothing was refitted.
    cos_note, heldout_note, p_note : str
        Of the cosine in sample, of the held-out one, and of p.
    """

    result: ProcrustesResult
    entropies: dict[str, RowEntropy]
    permuted: PermutedFits | None
    cos_note: str
    heldout_note: str
    p_note: str


def compare_rows(
    pair: RowPair, sampling: Sampling, permutations: Permutations | None
) -> Comparison:
    """Compare two layers that vary.

    Without permutations H_inv is not refitted either: there is no interval and no p.
    """
    cross, *squares = pair.sums()
    rotation = fit_rotation(cross)
    heldout = held_out_cosine(cross, pair, sampling.order)
    entropies = _entropies(rotation, cross, pair, sampling, refit=permutations is not None)
    permuted = None
    if permutations is not None:
        permuted = permuted_fits(
            pair.x,
            pair.y,
            sampling.codes,
            n_permutations=permutations.asked,
            most_refits=permutations.most,
            most_rows=permutations.most_rows,
            seed=permutations.seed,
        )
    chance, chance_note = _cos_chance(permuted, pair.n_rows)
    p_note = f"p: {NOT_REFITTED}" if permuted is None else permuted.p_note
    notes = [f"{name} {entropy.note}" for name, entropy in entropies.items()]
    if permuted is not None:
        notes.append(f"h_inv_permutation_chance {permuted.h_inv_note}")
    cos_note = join_notes(NO_COS_INTERVAL, chance_note)
    return Comparison(
        result=_result(
            rotation,
            squares=(squares[0], squares[1]),
            chance=chance,
            heldout=heldout,
            entropies=entropies,
            permuted=permuted,
            note=join_notes(cos_note, heldout.note, *notes, p_note),
        ),
        entropies=entropies,
        permuted=permuted,
        cos_note=cos_note,
        heldout_note=heldout.note,
        p_note=p_note,
    )


def _entropies(
    rotation: Rotation,
    cross: np.ndarray,
    pair: RowPair,
    sampling: Sampling,
    *,
    refit: bool,
) -> dict[str, RowEntropy]:
    """H_inv at n, n/2 and n/4, by statistic; the interval is of the first."""
    whole = entropy_of(rotation, sampling.codes)
    if not refit:
        whole = without_interval(whole, NOT_REFITTED)
    elif whole.value is not None:
        draws = entropy_draws(cross, pair, sampling.codes, sampling.deleted)
        whole = with_interval(whole, draws, sampling.deleted)
    found = {"h_inv": whole}
    for statistic, divisor in SUBSETS.items():
        subset = subset_entropy(pair, sampling.codes, divisor)
        found[statistic] = without_interval(subset, "read that of h_inv, at n")
    return found


def _cos_chance(permuted: PermutedFits | None, n_rows: int) -> tuple[float | None, str]:
    """Chance level of the cosine in sample; it falls with n, so only that of equal n will do."""
    if permuted is None or permuted.chance is None:
        return None, f"chance: {NOT_REFITTED}" if permuted is None else ""
    if permuted.n_tokens == n_rows:
        return permuted.chance, ""
    note = (
        f"chance depends on n: cos_permutation_chance is at n = {permuted.n_tokens}, "
        f"where cos is {permuted.cos:.4g}"
    )
    return None, note


def _result(
    rotation: Rotation,
    *,
    squares: tuple[float, float],
    chance: float | None,
    heldout: HeldOut,
    entropies: dict[str, RowEntropy],
    permuted: PermutedFits | None,
    note: str,
) -> ProcrustesResult:
    found = closeness(rotation.nuclear_norm, *squares)
    whole, half, quarter = entropies.values()
    return ProcrustesResult(
        value=found.cos,
        chance=chance,
        p=None if permuted is None else permuted.p,
        note=note,
        cos_heldout=heldout.value,
        cos_heldout_se=heldout.interval.se,
        cos_heldout_ci_low=heldout.interval.low,
        cos_heldout_ci_high=heldout.interval.high,
        cos_heldout_chance=None if heldout.value is None else 0.0,
        cos_heldout_method=heldout.interval.method,
        cos_heldout_replicates=heldout.replicates,
        cos_permutation_chance=None if permuted is None else permuted.chance,
        h_inv=whole.value,
        h_inv_half=half.value,
        h_inv_quarter=quarter.value,
        h_inv_se=whole.interval.se,
        h_inv_ci_low=whole.interval.low,
        h_inv_ci_high=whole.interval.high,
        h_inv_method=whole.interval.method,
        h_inv_draws=whole.draws,
        h_inv_rows=whole.rows,
        h_inv_half_rows=half.rows,
        h_inv_quarter_rows=quarter.rows,
        h_inv_chance=whole.chance,
        h_inv_permutation_chance=None if permuted is None else permuted.h_inv,
        distance=found.distance,
        euclidean=found.euclidean,
        residual=found.residual,
        rotation=rotation.matrix,
    )

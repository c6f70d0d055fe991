"""Held-out cosine of orthogonal Procrustes: the rotation is scored on samples it has not seen."""

from dataclasses import dataclass

import numpy as np

from hrsa.similarity.centred_rows import RowPair
from hrsa.similarity.rotation import fit_rotation
from hrsa.statistics.blocks import BlockOrder
from hrsa.statistics.resampling import Interval, jackknife_interval

N_FOLDS = 5
MAPS_FIXED = "cos_heldout: maps held fixed in the interval, which is too narrow near 0"


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Cosine on held-out samples, and with each block left out.

    Attributes
    ----------
    value : float or None
        Expected cosine on new samples with 80 % of n to fit on.
    replicates : numpy.ndarray of shape (n_blocks,), or None
        The rotations held fixed.
    interval : Interval
        Jackknife over the blocks.
    note : str
        What is missing, and what the interval is conditional on.
    """

    value: float | None
    replicates: np.ndarray | None
    interval: Interval
    note: str


def held_out_cosine(
    cross: np.ndarray, pair: RowPair, order: BlockOrder, *, n_folds: int = N_FOLDS
) -> HeldOut:
    """Cross-fit over folds of whole blocks, numerator and denominators pooled over folds.

    Parameters
    ----------
    cross : numpy.ndarray, shape (p, q)
        S of all rows.
    pair : RowPair
        The rows; each fold is centred by the means of its fit.
    order : BlockOrder
        Blocks of samples.
    n_folds : int
        Folds; with fewer blocks, each block is one.
    """
    n_folds = min(n_folds, order.n_blocks)
    if n_folds < 2:
        note = "cos_heldout needs two samples at least, there is one"
        return HeldOut(None, None, Interval(), note)
    blocks = np.empty(order.n_rows, dtype=np.int64)
    blocks[order.order] = np.repeat(np.arange(order.n_blocks), order.block_sizes)
    sums = np.zeros((3, order.n_blocks))
    for fold in range(n_folds):
        held = np.flatnonzero(blocks % n_folds == fold)
        fit = pair.without(cross, held)
        rotation = fit_rotation(fit.cross).matrix
        for rows, x, y in pair.pieces(held):
            scores = _score_rows(rotation, x + fit.shift_x, y + fit.shift_y)
            for total, score in zip(sums, scores, strict=True):
                total += np.bincount(blocks[rows], weights=score, minlength=order.n_blocks)
    whole = sums.sum(axis=1, keepdims=True)
    value = float(_cosine(whole)[0])
    if np.isnan(value):
        note = "cos_heldout undefined: a model does not vary over the held-out rows"
        return HeldOut(None, None, Interval(), note)
    replicates = _cosine(whole - sums)
    return HeldOut(value, replicates, jackknife_interval(value, replicates), MAPS_FIXED)


def _score_rows(rotation: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """⟨xO, y⟩, ‖x‖² and ‖y‖² of each held-out row (3 × n_rows), centred by the fit's means."""
    products = np.einsum("ij,ij->i", x @ rotation, y)
    return np.array([products, np.einsum("ij,ij->i", x, x), np.einsum("ij,ij->i", y, y)])


def _cosine(sums: np.ndarray) -> np.ndarray:
    """Σ⟨xO, y⟩ / √(Σ‖x‖² Σ‖y‖²) from the three sums (3 × n)."""
    scale = np.sqrt(sums[1] * sums[2])
    return np.divide(sums[0], scale, out=np.full_like(scale, np.nan), where=scale > 0)

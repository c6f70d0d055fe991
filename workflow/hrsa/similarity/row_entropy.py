"""Inverse row entropy of a rotation: does it permute dimensions, or mix them?"""

from dataclasses import dataclass, field

import numpy as np
from scipy.special import digamma, xlogy

from hrsa.similarity.centred_rows import RowPair
from hrsa.similarity.rotation import Rotation, fit_rotation
from hrsa.statistics.blocks import subset_of_samples
from hrsa.statistics.deletion import deletion_interval
from hrsa.statistics.resampling import Interval

AT_THIS_N = "conservative, at this n"


@dataclass(frozen=True, eq=False)
class RowEntropy:
    """H_inv of a rotation, with the data that it was fitted on.

    Attributes
    ----------
    n_tokens, n_samples : int
        Rows and samples that the rotation was fitted on: H_inv depends on their number.
    note : str
        Why it is undefined, what it may be compared with, and why it has no interval.
    rows : numpy.ndarray of shape (D,), or None
        H_inv of each row of O*; None where it is undefined.
    interval : Interval
        Conservative, at this n.
    draws : numpy.ndarray of shape (n_draws,), or None
        H_inv without the deleted samples of each draw; NaN where undefined.
    """

    n_tokens: int
    n_samples: int
    note: str
    rows: np.ndarray | None = None
    interval: Interval = field(default_factory=Interval)
    draws: np.ndarray | None = None

    @property
    def value(self) -> float | None:
        """H_inv: the mean over rows of O*."""
        return None if self.rows is None else float(self.rows.mean())

    @property
    def chance(self) -> float | None:
        """H_inv of a Haar-random rotation."""
        return None if self.rows is None else haar_entropy(len(self.rows))


def row_entropies(rotation: np.ndarray) -> np.ndarray:
    r"""Inverse entropy of each row: :math:`1 + Σ_j O_{ij}² \log O_{ij}² / \log D`.

    Parameters
    ----------
    rotation : numpy.ndarray, shape (D, D)
        Orthogonal, D at least 2.

    Returns
    -------
    numpy.ndarray, shape (D,)
        In [0, 1]; 1 where the row has a single entry. Their mean is H_inv.

    References
    ----------
    "Do Reasoning Models Enhance Embedding Models?" (arXiv 2601.21192): inverse row entropy.
    """
    squares = rotation**2
    return 1 + xlogy(squares, squares).sum(axis=1) / np.log(len(rotation))


def haar_entropy(width: int) -> float:
    """Mean H_inv of a Haar-random rotation of ``width`` dimensions, about 0.73 / log width.

    The squares of a row are Dirichlet(½, …, ½), whose mean entropy is
    ψ(D/2 + 1) − ψ(3/2).
    """
    log_width = np.log(width)
    return float((log_width - digamma(width / 2 + 1) + digamma(1.5)) / log_width)


def undefined_reason(rotation: Rotation) -> str:
    """Why H_inv of a rotation is undefined; empty where it is defined."""
    p, q = rotation.matrix.shape
    if p != q:
        return f"undefined: widths {p} and {q} differ"
    if p == 1:
        return "undefined: width 1"
    if rotation.rank < p:
        return f"undefined: the rank of S is {rotation.rank}, below width {p}"
    return ""


def inverse_entropy(rotation: Rotation) -> float:
    """H_inv of a rotation, NaN where it is undefined."""
    return np.nan if undefined_reason(rotation) else float(row_entropies(rotation.matrix).mean())


def entropy_of(rotation: Rotation, codes: np.ndarray) -> RowEntropy:
    """H_inv of a rotation that was fitted on the rows of these samples (n_rows,)."""
    reason = undefined_reason(rotation)
    note = reason or f"holds at n = {len(codes)}: compare at equal n only"
    rows = None if reason else row_entropies(rotation.matrix)
    return RowEntropy(len(codes), len(np.unique(codes)), note, rows)


def subset_entropy(pair: RowPair, codes: np.ndarray, divisor: int) -> RowEntropy:
    """H_inv of the rotation fitted on whole samples that hold one ``divisor``-th of the rows.

    Parameters
    ----------
    pair : RowPair
        The rows; the subset is centred by its own mean.
    codes : numpy.ndarray of int64, shape (n_rows,)
        Sample of each row, numbered from 0.
    divisor : int
        Part of the rows that is wanted.
    """
    chosen = subset_of_samples(codes, len(codes) // divisor)
    return entropy_of(fit_rotation(pair.cross_of(np.flatnonzero(chosen))), codes[chosen])


def entropy_draws(
    cross: np.ndarray, pair: RowPair, codes: np.ndarray, deleted: np.ndarray
) -> np.ndarray:
    """H_inv refitted without the deleted samples of each draw.

    Parameters
    ----------
    cross : numpy.ndarray, shape (p, q)
        S of all rows.
    pair : RowPair
        The rows, of which those of deleted samples alone are read.
    codes : numpy.ndarray of int64, shape (n_rows,)
        Sample of each row, numbered from 0.
    deleted : numpy.ndarray of bool, shape (n_draws, n_samples)
        See `hrsa.statistics.deletion.deletion_draws`.

    Returns
    -------
    numpy.ndarray, shape (n_draws,)
        NaN where a draw leaves S below full rank.
    """
    found = np.full(len(deleted), np.nan)
    magnitude = float(np.linalg.norm(cross))
    for draw, gone in enumerate(deleted):
        rest = pair.without(cross, np.flatnonzero(gone[codes])).cross
        found[draw] = inverse_entropy(fit_rotation(rest, magnitude=magnitude))
    return found


def with_interval(entropy: RowEntropy, draws: np.ndarray, deleted: np.ndarray) -> RowEntropy:
    """Give H_inv the interval of its deletion draws, or say why there is none."""
    if entropy.value is None:
        return entropy
    found = deletion_interval(entropy.value, draws, deleted)
    note = entropy.note
    if found.se is None:
        note = f"{note}, no interval: {_why_no_interval(draws)}"
    else:
        note = f"{note}, its interval is conservative"
        found = Interval(found.se, found.low, found.high, f"{found.method}; {AT_THIS_N}")
    return RowEntropy(entropy.n_tokens, entropy.n_samples, note, entropy.rows, found, draws)


def without_interval(entropy: RowEntropy, reason: str) -> RowEntropy:
    """Say why H_inv has no interval."""
    if entropy.value is None:
        return entropy
    note = f"{entropy.note}, no interval: {reason}"
    return RowEntropy(entropy.n_tokens, entropy.n_samples, note, entropy.rows)


def _why_no_interval(draws: np.ndarray) -> str:
    if len(draws) < 2:
        return "too few samples or draws to delete a fifth of the samples at random"
    n_undefined = int(np.isnan(draws).sum())
    return f"{n_undefined} of {len(draws)} draws leave S below full rank"

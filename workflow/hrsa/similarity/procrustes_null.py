"""Orthogonal Procrustes of two models that share only which text a token is in.

The rotation is fitted again after whole samples of the candidate were permuted: how close and how
local is it when there is nothing to find? Each refit is a singular value decomposition, so that
their number is capped where the representations are wide.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hrsa.similarity.arrays import is_constant
from hrsa.similarity.layers import join_notes
from hrsa.similarity.rotation import fit_rotation, nuclear_norm
from hrsa.similarity.row_entropy import inverse_entropy, undefined_reason
from hrsa.statistics.permutation import (
    MIN_SAMPLES,
    N_PERMUTATIONS,
    EqualRows,
    equal_rows,
    p_value,
    sample_permutations,
)

# A refit at width 896 takes half a second, at 128 some milliseconds.
MODERATE_WIDTH = 256
FEW_REFITS = 20


class Rows(Protocol):
    """A matrix (n_rows × width), or what reads like one when indexed by an array of rows."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n_rows, width)."""

    def __getitem__(self, rows: np.ndarray, /) -> np.ndarray:
        """Give some rows, as a new array."""


@dataclass(frozen=True, eq=False)
class PermutedFits:
    """What refits after permuting whole samples of the candidate say.

    Attributes
    ----------
    n_tokens, n_samples : int
        Rows and samples with equally many rows in each, of which samples were permuted.
    cos : float or None
        Cosine in sample on those rows, samples in place: the test statistic.
    null : numpy.ndarray, shape (n_refits,)
        The same of each permutation.
    p : float or None
        Permutation p of ``cos``; None with fewer refits than permutations were asked for.
    p_note : str
        What p rests on, or why there is none.
    h_inv : float or None
        Mean H_inv over permutations, at the equal rows' n.
    h_inv_note : str
        How many refits it is of, or why there is none.
    """

    n_tokens: int
    n_samples: int
    cos: float | None
    null: np.ndarray
    p: float | None
    p_note: str
    h_inv: float | None
    h_inv_note: str

    @property
    def chance(self) -> float | None:
        """Mean cosine in sample over permutations, at the equal rows' n."""
        return float(self.null.mean()) if len(self.null) else None


def refits_allowed(width: int, most_refits: int | None = None) -> int:
    """Cap on refits: as given, else 199 up to width 256 and 20 above."""
    if most_refits is not None:
        return most_refits
    return N_PERMUTATIONS if width <= MODERATE_WIDTH else FEW_REFITS


def permuted_fits(
    x: Rows,
    y: Rows,
    codes: np.ndarray,
    *,
    n_permutations: int = N_PERMUTATIONS,
    most_refits: int | None = None,
    most_rows: int | None = None,
    seed: int = 0,
) -> PermutedFits:
    """Refit the rotation with whole samples of the candidate permuted.

    Parameters
    ----------
    x, y : numpy.ndarray or CentredRows, shapes (n_rows, p) and (n_rows, q)
        Reference and candidate, of which the rows that are permuted alone are read.
    codes : numpy.ndarray of int64, shape (n_rows,)
        Sample of each row, numbered from 0.
    n_permutations : int
        Permutations that a p-value is wanted of.
    most_refits : int or None
        Cap on refits, see `refits_allowed`. With a cap below ``n_permutations`` the chance levels
        are of that many refits, and there is no p.
    most_rows : int or None
        Cap on the rows that are permuted, in whole samples; None: no cap.
    seed : int
        Of the rows that are kept and of the permutations.
    """
    rows = equal_rows(codes, seed=seed, most_rows=most_rows)
    n_samples, each = rows.rows.shape
    n_refits = min(n_permutations, refits_allowed(max(x.shape[1], y.shape[1]), most_refits))
    kept = rows.rows.ravel()
    left, right = x[kept], y[kept]
    cos, null, entropies, reason = None, np.empty(0), np.empty(0), "undefined: constant"
    if not is_constant(left) and not is_constant(right):
        left -= left.mean(axis=0)
        right -= right.mean(axis=0)
        scale = float(np.linalg.norm(left) * np.linalg.norm(right))
        orders = sample_permutations(n_samples, n_refits, seed=seed)
        norms, entropies, reason = _refit(left, right.reshape(n_samples, each, -1), orders)
        cos = nuclear_norm(left.T @ right) / scale
        null = norms / scale
    enough = n_refits >= n_permutations
    h_inv, h_inv_note = _mean_entropy(entropies, reason, len(kept))
    return PermutedFits(
        n_tokens=len(kept),
        n_samples=n_samples,
        cos=cos,
        null=null,
        p=p_value(cos, null) if enough else None,
        p_note=_p_note(rows, null, enough=enough, asked=n_permutations, made=n_refits),
        h_inv=h_inv,
        h_inv_note=h_inv_note,
    )


def _refit(
    left: np.ndarray, right: np.ndarray, orders: np.ndarray
) -> tuple[np.ndarray, np.ndarray, str]:
    """‖S‖_* and H_inv of each order of the samples, and why H_inv is undefined in one of them.

    ``right`` is n_samples × rows each × q, ``left`` their rows in place × p.
    """
    norms, entropies = np.empty(len(orders)), np.empty(len(orders))
    reason = "" if len(orders) else "not computed: no permutations"
    for place, order in enumerate(orders):
        fit = fit_rotation(left.T @ right[order].reshape(len(left), -1))
        norms[place], entropies[place] = fit.nuclear_norm, inverse_entropy(fit)
        reason = reason or undefined_reason(fit)
    return norms, entropies, reason


def _mean_entropy(entropies: np.ndarray, reason: str, n_rows: int) -> tuple[float | None, str]:
    if reason:
        return None, f"{reason}, of permuted samples at n = {n_rows}"
    note = f"mean of {len(entropies)} refits to permuted samples at n = {n_rows}"
    return float(entropies.mean()), note


def _p_note(rows: EqualRows, null: np.ndarray, *, enough: bool, asked: int, made: int) -> str:
    if not asked:
        return "p: no permutations were asked for"
    if len(rows.rows) < MIN_SAMPLES:
        return f"p: needs {MIN_SAMPLES} samples at least, there are {len(rows.rows)}"
    if not len(null):
        return "p: undefined, a model is constant on the rows that would be permuted"
    if not enough:
        return (
            f"p: {made} of {asked} refits were made for their cost, enough for chance levels only"
        )
    return join_notes(rows.note, "test statistic: cos in sample on those rows")

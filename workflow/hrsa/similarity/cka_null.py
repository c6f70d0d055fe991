"""What CKA would be if two models shared nothing but which text a token is in.

The null permutes whole samples of the candidate on rows of which each sample has equally many. With
S' samples of m rows every sum of `hrsa.similarity.distinct_samples` but ‖S‖², ‖W‖² and ⟨S, W⟩ is a
look-up in a table over pairs of samples, computed once.
"""

from dataclasses import dataclass

import numpy as np

from hrsa.similarity.layer_nulls import Null, p_over_layers

NO_P_SONG = "p: read sample_debiased"
NO_P_UNMATCHED = "p: for matched layers alone"


@dataclass(frozen=True, eq=False)
class CkaNull:
    """The null of one pair of layers."""

    biased: Null
    sample_debiased: Null


@dataclass(frozen=True, eq=False)
class LayerNulls:
    """The nulls of matched layers, under the same permutations.

    Attributes
    ----------
    layers : dict of (int, int) to CkaNull
        By layer of the reference and of the candidate; empty without permutations.
    note : str
        What was permuted, or why nothing was.
    """

    layers: dict[tuple[int, int], CkaNull]
    note: str

    def p(self, variant: str, layers: tuple[int, int]) -> tuple[float | None, str]:
        """p of one pair of layers, and the note that goes with it."""
        if variant == "song":
            return None, NO_P_SONG
        if layers not in self.layers:
            return None, NO_P_UNMATCHED if self.layers else self.note
        null: Null = getattr(self.layers[layers], variant)
        return null.p, self.note

    def over_layers(self, variant: str) -> tuple[float | None, float | None]:
        """p of the mean over layers 1 … L and of their maximum, against the same of the null."""
        if variant == "song":
            return None, None
        return p_over_layers(
            [getattr(null, variant) for (i, _), null in self.layers.items() if i > 0]
        )


def cka_null(X: np.ndarray, Y: np.ndarray, permutations: np.ndarray) -> CkaNull:
    """Biased and sample-debiased CKA with the candidate's samples permuted.

    Parameters
    ----------
    X, Y : numpy.ndarray, shapes (n_samples, m, p) and (n_samples, m, q)
        Rows of each sample.
    permutations : numpy.ndarray of int64, shape (n_permutations, n_samples)
        See `hrsa.statistics.permutation.sample_permutations`.
    """
    x, y = _Side.of(X), _Side.of(Y)
    orders = np.concatenate([np.arange(len(X))[None], permutations])
    pairs = np.array([_pairs(x, y, order) for order in orders])
    cross, sums_cross, inner = pairs.T
    found = _hsic(x, y, orders, cross, sums_cross, inner)
    own = [_hsic_of(side) for side in (x, y)]
    debiased = found / np.sqrt(own[0] * own[1]) if min(own) > 0 else np.full(len(found), np.nan)
    scale = x.norm * y.norm
    biased = cross / scale if scale > 0 else np.full(len(cross), np.nan)
    return CkaNull(*(Null(float(one[0]), one[1:]) for one in (biased, debiased)))


@dataclass(frozen=True, eq=False)
class _Side:
    """One model's centred rows (n_samples × m × width) with what each sample adds.

    ``sums`` u_a (n_samples × width), ``within`` x_i · u_a (n_samples × m), ``norms`` g_a, ``grams``
    (n_samples × m²), ``norm`` ‖A‖.
    """

    rows: np.ndarray
    sums: np.ndarray
    within: np.ndarray
    norms: np.ndarray
    grams: np.ndarray
    norm: float

    @classmethod
    def of(cls, rows: np.ndarray) -> "_Side":
        # Centred in float64, multiplied in float32: a p-value needs no more.
        centred = rows - rows.mean(axis=(0, 1))
        centred = np.zeros_like(centred) if not np.ptp(rows, axis=(0, 1)).any() else centred
        grams = centred @ centred.transpose(0, 2, 1)
        within = grams.sum(axis=2)
        flat = centred.reshape(-1, centred.shape[2])
        product = flat.T @ flat if flat.shape[1] <= len(flat) else flat @ flat.T
        return cls(
            centred.astype(np.float32),
            centred.sum(axis=1).astype(np.float32),
            within,
            within.sum(axis=1),
            grams.reshape(len(rows), -1),
            float(np.linalg.norm(product)),
        )


def _pairs(x: _Side, y: _Side, order: np.ndarray) -> tuple[float, float, float]:
    """‖S‖², ‖W‖² and ⟨S, W⟩ with the candidate's samples in an order."""
    rows = y.rows[order].reshape(-1, y.rows.shape[2])
    s = (x.rows.reshape(-1, x.rows.shape[2]).T @ rows).astype(np.float64)
    w = (x.sums.T @ y.sums[order]).astype(np.float64)
    return np.vdot(s, s), np.vdot(w, w), np.vdot(s, w)


def _hsic_of(side: _Side) -> float:
    identity = np.arange(len(side.rows))[None]
    cross = np.array([_pairs(side, side, identity[0])])
    return float(_hsic(side, side, identity, *cross.T)[0])


def _hsic(
    x: _Side,
    y: _Side,
    orders: np.ndarray,
    cross: np.ndarray,
    sums_cross: np.ndarray,
    inner: np.ndarray,
) -> np.ndarray:
    """HSIC over distinct samples for each order (n_orders,): the sums of `distinct_samples`."""
    n_samples, m = x.rows.shape[:2]
    each = np.arange(n_samples)
    f, c, gh = (
        (left @ right.T)[each, orders].sum(axis=1)
        for left, right in (
            (x.grams, y.grams),
            (x.within, y.within),
            (x.norms[:, None], y.norms[:, None]),
        )
    )
    p1, p2, p3, p4 = (float(n_samples) * float(m) ** k for k in (1, 2, 3, 4))
    t1 = (cross - f) / (p1**2 - p2)
    t3 = (2 * c - inner) / (p1**3 - 3 * p1 * p2 + 2 * p3)
    quadruples = p1**4 - 6 * p1**2 * p2 + 3 * p2**2 + 8 * p1 * p3 - 6 * p4
    t2 = (x.norms.sum() * y.norms.sum() - 6 * gh + 2 * sums_cross) / quadruples
    return t1 - 2 * t3 + t2

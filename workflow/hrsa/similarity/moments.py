"""Additive statistics of two layers: one read gives CKA, correlation, Procrustes' S and chance.

Moments of disjoint rows are added, in any order; what is computed from them does not hang on how
the rows were divided. Rows are shifted by an approximate mean first, so that a large offset costs
no digits. Values with each block left out need a second read: `hrsa.similarity.cka_cells`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from hrsa.activations.alignment import PairedRows
from hrsa.activations.store import Activations
from hrsa.similarity.arrays import check_matrix
from hrsa.similarity.layer_stack import MEMORY, file_reader

# Rows from which the first shift, an approximate mean, is taken.
_SHIFT_ROWS = 256


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over rows of two matrices X (n × p) and Y (n × q), each shifted by a fixed vector.

    In the symbols of the project a_i = ‖x_i‖² and b_i = ‖y_i‖², x_i and y_i shifted.

    Attributes
    ----------
    shift_x, shift_y : numpy.ndarray, shapes (p,), (q,)
        What was taken from every row.
    n : int
        Rows.
    x, y : numpy.ndarray
        Σx, Σy.
    xx, yy, xy : numpy.ndarray, shapes (p, p), (q, q), (p, q)
        XᵀX, YᵀY, XᵀY.
    a, b, aa, bb, ab : float
        Σa, Σb, Σa², Σb², Σab.
    ax, by, ay, bx : numpy.ndarray
        Σa·x, Σb·y, Σa·y, Σb·x.
    """

    shift_x: np.ndarray
    shift_y: np.ndarray
    n: int
    x: np.ndarray
    y: np.ndarray
    xx: np.ndarray
    yy: np.ndarray
    xy: np.ndarray
    a: float
    b: float
    aa: float
    bb: float
    ab: float
    ax: np.ndarray
    by: np.ndarray
    ay: np.ndarray
    bx: np.ndarray

    @classmethod
    def of_rows(
        cls, X: npt.ArrayLike, Y: npt.ArrayLike, *, shift_x: np.ndarray, shift_y: np.ndarray
    ) -> "Moments":
        """Moments of some rows.

        Parameters
        ----------
        X, Y : array-like, shapes (n_tokens, p) and (n_tokens, q)
            Matched rows.
        shift_x, shift_y : numpy.ndarray, shapes (p,), (q,)
            Approximate means, the same for all rows that will be added up.
        """
        left, right = check_matrix(X, "X", min_rows=1), check_matrix(Y, "Y", min_rows=1)
        if len(left) != len(right):
            raise ValueError(f"X has {len(left)} rows and Y has {len(right)}: they must match")
        x, y = left - shift_x, right - shift_y
        a, b = np.einsum("ij,ij->i", x, x), np.einsum("ij,ij->i", y, y)
        return cls(
            shift_x=shift_x,
            shift_y=shift_y,
            n=len(x),
            x=x.sum(axis=0),
            y=y.sum(axis=0),
            xx=x.T @ x,
            yy=y.T @ y,
            xy=x.T @ y,
            a=float(a.sum()),
            b=float(b.sum()),
            aa=float(a @ a),
            bb=float(b @ b),
            ab=float(a @ b),
            ax=a @ x,
            by=b @ y,
            ay=a @ y,
            bx=b @ x,
        )

    def __add__(self, other: "Moments") -> "Moments":
        """Moments of the rows of both.

        Raises
        ------
        ValueError
            When they were shifted differently.
        """
        for name in ("shift_x", "shift_y"):
            if not np.array_equal(getattr(self, name), getattr(other, name)):
                raise ValueError(
                    f"moments with different {name} cannot be added: take both with one shift"
                )
        sums = {
            field.name: getattr(self, field.name) + getattr(other, field.name)
            for field in fields(self)
            if not field.name.startswith("shift")
        }
        return Moments(shift_x=self.shift_x, shift_y=self.shift_y, **sums)

    @property
    def means(self) -> tuple[np.ndarray, np.ndarray]:
        """Means of X and of Y."""
        return self.shift_x + self.x / self.n, self.shift_y + self.y / self.n

    @property
    def cross(self) -> np.ndarray:
        """S = X_cᵀY_c, shape (p, q)."""
        return self.xy - np.outer(self.x, self.y) / self.n

    @property
    def own(self) -> tuple[np.ndarray, np.ndarray]:
        """A = X_cᵀX_c and B = Y_cᵀY_c."""
        return (
            self.xx - np.outer(self.x, self.x) / self.n,
            self.yy - np.outer(self.y, self.y) / self.n,
        )

    def biased_cka(self) -> float | None:
        """‖S‖²/(‖A‖‖B‖); None where a matrix is constant."""
        scale = float(np.prod([np.linalg.norm(own) for own in self.own]))
        return float(np.sum(self.cross**2)) / scale if scale > 0 else None

    def chance_of_cka(self) -> float | None:
        """Exact mean of the biased CKA under permutation of rows: trA·trB/((n − 1)‖A‖‖B‖)."""
        own = self.own
        scale = float(np.prod([np.linalg.norm(one) for one in own]))
        traces = float(np.prod([np.trace(one) for one in own]))
        return traces / ((self.n - 1) * scale) if scale > 0 else None

    def song_cka(self) -> float | None:
        """CKA from Song's HSIC₁; None where a self term is not positive, or with n < 4.

        References
        ----------
        Song et al. (2012), Feature selection via dependence maximization, eq. 5.
        """
        if self.n < 4:
            return None
        cross, (own_x, own_y) = self.cross, self.own
        diagonal = self._diagonal_products()
        traces = float(np.trace(own_x)), float(np.trace(own_y))
        self_x = self._hsic(float(np.sum(own_x**2)), diagonal[1], traces[0] ** 2)
        self_y = self._hsic(float(np.sum(own_y**2)), diagonal[2], traces[1] ** 2)
        if self_x <= 0 or self_y <= 0:
            return None
        between = self._hsic(float(np.sum(cross**2)), diagonal[0], traces[0] * traces[1])
        return float(between / np.sqrt(self_x * self_y))

    def correlation(self) -> np.ndarray:
        """Pearson correlation of each dimension, shape (p,); NaN where one does not vary.

        Raises
        ------
        ValueError
            When widths differ.
        """
        if len(self.x) != len(self.y):
            raise ValueError(f"widths {len(self.x)} and {len(self.y)} differ")
        variances = [np.diagonal(own) for own in self.own]
        raw = np.diagonal(self.xx), np.diagonal(self.yy)
        varies = np.logical_and(
            *(v > 1e-12 * np.maximum(r, 0) for v, r in zip(variances, raw, strict=True))
        )
        scale = np.sqrt(np.where(varies, variances[0] * variances[1], np.nan))
        return np.diagonal(self.cross) / scale

    def _hsic(self, squared: float, diagonal: float, traces: float) -> float:
        """n(n − 3) HSIC₁ from ‖·‖²_F, Σp_i q_i and (Σp)(Σq)."""
        n = self.n
        return squared - n / (n - 2) * diagonal + traces / ((n - 1) * (n - 2))

    def _diagonal_products(self) -> tuple[float, float, float]:
        """Σp_i q_i, Σp_i² and Σq_i², p_i = ‖x_c,i‖² and q_i = ‖y_c,i‖²."""
        mu, nu = self.x / self.n, self.y / self.n
        x = (mu, self.x, self.a)
        y = (nu, self.y, self.b)
        return (
            self._diagonal(x, y, self.ab, self.ay, self.bx, self.xy),
            self._diagonal(x, x, self.aa, self.ax, self.ax, self.xx),
            self._diagonal(y, y, self.bb, self.by, self.by, self.yy),
        )

    def _diagonal(
        self,
        x: tuple[np.ndarray, np.ndarray, float],
        y: tuple[np.ndarray, np.ndarray, float],
        ab: float,
        ay: np.ndarray,
        bx: np.ndarray,
        xy: np.ndarray,
    ) -> float:
        (mu, sum_x, a), (nu, sum_y, b) = x, y
        mu2, nu2 = float(mu @ mu), float(nu @ nu)
        return float(
            ab
            - 2 * nu @ ay
            + nu2 * a
            - 2 * mu @ bx
            + 4 * mu @ xy @ nu
            - 2 * nu2 * mu @ sum_x
            + mu2 * b
            - 2 * mu2 * nu @ sum_y
            + self.n * mu2 * nu2
        )


def moments_of_layers(
    reference: Activations,
    candidate: Activations,
    layers: tuple[int, int],
    rows: PairedRows,
    *,
    memory: int = MEMORY,
) -> Moments:
    """Moments of matched rows of two layers, read from disk a part at a time.

    Parameters
    ----------
    reference, candidate : Activations
        Open activation files.
    layers : (int, int)
        Layer of each.
    rows : PairedRows
        Matched rows.
    memory : int
        Bytes that rows and sums may take.
    """
    readers = (
        file_reader(reference, layers[0], rows.reference),
        file_reader(candidate, layers[1], rows.candidate),
    )
    step = max(1, memory // (4 * 8 * (reference.width + candidate.width)))
    return sum_moments(readers, len(rows.reference), step)


def sum_moments(
    readers: tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]],
    n_rows: int,
    step: int,
) -> Moments:
    """Add up moments of rows 0 … n_rows − 1, ``step`` at a time."""
    first = np.arange(min(n_rows, _SHIFT_ROWS))
    shifts = [read(first).astype(np.float64).mean(axis=0) for read in readers]
    parts: Iterable[Moments] = (
        Moments.of_rows(
            *(read(np.arange(start, min(start + step, n_rows))) for read in readers),
            shift_x=shifts[0],
            shift_y=shifts[1],
        )
        for start in range(0, n_rows, step)
    )
    total: Moments | None = None
    for part in parts:
        total = part if total is None else total + part
    assert total is not None, "no rows"
    return total

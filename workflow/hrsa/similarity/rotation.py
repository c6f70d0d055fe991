"""The rotation of orthogonal Procrustes, from a cross-product alone.

What is fitted and scored here needs only S = X_cᵀY_c and the two sums of squares, so that a
cross-product that was summed over a file serves as well as one of matrices in memory.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Rotation:
    """O* = UVᵀ of a cross-product S = UΣVᵀ.

    Attributes
    ----------
    matrix : numpy.ndarray, shape (p, q)
        O*; orthogonal with p = q, else with orthonormal rows or columns.
    nuclear_norm : float
        ‖S‖_*, the sum of the singular values.
    rank : int
        Rank of S.
    """

    matrix: np.ndarray
    nuclear_norm: float
    rank: int


@dataclass(frozen=True)
class Closeness:
    """How close the best rotation brings two representations.

    Attributes
    ----------
    cos : float
        ‖S‖_*/(‖X_c‖‖Y_c‖).
    distance : float
        Its arccos, in radians: a metric.
    euclidean : float
        ‖X_cO* − Y_c‖_F, the narrower of the two padded with zero columns.
    residual : float
        Its square over ‖Y_c‖².
    """

    cos: float
    distance: float
    euclidean: float
    residual: float


def fit_rotation(cross: np.ndarray, *, magnitude: float = 0.0) -> Rotation:
    """Fit O* = argmax tr(OᵀS) over matrices with orthonormal rows or columns.

    Parameters
    ----------
    cross : numpy.ndarray, shape (p, q)
        S = X_cᵀY_c of centred representations.
    magnitude : float
        Largest singular value of what S was obtained from by subtraction: singular values that are
        only rounding of it do not count for the rank.

    Returns
    -------
    Rotation

    Raises
    ------
    numpy.linalg.LinAlgError
        When the decomposition does not converge, as with values that are not finite.

    References
    ----------
    Schönemann (1966), A generalized solution of the orthogonal Procrustes problem.
    """
    u, singular, vt = decompose(cross)
    smallest = max(singular[0], magnitude) * max(cross.shape) * np.finfo(np.float64).eps
    return Rotation(u @ vt, float(singular.sum()), int((singular > smallest).sum()))


def nuclear_norm(cross: np.ndarray) -> float:
    """Sum of the singular values of S (p × q), at a fraction of the cost of the rotation."""
    try:
        return float(np.linalg.svd(cross, compute_uv=False).sum())
    except np.linalg.LinAlgError:
        return float(decompose(cross)[1].sum())


def decompose(cross: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Singular value decomposition, by the slower algorithm where the fast one gives up.

    LAPACK's divide and conquer (gesdd) fails now and then on matrices of low rank.

    Raises
    ------
    numpy.linalg.LinAlgError
        When neither converges.
    """
    try:
        return np.linalg.svd(cross, full_matrices=False)
    except np.linalg.LinAlgError:
        import scipy.linalg  # half a second that is hardly ever needed

        return scipy.linalg.svd(cross, full_matrices=False, lapack_driver="gesvd")


def closeness(nuclear: float, squares_x: float, squares_y: float) -> Closeness:
    """Closeness from ‖S‖_*, ‖X_c‖² and ‖Y_c‖², which must be positive.

    References
    ----------
    Williams et al. (2021), Generalized shape metrics on neural representations: arccos is a metric.
    """
    cos = nuclear / np.sqrt(squares_x * squares_y)
    # Differences of large sums: rounding may leave a little less than nothing.
    gap = max(squares_x + squares_y - 2 * nuclear, 0.0)
    return Closeness(
        cos=float(cos),
        distance=float(np.arccos(min(cos, 1.0))),
        euclidean=float(np.sqrt(gap)),
        residual=float(gap / squares_y),
    )


def cross_without(
    cross: np.ndarray, x_out: np.ndarray, y_out: np.ndarray, n_left: int
) -> np.ndarray:
    r"""Cross-product of the rows that are left when some go, centred anew.

    The rest sums to minus the rows that go, so that
    :math:`S - X_{out}ᵀY_{out} - uvᵀ/n_{left}` with u, v their column sums.

    Parameters
    ----------
    cross : numpy.ndarray, shape (p, q)
        S of all rows.
    x_out, y_out : numpy.ndarray, shapes (n_out, p) and (n_out, q)
        The rows that go, centred by the mean of all rows.
    n_left : int
        Number of rows that are left.
    """
    return cross - x_out.T @ y_out - np.outer(x_out.sum(axis=0), y_out.sum(axis=0)) / n_left

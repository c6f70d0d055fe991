"""Checks of the matrices that the metrics take."""

import numpy as np
import numpy.typing as npt


def check_matrix(matrix: npt.ArrayLike, name: str, *, min_rows: int = 2) -> np.ndarray:
    """Return a finite float64 matrix, or say what is wrong with it.

    Parameters
    ----------
    matrix : array-like of shape (n_tokens, width)
        Real numbers.
    name : str
        What the message calls it.
    min_rows : int
        Fewest rows that the metric can do with.

    Returns
    -------
    numpy.ndarray of float64, shape (n_tokens, width)

    Raises
    ------
    ValueError
        When it is not two-dimensional, not real, has too few rows, no columns, or NaN or infinity.
    """
    raw = np.asarray(matrix)
    if raw.dtype.kind not in "fiub":
        raise ValueError(f"{name} must hold real numbers, got dtype {raw.dtype}")
    if raw.ndim != 2 or raw.shape[1] == 0:
        raise ValueError(
            f"{name} must be a matrix of shape (n_tokens, width), got shape {raw.shape}"
        )
    if len(raw) < min_rows:
        raise ValueError(f"{name} has {len(raw)} rows, this metric needs at least {min_rows}")
    values = raw.astype(np.float64)
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, column = bad[0]
        raise ValueError(f"{name} holds {values[row, column]} at row {row}, column {column}")
    return values


def check_pair(
    X: npt.ArrayLike, Y: npt.ArrayLike, *, min_rows: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    """Return two finite float64 matrices with matching rows.

    Parameters
    ----------
    X, Y : array-like, shapes (n_tokens, p) and (n_tokens, q)
        Reference and candidate.
    min_rows : int
        Fewest rows that the metric can do with.

    Raises
    ------
    ValueError
        See `check_matrix`; also when the numbers of rows differ.
    """
    reference = check_matrix(X, "X", min_rows=min_rows)
    candidate = check_matrix(Y, "Y", min_rows=min_rows)
    if len(reference) != len(candidate):
        raise ValueError(
            f"X has {len(reference)} rows and Y has {len(candidate)}: rows are tokens and must "
            "be matched one to one"
        )
    return reference, candidate


def is_constant(matrix: np.ndarray) -> bool:
    """Tell whether all rows of a matrix (n_tokens × width) are equal."""
    return bool((matrix == matrix[0]).all())


def check_varies(matrix: np.ndarray, name: str) -> None:
    """Refuse a matrix (n_tokens × width) whose rows are all equal.

    Raises
    ------
    ValueError
        Quotes the first row.
    """
    if is_constant(matrix):
        shown = ", ".join(f"{value:g}" for value in matrix[0, :3])
        more = ", …" if matrix.shape[1] > 3 else ""
        raise ValueError(
            f"{name} is constant: every row is ({shown}{more}), so its similarity is undefined"
        )

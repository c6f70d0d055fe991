"""Checks of the matrices that the metrics take."""

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hrsa.errors import UserError

if TYPE_CHECKING:
    from hrsa.activations.store import Activations

# Kinds of NumPy types that are real numbers: float, int, unsigned, bool.
REAL_KINDS = "fiub"


def check_matrix(matrix: npt.ArrayLike, name: str, *, min_rows: int = 2) -> np.ndarray:
    """Return a finite float64 matrix, or say what is wrong with it.

    Parameters
    ----------
    matrix : array-like of shape (n_tokens, width)
        Real numbers of any type: also float16, integers, booleans; a torch tensor of any device,
        with or without gradient, bfloat16 too; a data frame.
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
        When it is not two-dimensional, not real, has too few rows, no columns, or NaN or infinity;
        then the first row that has one is named. Masked and missing entries count as NaN.
    """
    raw = as_array(matrix, name)
    check_form(raw, name, min_rows=min_rows)
    # One layout, so that the last digits do not hang on how the caller's array lies in memory.
    values = np.ascontiguousarray(raw, dtype=np.float64)
    values = values.copy() if values is raw else values
    fault = non_finite(values)
    if fault:
        raise ValueError(f"{name} holds {fault}")
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

    Warns
    -----
    UserWarning
        When there are fewer rows than columns: the matrices may lie on their sides.

    Raises
    ------
    ValueError
        See `check_matrix`; also when the numbers of rows differ.
    """
    reference = check_matrix(X, "X", min_rows=min_rows)
    candidate = check_matrix(Y, "Y", min_rows=min_rows)
    check_same_length(reference.shape, candidate.shape)
    # The line that is shown is the one that called the metric.
    warn_if_transposed(reference.shape, candidate.shape, stacklevel=4)
    return reference, candidate


def as_array(matrix: npt.ArrayLike, name: str) -> np.ndarray:
    """Give the array behind what a caller holds, without importing what made it.

    Parameters
    ----------
    matrix : array-like
        A tensor is known by its ``detach``, a data frame by its ``to_numpy``.
    name : str
        What the message calls it.

    Returns
    -------
    numpy.ndarray
        Of any type and shape; masked and missing entries become NaN.

    Raises
    ------
    ValueError
        When a column of a data frame holds no numbers, or lists are ragged.
    """
    if hasattr(matrix, "detach"):
        return _of_tensor(matrix)
    if hasattr(matrix, "to_numpy"):
        return _of_frame(matrix, name)
    if isinstance(matrix, np.ma.MaskedArray) and matrix.dtype.kind in REAL_KINDS:
        return np.ma.filled(matrix.astype(np.float64), np.nan)
    try:
        return np.asarray(matrix)
    except ValueError as error:
        raise ValueError(f"{name} is no matrix: {error}") from error


def check_form(array: Any, name: str, *, min_rows: int = 2) -> None:
    """Refuse an array (in memory or mapped from disk) that is no matrix of real numbers.

    Raises
    ------
    ValueError
        Quotes its type or shape.
    """
    if array.dtype.kind not in REAL_KINDS:
        raise ValueError(f"{name} must hold real numbers, got dtype {array.dtype}")
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(
            f"{name} must be a matrix of shape (n_tokens, width), got shape {array.shape}"
        )
    if len(array) < min_rows:
        raise ValueError(f"{name} has {len(array)} rows, this metric needs at least {min_rows}")


def check_same_length(x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> None:
    """Refuse two matrices, given by their shapes, with different numbers of rows.

    Raises
    ------
    ValueError
        With both numbers, and whether a transposition would mend it.
    """
    if x_shape[0] == y_shape[0]:
        return
    message = (
        f"X has {x_shape[0]} rows and Y has {y_shape[0]}: rows are tokens and must be matched one "
        "to one"
    )
    if x_shape[1] == y_shape[1]:
        message += f"; both have {x_shape[1]} columns: if these are the tokens, transpose both"
    raise ValueError(message)


def non_finite(values: np.ndarray, *, rows: np.ndarray | None = None) -> str:
    """Describe the first NaN or infinity of a matrix; empty when there is none.

    Parameters
    ----------
    values : numpy.ndarray, shape (n_tokens, width)
        A matrix, or some rows of one.
    rows : numpy.ndarray of int64, shape (n_tokens,), or None
        Numbers of those rows in the whole; None: from 0.

    Returns
    -------
    str
        Such as "nan at row 3, column 2".
    """
    finite = np.isfinite(values)
    if finite.all():
        return ""
    row, column = np.unravel_index(np.argmin(finite), finite.shape)
    number = row if rows is None else rows[row]
    return f"{values[row, column]} at row {number}, column {column}"


def check_layer(
    values: np.ndarray, activations: "Activations", layer: int, rows: np.ndarray
) -> np.ndarray:
    """Return hidden states that were read from a file, or name the first row that is not finite.

    Parameters
    ----------
    values : numpy.ndarray, shape (len(rows), width)
        What was read.
    activations : Activations
        The file.
    layer : int
        Its layer.
    rows : numpy.ndarray of int64
        Rows of the file that were read.

    Raises
    ------
    UserError
        Names model, file, layer and row.
    """
    fault = non_finite(values, rows=rows)
    if fault:
        raise UserError(
            f"{activations.path}: layer {layer} of model {activations.attrs.get('model')} holds "
            f"{fault}. Metrics need finite numbers: extract these activations again."
        )
    return values


def warn_if_transposed(
    x_shape: tuple[int, ...], y_shape: tuple[int, ...], *, stacklevel: int = 2
) -> None:
    """Warn, once, when a matrix has fewer rows than columns.

    Parameters
    ----------
    x_shape, y_shape : tuple of int
        Shapes (n_tokens, p) and (n_tokens, q) of reference and candidate.
    stacklevel : int
        As for `warnings.warn`; 2 shows the line that called this function.

    Warns
    -----
    UserWarning
        With the shapes.
    """
    if x_shape[0] < max(x_shape[1], y_shape[1]):
        warnings.warn(
            f"X has shape {x_shape} and Y {y_shape}: fewer rows than columns. Rows are tokens and "
            "columns are dimensions; transpose the arrays if they lie the other way round",
            UserWarning,
            stacklevel=stacklevel,
        )


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


def _of_tensor(tensor: Any) -> np.ndarray:
    values = tensor.detach().cpu()
    try:
        return values.numpy()
    except TypeError:  # NumPy has no bfloat16
        return values.double().numpy()


def _of_frame(frame: Any, name: str) -> np.ndarray:
    raw = np.asarray(frame.to_numpy())
    if raw.dtype.kind != "O" or raw.ndim != 2:
        return raw
    # Columns of different types, or of types that know of missing values, come as objects.
    for column, dtype in zip(frame.columns, frame.dtypes, strict=True):
        if getattr(dtype, "kind", "O") not in REAL_KINDS:
            raise ValueError(
                f"{name} must hold real numbers, got column {column!r} of dtype {dtype}"
            )
    return np.asarray(frame.to_numpy(dtype=np.float64, na_value=np.nan))

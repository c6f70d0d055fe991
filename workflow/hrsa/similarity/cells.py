"""The cells of an L × L' comparison on one flat axis: layer by layer, then each model with itself.

Every CKA is a ratio of three numbers of one kind, one of the pair and one of each side. Sums of all
three are kept in one array, so that they are added, divided and left out by block together.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Cells:
    """Layout of the flat axis: L · L' cells of the pair, L of the reference, L' of the candidate.

    Attributes
    ----------
    n_x, n_y : int
        Layers of the reference and of the candidate.
    """

    n_x: int
    n_y: int

    @property
    def size(self) -> int:
        """Length of the flat axis."""
        return self.n_x * self.n_y + self.n_x + self.n_y

    def inner(self, x: Any, y: Any) -> np.ndarray:
        """Inner products of what two models have at each layer.

        Parameters
        ----------
        x, y : arrays (NumPy or torch), shapes (n_x, …) and (n_y, …)
            The rest of the axes is summed over.

        Returns
        -------
        numpy.ndarray of float64, shape (size,)
        """
        flat_x, flat_y = x.reshape(self.n_x, -1), y.reshape(self.n_y, -1)
        return np.concatenate(
            [_host(flat_x @ flat_y.T).ravel(), _squares(flat_x), _squares(flat_y)]
        )

    def by_block(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Products block by block of (n_x × B) and (n_y × B), shape (B, size)."""
        cross = x.T[:, :, None] * y.T[:, None, :]
        return np.concatenate([cross.reshape(len(cross), -1), x.T**2, y.T**2], axis=1)

    def rows_by_block(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Sums over rows of (n_x × n × B) times (n_y × n × B), shape (B, size)."""
        x, y = np.moveaxis(x, 2, 0), np.moveaxis(y, 2, 0)
        cross = x @ y.transpose(0, 2, 1)
        squares = [np.einsum("bln,bln->bl", side, side) for side in (x, y)]
        return np.concatenate([cross.reshape(len(cross), -1), *squares], axis=1)

    def ratio(self, values: np.ndarray, least: np.ndarray | None = None) -> np.ndarray:
        """value(X, Y)/√(value(X, X) · value(Y, Y)), never clamped.

        Parameters
        ----------
        values : numpy.ndarray, shape (…, size)
        least : numpy.ndarray, shape (n_x + n_y,), or None
            What a self term must exceed to be more than rounding of 0 (None: 0).

        Returns
        -------
        numpy.ndarray, shape (…, n_x, n_y)
            NaN where a self term is not positive.
        """
        cross, own = np.split(values, [self.n_x * self.n_y], axis=-1)
        positive = np.where(own > (0.0 if least is None else least), own, np.nan)
        own_x, own_y = np.split(positive, [self.n_x], axis=-1)
        scale = np.sqrt(own_x[..., :, None] * own_y[..., None, :])
        return cross.reshape(scale.shape) / scale

    def own(self, values: np.ndarray) -> np.ndarray:
        """Terms of each layer with itself, reference first, shape (…, n_x + n_y)."""
        return values[..., self.n_x * self.n_y :]


def _squares(flat: Any) -> np.ndarray:
    # as products of matrices, which sum in blocks: a plain sum of float32 would lose digits
    return _host(flat[:, None, :] @ flat[:, :, None]).ravel()


def _host(array: Any) -> np.ndarray:
    """A NumPy array of float64, wherever it lay."""
    return np.asarray(array.cpu() if hasattr(array, "cpu") else array, dtype=np.float64)

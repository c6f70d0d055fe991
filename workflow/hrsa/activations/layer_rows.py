"""A layer of an activation file as an array whose rows are read as they are asked for."""

from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np

from hrsa.activations.encoding import decode, read_type
from hrsa.activations.rows import row_numbers

# Rows that a read of scattered rows brings in at once: bounds its memory, keeps reads sequential.
_GATHER_ROWS = 16384


class LayerRows:
    """Hidden states of one layer (n_tokens × width), read from the file row by row as asked.

    `layer[a:b]`, `layer[rows]` (integers in any order, or a boolean mask) and `layer[i]` read
    only those rows; `numpy.asarray(layer)` reads all. bfloat16 and float16 come as float32.
    """

    def __init__(self, stored: h5py.Dataset, dtype: str):
        self._stored = stored
        self._dtype = dtype
        self.shape: tuple[int, int] = stored.shape
        self.dtype = read_type(dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: int | slice | Sequence[int] | np.ndarray) -> np.ndarray:
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1:
                return decode(self._stored[start : max(start, stop)], self._dtype)
            return self._gather(np.arange(start, stop, step))
        if isinstance(rows, int | np.integer):
            return self._gather(row_numbers([rows], len(self)))[0]
        return self._gather(row_numbers(rows, len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("a layer is read from disk; it cannot be an array without a copy")
        return self[:].astype(dtype or self.dtype, copy=False)

    def _gather(self, rows: np.ndarray) -> np.ndarray:
        order = np.argsort(rows, kind="stable")
        ascending = rows[order]
        values = np.empty((len(rows), self.shape[1]), dtype=self.dtype)
        start = 0
        while start < len(rows):
            first = ascending[start]
            stop = int(np.searchsorted(ascending, first + _GATHER_ROWS))
            span = self._stored[first : ascending[stop - 1] + 1]
            values[order[start:stop]] = decode(span[ascending[start:stop] - first], self._dtype)
            start = stop
        return values

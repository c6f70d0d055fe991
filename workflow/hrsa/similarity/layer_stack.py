"""Layers of one model, centred and in block order, handed out a piece at a time.

Whoever sums over rows asks for pieces: whole samples of one block, at most so many rows. What fits
in memory is read once; the rest is read again for each piece, so that memory stays bounded however
many rows there are.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from hrsa.activations.store import Activations
from hrsa.similarity.arrays import check_layer
from hrsa.statistics.blocks import BlockOrder

# Bytes that one metric may hold at once, unless it is told otherwise.
MEMORY = 2 * 2**30
# Rows that a first read, which only sums, takes at once.
_READ_ROWS = 512
# Rows this close in the file are read in one go, those between them thrown away.
_GAP = 8


@dataclass(frozen=True)
class Piece:
    """Whole samples of one block: their rows and samples as places in the block order."""

    block: int
    rows: slice
    samples: slice

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.rows.stop - self.rows.start


def pieces_of(order: BlockOrder, most_rows: int) -> list[Piece]:
    """Cut blocks at the borders of samples into pieces of at most ``most_rows`` rows.

    A sample that is longer than that is a piece by itself.
    """
    ends = np.append(order.sample_starts[1:], order.n_rows)
    found: list[Piece] = []
    first = 0
    for sample in range(order.n_samples):
        last = sample + 1 == order.n_samples
        if (
            last
            or order.block_of_sample[sample + 1] != order.block_of_sample[first]
            or ends[sample + 1] - order.sample_starts[first] > most_rows
        ):
            rows = slice(int(order.sample_starts[first]), int(ends[sample]))
            found.append(Piece(int(order.block_of_sample[first]), rows, slice(first, sample + 1)))
            first = sample + 1
    return found


class LayerStack:
    """Some layers of one model on matched rows.

    Parameters
    ----------
    readers : sequence of callables
        One per layer: given places in the matched rows, an array (n × width) of those rows.
    order : BlockOrder
        Order, samples and blocks of the matched rows.
    dtype : numpy.dtype
        Type that pieces come in; sums are float64 whatever it is.
    memory : int
        Bytes that the layers may take when they are kept; 0 reads each piece anew.

    Attributes
    ----------
    n_layers, width : int
    dtype : numpy.dtype
    block_sums : numpy.ndarray of float64, shape (n_layers, n_blocks, width)
        Sums over the rows of each block, centred by the mean over all rows.
    constant : numpy.ndarray of bool, shape (n_layers, width)
        Columns whose rows are all equal; centred they are exactly 0.
    """

    def __init__(
        self,
        readers: Sequence[Callable[[np.ndarray], np.ndarray]],
        order: BlockOrder,
        *,
        dtype: npt.DTypeLike,
        memory: int,
    ) -> None:
        self._readers = readers
        self.dtype = np.dtype(dtype)
        self.order = order
        self.n_layers = len(readers)
        summed = [_block_sums(reader, order) for reader in readers]
        self.width = summed[0].means.shape[0]
        self._means = np.array([one.means for one in summed])
        self.block_sums = np.array([one.sums for one in summed])
        self.constant = np.array([one.constant for one in summed])
        size = self.n_layers * order.n_rows * self.width * self.dtype.itemsize
        self._kept: np.ndarray | None = None
        if size <= memory:
            self._kept = self._read(slice(0, order.n_rows), range(self.n_layers))

    def rows(self, piece: slice, layers: Sequence[int] | None = None) -> np.ndarray:
        """Centred rows of some layers (all when left out), shape (n_layers, n_rows, width)."""
        chosen = range(self.n_layers) if layers is None else layers
        if self._kept is None:
            return self._read(piece, chosen)
        if list(chosen) == list(range(chosen[0], chosen[-1] + 1)):
            return self._kept[chosen[0] : chosen[-1] + 1, piece]  # a view
        return self._kept[list(chosen), piece]

    def _read(self, places: slice, layers: Sequence[int]) -> np.ndarray:
        n_rows = places.stop - places.start
        out = np.empty((len(layers), n_rows, self.width), dtype=self.dtype)
        for place, layer in enumerate(layers):
            for start in range(places.start, places.stop, _READ_ROWS):
                stop = min(start + _READ_ROWS, places.stop)
                part = self._readers[layer](self.order.order[start:stop]).astype(np.float64)
                # Centred before it is rounded or multiplied: an offset of 3000 leaves nothing of a
                # product in float32.
                part -= self._means[layer]
                out[place, start - places.start : stop - places.start] = part
        return out


@dataclass(frozen=True, eq=False)
class _Sums:
    means: np.ndarray
    sums: np.ndarray
    constant: np.ndarray


def _block_sums(read: Callable[[np.ndarray], np.ndarray], order: BlockOrder) -> _Sums:
    """Mean of a layer and centred sums of its blocks, in one read.

    Shifted by the first row, so that a large offset costs no digits, and so that the mean of a
    constant column is that constant to the last one.
    """
    shift = read(order.order[:1])[0].astype(np.float64)
    sums = np.zeros((order.n_blocks, len(shift)))
    constant = np.ones(len(shift), dtype=bool)
    for piece in pieces_of(order.by_row(), _READ_ROWS):
        shifted = read(order.order[piece.rows]).astype(np.float64) - shift
        sums[piece.block] += shifted.sum(axis=0)
        constant &= ~shifted.any(axis=0)
    mean = sums.sum(axis=0) / order.n_rows
    return _Sums(shift + mean, sums - order.block_sizes[:, None] * mean, constant)


def array_reader(matrix: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Read rows of a matrix in memory."""
    return lambda rows: matrix[rows]


def file_reader(
    activations: Activations, layer: int, rows: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """Read matched rows of a layer of a file: place i is row ``rows[i]`` of the file.

    Samples of a block lie far apart: each run of rows is read by itself, since one read from the
    first to the last would bring in the whole file for every block.
    """

    stored = activations.layer(layer)

    def read(places: np.ndarray) -> np.ndarray:
        wanted = rows[places]
        by_place = np.argsort(wanted, kind="stable")
        ascending = wanted[by_place]
        values = np.empty((len(wanted), stored.shape[1]), dtype=stored.dtype)
        for start, stop in _close_runs(ascending):
            first = ascending[start]
            span = stored[int(first) : int(ascending[stop - 1]) + 1]
            values[by_place[start:stop]] = span[ascending[start:stop] - first]
        return check_layer(values, activations, layer, wanted)

    return read


def _close_runs(ascending: np.ndarray) -> Iterator[tuple[int, int]]:
    """Index ranges of ascending rows with no gap of more than a few rows."""
    if len(ascending) == 0:
        return
    breaks = np.flatnonzero(np.diff(ascending) > _GAP) + 1
    edges = [0, *breaks.tolist(), len(ascending)]
    yield from pairwise(edges)


def stack_of_file(
    activations: Activations,
    rows: np.ndarray,
    order: BlockOrder,
    *,
    dtype: npt.DTypeLike,
    memory: int,
    layers: Sequence[int] | None = None,
) -> LayerStack:
    """Stack the layers of an activation file (all that it stores when left out)."""
    chosen = activations.layers if layers is None else layers
    readers = [file_reader(activations, layer, rows) for layer in chosen]
    return LayerStack(readers, order, dtype=dtype, memory=memory)

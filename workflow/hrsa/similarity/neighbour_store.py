"""Neighbours on disk: computed once per model, layer and row set, read by every pair."""

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from hrsa.activations.alignment import row_set
from hrsa.activations.store import Activations
from hrsa.errors import UserError
from hrsa.similarity.cosine_tiles import TILE_BUDGET, TileShape, kept_shape, streamed_shape
from hrsa.similarity.exclusions import AllowedRows, allowed_rows
from hrsa.similarity.layer_stack import MEMORY, file_reader
from hrsa.similarity.neighbour_search import search
from hrsa.similarity.neighbours import Exclusion, Neighbours, n_kept
from hrsa.similarity.running_selection import TileNeighbours
from hrsa.similarity.unit_rows import KeptRows, StreamedRows, UnitRows

SCHEMA_VERSION = 1
# Entries of a list that are stored together.
_STORED_TOGETHER = 2**14
# Bytes of each row's labels, counts and length.
_ROW_BYTES = 64


def compute_neighbours(
    activations: Activations,
    path: str | Path,
    *,
    ks: Sequence[int] = (5, 10, 50),
    exclude: Sequence[Exclusion] = ("self", "sample"),
    memory: int = MEMORY,
) -> None:
    """Compute the neighbours of every layer of a model, over its rows past the first position.

    Lists are written as they are found. A layer that takes less than half of the memory is read
    once; a larger one is read again for each tile of rows, so that memory stays bounded however
    many rows there are.

    Parameters
    ----------
    activations : Activations
        An open activation file.
    path : str or Path
        HDF5 file to write: attributes ``schema_version``, ``row_set`` (hash of the places),
        ``n_neighbours`` and the model's and data set's identity; ``/rows`` (row of the activation
        file); per layer ``/layers/<layer>/<exclude>/{starts, index, distance, n_allowed}``.
    ks : sequence of int
        Sizes of neighbourhood that will be asked for; 2 · max + 32 neighbours are kept.
    exclude : sequence of {"self", "sample", "type"}
        Exclusions to compute.
    memory : int
        Bytes that rows, cosines and lists may take together.

    Raises
    ------
    UserError
        When there are too few rows, or a row has no direction or is not finite.
    """
    rows = np.flatnonzero(activations.tokens.position > 0)
    labels = {"samples": activations.sample_of_row[rows], "tokens": activations.tokens.id[rows]}
    partial = Path(f"{path}.partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    try:
        allowed = allowed_rows(exclude, len(rows), **labels)
        n_neighbours = n_kept(ks, allowed)
        with h5py.File(partial, "w") as file:
            file.attrs["schema_version"] = SCHEMA_VERSION
            file.attrs["row_set"] = row_set(activations, rows)
            file.attrs["n_neighbours"] = n_neighbours
            for name in ("model", "model_sha256", "dataset", "dataset_sha256"):
                file.attrs[name] = str(activations.attrs.get(name, ""))
            file["rows"] = rows
            for layer in activations.layers:
                group = file.create_group(f"layers/{layer:02d}")
                states, shape = _rows_of_layer(
                    activations, layer, rows, n_neighbours, len(allowed.labels), memory
                )
                _write_layer(group, states, n_neighbours, allowed, shape)
        partial.replace(path)
    except ValueError as error:
        raise UserError(f"no neighbours for {activations.path}: {error}") from error
    finally:
        partial.unlink(missing_ok=True)


class StoredNeighbours:
    """Neighbours of one model and data set on disk; get one from `open_neighbours`.

    Attributes
    ----------
    row_set : str
        Hash of the places that the rows are (see `hrsa.activations.alignment.row_set`).
    rows : numpy.ndarray of int64, shape (n_rows,)
        Rows of the activation file that the neighbours are among.
    n_neighbours : int
        Neighbours kept of each row.
    """

    def __init__(self, path: Path, file: h5py.File):
        self.path = path
        self._file = file
        self.row_set = str(file.attrs["row_set"])
        self.n_neighbours = int(file.attrs["n_neighbours"])
        self.rows: np.ndarray = file["rows"][:]

    def __enter__(self) -> "StoredNeighbours":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def has(self, layer: int, exclude: Exclusion) -> bool:
        """Tell whether a layer's neighbours under an exclusion are stored."""
        return f"layers/{layer:02d}/{exclude}" in self._file

    def load(self, layer: int, exclude: Exclusion) -> Neighbours:
        """Read the neighbours of one layer under one exclusion.

        Raises
        ------
        UserError
            When they are not stored.
        """
        if not self.has(layer, exclude):
            raise UserError(
                f"{self.path} holds no neighbours of layer {layer} with exclusion {exclude!r}: "
                "compute the neighbours of this model again"
            )
        group = self._file[f"layers/{layer:02d}/{exclude}"]
        arrays = {name: group[name][:] for name in ("starts", "index", "distance", "n_allowed")}
        return Neighbours(**arrays, n_neighbours=self.n_neighbours, exclude=exclude)


def open_neighbours(path: str | Path) -> StoredNeighbours:
    """Open a file of `compute_neighbours`; use it in a ``with`` block.

    Raises
    ------
    UserError
        When the file is missing, cut short, or of another kind or version.
    """
    remedy = "Compute the neighbours of this model again"
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise UserError(f"{path} is no readable file of neighbours ({error}). {remedy}.") from None
    version = file.attrs.get("schema_version")
    if version != SCHEMA_VERSION or "rows" not in file:
        file.close()
        raise UserError(
            f"{path} has version {version} of the neighbours' format, this program reads "
            f"{SCHEMA_VERSION}. {remedy}."
        )
    return StoredNeighbours(Path(path), file)


def _write_layer(
    group: h5py.Group,
    rows: UnitRows,
    n_neighbours: int,
    allowed: AllowedRows,
    shape: TileShape,
) -> None:
    lists = {
        name: _Lists(group.create_group(name), counts, n_neighbours)
        for name, counts in allowed.n_allowed.items()
    }
    for name, found in search(rows, n_neighbours, allowed.labels, shape):
        lists[name].append(found)
    for one in lists.values():
        one.close()


class _Lists:
    """The lists of one layer under one exclusion, written as they come."""

    def __init__(self, group: h5py.Group, n_allowed: np.ndarray, n_neighbours: int) -> None:
        group["n_allowed"] = n_allowed
        self._group = group
        self._starts = np.zeros(len(n_allowed) + 1, dtype=np.int64)
        self._n_rows = self._n_entries = 0
        together = min(len(n_allowed) * n_neighbours, _STORED_TOGETHER)
        for name, dtype in (("index", np.int32), ("distance", np.float32)):
            group.create_dataset(
                name, shape=(0,), maxshape=(None,), chunks=(together,), dtype=dtype
            )

    def append(self, found: TileNeighbours) -> None:
        """Add the neighbours of the rows that follow."""
        rows = slice(self._n_rows + 1, self._n_rows + 1 + len(found.lengths))
        self._starts[rows] = self._n_entries + np.cumsum(found.lengths)
        entries = slice(self._n_entries, self._n_entries + len(found.index))
        for name, values in (("index", found.index), ("distance", found.distance)):
            self._group[name].resize((entries.stop,))
            self._group[name][entries] = values
        self._n_rows, self._n_entries = rows.stop - 1, entries.stop

    def close(self) -> None:
        """Write where each row's list starts."""
        self._group["starts"] = self._starts


def _rows_of_layer(
    activations: Activations, layer: int, rows: np.ndarray, k: int, n_exclusions: int, memory: int
) -> tuple[UnitRows, TileShape]:
    """Keep a layer's rows when they leave half of the memory to the search, else stream them."""
    read = file_reader(activations, layer, rows)
    n_rows, width = len(rows), activations.width
    left = max(memory - _ROW_BYTES * n_rows, memory // 2)
    if KeptRows.size(n_rows, width) <= left // 2:
        kept = KeptRows.from_reader(read, n_rows, width)
        # The cosines of a tile, and at most as much twice again.
        return kept, kept_shape(n_rows, n_exclusions, min(TILE_BUDGET, left // 6))
    shape = streamed_shape(width, k, n_exclusions, left)
    return StreamedRows(read, n_rows, width, memory=left // 4), shape

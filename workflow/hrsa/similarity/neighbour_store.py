"""Neighbours on disk: computed once per model, layer and row set, read by every pair."""

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from hrsa.activations.alignment import row_set
from hrsa.activations.store import Activations
from hrsa.errors import UserError
from hrsa.similarity.cosine_tiles import TILE_BUDGET
from hrsa.similarity.neighbours import Exclusion, Neighbours, neighbours_by_exclusion, surplus

SCHEMA_VERSION = 1


def compute_neighbours(
    activations: Activations,
    path: str | Path,
    *,
    ks: Sequence[int] = (5, 10, 50),
    exclude: Sequence[Exclusion] = ("self", "sample"),
    budget: int = TILE_BUDGET,
) -> None:
    """Compute the neighbours of every layer of a model, over its rows past the first position.

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
    budget : int
        Bytes of a tile of cosines (see `nearest_neighbours`); one layer's rows are held beside it.

    Raises
    ------
    UserError
        When there are too few rows, or a row has no direction.
    """
    rows = np.flatnonzero(activations.tokens.position > 0)
    labels = {"samples": activations.sample_of_row[rows], "tokens": activations.tokens.id[rows]}
    partial = Path(f"{path}.partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    try:
        n_neighbours = surplus(ks, len(rows), exclude=exclude, **labels)
        with h5py.File(partial, "w") as file:
            file.attrs["schema_version"] = SCHEMA_VERSION
            file.attrs["row_set"] = row_set(activations, rows)
            file.attrs["n_neighbours"] = n_neighbours
            for name in ("model", "model_sha256", "dataset", "dataset_sha256"):
                file.attrs[name] = str(activations.attrs.get(name, ""))
            file["rows"] = rows
            for layer in activations.layers:
                found = neighbours_by_exclusion(
                    np.asarray(activations.layer(layer)[rows], dtype=np.float64),
                    n_neighbours,
                    exclude=exclude,
                    budget=budget,
                    **labels,
                )
                for name, neighbours in found.items():
                    _write(file.create_group(f"layers/{layer:02d}/{name}"), neighbours)
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


def _write(group: h5py.Group, neighbours: Neighbours) -> None:
    for name in ("starts", "index", "distance", "n_allowed"):
        group[name] = getattr(neighbours, name)

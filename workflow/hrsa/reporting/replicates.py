"""Joint replicates of the similarity table, as the metrics' jobs leave them in HDF5.

A file `<metric>/<pair>.h5` has a group `<reference>~<candidate>/<dataset>` for each comparison.
Arrays that end in `_replicates` hold delete-one-block values (last axis: blocks), those in `_draws`
values with a random part of the samples deleted, or for the probe bootstrap draws (last axis:
draws).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from hrsa.statistics.replicates import Scheme

Cell = tuple[int, int]
# How the draws of a metric were made, where it is not by deletion of a random fifth.
_OF_DRAWS: dict[str, Scheme] = {"probe": "bootstrap", "knn": "pairs"}


class Comparison(NamedTuple):
    """Two models at the end of their training, compared by one metric on one data set."""

    metric: str
    pair: str
    reference: str
    candidate: str
    dataset: str


@dataclass(frozen=True, eq=False)
class CellReplicates:
    """Replicates of one statistic at each pair of layers.

    Attributes
    ----------
    cells : mapping of (layer of the reference, layer of the candidate) to numpy.ndarray
        Shape (n_replicates,).
    scheme : {"blocks", "deletion", "pairs", "bootstrap"}
        How they were made.
    """

    cells: Mapping[Cell, np.ndarray] = field(default_factory=dict)
    scheme: Scheme = "blocks"

    def mean_over(self, layers: Sequence[Cell]) -> np.ndarray | None:
        """Replicates of a mean over pairs of layers; None where one of them has none."""
        if not layers or any(cell not in self.cells for cell in layers):
            return None
        return np.mean([self.cells[cell] for cell in layers], axis=0)


def read_replicates(paths: Iterable[Path]) -> dict[Comparison, dict[str, np.ndarray]]:
    """Read the replicates of every comparison at the end of training.

    Parameters
    ----------
    paths : iterable of Path
        Files `<metric>/<pair>.h5`.

    Returns
    -------
    dict
        By comparison, its arrays of replicates and the layers of their axes.
    """
    return {key: _arrays(group) for key, step, group in _groups(paths) if step is None}


def read_checkpoints(paths: Iterable[Path]) -> dict[tuple[Comparison, int], dict[str, np.ndarray]]:
    """Read the replicates of comparisons with a checkpoint.

    Parameters
    ----------
    paths : iterable of Path
        Files `<metric>/<pair>.h5`, with groups `<reference>~<candidate>@<step>/<dataset>`.

    Returns
    -------
    dict
        By comparison (the models without their step) and step of the candidate, its arrays of
        replicates and the layers of their axes.
    """
    return {(key, step): _arrays(group) for key, step, group in _groups(paths) if step is not None}


def _groups(paths: Iterable[Path]) -> Iterator[tuple[Comparison, int | None, h5py.Group]]:
    """Every comparison of some files, with the step of its candidate and its open group."""
    for path in sorted(map(Path, paths)):
        with h5py.File(path, "r") as file:
            for models in sorted(file):
                reference, _, candidate = models.partition("~")
                reference = reference.partition("@")[0]
                candidate, _, step = candidate.partition("@")
                names = (path.parent.name, path.stem, reference, candidate)
                for dataset in sorted(file[models]):
                    key = Comparison(*names, dataset)
                    yield key, int(step) if step else None, file[f"{models}/{dataset}"]


def _arrays(group: h5py.Group) -> dict[str, np.ndarray]:
    return {name: group[name][()] for name in group if _is_wanted(name)}


def cell_replicates(
    arrays: Mapping[str, np.ndarray],
    metric: str,
    statistic: str,
    *,
    variant: str = "",
    k: int | None = None,
    ks: Sequence[int] = (),
    exclusions: Sequence[str] = (),
) -> CellReplicates:
    """Pick the replicates of one statistic out of a comparison's arrays.

    Parameters
    ----------
    arrays : mapping of str to numpy.ndarray
        Of one comparison.
    metric, statistic, variant : str
        As in the similarity table. An array is named for its variant, else its statistic.
    k : int, optional
        Neighbours.
    ks, exclusions : sequence
        Numbers of neighbours and exclusions that were asked for, in the order of the array's axes.

    Returns
    -------
    CellReplicates
        Without cells where the arrays have none, or their shape is not as described.
    """
    names = (f"{variant}_replicates", f"{statistic}_replicates", "replicates", f"{statistic}_draws")
    name = next((name for name in names if name in arrays), None)
    if name is None or not {"layers_reference", "layers_candidate"} <= set(arrays):
        return CellReplicates()
    layers = arrays["layers_reference"], arrays["layers_candidate"]
    values, scheme = arrays[name], _scheme(metric, name)
    rows, columns = ([int(layer) for layer in side] for side in layers)
    if values.ndim == 4:
        places: list[tuple[str, int | None]] = [
            (exclusion, number) for exclusion in exclusions for number in ks
        ]
        if values.shape[:2] != (len(exclusions), len(ks)) or (variant, k) not in places:
            return CellReplicates()
        values = values.reshape(-1, *values.shape[2:])[places.index((variant, k))]
    if values.ndim == 3 and values.shape[:2] == (len(rows), len(columns)):
        every = [(i, j) for i in rows for j in columns]
        return _known(dict(zip(every, values.reshape(len(every), -1), strict=True)), scheme)
    # One axis for the layers: those that were matched, whichever way the file lists them.
    listed = list(zip(rows, columns, strict=False))
    matched = listed if len(rows) == len(columns) else matched_cells(rows, columns)
    if values.ndim == 2 and len(values) == len(matched):
        return _known(dict(zip(matched, values, strict=True)), scheme)
    return CellReplicates()


def _scheme(metric: str, name: str) -> Scheme:
    if not name.endswith("_draws"):
        return "blocks"
    return _OF_DRAWS.get(metric, "deletion")


def _known(cells: Mapping[Cell, np.ndarray], scheme: Scheme) -> CellReplicates:
    """Leave out cells that were not computed: all of their replicates are NaN."""
    known = {cell: values for cell, values in cells.items() if np.isfinite(values).any()}
    return CellReplicates(known, scheme)


def matched_cells(reference: Sequence[int], candidate: Sequence[int]) -> list[Cell]:
    """Layers that stand opposite one another: of one number, else at one share of the depth.

    The rule of `hrsa.similarity.layers.matched_layers`, from the layers that a table has.
    """
    if list(reference) == list(candidate):
        return [(layer, layer) for layer in reference]
    if not len(reference) or not len(candidate):
        return []
    ratio = max(candidate) / max(max(reference), 1)
    return [
        (layer, min(candidate, key=lambda other: (abs(other - layer * ratio), other)))
        for layer in reference
    ]


def _is_wanted(name: str) -> bool:
    layers = ("layers_reference", "layers_candidate")
    return name in ("replicates", *layers) or name.endswith(("_replicates", "_draws"))

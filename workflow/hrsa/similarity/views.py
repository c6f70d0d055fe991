"""Ways to look at the same activations: a few tokens or dimensions can decide a similarity alone.

Ten tokens of 30 times the usual norm, shared by two unrelated models, raise linear CKA above 0.9;
so does one shared dimension of 10 times the usual spread. A number is robust when the views agree,
and says something of other texts when both halves of the samples say it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from hrsa.activations.alignment import PairedRows, paired_rows, row_set
from hrsa.activations.store import Activations
from hrsa.similarity.layer_stack import file_reader
from hrsa.statistics.blocks import balanced_blocks, sample_codes

View = Literal["raw", "zscored", "massive_removed", "first_position", "half_a", "half_b"]
VIEWS: tuple[View, ...] = get_args(View)
HALVES: tuple[View, View] = ("half_a", "half_b")
# A token is massive where its norm exceeds this many times the median norm of its layer.
MASSIVE = 10.0
_READ_ROWS = 4096


@dataclass(frozen=True, eq=False)
class Viewed:
    """Two models as a view shows them.

    Attributes
    ----------
    reference, candidate : Activations
        The files, or what reads like them.
    rows : PairedRows
        Matched rows that the view keeps.
    note : str
        What the view did, counted.
    """

    reference: Activations
    candidate: Activations
    rows: PairedRows
    note: str

    def shows_the_same(self, other: "Viewed") -> bool:
        """Whether another view of the same two files shows the very same rows and values."""
        return (
            self.reference is other.reference
            and self.candidate is other.candidate
            and self.rows is other.rows
        )


def view_of(
    view: View,
    reference: Activations,
    candidate: Activations,
    rows: PairedRows,
    *,
    seed: int = 0,
) -> Viewed:
    """Look at two models in one way.

    Parameters
    ----------
    view : {"raw", "zscored", "massive_removed", "first_position", "half_a", "half_b"}
        As stored; each dimension scaled to variance 1 over the matched rows, per model and layer;
        without tokens whose norm exceeds 10 times the median norm of a layer ≥ 1 in either model;
        with the first position, where attention sinks lie; one half of the samples or the other,
        of about as many rows.
    reference, candidate : Activations
        Open activation files.
    rows : PairedRows
        Matched rows, the first position left out.
    seed : int
        Decides with the samples' lengths which half a sample is in, so that all models of a data
        set share the halves.

    Raises
    ------
    ValueError
        For an unknown view, or halves of a single sample.
    """
    match view:
        case "raw":
            return Viewed(reference, candidate, rows, "")
        case "zscored":
            scaled = (
                _Scaled(reference, rows.reference),
                _Scaled(candidate, rows.candidate),
            )
            note = "each dimension scaled to variance 1"
            return Viewed(scaled[0], scaled[1], rows, note)  # type: ignore[arg-type]
        case "massive_removed":
            return _without_massive(reference, candidate, rows)
        case "first_position":
            every = paired_rows(reference, candidate, skip_first_position=False)
            added = len(every.reference) - len(rows.reference)
            return Viewed(reference, candidate, every, f"{added} rows at the first position added")
        case "half_a" | "half_b":
            return _half(reference, candidate, rows, HALVES.index(view), seed)
    raise ValueError(f"view must be one of {', '.join(VIEWS)}, got {view!r}")


def massive_rows(activations: Activations, rows: np.ndarray) -> np.ndarray:
    """Which rows are massive at some layer past the embeddings, or at the only layer.

    Parameters
    ----------
    activations : Activations
        An open activation file.
    rows : numpy.ndarray of int64, shape (n_rows,)
        Rows looked at; the median is theirs.

    Returns
    -------
    numpy.ndarray of bool, shape (n_rows,)

    References
    ----------
    Sun et al. (2024), Massive activations in large language models, look at single entries; a
    token's norm is what CKA and cosines see of them.
    """
    massive = np.zeros(len(rows), dtype=bool)
    for layer in activations.layers:
        if layer > 0 or len(activations.layers) == 1:
            read = file_reader(activations, layer, rows)
            norms = np.concatenate(
                [
                    np.linalg.norm(part.astype(np.float64), axis=1)
                    for part in _parts(read, len(rows))
                ]
            )
            massive |= norms > MASSIVE * np.median(norms)
    return massive


def _without_massive(reference: Activations, candidate: Activations, rows: PairedRows) -> Viewed:
    massive = massive_rows(reference, rows.reference) | massive_rows(candidate, rows.candidate)
    kept = ~massive
    note = (
        f"{int(massive.sum())} of {len(massive)} tokens removed: their norm exceeds "
        f"{MASSIVE:g} times the median of a layer"
    )
    return Viewed(reference, candidate, _chosen(reference, rows, kept), note)


def _half(
    reference: Activations, candidate: Activations, rows: PairedRows, half: int, seed: int
) -> Viewed:
    codes = sample_codes(rows.samples, len(rows.reference))
    if codes.max() == 0:
        raise ValueError("one sample cannot be split in halves: the views half_a, half_b need two")
    kept = _chosen(reference, rows, balanced_blocks(codes, n_blocks=2, seed=seed) == half)
    note = f"{kept.n_samples} of {rows.n_samples} samples"
    return Viewed(reference, candidate, kept, note)


def _chosen(reference: Activations, rows: PairedRows, kept: np.ndarray) -> PairedRows:
    """Matched rows that are kept; the same object where all are."""
    if kept.all():
        return rows
    return replace(
        rows,
        reference=rows.reference[kept],
        candidate=rows.candidate[kept],
        samples=rows.samples[kept],
        tokens=rows.tokens[kept],
        share=rows.share * float(kept.mean()),
        row_set=row_set(reference, rows.reference[kept]),
        n_samples=len(np.unique(rows.samples[kept])),
    )


class _Scaled:
    """An activation file whose dimensions have variance 1 over some rows; reads like the file."""

    def __init__(self, activations: Activations, rows: np.ndarray) -> None:
        self._activations = activations
        self._rows = rows
        self._scales: dict[int, np.ndarray] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._activations, name)

    def layer(self, index: int) -> "_ScaledLayer":
        """Hidden states of a layer, scaled as they are read."""
        if index not in self._scales:
            read = file_reader(self._activations, index, self._rows)
            self._scales[index] = _inverse_spread(read, len(self._rows))
        return _ScaledLayer(self._activations.layer(index), self._scales[index])


class _ScaledLayer:
    """Rows of a layer times a factor for each dimension, in float64."""

    def __init__(self, stored: Any, factors: np.ndarray) -> None:
        self._stored = stored
        self._factors = factors
        self.shape = stored.shape
        self.dtype = np.dtype(np.float64)

    def __len__(self) -> int:
        return len(self._stored)

    def __getitem__(self, rows: Any) -> np.ndarray:
        return self._stored[rows].astype(np.float64) * self._factors


def _inverse_spread(read: Callable[[np.ndarray], np.ndarray], n_rows: int) -> np.ndarray:
    """1/sd of each dimension; 0 for one that is constant, which thus stays constant."""
    shift = read(np.arange(1))[0].astype(np.float64)
    total, squares = np.zeros_like(shift), np.zeros_like(shift)
    for part in _parts(read, n_rows):
        shifted = part - shift
        total += shifted.sum(axis=0)
        squares += np.sum(shifted**2, axis=0)
    variance = np.maximum(squares / n_rows - (total / n_rows) ** 2, 0)
    constant = variance <= 1e-12 * np.maximum(squares / n_rows, 0)
    return np.where(constant, 0.0, 1 / np.sqrt(np.where(constant, 1.0, variance)))


def _parts(read: Callable[[np.ndarray], np.ndarray], n_rows: int) -> Iterable[np.ndarray]:
    for start in range(0, n_rows, _READ_ROWS):
        yield read(np.arange(start, min(start + _READ_ROWS, n_rows)))

"""What the nulls of metrics share: the rows that are permuted, and p over layers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hrsa.activations.alignment import PairedRows
from hrsa.activations.store import Activations
from hrsa.similarity.layers import NO_P, NULL_ROWS, MatchedLayers, read_layer
from hrsa.statistics.blocks import sample_codes
from hrsa.statistics.permutation import equal_rows, p_of_maximum, p_value, sample_permutations


@dataclass(frozen=True, eq=False)
class Null:
    """A statistic on the equal rows, and under each permutation (n_permutations,); NaN where
    undefined."""

    observed: float
    permuted: np.ndarray

    @property
    def p(self) -> float | None:
        """Share of permutations that reach the observed value, itself counted among them."""
        return p_value(self.observed, self.permuted)


@dataclass(frozen=True, eq=False)
class PermutedLayers:
    """Matched layers on rows of which each sample has equally many.

    Attributes
    ----------
    permutations : numpy.ndarray of int64, shape (n_permutations, n_samples)
        Of the candidate's samples, the same for all layers.
    note : str
        What is permuted, or why nothing is.
    """

    permutations: np.ndarray
    note: str
    _files: tuple[Activations, Activations]
    _rows: tuple[np.ndarray, np.ndarray]
    _pairs: Sequence[tuple[int, int]]

    def __iter__(self) -> Iterator[tuple[tuple[int, int], np.ndarray, np.ndarray]]:
        """Layers of both, and their rows (n_samples × m × width); none without permutations."""
        for pair in self._pairs if len(self.permutations) else []:
            x, y = (
                read_layer(file, layer, rows.ravel()).reshape(*rows.shape, -1)
                for file, layer, rows in zip(self._files, pair, self._rows, strict=True)
            )
            yield pair, x, y


def permuted_layers(
    reference: Activations,
    candidate: Activations,
    rows: PairedRows,
    matched: MatchedLayers,
    *,
    n_permutations: int,
    seed: int,
) -> PermutedLayers:
    """Choose equally many rows of each sample, and permutations of the samples.

    Parameters
    ----------
    reference, candidate : Activations
        Open activation files.
    rows : PairedRows
        Matched rows.
    matched : MatchedLayers
        Matched layers.
    n_permutations, seed : int
        See `hrsa.statistics.permutation.sample_permutations`.
    """
    codes = sample_codes(rows.samples, len(rows.samples))
    equal = equal_rows(codes, seed=seed, most_rows=NULL_ROWS)
    permutations = sample_permutations(len(equal.rows), n_permutations, seed=seed)
    return PermutedLayers(
        permutations,
        equal.note if len(permutations) else NO_P,
        (reference, candidate),
        (rows.reference[equal.rows], rows.candidate[equal.rows]),
        matched.pairs,
    )


def p_over_layers(nulls: Sequence[Null]) -> tuple[float | None, float | None]:
    """p of the mean over layers, and of their maximum, against the same of each permutation."""
    if not nulls:
        return None, None
    observed = np.array([null.observed for null in nulls])
    permuted = np.array([null.permuted for null in nulls]).T
    mean = p_value(float(observed.mean()), permuted.mean(axis=1))
    return mean, p_of_maximum(observed, permuted)

"""Rows of the k-NN overlap over the layers of two models, with their intervals and p."""

from collections.abc import Mapping, Sequence

import numpy as np

from hrsa.similarity.knn_chance import SCORES, Score, score_overlap
from hrsa.similarity.knn_deletion import DeletionValues, overlap_interval
from hrsa.similarity.knn_null import NullRows
from hrsa.similarity.knn_shared import SharedNeighbours
from hrsa.similarity.layers import (
    MEAN_OVER_LAYERS,
    MatchedLayers,
    MetricTable,
    interval_columns,
    join_notes,
)
from hrsa.statistics.paired_deletion import paired_interval
from hrsa.statistics.permutation import p_of_maximum, p_value

HEADLINE_K = 10
NO_MEAN_INTERVAL = "no interval: a layer has none"
ONLY_P = "no interval or chance: a maximum is judged by its p, read the layers"


def k_of_null(ks: Sequence[int]) -> int:
    """Choose the size of neighbourhood that is permuted: 10 if it is asked for, or the second."""
    return HEADLINE_K if HEADLINE_K in ks else ks[min(1, len(ks) - 1)]


def ties_note(shared: SharedNeighbours) -> str:
    """Say how many tokens have ties, and what that does to the chance level."""
    if not shared.share_tied:
        return ""
    share = "under 0.1%" if shared.share_tied < 0.001 else f"{shared.share_tied:.1%}"
    return f"{share} of tokens have ties at the k-th place: chance over permutations of rows"


class OverlapTable:
    """Collects what is found layer by layer, and sums it up over layers.

    Parameters
    ----------
    table : MetricTable
        Takes the rows.
    matched : MatchedLayers
        The layers, in the order in which they will come.
    exclusions, ks : sequence
        Exclusions and sizes of neighbourhood.
    n_tokens : int
        Rows compared.
    deleted : numpy.ndarray of bool, shape (n_draws, n_samples)
        Draws of deleted samples.
    null : NullRows
        Rows and permutations for p.
    """

    def __init__(
        self,
        table: MetricTable,
        matched: MatchedLayers,
        exclusions: Sequence[str],
        ks: Sequence[int],
        *,
        n_tokens: int,
        deleted: np.ndarray,
        null: NullRows,
    ) -> None:
        self._table, self._pairs = table, matched.pairs
        self._exclusions, self._ks = list(exclusions), list(ks)
        self._deleted, self._null = deleted, null
        shape = (len(exclusions), len(ks), len(matched.pairs))
        self._per_token = np.empty((*shape, n_tokens), np.float32)
        self._draws = {score: np.full((*shape, len(deleted)), np.nan) for score in SCORES}
        self._values = {score: np.full(shape, np.nan) for score in SCORES}
        self._permuted = {
            (name, score): np.full((len(matched.pairs), 1 + null.n_permutations), np.nan)
            for name in exclusions
            for score in SCORES
        }

    def add_layer(
        self,
        place: int,
        exclude: str,
        shared: Mapping[int, SharedNeighbours],
        deletions: Mapping[int, DeletionValues],
        permuted: Mapping[Score, np.ndarray] | None,
    ) -> None:
        """Add the rows of one pair of layers under one exclusion.

        Parameters
        ----------
        place : int
            Number of the pair of layers in the list of those matched.
        exclude : str
            The exclusion.
        shared : mapping of k to SharedNeighbours
        deletions : mapping of k to DeletionValues
        permuted : mapping of score to numpy.ndarray of shape (1 + n_permutations,), or None
            Scores of `k_of_null` on the null's rows, the observed one first; None: no p.
        """
        e = self._exclusions.index(exclude)
        for s, k in enumerate(self._ks):
            self._per_token[e, s, place] = shared[k].weight / k
            for score in SCORES:
                value = float(score_overlap(shared[k].weight, k, score).mean())
                interval, remark = overlap_interval(value, score, k, deletions[k], self._deleted)
                self._values[score][e, s, place] = value
                if interval.se is not None:
                    self._draws[score][e, s, place] = deletions[k].scores[score]
                p = None
                if permuted is not None and k == k_of_null(self._ks):
                    self._permuted[exclude, score][place] = permuted[score]
                    p = p_value(permuted[score][0], permuted[score][1:])
                self._table.add(
                    score,
                    self._pairs[place],
                    value,
                    variant=exclude,
                    k=k,
                    chance=shared[k].chance[score],
                    p=p,
                    note=join_notes(ties_note(shared[k]), remark, self._p_note(k, permuted)),
                    **interval_columns(interval),
                )

    def add_summaries(self) -> None:
        """Add the means over layers, and the maxima that have a p, layer 0 left out."""
        inner = np.array([layer > 0 for layer, _ in self._pairs], dtype=bool)
        if not inner.any():
            return
        for e, name in enumerate(self._exclusions):
            for s, k in enumerate(self._ks):
                for score in SCORES:
                    self._add_mean(e, s, name, k, score, inner)
        s, k = self._ks.index(k_of_null(self._ks)), k_of_null(self._ks)
        for e, name in enumerate(self._exclusions):
            for score in SCORES:
                permuted = self._permuted[name, score][inner]
                self._table.add(
                    f"{score}_max",
                    (MEAN_OVER_LAYERS, MEAN_OVER_LAYERS),
                    float(self._values[score][e, s, inner].max()),
                    variant=name,
                    k=k,
                    p=p_of_maximum(permuted[:, 0], permuted[:, 1:].T),
                    note=join_notes(ONLY_P, self._p_note(k, _complete(permuted))),
                )

    def _add_mean(self, e: int, s: int, name: str, k: int, score: Score, inner: np.ndarray) -> None:
        draws = self._draws[score][e, s, inner].mean(axis=0)
        value = float(self._values[score][e, s, inner].mean())
        interval = paired_interval(value, draws, self._deleted.shape[1])
        remark = "" if interval.se is not None else NO_MEAN_INTERVAL
        p, permuted = None, None
        if k == k_of_null(self._ks):
            permuted = _complete(self._permuted[name, score][inner])
            if permuted is not None:
                means = permuted.mean(axis=0)
                p = p_value(means[0], means[1:])
        note = join_notes(remark, self._p_note(k, permuted))
        self._table.add_layer_mean(score, interval=interval, p=p, variant=name, k=k, note=note)

    def _p_note(self, k: int, permuted: object) -> str:
        """What p rests on, or why there is none."""
        if not self._null.n_permutations:
            return self._null.note
        if k != k_of_null(self._ks):
            return f"p: samples are permuted at k = {k_of_null(self._ks)} only, read that"
        if permuted is None:
            return too_few_rows(self._null, k)
        return self._null.note

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Values of each token and each draw, with what names their axes."""
        return {
            "per_token": self._per_token,
            **{f"{score}_draws": values for score, values in self._draws.items()},
            "deleted": self._deleted,
            "layers_reference": np.array([i for i, _ in self._pairs]),
            "layers_candidate": np.array([j for _, j in self._pairs]),
        }


def too_few_rows(null: NullRows, k: int) -> str:
    """Say that the null's rows are too few for neighbourhoods of ``k``."""
    return (
        f"p: of the {len(null.rows)} rows that would be permuted, fewer than {k} may be neighbours "
        "of a row: read a smaller k"
    )


def _complete(permuted: np.ndarray) -> np.ndarray | None:
    return permuted if np.isfinite(permuted).all() else None

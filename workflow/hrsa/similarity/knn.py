"""k-NN overlap: does a token have the same neighbours in two models?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hrsa.activations.alignment import PairedRows
from hrsa.activations.store import Activations
from hrsa.errors import UserError
from hrsa.similarity.arrays import check_pair
from hrsa.similarity.cosine_tiles import TILE_BUDGET
from hrsa.similarity.knn_chance import SCORES, Score, score_overlap
from hrsa.similarity.knn_deletion import deletion_values, overlap_interval
from hrsa.similarity.knn_null import null_rows, null_scores
from hrsa.similarity.knn_shared import pair_neighbours, shared_neighbours
from hrsa.similarity.knn_table import OverlapTable, k_of_null, ties_note, too_few_rows
from hrsa.similarity.layers import MetricTable, join_notes, matched_layers, read_layer
from hrsa.similarity.neighbour_store import StoredNeighbours
from hrsa.similarity.neighbours import (
    EXCLUSIONS,
    Exclusion,
    Neighbours,
    neighbours_by_exclusion,
    surplus,
)
from hrsa.similarity.results import LayerComparison, NeighbourOverlapResult
from hrsa.statistics.blocks import sample_codes
from hrsa.statistics.paired_deletion import paired_deletions
from hrsa.statistics.permutation import N_PERMUTATIONS, p_value


def knn_overlap(
    X: npt.ArrayLike,
    Y: npt.ArrayLike,
    *,
    k: int = 10,
    score: Score = "jaccard",
    exclude: Exclusion = "self",
    samples: npt.ArrayLike | None = None,
    tokens: npt.ArrayLike | None = None,
    n_permutations: int = N_PERMUTATIONS,
    seed: int = 0,
    budget: int = TILE_BUDGET,
) -> NeighbourOverlapResult:
    """Share of nearest neighbours (cosine, rows not centred) that two representations agree on.

    Parameters
    ----------
    X, Y : array-like, shapes (n_tokens, p) and (n_tokens, q)
        Hidden states of the reference and the candidate, rows matched.
    k : int
        Size of the neighbourhood.
    score : {"jaccard", "overlap"}
        |A ∩ B|/|A ∪ B|, or |A ∩ B|/k.
    exclude : {"self", "sample", "type"}
        Rows that are no neighbours of a row: itself; also those of its sample, which resemble it
        in every model; also those of the same token.
    samples, tokens : array-like of length n_tokens, or None
        Sample of each row (None: each row its own; needed for "sample"), token id (for "type").
    n_permutations : int
        Permutations of the candidate's samples for p; 0: none.
    seed : int
        Of the deleted samples and of the permutations.
    budget : int
        Bytes of a tile of cosines (see `hrsa.similarity.neighbours.nearest_neighbours`).

    Returns
    -------
    NeighbourOverlapResult
        ``value`` is the mean over tokens. Neighbours tied at the k-th distance √(2 − 2cos), within
        1e-6, share the places that are left. The interval is from deleting random tenths of the
        samples, alone and two by two, neighbours decided anew among the rest. Chance is exact for
        independent rows; with ties it is the mean over 20 random permutations of rows. ``p``
        permutes whole samples, on equally many rows of each and 2000 at most; under "type" tokens
        move with their samples.

    Raises
    ------
    ValueError
        When a matrix is malformed, has a row of zeros, or fewer than k rows are allowed.

    References
    ----------
    "Do Reasoning Models Enhance Embedding Models?" (arXiv 2601.21192): geometry level; it uses
    ``jaccard`` with ``self``.
    """
    if score not in SCORES:
        raise ValueError(f"score must be one of {', '.join(SCORES)}, got {score!r}")
    matrices = check_pair(X, Y)
    codes = sample_codes(samples, len(matrices[0]))
    n_neighbours = surplus((k,), len(codes), exclude=(exclude,), samples=samples, tokens=tokens)
    a, b = (
        neighbours_by_exclusion(
            matrix, n_neighbours, exclude=(exclude,), samples=samples, tokens=tokens, budget=budget
        )[exclude]
        for matrix in matrices
    )
    pair = pair_neighbours(a, b, budget=budget)
    shared = shared_neighbours(pair, (k,))[k]
    per_token = score_overlap(shared.weight, k, score)
    value = float(per_token.mean())
    deleted = paired_deletions(int(codes.max()) + 1, seed=seed)
    draws = deletion_values(pair, (k,), codes, deleted)[k]
    interval, remark = overlap_interval(value, score, k, draws, deleted)
    null = null_rows(codes, tokens, n_permutations=n_permutations, seed=seed)
    X0, Y0 = (matrix[null.rows] for matrix in matrices)
    permuted = null_scores(X0, Y0, k, null, exclude=(exclude,), budget=budget).get(exclude)
    p_note = null.note
    if permuted is None and null.n_permutations:
        p_note = too_few_rows(null, k)
    return NeighbourOverlapResult(
        value=value,
        se=interval.se,
        ci_low=interval.low,
        ci_high=interval.high,
        interval_method=interval.method,
        chance=shared.chance[score],
        p=None if permuted is None else p_value(permuted[score][0], permuted[score][1:]),
        note=join_notes(ties_note(shared), remark, p_note),
        per_token=per_token,
        draws=draws.scores[score] if interval.se is not None else None,
    )


def knn_layers(
    reference: Activations,
    candidate: Activations,
    rows: PairedRows,
    *,
    ks: Sequence[int] = (5, 10, 50),
    exclude: Sequence[Exclusion] = ("self", "sample"),
    neighbours_reference: StoredNeighbours | None = None,
    neighbours_candidate: StoredNeighbours | None = None,
    n_permutations: int = N_PERMUTATIONS,
    seed: int = 0,
    budget: int = TILE_BUDGET,
) -> LayerComparison:
    """k-NN overlap of matched layers.

    Parameters
    ----------
    reference, candidate : Activations
        Open activation files; widths and depths may differ.
    rows : PairedRows
        Matched rows.
    ks : sequence of int
        Sizes of neighbourhood.
    exclude : sequence of {"self", "sample", "type"}
        Exclusions; "type" goes by the reference's tokens.
    neighbours_reference, neighbours_candidate : StoredNeighbours or None
        Neighbours computed before; used where they are those of exactly these rows, and enough.
    n_permutations : int
        Permutations of the candidate's samples for p, the same for all layers; 0: none.
    seed : int
        Of the deleted samples and of the permutations.
    budget : int
        Bytes of a tile of cosines (see `hrsa.similarity.neighbours.nearest_neighbours`).

    Returns
    -------
    LayerComparison
        Table: statistics ``jaccard`` and ``overlap`` for every matched pair of layers, k and
        exclusion (column ``variant``), and their means, layer 0 left out. One k has p (10, or the
        second): of each layer, of the mean, and of the maximum (``jaccard_max``, ``overlap_max``).
        Arrays: ``per_token`` (exclusions × ks × matched layers × n_tokens): overlap of each token,
        float32; ``jaccard_draws`` and ``overlap_draws`` (exclusions × ks × matched layers ×
        n_draws): means without the samples of each draw, NaN where there is no interval (the draws
        are `hrsa.statistics.paired_deletion.paired_deletions`); ``deleted`` (n_draws × n_samples):
        those samples, in order of first appearance;
        ``layers_reference`` and ``layers_candidate`` of the matched layers.

    Raises
    ------
    UserError
        When fewer than max(ks) rows may be neighbours of a row, or a row has no direction.
    """
    matched = matched_layers(reference, candidate)
    exclusions = [name for name in EXCLUSIONS if name in exclude]
    sides = (
        _Side(reference, rows.reference, rows, neighbours_reference, budget),
        _Side(candidate, rows.candidate, rows, neighbours_candidate, budget),
    )
    n_neighbours = _n_wanted(reference, candidate, rows, ks, exclude)
    codes = sample_codes(rows.samples, len(rows.reference))
    deleted = paired_deletions(rows.n_samples, seed=seed)
    null = null_rows(codes, rows.tokens, n_permutations=n_permutations, seed=seed)
    table = MetricTable.of_rows("knn", matched, rows)
    overlaps = OverlapTable(
        table, matched, exclusions, ks, n_tokens=len(codes), deleted=deleted, null=null
    )
    for place, layers in enumerate(matched.pairs):
        near = list(zip(sides, layers, strict=True))
        a, b = (side.neighbours(layer, exclusions, n_neighbours) for side, layer in near)
        X0, Y0 = (read_layer(side.activations, at, side.rows[null.rows]) for side, at in near)
        permuted = null_scores(X0, Y0, k_of_null(ks), null, exclude=exclusions, budget=budget)
        for name in exclusions:
            pair = pair_neighbours(a[name], b[name], budget=budget)
            shared = shared_neighbours(pair, ks)
            draws = deletion_values(pair, ks, codes, deleted)
            overlaps.add_layer(place, name, shared, draws, permuted.get(name))
    overlaps.add_summaries()
    return table.build(overlaps.arrays)


@dataclass(frozen=True, eq=False)
class _Side:
    """One of the two models, with the neighbours that are known of it."""

    activations: Activations
    rows: np.ndarray
    pairs: PairedRows
    stored: StoredNeighbours | None
    budget: int

    def neighbours(
        self, layer: int, exclude: Sequence[Exclusion], n_neighbours: int
    ) -> dict[Exclusion, Neighbours]:
        """Neighbours of a layer by exclusion: from the file where it has them, else computed."""
        stored = self.stored
        if stored is not None and self._fits(stored, layer, exclude, n_neighbours):
            return {name: stored.load(layer, name) for name in exclude}
        try:
            return neighbours_by_exclusion(
                read_layer(self.activations, layer, self.rows),
                n_neighbours,
                exclude=exclude,
                samples=self.pairs.samples,
                tokens=self.pairs.tokens,
                budget=self.budget,
            )
        except ValueError as error:
            raise UserError(f"layer {layer} of {self.activations.path}: {error}") from error

    def _fits(
        self,
        stored: StoredNeighbours,
        layer: int,
        exclude: Sequence[Exclusion],
        n_neighbours: int,
    ) -> bool:
        # Neighbours among other rows are other neighbours: same places, in the same order. The
        # exclusion by token goes by the reference's tokens, the file's by its own model's.
        return (
            np.array_equal(stored.rows, self.rows)
            and stored.row_set == self.pairs.row_set
            and stored.n_neighbours >= n_neighbours
            and all(stored.has(layer, name) for name in exclude)
            and ("type" not in exclude or self._has_tokens_of_pair())
        )

    def _has_tokens_of_pair(self) -> bool:
        return np.array_equal(self.activations.tokens.id[self.rows], self.pairs.tokens)


def _n_wanted(
    reference: Activations,
    candidate: Activations,
    rows: PairedRows,
    ks: Sequence[int],
    exclude: Sequence[Exclusion],
) -> int:
    labels = {"samples": rows.samples, "tokens": rows.tokens}
    try:
        return surplus(ks, len(rows.reference), exclude=exclude, **labels)
    except ValueError as error:
        raise UserError(f"{reference.path} and {candidate.path}: {error}") from error

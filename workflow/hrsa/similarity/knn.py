"""k-NN overlap: does a token have the same neighbours in two models?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hrsa.activations.alignment import PairedRows
from hrsa.activations.store import Activations
from hrsa.errors import UserError
from hrsa.similarity.arrays import check_pair
from hrsa.similarity.cosine_tiles import tiles
from hrsa.similarity.knn_chance import SCORES, Score, chance_levels, score_overlap
from hrsa.similarity.layers import MetricTable, join_notes, matched_layers, read_layer
from hrsa.similarity.neighbours import (
    EXCLUSIONS,
    Exclusion,
    Neighbours,
    StoredNeighbours,
    membership,
    neighbours_by_exclusion,
)
from hrsa.similarity.results import NO_P, LayerComparison, NeighbourOverlapResult

NO_INTERVAL = "no interval is computed yet (a bootstrap would make duplicates neighbours)"


@dataclass(frozen=True, eq=False)
class _Shared:
    """What two models' neighbourhoods share at one k, and what they would by chance.

    ``weight`` is Σ_j min(w_A, w_B) of each token, shape (n_tokens,).
    """

    weight: np.ndarray
    chance: dict[Score, float]
    share_tied: float


def knn_overlap(
    X: npt.ArrayLike,
    Y: npt.ArrayLike,
    *,
    k: int = 10,
    score: Score = "jaccard",
    exclude: Exclusion = "self",
    samples: npt.ArrayLike | None = None,
    tokens: npt.ArrayLike | None = None,
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
        Sample of each row (for "sample"), token id (for "type").

    Returns
    -------
    NeighbourOverlapResult
        ``value`` is the mean over tokens. Neighbours tied at the k-th distance
        √(2 − 2cos), within 1e-6, share the places that are left. Chance is exact for independent
        rows; with ties it is the mean over 20 random permutations.

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
    reference, candidate = check_pair(X, Y)
    a, b = (
        neighbours_by_exclusion(matrix, k, exclude=(exclude,), samples=samples, tokens=tokens)[
            exclude
        ]
        for matrix in (reference, candidate)
    )
    shared = _compare(a, b, (k,))[k]
    per_token = score_overlap(shared.weight, k, score)
    return NeighbourOverlapResult(
        value=float(per_token.mean()),
        chance=shared.chance[score],
        note=join_notes(_ties_note(shared), NO_INTERVAL, NO_P),
        per_token=per_token,
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
        Neighbours computed before; used where they are those of exactly these rows.

    Returns
    -------
    LayerComparison
        Table: statistics ``jaccard`` and ``overlap`` for every matched pair of layers, k and
        exclusion (column ``variant``), and their means, layer 0 left out. Arrays: ``per_token``
        (exclusions × ks × matched layers × n_tokens): overlap of each token, float32;
        ``layers_reference`` and ``layers_candidate`` of the matched layers.

    Raises
    ------
    UserError
        When fewer than max(ks) rows may be neighbours of a row, or a row has no direction.
    """
    matched = matched_layers(reference, candidate)
    table = MetricTable.of_rows("knn", matched, rows)
    exclusions = [name for name in EXCLUSIONS if name in exclude]
    per_token = np.empty(
        (len(exclusions), len(ks), len(matched.pairs), len(rows.reference)), np.float32
    )
    sides = (
        _Side(reference, rows.reference, rows, neighbours_reference),
        _Side(candidate, rows.candidate, rows, neighbours_candidate),
    )
    for place, layers in enumerate(matched.pairs):
        a, b = (
            side.neighbours(layer, exclude, max(ks))
            for side, layer in zip(sides, layers, strict=True)
        )
        for e, name in enumerate(exclusions):
            for s, (k, shared) in enumerate(_compare(a[name], b[name], ks).items()):
                _add_layer(table, layers, name, k, shared)
                per_token[e, s, place] = shared.weight / k
    for name in exclusions:
        for k in ks:
            for score in SCORES:
                note = join_notes(NO_INTERVAL, NO_P)
                table.add_layer_mean(score, variant=name, k=k, note=note)
    return table.build(
        {
            "per_token": per_token,
            "layers_reference": np.array([i for i, _ in matched.pairs]),
            "layers_candidate": np.array([j for _, j in matched.pairs]),
        }
    )


@dataclass(frozen=True, eq=False)
class _Side:
    """One of the two models, with the neighbours that are known of it."""

    activations: Activations
    rows: np.ndarray
    pairs: PairedRows
    stored: StoredNeighbours | None

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
        # Neighbours among other rows are other neighbours: same places, in the same order.
        return (
            np.array_equal(stored.rows, self.rows)
            and stored.row_set == self.pairs.row_set
            and stored.n_neighbours >= n_neighbours
            and all(stored.has(layer, name) for name in exclude)
        )


def _compare(a: Neighbours, b: Neighbours, ks: Sequence[int]) -> dict[int, _Shared]:
    in_a, in_b = _common_entries(a, b)
    row = a.row[in_a]
    found = {}
    for k in ks:
        own, other = membership(a, k), membership(b, k)
        least = np.minimum(own.weight[in_a], other.weight[in_b])
        weight = np.bincount(row, weights=least, minlength=len(a.n_allowed))
        found[k] = _Shared(weight, *chance_levels(own.counts, other.counts, a.n_allowed, k))
    return found


def _common_entries(a: Neighbours, b: Neighbours) -> tuple[np.ndarray, np.ndarray]:
    """Places in the two lists of the pairs (row, neighbour) that both hold, rows tile by tile."""
    n_rows = len(a.n_allowed)
    row_a, row_b = a.row, b.row
    in_a, in_b = [], []
    table = np.empty((0, n_rows), dtype=np.int64)
    for tile in tiles(n_rows):
        first, last = tile[0], tile[-1] + 1
        if len(table) < len(tile):
            table = np.full((len(tile), n_rows), -1, dtype=np.int64)
        mine = np.arange(a.starts[first], a.starts[last])
        theirs = np.arange(b.starts[first], b.starts[last])
        table[row_a[mine] - first, a.index[mine]] = mine
        places = table[row_b[theirs] - first, b.index[theirs]]
        table[row_a[mine] - first, a.index[mine]] = -1
        in_a.append(places[places >= 0])
        in_b.append(theirs[places >= 0])
    return np.concatenate(in_a), np.concatenate(in_b)


def _add_layer(
    table: MetricTable, layers: tuple[int, int], exclude: str, k: int, shared: _Shared
) -> None:
    for score in SCORES:
        table.add(
            score,
            layers,
            float(score_overlap(shared.weight, k, score).mean()),
            variant=exclude,
            k=k,
            chance=shared.chance[score],
            note=join_notes(_ties_note(shared), NO_INTERVAL, NO_P),
        )


def _ties_note(shared: _Shared) -> str:
    if not shared.share_tied:
        return ""
    return f"{shared.share_tied:.1%} of tokens have ties at the k-th place: chance by permutation"

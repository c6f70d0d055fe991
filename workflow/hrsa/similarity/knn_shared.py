"""What two models' neighbourhoods share: common neighbours, and their weight at each k."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hrsa.similarity.cosine_tiles import TILE_BUDGET, tiles
from hrsa.similarity.knn_chance import Score, chance_levels
from hrsa.similarity.neighbours import Neighbours, membership


@dataclass(frozen=True, eq=False)
class NeighbourPair:
    """Two models' neighbours of the same rows, and which of them both have.

    Attributes
    ----------
    a, b : Neighbours
        Of the reference and the candidate, under the same exclusion.
    starts : numpy.ndarray of int64, shape (n_rows + 1,)
        Where each row's common neighbours start; inside a row they are in the order of ``b``.
    in_a, in_b : numpy.ndarray of int64, shape (n_common,)
        Entry of each common neighbour in the two models' ``index``.
    """

    a: Neighbours
    b: Neighbours
    starts: np.ndarray
    in_a: np.ndarray
    in_b: np.ndarray


@dataclass(frozen=True, eq=False)
class SharedNeighbours:
    """What two models' neighbourhoods share at one k, and what they would by chance.

    Attributes
    ----------
    weight : numpy.ndarray, shape (n_rows,)
        Σ_j min(w_A, w_B) of each row.
    chance : dict of score to float
        Mean over rows for unrelated neighbourhoods.
    share_tied : float
        Share of rows with a tie at the k-th place in either model.
    """

    weight: np.ndarray
    chance: dict[Score, float]
    share_tied: float


def pair_neighbours(a: Neighbours, b: Neighbours, *, budget: int = TILE_BUDGET) -> NeighbourPair:
    """Find the neighbours that both lists of a row hold, one tile of rows after another.

    Parameters
    ----------
    a, b : Neighbours
        Of the same rows, under the same exclusion.
    budget : int
        Bytes of the table in which a tile's neighbours are looked up.
    """
    n_rows = len(a.n_allowed)
    row_a, row_b = a.row, b.row
    in_a, in_b = [], []
    table = np.empty((0, n_rows), dtype=np.int32)
    for tile in tiles(n_rows, budget):
        first, last = tile[0], tile[-1] + 1
        if len(table) < len(tile):
            table = np.full((len(tile), n_rows), -1, dtype=np.int32)
        start = a.starts[first]
        mine = np.arange(start, a.starts[last])
        theirs = np.arange(b.starts[first], b.starts[last])
        table[row_a[mine] - first, a.index[mine]] = mine - start
        places = table[row_b[theirs] - first, b.index[theirs]]
        table[row_a[mine] - first, a.index[mine]] = -1
        in_a.append(places[places >= 0] + start)
        in_b.append(theirs[places >= 0])
    joined = np.concatenate(in_b)
    counts = np.bincount(row_b[joined], minlength=n_rows)
    starts = np.concatenate([[0], np.cumsum(counts)])
    return NeighbourPair(a, b, starts, np.concatenate(in_a), joined)


def shared_neighbours(pair: NeighbourPair, ks: Sequence[int]) -> dict[int, SharedNeighbours]:
    """Weigh what two models' neighbourhoods of each size in ``ks`` share.

    Parameters
    ----------
    pair : NeighbourPair
        Lists of at least ``max(ks)``.
    ks : sequence of int
        Sizes of neighbourhood.
    """
    n_allowed = pair.a.n_allowed
    row = pair.a.row[pair.in_a]
    found = {}
    for k in ks:
        own, other = membership(pair.a, k), membership(pair.b, k)
        least = np.minimum(own.weight[pair.in_a], other.weight[pair.in_b])
        weight = np.bincount(row, weights=least, minlength=len(n_allowed))
        levels, share_tied = chance_levels(own.counts, other.counts, n_allowed, k)
        found[k] = SharedNeighbours(weight, levels, share_tied)
    return found

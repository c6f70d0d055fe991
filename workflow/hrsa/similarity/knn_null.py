"""k-NN overlap of models that share only which text a token is in: whole samples are permuted.

Neighbours are found once on rows of which every sample has as many; a permutation only renames the
candidate's rows, since it carries each sample, its neighbours and what is excluded along.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hrsa.similarity.cosine_tiles import TILE_BUDGET
from hrsa.similarity.knn_chance import SCORES, Score, score_overlap
from hrsa.similarity.neighbours import (
    Exclusion,
    Neighbours,
    fewest_allowed,
    membership,
    neighbours_by_exclusion,
)
from hrsa.statistics.permutation import MIN_SAMPLES, EqualRows, equal_rows, sample_permutations

# The table of weights has this many rows and columns at most.
MOST_ROWS = 2000
# Of so many samples there are orders enough, so that further ones may be left out.
ENOUGH_SAMPLES = 50
# Entries of neighbour lists that are renamed at once.
_BATCH_ENTRIES = 2**17


@dataclass(frozen=True, eq=False)
class NullRows:
    """Rows on which samples are permuted, the same for all layers of a pair.

    Attributes
    ----------
    rows : numpy.ndarray of int64, shape (n_null,)
        Rows kept, equally many of each sample, sample by sample.
    samples : numpy.ndarray of int64, shape (n_null,)
        Sample of each.
    tokens : numpy.ndarray, shape (n_null,), or None
        Token id of each.
    orders : numpy.ndarray of int64, shape (1 + n_permutations, n_null)
        Which of the candidate's rows stands at each place; the first order is the observed one.
    note : str
        What p rests on, or why there is none.
    """

    rows: np.ndarray
    samples: np.ndarray
    tokens: np.ndarray | None
    orders: np.ndarray
    note: str

    @property
    def n_permutations(self) -> int:
        """Number of permutations; 0 where there can be no p."""
        return len(self.orders) - 1

    @property
    def labels(self) -> dict[str, np.ndarray | None]:
        """What exclusions go by."""
        return {"samples": self.samples, "tokens": self.tokens}


def null_rows(
    codes: np.ndarray, tokens: npt.ArrayLike | None, *, n_permutations: int, seed: int
) -> NullRows:
    """Choose the rows of the null and draw the permutations of their samples.

    Parameters
    ----------
    codes : numpy.ndarray of int64, shape (n_rows,)
        Sample of each row, numbered from 0.
    tokens : array-like of length n_rows, or None
        Token id of each row.
    n_permutations : int
        0: no p.
    seed : int
        Of the rows kept and the permutations.
    """
    kept = _rows_of_samples(codes, seed)
    n_samples, each = kept.rows.shape
    samples = sample_permutations(n_samples, n_permutations, seed=seed)
    samples = np.concatenate([np.arange(n_samples)[None, :], samples])
    orders = samples[:, :, None] * each + np.arange(each)
    rows = kept.rows.ravel()
    note = kept.note
    if n_permutations == 0:
        note = "p: no permutations were asked for"
    elif len(samples) == 1:
        note = f"p: needs {MIN_SAMPLES} samples at least, there are {n_samples}"
    return NullRows(
        rows=rows,
        samples=np.repeat(np.arange(n_samples), each),
        tokens=None if tokens is None else np.asarray(tokens)[rows],
        orders=orders.reshape(len(orders), -1),
        note=note,
    )


def _rows_of_samples(codes: np.ndarray, seed: int) -> EqualRows:
    """Equally many rows of each sample, `MOST_ROWS` at most.

    Few long samples have few orders: there, fewer rows of each are kept rather than fewer samples.
    """
    kept, whole = (equal_rows(codes, seed=seed, most_rows=most) for most in (MOST_ROWS, None))
    n_samples = min(len(whole.rows), ENOUGH_SAMPLES)
    if len(kept.rows) >= n_samples:
        return kept
    rows = whole.rows[:, :: _ceil(whole.rows.shape[1], MOST_ROWS // n_samples)]
    rows = rows[:: _ceil(len(rows), MOST_ROWS // rows.shape[1])]
    return EqualRows(rows, whole.n_left_out)


def _ceil(number: int, divisor: int) -> int:
    return -(-number // divisor)


def null_scores(
    X: np.ndarray,
    Y: np.ndarray,
    k: int,
    null: NullRows,
    *,
    exclude: Sequence[Exclusion],
    budget: int = TILE_BUDGET,
) -> dict[Exclusion, dict[Score, np.ndarray]]:
    """Score two models on the null's rows, as they are and with the candidate's samples permuted.

    Parameters
    ----------
    X, Y : numpy.ndarray of float64, shapes (n_null, p) and (n_null, q)
        The null's rows of the reference and the candidate.
    k : int
        Size of the neighbourhood.
    null : NullRows
        Those rows and the permutations.
    exclude : sequence of {"self", "sample", "type"}
        Exclusions wanted.
    budget : int
        Bytes of a tile of cosines.

    Returns
    -------
    dict of exclusion to dict of score to numpy.ndarray, shape (1 + n_permutations,)
        The observed score first. Exclusions that leave a row fewer than ``k`` neighbours are
        missing, and all are without permutations.
    """
    n_rows = len(null.rows)
    wanted = [name for name in exclude if fewest_allowed(n_rows, exclude=name, **null.labels) >= k]
    if not wanted or not null.n_permutations:
        return {}
    a, b = (
        neighbours_by_exclusion(matrix, k, exclude=wanted, budget=budget, **null.labels)
        for matrix in (X, Y)
    )
    return {name: permuted_scores(a[name], b[name], k, null.orders) for name in wanted}


def permuted_scores(
    a: Neighbours, b: Neighbours, k: int, orders: np.ndarray
) -> dict[Score, np.ndarray]:
    """Score two models' neighbourhoods with the candidate's rows in other orders.

    Parameters
    ----------
    a, b : Neighbours
        Of the reference and the candidate, on the same rows and under the same exclusion.
    k : int
        Size of the neighbourhood.
    orders : numpy.ndarray of int64, shape (n_orders, n_rows)
        Which of the candidate's rows stands at each place.

    Returns
    -------
    dict of score to numpy.ndarray, shape (n_orders,)
        Mean over rows. Σ_j min(w_A(i, j), w_B(σ(i), σ(j))) is what row i shares in order σ.
    """
    row, index, weight = _members(a, k)
    starts = np.searchsorted(row, np.arange(len(a.n_allowed)))
    weights, table = _weight_table(b, k)
    found: dict[Score, list[np.ndarray]] = {score: [] for score in SCORES}
    for batch in _batches(orders, len(row)):
        place = (batch * len(table)).take(row, axis=1) + batch.take(index, axis=1)
        other = weights.take(table.ravel().take(place))
        total = np.add.reduceat(np.minimum(weight, other), starts, axis=1)
        for score in SCORES:
            found[score].append(score_overlap(total, k, score).mean(axis=1))
    return {score: np.concatenate(values) for score, values in found.items()}


def _members(neighbours: Neighbours, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, neighbour and weight of each member of the neighbourhoods of ``k``."""
    weight = membership(neighbours, k).weight
    member = weight > 0
    return neighbours.row[member], neighbours.index[member], weight[member]


def _weight_table(neighbours: Neighbours, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Different weights, 0 first, and which of them w(i, j) is (n_rows × n_rows).

    There are few, so that the table is of small numbers and stays in the processor's cache.
    """
    row, index, weight = _members(neighbours, k)
    n_rows = len(neighbours.n_allowed)
    weights, number = np.unique(weight, return_inverse=True)
    table = np.zeros((n_rows, n_rows), dtype=np.min_scalar_type(len(weights)))
    table[row, index] = number + 1
    return np.concatenate([[0.0], weights]), table


def _batches(orders: np.ndarray, n_entries: int) -> Sequence[np.ndarray]:
    height = max(1, _BATCH_ENTRIES // n_entries)
    return [orders[start : start + height] for start in range(0, len(orders), height)]

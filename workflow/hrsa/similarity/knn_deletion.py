"""k-NN overlap without a random part of the samples, re-read from lists that are long enough.

A neighbour that goes leaves its place to the next survivor of the stored list, so that nothing is
computed anew. All draws are read at once (see `hrsa.similarity.draw_words`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hrsa.similarity.cosine_tiles import TIE_TOLERANCE
from hrsa.similarity.draw_words import (
    WORD_DRAWS,
    count_draws,
    filled_before,
    pack_draws,
    unpack_draws,
)
from hrsa.similarity.knn_chance import SCORES, Score, score_overlap
from hrsa.similarity.knn_shared import NeighbourPair
from hrsa.similarity.neighbours import Neighbours
from hrsa.statistics.deletion import MIN_SAMPLES
from hrsa.statistics.paired_deletion import paired_interval
from hrsa.statistics.resampling import Interval

# Share of a draw's tokens that may be left out of it because their lists ran out.
MOST_RUN_OUT = 0.01
# Words in one table of a group of rows (1 MiB), and the rows of a group.
_GROUP_WORDS = 2**17
_GROUP_ROWS = (64, 4096)
# Entry of no list: beyond the end of every table.
_NOWHERE = np.iinfo(np.int64).max


@dataclass(frozen=True, eq=False)
class DeletionValues:
    """A pair's scores at one k without the deleted samples; arrays of shape (n_draws,).

    Attributes
    ----------
    scores : dict of score to numpy.ndarray
        Mean over the tokens that are left; NaN where none is.
    n_run_out : numpy.ndarray of int64
        Tokens that are left but whose list holds fewer than k survivors: not in the mean.
    n_tokens : numpy.ndarray of int64
        Tokens that are left, those run out included.
    """

    scores: dict[Score, np.ndarray]
    n_run_out: np.ndarray
    n_tokens: np.ndarray

    @property
    def share_run_out(self) -> float:
        """Largest share of a draw's tokens whose lists ran out."""
        if not len(self.n_tokens):
            return 0.0
        return float((self.n_run_out / np.maximum(self.n_tokens, 1)).max())


def overlap_interval(
    value: float, score: Score, k: int, found: DeletionValues, deleted: np.ndarray
) -> tuple[Interval, str]:
    """95 % interval of a mean score from its deletion draws, and what its note should say.

    Parameters
    ----------
    value : float
        The score on all tokens.
    score : {"jaccard", "overlap"}
    k : int
        Size of the neighbourhood.
    found : DeletionValues
        Of that k.
    deleted : numpy.ndarray of bool, shape (n_draws, n_samples)
        See `hrsa.statistics.paired_deletion.paired_deletions`.

    Returns
    -------
    Interval
        All None with too few samples, or when the lists of more than 1 % of a draw's tokens ran
        out.
    note : str
    """
    n_samples = deleted.shape[1]
    if not len(deleted):
        return (
            Interval(),
            f"no interval: needs {MIN_SAMPLES} samples at least, there are {n_samples}",
        )
    share = found.share_run_out
    if share > MOST_RUN_OUT:
        return Interval(), (
            f"no interval: without some of the samples, the neighbours known of {share:.1%} of "
            f"tokens are fewer than {k}: read a smaller k"
        )
    most = int(found.n_run_out.max())
    note = f"tokens left out of a draw whose known neighbours ran out: at most {most}"
    return paired_interval(value, found.scores[score], n_samples), note if most else ""


def deletion_values(
    pair: NeighbourPair, ks: Sequence[int], codes: np.ndarray, deleted: np.ndarray
) -> dict[int, DeletionValues]:
    """Score what two models' neighbourhoods share after each draw of deleted samples.

    Members and ties are decided anew among the rows that are left, as if the neighbours were
    computed from them alone.

    Parameters
    ----------
    pair : NeighbourPair
        Neighbours, more than k of each row.
    ks : sequence of int
        Sizes of neighbourhood.
    codes : numpy.ndarray of int64, shape (n_rows,)
        Sample of each row, numbered from 0.
    deleted : numpy.ndarray of bool, shape (n_draws, n_samples)
        True where a sample is deleted.

    Returns
    -------
    dict of int to DeletionValues
        For each k.
    """
    tied = _rows_with_ties(pair.a) | _rows_with_ties(pair.b)
    parts: dict[int, list[np.ndarray]] = {k: [np.zeros((len(SCORES) + 2, 0))] for k in ks}
    for start in range(0, len(deleted), WORD_DRAWS):
        kept = ~deleted[start : start + WORD_DRAWS, codes]
        for k, sums in _sums_of_word(pair, ks, kept, tied).items():
            parts[k].append(sums)
    return {k: _means(np.concatenate(found, axis=1)) for k, found in parts.items()}


def _means(sums: np.ndarray) -> DeletionValues:
    """Turn sums over tokens (scores, then tokens used, then tokens left; × n_draws) into means."""
    *totals, n_used, n_left = sums
    with np.errstate(invalid="ignore"):
        scores = {score: total / n_used for score, total in zip(SCORES, totals, strict=True)}
    return DeletionValues(scores, (n_left - n_used).astype(np.int64), n_left.astype(np.int64))


def _sums_of_word(
    pair: NeighbourPair, ks: Sequence[int], kept: np.ndarray, tied: np.ndarray
) -> dict[int, np.ndarray]:
    """Sums over tokens of the draws that fit one word; ``kept`` (n_draws × n_rows)."""
    n_draws = len(kept)
    words = pack_draws(kept)
    sums = {k: np.zeros((len(SCORES) + 2, n_draws)) for k in ks}
    for rows, has_ties in _groups(pair, tied):
        group = _Group(pair, rows, words, n_draws, has_ties)
        left = unpack_draws(words[rows], n_draws).astype(bool)
        for k in ks:
            weight, known = group.shared_weight(k)
            used = left & known
            for place, score in enumerate(SCORES):
                values = score_overlap(weight, k, score)
                sums[k][place] += np.where(used, values, 0).sum(axis=0)
            sums[k][-2] += used.sum(axis=0)
            sums[k][-1] += left.sum(axis=0)
    return sums


def _groups(pair: NeighbourPair, tied: np.ndarray) -> Iterator[tuple[np.ndarray, bool]]:
    """Split rows in groups of bounded tables: lists without ties first, then the longest first."""
    lengths = np.maximum(np.diff(pair.a.starts), np.diff(pair.b.starts))
    for has_ties in (False, True):
        rows = np.flatnonzero(tied == has_ties)
        rows = rows[np.argsort(-lengths[rows], kind="stable")]
        while len(rows):
            height = int(np.clip(_GROUP_WORDS // lengths[rows[0]], *_GROUP_ROWS))
            yield np.sort(rows[:height]), has_ties
            rows = rows[height:]


def _rows_with_ties(neighbours: Neighbours) -> np.ndarray:
    """Rows (n_rows,) in whose list two entries that follow one another are tied."""
    distance = neighbours.distance.astype(np.float64)
    tied = np.diff(distance) <= TIE_TOLERANCE
    tied[neighbours.starts[1:-1] - 1] = False  # the last of one list and the first of the next
    found = np.zeros(len(neighbours.n_allowed), dtype=bool)
    found[neighbours.row[:-1][tied]] = True
    return found


class _Group:
    """Some rows' lists of both models, laid out for all draws of a word."""

    def __init__(
        self,
        pair: NeighbourPair,
        rows: np.ndarray,
        words: np.ndarray,
        n_draws: int,
        has_ties: bool,
    ) -> None:
        lists = _TiedLists if has_ties else _PlainLists
        self._n_draws = n_draws
        self._sides = tuple(lists(side, rows, words, n_draws) for side in (pair.a, pair.b))
        place, beyond = _lay_out(pair.starts, rows)
        column = np.arange(len(rows))
        # Common neighbours as (place in the list · n_columns + column).
        self._common = []
        for side, entry in ((pair.a, pair.in_a), (pair.b, pair.in_b)):
            of_row = entry[np.where(beyond, 0, place)]
            within = (of_row - side.starts[rows]) * len(rows) + column
            self._common.append(np.where(beyond, _NOWHERE, within))
        # They are in the order of the second list: how many may be among its first p entries.
        self._first_place = self._common[1].min(axis=1) // len(rows)

    def shared_weight(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Σ_j min(w_A, w_B), and whether the list reached k, of each row and draw."""
        a, b = (side.members(k) for side in self._sides)
        n_common = int(np.searchsorted(self._first_place, b.n_places))
        in_a, in_b = (places[:n_common] for places in self._common)

        def count(of_a: np.ndarray, of_b: np.ndarray) -> np.ndarray:
            return count_draws(of_a & of_b, self._n_draws)

        known = unpack_draws(a.known & b.known, self._n_draws).astype(bool)
        full_a, full_b = a.full.take(in_a, mode="clip"), b.full.take(in_b, mode="clip")
        weight = count(full_a, full_b).astype(np.float64)
        if a.tied is not None and b.tied is not None:
            tied_a, tied_b = a.tied.take(in_a, mode="clip"), b.tied.take(in_b, mode="clip")
            weight += b.share * count(full_a, tied_b) + a.share * count(tied_a, full_b)
            weight += np.minimum(a.share, b.share) * count(tied_a, tied_b)
        return np.where(known, weight, 0), known


@dataclass(frozen=True, eq=False)
class _Members:
    """Who is among the k nearest survivors, draw by draw.

    ``full`` and ``tied`` are tables (n_places × n_columns) of words, flat, with a word 0 at their
    end for what is in no list: members of weight 1, and members of weight ``share``
    (n_columns × n_draws). Without ties in the lists ``tied`` is None. ``known`` (n_columns,) tells
    in which draws the list holds k survivors and all that tie with the k-th.
    """

    full: np.ndarray
    tied: np.ndarray | None
    share: np.ndarray | float
    known: np.ndarray
    n_places: int


class _PlainLists:
    """Lists of rows in which no two entries tie."""

    def __init__(
        self, neighbours: Neighbours, rows: np.ndarray, words: np.ndarray, n_draws: int
    ) -> None:
        place, beyond = _lay_out(neighbours.starts, rows)
        self._n_draws = n_draws
        self._alive = _alive(neighbours, place, beyond, words)

    def members(self, k: int) -> _Members:
        """The first k survivors."""
        filled = filled_before(self._alive, k, self._n_draws)
        n_places = len(filled) - 1
        full = self._alive[:n_places] & ~filled[:-1]
        return _Members(_flat(full), None, 1.0, filled[-1], n_places)


class _TiedLists:
    """Lists of rows that hold ties.

    The k-th survivor is at different places in different draws. With ``up`` the number of entries
    that are nearer than an entry or tied with it, and ``down`` of those that are nearer and not
    tied: an entry is a member unless k survivors are among the first ``down``, and is nearer than
    all that tie with the k-th unless k are among the first ``up``.
    """

    def __init__(
        self, neighbours: Neighbours, rows: np.ndarray, words: np.ndarray, n_draws: int
    ) -> None:
        place, beyond = _lay_out(neighbours.starts, rows)
        self._n_draws = n_draws
        self._alive = _alive(neighbours, place, beyond, words)
        distance = np.where(beyond, np.inf, neighbours.distance[np.where(beyond, 0, place)])
        self._down, self._up = _tie_bounds(distance.astype(np.float32))
        # Past the list's last wanted distance, what ties with an entry may be missing from it.
        lengths = np.diff(neighbours.starts)[rows]
        last = distance[neighbours.n_neighbours - 1]
        complete = lengths == neighbours.n_allowed[rows]
        self._n_known = np.where(complete, lengths, (distance <= last).sum(axis=0))
        self._least_down = self._down.min(axis=1)

    def members(self, k: int) -> _Members:
        """The k nearest survivors with all that tie with the last, who share what is left."""
        filled = filled_before(self._alive, k, self._n_draws)
        n_read = len(filled) - 1
        n_places = int(np.searchsorted(self._least_down, n_read))
        alive = self._alive[:n_places]
        member = alive & ~_pick(filled, self._down[:n_places])
        full = member & ~_pick(filled, self._up[:n_places])
        tied = member & ~full
        n_full, n_tied = (count_draws(table, self._n_draws) for table in (full, tied))
        share = (k - n_full) / np.maximum(n_tied, 1)
        known = _pick(filled, self._n_known[None, :])[0]
        return _Members(_flat(full), _flat(tied), share, known, n_places)


def _lay_out(starts: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Entries of rows' lists as columns (n_places × n_columns), and where a list has ended."""
    lengths = starts[rows + 1] - starts[rows]
    place = np.arange(lengths.max())[:, None]
    return starts[rows] + place, place >= lengths


def _alive(
    neighbours: Neighbours, place: np.ndarray, beyond: np.ndarray, words: np.ndarray
) -> np.ndarray:
    found = words[neighbours.index[np.where(beyond, 0, place)]]
    found[beyond] = 0
    return found


def _pick(filled: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Read each column of ``filled`` at its own places; past its end it stays as it is there."""
    n_columns = filled.shape[1]
    within = np.minimum(places, len(filled) - 1) * n_columns
    within += np.arange(n_columns)
    return filled.ravel().take(within)


def _flat(table: np.ndarray) -> np.ndarray:
    return np.append(table.ravel(), np.uint64(0))


def _tie_bounds(distance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count for each entry those nearer and not tied, and those nearer or tied.

    Parameters
    ----------
    distance : numpy.ndarray of float32, shape (n_places, n_columns)
        Rising down each column, infinite past the end of a list.

    Returns
    -------
    down, up : numpy.ndarray of int64, shape (n_places, n_columns)
    """
    n_places, n_columns = distance.shape
    place = np.arange(n_places)[:, None]
    exact = distance.astype(np.float64)
    # Where a run of entries that tie one with the next starts; mostly the whole run is tied.
    with np.errstate(invalid="ignore"):
        starts = np.diff(exact, axis=0, prepend=-np.inf) > TIE_TOLERANCE
    starts |= np.isinf(exact)
    down = np.maximum.accumulate(np.where(starts, place, 0), axis=0)
    ends = np.concatenate([np.where(starts[1:], place[1:], n_places), [[n_places] * n_columns]])
    up = np.minimum.accumulate(ends[::-1], axis=0)[::-1]
    with np.errstate(invalid="ignore"):
        longer = exact - np.take_along_axis(exact, down, axis=0) > TIE_TOLERANCE
    columns = np.flatnonzero(longer.any(axis=0))
    if len(columns):
        down[:, columns], up[:, columns] = _searched_tie_bounds(distance[:, columns])
    return down, up


def _searched_tie_bounds(distance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bounds by search, for runs in which the first and the last are not tied."""
    n_places, n_columns = distance.shape
    exact = distance.T.astype(np.float64)
    with np.errstate(invalid="ignore"):
        low = np.maximum(exact - TIE_TOLERANCE, 0).astype(np.float32)
        low = np.where(exact - low > TIE_TOLERANCE, np.nextafter(low, np.float32(np.inf)), low)
        high = (exact + TIE_TOLERANCE).astype(np.float32)
        high = np.where(high - exact > TIE_TOLERANCE, np.nextafter(high, np.float32(0)), high)
    keys = _sort_keys(distance.T)
    first = np.arange(n_columns)[:, None] * n_places
    down = np.searchsorted(keys, _sort_keys(low), side="left").reshape(exact.shape) - first
    up = np.searchsorted(keys, _sort_keys(high), side="right").reshape(exact.shape) - first
    return down.T, up.T


def _sort_keys(distance: np.ndarray) -> np.ndarray:
    """Whole numbers in the order of (row, distance): bits of positive floats are in their order."""
    bits = np.ascontiguousarray(distance).view(np.int32).astype(np.int64)
    return (bits + (np.arange(len(bits))[:, None] << 32)).ravel()

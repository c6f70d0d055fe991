"""What the score of a task is computed from, item by item, and the score again from it.

Each type of task keeps a tidy frame, whose first column is `item`, an id of the corpus:

========================  =======================================  =============================
type                      other columns                            main score
========================  =======================================  =============================
Classification            value (1: right, 0: wrong), experiment   mean of value: accuracy
Classification (others)   label, predicted, experiment             F1, precision, recall, average
                                                                   precision: mean over
                                                                   experiments
MultilabelClassification  value (1: all labels right), experiment  mean of value: accuracy
Retrieval, Reranking      value: nDCG@10 (or the task's own main   mean of value
                          score) of the query
BitextMining              value: F1 of the sentence, correct,      mean of value: weighted F1
                          found
Clustering                label, cluster, experiment, and where    V-measure, mean over
                          they are needed level, times (drawn)     experiments and levels
STS                       gold, similarity (cosine)                Spearman's rank correlation
PairClassification        label, the columns of `PAIR_SCORES`      average precision, the best of
                                                                   them
========================  =======================================  =============================

A frame of several runs, which differ in what they draw, has a column `seed` too, and its score is
the mean over seeds of each seed's score, whatever texts each of them drew
(`hrsa.benchmarks.value_means`). Other types whose frames have a `value` are read as means of it.

A task with several splits or subsets has the columns `split` and `subset`, and its score is the
mean of theirs, each counting the same, as in `mteb` (`TaskResult.get_score`). Ids are unique within
a split and subset. Rows of one id in several of them belong together, since subsets often hold
translations of the same texts in the same order: they are resampled together and left out together.
Where they have nothing to do with each other, that does no harm (`hrsa.benchmarks.paired_items`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import numpy as np
import pandas as pd

from hrsa.benchmarks.value_means import item_means, resampled_means
from hrsa.errors import UserError

# The similarities of pairs that mteb scores: our column, its name for them, and the sign that makes
# the larger ones the more similar.
PAIR_SCORES: dict[str, tuple[str, int]] = {
    "similarity": ("similarity_scores", 1),
    "cosine": ("cosine_scores", 1),
    "manhattan": ("manhattan_distances", -1),
    "euclidean": ("euclidean_distances", -1),
    "dot": ("dot_scores", 1),
}
STRATA = ("split", "subset")
CHUNK = 4_000_000  # numbers in an array of resamples × items, which bounds the memory
_Score = Callable[..., np.ndarray]  # of items and counts


def strata(items: pd.DataFrame) -> list[pd.DataFrame]:
    """Items of each split and subset, in the order of their names.

    Parameters
    ----------
    items : DataFrame
        What a task kept (see above).

    Returns
    -------
    list of DataFrame
        The frame itself where it has no such columns, or one value in each.
    """
    by = _strata_columns(items)
    return [part for _, part in items.groupby(by, sort=True, observed=True)] if by else [items]


def count_items(items: pd.DataFrame) -> int:
    """How many items there are, those of each split and subset counted for themselves."""
    return len(items[[*_strata_columns(items), "item"]].drop_duplicates())


def item_values(
    task_type: str, items: pd.DataFrame, *, metric: str | None = None
) -> pd.Series | None:
    """Value of each item, where the main score is their mean.

    Parameters
    ----------
    task_type : str
        `mteb`'s type of the task.
    items : DataFrame
        What the task kept (see above).
    metric : str, optional
        Name of the main score; None: the usual one of the type.

    Returns
    -------
    Series of float, shape (n_items,), indexed by `item`, sorted, or None
        Values are averaged over an item's experiments and seeds, so that the mean over items is the
        score; where seeds drew other texts, see `hrsa.benchmarks.value_means.item_means`. Where
        there are several splits or subsets, they are levels of the index before `item`. None where
        the score is no mean: clustering, STS and pair classification, and classification by other
        scores than accuracy.
    """
    if _score_function(task_type, items, metric) is not None or "value" not in items:
        return None
    by = _strata_columns(items)
    if not by:
        return item_means(items)
    parts = items.groupby(by if len(by) > 1 else by[0], sort=True, observed=True)
    return pd.concat({name: item_means(part) for name, part in parts}, names=[*by, "item"])


def score_of_items(task_type: str, items: pd.DataFrame, *, metric: str | None = None) -> float:
    """`mteb`'s main score, computed from the kept items.

    Parameters
    ----------
    task_type : str
    items : DataFrame
    metric : str, optional
        Name of the main score; None: the usual one of the type.

    Returns
    -------
    float
        `mteb` rounds the mean nDCG of a retrieval to five decimals; this does not.

    Raises
    ------
    UserError
        The items of this type are not known, and they have no `value`; or the main score cannot be
        computed from them.
    """
    n_items = items["item"].nunique()
    counts = np.ones((1, n_items), dtype=int)
    return float(resampled_scores(task_type, items, counts, metric=metric)[0])


def resampled_scores(
    task_type: str, items: pd.DataFrame, counts: np.ndarray, *, metric: str | None = None
) -> np.ndarray:
    """Main score of each resample of the items, what was fitted to them held fixed.

    Parameters
    ----------
    task_type : str
    items : DataFrame
    counts : int array, shape (n_resamples, n_items)
        How often each item is in a resample; items in the order of their sorted ids. An id that is
        in several splits or subsets has one column, which counts in all of them.
    metric : str, optional
        Name of the main score; None: the usual one of the type.

    Returns
    -------
    float array, shape (n_resamples,)
        Mean over splits and subsets. NaN where the score of one of them is undefined, as it is for
        a resample without any of its items.

    Raises
    ------
    UserError
        The items of this type are not known, and they have no `value`; or the main score cannot be
        computed from them.
    """
    ids = pd.Index(items["item"].unique()).sort_values()
    parts = strata(items)
    scores = np.zeros(len(counts))
    for part in parts:
        score = _score_function(task_type, part, metric) or partial(_mean, task_type)
        part = part.sort_values("item", kind="stable")
        places = ids.get_indexer(part["item"].unique())
        own = counts if len(places) == len(ids) else counts[:, places]
        scores += _in_chunks(partial(score, part), own)
    return scores / len(parts)


def sentence_f1(found: np.ndarray, right: np.ndarray | None = None) -> np.ndarray:
    """Each sentence's part in the weighted F1 of bitext mining.

    A sentence is a class with one member, so that its recall is whether it was found, and its
    precision that over how often it was found: F1 is 2 / (1 + times found), or 0 for a wrong one.

    Parameters
    ----------
    found : int array, shape (n_sentences,)
        Place of the sentence that is nearest to each.
    right : int array, shape (n_sentences,), optional
        Place of the right one, another for each sentence; None: its own place.

    Returns
    -------
    float array, shape (n_sentences,)
    """
    right = np.arange(len(found)) if right is None else right
    times = np.bincount(found, minlength=int(right.max(initial=-1)) + 1)[right]
    return np.where(found == right, 2 / (1 + times), 0.0)


def _strata_columns(items: pd.DataFrame) -> list[str]:
    return [name for name in STRATA if name in items and items[name].nunique() > 1]


def _score_function(task_type: str, items: pd.DataFrame, metric: str | None) -> _Score | None:
    """How the score of one split and subset is computed; None: as a mean of values."""
    if task_type == "Classification" and "value" not in items and "predicted" in items:
        return partial(_classification, metric=metric or "accuracy")
    if task_type == "STS" and metric is not None and metric.endswith("pearson"):
        return partial(_correlation, ranks=False)
    return SCORES.get(task_type)


def _in_chunks(score: Callable[[np.ndarray], np.ndarray], counts: np.ndarray) -> np.ndarray:
    n_chunks = max(1, -(-counts.size // CHUNK))
    with np.errstate(invalid="ignore", divide="ignore"):
        scores = np.concatenate([score(some) for some in np.array_split(counts, n_chunks)])
    return np.where(counts.any(axis=1), scores, np.nan)


def _mean(task_type: str, items: pd.DataFrame, counts: np.ndarray) -> np.ndarray:
    if "value" not in items:
        raise UserError(
            f"No score can be computed from the items of a task of type {task_type!r}: they have "
            f"no column `value`, and the types that need none are {', '.join(SCORES)}."
        )
    return resampled_means(items, counts)


def _runs(items: pd.DataFrame) -> list[np.ndarray]:
    """Rows of each experiment (of each seed and level)."""
    by = [name for name in ("seed", "level", "experiment") if name in items]
    if not by:
        return [np.arange(len(items))]
    runs = items.groupby(by, sort=True).ngroup().to_numpy()
    return [np.flatnonzero(runs == run) for run in range(runs.max() + 1)]


def _summed(codes: np.ndarray, weights: np.ndarray, n_codes: int) -> np.ndarray:
    """Sum of the weights of each code: (n_resamples, n_rows) to (n_resamples, n_codes)."""
    from scipy.sparse import csr_array

    rows = np.arange(len(codes))
    return weights @ csr_array((np.ones(len(codes)), (rows, codes)), shape=(len(codes), n_codes))


def _mean_over_runs(score: _Score) -> _Score:
    """The mean of a score over experiments (of each seed and level)."""

    @wraps(score)
    def mean(items: pd.DataFrame, counts: np.ndarray, **options: Any) -> np.ndarray:
        runs = _runs(items)
        if len(runs) == 1 and items["item"].is_unique:  # its rows are the columns of the counts
            return score(items, counts, **options)
        of_item = pd.factorize(items["item"])[0]
        scores = [score(items.iloc[rows], counts[:, of_item[rows]], **options) for rows in runs]
        return np.asarray(np.mean(scores, axis=0))

    return mean


@_mean_over_runs
def _classification(items: pd.DataFrame, weights: np.ndarray, *, metric: str) -> np.ndarray:
    """Score of predicted labels in each resample of texts."""
    labels, predicted = items["label"].to_numpy(), items["predicted"].to_numpy()
    return _of_labels(labels, predicted, weights, metric)


def _of_labels(
    labels: np.ndarray, predicted: np.ndarray, weights: np.ndarray, metric: str
) -> np.ndarray:
    """Accuracy, F1, precision, recall or average precision as scikit-learn defines them.

    `weights` are how often each row counts, shape (n_resamples, n_rows).
    """
    name, _, average = metric.partition("_")
    if average not in ("", "weighted") or metric == "accuracy_weighted":
        raise _unknown(metric)
    if name == "accuracy":
        return weights @ (labels == predicted) / weights.sum(axis=1)
    if name == "ap":
        return _average_precision((labels == 1).astype(int), predicted.astype(float), weights)
    codes, classes = pd.factorize(np.concatenate([labels, predicted]))
    true, taken = codes[: len(labels)], codes[len(labels) :]
    of_true, of_taken = (_summed(one, weights, len(classes)) for one in (true, taken))
    right = _summed(true, weights * (true == taken), len(classes))
    parts = {"f1": (of_true + of_taken) / 2, "precision": of_taken, "recall": of_true}
    if name not in parts:
        raise _unknown(metric)
    whole = parts[name]
    scores = np.divide(right, whole, out=np.zeros_like(right), where=whole > 0)
    # a class that a resample has neither as a label nor as a prediction does not count
    shares = of_true if average else (of_true + of_taken > 0).astype(float)
    return (scores * shares).sum(axis=1) / shares.sum(axis=1)


def _unknown(metric: str) -> UserError:
    return UserError(
        f"The score {metric!r} cannot be computed from labels and predicted labels; accuracy, f1, "
        "precision, recall and ap can, the last four also with `_weighted`."
    )


@_mean_over_runs
def _v_measures(items: pd.DataFrame, counts: np.ndarray) -> np.ndarray:
    """V-measure of each resample of texts."""
    weights = counts * (items["times"].to_numpy() if "times" in items else 1)
    found = _v_measure(items, weights / weights.sum(axis=1, keepdims=True))
    return np.where(weights.any(axis=1), found, np.nan)


def _v_measure(items: pd.DataFrame, shares: np.ndarray) -> np.ndarray:
    """V = 2 I(labels; clusters) / (H(labels) + H(clusters)), Rosenberg & Hirschberg (2007).

    `shares` of the rows in each resample, shape (n_resamples, n_rows).
    """
    labels, clusters = (pd.factorize(items[name])[0] for name in ("label", "cluster"))
    cells = pd.factorize(labels * (clusters.max() + 1) + clusters)[0]  # that hold any text
    of_labels, of_clusters, of_cells = (
        _entropy(_summed(codes, shares, codes.max() + 1)) for codes in (labels, clusters, cells)
    )
    both = of_labels + of_clusters
    # one label and one cluster fit each other
    return np.where(both > 0, 2 * (both - of_cells) / np.where(both > 0, both, 1), 1.0)


def _entropy(shares: np.ndarray) -> np.ndarray:
    return -(shares * np.log(np.where(shares > 0, shares, 1))).sum(axis=-1)


@_mean_over_runs
def _correlation(items: pd.DataFrame, counts: np.ndarray, *, ranks: bool = True) -> np.ndarray:
    """Correlation of gold and similarity, Spearman's (of ranks) or Pearson's.

    NaN where one of them is constant.
    """
    weights = counts / counts.sum(axis=1, keepdims=True)
    centred = _centred_ranks if ranks else _centred
    gold, similarity = (
        centred(items[column].to_numpy(), weights) for column in ("gold", "similarity")
    )
    covariance = (weights * gold * similarity).sum(axis=1)
    variances = (weights * gold**2).sum(axis=1) * (weights * similarity**2).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return covariance / np.sqrt(variances)


def _centred(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    values = values - values[0]  # so that a constant is 0 in spite of rounding
    return values - (weights @ values)[:, None]


def _centred_ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean rank of each value less the mean of all, where each occurs as often as its weight.

    Ranks are shares of the resample, whose weights add up to 1, so that their mean is ½.
    """
    distinct, places = np.unique(values, return_inverse=True)
    of_value = _summed(places, weights, len(distinct))
    upto = np.cumsum(of_value, axis=1)
    # half the sum, not ½, so that the ranks of a constant are 0 in spite of rounding
    return (upto - of_value / 2 - upto[:, -1:] / 2)[:, places]


@_mean_over_runs
def _best_average_precision(items: pd.DataFrame, counts: np.ndarray) -> np.ndarray:
    """Average precision by each similarity, the best of them in each resample."""
    labels = items["label"].to_numpy()
    columns = [column for column in PAIR_SCORES if column in items]
    scores = [_average_precision(labels, items[name].to_numpy(), counts) for name in columns]
    return np.max(scores, axis=0)


def _average_precision(labels: np.ndarray, scores: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Σ (recall_k − recall_{k−1}) · precision_k over the distinct scores, from the largest."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)  # of the pairs with one score
    weights = counts[:, order]
    found = np.cumsum(weights * labels[order], axis=1)[:, last].astype(float)
    taken = np.cumsum(weights, axis=1)[:, last].astype(float)
    precision = np.divide(found, taken, out=np.zeros_like(found), where=taken > 0)
    with np.errstate(invalid="ignore"):
        return (np.diff(found, axis=1, prepend=0) * precision).sum(axis=1) / found[:, -1]


# Scores that are no means of items.
SCORES: dict[str, _Score] = {
    "Clustering": _v_measures,
    "STS": _correlation,
    "PairClassification": _best_average_precision,
}

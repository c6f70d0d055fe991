"""What the score of a task is computed from, item by item, and the score again from it.

Each type of task keeps a tidy frame, whose first column is `item`, an id of the corpus:

==================  =======================================  ===================================
type                other columns                            main score
==================  =======================================  ===================================
Classification      value (1: right, 0: wrong), experiment   mean of value: accuracy
Retrieval           value: nDCG@10 of the query              mean of value
BitextMining        value: F1 of the sentence, correct,      mean of value: weighted F1
                    found
Clustering          label, cluster, experiment               V-measure, mean over experiments
STS                 gold, similarity (cosine)                Spearman's rank correlation
PairClassification  label, the columns of `PAIR_SCORES`      average precision, the best of them
==================  =======================================  ===================================

A frame of several runs, which differ in what they draw, has a column `seed` too. Other types whose
frames have a `value` are read as means of it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

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


def item_values(task_type: str, items: pd.DataFrame) -> pd.Series | None:
    """Value of each item, where the main score is their mean.

    Parameters
    ----------
    task_type : str
        `mteb`'s type of the task.
    items : DataFrame
        What the task kept (see above).

    Returns
    -------
    Series of float, shape (n_items,), indexed by `item`, sorted, or None
        Values are averaged over an item's experiments and seeds. None where the score is no mean:
        clustering, STS and pair classification.
    """
    if task_type in SCORES or "value" not in items:
        return None
    return items.groupby("item", sort=True)["value"].mean()


def score_of_items(task_type: str, items: pd.DataFrame) -> float:
    """`mteb`'s main score, computed from the kept items.

    Parameters
    ----------
    task_type : str
    items : DataFrame

    Returns
    -------
    float
        `mteb` rounds the mean nDCG of a retrieval to five decimals; this does not.

    Raises
    ------
    UserError
        The items of this type are not known, and they have no `value`.
    """
    n_items = items["item"].nunique()
    return float(resampled_scores(task_type, items, np.ones((1, n_items), dtype=int))[0])


def resampled_scores(task_type: str, items: pd.DataFrame, counts: np.ndarray) -> np.ndarray:
    """Main score of each resample of the items, what was fitted to them held fixed.

    Parameters
    ----------
    task_type : str
    items : DataFrame
    counts : int array, shape (n_resamples, n_items)
        How often each item is in a resample; items in the order of their sorted ids.

    Returns
    -------
    float array, shape (n_resamples,)

    Raises
    ------
    UserError
        The items of this type are not known, and they have no `value`.
    """
    if task_type in SCORES:
        return SCORES[task_type](items.sort_values("item", kind="stable"), counts)
    values = item_values(task_type, items)
    if values is None:
        raise UserError(
            f"No score can be computed from the items of a task of type {task_type!r}: they have "
            f"no column `value`, and the types that need none are {', '.join(SCORES)}."
        )
    return counts @ values.to_numpy() / counts.sum(axis=1)


def sentence_f1(found: np.ndarray) -> np.ndarray:
    """Each sentence's part in the weighted F1 of bitext mining.

    A sentence is a class with one member, so that its recall is whether it was found, and its
    precision that over how often it was found: F1 is 2 / (1 + times found), or 0 for a wrong one.

    Parameters
    ----------
    found : int array, shape (n_sentences,)
        Place of the sentence that is nearest to each; its own place is the right one.

    Returns
    -------
    float array, shape (n_sentences,)
    """
    times = np.bincount(found, minlength=len(found))
    return np.where(found == np.arange(len(found)), 2 / (1 + times), 0.0)


def _v_measures(items: pd.DataFrame, counts: np.ndarray) -> np.ndarray:
    """V-measure of each resample of texts, mean over experiments (and seeds)."""
    of_item, labels, clusters = (
        pd.factorize(items[name])[0] for name in ("item", "label", "cluster")
    )
    runs = items.groupby([name for name in ("seed", "experiment") if name in items]).ngroup()
    scores = []
    for run in range(runs.max() + 1):
        rows = (runs == run).to_numpy()
        # how often each item is in each cell of labels × clusters
        cells = np.zeros((counts.shape[1], labels.max() + 1, clusters.max() + 1))
        np.add.at(cells, (of_item[rows], labels[rows], clusters[rows]), 1)
        tables = np.tensordot(counts.astype(float), cells, axes=1)
        scores.append(_v_measure(tables / tables.sum(axis=(1, 2), keepdims=True)))
    return np.mean(scores, axis=0)


def _v_measure(joint: np.ndarray) -> np.ndarray:
    """V = 2 I(labels; clusters) / (H(labels) + H(clusters)), Rosenberg & Hirschberg (2007).

    `joint` are frequencies, shape (n_tables, n_labels, n_clusters).
    """
    both = _entropy(joint.sum(axis=2)) + _entropy(joint.sum(axis=1))
    shared = both - _entropy(joint.reshape(len(joint), -1))
    # one label and one cluster fit each other
    return np.where(both > 0, 2 * shared / np.where(both > 0, both, 1), 1.0)


def _entropy(shares: np.ndarray) -> np.ndarray:
    return -(shares * np.log(np.where(shares > 0, shares, 1))).sum(axis=-1)


def _spearman(items: pd.DataFrame, counts: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of gold and similarity; NaN where one of them is constant."""
    weights = counts / counts.sum(axis=1, keepdims=True)
    gold, similarity = (
        _centred_ranks(items[column].to_numpy(), weights) for column in ("gold", "similarity")
    )
    covariance = (weights * gold * similarity).sum(axis=1)
    variances = (weights * gold**2).sum(axis=1) * (weights * similarity**2).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return covariance / np.sqrt(variances)


def _centred_ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean rank of each value less the mean of all, where each occurs as often as its weight.

    Ranks are shares of the resample, whose weights add up to 1, so that their mean is ½.
    """
    distinct, places = np.unique(values, return_inverse=True)
    of_value = weights @ np.eye(len(distinct))[places]
    return (np.cumsum(of_value, axis=1) - of_value / 2)[:, places] - 0.5


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
SCORES: dict[str, Callable[[pd.DataFrame, np.ndarray], np.ndarray]] = {
    "Clustering": _v_measures,
    "STS": _spearman,
    "PairClassification": _best_average_precision,
}

"""Items of any `mteb` task, from what a model predicted and the task's loaded data.

`mteb.evaluate(…, prediction_folder=…)` writes what a model predicted (rankings, labels, clusters,
similarities), not what each item scored. Here predictions and data are put together as
`hrsa.benchmarks.items` keeps them, and checked: items are given only where the task's score, as
`mteb` reports it, is computed from them again. Predictions are taken before they are written, since
a file of the rankings of a large task has gigabytes, which `mteb` reads again for each subset.

How the items of each type are made:

- retrieval and reranking: `mteb`'s own scores of each query (`calculate_retrieval_scores`, `mrr`);
  of tasks on changed instructions, p-MRR of each query by the task's own scoring;
- classification: labels of the test texts, or of each fold's, and whether they were predicted;
- pairs and STS: labels or grades, and the similarities;
- bitext mining: F1 of each sentence; where all languages have the same sentences
  (`parallel_subsets`), its mean over the pairs of languages, of which there may be 41,412, so that
  the subset of all is "parallel";
- clustering: the texts that `mteb` drew are drawn again from the task's seed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from datasets import Dataset, DatasetDict
from mteb.abstasks.abstask import _multilabel_subsampling
from mteb.abstasks.classification import AbsTaskClassification
from mteb.abstasks.clustering import AbsTaskClustering
from mteb.abstasks.clustering_legacy import AbsTaskClusteringLegacy
from mteb.abstasks.multilabel_classification import AbsTaskMultilabelClassification
from mteb.abstasks.pair_classification import AbsTaskPairClassification
from mteb.abstasks.regression import AbsTaskRegression
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.sts import AbsTaskSTS
from mteb.abstasks.text.bitext_mining import AbsTaskBitextMining
from sklearn.model_selection import KFold
from sklearn.preprocessing import MultiLabelBinarizer

from hrsa.benchmarks.items import PAIR_SCORES, STRATA, score_of_items, sentence_f1
from hrsa.benchmarks.machine_faults import raise_fault
from hrsa.benchmarks.query_scores import scores_of_queries
from hrsa.benchmarks.task_data import NoItems, data_of, ids_of
from hrsa.errors import UserError

__all__ = ["Predictions", "check_items", "predicted_items"]

PARALLEL = "parallel"  # `mteb`'s name for all pairs of languages of such a task
_Parts = Iterator[tuple[str, str, pd.DataFrame]]  # split, subset, items
ROUNDED = 6e-6  # `mteb` rounds means over queries to five decimals
EXACT = 1e-9
NOTHING = "no items: "  # how the reason begins
# `mteb`'s similarities of pairs of texts with grades, by the beginning of the main score.
OF_PAIR = {
    "cosine_": "cosine_scores",
    "manhattan_": "manhattan_distances",
    "euclidean_": "euclidean_distances",
    "": "similarity_scores",
}


# Data or predictions of a form that only some task has, or that a new `mteb` brings.
UNEXPECTED = (LookupError, TypeError, ValueError, AttributeError, OSError)


class Predictions:
    """Takes what a model predicts on a task in place of the file that `mteb` would write.

    Parameters
    ----------
    task : `mteb` task
        Its data loaded, and then evaluated once with some `prediction_folder`, to which nothing is
        written.

    Attributes
    ----------
    found : dict
        By subset and split; of a retrieval not the rankings, but the score of each query.
    """

    def __init__(self, task: Any) -> None:
        self.task = task
        self.found: dict[str, dict[str, Any]] = {}
        task._save_task_predictions = self._take

    def _take(
        self, predictions: Any, model: Any, folder: Path, hf_split: str, hf_subset: str
    ) -> None:
        kept = predictions
        if isinstance(self.task, AbsTaskRetrieval):
            try:
                kept = scores_of_queries(self.task, predictions, hf_split, hf_subset)
            except (NoItems, *UNEXPECTED) as reason:
                raise_fault(reason)
                kept = reason  # an evaluation goes on, whether there are items or not
        self.found.setdefault(hf_subset, {})[hf_split] = kept


def predicted_items(
    task: Any, predictions: Predictions, result: Any
) -> tuple[pd.DataFrame | None, str]:
    """What the score of a task is computed from, item by item.

    Parameters
    ----------
    task : `mteb` task
        Evaluated once, with its data loaded before (`mteb` forgets what it loaded itself).
    predictions : Predictions
        What the model predicted.
    result : `mteb.results.TaskResult`
        What the evaluation gave.

    Returns
    -------
    DataFrame or None
        Columns `item` (the data's own id, or else the number of the row), `split`, `subset`, and
        those of the type (`hrsa.benchmarks.items`). None where there are no items, or where the
        task's score is not computed from them again (to 1e-9; 6e-6 where `mteb` rounds).
    str
        "", or why there are none. Nothing is raised: a score without its items is still a score.
    """
    try:
        items = _items(task, predictions.found, result)
        check_items(task, items, result)
    except (NoItems, UserError) as reason:
        return None, f"{NOTHING}{reason}"
    except UNEXPECTED as error:
        raise_fault(error)
        return None, f"{NOTHING}mteb's predictions are not as expected ({error!r})"
    return items, ""


def check_items(task: Any, items: pd.DataFrame, result: Any) -> None:
    """Refuse items that a task's score, as `mteb` reports it, is not computed from.

    Raises
    ------
    NoItems
        They give another score.
    UserError
        They give none.
    """
    metric = task.metadata.main_score
    found = score_of_items(task.metadata.type, items, metric=metric)
    expected = float(result.get_score())
    same = abs(found - expected) <= _tolerance(task)
    if not same and not (math.isnan(found) and math.isnan(expected)):
        raise NoItems(f"they give {metric} {found:.6f}, and mteb {expected:.6f}")


def _tolerance(task: Any) -> float:
    if task.is_aggregate:
        return max(map(_tolerance, task.metadata.tasks))
    return ROUNDED if isinstance(task, AbsTaskRetrieval) else EXACT


def _items(task: Any, predictions: Mapping[str, Any], result: Any) -> pd.DataFrame:
    make = next((make for kind, make in _MAKERS.items() if isinstance(task, kind)), None)
    if make is None or isinstance(task, AbsTaskRegression):
        raise NoItems(f"none are known of tasks of type {task.metadata.type}")
    if not task.data_loaded:
        raise NoItems("the task's data were not kept in memory")
    if not predictions:
        raise NoItems("mteb gave no predictions")
    parts = [
        part.assign(**dict(zip(STRATA, (split, subset), strict=True)))
        for split, subset, part in make(task, predictions, result)
    ]
    items = pd.concat(parts, ignore_index=True)
    return items[["item", *STRATA, *(name for name in items if name not in ("item", *STRATA))]]


def _strata(result: Any) -> Iterator[tuple[str, str]]:
    """Split and subset of each score, in the order in which they were computed."""
    for split, scores in result.scores.items():
        for score in scores:
            yield split, score["hf_subset"]


def _retrieval(task: Any, predictions: Mapping[str, Any], result: Any) -> _Parts:
    for split, subset in _strata(result):
        values = predictions[subset][split]
        if isinstance(values, Exception):
            raise values
        yield split, subset, pd.DataFrame(values.items(), columns=["item", "value"])


def _classification(task: Any, predictions: Mapping[str, Any], result: Any) -> _Parts:
    keeps_values = task.metadata.main_score == "accuracy" and not task.is_cross_validation
    for split, subset in _strata(result):
        data = data_of(task, subset)[split]
        ids, labels = ids_of(data), np.asarray(list(data[task.label_column_name]))
        parts = []
        for experiment, predicted in enumerate(predictions[subset][split]):
            rows = _tested_rows(task, len(labels), experiment)
            right, own = labels[rows], np.asarray(predicted)
            scored = {"value": (own == right).astype(float)}
            columns = scored if keeps_values else {"label": right, "predicted": own}
            parts.append(pd.DataFrame({"item": ids[rows], **columns, "experiment": experiment}))
        yield split, subset, pd.concat(parts, ignore_index=True)


def _tested_rows(task: Any, n_rows: int, experiment: int) -> np.ndarray:
    """All rows, or those of one fold, as `AbsTaskClassification` makes the folds."""
    if not task.is_cross_validation:
        return np.arange(n_rows)
    folds = KFold(n_splits=task.n_splits, shuffle=True, random_state=task.seed)
    return [tested for _, tested in folds.split(range(n_rows))][experiment]


def _multilabel(task: Any, predictions: Mapping[str, Any], result: Any) -> _Parts:
    if task.metadata.main_score != "accuracy":
        raise NoItems(f"{task.metadata.main_score} is no mean over texts")
    for split, subset in _strata(result):
        ids, labels = _tested_texts(task, data_of(task, subset)[split], split)
        right = MultiLabelBinarizer().fit_transform(labels)
        found = np.asarray(predictions[subset][split])
        values = (found == right).all(axis=2).astype(float)
        n_experiments, n_texts = values.shape
        columns = {
            "item": np.tile(ids, n_experiments),
            "value": values.ravel(),
            "experiment": np.repeat(np.arange(n_experiments), n_texts),
        }
        yield split, subset, pd.DataFrame(columns)


def _tested_texts(task: Any, data: Dataset, split: str) -> tuple[np.ndarray, list[list[Any]]]:
    """Ids and labels of the texts that were tested, of many a sample by `mteb`'s function."""
    ids, labels = ids_of(data), list(data[task.label_column_name])
    if task.max_eval_samples is None or len(labels) <= task.max_eval_samples:
        return ids, labels
    numbered = Dataset.from_dict({"row": range(len(labels)), "labels": labels})
    sample = _multilabel_subsampling(
        DatasetDict({split: numbered}),
        seed=task.seed,
        splits=[split],
        label="labels",
        n_samples=task.max_eval_samples,
    )[split]
    return ids[np.asarray(list(sample["row"]))], list(sample["labels"])


def _pairs(task: Any, predictions: Mapping[str, Any], result: Any) -> _Parts:
    similarity, _, score = task.metadata.main_score.rpartition("_")
    columns = list(PAIR_SCORES) if similarity == "max" else [similarity]
    if score != "ap" or not {*columns} <= {*PAIR_SCORES}:
        raise NoItems(f"{task.metadata.main_score} is no average precision")
    for split, subset in _strata(result):
        data = data_of(task, subset)[split]
        if len(data) == 1:  # older data sets are one row
            data = Dataset.from_dict(data[0])
        found = predictions[subset][split]
        scores = {
            column: sign * np.asarray(found[theirs])
            for column, (theirs, sign) in PAIR_SCORES.items()
            if column in columns
        }
        labels = np.asarray(list(data[task.label_column_name]), dtype=np.int64)
        yield split, subset, pd.DataFrame({"item": ids_of(data), "label": labels, **scores})


def _sts(task: Any, predictions: Mapping[str, Any], result: Any) -> _Parts:
    metric = task.metadata.main_score
    name = OF_PAIR.get(metric.removesuffix("spearman").removesuffix("pearson"))
    if name is None:
        raise NoItems(f"{metric} is no correlation that mteb computes of pairs")
    for split, subset in _strata(result):
        data, found = data_of(task, subset)[split], predictions[subset][split]
        similarity = found[name] if found[name] is not None else found["cosine_scores"]
        gold = np.asarray(list(data["score"]), dtype=float)
        columns = {"gold": gold, "similarity": similarity}
        yield split, subset, pd.DataFrame({"item": ids_of(data), **columns})


def _bitext(task: Any, predictions: Mapping[str, Any], result: Any) -> _Parts:
    if task.metadata.main_score not in ("f1", "accuracy"):
        raise NoItems(f"{task.metadata.main_score} is no mean over sentences")
    if task.parallel_subsets:
        yield from _parallel_bitext(task, predictions, result)
        return
    for split, subset in _strata(result):
        data = data_of(task, subset)[split]
        (neighbours,) = predictions[subset][split].values()
        gold = data["gold"] if isinstance(data, dict) and "gold" in data else None
        yield split, subset, _sentences(task, ids_of(data)[: len(neighbours)], neighbours, gold)


def _parallel_bitext(task: Any, predictions: Mapping[str, Any], result: Any) -> _Parts:
    """Values of each sentence, mean over the pairs of languages, which have the same sentences."""
    for split in result.scores:
        ids = ids_of(task.dataset[split])
        found = predictions[PARALLEL][split]
        values, correct = np.zeros(len(ids)), np.zeros(len(ids))
        for neighbours in found.values():
            part = _sentences(task, ids, neighbours, None)
            values += part["value"].to_numpy()
            correct += part["correct"].to_numpy()
        columns = {"value": values / len(found), "correct": correct / len(found)}
        yield split, PARALLEL, pd.DataFrame({"item": ids, **columns})


def _sentences(
    task: Any, ids: np.ndarray, neighbours: list[dict[str, Any]], gold: Any
) -> pd.DataFrame:
    found = np.array([one["corpus_id"] for one in neighbours])
    right = np.arange(len(found)) if gold is None else np.array([pair[1] for pair in gold])
    right = right[: len(found)]
    correct = found == right
    by_f1 = task.metadata.main_score == "f1"
    values = sentence_f1(found, right) if by_f1 else correct.astype(float)
    columns = {"item": ids, "value": values, "correct": correct, "found": found.astype(str)}
    return pd.DataFrame(columns)


def _clustering(task: Any, predictions: Mapping[str, Any], result: Any) -> _Parts:
    """Draw again what `mteb` drew, in its order; a text has one row, and how many `times`."""
    rng = random.Random(task.seed)
    for split, subset in _strata(result):
        data = data_of(task, subset)[split]
        embedded = _embedded(task, len(data), rng)
        ids, labels = ids_of(data)[embedded], list(data[task.label_column_name])
        levels = [
            labels[row] if isinstance(labels[row], list) else [labels[row]] for row in embedded
        ]
        parts = []
        for level, experiments in enumerate(predictions[subset][split].values()):
            of_level = np.array([own[level] if len(own) > level else -1 for own in levels])
            rows = np.flatnonzero([label != -1 for label in of_level])  # never so of words
            for experiment, clusters in enumerate(experiments):
                drawn = rng.choices(range(len(rows)), k=task.max_documents_per_cluster)
                texts = rows[drawn]
                columns = {"item": ids[texts], "label": of_level[texts], "cluster": clusters}
                part = pd.DataFrame(columns).value_counts(sort=False).rename("times").reset_index()
                parts.append(part.assign(level=level, experiment=experiment))
        yield split, subset, pd.concat(parts, ignore_index=True)
    if rng.getstate() != task.rng_state.getstate():
        raise NoItems("which texts were drawn is not known: the task was run before, or by parts")


def _embedded(task: Any, n_texts: int, rng: random.Random) -> list[int]:
    """Texts that were embedded, all or a sample of them."""
    share, most = task.max_fraction_of_documents_to_embed, task.max_document_to_embed
    if share is None and most is None:
        return list(range(n_texts))
    wanted = int(share * n_texts) if share is not None else most
    return rng.sample(range(n_texts), k=min(n_texts, wanted))


def _legacy_clustering(task: Any, predictions: Mapping[str, Any], result: Any) -> _Parts:
    """Each row of the data is a set of texts that is clustered for itself."""
    if task.metadata.modalities != ["text"]:
        raise NoItems("clusters of other things than texts are not read")
    for split, subset in _strata(result):
        found = iter(predictions[subset][split])
        parts = []
        for number, row in enumerate(data_of(task, subset)[split]):
            labels = row[task.label_column_name]
            # `mteb` does not cluster a set of one label, and gives it a score of 1
            clusters = next(found) if len(set(labels)) > 1 else [0] * len(labels)
            ids = [f"{number}-{place}" for place in range(len(labels))]
            columns = {"item": ids, "label": labels, "cluster": clusters, "experiment": number}
            parts.append(pd.DataFrame(columns))
        yield split, subset, pd.concat(parts, ignore_index=True)


# The first that a task is an instance of.
_MAKERS: dict[type, Callable[[Any, Mapping[str, Any], Any], _Parts]] = {
    AbsTaskRetrieval: _retrieval,
    AbsTaskMultilabelClassification: _multilabel,
    AbsTaskClassification: _classification,
    AbsTaskPairClassification: _pairs,
    AbsTaskSTS: _sts,
    AbsTaskBitextMining: _bitext,
    AbsTaskClustering: _clustering,
    AbsTaskClusteringLegacy: _legacy_clustering,
}

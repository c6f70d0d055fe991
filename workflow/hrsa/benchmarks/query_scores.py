"""The main score of each query of a retrieval, by `mteb`'s own functions."""

from __future__ import annotations

import logging
from typing import Any

from mteb._evaluators.retrieval_metrics import calculate_retrieval_scores, mrr

from hrsa.benchmarks.task_data import NoItems, data_of

# `mteb`'s main score of a ranking, less its cut, and what its scores of a query are called.
OF_QUERY = {
    "ndcg": "ndcg_cut_",
    "map": "map_cut_",
    "recall": "recall_",
    "precision": "P_",
    "hit_rate": "success_",
}


def scores_of_queries(
    task: Any, rankings: dict[str, dict[str, float]], split: str, subset: str
) -> dict[str, float]:
    """The main score of each query.

    Parameters
    ----------
    task : `mteb` task
        Its data loaded.
    rankings : dict
        By query, the scores of the documents that were found.
    split, subset : str

    Raises
    ------
    NoItems
        The main score is no mean of scores of single queries.
    """
    qrels = data_of(task, subset)[split]["relevant_docs"]
    return _of_queries(task, _as_scored(task, rankings), qrels, split, subset)


def _as_scored(task: Any, results: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Rankings without what the task does not count; `mteb` saves them before it leaves it out."""
    if task.ignore_identical_ids:
        results = {
            query: {document: score for document, score in found.items() if document != query}
            for query, found in results.items()
        }
    if task.skip_first_result:
        results = {
            query: dict(sorted(found.items(), key=lambda one: one[1], reverse=True)[1:])
            for query, found in results.items()
        }
    return results


def _of_queries(
    task: Any,
    results: dict[str, dict[str, float]],
    qrels: dict[str, dict[str, int]],
    split: str,
    subset: str,
) -> dict[str, float]:
    """The main score of each query, by `mteb`'s own functions."""
    metric = task.metadata.main_score
    if metric == "p-MRR":
        return _of_changed_queries(task, results, qrels, split, subset)
    name, _, cut = ("recall_at_1" if metric == "accuracy" else metric).partition("_at_")
    if not cut.isdigit() or (name not in OF_QUERY and name != "mrr"):
        raise NoItems(f"{metric} is no mean of scores of single queries")
    if name == "mrr":
        values = mrr(qrels, results, [int(cut)])[f"MRR@{cut}"]
        return dict(zip(results, values, strict=True))
    scores = calculate_retrieval_scores(results, qrels, [int(cut)]).all_scores
    return {query: values[OF_QUERY[name] + cut] for query, values in scores.items()}


def _of_changed_queries(
    task: Any,
    results: dict[str, dict[str, float]],
    qrels: dict[str, dict[str, int]],
    split: str,
    subset: str,
) -> dict[str, float]:
    """p-MRR of each query, which is asked with its own instruction (-og) and a changed one."""
    values = {}
    for query in sorted({one.rpartition("-")[0] for one in results}):
        asked = [f"{query}-og", f"{query}-changed"]
        pair = {one: results[one] for one in asked}
        own = {one: qrels[one] for one in asked}
        logging.disable(logging.WARNING)  # of each other query, that it is not there
        try:
            scored = task.task_specific_scores({}, own, pair, split, subset)
        finally:
            logging.disable(logging.NOTSET)
        values[query] = float(scored["p-MRR"])
    return values

"""Which documents answer a query: by shared topic words and synonyms, and by solution method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from datasets import Dataset
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData
from mteb.abstasks.task_metadata import TaskMetadata

from hrsa.benchmarks.local_task import COMMON, LocalTask

CUT = 10


class LocalRetrieval(LocalTask, AbsTaskRetrieval):
    """Documents for a query, ranked by cosine similarity (BM25: by its own score), nDCG@10.

    Data: ``<files>-documents.parquet`` and ``<files>-queries.parquet`` (id, text),
    ``<files>-qrels.parquet`` (query, document, score).
    """

    item = "query"
    draws_samples = False
    k_values: Sequence[int] = (1, 3, 5, 10, 20, 100)
    files: ClassVar[str]

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        """Read documents, relevance, and the queries that have a relevant document."""
        if self.data_loaded:
            return
        relevance = self.read(f"{self.files}-qrels")
        relevant: dict[str, dict[str, int]] = {
            str(query): dict(zip(rows["document"], rows["score"].astype(int), strict=True))
            for query, rows in relevance.groupby("query", sort=True)
        }
        queries = self.read(f"{self.files}-queries")
        self.dataset = {
            "default": {
                "test": RetrievalSplitData(
                    corpus=_texts(self.read(f"{self.files}-documents")),
                    queries=_texts(queries[queries["id"].isin(relevant)]),
                    relevant_docs=relevant,
                    top_ranked=None,
                )
            }
        }
        self._scores: dict[str, float] = {}
        self.data_loaded = True

    def items(self) -> pd.DataFrame:
        """nDCG@10 of each query."""
        return pd.DataFrame(sorted(self._scores.items()), columns=["item", "value"])

    def chance(self) -> float:
        """nDCG@10 to be expected of a ranking at random."""
        data = self.dataset["default"]["test"]
        discounts = 1 / np.log2(np.arange(CUT) + 2)
        n_documents = len(data["corpus"])
        relevant = [len(documents) for documents in data["relevant_docs"].values()]
        expected = [n / n_documents * discounts.sum() / discounts[:n].sum() for n in relevant]
        return float(np.mean(expected))

    def task_specific_scores(
        self, scores: dict[str, dict[str, float]], *args: Any, **kwargs: Any
    ) -> dict[str, float]:
        """Keep the queries' own nDCG@10, which `mteb` averages; add no score."""
        self._scores = {query: values["ndcg_cut_10"] for query, values in scores.items()}
        return {}


class TopicRetrieval(LocalRetrieval):
    """Documents about the three concepts that a query names, by the same words or others."""

    files = "retrieval"
    metadata = TaskMetadata(
        name="TopicRetrieval",
        description="Which generated documents answer a generated query.",
        type="Retrieval",
        category="t2t",
        main_score="ndcg_at_10",
        **COMMON,
    )


class SolutionRetrieval(LocalRetrieval):
    """Worked problems that are solved in the same way as the query, whatever they tell of.

    In the spirit of BRIGHT (`hrsa.data.solutions`): six methods, so that a random ranking has
    nDCG@10 0.167. BM25, which finds documents that tell of the same person, things and place, has
    0.13 to 0.15 (six draws of 240 documents and 100 queries).
    """

    files = "solution"
    metadata = TaskMetadata(
        name="SolutionRetrieval",
        description="Which worked problems are solved by the method that a problem needs.",
        type="Retrieval",
        category="t2t",
        main_score="ndcg_at_10",
        **COMMON,
    )


def _texts(frame: pd.DataFrame) -> Dataset:
    return Dataset.from_dict({"id": frame["id"].tolist(), "text": frame["text"].tolist()})

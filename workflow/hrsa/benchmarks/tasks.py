"""Benchmark tasks of `mteb` whose data are Parquet files of the study.

A task is its metadata and the way from files to `mteb`'s data sets; all scoring is `mteb`'s. Beside
`mteb`'s scores a task keeps the score of every item (query, text), which intervals and paired
differences are computed from.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from datasets import Dataset, DatasetDict
from mteb.abstasks.classification import AbsTaskClassification, ClassificationMetrics
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData
from mteb.abstasks.task_metadata import TaskMetadata

from hrsa.errors import UserError

SUITE = "local"
COMMON: dict[str, Any] = {
    "dataset": {"path": "local", "revision": "local"},
    "modalities": ["text"],
    "eval_splits": ["test"],
    "eval_langs": ["eng-Latn"],
    "sample_creation": "created",
    "annotations_creators": "derived",
}


class LocalTask:
    """What the study's own tasks add to `mteb`'s: where their files lie, and scores per item."""

    item: ClassVar[str]  # what one item is
    draws_samples: ClassVar[bool]  # whether the seed of a run decides anything

    def __init__(self, corpus: Path, *, seed: int = 42) -> None:
        self.corpus = Path(corpus)
        super().__init__(seed=seed)  # type: ignore[call-arg]

    def read(self, name: str) -> pd.DataFrame:
        """Read one of the task's files, refusing an absent or empty one."""
        path = self.corpus / f"{name}.parquet"
        if not path.exists():
            raise UserError(
                f"The benchmark task {type(self).__name__} needs {path}, which does not exist. "
                "Generate the corpus, or leave the task out of `benchmarks: tasks:`."
            )
        frame = pd.read_parquet(path)
        if frame.empty:
            raise UserError(
                f"The benchmark task {type(self).__name__} cannot be run: {path} holds no rows. "
                "Give it texts, or leave the task out of `benchmarks: tasks:`."
            )
        return frame

    @abstractmethod
    def item_scores(self) -> pd.Series:
        """Score of each item in the last run, indexed by item id; their mean is the main score."""


class TopicClassification(LocalTask, AbsTaskClassification):
    """Topic of a text by logistic regression on a few embedded texts of each topic.

    The scores are accuracies: `mteb` draws `samples_per_label` training texts of each topic ten
    times, fits, and averages. Data: ``topics.parquet`` (id, text, label, split).
    """

    item = "text"
    draws_samples = True
    metadata = TaskMetadata(
        name="TopicClassification",
        description="Which topic a generated text is about.",
        type="Classification",
        category="t2c",
        main_score="accuracy",
        **COMMON,
    )

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        """Read the training and test texts; topics are numbered in alphabetical order."""
        if self.data_loaded:
            return
        topics = self.read("topics").sort_values("id", kind="stable")
        codes = {label: code for code, label in enumerate(sorted(set(topics["label"])))}
        self.dataset = DatasetDict()
        for split in ("train", "test"):
            rows = topics[topics["split"] == split]
            if rows.empty:
                raise UserError(
                    f"The benchmark task TopicClassification needs texts of the split {split!r} in "
                    f"{self.corpus / 'topics.parquet'}, which has only "
                    f"{sorted(set(topics['split']))}."
                )
            self.dataset[split] = Dataset.from_dict(
                {"text": rows["text"].tolist(), "label": rows["label"].map(codes).tolist()}
            )
        self._ids = topics.loc[topics["split"] == "test", "id"].tolist()
        self._correct: list[np.ndarray] = []
        self.data_loaded = True

    def item_scores(self) -> pd.Series:
        """Share of the experiments in which each test text got its right topic."""
        return pd.Series(np.mean(self._correct, axis=0), index=self._ids)

    def _calculate_scores(self, y_test: Any, y_pred: Any) -> ClassificationMetrics:
        # The one place where mteb hands over the predictions of each experiment.
        self._correct.append(np.asarray(y_test) == np.asarray(y_pred))
        return super()._calculate_scores(y_test, y_pred)


class TopicRetrieval(LocalTask, AbsTaskRetrieval):
    """Documents for a query, ranked by cosine similarity (BM25: by its own score), nDCG@10.

    Data: ``retrieval-documents.parquet`` and ``retrieval-queries.parquet`` (id, text),
    ``retrieval-qrels.parquet`` (query, document, score).
    """

    item = "query"
    draws_samples = False
    k_values: Sequence[int] = (1, 3, 5, 10, 20, 100)
    metadata = TaskMetadata(
        name="TopicRetrieval",
        description="Which generated documents answer a generated query.",
        type="Retrieval",
        category="t2t",
        main_score="ndcg_at_10",
        **COMMON,
    )

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        """Read documents, relevance, and the queries that have a relevant document."""
        if self.data_loaded:
            return
        relevance = self.read("retrieval-qrels")
        relevant: dict[str, dict[str, int]] = {
            str(query): dict(zip(rows["document"], rows["score"].astype(int), strict=True))
            for query, rows in relevance.groupby("query", sort=True)
        }
        queries = self.read("retrieval-queries")
        self.dataset = {
            "default": {
                "test": RetrievalSplitData(
                    corpus=_texts(self.read("retrieval-documents")),
                    queries=_texts(queries[queries["id"].isin(relevant)]),
                    relevant_docs=relevant,
                    top_ranked=None,
                )
            }
        }
        self._scores: dict[str, float] = {}
        self.data_loaded = True

    def item_scores(self) -> pd.Series:
        """nDCG@10 of each query."""
        return pd.Series(self._scores).sort_index()

    def task_specific_scores(
        self, scores: dict[str, dict[str, float]], *args: Any, **kwargs: Any
    ) -> dict[str, float]:
        """Keep the queries' own nDCG@10, which `mteb` averages; add no score."""
        self._scores = {query: values["ndcg_cut_10"] for query, values in scores.items()}
        return {}


LOCAL_TASKS: dict[str, type[LocalTask]] = {
    task.__name__: task for task in (TopicClassification, TopicRetrieval)
}


def local_tasks(names: Iterable[str], corpus: Path, *, seed: int = 42) -> list[Any]:
    """Make the study's own tasks by name.

    Parameters
    ----------
    names
        Keys of `LOCAL_TASKS`.
    corpus
        Folder with the Parquet files.
    seed
        Decides which training texts a classification task draws.

    Returns
    -------
    list of `LocalTask`, each also an `mteb` task
        Data are read when a task is run.

    Raises
    ------
    UserError
        There is no task of that name.
    """
    return [_task_class(name)(corpus, seed=seed) for name in names]


def _task_class(name: str) -> type[LocalTask]:
    if name not in LOCAL_TASKS:
        near = get_close_matches(name, LOCAL_TASKS, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UserError(
            f"There is no benchmark task {name!r} (`benchmarks: tasks:`).{hint} "
            f"Known tasks are {', '.join(sorted(LOCAL_TASKS))}."
        )
    return LOCAL_TASKS[name]


def _texts(frame: pd.DataFrame) -> Dataset:
    ordered = frame.sort_values("id", kind="stable")
    return Dataset.from_dict({"id": ordered["id"].tolist(), "text": ordered["text"].tolist()})

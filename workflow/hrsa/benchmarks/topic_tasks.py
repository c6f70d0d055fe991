"""Which topic a generated text is about: by a classifier, and by clusters.

Both read ``topics.parquet`` (id, text, label, split); the texts that are clustered are those that
are classified, so that a cache embeds them once.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pandas as pd
from datasets import Dataset, DatasetDict
from mteb.abstasks.classification import AbsTaskClassification
from mteb.abstasks.clustering import AbsTaskClustering
from mteb.abstasks.task_metadata import TaskMetadata

from hrsa.benchmarks.items import score_of_items
from hrsa.benchmarks.local_task import COMMON, KeepsPredictions, LocalTask
from hrsa.errors import UserError

DEALT_TOPICS = 5  # each is scored in all experiments


class TopicTask(LocalTask):
    """A task on ``topics.parquet``."""

    item = "text"
    draws_samples = True

    def read_topics(self) -> tuple[pd.DataFrame, dict[str, int]]:
        """Texts in the order of their ids, and each topic's number, in alphabetical order."""
        topics = self.read("topics")
        return topics, {label: code for code, label in enumerate(sorted(set(topics["label"])))}

    def of_split(self, topics: pd.DataFrame, split: str) -> pd.DataFrame:
        """The texts of one split, refusing an empty one."""
        rows = topics[topics["split"] == split]
        if rows.empty:
            raise UserError(
                f"The benchmark task {type(self).__name__} needs texts of the split {split!r} in "
                f"{self.corpus / 'topics.parquet'}, which has only {sorted(set(topics['split']))}."
            )
        return rows


class TopicClassification(KeepsPredictions, TopicTask, AbsTaskClassification):
    """Topic of a text by logistic regression on a few embedded texts of each topic.

    The scores are accuracies: `mteb` draws `samples_per_label` training texts of each topic ten
    times, fits, and averages. Chance is one in the number of topics (eight).
    """

    drawn = "training texts"
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
        topics, codes = self.read_topics()
        self.dataset = DatasetDict()
        for split in ("train", "test"):
            rows = self.of_split(topics, split)
            self.dataset[split] = Dataset.from_dict(
                {"text": rows["text"].tolist(), "label": rows["label"].map(codes).tolist()}
            )
        tested = self.of_split(topics, "test")
        self._ids, self._labels = tested["id"].tolist(), tested["label"].map(codes).to_numpy()
        self.data_loaded = True

    def _calculate_scores(self, y_test: Any, y_pred: Any) -> Any:
        # A column of a data set is read row by row, anew for each of `mteb`'s seven scores.
        return super()._calculate_scores(np.asarray(y_test[:]), y_pred)

    def items(self) -> pd.DataFrame:
        """Whether each test text got its right topic, in each experiment."""
        right = np.asarray(self.predictions) == self._labels
        n_experiments, n_texts = right.shape
        return pd.DataFrame(
            {
                "item": self._ids * n_experiments,
                "value": right.ravel().astype(float),
                "experiment": np.repeat(np.arange(n_experiments), n_texts),
            }
        )

    def chance(self) -> float:
        """One in the number of topics."""
        return 1 / len(set(self._labels))


class TopicClustering(KeepsPredictions, TopicTask, AbsTaskClustering):
    """Topics as clusters of embedded texts: k-means with as many clusters as there are topics.

    `mteb` draws `max_documents_per_cluster` of the test texts ten times, with replacement, clusters
    them, and averages the V-measures (Rosenberg & Hirschberg, 2007). Clusters at random have a
    V-measure above 0, the more so the fewer texts there are: 0.08 with 320 texts of eight topics.
    """

    drawn = "clustered texts"
    max_fraction_of_documents_to_embed = None
    max_documents_per_cluster = 512
    metadata = TaskMetadata(
        name="TopicClustering",
        description="Generated texts by topic, without being told the topics.",
        type="Clustering",
        category="t2c",
        main_score="v_measure",
        **COMMON,
    )

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        """Read the test texts; topics are numbered in alphabetical order."""
        if self.data_loaded:
            return
        topics, codes = self.read_topics()
        rows = self.of_split(topics, "test")
        self._ids, self._labels = rows["id"].to_numpy(), rows["label"].map(codes).to_numpy()
        self.dataset = DatasetDict(
            test=Dataset.from_dict(
                {"sentences": rows["text"].tolist(), "labels": self._labels.tolist()}
            )
        )
        self.data_loaded = True

    def _evaluate_subset(self, *args: Any, **kwargs: Any) -> Any:
        # mteb keeps no record of the texts that it draws: `items` draws them again, from here.
        self._before_draws = self.rng_state.getstate()
        return super()._evaluate_subset(*args, **kwargs)

    def items(self) -> pd.DataFrame:
        """Topic and cluster of each text that was drawn, in each experiment."""
        rng = random.Random()
        rng.setstate(self._before_draws)
        parts = []
        for experiment, clusters in enumerate(self.predictions["Level 0"]):
            drawn = rng.choices(range(len(self._ids)), k=self.max_documents_per_cluster)
            columns = {
                "item": self._ids[drawn],
                "label": self._labels[drawn],
                "cluster": clusters,
                "experiment": experiment,
            }
            parts.append(pd.DataFrame(columns))
        return pd.concat(parts, ignore_index=True)

    def chance(self) -> float:
        """V-measure of the clusters of the last run when the texts' topics are dealt out anew."""
        rng = np.random.default_rng(0)
        items = self.items()
        dealt = [
            dict(zip(self._ids, rng.permutation(self._labels), strict=True))
            for _ in range(DEALT_TOPICS)
        ]
        scores = [
            score_of_items("Clustering", items.assign(label=items["item"].map(topics)))
            for topics in dealt
        ]
        return float(np.mean(scores))

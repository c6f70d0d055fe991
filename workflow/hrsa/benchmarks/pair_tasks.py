"""How alike the two texts of a pair are: graded (STS), and the same fact or not."""

from __future__ import annotations

from typing import Any

import pandas as pd
from datasets import Dataset, DatasetDict
from mteb.abstasks.pair_classification import AbsTaskPairClassification
from mteb.abstasks.sts import AbsTaskSTS
from mteb.abstasks.task_metadata import TaskMetadata

from hrsa.benchmarks.items import PAIR_SCORES
from hrsa.benchmarks.local_task import COMMON, KeepsPredictions, LocalTask


class TextSimilarity(KeepsPredictions, LocalTask, AbsTaskSTS):
    """Share of concepts that two texts have in common, against the cosine of their embeddings.

    Spearman's rank correlation; chance is 0. The texts name what they share by different words
    (`hrsa.data.similar_texts`). Data: ``similar-texts.parquet`` (id, sentence1, sentence2, score
    from 0 to 1).
    """

    item = "pair"
    draws_samples = False
    min_score = 0
    max_score = 1
    metadata = TaskMetadata(
        name="TextSimilarity",
        description="How many concepts two generated texts have in common.",
        type="STS",
        category="t2t",
        main_score="cosine_spearman",
        **COMMON,
    )

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        """Read the pairs."""
        if self.data_loaded:
            return
        self._pairs = self.read("similar-texts")
        self.dataset = _data_set(self._pairs, score="score")
        self.data_loaded = True

    def items(self) -> pd.DataFrame:
        """Gold score and cosine of each pair."""
        return pd.DataFrame(
            {
                "item": self._pairs["id"].tolist(),
                "gold": self._pairs["score"].tolist(),
                "similarity": self.predictions["cosine_scores"],
            }
        )

    def chance(self) -> float:
        """No correlation."""
        return 0.0


class ParaphrasePairs(KeepsPredictions, LocalTask, AbsTaskPairClassification):
    """Whether two sentences state one fact in other words, or the second is a near miss.

    Average precision of the similarities, half of the pairs being paraphrases: chance is 0.5, and a
    little more here, since `mteb` reports the best of five similarities ("max_ap", the main score
    of its own tasks). Data: ``paraphrases.parquet`` (id, sentence1, sentence2, label).
    """

    item = "pair"
    draws_samples = False
    metadata = TaskMetadata(
        name="ParaphrasePairs",
        description="Whether two generated sentences state the same fact.",
        type="PairClassification",
        category="t2t",
        main_score="max_ap",
        **COMMON,
    )

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        """Read the pairs."""
        if self.data_loaded:
            return
        self._pairs = self.read("paraphrases")
        self.dataset = _data_set(self._pairs, labels="label")
        self.data_loaded = True

    def items(self) -> pd.DataFrame:
        """Label and similarities of each pair, the larger the more alike."""
        scores = {
            column: [sign * score for score in self.predictions[theirs]]
            for column, (theirs, sign) in PAIR_SCORES.items()
        }
        labels = {"item": self._pairs["id"].tolist(), "label": self._pairs["label"].tolist()}
        return pd.DataFrame(labels | scores)

    def chance(self) -> float:
        """Share of paraphrases, the average precision of one similarity that says nothing."""
        return float(self._pairs["label"].mean())


def _data_set(frame: pd.DataFrame, **renamed: str) -> DatasetDict:
    columns = {"sentence1": "sentence1", "sentence2": "sentence2", **renamed}
    return DatasetDict(
        test=Dataset.from_dict({ours: frame[name].tolist() for ours, name in columns.items()})
    )

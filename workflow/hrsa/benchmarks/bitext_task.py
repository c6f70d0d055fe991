"""Which sentence of a second language says the same as an English one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from datasets import Dataset, DatasetDict
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.abstasks.text.bitext_mining import AbsTaskBitextMining

from hrsa.benchmarks.items import sentence_f1
from hrsa.benchmarks.local_task import COMMON, KeepsPredictions, LocalTask


class WordLanguageBitext(KeepsPredictions, LocalTask, AbsTaskBitextMining):
    """The nearest sentence of the second language for each English one, weighted F1.

    The language is `hrsa.data.second_language`: English words respelt by one rule, with other
    endings and another order. No training text of the corpus is in it: a model that was trained on
    the corpus alone has never seen it, and its score says what carries over to a strange spelling,
    not how well it reads the language. Chance is below one in the number of sentences. Data:
    ``bitext.parquet`` (id, english, second).
    """

    item = "sentence"
    draws_samples = False
    metadata = TaskMetadata(
        name="WordLanguageBitext",
        description="Which sentence of a generated language translates an English one.",
        type="BitextMining",
        category="t2t",
        main_score="f1",
        # "mis": ISO 639-3 for a language that has no code
        **(COMMON | {"eval_langs": ["eng-Latn", "mis-Latn"]}),
    )

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        """Read the sentences of both languages."""
        if self.data_loaded:
            return
        sentences = self.read("bitext")
        columns = {"sentence1": sentences["english"], "sentence2": sentences["second"]}
        self.dataset = DatasetDict(
            test=Dataset.from_dict({name: texts.tolist() for name, texts in columns.items()})
        )
        self._ids = sentences["id"].to_numpy()
        self.data_loaded = True

    def items(self) -> pd.DataFrame:
        """F1 of each sentence, and the id of the sentence that was found for it."""
        neighbours = self.predictions["sentence1-sentence2"]
        found = np.asarray([neighbour["corpus_id"] for neighbour in neighbours])
        return pd.DataFrame(
            {
                "item": self._ids,
                "value": sentence_f1(found),
                "correct": found == np.arange(len(found)),
                "found": self._ids[found],
            }
        )

    def chance(self) -> float:
        """F1 where every sentence is found equally often: (2/e) / n for n sentences.

        A sentence is right with probability 1/n and found by about Poisson(1) others, and
        E[2 / (2 + Poisson(1))] = 2/e.
        """
        return 2 / np.e / len(self._ids)

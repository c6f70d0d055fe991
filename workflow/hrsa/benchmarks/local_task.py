"""What the study's own benchmark tasks add to `mteb`'s: where their files lie, and what is kept.

A task is its metadata and the way from files to `mteb`'s data sets; all scoring is `mteb`'s. Beside
`mteb`'s scores a task keeps, item by item, what its score is computed from (`hrsa.benchmarks.items`
says in which columns), for intervals and for paired differences.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

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
    """A task whose data are Parquet files of the study."""

    item: ClassVar[str]  # what one item is
    draws_samples: ClassVar[bool]  # whether the seed of a run decides anything
    drawn: ClassVar[str] = ""  # what the seed draws, in words

    def __init__(self, corpus: Path, *, seed: int = 42) -> None:
        self.corpus = Path(corpus)
        super().__init__(seed=seed)  # type: ignore[call-arg]

    def read(self, name: str) -> pd.DataFrame:
        """Read one of the task's files in the order of its ids, refusing an absent or empty one."""
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
        return frame.sort_values("id", kind="stable") if "id" in frame else frame

    @abstractmethod
    def items(self) -> pd.DataFrame:
        """What the score of the last run was computed from (`hrsa.benchmarks.items`)."""

    @abstractmethod
    def chance(self) -> float:
        """Score to be expected of embeddings that say nothing, with the data of the last run."""


class KeepsPredictions:
    """Keeps in memory what `mteb` would write to a folder of predictions.

    `mteb` hands over a task's predictions only where it is given a folder for them. This names one
    where none was given, and writes to it only where one was.
    """

    predictions: Any

    def _evaluate_subset(
        self, *args: Any, prediction_folder: Path | None = None, **kwargs: Any
    ) -> Any:
        self._writes_predictions = prediction_folder is not None
        return super()._evaluate_subset(  # type: ignore[misc]
            *args, prediction_folder=prediction_folder or Path("nowhere"), **kwargs
        )

    def _save_task_predictions(self, predictions: Any, *args: Any, **kwargs: Any) -> None:
        self.predictions = predictions
        if self._writes_predictions:
            super()._save_task_predictions(predictions, *args, **kwargs)  # type: ignore[misc]

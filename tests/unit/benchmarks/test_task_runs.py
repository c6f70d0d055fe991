"""A task of mteb on one model: seeds, items by text, and which errors are the task's own."""

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset, DatasetDict
from datasets.exceptions import DatasetGenerationError
from mteb.abstasks.aggregate_task_metadata import AggregateTaskMetadata
from mteb.abstasks.aggregated_task import AbsTaskAggregate
from mteb.abstasks.classification import AbsTaskClassification
from mteb.abstasks.sts import AbsTaskSTS
from mteb.abstasks.task_metadata import TaskMetadata
from planted_encoders import ignorant

from hrsa.benchmarks.task_runs import failed_row, run_task, suite_task
from hrsa.errors import UserError

COMMON = {
    **{"dataset": {"path": "tiny", "revision": "1"}, "category": "t2c", "modalities": ["text"]},
    **{"eval_splits": ["test"], "eval_langs": ["eng-Latn"], "description": "Tiny."},
}
WORDS = ["river", "stone", "cloud", "lamp", "paper", "train", "garden", "letter"]
LABELLED = [(f"{one} {two} {i}", i % 2) for i, one in enumerate(WORDS) for two in WORDS]


class Sampled(AbsTaskClassification):
    """Draws the texts that it tests with its seed, as many tasks of mteb do."""

    metadata = TaskMetadata(name="Sampled", type="Classification", main_score="accuracy", **COMMON)
    n_experiments = 2

    def load_data(self, num_proc=None, **kwargs):
        chosen = np.random.default_rng(self.seed).permutation(len(LABELLED))
        texts, labels = zip(*(LABELLED[i] for i in chosen), strict=True)
        columns = {"text": texts, "label": labels}
        self.dataset = DatasetDict(
            train=Dataset.from_dict({name: list(of[:32]) for name, of in columns.items()}),
            test=Dataset.from_dict({name: list(of[32:56]) for name, of in columns.items()}),
        )
        self.data_loaded = True


class Fixed(Sampled):
    metadata = Sampled.metadata.model_copy(update={"name": "Fixed"})

    def load_data(self, num_proc=None, **kwargs):
        own, self.seed = self.seed, 0
        super().load_data()
        self.seed = own


class Pairs(AbsTaskSTS):
    metadata = TaskMetadata(
        name="Pairs", type="STS", main_score="cosine_spearman", **COMMON | {"category": "t2t"}
    )
    min_score, max_score = 0, 5

    def load_data(self, num_proc=None, **kwargs):
        columns = {"sentence1": WORDS, "sentence2": WORDS[::-1]}
        columns |= {"score": [float(i % 5) for i in range(len(WORDS))]}
        self.dataset = DatasetDict(test=Dataset.from_dict(columns))
        self.data_loaded = True


class MeanOfPairs(AbsTaskAggregate):
    metadata = AggregateTaskMetadata(
        name="MeanOfPairs",
        description="Tiny.",
        tasks=[Pairs()],
        main_score="cosine_spearman",
        type="STS",
        eval_splits=["test"],
    )


@pytest.fixture
def run(tmp_path):
    def go(task, seeds=(1, 2)):
        row = run_task(
            ignorant(0), suite_task("tiny", task), output=tmp_path, seeds=seeds, batch_size=8
        )
        path = tmp_path / f"{row['task']}.items.parquet"
        return row, pd.read_parquet(path) if path.exists() else None

    return go


def test_texts_that_the_seed_draws_are_told_apart_by_what_they_say(run):
    row, items = run(Sampled())
    assert row["evaluation_seeds"] == "1 2"
    both = items.groupby("item")["seed"].nunique()
    assert set(both) == {1, 2}  # some texts were drawn with both seeds, others with one
    assert row["n_items"] == len(both) > 24
    assert "content" not in items


def test_texts_that_are_the_same_at_every_seed_keep_their_ids(run):
    row, items = run(Fixed())
    assert row["n_items"] == 24
    assert set(items["item"]) == {str(number) for number in range(24)}


def test_a_task_that_draws_nothing_is_run_once(run, tmp_path):
    row, items = run(Pairs())
    assert row["evaluation_seeds"] == ""
    assert len(items) == row["n_items"] == 8
    assert (tmp_path / "Pairs.json").exists()


def test_a_mean_of_other_tasks_is_run_by_its_parts(run):
    row, items = run(MeanOfPairs())
    assert row["value"] == pytest.approx(run(Pairs())[0]["value"])
    assert items is None
    assert row["note"] == "no items: a mean of other tasks"


def test_a_fresh_task_is_made_for_each_seed():
    task = suite_task("tiny", Sampled())
    one, other = task.make(5), Sampled(seed=5)
    assert one.seed == 5
    assert one.rng_state.getstate() == other.rng_state.getstate()
    assert one.np_rng.random() == other.np_rng.random()
    assert task.task.seed == 42


def failing(error, cause=None):
    class Failing(Pairs):
        def load_data(self, num_proc=None, **kwargs):
            raise error from cause

    return Failing()


@pytest.mark.parametrize(
    "error", [ConnectionError("no route"), KeyError("score"), RuntimeError("gone")]
)
def test_data_that_cannot_be_had_are_a_failure_of_the_task(run, error):
    with pytest.raises(UserError, match=rf"data cannot be had \({type(error).__name__}"):
        run(failing(error))


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (OSError(28, "No space left on device"), None),
        (OSError("Not enough disk space. Needed: 1 GB"), None),
        (DatasetGenerationError("failed"), OSError(28, "No space left on device")),
        (MemoryError(), None),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), None),
    ],
)
def test_a_fault_of_the_machine_is_not(run, error, cause):
    with pytest.raises(type(error)):
        run(failing(error, cause))


def test_what_mteb_cannot_run_is_a_failure_of_the_task(run):
    class Odd(Pairs):
        def _evaluate_subset(self, *args, **kwargs):
            raise KeyError("sentence3")

    with pytest.raises(UserError, match=r"mteb could not run it \(KeyError: 'sentence3'\)"):
        run(Odd())


def test_the_row_of_a_failed_task_has_no_score_and_no_message():
    row = failed_row(suite_task("tiny", Pairs()))
    assert row["value"] is None
    assert (row["suite"], row["task"], row["metric"]) == ("tiny", "Pairs", "cosine_spearman")
    assert "failed" in row["note"]

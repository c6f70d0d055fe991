"""A task of mteb on one model: seeds, parts, items by text, which errors are the task's own."""

import mteb
import numpy as np
import pandas as pd
import pytest
from datasets import Dataset, DatasetDict
from datasets.exceptions import DatasetGenerationError
from mteb.abstasks.aggregate_task_metadata import AggregateTaskMetadata
from mteb.abstasks.aggregated_task import AbsTaskAggregate
from mteb.abstasks.classification import AbsTaskClassification
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData
from mteb.abstasks.sts import AbsTaskSTS
from mteb.abstasks.task_metadata import TaskMetadata
from planted_encoders import PlantedEncoder, ignorant

from hrsa.benchmarks.items import score_of_items
from hrsa.benchmarks.paired_items import item_difference
from hrsa.benchmarks.task_runs import failed_row, part_names, run_task, suite_task
from hrsa.errors import UserError
from hrsa_workflow.status import subject_failure

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


class Forum(AbsTaskRetrieval):
    """Questions of one word, and texts of two of which one has it."""

    metadata = TaskMetadata(
        name="Forum",
        type="Retrieval",
        main_score="ndcg_at_10",
        **COMMON | {"category": "t2t"},
    )
    asked = WORDS[:5]

    def load_data(self, num_proc=None, **kwargs):
        documents = {
            f"d{i}": f"{one} {two}"
            for i, (one, two) in enumerate(zip(WORDS, WORDS[::-1], strict=True))
        }
        data = RetrievalSplitData(
            corpus=Dataset.from_dict({"id": list(documents), "text": list(documents.values())}),
            queries=Dataset.from_dict(
                {"id": [f"q{i}" for i in range(len(self.asked))], "text": self.asked}
            ),
            relevant_docs={f"q{i}": {f"d{i}": 1} for i in range(len(self.asked))},
            top_ranked=None,
        )
        self.dataset = {"default": {"test": data}}
        self.data_loaded = True


class OtherForum(Forum):
    metadata = Forum.metadata.model_copy(update={"name": "OtherForum"})
    asked = WORDS[2:5]


class OtherSampled(Sampled):
    """Tests fewer texts."""

    metadata = Sampled.metadata.model_copy(update={"name": "OtherSampled"})

    def load_data(self, num_proc=None, **kwargs):
        super().load_data()
        self.dataset["test"] = self.dataset["test"].select(range(16))


def mean_of(*parts, base=AbsTaskAggregate, name="MeanOfParts"):
    """A task that is the mean of others."""
    first = parts[0].metadata
    metadata = AggregateTaskMetadata(
        name=name,
        description="Tiny.",
        tasks=list(parts),
        main_score=first.main_score,
        type=first.type,
        eval_splits=["test"],
    )
    return type(name, (base,), {"metadata": metadata})()


@pytest.fixture
def run(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    def go(task, seeds=(1, 2), encoder=None):
        row = run_task(
            encoder or ignorant(0),
            suite_task("tiny", task),
            output=tmp_path,
            seeds=seeds,
            batch_size=8,
        )
        assert not list((tmp_path / "elsewhere").iterdir())
        path = tmp_path / f"{row['task']}.items.parquet"
        return row, pd.read_parquet(path) if path.exists() else None

    return go


def test_texts_that_the_seed_draws_are_told_apart_by_what_they_say(run):
    row, items = run(Sampled())
    assert score_of_items("Classification", items) == pytest.approx(row["value"], abs=1e-12)
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


def test_the_paired_difference_over_texts_that_the_seed_draws_is_that_of_the_scores(run):
    (one, first), (other, second) = (run(Sampled(), encoder=ignorant(i)) for i in range(2))
    found = item_difference("Classification", first, second)
    assert one["value"] != other["value"]
    assert found.difference == pytest.approx(other["value"] - one["value"], abs=1e-12)
    assert found.n == one["n_items"]
    assert found.se > 0


def test_the_interval_over_texts_that_the_seed_draws_is_about_the_score(run):
    row, _ = run(Sampled())
    assert row["ci_low"] < row["value"] < row["ci_high"]
    middle = (row["ci_low"] + row["ci_high"]) / 2
    assert middle == pytest.approx(row["value"], abs=0.01)
    assert "each with all the seeds that drew it" in row["note"]
    assert "each with all the seeds" not in run(Fixed())[0]["note"]


def test_a_mean_of_other_tasks_is_the_mean_of_its_parts_and_has_their_items(run, tmp_path):
    row, items = run(mean_of(Forum(), OtherForum()))
    parts = [run(task) for task in (Forum(), OtherForum())]
    expected = np.mean([part["value"] for part, _ in parts])
    assert parts[0][0]["value"] != parts[1][0]["value"]
    assert row["value"] == pytest.approx(expected, abs=1e-12)
    assert row["evaluation_seeds"] == ""
    assert row["n_items"] == 8
    assert "test items (query) of 2 splits and subsets" in row["note"]
    assert row["ci_low"] < row["value"] < row["ci_high"]
    assert score_of_items("Retrieval", items) == pytest.approx(row["value"], abs=1e-5)
    for name, (_, of_part) in zip(("Forum", "OtherForum"), parts, strict=True):
        own = items[items["subset"] == name].reset_index(drop=True)
        pd.testing.assert_frame_equal(own, of_part.assign(subset=name))
    result = mteb.TaskResult.from_disk(tmp_path / "MeanOfParts.json")
    assert result.get_score() == pytest.approx(row["value"], abs=1e-6)


def test_models_do_not_read_what_others_predicted_on_the_parts(run):
    task = mean_of(Forum(), OtherForum())
    alone = [run(task, encoder=ignorant(seed)) for seed in (0, 1, 0)]
    values = [row["value"] for row, _ in alone]
    assert values[0] == values[2] != values[1]
    pd.testing.assert_frame_equal(alone[0][1], alone[2][1])
    assert (alone[0][1]["value"] != alone[1][1]["value"]).any()


def test_the_parts_of_a_mean_draw_with_the_seeds_that_are_asked_for(run):
    task = mean_of(Sampled(), OtherSampled())
    row, items = run(task)
    parts = [run(part) for part in (Sampled(), OtherSampled())]
    assert row["evaluation_seeds"] == "1 2"
    assert row["value"] == pytest.approx(np.mean([part["value"] for part, _ in parts]), abs=1e-12)
    assert score_of_items("Classification", items) == pytest.approx(row["value"], abs=1e-12)
    assert row["n_items"] == sum(part["n_items"] for part, _ in parts)
    assert "content" not in items
    of_seeds = [run(task, seeds=(seed,))[0]["value"] for seed in (1, 2)]
    assert of_seeds[0] != of_seeds[1]
    assert [part.seed for part in task.metadata.tasks] == [42, 42]


def test_another_mean_than_that_of_the_parts_has_no_items(run):
    class First(AbsTaskAggregate):
        def task_results_to_scores(self, task_results):
            value = task_results[0].get_score()
            return {"test": {"default": {"ndcg_at_10": value, "main_score": value}}}

    row, items = run(mean_of(Forum(), OtherForum(), base=First))
    assert row["value"] == pytest.approx(run(Forum())[0]["value"], abs=1e-12)
    assert items is None
    assert row["note"].startswith("no items: they give ndcg_at_10 0.")


def test_a_part_without_items_is_named(run):
    class Halved(Pairs):
        def _calculate_scores(self, scores, normalized_scores):
            known = super()._calculate_scores(scores, normalized_scores)
            return known | {"cosine_spearman": known["cosine_spearman"] / 2}

    row, items = run(mean_of(Halved()))
    assert items is None
    assert row["note"].startswith("no items: of its part Pairs, they give cosine_spearman ")


def test_a_part_whose_data_cannot_be_had_is_named(run):
    with pytest.raises(UserError, match=r"^its part Pairs: its data cannot be had \(Connection"):
        run(mean_of(failing(ConnectionError("no route"))))


def test_a_task_has_its_name_and_those_of_its_parts():
    assert part_names(suite_task("tiny", Pairs())) == ["Pairs"]
    task = suite_task("tiny", mean_of(Forum(), OtherForum()))
    assert part_names(task) == ["MeanOfParts", "Forum", "OtherForum"]
    assert not task.draws_samples
    assert suite_task("tiny", mean_of(Forum(), Sampled())).draws_samples


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
        (RuntimeError("CUDA error: Out of memory"), None),
        (MemoryError(), None),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), None),
    ],
)
def test_a_fault_of_the_machine_is_not(run, error, cause):
    with pytest.raises(type(error)):
        run(failing(error, cause))


@pytest.mark.parametrize("error", [DatasetGenerationError("failed"), ValueError("bad file")])
def test_a_fault_of_the_machine_is_raised_itself_and_not_what_was_made_of_it(run, error):
    failures = []
    fault = OSError(28, "No space left on device")
    with pytest.raises(OSError, match="No space left"), subject_failure(failures, "a task"):
        run(failing(error, fault))
    assert failures == []


def test_a_fault_while_the_items_are_made_is_no_reason_for_having_none(run, monkeypatch):
    def unreadable(data):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("hrsa.benchmarks.task_items.ids_of", unreadable)
    with pytest.raises(OSError, match="Input/output"):
        run(Pairs())


def test_a_file_named_after_memory_is_no_lack_of_it(run):
    error = RuntimeError("Dataset scripts are no longer supported, but found memory_task.py")
    with pytest.raises(UserError, match=r"but found memory_task\.py"):
        run(failing(error))


def test_what_mteb_cannot_run_is_a_failure_of_the_task(run):
    class Odd(Pairs):
        def _evaluate_subset(self, *args, **kwargs):
            raise KeyError("sentence3")

    with pytest.raises(UserError, match=r"mteb could not run it \(KeyError: 'sentence3'\)"):
        run(Odd())


def test_an_undefined_score_is_a_failure_of_the_task(run):
    same = PlantedEncoder("same", lambda text: ["one"])
    for task in (Pairs(), mean_of(Pairs())):
        with pytest.raises(UserError, match=r"cosine_spearman, is undefined for this model"):
            run(task, encoder=same)


def test_the_row_of_a_failed_task_has_no_score_and_no_message():
    row = failed_row(suite_task("tiny", Pairs()))
    assert row["value"] is None
    assert (row["suite"], row["task"], row["metric"]) == ("tiny", "Pairs", "cosine_spearman")
    assert "failed" in row["note"]

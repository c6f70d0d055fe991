"""Means over tasks and over types are `mteb`'s own; an incomplete mean says so."""

import mteb
import numpy as np
import pandas as pd
import pytest
from mteb.results import BenchmarkResults, ModelResult, TaskResult

from hrsa.benchmarks.aggregation import suite_means
from hrsa.errors import UserError

SUITE = "MTEB(Multilingual, v2)"


def made_up(seed):
    """Results of `mteb` for all tasks of the suite, with other scores for each subset."""
    rng = np.random.default_rng(seed)
    return [
        TaskResult.from_task_results(
            task,
            {
                split: {subset: {"main_score": float(rng.uniform())} for subset in task.hf_subsets}
                for split in task.eval_splits
            },
            evaluation_time=0.0,
        )
        for task in mteb.get_benchmark(SUITE).tasks
    ]


def table(results, **labels):
    return pd.DataFrame(
        [
            {
                "suite": SUITE,
                "task": one.task_name,
                "type": one.task_type,
                "value": one.get_score(),
                **labels,
            }
            for one in results
        ]
    )


@pytest.fixture(scope="module")
def results():
    return made_up(0)


def mean_of(means, kind):
    return means.loc[means["mean"] == kind, "value"].item()


def test_means_are_those_of_mteb(results):
    model = ModelResult(model_name="made/up", model_revision="1", task_results=results)
    expected = mteb.get_benchmark(SUITE).get_score(BenchmarkResults(model_results=[model]))
    (expected,) = expected.values()
    means = suite_means(table(results))
    assert mean_of(means, "tasks") == pytest.approx(expected["Mean(Task)"], abs=1e-9)
    assert mean_of(means, "types") == pytest.approx(expected["Mean(TaskType)"], abs=1e-9)
    of_types = means[means["mean"] == "type"].set_index("type")["value"]
    assert len(of_types) == 9
    for name, value in of_types.items():
        assert value == pytest.approx(expected[name], abs=1e-9)
    # with many tasks of some types and few of others, the two means differ
    assert abs(expected["Mean(Task)"] - expected["Mean(TaskType)"]) > 1e-3


def test_a_missing_task_is_named_and_never_counts_as_zero(results):
    scores = table(results)
    scores.loc[scores["task"] == "STS17", "value"] = np.nan
    means = suite_means(scores).set_index(["mean", "type"])
    row = means.loc[("tasks", "")]
    assert np.isnan(row["value"])
    assert not row["complete"]
    assert row["note"] == "incomplete, without STS17"
    assert (row["n_tasks"], row["n_missing"]) == (131, 1)
    assert row["value_of_present"] == pytest.approx(scores["value"].dropna().mean())
    assert np.isnan(means.loc[("types", ""), "value"])
    assert np.isnan(means.loc[("type", "STS"), "value"])
    assert means.loc[("type", "Retrieval"), "complete"]
    assert means.loc[("type", "Retrieval"), "note"] == ""


def test_a_task_that_only_another_model_has_is_missing(results):
    one, other = table(results, model="a"), table(results, model="b")
    means = suite_means(pd.concat([one, other.iloc[:-1]])).set_index(["model", "mean", "type"])
    assert means.loc[("a", "tasks", ""), "complete"]
    assert means.loc[("b", "tasks", ""), "note"].endswith(results[-1].task_name)


def test_a_suite_without_any_score_is_missing_as_a_whole(results):
    failed = {"suite": "BRIGHT", "task": "BrightRetrieval", "type": "Retrieval", "value": None}
    means = suite_means(pd.concat([table(results), pd.DataFrame([failed])]))
    row = means[(means["suite"] == "BRIGHT") & (means["mean"] == "tasks")].squeeze()
    assert np.isnan(row["value"])
    assert np.isnan(row["value_of_present"])
    assert row["note"] == "incomplete, without BrightRetrieval"


def test_seeds_and_steps_have_means_of_their_own(results):
    scores = pd.concat([table(results, model="a", seed=seed, step=np.nan) for seed in (0, 1)])
    scores.loc[scores["seed"] == 1, "value"] /= 2
    means = suite_means(scores)
    values = means[means["mean"] == "tasks"].set_index("seed")["value"]
    assert values[1] == pytest.approx(values[0] / 2)


def test_a_suite_of_its_own_has_means_by_hand():
    scores = pd.DataFrame(
        {
            "suite": "local",
            "task": ["a", "b", "c"],
            "type": ["STS", "STS", "Retrieval"],
            "value": [0.2, 0.4, 0.9],
        }
    )
    means = suite_means(scores)
    assert mean_of(means, "tasks") == pytest.approx(0.5)
    assert mean_of(means, "types") == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda frame: frame.drop(columns="type"), "no column 'type'"),
        (lambda frame: pd.concat([frame, frame.iloc[:1]]), "two scores"),
        (
            lambda frame: pd.concat([frame.assign(model="a"), frame.assign(model="b", type="STS")]),
            "two types",
        ),
    ],
)
def test_scores_that_cannot_be_averaged_are_refused(results, change, words):
    with pytest.raises(UserError, match=words):
        suite_means(change(table(results)))

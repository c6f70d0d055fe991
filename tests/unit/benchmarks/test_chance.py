"""Whether a model is above chance on a task, and what is said where neither of two is."""

import math

import numpy as np
import pandas as pd
import pytest

from hrsa.benchmarks.chance import (
    AT_CHANCE,
    NO_TASK_LEFT,
    at_chance_remark,
    is_at_chance,
    left_out,
    one_run,
    remark_at_chance,
    remarks_on_tasks,
)
from hrsa.benchmarks.intervals import score_interval
from hrsa.benchmarks.paired_scores import Evaluation, beyond_chance
from hrsa.statistics.equivalence import BOTH, DIFFERENT, EQUIVALENT, INCONCLUSIVE

N, CHANCE = 120, 0.2


def values(numbers):
    return pd.DataFrame({"item": [f"q{i:03d}" for i in range(len(numbers))], "value": numbers})


def in_turn(run, n=N):
    """Scores of a run that is right on one item in three, other ones than the other two runs."""
    return values(np.where(np.arange(n) % 3 == run, 0.6, 0.05))


def pairs_of_texts(run, n=N):
    gold = np.arange(n) % 6
    noise = np.random.default_rng(run).normal(0, 12, n)
    return values(gold).rename(columns={"value": "gold"}).assign(similarity=gold + noise)


@pytest.fixture
def evaluated(tmp_path):
    """Write runs of a task with their items, and where the interval of each begins."""

    def write(runs, kind="Retrieval", *, low=None, chance=CHANCE):
        found = []
        for i, items in enumerate(runs):
            path = tmp_path / f"{i}.parquet"
            if items is not None:
                items.to_parquet(path)
                low = score_interval(kind, items)[0]
            row = {"suite": "local", "task": "One", "type": kind, "value": 0.5, "ci_low": low}
            scores = pd.DataFrame([row | {"chance": chance}])
            found.append(Evaluation(scores, {("local", "One"): path}))
        return found

    return write


def ends(runs):
    return [float(one.scores["ci_low"].iloc[0]) for one in runs]


def test_runs_that_err_on_other_items_are_above_chance_together_and_none_is_alone(evaluated):
    runs = evaluated([in_turn(run) for run in range(3)])
    assert max(ends(runs)) < CHANCE
    # each item scores (0.6 + 2 × 0.05) / 3 on average over the runs, whatever is drawn
    assert beyond_chance(runs, "local", "One") == pytest.approx(0.7 / 3 - CHANCE)


def test_runs_that_err_on_the_same_items_are_no_surer_than_one(evaluated):
    same = evaluated([in_turn(0)] * 3)
    assert beyond_chance(same, "local", "One") == pytest.approx(ends(same)[0] - CHANCE, abs=0.01)
    assert beyond_chance(same[:1], "local", "One") == ends(same)[0] - CHANCE


def test_the_interval_is_that_of_items_averaged_over_the_runs(evaluated):
    rng = np.random.default_rng(0)
    runs = [values(rng.beta(1, 4, N)) for _ in range(3)]
    mean = values(np.mean([run["value"] for run in runs], axis=0))
    (one,) = ends(evaluated([mean]))
    found = beyond_chance(evaluated(runs), "local", "One") + CHANCE
    assert found == pytest.approx(one, abs=0.002)
    assert found > np.mean(ends(evaluated(runs))) + 0.005


def test_a_correlation_is_drawn_anew_with_the_same_pairs_in_all_runs(evaluated):
    runs = evaluated([pairs_of_texts(run) for run in range(3)], "STS", chance=0.0)
    # noise of their own: the interval is narrower than that of a run, by up to √3
    scores = [score_interval("STS", pairs_of_texts(run)) for run in range(3)]
    widths = [(high - low) / 2 for low, high, _ in scores]
    middle = np.mean([(high + low) / 2 for low, high, _ in scores])
    half = middle - beyond_chance(runs, "local", "One")
    assert np.mean(widths) / math.sqrt(3) * 0.8 < half < 0.85 * np.mean(widths)


def test_splits_of_each_run_count_alike(evaluated):
    parts = [pd.concat([in_turn(run).assign(split="a"), in_turn(run, 30).assign(split="b")])
             for run in range(3)]  # fmt: skip
    assert beyond_chance(evaluated(parts), "local", "One") == pytest.approx(0.7 / 3 - CHANCE)


def test_where_a_run_kept_no_items_it_is_the_mean_of_the_ends(evaluated):
    runs = evaluated([in_turn(0), None, in_turn(1)], low=0.3)
    assert beyond_chance(runs, "local", "One") == pytest.approx(np.mean(ends(runs)) - CHANCE)


def test_without_a_level_of_chance_nothing_is_known(evaluated):
    runs = evaluated([in_turn(run) for run in range(3)], chance=math.nan)
    assert math.isnan(beyond_chance(runs, "local", "One"))


@pytest.mark.parametrize(
    ("lows", "expected"),
    [((-0.1, 0.0), True), ((0.1, -0.1), False), ((-0.1, 0.1), False), ((math.nan, -0.1), False)],
)
def test_one_model_above_chance_is_enough_and_so_is_not_knowing(lows, expected):
    assert is_at_chance(lows) == is_at_chance(lows[::-1]) == expected


def test_equality_says_nothing_only_where_no_difference_is_shown():
    for verdict in (DIFFERENT, BOTH):
        assert at_chance_remark(verdict) == AT_CHANCE
    for other in (EQUIVALENT, INCONCLUSIVE, None):
        assert at_chance_remark(other) == f"{AT_CHANCE}: equality says nothing"


@pytest.mark.parametrize("verdict", [DIFFERENT, EQUIVALENT])
def test_a_note_gives_back_what_is_said_of_a_task_and_of_a_mean_each_for_itself(verdict):
    of_task = at_chance_remark(verdict)
    of_mean = left_out(["Gone"], ["Two"])
    assert remark_at_chance(f"t over items; {of_task}") == of_task
    assert remark_at_chance("; ".join(["t over items", *of_mean])) == ""
    assert remark_at_chance(None) == ""
    single = one_run(["a", "a"], ["b.s0", "b.s1"])
    note = "; ".join(["t over training seeds", *single, NO_TASK_LEFT, *of_mean, of_task])
    assert remarks_on_tasks(note) == [*single, NO_TASK_LEFT, *of_mean]
    assert remarks_on_tasks(None) == []


def test_a_side_is_a_single_run_where_all_its_runs_are_one():
    assert one_run(["a"] * 3, ["b.s0", "b.s1", "b.s2"]) == [
        "one run of the reference for all seeds"
    ]
    assert one_run(["a.s0", "a.s1"], ["b", "b"]) == ["one run of the candidate for all seeds"]
    assert one_run(["a.s0", "a.s1"], ["b.s0", "b.s1"]) == []

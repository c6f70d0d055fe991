"""Paired differences between benchmarked models, against worked examples and other software."""

import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr, ttest_rel
from sklearn.metrics import f1_score
from sklearn.metrics.cluster import v_measure_score

from hrsa.benchmarks.differences import (
    DIFFERENCE_COLUMNS,
    BenchmarkPair,
    Couple,
    Evaluation,
    differences_table,
)
from hrsa.benchmarks.paired_items import DifferentItems, item_difference
from hrsa.errors import UserError
from hrsa.reporting.claim_scores import score_rows
from hrsa.reporting.differences import differences_summary, unmatched_items, untested_items
from hrsa.statistics.blocks import balanced_blocks
from hrsa_workflow.tables import DIFFERENCES, typed

# Quantiles of t with 2 degrees of freedom at 0.95 and 0.975.
T_90, T_95 = 2.919985580, 4.302652730
STATISTICS = [
    "delta", "se", "df", "ci90_low", "ci90_high", "ci95_low", "ci95_high", "p_difference",
    "p_tost", "verdict", "smallest_margin", "detectable_difference", "units_needed",
]  # fmt: skip


def values(*numbers):
    return pd.DataFrame({"item": [f"q{i:02d}" for i in range(len(numbers))], "value": numbers})


def clusters(rng, accuracy, n=60):
    labels = np.arange(n) % 4
    guessed = np.where(rng.random(n) < accuracy, labels, rng.integers(4, size=n))
    columns = {"label": labels, "cluster": guessed, "experiment": 0}
    return pd.DataFrame({"item": [f"t{i:02d}" for i in range(n)]} | columns)


def similarities(rng, noise, n=60):
    gold = np.arange(n) % 6
    columns = {"gold": gold, "similarity": gold + rng.normal(0, noise, n)}
    return pd.DataFrame({"item": [f"s{i:02d}" for i in range(n)]} | columns)


@pytest.fixture
def evaluated(tmp_path):
    """Write what an evaluation leaves; tasks are given with their type and items, or a score."""

    def write(name, tasks):
        folder = tmp_path / name
        folder.mkdir()
        rows, items = [], {}
        for task, (kind, content) in tasks.items():
            is_score = isinstance(content, float)
            if not is_score:
                items["local", task] = folder / f"{task}.items.parquet"
                content.to_parquet(items["local", task])
            score = content if is_score else content["value"].mean()
            rows.append({"suite": "local", "task": task, "type": kind, "value": score})
        return Evaluation(scores=pd.DataFrame(rows), items=items)

    return write


def retrieval(**tasks):
    return {
        task: ("Retrieval", one if isinstance(one, float) else values(*one))
        for task, one in tasks.items()
    }


def pair_of(seeds, **changes):
    couples = [
        Couple("a", "b", None) if seed is None else Couple(f"a.s{seed}", f"b.s{seed}", seed)
        for seed in seeds
    ]
    names = {"name": "a-b", "kind": "rlvr", "reference": "a", "candidate": "b"} | changes
    return BenchmarkPair(**names, couples=couples)


@pytest.fixture
def trained(evaluated):
    """Three seeds of two models on two tasks; differences 0.02, 0.04, 0.06 and 0, 0.04, 0.02."""
    evaluations = {}
    for seed, (first, second) in enumerate([(0.02, 0.0), (0.04, 0.04), (0.06, 0.02)]):
        evaluations[f"a.s{seed}"] = evaluated(f"a.s{seed}", retrieval(One=[0.5] * 4, Two=0.5))
        candidate = retrieval(One=[0.5 + first + d for d in (0.1, -0.1, 0.3, -0.3)])
        candidate |= retrieval(Two=0.5 + second)
        evaluations[f"b.s{seed}"] = evaluated(f"b.s{seed}", candidate)
    return evaluations


def without(evaluation, *tasks):
    scores = evaluation.scores
    return Evaluation(scores=scores[~scores["task"].isin(tasks)], items=evaluation.items)


def beside_chance(evaluations, *, level=0.25, **tasks):
    """Say where the interval of each task begins, of the models of a and of those of b."""
    for name, evaluation in evaluations.items():
        lows = {task: ends["ab".index(name[0])] for task, ends in tasks.items()}
        scores = evaluation.scores
        chance = np.where(scores["task"].isin(list(lows)), level, np.nan)
        found = scores.assign(chance=chance, ci_low=scores["task"].map(lows))
        evaluations[name] = Evaluation(scores=found, items=evaluation.items)
    return evaluations


def only(table, **wanted):
    for name, value in wanted.items():
        table = table[table[name].isna() if value is None else table[name] == value]
    (row,) = table.to_dict("records")
    return row


def table_of(seeds, evaluations, margins=(0.05,), **changes):
    return differences_table([pair_of(seeds, **changes)], evaluations, margins=list(margins))


def test_over_seeds_a_task_is_tested_by_t_on_the_differences_of_its_seeds(trained):
    row = only(table_of([0, 1, 2], trained), level="seeds", task="One")
    se = 0.02 / math.sqrt(3)
    assert (row["delta"], row["se"]) == pytest.approx((0.04, se))
    assert (row["n"], row["df"]) == (3, 2)
    assert (row["reference"], row["candidate"]) == ("a", "b")
    assert row["ci90_low"] == pytest.approx(0.04 - T_90 * se)
    assert row["ci95_high"] == pytest.approx(0.04 + T_95 * se)
    assert row["verdict"] == "inconclusive"


def test_over_seeds_a_suite_is_tested_on_each_seeds_mean_over_tasks(trained):
    row = only(table_of([0, 1, 2], trained), level="seeds", task=None)
    # means over tasks: 0.01, 0.04, 0.04
    se = math.sqrt(0.0003) / math.sqrt(3)
    assert (row["delta"], row["se"], row["n"]) == pytest.approx((0.03, se, 3))
    assert pd.isna(row["holm_family"])


def test_over_tasks_each_seed_and_the_mean_over_seeds_is_tested_on_task_means(trained):
    table = table_of([0, 1, 2], trained)
    of_seed = only(table, level="tasks", seed=0)
    # tasks 0.02 and 0: t with one degree of freedom
    assert (of_seed["delta"], of_seed["se"], of_seed["df"]) == pytest.approx((0.01, 0.01, 1))
    assert (of_seed["reference"], of_seed["candidate"]) == ("a.s0", "b.s0")
    mean = only(table, level="tasks", seed=None)
    # tasks 0.04 and 0.02
    assert (mean["delta"], mean["se"], mean["n"]) == pytest.approx((0.03, 0.01, 2))
    assert "mean over 3 seeds" in mean["note"]


def test_over_items_each_seed_is_tested_on_the_same_items(trained):
    row = only(table_of([0, 1, 2], trained), level="items", task="One", seed=1)
    expected = ttest_rel([0.64, 0.44, 0.84, 0.24], [0.5] * 4)
    assert row["p_difference"] == pytest.approx(expected.pvalue, rel=1e-12)
    interval = expected.confidence_interval(0.9)
    assert (row["ci90_low"], row["ci90_high"]) == pytest.approx(tuple(interval), rel=1e-12)
    assert (row["n"], row["n_items"]) == (4, 4)


def test_the_level_of_items_agrees_with_scipys_paired_t_test(evaluated):
    rng = np.random.default_rng(1)
    scores = rng.random((2, 40))
    evaluations = {
        name: evaluated(name, retrieval(One=one)) for name, one in zip("ab", scores, strict=True)
    }
    row = only(table_of([None], evaluations), level="items")
    expected = ttest_rel(scores[1], scores[0])
    assert row["delta"] / row["se"] == pytest.approx(expected.statistic, rel=1e-12)
    assert row["p_difference"] == pytest.approx(expected.pvalue, rel=1e-10)
    assert row["ci95_low"] == pytest.approx(expected.confidence_interval().low, rel=1e-10)


def spearman(frame):
    return spearmanr(frame["gold"], frame["similarity"]).statistic


def v_measure(frame):
    return v_measure_score(frame["label"], frame["cluster"])


@pytest.mark.parametrize(
    ("kind", "make", "strengths", "score"),
    [("STS", similarities, (1.0, 2.0), spearman), ("Clustering", clusters, (0.8, 0.6), v_measure)],
)
@pytest.mark.parametrize("n", [60, 9])
def test_other_scores_have_the_jackknife_over_blocks_of_items(kind, make, strengths, score, n):
    rng = np.random.default_rng(2)
    models = [make(rng, strength, n=n) for strength in strengths]
    shuffled = models[1].sample(frac=1, random_state=0)
    found = item_difference(kind, models[0], shuffled)
    blocks = balanced_blocks(np.arange(n), n_blocks=25)
    n_blocks = len(set(blocks))
    left_out = [
        np.subtract(*(score(model[blocks != block]) for model in reversed(models)))
        for block in range(n_blocks)
    ]
    se = math.sqrt((n_blocks - 1) / n_blocks * np.sum((left_out - np.mean(left_out)) ** 2))
    assert found.difference == pytest.approx(score(models[1]) - score(models[0]), rel=1e-9)
    assert found.se == pytest.approx(se, rel=1e-9)
    assert (found.df, found.n) == (min(25, n) - 1, n)


def test_equal_models_differ_by_nothing_and_are_equivalent(evaluated):
    rng = np.random.default_rng(3)
    tasks = {"One": ("Retrieval", values(*rng.random(12))), "Two": ("STS", similarities(rng, 1.0))}
    # the score of an STS task comes from its items, not from a column of values
    tasks["Two"][1]["value"] = 0.5
    evaluations = {name: evaluated(name, tasks) for name in ("a", "b")}
    rows = table_of([None], evaluations)
    tested = rows[rows["level"] != "seeds"]
    assert len(tested) == 3
    assert (tested[["delta", "se", "smallest_margin"]] == 0).all(axis=None)
    assert set(tested["verdict"]) == {"equivalent"}
    assert set(tested["p_difference"]) == {1.0}


def test_models_with_other_items_are_not_compared_on_the_common_ones(evaluated):
    evaluations = {
        "a": evaluated("a", retrieval(One=[0.1, 0.2, 0.3, 0.4], Two=[0.1, 0.3], Three=[0.2, 0.4])),
        "b": evaluated("b", retrieval(One=[0.1, 0.2, 0.3], Two=[0.2, 0.5], Three=[0.2, 0.3])),
    }
    table = table_of([None], evaluations)
    row = only(table, level="items", task="One")
    assert pd.Series(row)[STATISTICS].isna().all()
    assert "the reference on 4, the candidate on 3, 3 of them in common" in row["note"]
    over_tasks = only(table, level="tasks")
    assert over_tasks["n"] == 2
    assert "without One" in over_tasks["note"]
    assert unmatched_items(table) == {"difference of b and a on One (pair a-b)": row["note"]}
    assert untested_items(table) == {}


def test_equally_many_items_may_be_others():
    first, second = values(0.1, 0.2), values(0.1, 0.2)
    second["item"] = ["q00", "q07"]
    with pytest.raises(DifferentItems, match="1 of them in common"):
        item_difference("Retrieval", first, second)


def test_items_that_other_seeds_drew_are_others():
    first, second = values(0.1, 0.2).assign(seed=1), values(0.1, 0.2).assign(seed=2)
    with pytest.raises(DifferentItems, match="0 of them in common"):
        item_difference("Classification", first, second)


def test_with_two_seeds_there_is_no_test_over_seeds_and_items_are_offered(trained):
    table = table_of([0, 1], trained)
    refused = table[table["level"] == "seeds"]
    assert refused["task"].isna().tolist() == [False, False, True]
    assert refused[STATISTICS].isna().all(axis=None)
    assert set(refused["n"]) == {2}
    assert refused["note"].str.contains("at least 3 training seeds, and there are 2").all()
    assert refused["note"].str.contains("rows over items").all()
    assert only(table, level="items", task="One", seed=0)["verdict"]
    assert only(table, level="tasks", seed=None)["verdict"]


def test_a_task_that_a_model_lacks_has_no_row_and_counts_as_nothing(trained):
    trained["b.s1"] = without(trained["b.s1"], "Two")
    trained["b.s2"].scores.loc[1, "value"] = np.nan
    table = table_of([0, 1, 2], trained)
    tasks = table[table["task"] == "Two"]
    assert set(tasks.loc[tasks["level"] == "items", "seed"]) == {0}
    assert only(tasks, level="seeds")["n"] == 1
    suite = only(table, level="seeds", task=None)
    assert suite["delta"] == pytest.approx(0.04)  # of One alone
    assert suite["note"].endswith("without Two")
    assert only(table, level="tasks", seed=0)["n"] == 2
    assert "at least 2, and there is 1" in only(table, level="tasks", seed=None)["note"]


def test_a_model_without_any_score_leaves_the_other_seeds(trained):
    trained["b.s1"] = without(trained["b.s1"], "One", "Two")
    table = table_of([0, 1, 2], trained)
    assert only(table, level="seeds", task=None)["n"] == 2
    assert set(table["seed"].dropna()) == {0, 2}


def test_a_task_at_chance_keeps_its_rows_and_is_left_out_of_means(trained):
    before = table_of([0, 1, 2], trained)
    table = table_of([0, 1, 2], beside_chance(trained, Two=(0.2, 0.25)))
    suite = only(table, level="seeds", task=None)
    assert suite["delta"] == pytest.approx(0.04)  # of One alone
    assert suite["note"].endswith("without Two, where neither model is shown above chance")
    assert only(table, level="tasks", seed=None)["n"] == 1
    of_two = table[table["task"] == "Two"]
    assert len(of_two) == 4  # over the items of three seeds, and over seeds
    said = "neither model is shown above chance: equality says nothing"
    assert of_two["note"].str.endswith(said).all()
    kept = [name for name in DIFFERENCE_COLUMNS if name != "note"]
    pd.testing.assert_frame_equal(of_two[kept], before.loc[before["task"] == "Two", kept])
    assert not table.loc[table["task"] == "One", "note"].str.contains("chance").any()


def test_a_difference_on_a_task_at_chance_stands_and_its_note_says_nothing_of_equality(trained):
    for seed, value in enumerate((0.1, 0.101, 0.102)):
        trained[f"b.s{seed}"].scores.loc[1, "value"] = value
    table = table_of([0, 1, 2], beside_chance(trained, Two=(0.2, 0.05)), margins=(0.05, 0.5))
    over_seeds = table[(table["level"] == "seeds") & (table["task"] == "Two")]
    assert over_seeds["verdict"].tolist() == ["different", "equivalent and different"]
    assert over_seeds["note"].str.endswith("; neither model is shown above chance").all()
    untested = table[(table["level"] == "items") & (table["task"] == "Two")]
    assert untested["note"].str.endswith("equality says nothing").all()
    summary = differences_summary(typed([table], DIFFERENCES)).set_index("task")["note"]
    assert summary["Two"] == "neither model is shown above chance"


@pytest.mark.parametrize("lows", [(0.26, 0.1), (0.1, 0.26), (math.nan, 0.1), (0.1, math.nan)])
def test_a_task_counts_if_either_model_is_above_chance_or_that_is_not_known(trained, lows):
    before = table_of([0, 1, 2], trained)
    pd.testing.assert_frame_equal(
        table_of([0, 1, 2], beside_chance(trained, Two=lows)), before, check_exact=True
    )


@pytest.mark.parametrize("side", ["a", "b"])
def test_a_model_whose_items_are_above_chance_on_average_over_seeds_counts(evaluated, side):
    """Each seed is right on other items, so that all are above chance and none alone is."""
    evaluations = {}
    for name in (f"{model}.s{seed}" for model in "ab" for seed in range(3)):
        right = np.arange(60) % 3 == int(name[-1])
        tasks = retrieval(One=np.where(right, 0.6, 0.05 if name[0] == side else 0.0), Two=0.5)
        evaluations[name] = evaluated(name, tasks)
    # means 0.233 and 0.2; the interval of a single seed begins at about 0.17
    beside_chance(evaluations, level=0.22, One=(0.17, 0.17))
    table = table_of([0, 1, 2], evaluations)
    assert only(table, level="tasks", seed=None)["n"] == 2
    assert not table["note"].str.contains("chance").any()


def test_without_items_a_model_is_above_chance_by_the_mean_of_its_seeds_ends(trained):
    beside_chance(trained, Two=(0.1, 0.1))
    scores = trained["b.s1"].scores
    for low, left_out in ((0.5, True), (0.6, False)):  # means of b: 0.233 and 0.267
        scores.loc[scores["task"] == "Two", "ci_low"] = low
        note = only(table_of([0, 1, 2], trained), level="seeds", task=None)["note"]
        assert ("without Two" in note) == left_out


def test_exchanging_the_models_leaves_out_the_same_tasks(trained):
    beside_chance(trained, One=(0.3, 0.2), Two=(0.2, 0.1))
    there = pair_of([0, 1, 2])
    couples = [Couple(one.candidate, one.reference, one.seed) for one in there.couples]
    back = BenchmarkPair("b-a", "rlvr", "b", "a", couples)
    table = differences_table([there, back], trained, margins=[0.05])
    deltas = table.loc[(table["level"] == "seeds") & table["task"].isna(), "delta"]
    assert deltas.tolist() == pytest.approx([0.04, -0.04])


def test_without_any_task_above_chance_there_is_no_mean(trained):
    beside_chance(trained, level=0.9, One=(0.2, 0.2), Two=(0.2, 0.2))
    table = table_of([0, 1, 2], trained)
    means = table[table["task"].isna()]
    assert means["level"].tolist() == ["seeds", *["tasks"] * 4]
    assert means[STATISTICS].isna().all(axis=None)
    reason = (
        "no mean over tasks: no task is left; "
        "without One, Two, where neither model is shown above chance"
    )
    assert set(means["note"]) == {reason}
    assert only(table, level="seeds", task="One")["verdict"]
    summary = differences_summary(typed([table], DIFFERENCES))
    mean = summary[summary["task"] == "mean of local"]
    assert mean["over"].tolist() == ["3 seeds", "0 tasks"]
    assert mean["difference"].tolist() == ["–", "–"]
    assert set(mean["note"]) == {reason}


def test_pairs_without_shared_tasks_have_no_rows(evaluated):
    evaluations = {"a": evaluated("a", retrieval(One=0.5)), "b": evaluated("b", retrieval(Two=0.5))}
    table = table_of([None], evaluations)
    assert list(table) == list(DIFFERENCE_COLUMNS)
    assert table.empty
    assert typed([table], DIFFERENCES).dtypes.equals(typed([], DIFFERENCES).dtypes)


@pytest.mark.parametrize("side", ["reference", "candidate"])
def test_one_run_of_a_side_for_all_seeds_is_said_in_the_table_the_report_and_the_claims(
    trained, side
):
    names = [("a.s0", f"b.s{seed}") for seed in range(3)]
    couples = [
        Couple(*(one if side == "reference" else reversed(one)), seed)
        for seed, one in enumerate(names)
    ]
    pair = BenchmarkPair("a-b", "contrastive", "a.s0", "b", couples)
    table = typed([differences_table([pair], trained, margins=[0.05])], DIFFERENCES)
    said = f"one run of the {side} for all seeds"
    assert said in only(table, level="seeds", task=None)["note"].split("; ")
    summary = differences_summary(table)
    assert (summary["note"] == said).tolist() == [True, False, True, True]
    (claim,) = score_rows(table, "contrastive")
    assert said in claim["conditional_on"].split("; ")
    (other,) = score_rows(typed([table_of([0, 1, 2], trained)], DIFFERENCES), "rlvr")
    assert "one run" not in other["conditional_on"]


def test_a_row_repeats_for_each_margin_with_its_own_verdict(trained):
    table = table_of([0, 1, 2], trained, margins=(0.02, 0.3))
    rows = table[(table["level"] == "seeds") & (table["task"] == "One")]
    assert rows["margin"].tolist() == [0.02, 0.3]
    assert rows["verdict"].tolist() == ["inconclusive", "equivalent"]
    assert rows["delta"].nunique() == rows["p_difference"].nunique() == 1


def test_an_inconclusive_row_says_how_many_units_would_do(trained):
    row = only(table_of([0, 1, 2], trained), level="seeds", task="One")
    # standard deviation 0.02 against a margin of 0.05 and a power of 0.8
    from hrsa.statistics.power import equivalence_power

    assert equivalence_power(row["units_needed"], 0.02, 0.05) >= 0.8
    assert row["units_needed"] == 3 or equivalence_power(row["units_needed"] - 1, 0.02, 0.05) < 0.8
    assert equivalence_power(3, 0.02, row["smallest_margin"]) == pytest.approx(0.8)


def test_a_margin_that_no_number_of_items_would_do_for_is_said(trained):
    row = only(table_of([0, 1, 2], trained, margins=(1e-7,)), level="items", task="One", seed=0)
    assert pd.isna(row["units_needed"])
    assert "more than 1,000,000,000 items would be needed" in row["note"]


def test_holms_correction_is_for_the_tasks_of_a_pair_at_a_level(trained):
    table = table_of([0, 1, 2], trained, margins=(0.02, 0.05))
    tasks = table[(table["level"] == "seeds") & table["task"].notna() & (table["margin"] == 0.02)]
    assert set(tasks["holm_family"]) == {"a-b, seeds, ±0.02: 2 tests"}
    low, high = sorted(tasks["p_difference"])
    assert sorted(tasks["p_holm"]) == pytest.approx([2 * low, max(2 * low, high)])
    assert table.loc[table["task"].isna(), "p_holm"].isna().all()


@pytest.mark.parametrize("margin", [0, -0.02, math.nan])
def test_a_margin_of_zero_or_less_is_refused(trained, margin):
    with pytest.raises(UserError, match="a number above 0"):
        table_of([0, 1, 2], trained, margins=(margin,))


def test_a_score_that_is_undefined_gives_a_note(evaluated):
    constant = similarities(np.random.default_rng(4), 1.0).assign(similarity=0.5, value=0.5)
    other = similarities(np.random.default_rng(4), 1.0).assign(value=0.5)
    evaluations = {
        "a": evaluated("a", {"One": ("STS", other)}),
        "b": evaluated("b", {"One": ("STS", constant)}),
    }
    table = table_of([None], evaluations)
    row = only(table, level="items")
    assert pd.isna(row["verdict"])
    assert "undefined" in row["note"]
    assert untested_items(table) == {"difference of b and a on One (pair a-b)": row["note"]}
    assert unmatched_items(table) == {}


def test_items_are_compared_by_the_main_score_that_the_table_names(evaluated, tmp_path):
    rng = np.random.default_rng(6)
    labels = np.arange(40) % 3
    evaluations, scores = {}, {}
    for name, accuracy in {"a": 0.8, "b": 0.5}.items():
        predicted = np.where(rng.random(40) < accuracy, labels, rng.integers(3, size=40))
        scores[name] = float(f1_score(labels, predicted, average="macro"))
        found = evaluated(name, {"One": ("Classification", scores[name])})
        columns = {"label": labels, "predicted": predicted, "experiment": 0}
        items = values(*labels).drop(columns="value").assign(**columns)
        items.to_parquet(tmp_path / f"{name}.parquet")
        kept = {("local", "One"): tmp_path / f"{name}.parquet"}
        evaluations[name] = Evaluation(found.scores.assign(metric="f1"), kept)
    row = only(table_of([None], evaluations), level="items")
    assert row["delta"] == pytest.approx(scores["b"] - scores["a"], abs=1e-12)
    assert row["se"] > 0


def test_the_table_is_typed_and_the_same_each_time(trained):
    tables = [typed([table_of([0, 1, 2], trained)], DIFFERENCES) for _ in range(2)]
    assert list(tables[0]) == list(DIFFERENCES) == list(DIFFERENCE_COLUMNS)
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    assert tables[0]["units_needed"].notna().any()


def test_the_report_shows_seeds_and_tasks_and_says_verdicts_in_words(trained):
    table = typed([table_of([0, 1, 2], trained, margins=(0.02, 0.3))], DIFFERENCES)
    summary = differences_summary(table)
    assert summary["task"].tolist() == ["mean of local", "mean of local", "One", "Two"]
    assert summary["over"].tolist() == ["3 seeds", "2 tasks", "3 seeds", "3 seeds"]
    one = summary[summary["task"] == "One"].iloc[0]
    assert one["difference"] == "+0.040"
    assert one["90 % interval"] == "[0.006, 0.074]"
    assert one["at ±0.3"] == "equivalent"
    assert one["at ±0.02"].startswith("inconclusive; ")
    assert one["at ±0.02"].endswith(" seeds would do")


def test_the_report_says_which_tasks_are_at_chance(trained):
    table = table_of([0, 1, 2], beside_chance(trained, Two=(0.2, 0.25)))
    summary = differences_summary(typed([table], DIFFERENCES)).set_index("task")["note"]
    assert summary["mean of local"] == "without Two, where neither model is shown above chance"
    assert summary["One"] == ""
    assert summary["Two"] == "neither model is shown above chance: equality says nothing"


def test_the_report_shows_items_where_seeds_are_too_few(trained):
    summary = differences_summary(typed([table_of([0, 1], trained)], DIFFERENCES))
    one = summary[summary["task"] == "One"]
    assert one["over"].tolist() == ["4 items", "4 items"]
    assert one["seed"].tolist() == [0, 1]


def test_the_report_does_not_offer_as_many_units_as_there_are(trained):
    table = typed([table_of([0, 1, 2], trained, margins=(0.05,))], DIFFERENCES)
    near = table.assign(units_needed=pd.array([3] * len(table), dtype="Int64"))
    verdicts = differences_summary(near).set_index("over")["at ±0.05"]
    assert verdicts["3 seeds"].tolist() == ["inconclusive"] * 3
    assert verdicts["2 tasks"] == "inconclusive; 3 tasks would do"


def test_a_table_of_nothing_has_an_empty_summary():
    assert differences_summary(typed([], DIFFERENCES)).empty
    assert unmatched_items(typed([], DIFFERENCES)) == {}


def test_comparing_scores_loads_neither_torch_nor_mteb():
    code = (
        "import sys, hrsa.benchmarks.differences, hrsa.reporting.differences; "
        "print({'torch', 'mteb', 'scipy.stats', 'sklearn'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

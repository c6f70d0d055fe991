"""Scores from kept items, their intervals and differences agree with what defines them."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.special import stdtrit
from scipy.stats import pearsonr, spearmanr, ttest_1samp
from sklearn import metrics
from sklearn.metrics import average_precision_score, f1_score
from sklearn.metrics.cluster import v_measure_score

from hrsa.benchmarks import intervals
from hrsa.benchmarks import items as items_module
from hrsa.benchmarks.intervals import bootstrap_interval, score_interval
from hrsa.benchmarks.items import (
    PAIR_SCORES,
    count_items,
    item_values,
    resampled_scores,
    score_of_items,
    sentence_f1,
)
from hrsa.benchmarks.paired_items import DifferentItems, item_difference
from hrsa.errors import UserError

N = 40


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def ids(n=N):
    return [f"item-{i:03d}" for i in range(n)]


def clustering(rng, n=N, n_drawn=60, accuracy=0.6):
    """Two experiments, in each of which items are drawn with replacement."""
    labels = np.arange(n) % 4
    parts = []
    for experiment in range(2):
        drawn = rng.integers(n, size=n_drawn)
        clusters = np.where(
            rng.random(n_drawn) < accuracy, labels[drawn], rng.integers(4, size=n_drawn)
        )
        columns = {"label": labels[drawn], "cluster": clusters, "experiment": experiment}
        parts.append(pd.DataFrame({"item": np.asarray(ids(n))[drawn]} | columns))
    return pd.concat(parts, ignore_index=True)


def similarities(rng, n=N):
    # rounded, so that there are ties
    gold = rng.integers(5, size=n) / 4
    return pd.DataFrame(
        {"item": ids(n), "gold": gold, "similarity": np.round(gold + rng.normal(0, 0.5, n), 1)}
    )


def pairs(rng, n=N):
    labels = np.arange(n) % 2
    scores = {
        name: np.round(labels + rng.normal(0, 1 + i / 5, n), 1)
        for i, name in enumerate(PAIR_SCORES)
    }
    return pd.DataFrame({"item": ids(n), "label": labels} | scores)


def v_measure(frame):
    runs = frame.groupby("experiment")
    return np.mean([v_measure_score(run["label"], run["cluster"]) for _, run in runs])


def best_average_precision(frame):
    return max(average_precision_score(frame["label"], frame[name]) for name in PAIR_SCORES)


def spearman(frame):
    return spearmanr(frame["gold"], frame["similarity"]).statistic


KINDS = {
    "Clustering": (clustering, v_measure),
    "STS": (similarities, spearman),
    "PairClassification": (pairs, best_average_precision),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_score_that_is_no_mean_is_the_one_of_the_library(kind, rng):
    make, score = KINDS[kind]
    items = make(rng)
    assert score_of_items(kind, items) == pytest.approx(score(items), abs=1e-12)
    assert item_values(kind, items) is None


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_the_rows_does_not_matter(kind, rng):
    items = KINDS[kind][0](rng)
    shuffled = items.sample(frac=1, random_state=1)
    assert score_of_items(kind, shuffled) == pytest.approx(score_of_items(kind, items), abs=1e-12)
    assert score_interval(kind, shuffled)[:2] == pytest.approx(score_interval(kind, items)[:2])


@pytest.mark.parametrize("kind", KINDS)
def test_a_resample_has_the_score_of_the_rows_that_it_repeats(kind, rng):
    make, score = KINDS[kind]
    items = make(rng)
    names = sorted(set(items["item"]))
    counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=5)
    for one, found in zip(counts, resampled_scores(kind, items, counts), strict=True):
        times = items["item"].map(dict(zip(names, one, strict=True)))
        repeated = items.loc[items.index.repeat(times)]
        assert found == pytest.approx(score(repeated), abs=1e-12)


def test_a_mean_is_over_items_and_their_experiments():
    items = pd.DataFrame({"item": ["b", "a", "b", "a"], "value": [1.0, 0.0, 0.0, 0.0]})
    values = item_values("Classification", items)
    assert values.to_dict() == {"a": 0.0, "b": 0.5}
    assert score_of_items("Classification", items) == 0.25
    low, high, note = score_interval("Classification", items, item="text")
    assert (low, high) == bootstrap_interval(values.to_numpy())
    assert note == "interval: percentile bootstrap over 2 test items (text)"


def test_seeds_are_averaged_as_experiments_are(rng):
    one, other = clustering(rng), clustering(rng)
    both = pd.concat([one.assign(seed=1), other.assign(seed=2)])
    mean = (score_of_items("Clustering", one) + score_of_items("Clustering", other)) / 2
    assert score_of_items("Clustering", both) == pytest.approx(mean, abs=1e-12)


def test_the_f1_of_sentences_has_the_weighted_f1_as_its_mean(rng):
    found = np.where(rng.random(200) < 0.5, np.arange(200), rng.integers(200, size=200))
    expected = f1_score(np.arange(200), found, average="weighted", zero_division=0)
    assert sentence_f1(found).mean() == pytest.approx(expected, abs=1e-12)


def test_items_of_an_unknown_kind_are_refused():
    items = pd.DataFrame({"item": ["a"], "answer": ["b"]})
    with pytest.raises(UserError, match=r"'Summarization'.*no column `value`"):
        score_of_items("Summarization", items)


@pytest.mark.parametrize("kind", KINDS)
def test_the_interval_is_the_same_every_time_and_around_the_score(kind, rng):
    items = KINDS[kind][0](rng)
    low, high, note = score_interval(kind, items)
    assert (low, high, note) == score_interval(kind, items)
    assert low < score_of_items(kind, items) < high
    assert "shifted" in note


def test_the_interval_of_a_correlation_covers_it_about_as_often_as_it_says(rng):
    truth = 6 / np.pi * np.arcsin(0.5 / 2)  # Spearman's correlation of a normal pair with ρ = 0.5
    covered = 0
    for _ in range(100):
        one, other = rng.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], size=120).T
        items = pd.DataFrame({"item": ids(120), "gold": one, "similarity": other})
        low, high, _ = score_interval("STS", items)
        covered += low <= truth <= high
    assert 87 <= covered <= 100


def test_an_interval_of_clusters_at_random_holds_the_score(rng):
    low, high, _ = score_interval("Clustering", clustering(rng, n=320, n_drawn=512, accuracy=0))
    assert 0 < high - low < 0.1


def predicted_labels(rng, n=N, n_experiments=3, n_labels=4):
    labels = rng.integers(n_labels, size=n)
    parts = [
        pd.DataFrame(
            {
                "item": ids(n),
                "label": labels,
                # one more class, which no text has
                "predicted": np.where(
                    rng.random(n) < 0.6, labels, rng.integers(n_labels + 1, size=n)
                ),
                "experiment": experiment,
            }
        )
        for experiment in range(n_experiments)
    ]
    return pd.concat(parts, ignore_index=True)


def by_scikit_learn(metric, frame):
    """As `mteb` computes it."""
    name, _, average = metric.partition("_")
    labels, predicted = frame["label"], frame["predicted"]
    if name == "accuracy":
        return metrics.accuracy_score(labels, predicted)
    if name == "ap":
        return average_precision_score(labels, predicted, average=average or "macro")
    score = getattr(metrics, f"{name}_score")
    return score(labels, predicted, average=average or "macro", zero_division=0)


@pytest.mark.parametrize(
    "metric",
    [
        *("accuracy", "f1", "f1_weighted", "precision", "precision_weighted"),
        *("recall", "recall_weighted", "ap", "ap_weighted"),
    ],
)
def test_scores_of_predicted_labels_are_those_of_scikit_learn(metric, rng):
    items = predicted_labels(rng, n_labels=2 if "ap" in metric else 4)
    counts = rng.multinomial(N, np.full(N, 1 / N), size=4)
    found = resampled_scores("Classification", items, counts, metric=metric)
    for one, score in zip(counts, found, strict=True):
        times = items["item"].map(dict(zip(ids(), one, strict=True)))
        runs = items.loc[items.index.repeat(times)].groupby("experiment")
        expected = np.mean([by_scikit_learn(metric, run) for _, run in runs])
        assert score == pytest.approx(expected, abs=1e-12)
    runs = items.groupby("experiment")
    whole = np.mean([by_scikit_learn(metric, run) for _, run in runs])
    assert score_of_items("Classification", items, metric=metric) == pytest.approx(whole, abs=1e-12)


def test_another_score_of_predicted_labels_is_refused(rng):
    with pytest.raises(UserError, match="'kappa' cannot be computed from labels"):
        score_of_items("Classification", predicted_labels(rng), metric="kappa")


def test_a_linear_correlation_is_the_one_of_scipy(rng):
    items = similarities(rng)
    expected = pearsonr(items["gold"], items["similarity"]).statistic
    found = score_of_items("STS", items, metric="cosine_pearson")
    assert found == pytest.approx(expected, abs=1e-12)


def test_a_text_that_was_drawn_three_times_counts_three_times(rng):
    items = clustering(rng)
    of_text = ["item", "label", "cluster", "experiment"]
    counted = items.groupby(of_text).size().rename("times").reset_index()
    assert len(counted) < len(items)
    expected = score_of_items("Clustering", items)
    assert score_of_items("Clustering", counted) == pytest.approx(expected, abs=1e-12)


def test_a_resample_without_the_texts_of_an_experiment_has_no_v_measure():
    columns = {"label": [0, 1, 0, 1], "cluster": [0, 1, 0, 0], "experiment": [0, 0, 1, 1]}
    items = pd.DataFrame({"item": list("abcd")} | columns)
    found = resampled_scores("Clustering", items, np.array([[1, 1, 1, 1], [2, 2, 0, 0]]))
    np.testing.assert_array_equal(found, [0.5, np.nan])


def in_subsets(make, rng, sizes, **columns):
    """Items of several subsets, numbered in each from 0."""
    parts = [make(rng, n=n).assign(split="test", subset=f"s{i}") for i, n in enumerate(sizes)]
    return pd.concat(parts, ignore_index=True).assign(**columns)


def values(rng, n=N):
    return pd.DataFrame({"item": ids(n), "value": rng.random(n)})


def mean_value(frame):
    return frame["value"].mean()


def clusters_of_all(rng, n=N):
    """Two experiments with all texts."""
    labels = np.arange(n) % 4
    parts = [
        {"item": ids(n), "label": labels, "cluster": rng.permutation(labels), "experiment": one}
        for one in range(2)
    ]
    return pd.concat(map(pd.DataFrame, parts), ignore_index=True)


STRATIFIED = KINDS | {"Retrieval": (values, mean_value), "Clustering": (clusters_of_all, v_measure)}


@pytest.mark.parametrize("kind", STRATIFIED)
def test_subsets_of_different_size_count_the_same(kind, rng):
    make, score = STRATIFIED[kind]
    items = in_subsets(make, rng, (20, 40, 60))
    expected = np.mean([score(part) for _, part in items.groupby("subset")])
    assert score_of_items(kind, items) == pytest.approx(expected, abs=1e-12)
    assert count_items(items) == 120
    low, high, note = score_interval(kind, items)
    assert low < expected < high
    assert "over 120 test items (item) of 3 splits and subsets" in note


@pytest.mark.parametrize("kind", STRATIFIED)
def test_a_resample_repeats_an_id_in_all_subsets(kind, rng):
    make, score = STRATIFIED[kind]
    items = in_subsets(make, rng, (20, 40))
    counts = rng.multinomial(40, np.full(40, 1 / 40), size=3)
    for one, found in zip(counts, resampled_scores(kind, items, counts), strict=True):
        times = items["item"].map(dict(zip(ids(40), one, strict=True)))
        repeated = items.loc[items.index.repeat(times)]
        expected = np.mean([score(part) for _, part in repeated.groupby("subset")])
        assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("kind", STRATIFIED)
def test_one_split_and_subset_is_as_none(kind, rng):
    one, other = (STRATIFIED[kind][0](rng) for _ in range(2))
    named = [frame.assign(split="test", subset="default") for frame in (one, other)]
    assert score_interval(kind, named[0]) == score_interval(kind, one)
    assert item_difference(kind, *named) == item_difference(kind, one, other)


@pytest.mark.parametrize("kind", STRATIFIED)
def test_a_resample_without_the_items_of_a_subset_has_no_score(kind, rng):
    items = in_subsets(STRATIFIED[kind][0], rng, (4, 40))
    without = np.arange(40)[None, :] >= 4
    assert np.isnan(resampled_scores(kind, items, without.astype(int))).all()


@pytest.mark.parametrize("kind", STRATIFIED)
def test_many_items_are_resampled_in_parts_with_the_same_scores(kind, rng, monkeypatch):
    items = in_subsets(STRATIFIED[kind][0], rng, (20, 40))
    one = items[items["subset"] == "s1"]
    whole = score_interval(kind, items)[:2] + score_interval(kind, one)[:2]
    monkeypatch.setattr(intervals, "CHUNK", 7000)
    monkeypatch.setattr(items_module, "CHUNK", 2000)
    parts = score_interval(kind, items)[:2] + score_interval(kind, one)[:2]
    assert parts == pytest.approx(whole, abs=1e-12)


def moved(parts, *, own_ids):
    """Two models, the second better by `parts`, arrays of one subset each."""
    frame = pd.concat(
        [
            pd.DataFrame({"item": ids(len(part)), "subset": f"s{i}", "value": part})
            for i, part in enumerate(parts)
        ],
        ignore_index=True,
    )
    if own_ids:
        frame["item"] = frame["subset"] + frame["item"]
    return frame.assign(value=0.0), frame


def test_subsets_with_items_of_their_own_are_independent_strata(rng):
    parts = [rng.normal(0.1, 1, n) for n in (10, 25, 40)]
    found = item_difference("Retrieval", *moved(parts, own_ids=True))
    assert found.difference == pytest.approx(np.mean([part.mean() for part in parts]), abs=1e-12)
    variances = np.array([part.var(ddof=1) / len(part) for part in parts])
    assert found.se == pytest.approx(math.sqrt(variances.sum()) / 3, rel=1e-12)
    freedom = variances.sum() ** 2 / np.sum(variances**2 / [9, 24, 39])
    assert found.df == pytest.approx(freedom, rel=1e-12)
    assert found.n == 75


def test_one_text_in_all_subsets_is_one_item(rng):
    parts = rng.normal(0.1, 1, (4, 30)) + rng.normal(0, 1, 30)
    found = item_difference("Retrieval", *moved(parts, own_ids=False))
    expected = ttest_1samp(parts.mean(axis=0), 0)
    assert found.difference / found.se == pytest.approx(expected.statistic, rel=1e-12)
    assert found.df == expected.df


def test_equal_models_differ_by_nothing_in_all_subsets():
    found = item_difference("Retrieval", *moved([np.full(7, 0.1), np.full(9, 0.1)], own_ids=True))
    assert found.difference == pytest.approx(0.1)
    assert (found.se, found.df) == (0, 14)


@pytest.mark.parametrize("correlated", [False, True], ids=["other texts", "translations"])
def test_the_error_of_a_mean_over_subsets_is_as_large_as_its_spread(correlated):
    rng = np.random.default_rng(11)
    differences, errors, covered = [], [], 0
    for _ in range(120):
        common = rng.normal(0, 1, 40) if correlated else np.zeros(40)
        sizes = (40, 40, 40) if correlated else (15, 30, 40)
        parts = [common[:n] + rng.normal(0, 1, n) for n in sizes]
        found = item_difference("Retrieval", *moved(parts, own_ids=False))
        differences.append(found.difference)
        errors.append(found.se)
        covered += abs(found.difference) < stdtrit(found.df, 0.975) * found.se
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(differences), rel=0.15)
    assert 107 <= covered <= 119


@pytest.mark.parametrize("kind", KINDS)
def test_the_jackknife_leaves_out_an_id_in_all_subsets(kind, rng):
    make, score = STRATIFIED[kind]
    models = [in_subsets(make, rng, (12, 20)) for _ in range(2)]
    found = item_difference(kind, *models)

    def macro(frame):
        return np.mean([score(part) for _, part in frame.groupby("subset")])

    assert found.difference == pytest.approx(macro(models[1]) - macro(models[0]), abs=1e-12)
    # with 20 ids, each is a block
    left_out = [
        macro(models[1][models[1]["item"] != one]) - macro(models[0][models[0]["item"] != one])
        for one in ids(20)
    ]
    se = math.sqrt(19 / 20 * np.sum((left_out - np.mean(left_out)) ** 2))
    assert found.se == pytest.approx(se, rel=1e-9)
    assert (found.df, found.n) == (19, 32)
    assert "of 2 splits and subsets" in found.method


def test_the_same_ids_in_other_subsets_are_other_items(rng):
    first = in_subsets(values, rng, (5, 8))
    second = first.assign(subset=first["subset"].replace({"s0": "s1", "s1": "s0"}))
    with pytest.raises(DifferentItems, match="the reference on 13, the candidate on 13, 10 of"):
        item_difference("Retrieval", first, second)


def test_a_subset_of_one_item_has_no_spread(rng):
    items = in_subsets(values, rng, (5, 1))
    with pytest.raises(UserError, match="at least 2 are needed in each split and subset"):
        item_difference("Retrieval", items, items)

"""Scores from kept items, and their intervals, agree with the libraries that define them."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, f1_score
from sklearn.metrics.cluster import v_measure_score

from hrsa.benchmarks.intervals import bootstrap_interval, score_interval
from hrsa.benchmarks.items import (
    PAIR_SCORES,
    item_values,
    resampled_scores,
    score_of_items,
    sentence_f1,
)
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

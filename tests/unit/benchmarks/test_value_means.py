"""A score over seeds is the mean of each seed's own, whichever texts each of them drew."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from hrsa.benchmarks.intervals import bootstrap_interval, score_interval
from hrsa.benchmarks.items import item_values, resampled_scores, score_of_items
from hrsa.benchmarks.paired_items import item_difference
from hrsa.benchmarks.value_means import item_means, same_texts

KIND = "Classification"


def frame(**values_of_seeds):
    """Values by text of the seeds s1, s2 and so on."""
    rows = [
        {"item": text, "value": value, "seed": int(seed[1:])}
        for seed, values in values_of_seeds.items()
        for text, value in values.items()
    ]
    return pd.DataFrame(rows)


def drawn(rng, sizes=(30, 50, 40), pool=80, subset="one"):
    """Seeds that draw different numbers of texts, some of them the same."""
    parts = [
        pd.DataFrame(
            {
                "item": [f"text-{i:02d}" for i in rng.choice(pool, n, replace=False)],
                "subset": subset,
                "value": rng.random(n) + 0.3 * seed,
                "seed": seed,
            }
        )
        for seed, n in enumerate(sizes)
    ]
    return pd.concat(parts, ignore_index=True)


def mean_over_seeds(items):
    return np.mean([part["value"].mean() for _, part in items.groupby("seed")])


def test_each_seed_counts_the_same_however_many_texts_it_drew():
    items = frame(s1={"a": 1.0, "b": 0.0}, s2={"a": 1.0})
    assert score_of_items(KIND, items) == 0.75
    # w = 1/4, 1/4, 1/2, so that e = 3/4 · 1/4 for a, and less that for b
    assert item_values(KIND, items).to_dict() == {"a": 1.125, "b": 0.375}


def test_a_text_that_a_sample_has_twice_counts_twice():
    items = pd.DataFrame({"item": list("aab"), "value": [1.0, 1.0, 0.0]})
    assert not same_texts(items)
    assert score_of_items(KIND, items) == pytest.approx(2 / 3, abs=1e-15)
    assert item_values(KIND, items).mean() == pytest.approx(2 / 3, abs=1e-15)


def test_the_mean_over_items_is_the_score_in_each_subset():
    rng = np.random.default_rng(1)
    items = pd.concat([drawn(rng), drawn(rng, (20, 70), subset="two")], ignore_index=True)
    expected = np.mean([mean_over_seeds(part) for _, part in items.groupby("subset")])
    assert score_of_items(KIND, items) == pytest.approx(expected, abs=1e-12)
    values = item_values(KIND, items)
    assert values.index.names == ["subset", "item"]
    assert values.groupby("subset").mean().mean() == pytest.approx(expected, abs=1e-12)
    # the mean over distinct texts is something else
    plain = items.groupby(["subset", "item"])["value"].mean().groupby("subset").mean().mean()
    assert abs(plain - expected) > 1e-3


def test_with_the_same_texts_the_values_are_the_plain_means():
    rng = np.random.default_rng(2)
    items = drawn(rng, (80, 80, 80))
    plain = items.groupby("item")["value"].mean()
    pd.testing.assert_series_equal(item_means(items), plain, check_exact=True)
    low, high, note = score_interval(KIND, items)
    assert (low, high) == bootstrap_interval(plain.to_numpy())
    assert "seeds" not in note


def test_the_error_of_a_difference_is_by_clusters_of_texts():
    rng = np.random.default_rng(3)
    one = drawn(rng)
    other = one.assign(value=one["value"] + rng.normal(0.1, 0.5, len(one)))
    found = item_difference(KIND, one, other.sample(frac=1, random_state=0))
    difference = other.assign(value=other["value"] - one["value"])
    delta = mean_over_seeds(difference)
    assert found.difference == pytest.approx(delta, abs=1e-12)
    weights = 1 / (3 * difference.groupby("seed")["value"].transform("size"))
    shares = (weights * (difference["value"] - delta)).groupby(difference["item"]).sum()
    n = len(shares)
    assert (found.n, found.df) == (n, n - 1)
    assert found.se == pytest.approx(np.sqrt(n / (n - 1) * (shares**2).sum()), rel=1e-9)


def test_equal_models_and_constants_have_no_spread():
    items = drawn(np.random.default_rng(4))
    assert (
        item_difference(KIND, items, items).difference,
        item_difference(KIND, items, items).se,
    ) == (0, 0)
    all_right, none_right = items.assign(value=1.0), items.assign(value=0.0)
    found = item_difference(KIND, none_right, all_right)
    assert (found.difference, found.se) == (1, 0)


def test_a_resample_repeats_a_text_with_all_the_seeds_that_drew_it():
    rng = np.random.default_rng(5)
    items = drawn(rng)
    names = sorted(set(items["item"]))
    counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=4)
    for one, found in zip(counts, resampled_scores(KIND, items, counts), strict=True):
        times = items["item"].map(dict(zip(names, one, strict=True)))
        repeated = items.loc[items.index.repeat(times)]
        assert found == pytest.approx(mean_over_seeds(repeated), abs=1e-12)


def test_a_resample_without_any_text_of_a_seed_has_no_score():
    items = frame(s1={"a": 1.0, "b": 0.0}, s2={"b": 1.0})
    found = resampled_scores(KIND, items, np.array([[2, 0], [0, 2]]))
    np.testing.assert_array_equal(found, [np.nan, 0.5])


def test_the_interval_is_about_the_score_and_as_wide_as_its_error():
    rng = np.random.default_rng(6)
    items = drawn(rng, (300, 200), pool=400)
    low, high, note = score_interval(KIND, items)
    score = score_of_items(KIND, items)
    assert (low + high) / 2 == pytest.approx(score, abs=0.005)
    error = item_difference(KIND, items.assign(value=0.0), items).se
    # centred on the score of all seeds the error is a little larger than that within seeds
    assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.15)
    assert "each with all the seeds that drew it" in note


def test_a_correlation_over_seeds_is_the_mean_of_each_seeds_own():
    rng = np.random.default_rng(7)
    parts = []
    for seed, n in enumerate((20, 35)):
        columns = {"gold": rng.random(n), "similarity": rng.random(n), "seed": seed}
        parts.append(pd.DataFrame({"item": [f"p{i}" for i in range(n)]} | columns))
    expected = np.mean([spearmanr(part["gold"], part["similarity"]).statistic for part in parts])
    assert score_of_items("STS", pd.concat(parts)) == pytest.approx(expected, abs=1e-12)

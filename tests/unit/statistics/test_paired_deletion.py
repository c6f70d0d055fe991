"""Deleting disjoint sets of samples, alone and together: less excess where order 1 is not all."""

from itertools import product
from math import comb

import numpy as np
import pytest

from hrsa.statistics.paired_deletion import (
    LEAST_SHARE,
    ORDER,
    excess_per_interaction,
    paired_deletions,
    paired_interval,
    paired_standard_error,
)


def plain_variance(replicates, n_samples, size):
    """(S − d)/d · var over the draws of single sets."""
    return (n_samples - size) / size * np.var(replicates[:42], ddof=1)


def test_draws_are_disjoint_tenths_alone_and_together():
    draws = paired_deletions(50, seed=3)
    assert draws.shape == (63, 50)
    first, second, both = np.split(draws, 3)
    assert (first.sum(axis=1) == 5).all()
    assert (second.sum(axis=1) == 5).all()
    assert not (first & second).any()
    np.testing.assert_array_equal(both, first | second)
    assert len(np.unique(draws, axis=0)) == 63


def test_draws_are_the_same_for_one_seed():
    draws = paired_deletions(50, seed=3)
    np.testing.assert_array_equal(draws, paired_deletions(50, seed=3))
    assert (draws != paired_deletions(50, seed=4)).any()


@pytest.mark.parametrize("n_samples", [5, 7, 14])
def test_few_samples_lose_one_each(n_samples):
    first, second, _ = np.split(paired_deletions(n_samples), 3)
    assert (first.sum(axis=1) == 1).all()
    assert (second.sum(axis=1) == 1).all()


def test_fewer_than_five_samples_have_no_draws():
    assert paired_deletions(4).shape == (0, 4)
    assert paired_interval(0.3, np.zeros(0), 4).se is None


@pytest.mark.parametrize("n_samples", [20, 37, 200])
def test_a_mean_loses_nothing(n_samples):
    values = np.random.default_rng(0).standard_normal(n_samples)
    deleted = paired_deletions(n_samples)
    replicates = np.array([values[~draw].mean() for draw in deleted])
    plain = plain_variance(replicates, n_samples, round(n_samples / 10))
    assert paired_standard_error(replicates, n_samples) ** 2 == pytest.approx(plain, rel=1e-9)


def test_the_standard_error_of_a_mean_is_the_textbook_one():
    values = np.random.default_rng(0).standard_normal(200)
    squares = []
    for seed in range(100):
        kept = ~paired_deletions(200, seed=seed)
        squares.append(paired_standard_error(kept @ values / kept.sum(axis=1), 200) ** 2)
    assert np.mean(squares) == pytest.approx(values.var(ddof=1) / 200, rel=0.05)


@pytest.mark.parametrize("order", [2, 3, 5, 8])
@pytest.mark.parametrize("share", [0.1, 0.25])
def test_excess_and_interaction_are_those_of_all_ways_to_delete(order, share):
    q, p = 1 - share, 1 - 2 * share
    chances = {"first": share, "second": share, "kept": p}
    alone = interaction = 0.0
    for fates in product(chances, repeat=order):
        chance = np.prod([chances[fate] for fate in fates])
        without_first = ("first" not in fates) / q**order
        without_second = ("second" not in fates) / q**order
        without_both = (set(fates) == {"kept"}) / p**order
        alone += chance * (without_first - 1) ** 2
        contrast = 1 - q * (without_first + without_second) + p * without_both
        interaction += chance * contrast**2
    excess = (1 - share) / share * alone - 1
    assert excess_per_interaction(order, share) == pytest.approx(excess / interaction, rel=1e-8)


def elementary_means(values, kept, order):
    """Mean of the products of all sets of ``order`` kept samples' values (runs × draws)."""
    sums = np.zeros((len(values), len(kept), order + 1))
    sums[..., 0] = 1
    for sample, keep in enumerate(kept.T):
        sums[..., 1:] += (values[:, sample, None] * keep)[..., None] * sums[..., :-1]
    return sums[..., order] / [comb(n, order) for n in kept.sum(axis=1)]


@pytest.mark.parametrize("order", [2, 3])
def test_components_of_pairs_and_triples_keep_less_of_their_excess(order):
    """Products of independent values: their mean has variance 1/C(S, r), all of it of order r."""
    n_samples, runs = 150, 4000
    values = np.random.default_rng(0).choice([-1.0, 1.0], (runs, n_samples))
    replicates = elementary_means(values, ~paired_deletions(n_samples), order)
    plain = np.mean([plain_variance(run, n_samples, 15) for run in replicates])
    found = np.mean([paired_standard_error(run, n_samples) ** 2 for run in replicates])
    truth = 1 / comb(n_samples, order)
    counted = sum((10 / 9) ** power for power in range(order))
    # The runs' means are known to 5 %; plain and found share their errors.
    assert plain / truth == pytest.approx(counted, rel=0.15)
    taken_off = excess_per_interaction(ORDER, 0.1) / excess_per_interaction(order, 0.1)
    expected = 1 - (1 - 1 / counted) * taken_off
    assert found / plain == pytest.approx(expected, abs=0.06)
    assert truth < found < plain


def test_two_fifths_of_the_plain_variance_stay():
    replicates = np.random.default_rng(0).standard_normal(63)
    replicates[42:] *= 10  # an interaction far beyond what single sets do
    expected = LEAST_SHARE * plain_variance(replicates, 100, 10)
    assert paired_standard_error(replicates, 100) ** 2 == pytest.approx(expected)


def test_the_interval_is_around_the_value_and_says_how_it_was_made():
    replicates = 0.5 + 0.01 * np.random.default_rng(0).standard_normal(63)
    found = paired_interval(0.5, replicates, 240)
    assert found.se == paired_standard_error(replicates, 240)
    assert found.high - 0.5 == pytest.approx(1.959964 * found.se)
    assert 0.5 - found.low == pytest.approx(1.959964 * found.se)
    assert found.method == (
        "deleting 24 of 240 samples at random, 42 draws, less the excess seen in 21 pairs of them"
    )


def test_an_undefined_replicate_leaves_no_interval():
    assert paired_interval(0.5, np.append(np.zeros(62), np.nan), 240).se is None

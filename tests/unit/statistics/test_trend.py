"""Whether a series rose: the interval, its coverage, and what is too short to tell."""

import numpy as np
import pytest
from scipy.stats import ttest_ind

from hrsa.statistics.trend import rise


def test_the_interval_is_welchs_of_the_two_outer_thirds():
    values = np.random.default_rng(0).normal(size=20) + np.arange(20) / 5
    found = rise(values)
    welch = ttest_ind(values[-6:], values[:6], equal_var=False).confidence_interval(0.95)
    assert (found.ci_low, found.ci_high) == pytest.approx((welch.low, welch.high))
    assert found.first == pytest.approx(values[:6].mean())
    assert found.last == pytest.approx(values[-6:].mean())
    assert found.difference == pytest.approx(found.last - found.first)
    assert found.n == 20


@pytest.mark.parametrize("n", [9, 30, 300])
@pytest.mark.parametrize("kind", ["normal", "shares"])
def test_the_interval_covers_the_true_difference_as_often_as_it_says(n, kind):
    rng = np.random.default_rng(1)
    truth = 0.2
    means = np.repeat([0.4, 0.5, 0.6], n // 3)
    runs = 2000
    if kind == "normal":
        series = rng.normal(means, np.repeat([0.05, 0.1, 0.15], n // 3), size=(runs, n))
    else:  # the share of right completions in a step of 32
        series = rng.binomial(32, means, size=(runs, n)) / 32
    covered = [found.ci_low <= truth <= found.ci_high for found in map(rise, series)]
    # a true 95 % is seen within 1.5 percentage points nearly always (three standard errors)
    assert 0.935 < np.mean(covered) < (0.98 if n == 9 else 0.965)  # shares are discrete


def test_noise_alone_seldom_rises_and_a_clear_rise_is_seen():
    rng = np.random.default_rng(2)
    noise = [rise(rng.normal(size=60)).rose for _ in range(1000)]
    assert np.mean(noise) == pytest.approx(0.025, abs=0.015)
    rare = [rise(rng.binomial(32, 0.02, size=12) / 32).rose for _ in range(1000)]
    assert np.mean(rare) < 0.025
    assert rise(np.linspace(0, 1, 60) + rng.normal(scale=0.2, size=60)).rose
    assert rise(np.linspace(1, 0, 60) + rng.normal(scale=0.2, size=60)).rose is False


@pytest.mark.parametrize("n", [1, 2, 3, 8])
def test_a_short_series_has_means_and_no_verdict(n):
    found = rise(np.arange(n))
    assert found.rose is None
    assert np.isnan([found.ci_low, found.ci_high]).all()
    assert found.difference == found.last - found.first


def test_a_reward_that_never_moves_did_not_rise():
    assert rise(np.zeros(30)).rose is False
    assert (rise(np.zeros(30)).ci_low, rise(np.zeros(30)).ci_high) == (0, 0)


def test_a_jump_between_two_constants_is_a_rise():
    assert rise([0.0] * 10 + [1.0] * 10).rose is True


def test_an_empty_series_tells_nothing():
    found = rise([])
    assert found.rose is None
    assert found.n == 0


@pytest.mark.parametrize("values", [[1.0, float("nan")], [[1.0, 2.0]]])
def test_only_one_row_of_finite_numbers_is_read(values):
    with pytest.raises(ValueError, match="finite"):
        rise(values)

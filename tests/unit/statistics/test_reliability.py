import numpy as np
import pytest

from hrsa.statistics.reliability import spearman_brown, split_half_correlation


def test_halves_that_differ_by_a_shift_and_a_scale_correlate_fully():
    first = np.array([0.1, 0.5, 0.2, 0.9])
    assert split_half_correlation(first, 2 * first + 1) == pytest.approx(1)


@pytest.mark.parametrize("halves", [([0.1, 0.2], [0.1, 0.3]), ([0.5, 0.5, 0.5], [0.1, 0.2, 0.3])])
def test_too_few_or_equal_values_have_no_correlation(halves):
    assert np.isnan(split_half_correlation(*map(np.array, halves)))


def test_the_reliability_of_the_whole_is_that_of_the_mean_of_both_halves():
    """Two means of independent halves correlate as Spearman and Brown say of one half's."""
    rng = np.random.default_rng(0)
    true = rng.standard_normal(200_000)
    a, b, c, d = true + 0.8 * rng.standard_normal((4, len(true)))
    wanted = np.corrcoef((a + b) / 2, (c + d) / 2)[0, 1]
    assert spearman_brown(split_half_correlation(a, b)) == pytest.approx(wanted, abs=0.005)


@pytest.mark.parametrize("correlation", [-1.0, -0.5, float("nan")])
def test_halves_that_do_not_agree_have_no_reliability(correlation):
    assert np.isnan(spearman_brown(correlation))

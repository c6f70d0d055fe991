"""The equivalence test: intervals, p-values and verdicts of a difference against a margin."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from hrsa.errors import UserError
from hrsa.statistics.equivalence import (
    BOTH,
    DIFFERENT,
    EQUIVALENT,
    INCONCLUSIVE,
    VERDICTS,
    equivalence,
    paired_equivalence,
)

DATA = [
    (n, shift, margin)
    for n in (2, 3, 7, 30, 400)
    for shift in (0, -0.4, 2)
    for margin in (0.3, 1.5)
]
PAIRED = st.integers(2, 40).flatmap(
    lambda n: arrays(np.float64, n, elements=st.integers(-1000, 1000).map(lambda x: x / 8))
)
MARGINS = st.integers(1, 400).map(lambda x: x / 8)


def sample(n, shift):
    return np.random.default_rng([n, round(10 * shift) + 100]).normal(shift, 1, n)


@pytest.mark.parametrize(("n", "shift", "margin"), DATA)
def test_p_values_are_those_of_statsmodels(n, shift, margin):
    weightstats = pytest.importorskip("statsmodels.stats.weightstats")
    reference = np.random.default_rng(n).normal(50, 10, n)
    candidate = reference + sample(n, shift)
    found = paired_equivalence(candidate - reference, margin=margin)
    p, lower, upper = weightstats.ttost_paired(candidate, reference, -margin, margin)
    assert found.p_tost == pytest.approx(p, abs=1e-10)
    assert found.p_tost == pytest.approx(max(lower[1], upper[1]), abs=1e-10)
    assert (found.df, found.n) == (lower[2], n)


@pytest.mark.parametrize(("n", "shift", "margin"), DATA)
def test_intervals_and_the_other_p_value_are_those_of_the_t_test(n, shift, margin):
    differences = sample(n, shift)
    found, test = paired_equivalence(differences, margin=margin), stats.ttest_1samp(differences, 0)
    assert found.p_difference == pytest.approx(test.pvalue, abs=1e-12)
    assert found.ci95 == pytest.approx(test.confidence_interval(0.95))
    assert found.ci90 == pytest.approx(test.confidence_interval(0.90))
    assert found.difference == pytest.approx(differences.mean())
    assert found.se == pytest.approx(stats.sem(differences))


def test_a_hand_computed_example():
    found = paired_equivalence([0.0, 1.0, 2.0], margin=3)
    assert (found.n, found.difference, found.df, found.margin) == (3, 1, 2, 3)
    assert found.se == pytest.approx(1 / math.sqrt(3))
    # t with 2 degrees of freedom: 2.920 and 4.303; P(t > x) = 1/2 − x / (2 √(2 + x²))
    assert found.ci90 == pytest.approx((1 - 2.91999 * 0.57735, 1 + 2.91999 * 0.57735), abs=1e-5)
    assert found.ci95 == pytest.approx((1 - 4.30265 * 0.57735, 1 + 4.30265 * 0.57735), abs=1e-5)
    assert found.p_tost == pytest.approx(0.5 - math.sqrt(12) / (2 * math.sqrt(14)))
    assert found.p_difference == pytest.approx(1 - math.sqrt(3) / math.sqrt(5))
    assert found.verdict == EQUIVALENT


@pytest.mark.parametrize(
    ("difference", "se", "verdict"),
    [
        (0.0, 0.3, EQUIVALENT),
        (0.5, 0.1, BOTH),
        (-0.5, 0.1, BOTH),
        (2.0, 0.3, DIFFERENT),
        (-2.0, 0.3, DIFFERENT),
        (0.9, 0.1, DIFFERENT),  # 90 % interval reaches beyond the margin
        (0.0, 1.0, INCONCLUSIVE),
        (0.9, 0.6, INCONCLUSIVE),
    ],
)
def test_the_verdict_follows_the_two_intervals(difference, se, verdict):
    found = equivalence(difference, se, math.inf, margin=1)
    assert found.verdict == verdict
    assert found.n is None


def test_the_90_percent_interval_decides_equivalence_and_the_95_percent_interval_difference():
    between = (stats.norm.ppf(0.95) + stats.norm.ppf(0.975)) / 2  # inside 90 %, outside 95 %
    assert equivalence(0, 1 / between, math.inf, margin=1).verdict == EQUIVALENT
    assert equivalence(between, 1, math.inf, margin=100).verdict == EQUIVALENT  # not different


def test_infinite_degrees_of_freedom_are_the_normal_distribution():
    found = equivalence(0.4, 0.5, math.inf, margin=1)
    assert found.p_difference == pytest.approx(2 * stats.norm.sf(0.8))
    assert found.p_tost == pytest.approx(stats.norm.sf(1.2))
    assert found.ci95 == pytest.approx(stats.norm.interval(0.95, 0.4, 0.5))


@pytest.mark.parametrize(
    ("constant", "verdict", "p_difference", "p_tost"),
    [(0.0, EQUIVALENT, 1, 0), (0.1, BOTH, 0, 0), (-0.5, DIFFERENT, 0, 1), (3.0, DIFFERENT, 0, 1)],
)
def test_differences_that_are_all_equal_have_a_point_for_an_interval(
    constant, verdict, p_difference, p_tost
):
    found = paired_equivalence([constant] * 7, margin=0.5)
    assert found.se == 0
    assert found.ci90 == found.ci95 == (constant, constant)
    assert (found.p_difference, found.p_tost) == (p_difference, p_tost)
    assert found.verdict == verdict


@given(differences=PAIRED, margin=MARGINS)
def test_exchanging_the_models_changes_signs_and_nothing_else(differences, margin):
    found = paired_equivalence(differences, margin=margin)
    mirrored = paired_equivalence(-differences, margin=margin)
    assert mirrored.difference == -found.difference
    assert mirrored.ci90 == (-found.ci90[1], -found.ci90[0])
    assert mirrored.ci95 == (-found.ci95[1], -found.ci95[0])
    assert (mirrored.p_tost, mirrored.p_difference) == (found.p_tost, found.p_difference)
    assert mirrored.verdict == found.verdict


@given(differences=PAIRED, margin=MARGINS, power=st.integers(-8, 8))
def test_another_unit_of_score_changes_the_unit_of_the_result_and_nothing_else(
    differences, margin, power
):
    scale = 2.0**power  # exact in floating point
    found = paired_equivalence(differences, margin=margin)
    scaled = paired_equivalence(scale * differences, margin=scale * margin)
    assert scaled.difference == pytest.approx(scale * found.difference, rel=1e-12)
    assert scaled.se == pytest.approx(scale * found.se, rel=1e-12)
    assert scaled.ci90 == pytest.approx(tuple(scale * end for end in found.ci90), rel=1e-12)
    assert scaled.p_tost == pytest.approx(found.p_tost, rel=1e-12)
    assert scaled.verdict == found.verdict


@given(differences=PAIRED, margin=MARGINS)
def test_verdict_intervals_and_p_values_never_contradict_each_other(differences, margin):
    found = paired_equivalence(differences, margin=margin)
    assert found.verdict in VERDICTS
    assert found.ci95[0] <= found.ci90[0] <= found.difference <= found.ci90[1] <= found.ci95[1]
    assert 0 <= found.p_tost <= 1
    assert 0 <= found.p_difference <= 1
    if abs(found.p_tost - 0.05) > 1e-9:
        assert (found.verdict in (EQUIVALENT, BOTH)) == (found.p_tost < 0.05)
    if abs(found.p_difference - 0.05) > 1e-9:
        assert (found.verdict in (DIFFERENT, BOTH)) == (found.p_difference < 0.05)


@given(differences=PAIRED, margin=MARGINS)
def test_a_wider_margin_never_loses_an_equivalence(differences, margin):
    narrow = paired_equivalence(differences, margin=margin)
    wide = paired_equivalence(differences, margin=2 * margin)
    assert wide.p_tost <= narrow.p_tost
    assert (wide.ci90, wide.ci95) == (narrow.ci90, narrow.ci95)


@pytest.mark.parametrize("margin", [0, -0.5, math.nan, math.inf])
def test_a_margin_that_is_not_above_zero_is_refused(margin):
    with pytest.raises(UserError, match=rf"margin .* is {margin}; it must be a number above 0"):
        paired_equivalence([0.1, 0.2, 0.3], margin=margin)
    with pytest.raises(UserError, match="largest difference that would not matter"):
        equivalence(0.1, 0.1, 5, margin=margin)


@pytest.mark.parametrize("differences", [[], [0.4]])
def test_fewer_than_two_units_are_refused(differences):
    with pytest.raises(UserError, match="at least 2 independent units") as caught:
        paired_equivalence(differences, margin=1)
    assert f" {len(differences)}:" in str(caught.value)
    with pytest.raises(UserError, match="at least 2 independent units"):
        equivalence(0.1, 0.1, 5, margin=1, n=len(differences))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_differences_that_are_not_numbers_are_refused_and_the_first_is_named(bad):
    with pytest.raises(UserError, match=rf"2 of 4 .* the first at place 1: {bad}"):
        paired_equivalence([0.1, bad, 0.3, bad], margin=1)


def test_a_table_of_differences_is_refused():
    with pytest.raises(UserError, match=r"one row.*\(3, 2\)"):
        paired_equivalence(np.zeros((3, 2)), margin=1)


@pytest.mark.parametrize(
    ("difference", "se", "df", "named"),
    [
        (math.nan, 1, 5, "difference"),
        (math.inf, 1, 5, "difference"),
        (0, -1, 5, "standard error"),
        (0, math.nan, 5, "standard error"),
        (0, math.inf, 5, "standard error"),
        (0, 1, 0, "degrees of freedom"),
        (0, 1, math.nan, "degrees of freedom"),
    ],
)
def test_an_estimate_that_cannot_be_tested_is_refused(difference, se, df, named):
    with pytest.raises(UserError, match=named):
        equivalence(difference, se, df, margin=1)

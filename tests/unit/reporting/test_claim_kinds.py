"""Verdicts by hand: t(∞) reaches 1.960 and 1.645 standard errors, t(2) 4.303 and 2.920."""

import math

import pytest

from hrsa.errors import UserError
from hrsa.reporting.claim_kinds import (
    ABOVE,
    BELOW,
    CONTRADICTED,
    INCONCLUSIVE,
    NOT_APPLICABLE,
    SUPPORTED,
    Difference,
    Estimated,
    Verdict,
    conjunction,
    differ,
    direction,
    equivalence,
    not_applicable,
    rank,
    within_margin,
)

NO_INTERVAL = Estimated(0.3)


class TestEstimated:
    def test_intervals_and_p_are_those_of_t(self):
        one = Estimated(1.0, 0.5, 2)
        assert one.interval() == pytest.approx((1 - 4.30265 * 0.5, 1 + 4.30265 * 0.5), abs=1e-5)
        assert one.interval(0.90) == pytest.approx((1 - 2.91999 * 0.5, 1 + 2.91999 * 0.5), abs=1e-5)
        # t = 2 with two degrees of freedom: p = 1 − t/√(t² + 2) = 1 − 2/√6
        assert one.p == pytest.approx(1 - 2 / math.sqrt(6), abs=1e-12)

    def test_without_a_standard_error_there_is_neither(self):
        assert NO_INTERVAL.interval() is None
        assert NO_INTERVAL.p is None

    def test_without_a_spread_the_interval_is_a_point(self):
        assert Estimated(0.2, 0.0, 5).interval() == (0.2, 0.2)
        assert (Estimated(0.2, 0.0, 5).p, Estimated(0.0, 0.0, 5).p) == (0.0, 1.0)


class TestDirection:
    @pytest.mark.parametrize(
        ("value", "side", "verdict"),
        [
            (1.97, ABOVE, SUPPORTED),
            (1.95, ABOVE, INCONCLUSIVE),
            (0.0, ABOVE, INCONCLUSIVE),
            (-1.95, ABOVE, INCONCLUSIVE),
            (-1.97, ABOVE, CONTRADICTED),
            (-1.97, BELOW, SUPPORTED),
            (1.97, BELOW, CONTRADICTED),
        ],
    )
    def test_the_95_percent_interval_decides(self, value, side, verdict):
        assert direction(Estimated(value, 1.0), side).verdict == verdict

    def test_two_degrees_of_freedom_need_four_standard_errors(self):
        assert direction(Estimated(4.2, 1.0, 2), ABOVE).verdict == INCONCLUSIVE
        assert direction(Estimated(4.4, 1.0, 2), ABOVE).verdict == SUPPORTED

    def test_the_reason_has_the_numbers(self):
        reason = direction(Estimated(-0.5, 0.1), ABOVE).reason
        assert reason == (
            "−0.5000, 95 % interval [−0.6960, −0.3040], does not lie above 0 but on the other side "
            "of 0"
        )

    def test_without_an_interval_nothing_is_said(self):
        found = direction(NO_INTERVAL, ABOVE)
        assert found.verdict == INCONCLUSIVE
        assert "without an interval" in found.reason


class TestEquivalence:
    @pytest.mark.parametrize(
        ("value", "verdict"),
        [
            (0.0, SUPPORTED),  # 90 % interval ±1.645
            (1.3, SUPPORTED),  # upper end 2.945 < 3
            (1.4, INCONCLUSIVE),  # upper end 3.045
            (-1.4, INCONCLUSIVE),
            (4.9, INCONCLUSIVE),  # lower end of 95 % 2.94: different, not beyond the margin
            (5.0, CONTRADICTED),  # lower end 3.04
            (-5.0, CONTRADICTED),
        ],
    )
    def test_verdicts_at_a_margin_of_three_standard_errors(self, value, verdict):
        assert equivalence(Estimated(value, 1.0), 3.0).verdict == verdict

    def test_different_but_negligible_supports_the_claim_and_is_said(self):
        found = equivalence(Estimated(0.5, 0.1), 1.0)
        assert found.verdict == SUPPORTED
        assert "differs from 0, but negligibly" in found.reason
        assert "negligibly" not in equivalence(Estimated(0.1, 0.1), 1.0).reason

    def test_p_is_that_of_tost(self):
        # t = (margin − |value|) / se = 2 with two degrees of freedom, one tail
        found = equivalence(Estimated(1.0, 1.0, 2), 3.0)
        assert found.p_tost == pytest.approx((1 - 2 / math.sqrt(6)) / 2, abs=1e-12)

    def test_a_margin_of_zero_is_refused(self):
        with pytest.raises(UserError, match="margin"):
            equivalence(Estimated(0.0, 1.0), 0.0)

    def test_without_an_interval_nothing_is_said(self):
        assert equivalence(NO_INTERVAL, 1.0).verdict == INCONCLUSIVE


class TestWithinMargin:
    @pytest.mark.parametrize(
        ("value", "verdict"),
        [
            (-9.0, SUPPORTED),  # more alike than seeds
            (1.3, SUPPORTED),
            (1.4, INCONCLUSIVE),
            (4.9, INCONCLUSIVE),
            (5.0, CONTRADICTED),
        ],
    )
    def test_only_what_exceeds_the_margin_counts(self, value, verdict):
        assert within_margin(Estimated(value, 1.0), 3.0).verdict == verdict

    def test_an_estimated_margin_has_its_own_error(self):
        effect = Estimated(1.3, 1.0)
        joint = Estimated(-1.7, 2.0)  # effect − margin, less certain than with a margin of 3
        assert within_margin(effect, 3.0).verdict == SUPPORTED
        assert within_margin(effect, 3.0, excess=joint).verdict == INCONCLUSIVE
        sure = Estimated(-1.7, 0.5)
        found = within_margin(Estimated(1.3, 9.0), 3.0, excess=sure)
        assert found.verdict == SUPPORTED
        assert found.p_tost == pytest.approx(0.000336929, rel=1e-4)  # Φ(−3.4)

    def test_without_an_interval_nothing_is_said(self):
        assert within_margin(NO_INTERVAL, 1.0).verdict == INCONCLUSIVE
        excess = Estimated(-0.7)
        assert within_margin(Estimated(0.3, 0.1), 1.0, excess=excess).verdict == INCONCLUSIVE


class TestDiffer:
    def test_the_clearest_difference_counts_corrected_for_their_number(self):
        # p of 2.5 standard errors is 0.01242: below 0.05 alone and times 4, not times 5
        one = Estimated(2.5, 1.0)
        rest = {f"other {i}": Estimated(1.0, 1.0) for i in range(4)}
        alone = differ({"a − b": one})
        assert isinstance(alone, Difference)
        assert alone.p == pytest.approx(0.0124193, abs=1e-6)
        assert alone.ci95 == pytest.approx((2.5 - 1.959964, 2.5 + 1.959964), abs=1e-5)
        four = differ({"a − b": one, **dict(list(rest.items())[:3])})
        assert (four.verdict.verdict, four.name) == (SUPPORTED, "a − b")
        assert four.p == pytest.approx(4 * 0.0124193, abs=1e-6)
        assert four.ci95[0] > 0
        five = differ({"a − b": one, **rest})
        assert five.verdict.verdict == INCONCLUSIVE
        assert five.ci95[0] < 0

    def test_more_standard_errors_win_over_a_greater_value(self):
        found = differ({"wide": Estimated(5.0, 4.0), "narrow": Estimated(-1.0, 0.1)})
        assert found.name == "narrow"

    def test_one_difference_without_an_interval_leaves_it_open(self):
        found = differ({"a": Estimated(5.0, 0.1), "b": NO_INTERVAL})
        assert found.verdict == INCONCLUSIVE
        assert "b: " in found.reason

    def test_nothing_to_compare_is_not_applicable(self):
        assert differ({}).verdict == NOT_APPLICABLE


class TestConjunction:
    @pytest.mark.parametrize(
        ("verdicts", "whole"),
        [
            ((SUPPORTED, SUPPORTED), SUPPORTED),
            ((SUPPORTED, INCONCLUSIVE), INCONCLUSIVE),
            ((SUPPORTED, CONTRADICTED), CONTRADICTED),
            ((INCONCLUSIVE, CONTRADICTED), CONTRADICTED),
            ((SUPPORTED, NOT_APPLICABLE), NOT_APPLICABLE),
            ((INCONCLUSIVE, NOT_APPLICABLE), NOT_APPLICABLE),
            ((CONTRADICTED, NOT_APPLICABLE), CONTRADICTED),
            ((), NOT_APPLICABLE),
        ],
    )
    def test_all_parts_have_to_hold(self, verdicts, whole):
        parts = {f"part {i}": Verdict(one, "") for i, one in enumerate(verdicts)}
        assert conjunction(parts).verdict == whole

    def test_the_reason_names_the_parts(self):
        found = conjunction({"cka": Verdict(SUPPORTED, ""), "knn": Verdict(CONTRADICTED, "")})
        assert found.reason == "supported: cka; contradicted: knn"

    def test_the_reason_says_what_is_missing_once(self):
        missing = not_applicable("no seed pair")
        found = conjunction({"cka": missing, "knn": missing, "probe": Verdict(SUPPORTED, "x")})
        assert found.reason == "supported: probe; not applicable: cka, knn (no seed pair)"


class TestRank:
    @pytest.mark.parametrize(
        ("higher", "side", "verdict"),
        [
            ([0.0, 0.0], "above", CONTRADICTED),
            ([0.0, 0.0], "below", SUPPORTED),
            ([1.0], "above", SUPPORTED),
            ([1.0, 0.0], "above", INCONCLUSIVE),
            ([0.0, 0.1], "above", INCONCLUSIVE),
            ([], "above", NOT_APPLICABLE),
        ],
    )
    def test_only_a_full_separation_everywhere_decides(self, higher, side, verdict):
        found = rank(higher, side=side, n_first=2, n_second=4, least_p=2 / 15)
        assert found.verdict == verdict

    def test_one_pair_of_a_kind_is_too_few(self):
        found = rank([0.0], side="below", n_first=1, n_second=4, least_p=0.4)
        assert found.verdict == INCONCLUSIVE

    def test_it_says_that_it_is_no_test(self):
        reason = rank([0.0, 0.0, 0.5], side="above", n_first=2, n_second=4, least_p=2 / 15).reason
        assert "wholly below the RLVR pairs in 2, among the RLVR pairs in 1" in reason
        assert "not a test: no p could be below 0.13" in reason


def test_what_is_missing_is_named():
    assert not_applicable("no seed pair").reason == "not applicable: no seed pair"

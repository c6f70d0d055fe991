"""Planted truths get the right verdict at the nominal rates, and weak studies say so."""

import numpy as np
import pytest
from verdict_rates import DATA_SETS, KINDS, TRUTHS, power, rates

from hrsa.reporting.claim_kinds import CONTRADICTED, INCONCLUSIVE, NOT_APPLICABLE, SUPPORTED

pytestmark = pytest.mark.slow

SAME, NEGLIGIBLE, AT_MARGIN, DIFFERENT = TRUTHS
WRONG, ENOUGH = 0.07, 0.8
STRAY = 4 * np.sqrt(0.25 / DATA_SETS)
NO_MORE_THAN_MARGIN = {
    SAME: SUPPORTED,
    NEGLIGIBLE: SUPPORTED,
    AT_MARGIN: INCONCLUSIVE,
    DIFFERENT: CONTRADICTED,
}
WITH_MARGIN = ["equivalence", "within margin", "within seed spread", "conjunction"]
# Other replicates behind the same rule: where it is hardest to be right, and at the nominal rate.
OTHER_REPLICATES = [
    "within seed spread, pairs of deletions",
    "within seed spread, bootstrap",
]
# What a strong study should say. A claim of a direction, or that numbers differ, is neither right
# nor shown to be wrong where they are the same: such a study cannot decide. No more can it where
# the number is as large as the margin.
RIGHT = {
    **dict.fromkeys(WITH_MARGIN, NO_MORE_THAN_MARGIN),
    **{kind: {NEGLIGIBLE: SUPPORTED, AT_MARGIN: INCONCLUSIVE} for kind in OTHER_REPLICATES},
    "direction": {SAME: INCONCLUSIVE, NEGLIGIBLE: SUPPORTED, DIFFERENT: SUPPORTED},
    "differ": {SAME: INCONCLUSIVE, DIFFERENT: SUPPORTED},
}
CASES = [(kind, truth) for kind, truths in RIGHT.items() for truth in truths]


def test_every_kind_is_simulated_on_two_thousand_data_sets():
    assert set(RIGHT) == set(KINDS)
    assert DATA_SETS >= 2000


@pytest.mark.parametrize(("kind", "truth"), CASES)
def test_a_strong_study_reaches_the_right_verdict(kind, truth):
    found = rates(kind, "strong", truth)
    assert found[RIGHT[kind][truth]] > ENOUGH
    assert found[NOT_APPLICABLE] == 0


@pytest.mark.parametrize(("kind", "truth"), CASES)
@pytest.mark.parametrize("design", ["strong", "weak"])
def test_wrong_verdicts_are_rare_in_any_study(kind, truth, design):
    found = rates(kind, design, truth)
    for verdict in {SUPPORTED, CONTRADICTED} - {RIGHT[kind][truth]}:
        assert found[verdict] <= WRONG


@pytest.mark.parametrize("kind", [*WITH_MARGIN, *OTHER_REPLICATES])
def test_a_number_at_the_margin_is_taken_to_be_within_it_in_5_percent(kind):
    assert 0.03 <= rates(kind, "strong", AT_MARGIN)[SUPPORTED] <= WRONG


@pytest.mark.parametrize("kind", KINDS)
def test_a_weak_study_is_inconclusive_in_most_cases(kind):
    assert rates(kind, "weak", NEGLIGIBLE)[INCONCLUSIVE] > 0.5


@pytest.mark.parametrize("kind", ["equivalence", "direction"])
@pytest.mark.parametrize("design", ["strong", "weak"])
def test_the_rate_of_support_is_the_computed_power(kind, design):
    found = rates(kind, design, NEGLIGIBLE)
    shown = found[SUPPORTED] + (found[CONTRADICTED] if kind == "direction" else 0.0)
    assert shown == pytest.approx(power(kind, design, NEGLIGIBLE), abs=STRAY)


@pytest.mark.parametrize(
    ("kind", "truth"),
    [("equivalence", SAME), ("equivalence", NEGLIGIBLE), ("direction", NEGLIGIBLE)],
)
def test_the_strong_study_is_strong_by_computation_too(kind, truth):
    assert power(kind, "strong", truth) > ENOUGH
    assert power(kind, "weak", truth) < 0.5

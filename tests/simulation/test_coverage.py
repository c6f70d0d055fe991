"""The intervals cover what they should: a shortened run of the simulation in docs/metrics.md."""

import pytest
from interval_coverage import SETTINGS, simulate

pytestmark = pytest.mark.slow

RUNS = 50
# The mean standard error over the true one, which 50 runs know to a tenth. The goal is 1.6 and for
# H_inv 2.0; the full run finds at most 1.5, and 1.84 for H_inv.
MOST = {"H_inv at this n": 2.2}


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: f"{s.grouping}-{s.strength}")
def test_intervals_cover_the_truth_and_are_not_too_wide(setting):
    table = simulate(setting, RUNS).set_index("statistic")
    assert table["coverage"].between(0.88, 1.0).all(), table
    for name, ratio in table["SE / true SE"].items():
        assert ratio <= MOST.get(name, 1.6), table
    assert table.loc["CKA, sample-debiased", "bias"] == pytest.approx(0, abs=0.02)
    assert table.loc["correlation", "bias"] == pytest.approx(0, abs=0.02)

"""Power of the two tests, the margins and numbers of units that follow, and plans of studies."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hrsa.errors import UserError
from hrsa.statistics.equivalence import EQUIVALENT, paired_equivalence
from hrsa.statistics.power import (
    detectable_difference,
    difference_power,
    equivalence_power,
    plan,
    smallest_margin,
    units_needed,
)

DOCS = Path(__file__).parents[3] / "docs" / "power.md"
RUNS = 4000
# four standard errors of a share: about one run in 16 000 strays so far
STRAY = 4 * math.sqrt(0.25 / RUNS)
SPREADS = st.floats(0.01, 100)


@pytest.mark.parametrize(("n", "cv", "published"), [(20, 0.20, 0.8346802), (40, 0.30, 0.8158453)])
def test_power_of_a_crossover_study_is_the_published_one(n, cv, published):
    """PowerTOST (R): power.TOST(CV, n) of a 2×2 crossover, limits 0.80–1.25, true ratio 0.95.

    Its difference has the standard error √(2 ln(1 + CV²)/n) with n − 2 degrees of freedom: as n − 1
    paired differences have.
    """
    units = n - 1
    spread = math.sqrt(2 * math.log(1 + cv**2) / n) * math.sqrt(units)
    found = equivalence_power(units, spread, math.log(1.25), difference=math.log(0.95))
    assert found == pytest.approx(published, abs=1e-7)


@pytest.mark.parametrize("n", [2, 3, 4, 12, 30])
@pytest.mark.parametrize("margin", [0.3, 1, 3, 300])
@pytest.mark.parametrize("difference", [0, 0.5, 1, 1.5])
@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_power_of_equivalence_is_an_integral_over_the_sample_spread(n, margin, difference, alpha):
    """Computed here by 100 000 equal steps."""
    edge, shift = margin * math.sqrt(n), difference * margin * math.sqrt(n)
    critical = stats.t.ppf(1 - alpha, n - 1)
    ends = np.linspace(0, min(edge / critical, 9), 100_001)
    s = (ends[1:] + ends[:-1]) / 2
    density = stats.chi.pdf(s * math.sqrt(n - 1), n - 1) * math.sqrt(n - 1)
    half = edge - critical * s
    inner = stats.norm.cdf(half - shift) - stats.norm.cdf(-half - shift)
    expected = np.sum(inner * density) * (ends[1] - ends[0])
    found = equivalence_power(n, 2.0, 2 * margin, difference=2 * difference * margin, alpha=alpha)
    assert found == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("n", [2, 3, 7, 12, 30])
@pytest.mark.parametrize("difference", [-1.5, -0.1, 0, 0.1, 0.5])
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_power_of_a_difference_is_that_of_the_noncentral_t(n, difference, alpha):
    critical, centre = stats.t.ppf(1 - alpha / 2, n - 1), difference * math.sqrt(n) / 2
    expected = stats.nct.sf(critical, n - 1, centre) + stats.nct.cdf(-critical, n - 1, centre)
    assert difference_power(n, 2.0, difference, alpha) == pytest.approx(expected, abs=1e-9)


def test_power_of_a_difference_is_that_of_statsmodels():
    statsmodels_power = pytest.importorskip("statsmodels.stats.power")
    for n, effect in [(4, 1.0), (12, 0.5), (30, 0.2)]:
        expected = statsmodels_power.TTestPower().power(effect, n, 0.05)
        assert difference_power(n, 10.0, 10 * effect) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(
    ("n", "margin", "difference"), [(3, 2.0, 0), (4, 1.5, 0.3), (7, 1.0, 0), (12, 1.0, 0.4)]
)
def test_tests_on_drawn_differences_find_as_much_as_computed(n, margin, difference):
    rng = np.random.default_rng([n, 1])
    found = [paired_equivalence(row, margin=margin) for row in rng.normal(difference, 1, (RUNS, n))]
    equivalent = np.mean([EQUIVALENT in one.verdict for one in found])
    different = np.mean([one.p_difference < 0.05 for one in found])
    computed = equivalence_power(n, 1.0, margin, difference=difference)
    assert equivalent == pytest.approx(computed, abs=STRAY)
    assert different == pytest.approx(difference_power(n, 1.0, difference), abs=STRAY)


@pytest.mark.parametrize("n", [2, 4, 12, 200])
def test_at_the_margin_the_error_reaches_but_never_exceeds_its_level(n):
    errors = [equivalence_power(n, 1.0, margin, difference=margin) for margin in (0.1, 1, 10, 100)]
    assert max(errors) <= 0.05 + 1e-12
    assert min(np.diff(errors)) >= -1e-12
    assert errors[-1] == pytest.approx(0.05, abs=1e-9)
    assert difference_power(n, 1.0, 0.0) == pytest.approx(0.05, abs=1e-12)


def test_extreme_designs_have_a_power_between_0_and_1():
    assert equivalence_power(10**6, 1.0, 0.01) == pytest.approx(1)
    assert equivalence_power(2, 1.0, 1e-3) == pytest.approx(0, abs=1e-3)
    assert equivalence_power(10**6, 1.0, 1e-4) == 0
    assert difference_power(2, 1.0, 1e6) == pytest.approx(1)
    assert difference_power(10**6, 1.0, 1.0) == pytest.approx(1)


@given(n=st.integers(2, 200), spread=SPREADS, power=st.floats(0.1, 0.99))
def test_the_smallest_margin_and_difference_have_the_power_asked_for(n, spread, power):
    margin = smallest_margin(n, spread, power)
    assert equivalence_power(n, spread, margin) == pytest.approx(power, abs=1e-9)
    difference = detectable_difference(n, spread, power)
    assert difference_power(n, spread, difference) == pytest.approx(power, abs=1e-9)


@pytest.mark.parametrize("ratio", [0.01, 0.3, 0.5, 1, 2, 5])
@pytest.mark.parametrize("power", [0.1, 0.8, 0.95])
def test_the_units_needed_are_the_first_number_with_the_power(ratio, power):
    needed = units_needed(3 * ratio, 3.0, power)
    assert equivalence_power(needed, 3 * ratio, 3.0) >= power
    assert all(equivalence_power(n, 3 * ratio, 3.0) < power for n in range(2, needed))


def test_units_without_spread_leave_no_doubt():
    assert equivalence_power(2, 0.0, 1.0) == 1
    assert equivalence_power(2, 0.0, 1.0, difference=1.0) == 0
    assert (difference_power(2, 0.0, 0.1), difference_power(2, 0.0, 0.0)) == (1, 0)
    assert (smallest_margin(2, 0.0), detectable_difference(2, 0.0)) == (0, 0)
    assert units_needed(0.0, 1.0) == 2


def study(**changes):
    known = {"items": 100, "tasks": 12, "seeds": 3, "margin": 2.0}
    spreads = {"item_spread": 20.0, "task_spread": 1.5, "seed_spread": 0.5}
    return plan(**known | spreads | changes)


def test_a_plan_takes_each_unit_as_random_and_the_others_as_fixed():
    planned = study()
    task_means = math.sqrt(1.5**2 + 20.0**2 / 100)
    for found, n, spread in [
        (planned.tasks, 12, task_means),
        (planned.seeds, 3, 0.5),
        (planned.items, 100, 20.0),
    ]:
        assert (found.n, found.reason) == (n, "")
        assert found.spread == pytest.approx(spread)
        assert found.power == equivalence_power(n, found.spread, 2.0)
        assert found.smallest_margin == smallest_margin(n, found.spread)
        assert found.detectable_difference == detectable_difference(n, found.spread)
    assert planned.tasks.units_needed == units_needed(task_means, 2.0)
    assert planned.items.units_needed == units_needed(20.0, 2.0)


def test_the_spread_of_a_plan_is_that_of_drawn_tasks_and_seeds():
    rng = np.random.default_rng(11)
    items, tasks, seeds, runs = 100, 12, 3, 3000
    common_to_tasks = rng.normal(0, 0.5, (runs, seeds, 1, 1))
    of_task = rng.normal(0, 1.5, (runs, 1, tasks, 1))
    item_means = rng.normal(0, 20 / math.sqrt(items), (runs, 1, tasks, 1))
    of_runs = (common_to_tasks + of_task + item_means)[..., 0]
    planned = study()
    over_tasks, over_seeds = of_runs.mean(axis=1), of_runs.mean(axis=2)
    assert over_tasks.var(axis=1, ddof=1).mean() ** 0.5 == pytest.approx(planned.tasks.spread, 0.02)
    assert over_seeds.var(axis=1, ddof=1).mean() ** 0.5 == pytest.approx(planned.seeds.spread, 0.04)


@pytest.mark.parametrize("seeds", [1, 2])
def test_with_fewer_than_three_seeds_the_test_over_seeds_is_refused_and_others_are_offered(seeds):
    planned = study(seeds=seeds)
    assert planned.seeds.power is planned.seeds.smallest_margin is None
    assert planned.seeds.detectable_difference is None
    assert re.search(rf"at least 3, and the study has {seeds}; .* items", planned.seeds.reason)
    assert planned.seeds.units_needed == 3
    assert planned.items.power is not None
    assert planned.tasks.power is not None


def test_three_seeds_are_needed_however_alike_they_are():
    assert units_needed(1e-6, 2.0) == 2
    assert study(seed_spread=1e-6).seeds.units_needed == 3


def test_without_a_spread_between_seeds_there_is_no_plan_over_seeds():
    found = study(seed_spread=None).seeds
    assert (found.power, found.spread, found.units_needed) == (None, None, None)
    assert found.reason == "the spread between seeds is not given"


@pytest.mark.parametrize("unit", ["tasks", "items"])
def test_a_single_task_or_item_has_no_test_but_a_number_that_would_do(unit):
    found = getattr(study(**{unit: 1}), unit)
    assert found.power is None
    assert "at least 2, and the study has 1" in found.reason
    assert found.units_needed > 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"margin": 0}, "margin .* is 0; it must be a number above 0"),
        ({"margin": -1.0}, "margin"),
        ({"margin": math.nan}, "margin"),
        ({"items": 0}, "at least 1 of its items, not 0"),
        ({"tasks": -3}, "at least 1 of its tasks, not -3"),
        ({"seeds": 0}, "at least 1 of its seeds, not 0"),
        ({"item_spread": 0}, "between items is 0; it must be a number above 0"),
        ({"item_spread": math.nan}, "between items is nan"),
        ({"task_spread": -0.1}, "between tasks is -0.1; it must be a number of 0 or more"),
        ({"seed_spread": 0.0}, "between seeds is 0.0; it must be a number above 0"),
        ({"margin": 1e-9}, "more than 1e.09 units"),
    ],
)
def test_a_plan_that_cannot_be_made_says_why(changes, message):
    with pytest.raises(UserError, match=message):
        study(**changes)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: equivalence_power(1, 1.0, 1.0), "at least 2"),
        (lambda: equivalence_power(5, -1.0, 1.0), "spread between units is -1.0"),
        (lambda: equivalence_power(5, math.nan, 1.0), "spread between units is nan"),
        (lambda: equivalence_power(5, 1.0, 0.0), "margin"),
        (lambda: equivalence_power(5, 1.0, 1.0, difference=math.inf), "true difference is inf"),
        (lambda: equivalence_power(5, 1.0, 1.0, alpha=0.5), "alpha is 0.5"),
        (lambda: difference_power(1, 1.0, 1.0), "at least 2"),
        (lambda: difference_power(5, 1.0, math.nan), "true difference is nan"),
        (lambda: difference_power(5, 1.0, 1.0, 0), "alpha is 0"),
        (lambda: smallest_margin(5, 1.0, 1.0), "power is 1.0; it must lie between 0.05 and 1"),
        (lambda: detectable_difference(5, 1.0, 0.05), "power is 0.05"),
        (lambda: units_needed(1.0, 1.0, 0.01), "power is 0.01"),
        (lambda: units_needed(1.0, -1.0), "margin"),
    ],
)
def test_numbers_out_of_range_are_refused(call, message):
    with pytest.raises(UserError, match=message):
        call()


def documented_table(first_heads):
    """Heads and rows, as text, of the table in the docs whose first columns have these heads."""
    lines = DOCS.read_text(encoding="utf-8").splitlines()
    (start,) = (i for i, line in enumerate(lines) if line.startswith(first_heads))
    rows = [line.strip("| ").split(" | ") for line in lines[start:]]
    return rows[0], rows[2 : rows.index([""])]


def test_the_documented_powers_are_the_computed_ones():
    heads, rows = documented_table("| tasks | 0.25 |")
    ratios = [float(head) for head in heads[1:-2]]
    assert [int(row[0]) for row in rows] == [4, 7, 12, 30]
    for n, *powers, margin, difference in rows:
        assert powers == [f"{equivalence_power(int(n), ratio, 1.0):.2f}" for ratio in ratios]
        assert margin == f"{smallest_margin(int(n), 1.0):.2f}"
        assert difference == f"{detectable_difference(int(n), 1.0):.2f}"


def test_the_documented_numbers_of_units_are_the_computed_ones():
    heads, rows = documented_table("| power | 0.25 |")
    for power, *needed in rows:
        computed = [units_needed(float(ratio), 1.0, float(power)) for ratio in heads[1:]]
        assert needed == [str(number) for number in computed]

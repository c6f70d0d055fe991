"""How many tasks, seeds or items a study needs before "no difference" can be shown at all.

All of it is for differences that are normal and independent from unit to unit, and exact for these:
the sample's standard deviation is integrated over, not put in place of the true one.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import gammainccinv, gammaincinv, gammaln, ndtr, stdtrit

from hrsa.errors import UserError
from hrsa.statistics.equivalence import check_margin

ALPHA = 0.05
POWER = 0.8
MOST_UNITS = 10**9
FEWEST = {"tasks": 2, "seeds": 3, "items": 2}
OTHERWISE = {
    "tasks": "test each task over its items",
    "seeds": "test over tasks, or each task over its items: of these training runs only",
    "items": "test over tasks",
}
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(100)
_NEGLIGIBLE = 1e-15  # probability left out at either end of the integral


def equivalence_power(
    n: int, spread: float, margin: float, *, difference: float = 0.0, alpha: float = ALPHA
) -> float:
    """Probability that the paired TOST calls a difference equivalent.

    Parameters
    ----------
    n : int
        Independent units (tasks, seeds or items), ≥ 2.
    spread : float
        True standard deviation of the difference from unit to unit, ≥ 0, in the unit of the scores.
    margin : float
        > 0, in the unit of the scores.
    difference : float
        True mean difference.
    alpha : float
        Level of either one-sided test, between 0 and 0.5; 0.05 goes with the 90 % interval.

    Returns
    -------
    float
        At a difference of ±margin it is the test's error, never above alpha.

    Raises
    ------
    UserError
        Fewer than two units, a negative spread, a margin that is not above 0, a difference that is
        not a finite number, or an alpha out of range.

    Notes
    -----
    The test rejects where |mean| < margin − t·s/√n. Given s this is an interval of a normal
    variable; its probability is integrated over the chi distribution of s (the integral of Owen's Q
    functions, without taking differences of them).

    References
    ----------
    Owen (1965), A special case of a bivariate non-central t-distribution. Schuirmann (1987), A
    comparison of the two one-sided tests procedure and the power approach. Phillips (1990), Power
    of the two one-sided tests procedure in bioequivalence.
    """
    _check_design(n, spread, difference, alpha)
    check_margin(margin)
    if spread == 0:
        return float(abs(difference) < margin)
    se = spread / math.sqrt(n)
    critical, edge, shift = float(stdtrit(n - 1, 1 - alpha)), margin / se, difference / se

    def called_equivalent(s: np.ndarray) -> np.ndarray:
        half = edge - critical * s  # ≥ 0 up to the `highest` s
        return ndtr(half - shift) - ndtr(-half - shift)

    turn = ((edge - abs(shift)) / critical, 1 / critical)
    return _mean_over_s(called_equivalent, n - 1, turn, highest=edge / critical)


def difference_power(n: int, spread: float, difference: float, alpha: float = ALPHA) -> float:
    """Probability that the two-sided paired t test finds a difference.

    Parameters
    ----------
    n, spread, alpha
        As in `equivalence_power`; alpha is the level of the two sides together.
    difference : float
        True mean difference, in the unit of the scores.

    Returns
    -------
    float
        alpha where the difference is zero. The two tails of the noncentral t distribution with
        n − 1 degrees of freedom and noncentrality √n·difference/spread.

    Raises
    ------
    UserError
        As in `equivalence_power`.
    """
    _check_design(n, spread, difference, alpha)
    if spread == 0:
        return float(difference != 0)
    shift = difference / (spread / math.sqrt(n))
    critical = float(stdtrit(n - 1, 1 - alpha / 2))

    def called_different(s: np.ndarray) -> np.ndarray:
        return ndtr(shift - critical * s) + ndtr(-shift - critical * s)

    return _mean_over_s(called_different, n - 1, (abs(shift) / critical, 1 / critical))


def smallest_margin(n: int, spread: float, power: float = POWER) -> float:
    """Smallest margin within which a true difference of zero is called equivalent with a power.

    Parameters
    ----------
    n, spread
        As in `equivalence_power`.
    power : float
        Between 0.05 and 1.

    Returns
    -------
    float
        In the unit of `spread`. A study with a smaller margin will often be inconclusive.

    Raises
    ------
    UserError
        As in `equivalence_power`, or a power out of range.
    """
    _check_design(n, spread)
    _check_power(power)
    return spread * _root(lambda ratio: equivalence_power(n, 1.0, ratio) - power, n)


def detectable_difference(n: int, spread: float, power: float = POWER) -> float:
    """Smallest true difference that the two-sided test finds with a power.

    Parameters, unit and errors are those of `smallest_margin`.
    """
    _check_design(n, spread)
    _check_power(power)
    return spread * _root(lambda ratio: difference_power(n, 1.0, ratio) - power, n)


def units_needed(spread: float, margin: float, power: float = POWER) -> int:
    """Fewest units with which a true difference of zero is called equivalent with a power.

    Parameters
    ----------
    spread, margin
        As in `equivalence_power`.
    power : float
        Between 0.05 and 1.

    Returns
    -------
    int
        At least 2.

    Raises
    ------
    UserError
        As in `equivalence_power`; a power out of range; or more than 10⁹ units would be needed.
    """
    _check_design(2, spread)
    check_margin(margin)
    _check_power(power)
    enough = 2
    while equivalence_power(enough, spread, margin) < power:
        enough *= 2
        if enough > MOST_UNITS:
            raise UserError(
                f"With a spread of {spread:g} from unit to unit a margin of {margin:g} would need "
                f"more than {MOST_UNITS:.0e} units: check that both are in the same unit of score, "
                "or widen the margin."
            )
    too_few = enough // 2  # 1 cannot be tested; above alpha the power only rises with n
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        if equivalence_power(middle, spread, margin) < power:
            too_few = middle
        else:
            enough = middle
    return enough


@dataclass(frozen=True)
class UnitPlan:
    """What the equivalence test over one kind of unit can show.

    Attributes
    ----------
    unit : str
        tasks, seeds or items.
    n : int
        Units that the study has.
    spread : float or None
        Standard deviation of the difference from unit to unit; None: not known.
    power : float or None
        Of calling a true difference of zero equivalent; None: there is no such test, see `reason`.
    smallest_margin, detectable_difference : float or None
        As the functions of these names, for a power of 0.8; None with `power`.
    units_needed : int or None
        For a power of 0.8, as many as the test asks for at least; None where `spread` is.
    reason : str
        Why there is no test, and what to do; else empty.
    """

    unit: str
    n: int
    spread: float | None
    power: float | None
    smallest_margin: float | None
    detectable_difference: float | None
    units_needed: int | None
    reason: str


@dataclass(frozen=True)
class Plan:
    """The equivalence tests of a study within one margin: over tasks, over seeds, over items."""

    margin: float
    tasks: UnitPlan
    seeds: UnitPlan
    items: UnitPlan


def plan(
    items: int,
    tasks: int,
    seeds: int,
    *,
    item_spread: float,
    task_spread: float,
    margin: float,
    seed_spread: float | None = None,
) -> Plan:
    """Plan a study that wants to show that two models score the same.

    The difference between the models on item i of task g, trained with seed s of either, is taken
    to be mean + task g + item i of g + seed s, each part normal and independent of the others. Each
    test takes its own unit as random and the rest as fixed, and so speaks of other units of its
    kind, and of the study's own of the rest:

    - over tasks: n = `tasks`; a unit is the task's mean over its items and the seeds, of variance
      task_spread² + item_spread²/items. The shift that the seeds have in common over all tasks is
      not in it: the result is of these training runs.
    - over seeds: n = `seeds`; a unit is one seed's mean over all tasks and items, of variance
      seed_spread². Tasks and items are the same for all seeds and are not in it: the result is of
      this suite.
    - over items: n = `items`; a unit is an item of one task, the mean over the seeds, of variance
      item_spread². The result is of this task and these training runs.

    Parameters
    ----------
    items : int
        Items of each task, ≥ 1.
    tasks, seeds : int
        ≥ 1. The test over seeds needs three; with fewer it is refused, and the tests over tasks and
        items remain.
    item_spread : float
        Standard deviation of the difference between items of a task, > 0 (averaged over as many
        seeds as the study has). All spreads are in the unit of the scores.
    task_spread : float
        Between tasks, of their true differences, ≥ 0.
    margin : float
        > 0.
    seed_spread : float, optional
        Between training seeds, of the mean difference over the suite, > 0. What items and seeds do
        together is in it. Not given: there is no plan over seeds.

    Returns
    -------
    Plan

    Raises
    ------
    UserError
        A number out of its range, or more than 10⁹ units would be needed.
    """
    check_margin(margin)
    for name, count in {"items": items, "tasks": tasks, "seeds": seeds}.items():
        if count < 1:
            raise UserError(f"A study needs at least 1 of its {name}, not {count}.")
    _check_spread("The spread between tasks", task_spread)
    _check_spread("The spread between items", item_spread, zero=False)
    if seed_spread is not None:
        _check_spread("The spread between seeds", seed_spread, zero=False)
    task_means = math.hypot(task_spread, item_spread / math.sqrt(items))
    return Plan(
        margin=margin,
        tasks=_unit_plan("tasks", tasks, task_means, margin),
        seeds=_unit_plan("seeds", seeds, seed_spread, margin),
        items=_unit_plan("items", items, item_spread, margin),
    )


def _unit_plan(unit: str, n: int, spread: float | None, margin: float) -> UnitPlan:
    fewest = FEWEST[unit]
    reason = ""
    if n < fewest:
        reason = (
            f"it needs at least {fewest}, and the study has {n}; add {unit}, or {OTHERWISE[unit]}"
        )
    elif spread is None:
        reason = f"the spread between {unit} is not given"
    needed = None if spread is None else max(fewest, units_needed(spread, margin))
    if reason or spread is None:
        return UnitPlan(unit, n, spread, None, None, None, needed, reason)
    return UnitPlan(
        unit=unit,
        n=n,
        spread=spread,
        power=equivalence_power(n, spread, margin),
        smallest_margin=smallest_margin(n, spread),
        detectable_difference=detectable_difference(n, spread),
        units_needed=needed,
        reason="",
    )


def _mean_over_s(
    probability: Callable[[np.ndarray], np.ndarray],
    df: int,
    turn: tuple[float, float],
    highest: float = math.inf,
) -> float:
    """Mean of a probability given s/spread, over its chi distribution, where s/spread < highest.

    ``turn`` is where the probability changes and over what width, which may be far less than that
    of the distribution (few units, small alpha): that part is integrated by itself.
    """
    half = df / 2
    low = math.sqrt(gammaincinv(half, _NEGLIGIBLE) / half)
    high = min(highest, math.sqrt(gammainccinv(half, _NEGLIGIBLE) / half))
    if high <= low:
        return 0.0
    place, width = turn
    ends = np.clip([low, place - 10 * width, place + 10 * width, high], low, high)
    halves = np.diff(ends)[:, None] / 2
    s = ends[:-1, None] + halves * (_NODES + 1)
    log_density = (
        math.log(2) + half * math.log(half) - gammaln(half) + (df - 1) * np.log(s) - half * s**2
    )
    mean = np.sum(halves * _WEIGHTS * np.exp(log_density) * probability(s))
    return float(min(max(mean, 0.0), 1.0))


def _root(excess: Callable[[float], float], n: int) -> float:
    """Where a function that rises from below zero crosses it."""
    from scipy.optimize import brentq

    high = 4 / math.sqrt(n)
    while excess(high) < 0:
        high *= 2
    return float(brentq(excess, 1e-9 * high, high, xtol=1e-13 * high))


def _check_design(n: int, spread: float, difference: float = 0.0, alpha: float = ALPHA) -> None:
    if n < 2:
        raise UserError(
            f"The test is over {n} unit(s); it needs at least 2 tasks, seeds or items, since its "
            "error is measured by how they differ."
        )
    _check_spread("The spread between units", spread)
    if not math.isfinite(difference):
        raise UserError(f"The true difference is {difference}; it must be a finite number.")
    if not 0 < alpha < 0.5:
        raise UserError(f"alpha is {alpha}; a test's level lies between 0 and 0.5, such as 0.05.")


def _check_spread(what: str, spread: float, *, zero: bool = True) -> None:
    if not (math.isfinite(spread) and (spread > 0 or (zero and spread == 0))):
        raise UserError(
            f"{what} is {spread}; it must be a number {'of 0 or more' if zero else 'above 0'}: a "
            "standard deviation in the unit of the scores, from a pilot study or a similar pair of "
            "models."
        )


def _check_power(power: float) -> None:
    if not ALPHA < power < 1:
        raise UserError(f"The power is {power}; it must lie between {ALPHA} and 1, such as 0.8.")

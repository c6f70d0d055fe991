"""From numbers to verdicts: a rule for each kind of claim.

Each rule takes an estimate with its standard error and says whether the claim is supported,
contradicted or neither (inconclusive). Without a standard error there is no verdict. Levels are
those of the intervals: 95 % two-sided against zero, 90 % two-sided (two one-sided tests at 0.05)
for "no more than the margin".
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy.special import stdtr

from hrsa.statistics.equivalence import BOTH, DIFFERENT, EQUIVALENT, check_margin, t_interval
from hrsa.statistics.equivalence import equivalence as tested

SUPPORTED, CONTRADICTED = "supported", "contradicted"
INCONCLUSIVE, NOT_APPLICABLE = "inconclusive", "not applicable"
VERDICTS = (SUPPORTED, CONTRADICTED, INCONCLUSIVE, NOT_APPLICABLE)
ABOVE, BELOW = "above 0", "below 0"
LEVEL = 0.05
_MINUS = "\N{MINUS SIGN}"
_NOT_APPLICABLE = f"{NOT_APPLICABLE}: "


@dataclass(frozen=True)
class Estimated:
    """A number with its error.

    Attributes
    ----------
    value : float
    se : float or None
        Standard error, ≥ 0; None where it cannot be had.
    df : float
        Degrees of freedom of the t distribution; infinite: normal.
    """

    value: float
    se: float | None = None
    df: float = math.inf

    def interval(self, confidence: float = 0.95) -> tuple[float, float] | None:
        """Two-sided interval; None without a standard error."""
        return None if self.se is None else t_interval(self.value, self.se, self.df, confidence)

    @property
    def p(self) -> float | None:
        """Two-sided p-value of "the number is zero"; None without a standard error."""
        if self.se is None:
            return None
        if self.se == 0:
            return 1.0 if self.value == 0 else 0.0
        return min(1.0, 2 * float(stdtr(self.df, -abs(self.value) / self.se)))


@dataclass(frozen=True)
class Verdict:
    """What is said of a claim, and why.

    Attributes
    ----------
    verdict : str
        One of `VERDICTS`.
    reason : str
        A sentence with the numbers.
    p_tost : float or None
        p-value of "the margin is reached", for claims with a margin.
    """

    verdict: str
    reason: str
    p_tost: float | None = None


def not_applicable(missing: str) -> Verdict:
    """The verdict where the study has nothing to test the claim on, which ``missing`` names."""
    return Verdict(NOT_APPLICABLE, f"{_NOT_APPLICABLE}{missing}")


def direction(estimate: Estimated, side: str) -> Verdict:
    """Judge the claim that a number lies above 0, or below 0.

    Supported: the 95 % interval lies wholly on the claimed side. Contradicted: wholly on the other
    side. Else inconclusive. Where the truth is 0 either error has a probability of 0.025.

    Parameters
    ----------
    estimate : Estimated
    side : {"above 0", "below 0"}
    """
    interval = estimate.interval()
    if interval is None:
        return _without_interval(estimate)
    low, high = interval if side == ABOVE else (-interval[1], -interval[0])
    where = "holds 0"
    verdict = INCONCLUSIVE
    if low > 0:
        where, verdict = f"lies {side}, as claimed", SUPPORTED
    elif high < 0:
        where, verdict = f"does not lie {side} but on the other side of 0", CONTRADICTED
    return Verdict(verdict, f"{_numbers(estimate)}, {where}")


def equivalence(estimate: Estimated, margin: float) -> Verdict:
    """Judge the claim that a difference is negligible.

    Supported: TOST, the 90 % interval lies inside (−margin, margin); a difference from 0 that is
    shown but negligible supports the claim too. Contradicted: the 95 % interval lies wholly
    outside, so that the difference is beyond the margin. Else inconclusive.

    Parameters
    ----------
    estimate : Estimated
    margin : float
        > 0, in the unit of the estimate.

    Raises
    ------
    UserError
        If the margin is not above 0.

    References
    ----------
    Schuirmann (1987), A comparison of the two one-sided tests procedure and the power approach for
    assessing the equivalence of average bioavailability.
    """
    check_margin(margin)
    if estimate.se is None:
        return _without_interval(estimate)
    found = tested(estimate.value, estimate.se, estimate.df, margin=margin)
    low, high = found.ci95
    if found.verdict in (EQUIVALENT, BOTH):
        shown = "; it differs from 0, but negligibly" if found.verdict == BOTH else ""
        inside = f"the 90 % interval {_span(found.ci90)} lies within ±{margin:.3g}{shown}"
        return Verdict(SUPPORTED, f"{_numbers(estimate)}; {inside}", found.p_tost)
    if low >= margin or high <= -margin:
        beyond = f"lies beyond the margin of ±{margin:.3g}"
        return Verdict(CONTRADICTED, f"{_numbers(estimate)}, {beyond}", found.p_tost)
    both = f"neither within ±{margin:.3g} (90 % interval {_span(found.ci90)}) nor wholly beyond it"
    also = ", though it differs from 0" if found.verdict == DIFFERENT else ""
    return Verdict(INCONCLUSIVE, f"{_numbers(estimate)}, is {both}{also}", found.p_tost)


def within_margin(
    estimate: Estimated, margin: float, *, excess: Estimated | None = None
) -> Verdict:
    """Judge the claim that a number does not exceed a margin; below 0 it certainly does not.

    Supported: the 90 % interval of estimate − margin lies below 0 (a one-sided test at 0.05).
    Contradicted: its 95 % interval lies above 0. Else inconclusive.

    Parameters
    ----------
    estimate : Estimated
    margin : float
        > 0, in the unit of the estimate.
    excess : Estimated, optional
        estimate − margin with its own error, where the margin is estimated too and the two errors
        move together. Not given: the margin is a constant.

    Raises
    ------
    UserError
        If the margin is not above 0.
    """
    check_margin(margin)
    if excess is None:
        excess = Estimated(estimate.value - margin, estimate.se, estimate.df)
    narrow, wide = excess.interval(0.90), excess.interval(0.95)
    if narrow is None or wide is None or excess.se is None:
        return _without_interval(estimate)
    p = _lower_tail(excess)
    text = f"{_numbers(estimate)}; margin {margin:.3g}; beyond it by {signed(excess.value)}"
    if narrow[1] < 0:
        return Verdict(SUPPORTED, f"{text}, 90 % interval {_span(narrow)}, below 0", p)
    if wide[0] > 0:
        return Verdict(CONTRADICTED, f"{text}, 95 % interval {_span(wide)}, above 0", p)
    return Verdict(INCONCLUSIVE, f"{text}, 95 % interval {_span(wide)}, holds 0", p)


@dataclass(frozen=True)
class Difference:
    """One of many differences that are tested together, with what the tests add up to.

    Attributes
    ----------
    name : str
        The one that is the most standard errors away from 0.
    estimate : Estimated
    ci95, ci90 : tuple of float
        Intervals that hold for all of the differences together (Bonferroni).
    p : float
        Of "all differences are zero": the smallest p-value times their number, at most 1.
    verdict : Verdict
    """

    name: str
    estimate: Estimated
    ci95: tuple[float, float]
    ci90: tuple[float, float]
    p: float
    verdict: Verdict


def differ(differences: Mapping[str, Estimated]) -> Difference | Verdict:
    """Judge the claim that some of several numbers differ, from their differences two by two.

    Supported: the smallest p-value, times the number of differences, is below 0.05 (the first step
    of Holm's procedure). Else inconclusive; never contradicted, since a difference may always be
    smaller than what is seen here.

    Parameters
    ----------
    differences : mapping of name to Estimated

    Returns
    -------
    Difference, or Verdict
        A bare verdict where there is no difference to test, or one has no standard error.

    References
    ----------
    Holm (1979), A simple sequentially rejective multiple test procedure.
    """
    if not differences:
        return not_applicable("there are no two numbers to compare")
    for name, one in differences.items():
        if one.se is None:
            return _without_interval(one, name)
    n = len(differences)
    name = min(differences, key=lambda key: (_p(differences[key]), -_ratio(differences[key])))
    found = differences[name]
    p = min(1.0, n * _p(found))
    wide, narrow = (
        t_interval(found.value, found.se or 0.0, found.df, 1 - level / n)
        for level in (LEVEL, 2 * LEVEL)
    )
    text = (
        f"of {n} differences {name} is the clearest: {signed(found.value)}, 95 % interval for all "
        f"together {_span(wide)}, {_p_text(p)} after correction for their number"
    )
    verdict = Verdict(SUPPORTED if p < LEVEL else INCONCLUSIVE, text)
    return Difference(name, found, wide, narrow, p, verdict)


def rank(
    higher: Sequence[float], *, side: str, n_first: int, n_second: int, least_p: float
) -> Verdict:
    """Judge a claim about published SFT and RLVR pairs, "the former lie above", by order alone.

    A description of these pairs, not a test: there are too few of them for one. Supported: in every
    comparison all SFT pairs lie on the claimed side of all RLVR pairs. Contradicted: in every
    comparison all of them lie on the other side. Else, and with one pair of a kind only,
    inconclusive.

    Parameters
    ----------
    higher : sequence of float
        For each comparison, the share of couples in which the SFT pair is the higher one.
    side : {"above", "below"}
        Where the SFT pairs are claimed to lie.
    n_first, n_second : int
        Most SFT and RLVR pairs that a comparison has.
    least_p : float
        Smallest p-value that so few pairs could give.
    """
    shares = list(higher)
    if not shares:
        return not_applicable("there is no published comparison")
    claimed = 1.0 if side == "above" else 0.0
    verdict = INCONCLUSIVE
    if min(n_first, n_second) < 2:
        pass  # the order of two pairs says nothing of their kinds
    elif all(share == claimed for share in shares):
        verdict = SUPPORTED
    elif all(share == 1 - claimed for share in shares):
        verdict = CONTRADICTED
    where = {
        "wholly above the RLVR pairs": shares.count(1.0),
        "wholly below the RLVR pairs": shares.count(0.0),
        "among the RLVR pairs": sum(0 < share < 1 for share in shares),
    }
    counts = ", ".join(f"{place} in {count}" for place, count in where.items() if count)
    text = (
        f"of {len(shares)} published comparisons (at most {n_first} SFT and {n_second} RLVR pairs) "
        f"the SFT pairs lie {counts}; a description of these pairs, not a test: no p could be "
        f"below {least_p:.2g}"
    )
    return Verdict(verdict, text)


def conjunction(parts: Mapping[str, Verdict]) -> Verdict:
    """Judge a claim that says several things at once.

    Contradicted if any part is. Else not applicable if any part is; else supported if all parts
    are, for which no correction is needed (an intersection–union test). Else inconclusive. With k
    parts that are all true by a hair "contradicted" is up to k times as likely as for one.

    Parameters
    ----------
    parts : mapping of name to Verdict

    References
    ----------
    Berger (1982), Multiparameter hypothesis testing and acceptance sampling.
    """
    if not parts:
        return not_applicable("the claim has no part that could be tested")
    by_verdict = {
        verdict: [name for name, part in parts.items() if part.verdict == verdict]
        for verdict in VERDICTS
    }
    text = "; ".join(
        f"{verdict}: {', '.join(names)}" for verdict, names in by_verdict.items() if names
    )
    missing = dict.fromkeys(
        part.reason.removeprefix(_NOT_APPLICABLE)
        for part in parts.values()
        if part.verdict == NOT_APPLICABLE and part.reason
    )
    text += f" ({'; '.join(missing)})" if missing else ""
    for verdict in (CONTRADICTED, NOT_APPLICABLE, INCONCLUSIVE):
        if by_verdict[verdict]:
            return Verdict(verdict, text)
    return Verdict(SUPPORTED, text)


def _without_interval(estimate: Estimated, name: str = "") -> Verdict:
    of = f"{name}: " if name else ""
    value = f"{of}{signed(estimate.value)} without an interval"
    return Verdict(INCONCLUSIVE, f"{value}, so that nothing can be said of the claim")


def _lower_tail(excess: Estimated) -> float:
    """p-value of "the excess is 0 or more"."""
    if not excess.se:  # without a spread the value itself decides
        return 0.0 if excess.value < 0 else 1.0
    return float(stdtr(excess.df, excess.value / excess.se))


def _p(estimate: Estimated) -> float:
    return 1.0 if estimate.p is None else estimate.p


def _ratio(estimate: Estimated) -> float:
    return abs(estimate.value) / estimate.se if estimate.se else math.inf


def _p_text(p: float) -> str:
    return f"p = {p:.2g}" if p >= 1e-4 else "p < 0.0001"


def _numbers(estimate: Estimated) -> str:
    interval = estimate.interval()
    assert interval is not None  # those without have a verdict of their own
    return f"{signed(estimate.value)}, 95 % interval {_span(interval)}"


def _span(interval: tuple[float, float]) -> str:
    return f"[{signed(interval[0])}, {signed(interval[1])}]"


def signed(value: float, digits: int = 4) -> str:
    """Write a number with its sign, and a minus sign that is one."""
    return f"{value:+.{digits}f}".replace("-", _MINUS)

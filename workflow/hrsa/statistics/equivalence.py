"""Is a difference negligible? Two one-sided tests (TOST) against a margin, beside the usual test.

A large p-value does not say that two models score the same: it may as well say that the study was
small. Here "the same" is a claim of its own, with a margin below which a difference does not
matter, and a difference that is neither shown nor excluded is called inconclusive.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

from hrsa.errors import UserError

EQUIVALENT, DIFFERENT = "equivalent", "different"
BOTH, INCONCLUSIVE = "equivalent and different", "inconclusive"
VERDICTS = (EQUIVALENT, DIFFERENT, BOTH, INCONCLUSIVE)


@dataclass(frozen=True)
class Equivalence:
    """A difference with its intervals, and what they say about zero and about the margin.

    Attributes
    ----------
    n : int or None
        Independent units (tasks, seeds, items); None where only a standard error is known.
    difference : float
        The estimate, in the unit of the scores.
    se : float
        Its standard error.
    df : float
        Degrees of freedom of the t distribution; infinite: the normal distribution.
    margin : float
        Differences nearer to zero than this do not matter.
    ci90, ci95 : tuple of float
        Two-sided intervals, low and high.
    p_difference : float
        Two-sided p-value of "the difference is zero".
    p_tost : float
        The larger p-value of "the difference is −margin or less" and "margin or more"; below 0.05
        exactly where `ci90` lies between the margins.
    """

    n: int | None
    difference: float
    se: float
    df: float
    margin: float
    ci90: tuple[float, float]
    ci95: tuple[float, float]
    p_difference: float
    p_tost: float

    @property
    def verdict(self) -> str:
        """One of `VERDICTS`: which of the two claims hold, both or none of them.

        Equivalent: the 90 % interval lies inside (−margin, margin). Different: the 95 % interval
        excludes zero. A difference that is small and precisely known is both.
        """
        equivalent = -self.margin < self.ci90[0] and self.ci90[1] < self.margin
        different = self.ci95[0] > 0 or self.ci95[1] < 0
        if equivalent:
            return BOTH if different else EQUIVALENT
        return DIFFERENT if different else INCONCLUSIVE


def equivalence(
    difference: float, se: float, df: float, *, margin: float, n: int | None = None
) -> Equivalence:
    """Test a difference, given its standard error, against zero and against a margin.

    Parameters
    ----------
    difference : float
        The estimate, in the unit of the scores.
    se : float
        Its standard error, ≥ 0. With zero the intervals are points and each p-value is 0 or 1.
    df : float
        Degrees of freedom of the standard error, > 0; infinite where it is as good as known.
    margin : float
        > 0, in the unit of the scores.
    n : int, optional
        Independent units behind the estimate, ≥ 2; only recorded.

    Returns
    -------
    Equivalence
        At levels 0.05 each: of the two-sided test, and of TOST.

    Raises
    ------
    UserError
        A margin or degrees of freedom of zero or less, fewer than two units, or a number that is
        NaN or (degrees of freedom apart) infinite.

    References
    ----------
    Schuirmann (1987), A comparison of the two one-sided tests procedure and the power approach for
    assessing the equivalence of average bioavailability.
    """
    check_margin(margin)
    _check_estimate(difference, se, df)
    if n is not None:
        _check_units(n)
    difference, se, df, margin = float(difference), float(se), float(df), float(margin)
    return Equivalence(
        n=n,
        difference=difference,
        se=se,
        df=df,
        margin=margin,
        ci90=t_interval(difference, se, df, 0.90),
        ci95=t_interval(difference, se, df, 0.95),
        p_difference=min(1.0, 2 * _tail(abs(difference), se, df)),
        # the nearer margin decides, and with t symmetric one tail serves for either side
        p_tost=_tail(margin - abs(difference), se, df),
    )


def paired_equivalence(differences: npt.ArrayLike, *, margin: float) -> Equivalence:
    """Test the mean of paired differences, one of each independent unit, by t with n − 1.

    Parameters
    ----------
    differences : array-like, shape (n,)
        Candidate minus reference: of each task (the mean over its items), of each training seed, or
        of each item. All finite, n ≥ 2.
    margin : float
        > 0, in the unit of the scores.

    Returns
    -------
    Equivalence
        The same as the t tests of the differences against zero, −margin and margin. Where all
        differences are equal the standard error is zero.

    Raises
    ------
    UserError
        A margin of zero or less, fewer than two differences, or one that is NaN or infinite.
    """
    check_margin(margin)
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1:
        raise UserError(
            f"Paired differences come as one row, one number of each unit, not with the shape "
            f"{values.shape}: average over the items of a task, or over the seeds, first."
        )
    _check_units(len(values))
    unusable = np.flatnonzero(~np.isfinite(values))
    if unusable.size:
        raise UserError(
            f"{unusable.size} of {len(values)} paired differences are not finite numbers, the "
            f"first at place {unusable[0]}: {values[unusable[0]]}. A unit that one of the models "
            "has no score for is no pair: leave it out, and say so beside the result."
        )
    n = len(values)
    if np.ptp(values) == 0:  # rounding of the mean would make a tiny spread out of none
        return equivalence(float(values[0]), 0.0, n - 1, margin=margin, n=n)
    se = float(values.std(ddof=1)) / math.sqrt(n)
    return equivalence(float(values.mean()), se, n - 1, margin=margin, n=n)


def check_margin(margin: float) -> None:
    """Raise UserError unless the margin is a positive finite number."""
    if not (math.isfinite(margin) and margin > 0):
        raise UserError(
            f"The margin of an equivalence test is {margin}; it must be a number above 0, in the "
            "unit of the scores. No study can show that a difference is exactly zero: give the "
            "largest difference that would not matter, fixed before looking at results."
        )


def _check_units(n: int) -> None:
    if n < 2:
        raise UserError(
            f"An equivalence test needs at least 2 independent units (tasks, seeds or items), and "
            f"there {'is' if n == 1 else 'are'} {n}: one value has no spread to be measured "
            "against. Add units, or test at a level that has more of them."
        )


def _check_estimate(difference: float, se: float, df: float) -> None:
    if not math.isfinite(difference):
        raise UserError(f"The difference to be tested is {difference}; it must be a finite number.")
    if not (math.isfinite(se) and se >= 0):
        raise UserError(
            f"The standard error of the difference is {se}; it must be a finite number, 0 or more."
        )
    if not df > 0:
        raise UserError(
            f"The degrees of freedom of the standard error are {df}; they must be above 0 "
            "(infinite for a normal distribution)."
        )


def t_interval(centre: float, se: float, df: float, confidence: float) -> tuple[float, float]:
    """Two-sided interval of a t distribution about an estimate, low end and high end.

    Parameters
    ----------
    centre, se : float
        The estimate and its standard error, ≥ 0.
    df : float
        Degrees of freedom; infinite: normal.
    confidence : float
        Between 0 and 1.
    """
    half = float(stdtrit(df, (1 + confidence) / 2)) * se
    return centre - half, centre + half


def _tail(distance: float, se: float, df: float) -> float:
    """Probability that t exceeds ``distance`` standard errors; of none, whether it is not above."""
    if se == 0:
        return 0.0 if distance > 0 else 1.0
    return float(stdtr(df, -distance / se))

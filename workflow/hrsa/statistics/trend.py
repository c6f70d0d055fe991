"""Did a series rise? The last third of a training run's steps against the first."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import t

CONFIDENCE = 0.95
SHORTEST = 9  # three values in either third


@dataclass(frozen=True)
class Rise:
    """How far the last third of a series lies above the first.

    Attributes
    ----------
    first, last : float
        Means of the first and of the last third; NaN of an empty series.
    difference : float
        `last` − `first`.
    ci_low, ci_high : float
        95 % interval of the difference; NaN of a series that is too short.
    rose : bool or None
        Whether the interval lies above zero; None where the series is too short to tell.
    n : int
        Values of the series.
    """

    first: float
    last: float
    difference: float
    ci_low: float
    ci_high: float
    rose: bool | None
    n: int


def rise(values: Sequence[float] | npt.NDArray[np.floating]) -> Rise:
    """Compare the last third of a series with the first by Welch's t interval.

    The interval assumes that the values are independent about a mean that is constant within
    either third, and roughly normal (or many). The rewards of reinforcement learning come near to
    that: each step draws new problems and new completions. Where the mean still moves within a
    third, its movement counts as noise and the interval is wider than it need be; so it is with few
    steps whose values are shares of few completions (in a simulation with nine steps of 32
    completions it covers in 97 % of runs instead of 95 %). Where neighbours are correlated beyond
    such a movement, as a smoothed curve's are, it is too narrow.

    Parameters
    ----------
    values : sequence of float
        One value for each step, in order, all of them finite. Of a length that three does not
        divide, the middle third is the longer one.

    Returns
    -------
    Rise
        `rose` is None with fewer than nine values.

    Raises
    ------
    ValueError
        A value is NaN or infinite, or the values are not one row.
    """
    series = np.asarray(values, dtype=float)
    if series.ndim != 1 or not np.isfinite(series).all():
        raise ValueError("values must be one row of finite numbers.")
    n, nan = len(series), float("nan")
    if not n:
        return Rise(nan, nan, nan, nan, nan, None, n)
    n_third = max(n // 3, 1)
    first, last = series[:n_third], series[n - n_third :]
    means = float(first.mean()), float(last.mean())
    difference = means[1] - means[0]
    if n < SHORTEST:
        return Rise(*means, difference, nan, nan, None, n)
    half = _half_width(first, last)
    return Rise(*means, difference, difference - half, difference + half, difference > half, n)


def _half_width(first: np.ndarray, last: np.ndarray) -> float:
    """Half of Welch's interval: Satterthwaite's degrees of freedom, variances not pooled."""
    errors = np.array([part.var(ddof=1) / len(part) for part in (first, last)])
    total = errors.sum()
    if total == 0:  # two constants: a reward that is 0, or 1, all the time
        return 0.0
    freedom = total**2 / (errors**2 / (len(first) - 1)).sum()
    return float(t.ppf((1 + CONFIDENCE) / 2, freedom) * np.sqrt(total))

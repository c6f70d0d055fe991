"""Standard errors and intervals from values with one block of samples left out."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Interval:
    """A standard error with its interval, or Nones when it could not be had.

    Attributes
    ----------
    se, low, high : float or None
        Standard error and the ends of the 95 % interval.
    method : str or None
        How it was computed.
    """

    se: float | None = None
    low: float | None = None
    high: float | None = None
    method: str | None = None


def jackknife_standard_error(replicates: np.ndarray) -> float:
    r"""Standard error from delete-one-block values: :math:`SE² = (B-1)/B · Σ(θ_{(-b)} - θ̄)²`.

    Parameters
    ----------
    replicates : numpy.ndarray, shape (n_blocks,)
        The statistic with each block left out.

    References
    ----------
    Efron and Stein (1981), The jackknife estimate of variance.
    """
    n_blocks = len(replicates)
    deviations = replicates - replicates.mean()
    return float(np.sqrt((n_blocks - 1) / n_blocks * np.sum(deviations**2)))


def jackknife_interval(value: float, replicates: np.ndarray) -> Interval:
    """95 % interval value ± t(B − 1) · SE of the delete-one-block jackknife.

    Parameters
    ----------
    value : float
        The statistic on all blocks.
    replicates : numpy.ndarray, shape (n_blocks,)
        The statistic with each block left out; NaN where it is undefined.

    Returns
    -------
    Interval
        All None with fewer than two blocks, or when a replicate is undefined.
    """
    n_blocks = len(replicates)
    if n_blocks < 2 or not np.isfinite(replicates).all():
        return Interval()
    from scipy.special import stdtrit  # scipy.stats would cost half a second to import

    se = jackknife_standard_error(replicates)
    value, reach = float(value), float(stdtrit(n_blocks - 1, 0.975)) * se
    method = f"jackknife over {n_blocks} blocks of samples, t({n_blocks - 1})"
    return Interval(se, value - reach, value + reach, method)

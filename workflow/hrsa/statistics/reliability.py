"""How far numbers would repeat themselves on other texts: two halves of the samples."""

import numpy as np


def split_half_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson correlation over cells between the values on two halves of the samples.

    Parameters
    ----------
    first, second : numpy.ndarray, shape (n_cells,)
        The same statistics on one half and on the other.

    Returns
    -------
    float
        NaN with fewer than three cells, or where one half's values are all equal.
    """
    if len(first) < 3 or not np.ptp(first) or not np.ptp(second):
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])


def spearman_brown(correlation: float) -> float:
    """Reliability of values on all samples from the correlation of those on two halves, 2r/(1 + r).

    Its root is the ceiling: no other measurement can be expected to correlate more with the values.
    NaN for a negative correlation: what does not agree with itself has no reliability.

    References
    ----------
    Spearman (1910), Correlation calculated from faulty data. Brown (1910), Some experimental
    results in the correlation of mental abilities.
    """
    return 2 * correlation / (1 + correlation) if correlation >= 0 else float("nan")

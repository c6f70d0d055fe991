"""Standard errors of statistics that are not smooth: a random fifth of the samples is deleted.

Neighbour lists and row entropies jump when a sample goes, so that deleting one block at a time says
little of their spread. Deleting many samples at once does (delete-d jackknife, d = a fifth).
Neighbour overlaps need pairs of deletions: see `hrsa.statistics.paired_deletion`.
"""

import numpy as np

from hrsa.statistics.resampling import Interval

N_DRAWS = 40
SHARE_DELETED = 0.2
MIN_SAMPLES = 5  # fewer, and a fifth of them is no sample at all


def deletion_draws(
    n_samples: int, *, n_draws: int = N_DRAWS, share: float = SHARE_DELETED, seed: int = 0
) -> np.ndarray:
    """Draw which samples are deleted, each draw without replacement.

    Parameters
    ----------
    n_samples : int
        Samples numbered from 0 in order of first appearance (see `sample_codes`). Draws depend on
        this number and the seed alone, so that all models and layers of a data set share them.
    n_draws : int
        Number of draws.
    share : float
        Part of the samples that goes, rounded, at least one.
    seed : int
        Fixes the draws.

    Returns
    -------
    numpy.ndarray of bool, shape (n_draws, n_samples)
        True where a sample is deleted; no draws at all with fewer than five samples.
    """
    if n_samples < MIN_SAMPLES:
        return np.zeros((0, n_samples), dtype=bool)
    n_deleted = max(1, round(share * n_samples))
    rng = np.random.default_rng([seed, n_samples])
    deleted = np.zeros((n_draws, n_samples), dtype=bool)
    for draw in deleted:
        draw[rng.choice(n_samples, size=n_deleted, replace=False)] = True
    return deleted


def deletion_standard_error(replicates: np.ndarray, deleted: np.ndarray) -> float:
    r"""Standard error from deletion draws: :math:`SE² = (S-d)/d · \mathrm{var}(θ)`.

    Parameters
    ----------
    replicates : numpy.ndarray, shape (n_draws,)
        The statistic without the deleted samples of each draw.
    deleted : numpy.ndarray of bool, shape (n_draws, n_samples)
        See `deletion_draws`.

    References
    ----------
    Shao and Wu (1989), A general theory for jackknife variance estimation.
    """
    n_samples = deleted.shape[1]
    n_deleted = int(deleted[0].sum())
    return float(np.sqrt((n_samples - n_deleted) / n_deleted * np.var(replicates, ddof=1)))


def deletion_interval(value: float, replicates: np.ndarray, deleted: np.ndarray) -> Interval:
    """95 % interval value ± 1.96 SE; never bias-corrected.

    Parameters
    ----------
    value : float
        The statistic on all samples.
    replicates : numpy.ndarray, shape (n_draws,)
        Without the deleted samples of each draw; NaN where undefined.
    deleted : numpy.ndarray of bool, shape (n_draws, n_samples)
        See `deletion_draws`.

    Returns
    -------
    Interval
        All None with fewer than two draws, or when a replicate is undefined.
    """
    if len(replicates) < 2 or not np.isfinite(replicates).all():
        return Interval()
    se = deletion_standard_error(replicates, deleted)
    value, reach = float(value), 1.959964 * se
    method = (
        f"deleting {int(deleted[0].sum())} of {deleted.shape[1]} samples at random, "
        f"{len(replicates)} draws"
    )
    return Interval(se, value - reach, value + reach, method)

r"""Standard errors of statistics that live in pairs and triples of samples: deletions, two by two.

What neighbourhoods of unrelated models share varies through pairs, triples and larger sets of
samples. Of the variance of a component of order r (Hoeffding), deleting a random part of the
samples counts :math:`1 + ρ + … + ρ^{r-1}` times as much as there is, ρ = S/(S − d): the standard
error is too wide. How much comes from orders above 1 shows when two disjoint sets are deleted, each
alone and both at once: for a mean over samples the three deletions add up, and their interaction
is 0.
"""

import numpy as np

from hrsa.statistics.deletion import MIN_SAMPLES
from hrsa.statistics.resampling import Interval

N_PAIRS = 21  # with both sets at once 63 draws, which fit one word of 64 bits
SHARE_OF_SET = 0.1
# The excess of components of this order is taken off in full, of lower orders less than in full:
# an interaction shows the more of a component, the higher its order.
ORDER = 8
# What is taken off is itself an estimate: this share of the uncorrected variance stays.
LEAST_SHARE = 0.4


def paired_deletions(n_samples: int, *, seed: int = 0) -> np.ndarray:
    """Draw pairs of disjoint sets of samples, a tenth of all each, and list what is deleted.

    Parameters
    ----------
    n_samples : int
        Samples numbered from 0 in order of first appearance (see `sample_codes`). Draws depend on
        this number and the seed alone, so that all models and layers of a data set share them.
    seed : int
        Fixes the draws.

    Returns
    -------
    numpy.ndarray of bool, shape (63, n_samples)
        True where a sample is deleted: the first sets of the 21 pairs, then the second sets, then
        both together. No draws at all with fewer than five samples.
    """
    if n_samples < MIN_SAMPLES:
        return np.zeros((0, n_samples), dtype=bool)
    size = _set_size(n_samples)
    rng = np.random.default_rng([seed, n_samples])
    first, second = np.zeros((2, N_PAIRS, n_samples), dtype=bool)
    for pair in range(N_PAIRS):
        chosen = rng.choice(n_samples, size=2 * size, replace=False)
        first[pair, chosen[:size]] = True
        second[pair, chosen[size:]] = True
    return np.concatenate([first, second, first | second])


def paired_standard_error(replicates: np.ndarray, n_samples: int) -> float:
    r"""Standard error from pairs of deletions.

    With S samples, d in a set, q = 1 − d/S and p = 1 − 2d/S, and :math:`θ_A, θ_B, θ_{AB}` the
    statistic without the first set, the second and both,

    .. math::
        V = \frac{S - d}{d}\,\mathrm{var}(θ_A, θ_B) - μ\,\mathrm{var}(pθ_{AB} - qθ_A - qθ_B),

    and at least 0.4 times its first term, the variance of plain deletion. μ is such that the excess
    of components of order 8 goes in full (8.05 at d/S = 0.1).

    Parameters
    ----------
    replicates : numpy.ndarray, shape (63,)
        The statistic without the samples of each row of `paired_deletions`.
    n_samples : int
        Samples in all.

    References
    ----------
    Efron and Stein (1981), The jackknife estimate of variance: its excess, order by order.
    Shao and Wu (1989), A general theory for jackknife variance estimation.
    """
    size = _set_size(n_samples)
    first, second, both = np.split(np.asarray(replicates, dtype=np.float64), 3)
    one_left, two_left = 1 - size / n_samples, 1 - 2 * size / n_samples
    scale = (n_samples - size) / size
    plain = scale * np.var(np.concatenate([first, second]), ddof=1)
    interaction = np.var(two_left * both - one_left * (first + second), ddof=1)
    excess = excess_per_interaction(ORDER, size / n_samples) * interaction
    return float(np.sqrt(max(plain - excess, LEAST_SHARE * plain)))


def excess_per_interaction(order: int, share: float) -> float:
    r"""Excess of plain deletion over the variance of the interaction, for components of one order.

    All of r samples are left without the first set with probability :math:`q^r`, likewise without
    the second, and without both with :math:`p^r`; the component's mean over what is left is divided
    by these. The excess is :math:`ρ + … + ρ^{r-1}`, ρ = 1/q; the interaction has the variance

    .. math:: 1 - 4q + 2p + 2q^{2-r} + p^{2-r} + 2p^r q^{2-2r} - 4p q^{1-r},

    both in units of the component's own variance.

    Parameters
    ----------
    order : int
        r, at least 2: order 1 has neither.
    share : float
        Part of the samples in a set, d/S.
    """
    q, p, r = 1 - share, 1 - 2 * share, order
    excess = sum(q**-power for power in range(1, r))
    variance = 1 - 4 * q + 2 * p + 2 * q ** (2 - r) + p ** (2 - r)
    variance += 2 * p**r * q ** (2 - 2 * r) - 4 * p * q ** (1 - r)
    return excess / variance


def paired_interval(value: float, replicates: np.ndarray, n_samples: int) -> Interval:
    """95 % interval value ± 1.96 SE; never bias-corrected.

    Parameters
    ----------
    value : float
        The statistic on all samples.
    replicates : numpy.ndarray, shape (63,)
        Without the samples of each row of `paired_deletions`; NaN where undefined.
    n_samples : int
        Samples in all.

    Returns
    -------
    Interval
        All None without draws, or when a replicate is undefined.
    """
    if not len(replicates) or not np.isfinite(replicates).all():
        return Interval()
    se = paired_standard_error(replicates, n_samples)
    value, reach = float(value), 1.959964 * se
    return Interval(se, value - reach, value + reach, paired_method(n_samples))


def paired_method(n_samples: int) -> str:
    """How an interval was made from pairs of deletions."""
    return (
        f"deleting {_set_size(n_samples)} of {n_samples} samples at random, {2 * N_PAIRS} draws, "
        f"less the excess seen in {N_PAIRS} pairs of them"
    )


def _set_size(n_samples: int) -> int:
    return max(1, round(SHARE_OF_SET * n_samples))

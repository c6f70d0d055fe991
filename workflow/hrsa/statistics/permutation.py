"""The null of two models that share only which text a token is in: whole samples are permuted.

Samples differ in length, so that permuting them needs the same number of rows in each. The same
permutations serve all layers, so that layers may be averaged or their maximum taken.
"""

from dataclasses import dataclass

import numpy as np

N_PERMUTATIONS = 199
QUANTILE = 0.1  # of the samples' lengths: shorter samples are left out
MIN_SAMPLES = 5  # of fewer, all orders together are too few for a small p


@dataclass(frozen=True, eq=False)
class EqualRows:
    """Rows of which every sample has the same number.

    Attributes
    ----------
    rows : numpy.ndarray of int64, shape (n_samples, n_rows_each)
        Rows of each sample that is kept, in their order.
    n_left_out : int
        Samples that are too short.
    """

    rows: np.ndarray
    n_left_out: int

    @property
    def note(self) -> str:
        """What the p-value rests on, for the table."""
        n_samples, each = self.rows.shape
        left = f", {self.n_left_out} shorter samples left out" if self.n_left_out else ""
        return f"p: whole samples permuted, {n_samples} samples of {each} rows{left}"


def equal_rows(
    codes: np.ndarray, *, seed: int = 0, quantile: float = QUANTILE, most_rows: int | None = None
) -> EqualRows:
    """Keep equally many rows of each sample.

    Parameters
    ----------
    codes : numpy.ndarray of int64, shape (n_rows,)
        Samples numbered from 0 (see `sample_codes`).
    seed : int
        Of the hash that picks rows of a sample, and samples where there are too many.
    quantile : float
        Quantile of the samples' lengths that is the number kept; shorter samples are left out.
    most_rows : int, optional
        Keep whole samples only up to so many rows in all (the null's cost grows with them).
    """
    sizes = np.bincount(codes)
    each = max(1, int(np.quantile(sizes, quantile, method="lower")))
    order = np.lexsort((_hash(np.arange(len(codes)), seed), codes))
    starts = np.cumsum(sizes) - sizes
    kept = np.flatnonzero(sizes >= each)
    n_left_out = len(sizes) - len(kept)
    if most_rows is not None and len(kept) * each > most_rows:
        chosen = np.argsort(_hash(kept, seed + 1), kind="stable")[
            : max(MIN_SAMPLES, most_rows // each)
        ]
        kept = np.sort(kept[chosen])
    rows = np.sort(order[starts[kept][:, None] + np.arange(each)], axis=1)
    return EqualRows(rows, n_left_out)


def sample_permutations(n_samples: int, n_permutations: int, *, seed: int = 0) -> np.ndarray:
    """Random orders of samples, shape (n_permutations, n_samples); the same for one seed.

    With fewer than five samples there are none.
    """
    orders = np.zeros((n_permutations if n_samples >= MIN_SAMPLES else 0, n_samples), np.int64)
    rng = np.random.default_rng([seed, n_samples])
    for order in orders:
        order[:] = rng.permutation(n_samples)
    return orders


def p_value(observed: float | None, null: np.ndarray) -> float | None:
    """p = (1 + #{null ≥ observed})/(1 + number of permutations).

    Parameters
    ----------
    observed : float or None
        The statistic on the rows that the null permutes.
    null : numpy.ndarray, shape (n_permutations,)
        Under each permutation.

    Returns
    -------
    float or None
        None where the statistic is undefined, or without permutations.

    References
    ----------
    Phipson and Smyth (2010), Permutation p-values should never be zero.
    """
    if observed is None or not np.isfinite(observed) or not len(null):
        return None
    if not np.isfinite(null).all():
        return None
    # equal values that differ by rounding count as equal: the observed one is among the orders
    slack = 1e-12 * max(1.0, abs(observed))
    return float((1 + np.sum(null >= observed - slack)) / (1 + len(null)))


def p_of_maximum(observed: np.ndarray, null: np.ndarray) -> float | None:
    """p of the largest of several layers against the largest of each permutation.

    Parameters
    ----------
    observed : numpy.ndarray, shape (n_layers,)
    null : numpy.ndarray, shape (n_permutations, n_layers)
        The same permutations for all layers.
    """
    if not len(observed) or not len(null):
        return None
    return p_value(float(np.max(observed)), np.max(null, axis=1))


def _hash(numbers: np.ndarray, seed: int) -> np.ndarray:
    """A 64-bit hash of each number (splitmix64), so that a row's rank hangs on nothing else."""
    start = (seed + 1) * 0x9E3779B97F4A7C15 % 2**64
    mixed = numbers.astype(np.uint64) + np.uint64(start)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))

"""Is a probe better than always giving one answer, and do two models fare alike under it?

The tests are of the test split, given the fitted probe; whole samples are flipped or permuted.
"""

import numpy as np
from scipy.special import gammaln

from hrsa.statistics.permutation import EqualRows, sample_permutations


def sample_differences(right: np.ndarray, other: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Right answers of one minus those of the other in each sample, int64 (n_samples,)."""
    gain = right.astype(np.int64) - other.astype(np.int64)
    return np.bincount(codes, weights=gain).round().astype(np.int64)


def sign_flip_p(differences: np.ndarray, *, two_sided: bool = False) -> float:
    """Exact p of a sum of differences when the sign of each is as likely plus as minus.

    With one row in each sample this is the exact test of McNemar (a sign test).

    Parameters
    ----------
    differences : numpy.ndarray of int64, shape (n_samples,)
        See `sample_differences`.
    two_sided : bool
        Against a sum that is not 0; otherwise against one above 0.

    References
    ----------
    McNemar (1947), Note on the sampling error of the difference between correlated proportions.
    """
    sizes, counts = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    # Distribution of the sum of those |d| whose sign is plus; the sum of all is twice it, less all.
    chances = np.ones(1)
    for size, count in zip(sizes, counts, strict=True):
        spaced = np.zeros(size * count + 1)
        spaced[::size] = _fair_binomial(int(count))
        chances = np.convolve(chances, spaced)
    plus = int(differences[differences > 0].sum())
    if not two_sided:
        return min(1.0, float(chances[plus:].sum()))
    extreme = max(plus, len(chances) - 1 - plus)
    return min(1.0, 2 * float(chances[extreme:].sum()))


def flipped_means(
    differences: np.ndarray, n_rows: int, *, n_permutations: int, seed: int
) -> np.ndarray:
    """Mean difference over rows when the signs of samples are drawn.

    Parameters
    ----------
    differences : numpy.ndarray of int64, shape (n_samples,)
        See `sample_differences`.
    n_rows : int
        Rows of all samples.
    n_permutations, seed : int
        With the number of samples they fix the signs, so that all layers share them.

    Returns
    -------
    numpy.ndarray, shape (n_permutations,)
    """
    rng = np.random.default_rng([seed, len(differences)])
    signs = 2 * rng.integers(0, 2, (n_permutations, len(differences)), dtype=np.int8) - 1
    return (signs @ differences) / n_rows


def permuted_r2(
    labels: np.ndarray, guesses: np.ndarray, rows: EqualRows, *, n_permutations: int, seed: int
) -> tuple[float, np.ndarray]:
    """R² on rows of which every sample has equally many, and with whole samples permuted.

    Parameters
    ----------
    labels, guesses : numpy.ndarray, shape (n_test,)
        Real values and predictions of them; the latter are permuted.
    rows : EqualRows
        The rows that are kept.
    n_permutations, seed : int
        See `hrsa.statistics.permutation.sample_permutations`.

    Returns
    -------
    tuple of float and numpy.ndarray of shape (n_permutations,)
    """
    kept, guessed = labels[rows.rows], guesses[rows.rows]
    variation = float(np.sum((kept - kept.mean()) ** 2))
    if variation == 0:
        return np.nan, np.empty(0)
    orders = sample_permutations(len(kept), n_permutations, seed=seed)
    errors = np.sum((kept - guessed[orders]) ** 2, axis=(1, 2)) if len(orders) else np.empty(0)
    return float(1 - np.sum((kept - guessed) ** 2) / variation), 1 - errors / variation


def _fair_binomial(n: int) -> np.ndarray:
    """Chances of 0 … n heads in n throws, shape (n + 1,)."""
    k = np.arange(n + 1)
    return np.exp(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1) - n * np.log(2))

"""Values agree with SciPy's primitives, where they differ by a known mapping.

The mappings are those of the table "Values of other packages" in docs/metrics.md.
"""

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes
from scipy.spatial import procrustes as scipy_procrustes
from scipy.spatial.distance import pdist, squareform
from scipy.stats import pearsonr

from hrsa.similarity import dimension_correlation, linear_cka, procrustes

SEEDS = range(3)


def related(seed, n=90, p=7, q=7, noise=0.8):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) + 5 * rng.standard_normal(p)
    return X, X @ rng.standard_normal((p, q)) + noise * rng.standard_normal((n, q))


def centred(*matrices):
    return tuple(Z - Z.mean(axis=0) for Z in matrices)


@pytest.mark.parametrize("seed", SEEDS)
def test_correlation_of_each_dimension_is_pearsons(seed):
    X, Y = related(seed)
    found = dimension_correlation(X, Y)
    wanted = [pearsonr(x, y).statistic for x, y in zip(X.T, Y.T, strict=True)]
    assert found.per_dimension == pytest.approx(wanted, abs=1e-12)
    assert found.value == pytest.approx(np.mean(wanted), abs=1e-12)
    assert found.mean_abs == pytest.approx(np.mean(np.abs(wanted)), abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_rotation_and_cosine_are_orthogonal_procrustes_on_centred_matrices(seed):
    x, y = centred(*related(seed))
    rotation, nuclear_norm = orthogonal_procrustes(x, y)
    found = procrustes(*related(seed))
    norms = np.linalg.norm(x) * np.linalg.norm(y)
    assert found.rotation == pytest.approx(rotation, abs=1e-10)
    assert found.value == pytest.approx(nuclear_norm / norms, abs=1e-12)
    assert found.euclidean == pytest.approx(np.linalg.norm(x @ rotation - y), rel=1e-10)
    wanted = np.linalg.norm(x @ rotation - y) ** 2 / np.linalg.norm(y) ** 2
    assert found.residual == pytest.approx(wanted, rel=1e-10)


@pytest.mark.parametrize("seed", SEEDS)
def test_scipys_disparity_is_one_minus_the_squared_cosine(seed):
    X, Y = related(seed)
    *_, disparity = scipy_procrustes(X, Y)
    assert disparity == pytest.approx(1 - procrustes(X, Y).value ** 2, abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_unequal_widths_are_padded_with_zero_columns(seed):
    X, Y = related(seed, q=4)
    padded = np.hstack([Y, np.zeros((len(Y), 3))])
    *_, disparity = scipy_procrustes(X, padded)
    found = procrustes(X, Y)
    assert 1 - found.value**2 == pytest.approx(disparity, abs=1e-12)
    x, y = centred(X, padded)
    rotation, _ = orthogonal_procrustes(x, y)
    assert found.euclidean == pytest.approx(np.linalg.norm(x @ rotation - y), rel=1e-10)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_published_procrustes_distances_follow_from_the_cosine(seed):
    x, y = (Z / np.linalg.norm(Z) for Z in centred(*related(seed)))
    rotation, _ = orthogonal_procrustes(x, y)
    gap = np.linalg.norm(x @ rotation - y)
    found = procrustes(*related(seed))
    assert 2 - 2 * found.value == pytest.approx(gap**2, abs=1e-12)
    assert np.sqrt(2 - 2 * found.value) == pytest.approx(gap, abs=1e-10)
    assert np.cos(found.distance) == pytest.approx(found.value, abs=1e-12)


def centred_squares(X):
    """−½ of the squared distances, double-centred: the centred Gram matrix (Torgerson 1952)."""
    squares = squareform(pdist(X, "sqeuclidean"))
    return -0.5 * (squares - squares.mean(axis=0) - squares.mean(axis=1)[:, None] + squares.mean())


@pytest.mark.parametrize("seed", SEEDS)
def test_biased_cka_is_the_correlation_of_double_centred_squared_distances(seed):
    X, Y = related(seed, q=5)
    wanted = pearsonr(centred_squares(X).ravel(), centred_squares(Y).ravel()).statistic
    assert linear_cka(X, Y).value == pytest.approx(wanted, abs=1e-12)


def song_hsic(K, M):
    """HSIC₁ of Song et al. (2012), eq. 5, on kernels whose diagonal is set to 0."""
    n = len(K)
    K, M = (Z - np.diag(np.diag(Z)) for Z in (K, M))
    total = np.trace(K @ M) + K.sum() * M.sum() / ((n - 1) * (n - 2))
    return (total - 2 / (n - 2) * (K @ M).sum()) / (n * (n - 3))


@pytest.mark.parametrize("seed", SEEDS)
def test_debiased_cka_is_songs_from_whole_kernels(seed):
    X, Y = related(seed, q=5)
    K, M = X @ X.T, Y @ Y.T
    wanted = song_hsic(K, M) / np.sqrt(song_hsic(K, K) * song_hsic(M, M))
    assert linear_cka(X, Y, debiased=True).value == pytest.approx(wanted, abs=1e-10)


def test_dropping_the_diagonal_after_centring_is_another_estimator():
    X, Y = related(0, n=12, q=5, noise=4.0)
    off = ~np.eye(12, dtype=bool)
    K, M = centred_squares(X)[off], centred_squares(Y)[off]
    lange = K @ M / np.sqrt(K @ K * (M @ M))
    assert abs(linear_cka(X, Y, debiased=True).value - lange) > 0.01


def test_a_mean_over_minibatches_is_above_the_whole():
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((400, 10)), rng.standard_normal((400, 10))
    batches = [linear_cka(X[i : i + 20], Y[i : i + 20]).value for i in range(0, 400, 20)]
    assert np.mean(batches) > linear_cka(X, Y).value + 0.2

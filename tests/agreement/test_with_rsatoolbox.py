"""Linear CKA is what rsatoolbox gives for whitened squared Euclidean distances."""

import numpy as np
import pytest

from hrsa.similarity import linear_cka

rsatoolbox = pytest.importorskip("rsatoolbox")


def related(seed, n=40, p=6, q=9):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) + 3
    return X, X @ rng.standard_normal((p, q)) + 2 * rng.standard_normal((n, q))


def dissimilarities(X):
    return rsatoolbox.rdm.calc_rdm(rsatoolbox.data.Dataset(X), method="euclidean")


@pytest.mark.parametrize("seed", range(3))
def test_the_whitened_cosine_of_squared_distances_is_linear_cka(seed):
    X, Y = related(seed)
    found = rsatoolbox.rdm.compare(dissimilarities(X), dissimilarities(Y), method="cosine_cov")
    assert linear_cka(X, Y).value == pytest.approx(found.item(), abs=1e-10)


@pytest.mark.parametrize("seed", range(3))
def test_the_plain_cosine_and_correlation_of_distances_are_other_numbers(seed):
    X, Y = related(seed)
    for method in ("cosine", "corr"):
        found = rsatoolbox.rdm.compare(dissimilarities(X), dissimilarities(Y), method=method)
        assert abs(linear_cka(X, Y).value - found.item()) > 0.001

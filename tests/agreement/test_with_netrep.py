"""Procrustes agrees with netrep's shape metrics (not on the package index: used when installed)."""

import numpy as np
import pytest

from hrsa.similarity import procrustes

netrep_metrics = pytest.importorskip("netrep.metrics")


@pytest.mark.parametrize("q", [6, 4])
@pytest.mark.parametrize("seed", range(3))
def test_distances_are_those_of_the_rotation_invariant_linear_metric(seed, q):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((50, 6)) + 2
    Y = X @ rng.standard_normal((6, q)) + rng.standard_normal((50, q))
    found = procrustes(X, Y)
    for method, wanted in (("angular", found.distance), ("euclidean", found.euclidean)):
        metric = netrep_metrics.LinearMetric(alpha=1.0, score_method=method)
        assert metric.fit(X, Y).score(X, Y) == pytest.approx(wanted, abs=1e-8)

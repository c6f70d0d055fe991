"""Additive moments: one read, any division of the rows, the same numbers."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrsa.activations.alignment import paired_rows
from hrsa.similarity import dimension_correlation, linear_cka, procrustes
from hrsa.similarity.moments import Moments, moments_of_layers


def rows(seed=0, n=80, p=6, q=6):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) + 3
    return X, X @ rng.standard_normal((p, q)) + rng.standard_normal((n, q)) - 7


def moments(X, Y, shift_x, shift_y):
    return Moments.of_rows(X, Y, shift_x=shift_x, shift_y=shift_y)


def values(found):
    return [found.biased_cka(), found.song_cka(), found.chance_of_cka(), *found.correlation()]


@given(seed=st.integers(0, 100), cuts=st.sets(st.integers(1, 79), max_size=6), data=st.data())
def test_they_merge_in_any_order(seed, cuts, data):
    X, Y = rows(seed)
    shifts = X[0], Y[0]
    edges = [0, *sorted(cuts), len(X)]
    parts = [moments(X[a:b], Y[a:b], *shifts) for a, b in pairwise(edges)]
    order = data.draw(st.permutations(parts))
    total = order[0]
    for part in order[1:]:
        total = total + part
    np.testing.assert_allclose(values(total), values(moments(X, Y, *shifts)), atol=1e-10)


@pytest.mark.parametrize("offset", [0.0, 3000.0])
def test_they_give_what_the_metrics_give(offset):
    X, Y = rows(1)
    X = X + offset
    found = moments(X, Y, X[:9].mean(axis=0), Y[:9].mean(axis=0))
    biased = linear_cka(X, Y, n_permutations=0)
    assert found.biased_cka() == pytest.approx(biased.value, abs=1e-9)
    assert found.chance_of_cka() == pytest.approx(biased.chance, abs=1e-9)
    song = linear_cka(X, Y, debiased=True, n_permutations=0)
    assert found.song_cka() == pytest.approx(song.value, abs=1e-9)
    correlation = dimension_correlation(X, Y, n_permutations=0)
    np.testing.assert_allclose(found.correlation(), correlation.per_dimension, atol=1e-9)
    own_x, own_y = found.own
    cos = np.linalg.norm(found.cross, "nuc") / np.sqrt(np.trace(own_x) * np.trace(own_y))
    assert cos == pytest.approx(procrustes(X, Y).value, abs=1e-9)
    np.testing.assert_allclose(found.means[0], X.mean(axis=0))


def test_constant_columns_and_matrices_are_undefined():
    X, Y = rows(2)
    X[:, 2] = 5.0
    found = moments(X, Y, X[0], Y[0])
    assert np.isnan(found.correlation()[2])
    assert np.isfinite(np.delete(found.correlation(), 2)).all()
    flat = moments(np.ones_like(X), Y, np.ones(6), Y[0])
    assert flat.biased_cka() is None
    assert flat.song_cka() is None


def test_different_shifts_cannot_be_added():
    X, Y = rows(3)
    with pytest.raises(ValueError, match="different shift_x cannot be added"):
        moments(X, Y, X[0], Y[0]) + moments(X, Y, X[1], Y[0])


def test_layers_are_read_a_part_at_a_time(store_model):
    rng = np.random.default_rng(4)
    sizes = rng.integers(3, 9, 30)
    X = rng.standard_normal((sizes.sum(), 5)).astype(np.float32)
    Y = (X @ rng.standard_normal((5, 4)) + rng.standard_normal((len(X), 4))).astype(np.float32)
    reference = store_model("reference", {0: X, 1: -X}, sizes)
    candidate = store_model("candidate", {0: Y, 1: -Y}, sizes)
    pairs = paired_rows(reference, candidate)
    kept = pairs.reference
    found = moments_of_layers(reference, candidate, (0, 0), pairs, memory=3000)
    expected = linear_cka(X[kept], Y[kept], debiased=True, n_permutations=0)
    assert found.n == len(kept)
    assert found.song_cka() == pytest.approx(expected.value, abs=1e-9)

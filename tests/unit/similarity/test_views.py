"""Robustness views: what a few tokens or dimensions decide alone."""

import numpy as np
import pytest

from hrsa.activations.alignment import paired_rows
from hrsa.similarity import cka_layers, correlation_layers
from hrsa.similarity.layers import read_layer
from hrsa.similarity.views import VIEWS, massive_rows, view_of

SIZES = [8] * 40


@pytest.fixture
def models(store_model):
    """Two unrelated models that share six massive tokens at layer 1 and a large dimension at 2."""
    rng = np.random.default_rng(0)
    layers = []
    shared = rng.standard_normal((6, 16)) * 40
    at = np.arange(5, 5 + 6 * 50, 50)
    large = 12 * rng.standard_normal(len(SIZES) * SIZES[0])
    for _ in range(2):
        states = {layer: rng.standard_normal((320, 16)) for layer in range(3)}
        states[1][at] = shared
        states[2][:, 3] = large
        layers.append(states)
    reference, candidate = (
        store_model(name, states, SIZES)
        for name, states in zip(("reference", "candidate"), layers, strict=True)
    )
    return reference, candidate, paired_rows(reference, candidate), at


def cka_of(models, view, layer):
    seen = view_of(view, *models[:3])
    arrays = cka_layers(seen.reference, seen.candidate, seen.rows, n_permutations=0).arrays
    return arrays["sample_debiased"][layer, layer]


def test_massive_tokens_alone_make_unrelated_models_alike_until_they_are_removed(models):
    assert cka_of(models, "raw", 1) > 0.8
    assert abs(cka_of(models, "massive_removed", 1)) < 0.1
    seen = view_of("massive_removed", *models[:3])
    assert seen.note.startswith("6 of 280 tokens removed")
    np.testing.assert_array_equal(np.setdiff1d(models[2].reference, seen.rows.reference), models[3])
    assert seen.rows.row_set != models[2].row_set
    np.testing.assert_array_equal(
        models[2].reference[massive_rows(models[0], models[2].reference)], models[3]
    )


def test_a_large_shared_dimension_alone_does_too_until_dimensions_are_scaled(models):
    assert cka_of(models, "raw", 2) > 0.8
    assert cka_of(models, "zscored", 2) < 0.3


def test_scaled_dimensions_have_variance_1_over_the_matched_rows(models):
    seen = view_of("zscored", *models[:3])
    values = read_layer(seen.reference, 2, seen.rows.reference)
    np.testing.assert_allclose(values.std(axis=0), 1, atol=1e-9)
    plain, scaled = (
        correlation_layers(one.reference, one.candidate, one.rows, n_permutations=0).arrays["mean"]
        for one in (view_of("raw", *models[:3]), seen)
    )
    np.testing.assert_allclose(scaled, plain, atol=1e-12)


def test_the_first_position_can_be_looked_at_too(models):
    seen = view_of("first_position", *models[:3])
    assert len(seen.rows.reference) == len(models[2].reference) + len(SIZES)
    assert seen.note == "40 rows at the first position added"


def test_a_constant_dimension_stays_constant_when_scaled(store_model):
    rng = np.random.default_rng(1)
    states = {layer: rng.standard_normal((320, 4)) for layer in range(2)}
    states[1][:, 2] = 3000.0
    model = store_model("flat", states, SIZES)
    seen = view_of("zscored", model, model, paired_rows(model, model))
    values = read_layer(seen.reference, 1, seen.rows.reference)
    assert (values[:, 2] == 0).all()


def test_an_unknown_view_is_refused_with_those_there_are(models):
    with pytest.raises(ValueError, match="raw, zscored, massive_removed, first_position"):
        view_of("upside_down", *models[:3])
    assert VIEWS[0] == "raw"


def test_halves_share_no_sample_and_together_are_all_rows(models):
    halves = [view_of(view, *models[:3]) for view in ("half_a", "half_b")]
    a, b = (half.rows for half in halves)
    assert not set(a.samples) & set(b.samples)
    np.testing.assert_array_equal(np.union1d(a.reference, b.reference), models[2].reference)
    assert (a.n_samples, b.n_samples) == (20, 20)
    assert halves[0].note == "20 of 40 samples"


def test_halves_hang_on_the_seed_and_the_samples_alone(models):
    reference, candidate, rows, _ = models
    of_another = view_of("half_a", candidate, reference, rows)
    np.testing.assert_array_equal(
        view_of("half_a", reference, candidate, rows).rows.samples, of_another.rows.samples
    )
    other_seed = view_of("half_a", reference, candidate, rows, seed=1)
    assert set(other_seed.rows.samples) != set(of_another.rows.samples)


def test_one_sample_has_no_halves(store_model):
    states = {0: np.random.default_rng(0).standard_normal((8, 4))}
    model = store_model("one", states, [8])
    with pytest.raises(ValueError, match="need two"):
        view_of("half_a", model, model, paired_rows(model, model))


def test_a_view_that_removes_nothing_shows_the_same_as_the_raw_one(store_model):
    states = {layer: np.random.default_rng(layer).standard_normal((80, 4)) for layer in range(2)}
    model = store_model("even", states, [8] * 10)
    raw, kept, scaled = (
        view_of(view, model, model, paired)
        for paired in [paired_rows(model, model)]
        for view in ("raw", "massive_removed", "zscored")
    )
    assert kept.shows_the_same(raw)
    assert kept.note.startswith("0 of 70 tokens removed")
    assert not scaled.shows_the_same(raw)

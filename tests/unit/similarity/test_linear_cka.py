from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ortho_group

from hrsa.errors import UserError
from hrsa.similarity import cka_layers, linear_cka


def related(seed, n=60, p=5, q=7):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    samples = rng.permutation(np.repeat(np.arange(15), 4))
    return X, X @ rng.standard_normal((p, q)) + rng.standard_normal((n, q)), samples


def tuple_hsic(K, M, samples):
    """HSIC from sums over pairs, triples and quadruples of rows of distinct samples."""

    def mean(size, term):
        tuples = [
            rows
            for rows in permutations(range(len(K)), size)
            if len({samples[row] for row in rows}) == size
        ]
        return np.mean([term(*rows) for rows in tuples])

    return (
        mean(2, lambda i, j: K[i, j] * M[i, j])
        - 2 * mean(3, lambda i, j, k: K[i, j] * M[i, k])
        + mean(4, lambda i, j, k, m: K[i, j] * M[k, m])
    )


def tuple_cka(X, Y, samples):
    K, M = X @ X.T, Y @ Y.T
    own = tuple_hsic(K, K, samples) * tuple_hsic(M, M, samples)
    return tuple_hsic(K, M, samples) / np.sqrt(own)


VARIANTS = [{}, {"debiased": True}, {"debiased": True, "samples": related(0)[2]}]
VARIANTS = [one | {"n_permutations": 0} for one in VARIANTS]


@pytest.mark.parametrize("options", VARIANTS)
@given(seed=st.integers(0, 1000), scale=st.floats(0.01, 100), shift=st.floats(-100, 100))
def test_rotation_scale_and_shift_do_not_matter(options, seed, scale, shift):
    X, Y, _ = related(seed)
    rotation = ortho_group.rvs(5, random_state=seed)
    assert linear_cka(scale * X @ rotation + shift, Y, **options).value == pytest.approx(
        linear_cka(X, Y, **options).value, abs=1e-8
    )


@pytest.mark.parametrize("options", VARIANTS)
def test_it_is_symmetric_and_1_for_itself(options):
    X, Y, _ = related(1)
    assert linear_cka(X, X, **options).value == pytest.approx(1)
    assert linear_cka(X, Y, **options).value == pytest.approx(linear_cka(Y, X, **options).value)


@given(st.integers(0, 1000))
def test_order_of_rows_and_names_of_samples_do_not_matter(seed):
    X, Y, samples = related(seed)
    order = np.random.default_rng(seed).permutation(len(X))
    names = np.array([f"text {53 * s % 17}" for s in samples])
    plain = linear_cka(X, Y, debiased=True, samples=samples).value
    moved = linear_cka(X[order], Y[order], debiased=True, samples=names[order]).value
    assert moved == pytest.approx(plain, abs=1e-10)


def test_sample_debiased_equals_songs_when_each_row_is_its_own_sample():
    X, Y, _ = related(0)
    song = linear_cka(X, Y, debiased=True)
    own = linear_cka(X, Y, debiased=True, samples=np.arange(len(X)))
    assert own.value == pytest.approx(song.value)
    assert (song.variant, own.variant) == ("song", "sample_debiased")


def test_songs_closed_form():
    X, Y, _ = related(3)
    n = len(X)
    x, y = X - X.mean(axis=0), Y - Y.mean(axis=0)

    def hsic(a, b):
        p, q = np.sum(a**2, axis=1), np.sum(b**2, axis=1)
        cross = np.sum((a.T @ b) ** 2)
        return cross - n / (n - 2) * np.sum(p * q) + p.sum() * q.sum() / ((n - 1) * (n - 2))

    expected = hsic(x, y) / np.sqrt(hsic(x, x) * hsic(y, y))
    assert linear_cka(X, Y, debiased=True).value == pytest.approx(expected)


def test_sample_debiased_is_the_mean_over_tuples_of_distinct_samples():
    rng = np.random.default_rng(0)
    samples = np.array([0, 1, 1, 2, 3, 3, 3, 4, 0])
    X = rng.standard_normal((9, 2))
    Y = X @ rng.standard_normal((2, 3)) + rng.standard_normal((9, 3))
    X, Y = X - X.mean(axis=0), Y - Y.mean(axis=0)
    found = linear_cka(X, Y, debiased=True, samples=samples).value
    assert found == pytest.approx(tuple_cka(X, Y, samples), abs=1e-12)


def test_replicates_are_the_means_over_tuples_without_a_block():
    rng = np.random.default_rng(1)
    samples = np.array([0, 1, 1, 2, 3, 3, 3, 4, 0, 5])
    blocks = np.array([0, 0, 0, 1, 1, 1, 1, 2, 0, 2])
    X = rng.standard_normal((10, 2))
    Y = X @ rng.standard_normal((2, 3)) + 0.2 * rng.standard_normal((10, 3))
    X, Y = X - X.mean(axis=0), Y - Y.mean(axis=0)
    found = linear_cka(X, Y, debiased=True, samples=samples, blocks=blocks)
    # Centred once by the mean of all rows, then not again.
    expected = [tuple_cka(X[blocks != b], Y[blocks != b], samples[blocks != b]) for b in range(3)]
    assert found.replicates == pytest.approx(expected, abs=1e-10)


def test_chance_of_biased_cka_is_its_mean_over_permutations():
    rng = np.random.default_rng(2)
    X, Y = rng.standard_normal((5, 2)), rng.standard_normal((5, 3))
    values = [linear_cka(X, Y[list(order)]).value for order in permutations(range(5))]
    assert linear_cka(X, Y).chance == pytest.approx(np.mean(values))


def test_chance_of_songs_cka_is_0_over_permutations():
    rng = np.random.default_rng(2)
    X, Y = rng.standard_normal((5, 2)), 3 + rng.standard_normal((5, 3))
    values = [
        linear_cka(X, Y[list(order)], debiased=True).value for order in permutations(range(5))
    ]
    assert np.mean(values) == pytest.approx(0, abs=1e-12)
    assert linear_cka(X, Y, debiased=True).chance == 0


def test_sentence_membership_alone_raises_songs_estimate_but_not_the_sample_debiased():
    song, over_samples = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        samples = np.repeat(np.arange(60), 8)
        X, Y = (rng.standard_normal((60, 20))[samples] for _ in range(2))
        X, Y = (matrix + rng.standard_normal(matrix.shape) for matrix in (X, Y))
        song.append(linear_cka(X, Y, debiased=True).value)
        over_samples.append(linear_cka(X, Y, debiased=True, samples=samples).value)
    assert np.mean(song) > 0.03
    assert abs(np.mean(over_samples)) < 0.02


def test_a_large_constant_dimension_changes_nothing_even_in_float32():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((100, 8)).astype(np.float32)
    Y = X + rng.standard_normal((100, 8)).astype(np.float32)
    offset = np.zeros(8, dtype=np.float32)
    offset[3] = 3000
    for options in ({}, {"debiased": True}):
        assert linear_cka(X + offset, Y + offset, **options).value == pytest.approx(
            linear_cka(X, Y, **options).value, abs=1e-4
        )


def test_a_debiased_value_may_be_negative():
    values = [
        linear_cka(*np.random.default_rng(seed).standard_normal((2, 20, 3)), debiased=True).value
        for seed in range(10)
    ]
    assert min(values) < 0


@pytest.mark.parametrize(
    "X",
    [
        # Rows that are all equally far from one another have no geometry to compare: exactly 0.
        np.eye(8),
        1000 + 0.1 * np.eye(8),
    ],
)
def test_a_self_term_that_is_0_is_undefined_and_not_nan(X):
    found = linear_cka(X, np.random.default_rng(0).standard_normal((8, 3)), debiased=True)
    assert found.value is None
    assert found.chance is None
    assert found.se is None
    assert "undefined: a self term" in found.note


def test_fewer_than_four_samples_are_refused():
    X, Y, _ = related(0)
    with pytest.raises(ValueError, match="at least 4 samples, got 3 in 60 rows"):
        linear_cka(X, Y, debiased=True, samples=np.repeat([0, 1, 2], 20))


def test_layers_agree_with_the_array_function(two_models):
    reference, candidate, rows = two_models
    found = cka_layers(reference, candidate, rows)
    x, y = reference.layer(1)[rows.reference], candidate.layer(2)[rows.candidate]
    assert found.arrays["biased"][1, 2] == pytest.approx(linear_cka(x, y).value)
    assert found.arrays["song"][1, 2] == pytest.approx(linear_cka(x, y, debiased=True).value)
    direct = linear_cka(x, y, debiased=True, samples=rows.samples)
    assert found.arrays["sample_debiased"][1, 2] == pytest.approx(direct.value)


def test_intervals_of_matched_layers_are_the_array_functions(two_models):
    reference, candidate, rows = two_models
    found = cka_layers(reference, candidate, rows)
    direct = linear_cka(
        reference.layer(1)[rows.reference],
        candidate.layer(1)[rows.candidate],
        debiased=True,
        samples=rows.samples,
    )
    assert found.arrays["sample_debiased_replicates"][1, 1] == pytest.approx(direct.replicates)
    table = found.table.set_index(["variant", "layer_reference", "layer_candidate"])
    assert table.loc[("sample_debiased", 1, 1), "se"] == pytest.approx(direct.se)
    assert np.isnan(table.loc[("biased", 1, 1), "se"])


def test_depths_and_widths_may_differ(store_model, two_models):
    from hrsa.activations.alignment import paired_rows

    reference, _, _ = two_models
    sizes = np.diff(reference.samples.offsets)
    rng = np.random.default_rng(0)
    deeper = store_model(
        "deeper", {layer: rng.standard_normal((sizes.sum(), 9)) for layer in range(5)}, sizes
    )
    found = cka_layers(reference, deeper, paired_rows(reference, deeper))
    assert found.arrays["biased"].shape == (3, 5)
    song = found.table[found.table["variant"] == "song"]
    assert list(zip(song["layer_reference"], song["layer_candidate"], strict=True)) == [
        (0, 0),
        (1, 2),
        (2, 4),
        (-1, -1),
    ]
    assert found.table["note"].str.contains("share of the depth").all()


def test_too_few_samples_are_the_users_mistake(store_model):
    from hrsa.activations.alignment import paired_rows

    states = np.random.default_rng(0).standard_normal((30, 4))
    model = store_model("short", {0: states, 1: states}, [10, 10, 10])
    with pytest.raises(UserError, match="27 rows of 3 samples"):
        cka_layers(model, model, paired_rows(model, model))


def test_a_constant_layer_is_undefined_in_the_table_and_stops_nothing(store_model, two_models):
    from hrsa.activations.alignment import paired_rows

    reference, _, _ = two_models
    sizes = np.diff(reference.samples.offsets)
    varied = np.random.default_rng(0).standard_normal((sizes.sum(), 12))
    flat = store_model("flat", {0: varied, 1: np.full_like(varied, 0.1), 2: varied}, sizes)
    table = cka_layers(reference, flat, paired_rows(reference, flat)).table
    assert table.loc[table["layer_candidate"] == 1, "value"].isna().all()
    assert table.loc[table["layer_candidate"] == 2, "value"].notna().all()
    assert table.loc[table["value"].isna(), "note"].str.contains("undefined").all()

"""Procrustes of layers that do not fit in memory: the same numbers, from pieces."""

import tracemalloc

import numpy as np
import pytest

from hrsa.activations.alignment import paired_rows
from hrsa.errors import UserError
from hrsa.similarity.centred_rows import CentredRows, row_pair
from hrsa.similarity.layer_stack import array_reader
from hrsa.similarity.orthogonal_procrustes import procrustes_layers

NUMBERS = ["value", "se", "ci_low", "ci_high", "chance", "p", "n_tokens", "n_samples"]
# Pieces of 7 rows at widths 12 and 12.
LITTLE = 7 * 8 * 8 * 24


def pair_of(X, Y, memory):
    widths = X.shape[1], Y.shape[1]
    return row_pair(array_reader(X), array_reader(Y), len(X), widths, memory=memory)


def centred_product(X, Y):
    return (X - X.mean(axis=0)).T @ (Y - Y.mean(axis=0))


def assert_same(streamed, whole):
    for column in NUMBERS:
        np.testing.assert_allclose(
            streamed.table[column].astype(float),
            whole.table[column].astype(float),
            rtol=0,
            atol=1e-10,
        )
    assert streamed.table["note"].tolist() == whole.table["note"].tolist()
    assert streamed.arrays.keys() == whole.arrays.keys()
    for name, array in whole.arrays.items():
        np.testing.assert_allclose(streamed.arrays[name], array, rtol=0, atol=1e-10, err_msg=name)


# Layers


def test_layers_read_in_pieces_give_what_layers_in_memory_give(two_models):
    streamed, whole = (
        procrustes_layers(*two_models, n_permutations=19, keep_rotations=True, **memory)
        for memory in ({"memory": LITTLE}, {})
    )
    assert_same(streamed, whole)


def test_unequal_widths_are_read_in_pieces_too(store_model, two_models):
    reference, _, _ = two_models
    sizes = np.diff(reference.samples.offsets)
    narrow = np.random.default_rng(0).standard_normal((sizes.sum(), 5)) + 3
    other = store_model("narrow", {layer: narrow for layer in range(3)}, sizes)
    rows = paired_rows(reference, other)
    streamed, whole = (
        procrustes_layers(reference, other, rows, n_permutations=19, **memory)
        for memory in ({"memory": LITTLE}, {})
    )
    assert_same(streamed, whole)


def test_samples_whose_rows_are_scattered_are_read_in_pieces(store_model, two_models):
    reference, candidate, rows = two_models
    shuffled = np.random.default_rng(0).permutation(len(rows.reference))
    scattered = type(rows)(
        reference=rows.reference[shuffled],
        candidate=rows.candidate[shuffled],
        samples=rows.samples[shuffled],
        tokens=rows.tokens[shuffled],
        share=rows.share,
        row_set="scattered",
        n_samples=rows.n_samples,
    )
    streamed, whole = (
        procrustes_layers(reference, candidate, scattered, n_permutations=19, **memory)
        for memory in ({"memory": LITTLE}, {})
    )
    assert_same(streamed, whole)


def test_a_constant_layer_is_seen_in_pieces(store_model, two_models):
    reference, _, _ = two_models
    sizes = np.diff(reference.samples.offsets)
    varied = np.random.default_rng(0).standard_normal((sizes.sum(), 12))
    flat = store_model("flat", {0: varied, 1: np.full_like(varied, 0.1), 2: varied}, sizes)
    table = procrustes_layers(reference, flat, paired_rows(reference, flat), memory=LITTLE).table
    assert table.loc[table["layer_candidate"] == 1, "value"].isna().all()
    assert table.loc[table["layer_candidate"] == 2, "value"].notna().all()


def test_a_row_that_is_not_finite_is_named_when_its_piece_is_read(two_models, monkeypatch):
    reference, candidate, rows = two_models
    stored = candidate.layer(2)[:]
    stored[100, 3] = np.inf
    layer = candidate.layer
    monkeypatch.setattr(candidate, "layer", lambda index: stored if index == 2 else layer(index))
    assert 100 in rows.candidate
    with pytest.raises(
        UserError, match=r"layer 2 of model candidate holds .* at row 100, column 3"
    ):
        procrustes_layers(reference, candidate, rows, memory=LITTLE)


def test_the_rows_permuted_are_at_most_2000_however_much_memory_there_is(store_model):
    X = np.random.default_rng(0).standard_normal((3000, 4))
    one, other = (store_model(name, {0: X, 1: X + 1}, [10] * 300) for name in "ab")
    rows = paired_rows(one, other)
    for memory in (2**16, 2**31):
        table = procrustes_layers(one, other, rows, n_permutations=19, memory=memory).table
        chance = table[table["statistic"] == "cos_permutation_chance"].iloc[0]
        assert (chance["n_tokens"], chance["n_samples"]) == (1998, 222)


def test_the_same_budget_gives_the_same_bytes(two_models):
    first, second = (procrustes_layers(*two_models, memory=LITTLE) for _ in range(2))
    assert first.table.equals(second.table)
    for name, array in first.arrays.items():
        assert array.tobytes() == second.arrays[name].tobytes()


def test_ten_times_the_rows_allocate_no_more_than_their_indices(store_model):
    width, peaks = 64, []
    for n_samples in (200, 2000):
        X = np.random.default_rng(0).standard_normal((10 * n_samples, width))
        one, other = (
            store_model(f"{name}{n_samples}", {0: X, 1: X + 1}, [10] * n_samples) for name in "ab"
        )
        rows = paired_rows(one, other)
        tracemalloc.start()
        procrustes_layers(one, other, rows, n_permutations=0, n_draws=2, memory=2**19)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    layer = 8 * 20_000 * width
    assert peaks[1] - peaks[0] < layer / 4


# Rows


@pytest.mark.parametrize("memory", [2**9, 2**31])
def test_rows_are_centred_by_the_mean_of_all_whatever_their_offset(memory):
    X = np.random.default_rng(0).standard_normal((50, 3)) + np.array([0, 3000, -1e6])
    found = pair_of(X, X, memory).x
    chosen = np.array([31, 4, 4, 49])
    assert found[chosen] == pytest.approx((X - X.mean(axis=0))[chosen], abs=1e-9)
    assert found.shape == (50, 3)
    assert found.varies


@pytest.mark.parametrize("kept", [True, False])
def test_rows_that_are_all_equal_do_not_vary(kept):
    found = CentredRows(array_reader(np.full((9, 2), 0.1)), 9, step=4, kept=kept)
    assert not found.varies
    assert found[np.arange(9)] == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("memory", [2**9, 2**31])
def test_sums_are_those_of_the_centred_matrices(memory):
    X, Y = np.random.default_rng(1).standard_normal((2, 83, 5)) + 2
    cross, squares_x, squares_y = pair_of(X, Y[:, :3], memory).sums()
    assert cross == pytest.approx(centred_product(X, Y[:, :3]), abs=1e-10)
    assert squares_x == pytest.approx(np.sum((X - X.mean(axis=0)) ** 2))
    assert squares_y == pytest.approx(np.sum((Y - Y.mean(axis=0))[:, :3] ** 2))


@pytest.mark.parametrize("memory", [2**9, 2**31])
def test_a_subset_is_centred_by_its_own_means(memory):
    X, Y = np.random.default_rng(2).standard_normal((2, 83, 5)) + np.arange(83)[:, None]
    chosen = np.flatnonzero(np.arange(83) % 3 == 0)
    found = pair_of(X, Y, memory).cross_of(chosen)
    assert found == pytest.approx(centred_product(X[chosen], Y[chosen]), abs=1e-8)


@pytest.mark.parametrize("memory", [2**9, 2**31])
def test_rows_that_go_in_pieces_leave_the_product_and_the_means_of_the_rest(memory):
    X, Y = np.random.default_rng(3).standard_normal((2, 83, 5)) + np.arange(83)[:, None]
    gone = np.arange(83) % 4 == 1
    pair = pair_of(X, Y, memory)
    rest = pair.without(pair.sums()[0], np.flatnonzero(gone))
    assert rest.cross == pytest.approx(centred_product(X[~gone], Y[~gone]), abs=1e-8)
    assert rest.shift_x == pytest.approx(X.mean(axis=0) - X[~gone].mean(axis=0))
    assert rest.shift_y == pytest.approx(Y.mean(axis=0) - Y[~gone].mean(axis=0))

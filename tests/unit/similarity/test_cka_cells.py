"""Layer-by-layer CKA: two routes, any memory, exact values without each block."""

import numpy as np
import pytest

from hrsa.similarity import linear_cka
from hrsa.similarity.cka_cells import cka_cells
from hrsa.similarity.layer_stack import LayerStack, array_reader, pieces_of
from hrsa.similarity.pair_sums import cheaper_route
from hrsa.statistics.blocks import block_order

VARIANTS = ("biased", "song", "sample_debiased")


def layers_of(seed, n, width, depth):
    """Layers that drift away from one another, with a mean far from 0."""
    rng = np.random.default_rng(seed)
    layers = [rng.standard_normal((n, width)) + 5]
    for _ in range(depth - 1):
        layers.append(0.8 * layers[-1] @ rng.standard_normal((width, width)) / np.sqrt(width))
        layers[-1] += 0.6 * rng.standard_normal((n, width))
    return layers


@pytest.fixture(scope="module")
def models():
    """Two models of different width and depth on 40 samples of 2 to 7 rows in mixed order."""
    rng = np.random.default_rng(0)
    samples = rng.permutation(np.repeat(np.arange(40), rng.integers(2, 8, 40)))
    reference = layers_of(1, len(samples), 6, 4)
    candidate = [layer @ rng.standard_normal((6, 5)) for layer in reference[:3]]
    candidate = [layer + rng.standard_normal(layer.shape) for layer in candidate]
    return reference, candidate, samples


def stacks(models, order, *, dtype=np.float64, memory=2**30):
    return tuple(
        LayerStack([array_reader(layer) for layer in layers], order, dtype=dtype, memory=memory)
        for layers in models[:2]
    )


def all_arrays(cells):
    for variant in VARIANTS:
        estimates = getattr(cells, variant)
        yield from (estimates.values, estimates.replicates)
    yield cells.chance


@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-5)])
def test_both_routes_agree(models, grouped, dtype, tolerance):
    order = block_order(models[2] if grouped else None, len(models[2]), n_blocks=7)
    x, y = stacks(models, order, dtype=dtype)
    routes = [cka_cells(x, y, route=route, device="cpu") for route in ("grams", "products")]
    for first, second in zip(*map(all_arrays, routes), strict=True):
        assert np.isfinite(first).all()
        np.testing.assert_allclose(first, second, rtol=0, atol=tolerance)


@pytest.mark.parametrize("route", ["grams", "products"])
def test_little_memory_reads_again_and_changes_nothing(models, route):
    order = block_order(models[2], len(models[2]), n_blocks=7)
    ample = cka_cells(*stacks(models, order), route=route, device="cpu")
    scarce = cka_cells(*stacks(models, order, memory=0), route=route, device="cpu", memory=4000)
    for first, second in zip(all_arrays(ample), all_arrays(scarce), strict=True):
        np.testing.assert_allclose(first, second, rtol=0, atol=1e-12)


@pytest.mark.parametrize("route", ["grams", "products"])
def test_every_cell_without_a_block_is_what_the_remaining_rows_give(models, route):
    reference, candidate, samples = models
    blocks = samples % 5
    order = block_order(samples, len(samples), blocks=blocks)
    cells = cka_cells(*stacks(models, order), route=route, device="cpu")
    labels = [blocks[order.order[start]] for start in order.block_starts]
    for i, X in enumerate(reference):
        for j, Y in enumerate(candidate):
            for b, label in enumerate(labels):
                rest = blocks != label
                for variant, debiased in (("biased", False), ("song", True)):
                    expected = linear_cka(X[rest], Y[rest], debiased=debiased, n_permutations=0)
                    found = getattr(cells, variant).replicates[i, j, b]
                    assert found == pytest.approx(expected.value, abs=1e-9)


def test_sample_debiased_without_a_block_needs_the_means_of_all_rows_alone(models):
    """With means that are 0 in every block, deletion is plain deletion."""
    reference, candidate, samples = models
    blocks = samples % 5
    flat = []
    for layers in (reference, candidate):
        copies = [layer.copy() for layer in layers]
        for layer in copies:
            for block in range(5):
                layer[blocks == block] -= layer[blocks == block].mean(axis=0)
        flat.append(copies)
    order = block_order(samples, len(samples), blocks=blocks)
    cells = cka_cells(*stacks((*flat, samples), order), device="cpu")
    labels = [blocks[order.order[start]] for start in order.block_starts]
    for b, label in enumerate(labels):
        rest = blocks != label
        expected = linear_cka(
            flat[0][1][rest],
            flat[1][2][rest],
            debiased=True,
            samples=samples[rest],
            n_permutations=0,
        )
        found = cells.sample_debiased.replicates[1, 2, b]
        assert found == pytest.approx(expected.value, abs=1e-9)


def test_a_constant_layer_is_undefined_and_leaves_the_others_alone(models):
    reference, candidate, samples = models
    order = block_order(samples, len(samples), n_blocks=7)
    plain = cka_cells(*stacks(models, order), device="cpu")
    flat = [reference[0], np.full_like(reference[1], 3.7), *reference[2:]]
    cells = cka_cells(*stacks((flat, candidate), order), device="cpu")
    for variant in VARIANTS:
        values = getattr(cells, variant).values
        assert np.isnan(values[1]).all()
        kept = [0, 2, 3]
        np.testing.assert_allclose(values[kept], getattr(plain, variant).values[kept], atol=1e-12)


def test_a_constant_dimension_of_3000_changes_nothing_in_float32(models):
    reference, candidate, samples = models
    order = block_order(samples, len(samples), n_blocks=7)
    offset = [
        np.hstack([layer, np.full((len(layer), 1), 3000.0)]).astype(np.float32)
        for layer in reference
    ]
    exact = [layer.astype(np.float64) for layer in offset]
    for route in ("grams", "products"):
        single = cka_cells(
            *stacks((offset, candidate), order, dtype=np.float32), route=route, device="cpu"
        )
        double = cka_cells(*stacks((exact, candidate), order), route=route, device="cpu")
        for variant in VARIANTS:
            np.testing.assert_allclose(
                getattr(single, variant).values, getattr(double, variant).values, atol=1e-6
            )


def test_pieces_are_whole_samples_of_one_block_and_cover_all_rows(models):
    order = block_order(models[2], len(models[2]), n_blocks=7)
    for most in (1, 5, 12, 1000):
        pieces = pieces_of(order, most)
        assert [piece.rows.start for piece in pieces[1:]] == [p.rows.stop for p in pieces[:-1]]
        assert (pieces[0].rows.start, pieces[-1].rows.stop) == (0, order.n_rows)
        for piece in pieces:
            inside = range(piece.samples.start, piece.samples.stop)
            assert {order.block_of_sample[sample] for sample in inside} == {piece.block}
            assert order.sample_sizes[list(inside)].sum() == piece.n_rows
            assert piece.n_rows <= most or len(inside) == 1


def test_the_route_follows_the_number_of_rows():
    assert cheaper_route(1000, (896, 896), (25, 25), n_blocks=25) == "grams"
    assert cheaper_route(200_000, (896, 896), (25, 25), n_blocks=25) == "products"


@pytest.mark.parametrize("route", ["grams", "products"])
@pytest.mark.parametrize("grouped", [True, False])
def test_tensors_of_a_device_give_what_arrays_give(models, monkeypatch, route, grouped):
    """A GPU differs from this test by the place of the tensors alone."""
    torch = pytest.importorskip("torch")
    order = block_order(models[2] if grouped else None, len(models[2]), n_blocks=7)
    x, y = stacks(models, order)
    arrays = cka_cells(x, y, route=route, device="cpu")
    moved = []

    def to_tensor(array):
        moved.append(torch.from_numpy(np.ascontiguousarray(array)))
        return moved[-1]

    monkeypatch.setattr("hrsa.similarity.cka_cells.mover", lambda device: to_tensor)
    tensors = cka_cells(x, y, route=route)
    assert moved
    for first, second in zip(all_arrays(arrays), all_arrays(tensors), strict=True):
        np.testing.assert_allclose(first, second, rtol=0, atol=1e-12)

import tracemalloc

import h5py
import numpy as np
import pytest

from hrsa.errors import UserError
from hrsa.similarity.cosine_tiles import streamed_shape
from hrsa.similarity.neighbour_store import compute_neighbours, open_neighbours
from hrsa.similarity.neighbours import EXCLUSIONS, neighbours_by_exclusion
from hrsa.similarity.running_selection import RunningSelection, TooManyTied
from hrsa.similarity.unit_rows import KeptRows, StreamedRows, unit_rows

SAMPLES, SAMPLE_ROWS = 30, 8
N = SAMPLES * SAMPLE_ROWS
# Far below the 12 bytes a number that rows in memory take.
LITTLE = 120_000


def unrelated(rng):
    return rng.standard_normal((N, 24))


def a_few_directions(rng):
    """Like a layer of embeddings: one state per token, hence long lists of ties."""
    return rng.standard_normal((9, 24))[rng.integers(0, 9, N)]


def one_large_tie_among_unrelated(rng):
    X = rng.standard_normal((N, 24))
    X[rng.permutation(N)[: N // 3]] = X[0]
    return X


def almost_one_direction(rng):
    """Cosines that single precision cannot put in order."""
    return rng.standard_normal(24) + 1e-3 * rng.standard_normal((N, 24))


STATES = [unrelated, a_few_directions, one_large_tie_among_unrelated, almost_one_direction]


@pytest.fixture
def stored(store_model):
    def store(states):
        rng = np.random.default_rng(0)
        layers = {0: states(rng).astype(np.float32)}
        return store_model(states.__name__, layers, [SAMPLE_ROWS] * SAMPLES, rng.integers(0, 40, N))

    return store


def rows_and_labels(model):
    rows = np.flatnonzero(model.tokens.position > 0)
    labels = {"samples": model.sample_of_row[rows], "tokens": model.tokens.id[rows]}
    return model.layer(0)[rows].astype(np.float64), labels


def by_force(X, labels, k, exclude):
    """Rows that are nearer than the k-th or tied with it, as sets; every cosine in float64."""
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    forbidden = np.eye(len(X), dtype=bool)
    for name, needed in (("samples", {"sample", "type"}), ("tokens", {"type"})):
        if exclude in needed:
            forbidden |= labels[name][:, None] == labels[name]
    cosines = np.where(forbidden, -np.inf, unit @ unit.T)
    distances = np.sqrt(np.maximum(2 - 2 * cosines, 0)).astype(np.float32).astype(np.float64)
    last = np.sort(distances, axis=1)[:, k - 1]
    return [set(np.flatnonzero(row)) for row in distances <= last[:, None] + 1e-6]


@pytest.mark.parametrize("states", STATES)
def test_rows_from_disk_have_the_neighbours_of_rows_in_memory(states, stored, tmp_path):
    model = stored(states)
    compute_neighbours(model, tmp_path / "n.h5", ks=(4,), exclude=EXCLUSIONS, memory=LITTLE)
    X, labels = rows_and_labels(model)
    kept = neighbours_by_exclusion(X, 40, exclude=EXCLUSIONS, **labels)
    with open_neighbours(tmp_path / "n.h5") as found:
        assert found.n_neighbours == 40
        for name in EXCLUSIONS:
            streamed = found.load(0, name)
            for field in ("starts", "index", "n_allowed"):
                assert np.array_equal(getattr(streamed, field), getattr(kept[name], field))
            # Cosines that stand alone are float32, whose last digit depends on the tile.
            cosines = [
                1 - one.distance.astype(np.float64) ** 2 / 2 for one in (streamed, kept[name])
            ]
            assert np.abs(cosines[0] - cosines[1]).max() < 1e-6


@pytest.mark.parametrize("states", STATES)
@pytest.mark.parametrize("exclude", EXCLUSIONS)
def test_rows_from_disk_have_the_neighbours_that_brute_force_finds(
    states, exclude, stored, tmp_path
):
    model = stored(states)
    compute_neighbours(model, tmp_path / "n.h5", ks=(4,), exclude=(exclude,), memory=LITTLE)
    with open_neighbours(tmp_path / "n.h5") as stored_lists:
        found = stored_lists.load(0, exclude)
    lists = [set(one.tolist()) for one in np.split(found.index, found.starts[1:-1])]
    assert lists == by_force(*rows_and_labels(model), 40, exclude)


@pytest.mark.parametrize("memory", [50_000, 2**31])
def test_any_memory_gives_the_same_lists(memory, stored, tmp_path):
    model = stored(one_large_tie_among_unrelated)
    X, labels = rows_and_labels(model)
    kept = neighbours_by_exclusion(X, 40, exclude=("self", "sample"), **labels)
    compute_neighbours(model, tmp_path / "n.h5", ks=(4,), memory=memory)
    with open_neighbours(tmp_path / "n.h5") as found:
        for name, expected in kept.items():
            assert np.array_equal(found.load(0, name).index, expected.index)


def test_memory_for_nothing_still_gives_the_lists(store_model, tmp_path):
    X = np.random.default_rng(0).standard_normal((60, 3))
    X[::4] = X[0]
    model = store_model("few", {0: X}, [6] * 10)
    rows = np.flatnonzero(model.tokens.position > 0)
    expected = neighbours_by_exclusion(
        model.layer(0)[rows].astype(np.float64), 36, exclude=("self",)
    )
    compute_neighbours(model, tmp_path / "n.h5", ks=(2,), exclude=("self",), memory=1)
    with open_neighbours(tmp_path / "n.h5") as found:
        assert np.array_equal(found.load(0, "self").index, expected["self"].index)


def test_the_same_file_comes_out_each_time(stored, tmp_path):
    model = stored(a_few_directions)
    for name in ("a.h5", "b.h5"):
        compute_neighbours(model, tmp_path / name, ks=(4,), memory=LITTLE)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_types_in_the_file_do_not_depend_on_the_memory(stored, tmp_path):
    model = stored(unrelated)
    for memory in (LITTLE, 2**31):
        compute_neighbours(model, tmp_path / "n.h5", ks=(4,), memory=memory)
        with h5py.File(tmp_path / "n.h5") as file:
            types = {name: file["layers/00/self"][name].dtype for name in file["layers/00/self"]}
        assert types == {"starts": "i8", "index": "i4", "distance": "f4", "n_allowed": "i8"}


@pytest.mark.parametrize("tied", [False, True])
def test_what_is_held_keeps_to_the_memory(tied, store_model, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 1024)).astype(np.float32)
    if tied:
        X = X[rng.integers(0, 6, 300)]
    model = store_model("many", {0: X}, [20] * 15)
    memory = 500_000
    del X
    tracemalloc.start()
    compute_neighbours(model, tmp_path / "n.h5", ks=(5,), memory=memory)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The rows alone are 1.2 MB as they are stored.
    assert peak < memory


def test_shapes_keep_to_the_memory_and_are_tall():
    for width, k, memory in [(896, 132, 2**26), (128, 132, 2**24), (4096, 232, 2**31)]:
        shape = streamed_shape(width, k, 2, memory)
        rows = 4 * width * (shape.height + shape.width)
        lists = 2 * 2 * 12 * shape.most_held
        assert rows + lists + 4 * shape.height * shape.width < 3 / 4 * memory
        assert shape.height > shape.width / 2
    assert streamed_shape(896, 132, 2, 1).height == 1


def test_rows_from_disk_are_the_rows_in_memory():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 7)).astype(np.float32)
    kept = KeptRows(unit_rows(X.astype(np.float64)))
    streamed = StreamedRows(lambda rows: X[rows], *X.shape, memory=2000)
    assert np.array_equal(streamed.single(slice(40, 260)), kept.single(slice(40, 260)))
    rows, columns = rng.integers(50, 90, 500), rng.integers(0, 300, 500)
    cosines = streamed.cosines(rows, columns)
    assert np.array_equal(cosines, kept.cosines(rows, columns))
    assert cosines == pytest.approx(
        [
            X[i] @ X[j] / np.linalg.norm(X[i]) / np.linalg.norm(X[j])
            for i, j in zip(rows, columns, strict=True)
        ],
        abs=1e-6,
    )


def test_a_tile_with_too_many_ties_is_given_up_unless_it_is_one_row():
    tied = np.zeros((2, 50), dtype=np.float32)
    with pytest.raises(TooManyTied):
        RunningSelection(0, 2, 3, most_held=20).add(tied, 0)
    X = np.tile([1.0, 2.0], (50, 1))
    alone = RunningSelection(0, 1, 3, most_held=20)
    alone.add(tied[:1], 0)
    (found,) = alone.finish(KeptRows(unit_rows(X)), sort_bytes=1)
    assert found.index.tolist() == list(range(50))


def test_equal_cosines_are_in_the_order_of_rows_whatever_single_precision_made_of_them():
    selection = RunningSelection(0, 1, 3, most_held=20)
    selection.add(np.array([[-np.inf, 1, 1 + 1e-6, 1 - 1e-6, 1 + 2e-6]], dtype=np.float32), 0)
    (found,) = selection.finish(KeptRows(unit_rows(np.tile([1.0, 2.0], (5, 1)))), sort_bytes=1)
    assert found.index.tolist() == [1, 2, 3, 4]


def test_a_zero_row_far_down_the_file_is_named(store_model, tmp_path):
    X = np.random.default_rng(0).standard_normal((N, 24)).astype(np.float32)
    X[205] = 0
    model = store_model("zero", {0: X}, [SAMPLE_ROWS] * SAMPLES)
    # One row of each sample, the first, is no candidate: rows 0, 8, …, 200.
    for memory in (LITTLE, 2**31):
        with pytest.raises(UserError, match="row 179 is all zeros"):
            compute_neighbours(model, tmp_path / "n.h5", ks=(4,), memory=memory)
        assert not list(tmp_path.glob("n.h5*"))


def test_a_later_chunk_that_is_nearer_throughout_is_no_tie():
    """Texts in the order of their topics: the first chunks say little of the k-th nearest."""
    rng = np.random.default_rng(0)
    shape = streamed_shape(896, 132, 2, 2**24)
    selection = RunningSelection(0, shape.height, 132, shape.most_held)
    for chunk, level in enumerate((0.1, 0.1, 0.7)):
        cosines = rng.normal(level, 0.02, (shape.height, shape.width)).astype(np.float32)
        selection.add(cosines, chunk * shape.width)

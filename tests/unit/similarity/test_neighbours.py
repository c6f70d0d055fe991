import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrsa.errors import UserError
from hrsa.similarity.cosine_tiles import tiles
from hrsa.similarity.neighbour_store import compute_neighbours, open_neighbours
from hrsa.similarity.neighbours import (
    fewest_allowed,
    membership,
    nearest_neighbours,
    neighbours_by_exclusion,
    surplus,
)


def lists(found):
    return [
        found.index[start:stop].tolist()
        for start, stop in zip(found.starts[:-1], found.starts[1:], strict=True)
    ]


def by_sorting(X, k, forbidden):
    """Brute force: the k rows of greatest cosine, those forbidden (n × n) left out."""
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    cosines = np.where(forbidden, -np.inf, unit @ unit.T)
    return np.argsort(-cosines, axis=1, kind="stable")[:, :k].tolist()


@given(st.integers(0, 1000), st.integers(1, 12))
def test_neighbours_are_those_of_greatest_cosine(seed, k):
    X = np.random.default_rng(seed).standard_normal((40, 3))
    found = nearest_neighbours(X, k)
    assert [row[:k] for row in lists(found)] == by_sorting(X, k, np.eye(40, dtype=bool))


def test_many_rows_and_small_tiles_give_the_same():
    X = np.random.default_rng(0).standard_normal((600, 16))
    whole = nearest_neighbours(X, 20)
    tiled = nearest_neighbours(X, 20, budget=4 * 7 * 600)
    assert lists(tiled) == lists(whole)
    assert [row[:20] for row in lists(whole)] == by_sorting(X, 20, np.eye(600, dtype=bool))


def test_tiles_keep_to_their_budget():
    for n_rows, budget, height in [(1000, 40_000, 10), (1000, 10, 1), (100, 2**26, 100)]:
        found = list(tiles(n_rows, budget))
        assert np.array_equal(np.concatenate(found), np.arange(n_rows))
        assert max(map(len, found)) == height
    assert max(map(len, tiles(5000))) == 512


def test_a_smaller_budget_needs_less_memory():
    X = np.random.default_rng(0).standard_normal((3000, 4))

    def peak(budget):
        tracemalloc.start()
        nearest_neighbours(X, 5, budget=budget)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    small, large = peak(2**17), peak(2**22)
    # A tile with what is worked out from it, beside the rows (192 KiB) and the lists.
    assert small < 3 * 2**20
    assert large > 4 * 2**20 > small


def test_close_neighbours_are_put_in_order_in_float64():
    rng = np.random.default_rng(0)
    centre = rng.standard_normal(64)
    # Distances differ by 4e-6 in cosine at most: float32 alone would shuffle them.
    X = centre + 1e-3 * rng.standard_normal((300, 64))
    found = nearest_neighbours(X, 10)
    assert [row[:10] for row in lists(found)] == by_sorting(X, 10, np.eye(300, dtype=bool))


def test_exclusions_leave_out_self_sample_and_token():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((60, 3))
    samples, tokens = rng.integers(0, 12, 60), rng.integers(0, 9, 60)
    same_sample = samples[:, None] == samples
    same_token = tokens[:, None] == tokens
    forbidden = {
        "self": np.eye(60, dtype=bool),
        "sample": same_sample,
        "type": same_sample | same_token,
    }
    together = neighbours_by_exclusion(
        X, 8, exclude=("type", "self", "sample"), samples=samples, tokens=tokens
    )
    for name, mask in forbidden.items():
        alone = nearest_neighbours(X, 8, exclude=name, samples=samples, tokens=tokens)
        expected = by_sorting(X, 8, mask)
        assert [row[:8] for row in lists(alone)] == expected
        assert [row[:8] for row in lists(together[name])] == expected
        assert np.array_equal(alone.n_allowed, (~mask).sum(axis=1))
        assert np.array_equal(together[name].n_allowed, alone.n_allowed)


def test_type_without_samples_leaves_out_the_same_token_only():
    X = np.random.default_rng(1).standard_normal((20, 3))
    tokens = np.arange(20) % 6
    found = nearest_neighbours(X, 5, exclude="type", tokens=tokens)
    expected = by_sorting(X, 5, tokens[:, None] == tokens)
    assert [row[:5] for row in lists(found)] == expected


def test_all_that_tie_with_the_last_are_kept_and_share_its_weight():
    X = np.array([[1.0, 0], [1, 0.1], [2, 0.2], [3, 0.3], [0, 1]])
    found = nearest_neighbours(X, 2)
    assert sorted(lists(found)[0]) == [1, 2, 3]
    shares = membership(found, 2)
    assert shares.weight[: found.starts[1]] == pytest.approx([2 / 3] * 3)
    assert np.add.reduceat(shares.weight, found.starts[:-1]) == pytest.approx(np.full(5, 2))
    assert shares.counts.nearer[0] == 0
    assert shares.counts.tied[0] == 3


def test_a_smaller_k_reads_the_same_lists():
    X = np.random.default_rng(0).standard_normal((50, 4))
    long, short = nearest_neighbours(X, 30), nearest_neighbours(X, 5)
    weight = membership(long, 5).weight
    members = [
        set(long.index[start:stop][weight[start:stop] > 0])
        for start, stop in zip(long.starts[:-1], long.starts[1:], strict=True)
    ]
    assert members == [set(row) for row in lists(short)]


def test_a_k_beyond_the_lists_is_refused():
    found = nearest_neighbours(np.random.default_rng(0).standard_normal((20, 4)), 5)
    with pytest.raises(ValueError, match="k = 6 but only 5 neighbours"):
        membership(found, 6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exclude": "word"}, "exclude must be one of self, sample, type, got 'word'"),
        ({"exclude": "sample"}, "exclude='sample' needs samples"),
        ({"exclude": "type"}, "exclude='type' needs tokens"),
        ({"n_neighbours": 0}, "at least 1, got 0"),
        ({"n_neighbours": 20}, "only 19 of 20 rows may be a neighbour of row 0"),
        (
            {"exclude": "sample", "samples": [0] * 16 + [1] * 4, "n_neighbours": 5},
            "exclusion 'sample' only 4 of 20",
        ),
        ({"exclude": "type", "tokens": [1, 2]}, r"each of the 20 rows, got shape \(2,\)"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    X = np.random.default_rng(0).standard_normal((20, 4))
    with pytest.raises(ValueError, match=message):
        nearest_neighbours(X, options.pop("n_neighbours", 3), **options)


def test_a_row_of_zeros_has_no_direction():
    X = np.random.default_rng(0).standard_normal((20, 4))
    X[7] = 0
    with pytest.raises(ValueError, match="row 7 is all zeros"):
        nearest_neighbours(X, 3)


def test_neighbours_come_back_from_a_file(two_models, tmp_path):
    reference, _, rows = two_models
    path = tmp_path / "neighbours" / "reference.h5"
    compute_neighbours(reference, path, ks=(3, 5))
    with open_neighbours(path) as stored:
        assert stored.n_neighbours == 42
        assert stored.row_set == rows.row_set
        assert np.array_equal(stored.rows, rows.reference)
        found = stored.load(1, "sample")
        assert not stored.has(1, "type")
        with pytest.raises(UserError, match="no neighbours of layer 1 with exclusion 'type'"):
            stored.load(1, "type")
    direct = nearest_neighbours(
        reference.layer(1)[rows.reference], 42, exclude="sample", samples=rows.samples
    )
    for name in ("starts", "index", "distance", "n_allowed"):
        assert np.array_equal(getattr(found, name), getattr(direct, name))
    assert list(path.parent.iterdir()) == [path]


def test_a_small_set_keeps_as_many_neighbours_as_there_are(store_model, tmp_path):
    states = np.random.default_rng(0).standard_normal((40, 4))
    model = store_model("small", {0: states}, [10] * 4)
    compute_neighbours(model, tmp_path / "small-neighbours.h5", ks=(5,))
    with open_neighbours(tmp_path / "small-neighbours.h5") as stored:
        # 36 rows past the first position, 9 of them in the row's own sample.
        assert stored.n_neighbours == 27


def test_lists_are_long_enough_for_a_fifth_to_go_where_there_are_rows():
    samples = np.repeat(np.arange(10), 20)
    assert surplus((5, 10), 200, exclude=("self",)) == 52
    assert surplus((5, 75), 200, exclude=("self", "sample"), samples=samples) == 180
    with pytest.raises(ValueError, match="181 neighbours are wanted"):
        surplus((181,), 200, exclude=("self", "sample"), samples=samples)


def test_the_row_with_fewest_neighbours_is_counted():
    samples, tokens = np.repeat([0, 1, 2], [5, 2, 3]), np.arange(10) % 4
    assert fewest_allowed(10, exclude="self") == 9
    assert fewest_allowed(10, exclude="sample", samples=samples) == 5
    # Row 1: without the five of its sample, and without rows 5 and 9, of its token.
    assert fewest_allowed(10, exclude="type", samples=samples, tokens=tokens) == 3


def test_too_few_rows_leave_no_file(store_model, tmp_path):
    states = np.random.default_rng(0).standard_normal((12, 4))
    model = store_model("tiny", {0: states}, [3] * 4)
    with pytest.raises(UserError, match=r"tiny.h5: 50 neighbours are wanted"):
        compute_neighbours(model, tmp_path / "tiny-neighbours.h5")
    assert not list(tmp_path.glob("tiny-neighbours*"))


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "text.h5").write_text("no HDF5")
    with pytest.raises(UserError, match=r"text.h5 is no readable file of neighbours"):
        open_neighbours(tmp_path / "text.h5")


def test_an_activation_file_is_no_file_of_neighbours(two_models):
    reference, _, _ = two_models
    with pytest.raises(UserError, match="of the neighbours' format"):
        open_neighbours(reference.path)

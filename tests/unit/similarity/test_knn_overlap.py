from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hypergeom, ortho_group

from hrsa.errors import UserError
from hrsa.similarity import knn_chance, knn_layers, knn_overlap
from hrsa.similarity.knn_chance import chance_levels, expected_overlap
from hrsa.similarity.neighbour_store import (
    StoredNeighbours,
    compute_neighbours,
    open_neighbours,
)
from hrsa.similarity.neighbours import TieCounts, membership, nearest_neighbours


def related(seed, n=60, p=5, q=7):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    return X, X @ rng.standard_normal((p, q)) + rng.standard_normal((n, q))


@given(st.integers(0, 1000), st.floats(0.01, 100))
def test_rotation_and_scale_do_not_matter(seed, scale):
    X, Y = related(seed)
    rotation = ortho_group.rvs(5, random_state=seed)
    assert knn_overlap(scale * X @ rotation, Y, n_permutations=0).value == pytest.approx(
        knn_overlap(X, Y, n_permutations=0).value, abs=1e-9
    )


@given(st.integers(0, 1000))
def test_order_of_rows_and_names_of_samples_do_not_matter(seed):
    X, Y = related(seed)
    rng = np.random.default_rng(seed)
    samples = rng.integers(0, 12, 60)
    order = rng.permutation(60)
    names = np.array([f"text {5 * s % 13}" for s in samples])
    options = {"k": 5, "exclude": "sample", "n_permutations": 0}
    plain = knn_overlap(X, Y, samples=samples, **options)
    moved = knn_overlap(X[order], Y[order], samples=names[order], **options)
    assert moved.value == pytest.approx(plain.value, abs=1e-9)
    assert moved.per_token == pytest.approx(plain.per_token[order])


@pytest.mark.parametrize("score", ["jaccard", "overlap"])
@given(seed=st.integers(0, 1000))
def test_a_rotation_agrees_wholly_even_with_duplicates(score, seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((15, 6))[rng.integers(0, 15, 80)]
    rotation = ortho_group.rvs(6, random_state=seed)
    found = knn_overlap(X, X @ rotation, k=10, score=score, n_permutations=0)
    assert found.value == pytest.approx(1)


def test_a_rotation_in_float32_agrees_with_duplicates():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 32))[rng.integers(0, 40, 200)].astype(np.float32)
    rotation = ortho_group.rvs(32, random_state=0).astype(np.float32)
    assert knn_overlap(X, X @ rotation, score="overlap").value > 0.999


def test_jaccard_and_overlap_are_means_over_tokens():
    X, Y = related(0)
    overlap = knn_overlap(X, Y, k=5, score="overlap")
    jaccard = knn_overlap(X, Y, k=5)
    shared = 5 * overlap.per_token
    assert jaccard.per_token == pytest.approx(shared / (10 - shared))
    assert jaccard.value == pytest.approx(jaccard.per_token.mean())


def test_half_shared_ties_count_by_their_weights():
    # Neighbours of row 0: three duplicates in X, of which two are among Y's two nearest.
    X = np.array([[1.0, 0], [1, 0.1], [2, 0.2], [3, 0.3], [0, 1], [-1, 3]])
    Y = np.array([[1.0, 0], [1, 0.1], [1, 0.2], [0, 1], [-1, 0.2], [-1, -1]])
    assert knn_overlap(X, Y, k=2, score="overlap").per_token[0] == pytest.approx(2 / 3)
    assert knn_overlap(X, Y, k=2).per_token[0] == pytest.approx((4 / 3) / (4 - 4 / 3))


def test_sentence_membership_alone_counts_under_self_and_not_under_sample():
    rng = np.random.default_rng(0)
    samples = np.repeat(np.arange(100), 12)
    X, Y = (
        2 * rng.standard_normal((100, 30))[samples] + rng.standard_normal((1200, 30))
        for _ in range(2)
    )
    under_self = knn_overlap(X, Y, score="overlap", samples=samples)
    under_sample = knn_overlap(X, Y, score="overlap", exclude="sample", samples=samples)
    assert under_self.value > 0.5
    assert under_sample.value < 0.05


@pytest.mark.parametrize("score", ["jaccard", "overlap"])
def test_chance_is_the_mean_over_permutations(score):
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((6, 3)), rng.standard_normal((6, 3))
    values = [
        knn_overlap(X, Y[list(order)], k=2, score=score, n_permutations=0).value
        for order in permutations(range(6))
    ]
    assert knn_overlap(X, Y, k=2, score=score).chance == pytest.approx(np.mean(values))


@pytest.mark.parametrize("score", ["jaccard", "overlap"])
def test_chance_with_ties_is_the_mean_over_permutations(score, monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((5, 3))[[0, 0, 0, 1, 2]]
    Y = rng.standard_normal((5, 3))[[0, 1, 1, 1, 2]]
    k = 2
    values = [
        knn_overlap(X, Y[list(order)], k=k, score=score, n_permutations=0).value
        for order in permutations(range(5))
    ]
    monkeypatch.setattr(knn_chance, "N_PERMUTATIONS", 3000)
    own, other = (membership(nearest_neighbours(M, k), k).counts for M in (X, Y))
    levels, share_tied = chance_levels(own, other, np.full(5, 4), k)
    assert share_tied > 0
    assert levels[score] == pytest.approx(np.mean(values), abs=0.006)


def test_a_tie_set_larger_than_what_a_row_allows_keeps_its_weight():
    counts = TieCounts(np.array([2, 0]), np.array([9, 3]), np.array([3 / 9, 1.0]))
    cut = knn_chance._fit(counts, np.array([6, 20]))
    assert cut.tied.tolist() == [4, 3]
    assert cut.nearer + cut.tied * cut.share == pytest.approx([5, 3])


def test_jaccards_chance_is_hypergeometric():
    h = np.arange(11)
    expected = np.sum(hypergeom(299, 10, 10).pmf(h) * h / (20 - h))
    assert expected_overlap(299, 10, "jaccard") == pytest.approx(expected)


def test_excluding_the_sample_raises_the_chance_by_its_size():
    X, Y = related(0)
    samples = np.repeat([0, 1, 2, 3], [5, 15, 20, 20])
    found = knn_overlap(X, Y, k=10, score="overlap", exclude="sample", samples=samples)
    sizes = np.bincount(samples)[samples]
    assert found.chance == pytest.approx(np.mean(10 / (60 - sizes)))


def test_an_unknown_score_is_refused():
    with pytest.raises(ValueError, match="score must be one of jaccard, overlap, got 'dice'"):
        knn_overlap(*related(0), score="dice")


def test_layers_agree_with_the_array_function(two_models):
    reference, candidate, rows = two_models
    found = knn_layers(reference, candidate, rows, ks=(3, 5))
    direct = knn_overlap(
        reference.layer(2)[rows.reference],
        candidate.layer(2)[rows.candidate],
        k=5,
        exclude="sample",
        samples=rows.samples,
    )
    table = found.table.set_index(["statistic", "variant", "k", "layer_reference"])
    row = table.loc[("jaccard", "sample", 5, 2)]
    assert row["value"] == pytest.approx(direct.value)
    assert row["chance"] == pytest.approx(direct.chance)
    overlap = found.arrays["per_token"][1, 1, 2]
    assert overlap / (2 - overlap) == pytest.approx(direct.per_token, abs=1e-6)
    # Exclusions × ks × scores, layers and their mean; one k has a maximum over layers.
    assert len(found.table) == 2 * 2 * 2 * (3 + 1) + 2 * 2
    inner = [table.loc[("jaccard", "self", 3, layer), "value"] for layer in (1, 2)]
    assert table.loc[("jaccard", "self", 3, -1), "value"] == pytest.approx(np.mean(inner))


def test_stored_neighbours_give_the_same_table_and_are_used(two_models, tmp_path, monkeypatch):
    reference, candidate, rows = two_models
    computed = knn_layers(reference, candidate, rows, ks=(3, 5))
    for name, model in (("r", reference), ("c", candidate)):
        compute_neighbours(model, tmp_path / f"{name}.h5", ks=(3, 5))
    loads = []
    load = StoredNeighbours.load
    monkeypatch.setattr(
        StoredNeighbours, "load", lambda self, *key: loads.append(key) or load(self, *key)
    )
    with open_neighbours(tmp_path / "r.h5") as r, open_neighbours(tmp_path / "c.h5") as c:
        stored = knn_layers(
            reference, candidate, rows, ks=(3, 5), neighbours_reference=r, neighbours_candidate=c
        )
    assert len(loads) == 12
    assert stored.table.equals(computed.table)


def test_neighbours_of_another_row_set_are_not_used(two_models, tmp_path):
    from hrsa.activations.alignment import paired_rows

    reference, candidate, _ = two_models
    every_row = paired_rows(reference, candidate, skip_first_position=False)
    compute_neighbours(reference, tmp_path / "r.h5", ks=(3,))
    with open_neighbours(tmp_path / "r.h5") as stored:
        found = knn_layers(reference, candidate, every_row, ks=(3,), neighbours_reference=stored)
    expected = knn_layers(reference, candidate, every_row, ks=(3,))
    assert found.table.equals(expected.table)


def test_lists_kept_for_a_smaller_neighbourhood_are_not_used(two_models, tmp_path, monkeypatch):
    reference, candidate, rows = two_models
    compute_neighbours(reference, tmp_path / "r.h5", ks=(2,))
    monkeypatch.setattr(StoredNeighbours, "load", None)
    with open_neighbours(tmp_path / "r.h5") as stored:
        found = knn_layers(reference, candidate, rows, ks=(5,), neighbours_reference=stored)
    assert found.table["se"].notna().sum() == 2 * 2 * (3 + 1)


def test_tokens_of_another_vocabulary_are_not_used_for_type(store_model, tmp_path, monkeypatch):
    from hrsa.activations.alignment import paired_rows

    states = np.random.default_rng(0).standard_normal((2, 120, 6))
    reference = store_model("r", {1: states[0]}, [12] * 10)
    candidate = store_model("c", {1: states[1]}, [12] * 10, np.arange(120) % 40)
    rows = paired_rows(reference, candidate)
    compute_neighbours(candidate, tmp_path / "neighbours.h5", ks=(3,), exclude=("type",))
    options = {"ks": (3,), "exclude": ("type",)}
    expected = knn_layers(reference, candidate, rows, **options)
    monkeypatch.setattr(StoredNeighbours, "load", None)
    with open_neighbours(tmp_path / "neighbours.h5") as stored:
        found = knn_layers(reference, candidate, rows, **options, neighbours_candidate=stored)
    assert found.table.equals(expected.table)


def test_a_small_budget_gives_the_same_table(two_models):
    reference, candidate, rows = two_models
    whole = knn_layers(reference, candidate, rows, ks=(3, 5)).table
    tiled = knn_layers(reference, candidate, rows, ks=(3, 5), budget=20_000).table
    assert whole.equals(tiled)


def test_too_many_neighbours_are_the_users_mistake(two_models):
    reference, candidate, rows = two_models
    with pytest.raises(UserError, match=r"reference.h5 and .*candidate.h5: 5000 neighbours are"):
        knn_layers(reference, candidate, rows, ks=(5000,))

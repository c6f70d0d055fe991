import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from knn_by_force import forbidden_pairs, score_of, shared_by_force
from scipy.stats import kstest, ortho_group

from hrsa.activations.alignment import paired_rows
from hrsa.similarity import knn_layers, knn_overlap
from hrsa.similarity.knn_null import null_rows, null_scores
from hrsa.similarity.knn_table import k_of_null
from hrsa.statistics.blocks import sample_codes
from hrsa.statistics.permutation import equal_rows

SCORES = ("jaccard", "overlap")


def a_pair(seed, n_samples=12, each=5, duplicates=False):
    rng = np.random.default_rng(seed)
    n_rows = n_samples * each
    X, Y = rng.standard_normal((n_rows, 4)), rng.standard_normal((n_rows, 5))
    if duplicates:
        X, Y = X[rng.integers(0, n_rows // 3, n_rows)], Y[rng.integers(0, n_rows // 3, n_rows)]
    return X, Y, np.repeat(np.arange(n_samples), each), rng.integers(0, 7, n_rows)


@pytest.mark.parametrize("duplicates", [False, True])
@pytest.mark.parametrize("exclude", ["self", "sample", "type"])
@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 10_000))
def test_a_renamed_neighbourhood_is_that_of_permuted_samples(seed, exclude, duplicates):
    X, Y, samples, tokens = a_pair(seed, duplicates=duplicates)
    null = null_rows(samples, tokens, n_permutations=3, seed=seed)
    found = null_scores(X, Y, 6, null, exclude=(exclude,))[exclude]
    assert np.array_equal(null.rows, np.arange(60))
    mine = forbidden_pairs(60, exclude, samples, tokens)
    for place, order in enumerate(null.orders):
        # The samples' places stay, their rows and tokens come from elsewhere.
        assert np.array_equal(
            np.unique(samples[order].reshape(-1, 5), axis=1)[:, 0] * 5, order[::5]
        )
        theirs = forbidden_pairs(60, exclude, samples, tokens[order])
        shared = shared_by_force(X, Y[order], 6, mine, theirs)
        for score in SCORES:
            assert found[score][place] == pytest.approx(score_of(shared, 6, score), abs=1e-6)


def test_the_first_order_is_the_observed_one():
    samples = np.repeat([0, 1, 2, 3, 4, 5], [4, 9, 5, 6, 2, 7])
    null = null_rows(samples, None, n_permutations=9, seed=3)
    assert np.array_equal(null.orders[0], np.arange(len(null.rows)))
    assert np.array_equal(null.rows, equal_rows(samples, seed=3).rows.ravel())
    assert np.array_equal(samples[null.rows], sample_codes(samples, 33)[null.rows])
    assert null.note == equal_rows(samples, seed=3).note


@pytest.mark.parametrize("score", SCORES)
def test_p_counts_permutations_that_reach_the_observed_score(score):
    X, Y, samples, _ = a_pair(1)
    null = null_rows(samples, None, n_permutations=49, seed=5)
    forbidden = forbidden_pairs(60, "sample", samples)
    values = [
        score_of(shared_by_force(X, Y[order], 5, forbidden), 5, score) for order in null.orders
    ]
    expected = (1 + sum(value >= values[0] - 1e-9 for value in values[1:])) / 50
    found = knn_overlap(
        X, Y, k=5, score=score, exclude="sample", samples=samples, n_permutations=49, seed=5
    )
    assert found.p == pytest.approx(expected)
    assert "p: whole samples permuted, 12 samples of 5 rows" in found.note


def test_samples_that_are_not_contiguous_are_permuted_whole():
    X, Y, samples, _ = a_pair(2)
    order = np.random.default_rng(0).permutation(60)
    null = null_rows(sample_codes(samples[order], 60), None, n_permutations=5, seed=0)
    assert np.array_equal(np.bincount(null.samples), np.full(12, 5))
    rows = samples[order][null.rows].reshape(12, 5)
    assert (rows == rows[:, :1]).all()
    found = knn_overlap(X[order], Y[order], k=5, samples=samples[order], n_permutations=5)
    observed = null_scores(X[order][null.rows], Y[order][null.rows], 5, null, exclude=("self",))
    # All rows are in the null, in another order: its observed score is the value.
    assert observed["self"]["jaccard"][0] == pytest.approx(found.value, abs=1e-6)


@pytest.mark.parametrize("duplicates", [False, True])
def test_a_rotation_has_the_smallest_p(duplicates):
    X, _, samples, _ = a_pair(3, duplicates=duplicates)
    rotation = ortho_group.rvs(4, random_state=0)
    assert knn_overlap(X, X @ rotation, k=5, samples=samples).p == pytest.approx(1 / 200)


def test_rows_without_samples_are_permuted_one_by_one():
    X, Y, _, _ = a_pair(4)
    found = knn_overlap(X, Y, k=5)
    assert 0 < found.p <= 1
    assert "60 samples of 1 rows" in found.note


def test_models_that_share_only_their_samples_have_uniform_p():
    # Under "self" they share half of their neighbours: the null has the same.
    p = {"self": [], "sample": []}
    for seed in range(60):
        rng = np.random.default_rng(seed)
        samples = np.repeat(np.arange(20), 6)
        X, Y = (
            rng.standard_normal((20, 8))[samples] + rng.standard_normal((120, 8)) for _ in range(2)
        )
        for exclude, values in p.items():
            found = knn_overlap(
                X, Y, k=5, exclude=exclude, samples=samples, n_permutations=39, seed=seed
            )
            values.append(found.p)
    for values in p.values():
        # p takes 40 values: spread each over its step.
        spread = np.array(values) - np.random.default_rng(0).random(60) / 40
        assert kstest(spread, "uniform").pvalue > 0.01


def test_without_permutations_there_is_no_p():
    X, Y, samples, _ = a_pair(5)
    found = knn_overlap(X, Y, k=5, samples=samples, n_permutations=0)
    assert found.p is None
    assert "p: no permutations were asked for" in found.note


def test_too_few_rows_of_equal_number_have_no_p():
    X, Y, _, _ = a_pair(6)
    samples = np.concatenate([np.arange(10), np.full(50, 10)])
    found = knn_overlap(X, Y, k=12, samples=samples)
    assert found.p is None
    assert "p: of the 11 rows that would be permuted, fewer than 12" in found.note


@pytest.mark.parametrize(
    ("n_samples", "each", "note"),
    [
        (6, 1500, "6 samples of 300 rows"),
        (100, 200, "50 samples of 40 rows"),
        (90, 30, "66 samples of 30 rows"),
        (5000, 1, "2000 samples of 1 rows"),
    ],
)
def test_the_null_has_few_rows_of_many_samples(n_samples, each, note):
    null = null_rows(np.repeat(np.arange(n_samples), each), None, n_permutations=1, seed=0)
    assert len(null.rows) <= 2000
    assert len(set(np.bincount(null.samples))) == 1
    assert note in null.note


@pytest.mark.parametrize(
    ("ks", "k"), [((5, 10, 50), 10), ((3, 5, 7), 5), ((4,), 4), ((50, 10), 10)]
)
def test_the_headline_neighbourhood_is_permuted(ks, k):
    assert k_of_null(ks) == k


def test_layers_share_their_permutations(store_model):
    rng = np.random.default_rng(12)
    reference, candidate = (
        store_model(name, dict(enumerate(rng.standard_normal((3, 120, 5)))), [8, 12] * 6)
        for name in ("reference", "candidate")
    )
    rows = paired_rows(reference, candidate)
    found = knn_layers(reference, candidate, rows, ks=(3, 5), n_permutations=19)
    table = found.table.set_index(["statistic", "variant", "k", "layer_reference"])
    null = null_rows(sample_codes(rows.samples, len(rows.samples)), None, n_permutations=19, seed=0)
    values = []
    for layer in reference.layers:
        X = np.asarray(reference.layer(layer)[rows.reference], dtype=float)[null.rows]
        Y = np.asarray(candidate.layer(layer)[rows.candidate], dtype=float)[null.rows]
        values.append(null_scores(X, Y, 5, null, exclude=("sample",))["sample"]["jaccard"])

    def p(scores):
        return (1 + (scores[1:] >= scores[0]).sum()) / 20

    inner = np.array(values[1:])
    # Each is another number, so that none can stand for the other.
    assert len({p(values[1]), p(values[2]), p(inner.mean(axis=0)), p(inner.max(axis=0))}) == 4
    for layer, scores in enumerate(values):
        assert table.loc[("jaccard", "sample", 5, layer), "p"] == pytest.approx(p(scores))
    assert table.loc[("jaccard", "sample", 5, -1), "p"] == pytest.approx(p(inner.mean(axis=0)))
    largest = table.loc[("jaccard_max", "sample", 5, -1)]
    assert largest["p"] == pytest.approx(p(inner.max(axis=0)))
    of_layers = [table.loc[("jaccard", "sample", 5, layer), "value"] for layer in (1, 2)]
    assert largest["value"] == pytest.approx(max(of_layers))
    assert "no interval or chance" in largest["note"]


def test_other_neighbourhoods_say_which_has_a_p(two_models):
    table = knn_layers(*two_models, ks=(3, 5), n_permutations=19).table
    other = table[table["k"] == 3]
    assert other["p"].isna().all()
    assert other["note"].str.contains("p: samples are permuted at k = 5 only").all()
    assert table.loc[table["k"] == 5, "p"].notna().all()
    assert table.loc[table["k"] == 5, "note"].str.contains("whole samples permuted").all()


def test_layers_without_permutations_say_so(two_models):
    table = knn_layers(*two_models, ks=(3, 5), n_permutations=0).table
    assert table["p"].isna().all()
    assert table["note"].str.contains("p: no permutations were asked for").all()

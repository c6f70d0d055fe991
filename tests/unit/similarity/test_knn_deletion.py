import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from knn_by_force import forbidden_pairs, score_of, shared_by_force
from scipy.stats import ortho_group

from hrsa.similarity import knn_deletion, knn_layers, knn_overlap
from hrsa.similarity.knn_deletion import deletion_values, overlap_interval
from hrsa.similarity.knn_shared import pair_neighbours
from hrsa.similarity.neighbours import Neighbours, neighbours_by_exclusion
from hrsa.statistics.deletion import deletion_draws
from hrsa.statistics.paired_deletion import paired_deletions, paired_standard_error

SCORES = ("jaccard", "overlap")


def a_pair(seed, n_rows=70, n_samples=14, duplicates=False):
    """Two related models, samples and tokens of their rows; ties where rows are duplicates."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_rows, 6))
    Y = X @ rng.standard_normal((6, 8)) + rng.standard_normal((n_rows, 8))
    if duplicates:
        copied = rng.integers(0, n_rows // 3, n_rows)
        X = X[copied]
        Y = Y[np.where(rng.random(n_rows) < 0.5, copied, np.arange(n_rows))]
    samples = np.concatenate([np.arange(n_samples), rng.integers(0, n_samples, n_rows - n_samples)])
    return X, Y, samples, rng.integers(0, 9, n_rows)


def draws_of(X, Y, ks, n_neighbours, exclude, samples, tokens, deleted):
    a, b = (
        neighbours_by_exclusion(M, n_neighbours, exclude=(exclude,), samples=samples, tokens=tokens)
        for M in (X, Y)
    )
    return deletion_values(pair_neighbours(a[exclude], b[exclude]), ks, samples, deleted)


@pytest.mark.parametrize("duplicates", [False, True])
@pytest.mark.parametrize("exclude", ["self", "sample", "type"])
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10_000))
def test_draws_are_the_neighbours_of_the_rows_that_remain(seed, exclude, duplicates):
    X, Y, samples, tokens = a_pair(seed, duplicates=duplicates)
    deleted = deletion_draws(14, n_draws=5, seed=seed)
    # All that may be neighbours are listed, so that no list runs out.
    allowed = (~forbidden_pairs(70, exclude, samples, tokens)).sum(axis=1)
    found = draws_of(X, Y, (1, 4, 9), allowed.min(), exclude, samples, tokens, deleted)
    for draw, gone in enumerate(deleted):
        left = ~gone[samples]
        forbidden = forbidden_pairs(left.sum(), exclude, samples[left], tokens[left])
        for k, values in found.items():
            assert values.n_tokens[draw] == left.sum()
            if values.n_run_out[draw]:
                continue  # fewer rows allowed than known: see the test of lists that run out
            shared = shared_by_force(X[left], Y[left], k, forbidden)
            for score in SCORES:
                expected = score_of(shared, k, score)
                assert values.scores[score][draw] == pytest.approx(expected, abs=1e-9)
    assert not found[4].n_run_out.any()


def test_a_tie_in_one_list_changes_no_other_row():
    X, Y, samples, tokens = a_pair(0)
    X[3] = X[11]
    deleted = deletion_draws(14)
    found = draws_of(X, Y, (5,), 42, "self", samples, tokens, deleted)[5]
    for draw, gone in enumerate(deleted):
        left = ~gone[samples]
        shared = shared_by_force(X[left], Y[left], 5, forbidden_pairs(left.sum()))
        assert found.scores["overlap"][draw] == pytest.approx(shared.mean() / 5, abs=1e-12)


@pytest.mark.parametrize("duplicates", [False, True])
def test_more_draws_than_a_word_holds_and_small_groups_change_nothing(duplicates, monkeypatch):
    X, Y, samples, tokens = a_pair(1, duplicates=duplicates)
    deleted = deletion_draws(14, n_draws=100)
    whole = draws_of(X, Y, (3, 8), 48, "sample", samples, tokens, deleted)
    monkeypatch.setattr(knn_deletion, "_GROUP_ROWS", (7, 7))
    parts = [
        draws_of(X, Y, (3, 8), 48, "sample", samples, tokens, deleted[chosen])
        for chosen in (slice(0, 30), slice(30, None))
    ]
    for k in (3, 8):
        for score in SCORES:
            joined = np.concatenate([part[k].scores[score] for part in parts])
            assert whole[k].scores[score] == pytest.approx(joined, abs=1e-12)
        assert np.array_equal(
            whole[k].n_run_out, np.concatenate([part[k].n_run_out for part in parts])
        )


def test_tokens_whose_lists_run_out_are_left_out_and_counted():
    X, Y, samples, tokens = a_pair(2)
    k, n_known = 6, 8
    deleted = deletion_draws(14)
    found = draws_of(X, Y, (k,), n_known, "self", samples, tokens, deleted)[k]
    lists = []
    for M in (X, Y):
        unit = M / np.linalg.norm(M, axis=1, keepdims=True)
        cosines = unit @ unit.T
        np.fill_diagonal(cosines, -np.inf)
        lists.append(np.argsort(-cosines, axis=1)[:, :n_known])
    for draw, gone in enumerate(deleted):
        left = ~gone[samples]
        known = np.all([left[rows].sum(axis=1) >= k for rows in lists], axis=0) & left
        shared = shared_by_force(X[left], Y[left], k, forbidden_pairs(left.sum()))
        assert found.n_run_out[draw] == (left & ~known).sum()
        assert found.scores["overlap"][draw] == pytest.approx(shared[known[left]].mean() / k)
    assert found.n_run_out.min() > 0


def test_a_tie_that_the_list_may_not_show_in_full_counts_as_run_out():
    # Row 0 knows two neighbours, and one that ties with the second; another may tie with the third.
    distance = np.array([0.5, 0.7, 0.7 + 8e-7, *[0.3, 0.4] * 4], dtype=np.float32)
    index = np.array([1, 2, 3, 2, 3, 3, 4, 4, 0, 0, 1], dtype=np.int32)
    starts = np.array([0, 3, 5, 7, 9, 11])
    deleted = np.array([[False, True, False, False, False]])
    run_out = []
    for n_allowed in (4, 3):
        lists = Neighbours(starts, index, distance, 2, np.array([n_allowed, 4, 4, 4, 4]), "self")
        pair = pair_neighbours(lists, lists)
        run_out.append(deletion_values(pair, (2,), np.arange(5), deleted)[2].n_run_out[0])
    # Row 4 loses one of its two in any case; row 0 is known only where its list is complete.
    assert run_out == [2, 1]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 8), min_size=1, max_size=20), st.floats(0, 1.9))
def test_tie_bounds_count_what_is_nearer_and_what_ties(steps, start):
    distance = (start + 3e-7 * np.cumsum(steps)).astype(np.float32)[:, None]
    down, up = knn_deletion._tie_bounds(distance)
    exact = distance[:, 0].astype(float)
    for place, d in enumerate(exact):
        assert down[place, 0] == (d - exact > 1e-6).sum()
        assert up[place, 0] == (exact - d <= 1e-6).sum()


def test_the_interval_is_that_of_pairs_of_deletions():
    X, Y, samples, tokens = a_pair(3, n_rows=200, n_samples=40)
    codes = np.unique(samples, return_index=True)[1].argsort().argsort()[samples]
    found = knn_overlap(X, Y, k=5, samples=samples, n_permutations=0, seed=7)
    deleted = paired_deletions(40, seed=7)
    draws = draws_of(X, Y, (5,), 42, "self", codes, tokens, deleted)[5].scores["jaccard"]
    assert found.draws == pytest.approx(draws, abs=1e-12)
    assert found.se == pytest.approx(paired_standard_error(draws, 40))
    assert found.ci_high - found.value == pytest.approx(1.959964 * found.se)
    assert found.value - found.ci_low == pytest.approx(1.959964 * found.se)
    assert found.interval_method == (
        "deleting 4 of 40 samples at random, 42 draws, less the excess seen in 21 pairs of them"
    )


def test_rows_without_samples_are_deleted_one_by_one():
    X, Y, _, _ = a_pair(3)
    found = knn_overlap(X, Y, k=5, n_permutations=0)
    assert found.interval_method.startswith("deleting 7 of 70 samples at random, 42 draws")


def test_too_few_samples_have_no_interval():
    X, Y, _, _ = a_pair(3)
    found = knn_overlap(X, Y, k=5, samples=np.arange(70) % 4)
    assert (found.se, found.ci_low, found.draws, found.p) == (None, None, None, None)
    assert "no interval: needs 5 samples at least, there are 4" in found.note
    assert "p: needs 5 samples at least, there are 4" in found.note


def test_no_interval_where_too_many_lists_run_out():
    # The neighbours of a token are those of its own sample: without it there are too few.
    X, Y, samples, _ = a_pair(4, n_rows=50, n_samples=5)
    found = knn_overlap(X, Y, k=30, exclude="sample", samples=samples)
    assert found.se is None
    assert "the neighbours known of" in found.note
    assert "fewer than 30: read a smaller k" in found.note


def test_few_lists_that_run_out_are_counted_in_the_note():
    values = knn_deletion.DeletionValues(
        scores={score: np.linspace(0.1, 0.3, 63) for score in SCORES},
        n_run_out=np.arange(63) % 4,
        n_tokens=np.full(63, 400),
    )
    interval, note = overlap_interval(0.2, "overlap", 10, values, paired_deletions(20))
    assert interval.se == pytest.approx(paired_standard_error(values.scores["overlap"], 20))
    assert note == "tokens left out of a draw whose known neighbours ran out: at most 3"


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("exclude", ["self", "sample"])
def test_a_rotation_with_duplicates_has_no_spread(score, exclude):
    X, _, samples, _ = a_pair(5, duplicates=True)
    rotation = ortho_group.rvs(6, random_state=0)
    found = knn_overlap(
        X, X @ rotation, k=6, score=score, exclude=exclude, samples=samples, n_permutations=0
    )
    assert found.draws == pytest.approx(1)
    assert found.ci_low == pytest.approx(1)
    assert found.ci_high == pytest.approx(1)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 1000))
def test_every_row_twice_is_twice_the_neighbourhood(seed):
    X, Y, samples, _ = a_pair(seed)
    twice = np.repeat(np.arange(70), 2)
    options = {"score": "overlap", "exclude": "sample", "n_permutations": 0}
    once = knn_overlap(X, Y, k=4, samples=samples, **options)
    doubled = knn_overlap(X[twice], Y[twice], k=8, samples=samples[twice], **options)
    assert doubled.per_token == pytest.approx(once.per_token[twice], abs=1e-9)
    assert doubled.draws == pytest.approx(once.draws, abs=1e-9)


def test_the_interval_of_a_mean_over_layers_is_of_the_joint_draws(two_models):
    reference, candidate, rows = two_models
    found = knn_layers(reference, candidate, rows, ks=(3, 5))
    deleted = found.arrays["deleted"]
    assert deleted.shape == (63, rows.n_samples)
    table = found.table.set_index(["statistic", "variant", "k", "layer_reference"])
    for score in SCORES:
        draws = found.arrays[f"{score}_draws"]
        assert draws.shape == (2, 2, 3, 63)
        for place, layer in enumerate(reference.layers):
            se = table.loc[(score, "sample", 5, layer), "se"]
            assert se == pytest.approx(paired_standard_error(draws[1, 1, place], rows.n_samples))
        row = table.loc[(score, "sample", 5, -1)]
        joint = paired_standard_error(draws[1, 1, 1:].mean(axis=0), rows.n_samples)
        assert row["se"] == pytest.approx(joint)
        assert row["ci_low"] == pytest.approx(row["value"] - 1.959964 * joint)
        direct = knn_overlap(
            reference.layer(1)[rows.reference],
            candidate.layer(1)[rows.candidate],
            k=5,
            score=score,
            exclude="sample",
            samples=rows.samples,
        )
        assert draws[1, 1, 1] == pytest.approx(direct.draws, abs=1e-12)

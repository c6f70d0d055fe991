"""Refits of the rotation: without deleted samples, and with the candidate's samples permuted."""

import numpy as np
import pytest
from scipy.stats import kstest, ortho_group

from hrsa.activations.alignment import paired_rows
from hrsa.errors import UserError
from hrsa.similarity import procrustes, procrustes_layers
from hrsa.similarity.procrustes_null import FEW_REFITS, permuted_fits, refits_allowed
from hrsa.similarity.rotation import closeness, cross_without, fit_rotation, nuclear_norm
from hrsa.similarity.row_entropy import haar_entropy, row_entropies
from hrsa.statistics.blocks import sample_codes
from hrsa.statistics.deletion import deletion_draws
from hrsa.statistics.permutation import equal_rows, sample_permutations

BARE = {"n_permutations": 0, "n_draws": 0}


def related(seed, n=120, p=6, q=6, noise=0.5):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    return X, X @ rng.standard_normal((p, q)) + noise * rng.standard_normal((n, q))


def sharing_samples_alone(rng, sizes, width=4):
    """Two models whose tokens resemble each other inside a sample, and that share nothing else."""
    codes = np.repeat(np.arange(len(sizes)), sizes)
    X, Y = (rng.standard_normal((len(sizes), width))[codes] for _ in range(2))
    noise = rng.standard_normal((2, len(codes), width))
    return X + 0.5 * noise[0], Y + 0.5 * noise[1], codes


def in_sample_cosine(X, Y):
    x, y = X - X.mean(axis=0), Y - Y.mean(axis=0)
    return np.linalg.norm(x.T @ y, "nuc") / np.linalg.norm(x) / np.linalg.norm(y)


# The rotation from a cross-product


@pytest.mark.parametrize(("p", "q"), [(5, 5), (7, 4), (4, 7)])
def test_a_cross_product_alone_gives_the_rotation_and_how_close_it_brings(p, q):
    X, Y = related(1, p=p, q=q)
    x, y = X - X.mean(axis=0), Y - Y.mean(axis=0)
    rotation = fit_rotation(x.T @ y)
    found = closeness(rotation.nuclear_norm, np.sum(x**2), np.sum(y**2))
    whole = procrustes(X, Y, **BARE)
    assert rotation.matrix == pytest.approx(whole.rotation, abs=1e-12)
    assert rotation.rank == min(p, q)
    assert rotation.nuclear_norm == pytest.approx(nuclear_norm(x.T @ y))
    assert (found.cos, found.residual) == pytest.approx((whole.value, whole.residual))
    assert (found.distance, found.euclidean) == pytest.approx((whole.distance, whole.euclidean))


def test_rounding_of_what_was_subtracted_does_not_count_for_the_rank():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((30, 5))
    x[:3] *= 1e6
    x -= x.mean(axis=0)
    rest = cross_without(x.T @ x, x[:27], x[:27], 3)
    assert fit_rotation(rest, magnitude=float(np.linalg.norm(x.T @ x))).rank < 5


def test_rows_that_go_leave_the_cross_product_of_the_rest():
    X, Y = related(2, p=5, q=3)
    x, y = X - X.mean(axis=0), Y - Y.mean(axis=0)
    kept = np.arange(120) % 3 > 0
    expected = (X[kept] - X[kept].mean(axis=0)).T @ (Y[kept] - Y[kept].mean(axis=0))
    found = cross_without(x.T @ y, x[~kept], y[~kept], int(kept.sum()))
    assert found == pytest.approx(expected, abs=1e-9)


# H_inv at this n


def test_each_draw_is_the_h_inv_without_its_samples():
    X, Y = related(3)
    samples = np.arange(120) % 30
    found = procrustes(X, Y, samples=samples, n_permutations=0)
    deleted = deletion_draws(30)
    expected = [procrustes(X[kept], Y[kept], **BARE).h_inv for kept in ~deleted[:, samples]]
    assert found.h_inv_draws == pytest.approx(np.array(expected), abs=1e-9)
    se = np.sqrt(24 / 6 * np.var(expected, ddof=1))
    assert found.h_inv_se == pytest.approx(se)
    assert found.h_inv_ci_high - found.h_inv == pytest.approx(1.959964 * se)
    assert found.h_inv_method == (
        "deleting 6 of 30 samples at random, 40 draws; conservative, at this n"
    )


def test_a_signed_permutation_has_h_inv_1_in_every_draw():
    X, _ = related(0)
    found = procrustes(X, -X[:, [2, 0, 1, 5, 3, 4]], n_permutations=0)
    assert found.h_inv_draws == pytest.approx(np.ones(40))
    assert (found.h_inv_ci_low, found.h_inv_ci_high) == pytest.approx((1, 1))


def test_a_rotation_has_h_inv_near_the_haar_line_and_so_have_permuted_samples():
    width = 48
    X, _ = related(0, n=300, p=width)
    found = procrustes(X, X @ ortho_group.rvs(width, random_state=0), n_permutations=19)
    assert found.h_inv == pytest.approx(haar_entropy(width), abs=0.02)
    assert found.h_inv_permutation_chance == pytest.approx(haar_entropy(width), abs=0.005)
    assert found.h_inv_ci_high < 0.5
    assert found.p == pytest.approx(0.05)


def test_the_rows_of_each_rotation_are_kept():
    X, Y = related(4)
    found = procrustes(X, Y, **BARE)
    assert found.h_inv_rows.mean() == pytest.approx(found.h_inv)
    assert found.h_inv_half_rows.mean() == pytest.approx(found.h_inv_half)
    assert found.h_inv_quarter_rows.mean() == pytest.approx(found.h_inv_quarter)


def test_draws_below_full_rank_leave_no_interval():
    X, Y = related(0, n=10, p=8, q=8)
    found = procrustes(X, Y, n_permutations=0)
    assert found.h_inv is not None
    assert found.h_inv_ci_low is None
    assert np.isnan(found.h_inv_draws).all()
    assert "no interval: 40 of 40 draws leave S below full rank" in found.note


def test_too_few_samples_leave_no_interval():
    X, Y = related(0)
    found = procrustes(X, Y, samples=np.arange(120) % 4)
    assert found.h_inv_se is None
    assert "too few samples" in found.note
    assert found.p is None
    assert "p: needs 5 samples at least, there are 4" in found.note


def test_where_h_inv_is_undefined_nothing_is_refitted_for_it():
    X, _ = related(0, n=30, p=6)
    found = procrustes(X, np.column_stack([X[:, :5], X[:, 0]]))
    assert found.h_inv_draws is None
    assert found.h_inv_ci_low is None
    assert found.h_inv_permutation_chance is None
    assert "h_inv_permutation_chance undefined: the rank of S is 5, below width 6" in found.note


@pytest.mark.slow
def test_the_interval_of_h_inv_covers_and_is_at_most_twice_too_wide():
    values, errors, rng = [], [], np.random.default_rng(0)
    mixing = np.linalg.qr(np.eye(12) + 0.15 * rng.standard_normal((12, 12)))[0]
    for _ in range(200):
        codes = np.repeat(np.arange(80), 5)
        signal = rng.standard_normal((80, 12))[codes] + rng.standard_normal((400, 12))
        X, Y = signal + 0.5 * rng.standard_normal((2, 400, 12))
        found = procrustes(X, Y @ mixing, samples=codes, n_permutations=0)
        values.append(found.h_inv)
        errors.append(found.h_inv_se)
    covered = np.abs(np.array(values) - np.mean(values)) <= 1.96 * np.array(errors)
    assert 0.88 <= covered.mean() <= 1
    assert 0.9 < np.mean(errors) / np.std(values, ddof=1) <= 2


# Whole samples of the candidate permuted


@pytest.mark.parametrize(("p", "q"), [(5, 5), (5, 3)])
def test_the_null_refits_whole_samples_of_equally_many_rows(p, q):
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(20), rng.integers(3, 9, 20)))
    codes = sample_codes(labels, len(labels))
    X, Y = related(1, n=len(codes), p=p, q=q)
    found = permuted_fits(X, Y, codes, n_permutations=30)
    rows = equal_rows(codes).rows
    null, entropies = [], []
    for order in sample_permutations(len(rows), 30):
        x, y = X[rows.ravel()], Y[rows[order].ravel()]
        null.append(in_sample_cosine(x, y))
        u, _, vt = np.linalg.svd((x - x.mean(axis=0)).T @ (y - y.mean(axis=0)))
        if p == q:
            entropies.append(row_entropies(u @ vt).mean())
    assert found.null == pytest.approx(np.array(null))
    assert found.cos == pytest.approx(in_sample_cosine(X[rows.ravel()], Y[rows.ravel()]))
    assert found.p == (1 + np.sum(np.array(null) >= found.cos)) / 31
    assert found.chance == pytest.approx(np.mean(null))
    assert (found.n_tokens, found.n_samples) == (rows.size, len(rows))
    if p == q:
        assert found.h_inv == pytest.approx(np.mean(entropies))
    else:
        assert found.h_inv is None
        assert "widths 5 and 3 differ" in found.h_inv_note


def test_related_models_beat_every_permutation():
    X, Y = related(0)
    samples = np.arange(120) // 4
    found = procrustes(X, Y, samples=samples)
    assert found.p == 1 / 200
    assert "p: whole samples permuted, 30 samples of 4 rows" in found.note
    assert found.chance == found.cos_permutation_chance < found.value


def test_p_is_uniform_for_models_that_share_only_sample_membership():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(150):
        X, Y, codes = sharing_samples_alone(rng, rng.integers(2, 6, 25))
        found.append(permuted_fits(X, Y, codes, n_permutations=99).p)
    assert kstest(found, "uniform").pvalue > 0.05


def test_chance_of_the_cosine_is_given_only_at_its_own_n():
    X, Y, codes = sharing_samples_alone(np.random.default_rng(1), np.arange(2, 22))
    found = procrustes(X, Y, samples=codes, n_permutations=19)
    assert found.chance is None
    assert 0 < found.cos_permutation_chance < 1
    assert "chance depends on n: cos_permutation_chance is at n = " in found.note


def test_wide_representations_are_refitted_few_times_and_get_no_p():
    assert refits_allowed(256) == 199
    assert refits_allowed(257) == FEW_REFITS
    assert refits_allowed(896, 50) == 50
    X, Y = related(0)
    found = procrustes(X, Y, most_refits=7)
    assert found.p is None
    assert "p: 7 of 199 refits were made for their cost" in found.note
    assert found.cos_permutation_chance is not None
    assert procrustes(X, Y, most_refits=7, n_permutations=7).p == 1 / 8


def test_a_model_that_is_constant_on_the_rows_that_would_be_permuted_has_no_p():
    codes = np.repeat(np.arange(6), [2, 2, 2, 2, 2, 40])
    X, Y = related(0, n=50)
    Y[equal_rows(codes).rows.ravel()] = 0.1
    found = procrustes(X, Y, samples=codes)
    assert found.p is None
    assert found.cos_permutation_chance is None
    assert "p: undefined, a model is constant on the rows that would be permuted" in found.note


def test_without_permutations_there_is_no_p():
    X, Y = related(0)
    found = procrustes(X, Y, n_permutations=0)
    assert found.p is None
    assert found.cos_permutation_chance is None
    assert "p: no permutations were asked for" in found.note


def test_padding_the_narrower_one_changes_nothing():
    X, Y = related(0, p=6, q=4)
    found, padded = procrustes(X, Y), procrustes(X, np.pad(Y, ((0, 0), (0, 2))))
    assert (found.p, found.chance) == pytest.approx((padded.p, padded.chance))
    assert found.cos_heldout == pytest.approx(padded.cos_heldout)
    assert found.h_inv_draws is None


def test_it_is_the_same_every_time():
    X, Y = related(0)
    first, second = (procrustes(X, Y, samples=np.arange(120) // 3, seed=5) for _ in range(2))
    assert (first.p, first.chance, first.h_inv_se) == (second.p, second.chance, second.h_inv_se)
    assert np.array_equal(first.h_inv_draws, second.h_inv_draws)


# Layers


def statistics_at(found, layer):
    return found.table[found.table["layer_reference"] == layer].set_index("statistic")


def test_the_final_layer_alone_is_refitted(two_models):
    found = procrustes_layers(*two_models)
    reference, candidate, rows = two_models
    direct = procrustes(
        reference.layer(2)[rows.reference],
        candidate.layer(2)[rows.candidate],
        samples=rows.samples,
    )
    final, earlier = statistics_at(found, 2), statistics_at(found, 1)
    assert final.loc["h_inv", "ci_low"] == pytest.approx(direct.h_inv_ci_low)
    assert final.loc["h_inv", "interval_method"] == direct.h_inv_method
    assert final.loc["cos", "p"] == final.loc["cos_heldout", "p"] == direct.p == 1 / 200
    assert "p: whole samples permuted" in final.loc["cos", "note"]
    chance = final.loc["h_inv_permutation_chance"]
    assert chance["value"] == pytest.approx(direct.h_inv_permutation_chance)
    assert chance["chance"] == pytest.approx(haar_entropy(12))
    assert chance["n_tokens"] < final.loc["h_inv", "n_tokens"]
    assert np.isnan(earlier.loc["h_inv", "ci_low"])
    assert "no interval: not refitted at this layer" in earlier.loc["h_inv", "note"]
    assert "p: not refitted at this layer" in earlier.loc["cos", "note"]
    assert "h_inv_permutation_chance" not in earlier.index


def test_layers_to_refit_can_be_chosen(two_models):
    found = procrustes_layers(*two_models, refit_layers=[1], n_permutations=19)
    assert statistics_at(found, 1).loc["h_inv", "se"] > 0
    assert statistics_at(found, 1).loc["cos", "p"] == 0.05
    assert np.isnan(statistics_at(found, 2).loc["cos", "p"])
    with pytest.raises(UserError, match="layer 9 is not in the file"):
        procrustes_layers(*two_models, refit_layers=[9])


def test_draws_and_rows_are_kept_for_the_layers_that_have_them(two_models):
    arrays = procrustes_layers(*two_models, n_permutations=0).arrays
    assert arrays["h_inv_draws"].shape == (3, 40)
    assert np.isfinite(arrays["h_inv_draws"]).all(axis=1).tolist() == [False, False, True]
    for name in ("h_inv_rows", "h_inv_half_rows", "h_inv_quarter_rows"):
        assert np.isfinite(arrays[name]).all()
        assert arrays[name].shape == (3, 12)
    assert "rotations" not in arrays


def test_rotations_of_all_layers_are_kept_when_asked_for(two_models):
    reference, candidate, rows = two_models
    found = procrustes_layers(*two_models, n_permutations=0, keep_rotations=True).arrays
    assert found["rotations"].shape == (3, 12, 12)
    assert np.array_equal(found["rotations"][2], found["rotation"])
    first = procrustes(
        reference.layer(1)[rows.reference], candidate.layer(1)[rows.candidate], **BARE
    )
    assert found["rotations"][1] == pytest.approx(first.rotation)


def test_a_constant_final_layer_has_no_rotation(store_model, two_models):
    reference, _, _ = two_models
    sizes = np.diff(reference.samples.offsets)
    varied = np.random.default_rng(0).standard_normal((sizes.sum(), 12))
    flat = store_model("flat", {0: varied, 1: varied, 2: np.ones_like(varied)}, sizes)
    found = procrustes_layers(reference, flat, paired_rows(reference, flat))
    assert "rotation" not in found.arrays
    assert found.table["p"].isna().all()


def test_models_of_unequal_width_keep_no_row_entropies(store_model, two_models):
    reference, _, _ = two_models
    sizes = np.diff(reference.samples.offsets)
    narrow = np.random.default_rng(0).standard_normal((sizes.sum(), 5))
    other = store_model("narrow", {layer: narrow for layer in range(3)}, sizes)
    found = procrustes_layers(reference, other, paired_rows(reference, other), n_permutations=19)
    assert found.arrays["rotation"].shape == (12, 5)
    assert "h_inv_draws" not in found.arrays
    assert statistics_at(found, 2).loc["cos", "p"] > 0.04
    assert statistics_at(found, 2).loc[["h_inv", "h_inv_permutation_chance"], "value"].isna().all()


def test_every_row_without_an_interval_a_chance_or_a_p_says_so(two_models):
    table = procrustes_layers(*two_models).table
    for column, word in (("ci_low", "interval"), ("chance", "chance"), ("p", "p:")):
        missing = table[table[column].isna() & (table["layer_reference"] >= 0)]
        assert missing["note"].str.contains(word).all(), (column, missing["note"].tolist())

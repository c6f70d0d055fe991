import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ortho_group

from hrsa.similarity import procrustes, procrustes_layers
from hrsa.similarity.row_entropy import haar_entropy, row_entropies

BARE = {"n_permutations": 0, "n_draws": 0}


def related(seed, n=120, p=6, q=6, noise=0.5):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    return X, X @ rng.standard_normal((p, q)) + noise * rng.standard_normal((n, q))


def test_a_rotation_is_found_and_leaves_nothing_over():
    X, _ = related(0)
    rotation = ortho_group.rvs(6, random_state=1)
    found = procrustes(X, X @ rotation + 3)
    assert found.rotation == pytest.approx(rotation, abs=1e-10)
    assert found.value == pytest.approx(1)
    assert found.residual == pytest.approx(0, abs=1e-12)
    assert found.cos_heldout == pytest.approx(1)


@given(st.integers(0, 1000), st.floats(0.01, 100), st.floats(-100, 100))
def test_rotation_scale_and_shift_do_not_change_the_cosines(seed, scale, shift):
    X, Y = related(seed)
    rotation = ortho_group.rvs(6, random_state=seed)
    plain, moved = (
        procrustes(*pair, **BARE) for pair in ((X, Y), (X @ rotation, scale * Y + shift))
    )
    assert moved.value == pytest.approx(plain.value, abs=1e-9)
    assert moved.cos_heldout == pytest.approx(plain.cos_heldout, abs=1e-9)


def test_no_rotation_does_better_than_the_one_found():
    X, Y = related(2)
    found = procrustes(X, Y)
    x, y = X - X.mean(axis=0), Y - Y.mean(axis=0)
    assert found.euclidean == pytest.approx(np.linalg.norm(x @ found.rotation - y))
    for seed in range(20):
        other = ortho_group.rvs(6, random_state=seed)
        assert np.linalg.norm(x @ other - y) >= found.euclidean


@pytest.mark.parametrize(("p", "q"), [(7, 4), (4, 7)])
def test_unequal_widths_are_padded_and_leave_h_inv_undefined(p, q):
    X, Y = related(0, p=p, q=q)
    found = procrustes(X, Y)
    width = max(p, q)
    padded = [np.pad(M, ((0, 0), (0, width - M.shape[1]))) for M in (X, Y)]
    assert found.euclidean == pytest.approx(procrustes(*padded).euclidean)
    assert found.value == pytest.approx(procrustes(*padded).value)
    assert found.rotation.shape == (p, q)
    assert found.h_inv is None
    assert found.h_inv_rows is None
    assert f"h_inv undefined: widths {p} and {q} differ" in found.note


def test_a_signed_permutation_has_h_inv_1():
    X, _ = related(0)
    found = procrustes(X, -X[:, [2, 0, 1, 5, 3, 4]])
    assert found.h_inv == pytest.approx(1)
    assert found.h_inv_rows == pytest.approx(np.ones(6))


def test_a_flat_rotation_has_h_inv_0():
    hadamard = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2
    assert row_entropies(hadamard) == pytest.approx(np.zeros(4), abs=1e-12)


@pytest.mark.parametrize(("width", "expected"), [(128, 0.149), (896, 0.107), (1536, 0.099)])
def test_the_haar_line_is_the_known_one(width, expected):
    assert haar_entropy(width) == pytest.approx(expected, abs=5e-4)


def test_the_haar_line_is_the_mean_over_random_rotations():
    drawn = [row_entropies(ortho_group.rvs(12, random_state=seed)).mean() for seed in range(300)]
    assert np.mean(drawn) == pytest.approx(haar_entropy(12), abs=0.004)


def test_h_inv_is_undefined_below_full_rank_and_says_the_rank():
    X, _ = related(0, n=30, p=6)
    deficient = np.column_stack([X[:, :5], X[:, 0]])
    found = procrustes(X, deficient)
    assert found.h_inv is None
    assert found.h_inv_chance is None
    assert "the rank of S is 5, below width 6" in found.note


def test_h_inv_of_a_quarter_is_undefined_when_the_quarter_is_too_small():
    X, Y = related(0, n=20, p=8, q=8)
    found = procrustes(X, Y)
    assert found.h_inv is not None
    assert found.h_inv_quarter is None
    assert "h_inv_quarter undefined: the rank of S is 4, below width 8" in found.note


def test_h_inv_of_identity_plus_noise_grows_with_n():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((512, 32))
    found = procrustes(X, X + 0.3 * rng.standard_normal(X.shape))
    assert found.h_inv_quarter < found.h_inv_half < found.h_inv
    assert found.h_inv == pytest.approx(0.99, abs=0.01)


def test_in_sample_cosine_is_inflated_and_the_heldout_one_is_not():
    rng = np.random.default_rng(0)
    with pytest.warns(UserWarning, match="fewer rows than columns"):
        found = procrustes(*rng.standard_normal((2, 64, 256)), **BARE)
    assert found.value == pytest.approx(0.94, abs=0.02)
    assert abs(found.cos_heldout) < 0.05
    assert found.cos_heldout_chance == 0


def test_heldout_cosine_is_the_cross_fit_over_folds_of_blocks():
    X, Y = related(4, n=60)
    blocks = np.arange(60) // 6
    products, squares_x, squares_y = np.zeros((3, 10))
    for fold in range(5):
        fit, held = blocks % 5 != fold, blocks % 5 == fold
        u, _, vt = np.linalg.svd((X[fit] - X[fit].mean(axis=0)).T @ (Y[fit] - Y[fit].mean(axis=0)))
        x = (X[held] - X[fit].mean(axis=0)) @ u @ vt
        y = Y[held] - Y[fit].mean(axis=0)
        for sums, rows in ((products, x * y), (squares_x, x * x), (squares_y, y * y)):
            np.add.at(sums, blocks[held], rows.sum(axis=1))
    found = procrustes(X, Y, blocks=blocks)
    expected = products.sum() / np.sqrt(squares_x.sum() * squares_y.sum())
    assert found.cos_heldout == pytest.approx(expected)
    without = [
        (products.sum() - products[b])
        / np.sqrt((squares_x.sum() - squares_x[b]) * (squares_y.sum() - squares_y[b]))
        for b in range(10)
    ]
    assert found.cos_heldout_replicates == pytest.approx(np.array(without))
    assert found.cos_heldout_ci_low < found.cos_heldout < found.cos_heldout_ci_high


def test_one_sample_has_no_heldout_cosine():
    X, Y = related(0)
    found = procrustes(X, Y, samples=np.zeros(120))
    assert found.cos_heldout is None
    assert "cos_heldout needs two samples" in found.note


def test_sample_names_do_not_matter():
    X, Y = related(0)
    samples = np.repeat(np.arange(30), 4)
    named = np.array([f"text {97 * s % 31}" for s in samples])
    assert (
        procrustes(X, Y, samples=samples).cos_heldout == procrustes(X, Y, samples=named).cos_heldout
    )


def test_layers_agree_with_the_array_function_and_keep_the_final_rotation(two_models):
    reference, candidate, rows = two_models
    found = procrustes_layers(reference, candidate, rows)
    direct = procrustes(
        reference.layer(2)[rows.reference],
        candidate.layer(2)[rows.candidate],
        samples=rows.samples,
    )
    assert found.arrays["rotation"] == pytest.approx(direct.rotation)
    assert found.arrays["h_inv_rows"][2] == pytest.approx(direct.h_inv_rows)
    final = found.table[found.table["layer_reference"] == 2].set_index("statistic")
    assert final.loc["cos", "value"] == pytest.approx(direct.value)
    assert final.loc["cos_heldout", "value"] == pytest.approx(direct.cos_heldout)
    assert final.loc["cos_heldout", "se"] == pytest.approx(direct.cos_heldout_se)
    assert final.loc["h_inv_half", "value"] == pytest.approx(direct.h_inv_half)
    assert final.loc["h_inv_half", "n_tokens"] < final.loc["h_inv", "n_tokens"]
    assert final.loc["h_inv", "chance"] == pytest.approx(haar_entropy(12))
    assert set(found.table["layer_reference"]) == {-1, 0, 1, 2}


def test_a_constant_layer_is_undefined_in_the_table_and_stops_nothing(store_model, two_models):
    from hrsa.activations.alignment import paired_rows

    reference, _, _ = two_models
    sizes = np.diff(reference.samples.offsets)
    varied = np.random.default_rng(0).standard_normal((sizes.sum(), 12))
    flat = store_model("flat", {0: varied, 1: np.full_like(varied, 0.1), 2: varied}, sizes)
    table = procrustes_layers(reference, flat, paired_rows(reference, flat)).table
    assert table.loc[table["layer_candidate"] == 1, "value"].isna().all()
    assert table.loc[table["layer_candidate"] == 2, "value"].notna().all()
    assert table.loc[table["value"].isna(), "note"].str.contains("undefined").all()


def test_where_the_fast_algorithm_gives_up_the_slow_one_takes_over(monkeypatch):
    X, Y = related(0)
    expected = procrustes(X, Y, n_permutations=5, n_draws=5)

    def give_up(*_, **__):
        raise np.linalg.LinAlgError("SVD did not converge")

    monkeypatch.setattr(np.linalg, "svd", give_up)
    found = procrustes(X, Y, n_permutations=5, n_draws=5)
    np.testing.assert_allclose(found.rotation, expected.rotation, atol=1e-10)
    assert found.value == pytest.approx(expected.value)
    assert found.h_inv_draws == pytest.approx(expected.h_inv_draws)

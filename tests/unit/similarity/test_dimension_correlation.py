import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrsa.errors import UserError
from hrsa.similarity import correlation_layers, dimension_correlation


def related(seed, n=80, width=6):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, width))
    return X, X + rng.standard_normal((n, width))


def test_it_is_pearsons_correlation_of_each_column():
    X, Y = related(0)
    found = dimension_correlation(X, Y)
    expected = [np.corrcoef(X[:, j], Y[:, j])[0, 1] for j in range(6)]
    assert found.per_dimension == pytest.approx(expected, abs=1e-12)
    assert found.value == pytest.approx(np.mean(expected))
    assert found.mean_abs == pytest.approx(np.mean(np.abs(expected)))
    assert found.chance == 0


@given(st.integers(0, 1000), st.floats(0.01, 100), st.floats(-1000, 1000))
def test_scale_and_shift_do_not_matter(seed, scale, shift):
    X, Y = related(seed)
    assert dimension_correlation(X, scale * Y + shift).value == pytest.approx(
        dimension_correlation(X, Y).value, abs=1e-9
    )


def test_a_flipped_sign_is_seen():
    X, _ = related(0)
    found = dimension_correlation(X, -X)
    assert found.value == pytest.approx(-1)
    assert found.mean_abs == pytest.approx(1)
    assert found.share_positive == 0


def test_constant_dimensions_are_left_out_and_counted():
    X, Y = related(0)
    X[:, 2] = 0.1
    found = dimension_correlation(X, Y)
    assert found.n_constant == 1
    assert np.isnan(found.per_dimension[2])
    assert found.value == pytest.approx(np.nanmean(found.per_dimension))


def test_no_varying_dimension_is_an_error():
    X, Y = related(0)
    with pytest.raises(ValueError, match="none of the 6 dimensions varies"):
        dimension_correlation(np.ones_like(X), Y)


def test_unequal_widths_are_an_error_that_names_other_metrics():
    X, Y = related(0)
    with pytest.raises(ValueError, match=r"equal width, got 6 and 5.*linear CKA"):
        dimension_correlation(X, Y[:, :5])


def test_replicates_are_the_values_without_each_block():
    X, Y = related(1)
    samples = np.repeat(np.arange(20), 4)
    blocks = samples // 4
    found = dimension_correlation(X, Y, samples=samples, blocks=blocks)
    expected = [dimension_correlation(X[blocks != b], Y[blocks != b]).value for b in range(5)]
    assert found.replicates == pytest.approx(expected, abs=1e-12)
    assert found.ci_low < found.value < found.ci_high


def test_a_dimension_that_varies_in_one_block_only_leaves_the_others():
    X, Y = related(2)
    X[:, 0] = 0
    X[0, 0] = 1
    found = dimension_correlation(X, Y)
    assert np.isfinite(found.replicates).all()


def test_layers_agree_with_the_array_function(two_models):
    reference, candidate, rows = two_models
    found = correlation_layers(reference, candidate, rows)
    for i in (0, 2):
        for j in (1, 2):
            direct = dimension_correlation(
                reference.layer(i)[rows.reference],
                candidate.layer(j)[rows.candidate],
                samples=rows.samples,
            )
            assert found.arrays["mean"][i, j] == pytest.approx(direct.value)
            assert found.arrays["replicates"][i, j] == pytest.approx(direct.replicates)


def test_every_pair_of_layers_has_a_row_and_the_mean_leaves_layer_0_out(two_models):
    table = correlation_layers(*two_models).table
    means = table[table["statistic"] == "mean"]
    assert len(means) == 9 + 1
    headline = means[means["layer_reference"] == -1].iloc[0]
    diagonal = means[means["layer_reference"] == means["layer_candidate"]].set_index(
        "layer_reference"
    )
    assert headline["value"] == pytest.approx(diagonal.loc[[1, 2], "value"].mean())
    assert headline["ci_low"] < headline["value"] < headline["ci_high"]


def test_models_of_unequal_width_are_the_users_mistake(store_model, two_models):
    reference, _, rows = two_models
    sizes = np.diff(reference.samples.offsets)
    other = store_model("narrow", {0: np.ones((sizes.sum(), 5))}, sizes)
    with pytest.raises(UserError, match="got 12 and 5"):
        correlation_layers(reference, other, rows)


def test_a_constant_layer_is_undefined_in_the_table_and_stops_nothing(store_model, two_models):
    from hrsa.activations.alignment import paired_rows

    reference, _, _ = two_models
    sizes = np.diff(reference.samples.offsets)
    varied = np.random.default_rng(0).standard_normal((sizes.sum(), 12))
    flat = store_model("flat", {0: varied, 1: np.ones_like(varied), 2: varied}, sizes)
    table = correlation_layers(reference, flat, paired_rows(reference, flat)).table
    flat_rows = table[(table["layer_candidate"] == 1) & (table["statistic"] == "mean")]
    assert flat_rows["value"].isna().all()
    assert flat_rows["note"].str.contains("undefined").all()

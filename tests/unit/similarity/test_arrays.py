"""What the metrics accept as a matrix, and what they say of one that they do not."""

import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest

from hrsa.errors import UserError
from hrsa.similarity import dimension_correlation, knn_overlap, linear_cka, procrustes
from hrsa.similarity.arrays import check_layer, check_matrix, check_pair, non_finite

PAIRED = [dimension_correlation, procrustes, linear_cka, knn_overlap]


def states(n=40, width=6, seed=0):
    return np.random.default_rng(seed).standard_normal((n, width))


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "longdouble", "int8", "uint16", "int64", "bool"]
)
def test_real_numbers_of_any_type_become_float64(dtype):
    given = (states() * 3).astype(dtype)
    found = check_matrix(given, "X")
    assert found.dtype == np.float64
    assert np.array_equal(found, given.astype(np.float64))


@pytest.mark.parametrize("metric", PAIRED)
@pytest.mark.parametrize("dtype", ["float16", "int32"])
def test_metrics_take_integers_and_float16(metric, dtype):
    X, Y = (10 * states(seed=0)).astype(dtype), (10 * states(seed=1)).astype(dtype)
    assert metric(X, Y).value == metric(X.astype(float), Y.astype(float)).value


def test_a_list_of_lists_is_a_matrix():
    assert np.array_equal(check_matrix([[1, 2], [3, 4]], "X"), [[1.0, 2.0], [3.0, 4.0]])


def test_ragged_lists_are_refused_by_name():
    with pytest.raises(ValueError, match="X is no matrix"):
        check_matrix([[1.0, 2.0], [3.0]], "X")


def test_the_array_that_comes_back_is_never_the_one_given():
    X = states()
    check_matrix(X, "X")[:] = 0
    assert np.array_equal(X, states())


@pytest.mark.parametrize("metric", PAIRED)
def test_tensors_are_taken(metric):
    torch = pytest.importorskip("torch")
    X, Y = states(seed=0), states(seed=1)
    wanted = metric(X, Y).value
    assert metric(torch.tensor(X), torch.tensor(Y, requires_grad=True)).value == wanted


def test_a_bfloat16_tensor_keeps_its_values():
    torch = pytest.importorskip("torch")
    tensor = torch.tensor(states(), dtype=torch.bfloat16, requires_grad=True)
    found = check_matrix(tensor, "X")
    assert np.array_equal(found, tensor.detach().float().numpy())
    assert tensor.requires_grad


@pytest.mark.parametrize("metric", PAIRED)
def test_data_frames_are_taken(metric):
    X, Y = states(seed=0), states(seed=1)
    names = [f"unit {number}" for number in range(6)]
    frames = (pd.DataFrame(values, columns=names) for values in (X, Y))
    assert metric(*frames).value == metric(X, Y).value


def test_a_frame_of_mixed_columns_becomes_numbers():
    frame = pd.DataFrame({"a": [1, 2, 3], "b": [0.5, 1.5, 2.5], "c": [True, False, True]})
    frame["d"] = pd.array([4, 5, 6], dtype="Int64")
    wanted = [[1, 0.5, 1, 4], [2, 1.5, 0, 5], [3, 2.5, 1, 6]]
    assert np.array_equal(check_matrix(frame, "X"), wanted)


def test_a_missing_entry_of_a_frame_is_named():
    frame = pd.DataFrame({"a": pd.array([1, None, 3], dtype="Int64"), "b": [0.5, 1.5, 2.5]})
    with pytest.raises(ValueError, match="X holds nan at row 1, column 0"):
        check_matrix(frame, "X")


def test_text_in_a_frame_is_refused_by_its_column():
    frame = pd.DataFrame({"width": [1.0, 2.0], "name": ["3", "4"]})
    with pytest.raises(ValueError, match="X must hold real numbers, got column 'name' of dtype"):
        check_matrix(frame, "X")


def test_masked_entries_count_as_missing():
    masked = np.ma.masked_array(states(), mask=False)
    masked[2, 3] = np.ma.masked
    with pytest.raises(ValueError, match="Y holds nan at row 2, column 3"):
        check_matrix(masked, "Y")


def test_neither_torch_nor_pandas_is_imported_to_know_them():
    code = "import sys, hrsa.similarity.arrays; print({'torch', 'pandas'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "set()"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_first_row_that_is_not_finite_is_named(value):
    X = states()
    X[7, 4] = X[7, 5] = X[30, 0] = value
    with pytest.raises(ValueError, match=f"X holds {value} at row 7, column 4"):
        check_matrix(X, "X")


def test_rows_of_a_part_are_named_by_their_number_in_the_whole():
    part = np.zeros((3, 2))
    assert non_finite(part) == ""
    part[1, 1] = np.inf
    assert non_finite(part, rows=np.array([20, 25, 40])) == "inf at row 25, column 1"


def test_a_layer_that_is_not_finite_is_named_with_model_file_and_row(store_model):
    stored = store_model("base", {0: states(), 3: states()}, [4] * 10)
    rows = np.array([2, 9, 30])
    values = stored.layer(3)[rows]
    assert check_layer(values, stored, 3, rows) is values
    values[1, 5] = np.nan
    message = "base.h5: layer 3 of model base holds nan at row 9, column 5"
    with pytest.raises(UserError, match=message):
        check_layer(values, stored, 3, rows)


@pytest.mark.parametrize(("shapes", "warned"), [
    (((5, 5), (5, 5)), False),
    (((8, 5), (8, 8)), False),
    (((5, 6), (5, 3)), True),
    (((5, 3), (5, 6)), True),
])  # fmt: skip
def test_fewer_rows_than_columns_warn_with_both_shapes(shapes, warned):
    X, Y = (np.random.default_rng(0).standard_normal(shape) for shape in shapes)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        check_pair(X, Y)
    assert len(found) == warned
    if warned:
        assert found[0].category is UserWarning
        assert f"X has shape {shapes[0]} and Y {shapes[1]}" in str(found[0].message)


@pytest.mark.parametrize("metric", PAIRED)
def test_a_metric_warns_once_and_points_at_its_caller(metric):
    X, Y = states(20, 30, seed=0), states(20, 30, seed=1)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", UserWarning)
        metric(X, Y)
    assert len([one for one in found if "fewer rows than columns" in str(one.message)]) == 1
    assert found[0].filename == __file__


def test_rows_that_differ_suggest_a_transposition_when_the_columns_match():
    with pytest.raises(ValueError, match=r"X has 6 rows and Y has 8: .*40 columns.*transpose both"):
        check_pair(states(40, 6).T, states(40, 8).T)
    with pytest.raises(ValueError, match=r"X has 6 rows and Y has 8: [^;]*$"):
        check_pair(states(6, 3), states(8, 4))


@pytest.mark.parametrize("n_rows", [2, 3])
def test_debiased_cka_needs_four_rows(n_rows):
    with pytest.raises(ValueError, match=f"at least 4 samples, got {n_rows}"):
        linear_cka(states(n_rows, 2), states(n_rows, 2, seed=1), debiased=True)


def test_debiased_cka_needs_four_samples_however_many_rows():
    samples = np.arange(40) % 3
    with pytest.raises(ValueError, match="at least 4 samples, got 3"):
        linear_cka(states(), states(seed=1), debiased=True, samples=samples)


@pytest.mark.parametrize("metric", [dimension_correlation, procrustes])
def test_two_rows_are_too_few_for_a_correlation_or_a_rotation(metric):
    with pytest.raises(ValueError, match="X has 2 rows, this metric needs at least 3"):
        metric(states(2, 2), states(2, 2, seed=1))


@pytest.mark.parametrize("side", [0, 1])
def test_a_row_without_direction_is_named(side):
    pair = [states(), states(seed=1)]
    pair[side][11] = 0
    with pytest.raises(ValueError, match="row 11 is all zeros"):
        knn_overlap(*pair)


SCATTERED = {
    "correlation": lambda X, Y, s: dimension_correlation(X, Y, samples=s),
    "procrustes": lambda X, Y, s: procrustes(X, Y, samples=s),
    "cka": lambda X, Y, s: linear_cka(X, Y, debiased=True, samples=s),
    "knn": lambda X, Y, s: knn_overlap(X, Y, k=3, exclude="sample", samples=s),
}


@pytest.mark.parametrize("name", SCATTERED)
def test_rows_of_a_sample_may_lie_apart(name):
    X, Y = states(seed=0), states(seed=0) + states(seed=1)
    samples = np.repeat(np.arange(10), 4)
    apart = np.random.default_rng(3).permutation(40)
    together = SCATTERED[name](X, Y, samples)
    scattered = SCATTERED[name](X[apart], Y[apart], samples[apart])
    assert scattered.value == pytest.approx(together.value, abs=1e-12)


@pytest.mark.parametrize("name", ["correlation", "cka"])
def test_fewer_samples_than_blocks_make_fewer_blocks_and_say_so(name):
    found = SCATTERED[name](states(), states() + states(seed=1), np.repeat(np.arange(10), 4))
    assert len(found.replicates) == 10
    assert "10 blocks of samples, t(9)" in found.interval_method

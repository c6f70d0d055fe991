import subprocess
import sys

import numpy as np
import pytest

import hrsa.similarity
from hrsa.similarity import dimension_correlation, knn_overlap, linear_cka, procrustes

PAIRED = [dimension_correlation, procrustes, linear_cka, knn_overlap]


def loaded_after(statement: str) -> list[str]:
    code = f"import sys\n{statement}\nprint(*sys.modules, sep='\\n')"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return run.stdout.split()


def test_a_metric_is_imported_alone():
    loaded = loaded_after("from hrsa.similarity import linear_cka")
    assert "hrsa.similarity.cka" in loaded
    for other in ("sklearn", "torch", "scipy.stats", "hrsa.models", "hrsa.similarity.probe"):
        assert other not in loaded


def test_every_public_name_is_there():
    for name in hrsa.similarity.__all__:
        assert callable(getattr(hrsa.similarity, name))
        assert name in dir(hrsa.similarity)


def test_procrustes_is_the_function_whatever_was_imported_before():
    import hrsa.similarity.orthogonal_procrustes as module

    assert hrsa.similarity.procrustes is module.procrustes


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'no_such_metric'"):
        _ = hrsa.similarity.no_such_metric


@pytest.mark.parametrize("metric", PAIRED)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X: X[:-1], "X has 29 rows and Y has 30"),
        (lambda X: X[:, 0], r"matrix of shape \(n_tokens, width\), got shape \(30,\)"),
        (lambda X: np.where(X[3, 2] == X, np.nan, X), "X holds nan at row 3, column 2"),
        (lambda X: np.where(X[0, 1] == X, -np.inf, X), "X holds -inf at row 0, column 1"),
        (lambda X: X * 1j, "real numbers, got dtype complex128"),
        (lambda X: X.astype(str), "real numbers, got dtype <U"),
    ],
)
def test_malformed_arrays_are_refused_with_the_bad_value(metric, change, message):
    X = np.random.default_rng(0).standard_normal((30, 4))
    with pytest.raises(ValueError, match=message):
        metric(change(X), X)


@pytest.mark.parametrize("metric", PAIRED)
def test_one_row_is_too_few(metric):
    with pytest.raises(ValueError, match="X has 1 rows, this metric needs at least"):
        metric(np.ones((1, 4)), np.ones((1, 4)))


@pytest.mark.parametrize("metric", [procrustes, linear_cka])
def test_a_constant_matrix_is_refused_with_its_row(metric):
    X = np.random.default_rng(0).standard_normal((30, 4))
    with pytest.raises(ValueError, match=r"Y is constant: every row is \(0.1, 0.1, 0.1, …\)"):
        metric(X, np.full((30, 4), 0.1))


@pytest.mark.parametrize("metric", PAIRED)
def test_float32_and_float64_agree(metric):
    rng = np.random.default_rng(1)
    X = rng.standard_normal((60, 5)).astype(np.float32)
    Y = X + rng.standard_normal((60, 5)).astype(np.float32)
    assert metric(X, Y).value == metric(X.astype(float), Y.astype(float)).value


@pytest.mark.parametrize("metric", PAIRED)
def test_inputs_are_not_changed(metric):
    rng = np.random.default_rng(1)
    X, Y = rng.standard_normal((2, 40, 5))
    before = X.copy(), Y.copy()
    metric(X, Y)
    assert np.array_equal(X, before[0])
    assert np.array_equal(Y, before[1])


@pytest.mark.parametrize("metric", PAIRED)
def test_every_field_is_filled_or_explained(metric):
    X, Y = np.random.default_rng(1).standard_normal((2, 40, 5))
    result = metric(X, Y)
    assert result.value is not None
    assert 1 / 200 <= result.p <= 1
    for name in ("chance", "ci_low", "se"):
        if getattr(result, name) is None:
            assert result.note
    if result.ci_low is None:
        assert "no valid interval" in result.note or "no interval" in result.note
    else:
        assert result.ci_low <= result.value <= result.ci_high
        assert result.interval_method

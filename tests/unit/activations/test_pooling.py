"""Pooling of stored rows to one vector per sample."""

import numpy as np
import pytest

from hrsa.activations.pooling import pooled_samples, sample_means
from hrsa.activations.store import open_activations
from hrsa.errors import UserError


def test_each_sample_is_the_mean_of_its_rows_whatever_the_block_size(write_file, monkeypatch):
    path, values = write_file(dtype="float64")
    with open_activations(path) as activations:
        for rows in (1, 3, 100):
            monkeypatch.setattr("hrsa.activations.pooling._BLOCK_ROWS", rows)
            means = sample_means(activations, 1)
            assert means.dtype == np.float64
            assert means.shape == (3, 5)
            assert np.allclose(means[0], values[1][:4].mean(axis=0), atol=1e-14)
            assert np.allclose(means[2], values[1][4:].mean(axis=0), atol=1e-14)


def test_the_maximum_is_that_of_each_dimension_whatever_the_block_size(write_file, monkeypatch):
    path, values = write_file(dtype="float64")
    with open_activations(path) as activations:
        for rows in (1, 3, 100):
            monkeypatch.setattr("hrsa.activations.pooling._BLOCK_ROWS", rows)
            pooled = pooled_samples(activations, 1, "max")
            assert np.array_equal(pooled[0], values[1][:4].max(axis=0))
            assert np.array_equal(pooled[2], values[1][4:].max(axis=0))


def test_the_first_and_the_last_token_are_rows_of_the_file(write_file):
    path, values = write_file(dtype="float64")
    with open_activations(path) as activations:
        assert np.array_equal(pooled_samples(activations, 2, "cls")[[0, 2]], values[2][[0, 4]])
        last = pooled_samples(activations, 2, "lasttoken")
        assert np.array_equal(last[[0, 2]], values[2][[3, 9]])


@pytest.mark.parametrize("pooling", ["mean", "max", "cls", "lasttoken"])
def test_a_sample_without_rows_has_no_vector(write_file, pooling):
    path, _ = write_file()
    with open_activations(path) as activations:
        pooled = pooled_samples(activations, 0, pooling)
        assert np.isnan(pooled[1]).all()
        assert not np.isnan(pooled[[0, 2]]).any()


def test_a_pooling_that_does_not_exist_is_named(write_file):
    path, _ = write_file()
    with open_activations(path) as activations, pytest.raises(ValueError, match="pooling='median'"):
        pooled_samples(activations, 0, "median")  # type: ignore[arg-type]


def test_a_token_that_is_not_stored_is_not_replaced_by_its_neighbour(
    extracted, make_model, tokenizer_with_start, tokenizer
):
    """A start mark is the first token that the model saw; a cap may leave out any token."""
    marked = extracted(make_model(), tokenizer_with_start, "marked.h5")
    with pytest.raises(UserError, match=r"'cls' is of a token that is not.*a special token"):
        pooled_samples(marked, 1, "cls")
    assert np.isfinite(pooled_samples(marked, 1, "lasttoken")[0]).all()
    capped = extracted(make_model(), tokenizer, "capped.h5", max_tokens=40)
    for pooling in ("cls", "lasttoken"):
        with pytest.raises(UserError, match="a cap on tokens"):
            pooled_samples(capped, 1, pooling)

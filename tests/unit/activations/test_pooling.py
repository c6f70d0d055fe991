"""Pooling of stored rows to one vector per sample."""

import re

import numpy as np
import pytest

from hrsa.activations.pooling import file_pooling, pooled_samples, sample_means
from hrsa.activations.store import extraction_header, header_matches, open_activations
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


def test_other_means_weigh_a_token_by_its_place_or_divide_by_the_root(write_file, monkeypatch):
    path, values = write_file(dtype="float64")
    with open_activations(path) as activations:
        for rows in (1, 3, 100):
            monkeypatch.setattr("hrsa.activations.pooling._BLOCK_ROWS", rows)
            weighted = pooled_samples(activations, 1, "weightedmean")
            expected = np.average(values[1][4:], axis=0, weights=np.arange(1, 7))
            assert np.allclose(weighted[2], expected, atol=1e-14)
            rooted = pooled_samples(activations, 1, "mean_sqrt_len_tokens")
            assert np.allclose(rooted[0], values[1][:4].sum(axis=0) / 2, atol=1e-14)


def test_vectors_of_several_poolings_stand_one_behind_the_other(write_file):
    path, _ = write_file()
    with open_activations(path) as activations:
        both = pooled_samples(activations, 1, ("cls", "max"))
        parts = [pooled_samples(activations, 1, mode) for mode in ("cls", "max")]
        assert np.array_equal(both, np.hstack(parts), equal_nan=True)


@pytest.mark.parametrize(
    "pooling", ["mean", "max", "cls", "lasttoken", "weightedmean", "mean_sqrt_len_tokens"]
)
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
    with pytest.raises(UserError, match=r"'cls' is of tokens that are not.*a special token"):
        pooled_samples(marked, 1, "cls")
    marked.attrs["pooling"] = "cls"
    assert file_pooling(marked).modes == ("mean",)
    assert "cls, which is of tokens that are not in the file" in file_pooling(marked).note
    assert np.isfinite(pooled_samples(marked, 1, "lasttoken")[0]).all()
    capped = extracted(make_model(), tokenizer, "capped.h5", max_tokens=40)
    for pooling in ("cls", "lasttoken", "max", "mean_sqrt_len_tokens"):
        with pytest.raises(UserError, match="a cap on tokens"):
            pooled_samples(capped, 1, pooling)


@pytest.mark.parametrize(
    ("header", "modes", "note"),
    [
        ({}, ("mean",), ""),
        ({"pooling": "mean"}, ("mean",), ""),
        ({"pooling": "weightedmean", "max_tokens": 4}, ("weightedmean",), ""),
        ({"pooling": "max", "max_tokens": 4}, ("mean",), "says max, .*with a cap on tokens"),
        ({"pooling": "cls+mean"}, ("cls", "mean"), ""),
        ({"pooling": "lasttoken", "pooling_end_mark": False}, ("lasttoken",), ""),
        ({"pooling": "lasttoken"}, ("lasttoken",), "is not recorded"),
        (
            {"pooling": "mean+lasttoken", "pooling_end_mark": True},
            ("mean",),
            r"says mean\+lasttoken, .* puts a special token behind a text",
        ),
        ({"pooling": "OwnPooling"}, ("mean",), "says OwnPooling, which is no pooling that is"),
    ],
    ids=str,
)
def test_a_file_is_pooled_as_its_header_says_or_says_why_not(write_file, header, modes, note):
    path, _ = write_file()
    with open_activations(path) as activations:
        activations.attrs.update(header)
        found = file_pooling(activations)
    assert found.modes == modes
    assert bool(found.note) == bool(note)
    assert re.search(note, found.note)


def test_the_pooling_of_an_embedding_model_is_in_the_header_of_its_files_alone(write_file, header):
    plain, _ = write_file()
    pooled, _ = write_file("pooled.h5", pooling="cls")
    with open_activations(pooled) as activations:
        assert activations.attrs["pooling"] == "cls"
    with open_activations(plain) as activations:
        assert "pooling" not in activations.attrs
    wanted = {
        pooling: extraction_header({**header, "pooling": pooling}) for pooling in (None, "cls")
    }
    assert header_matches(plain, wanted[None])
    assert not header_matches(plain, wanted["cls"])
    assert header_matches(pooled, wanted["cls"])

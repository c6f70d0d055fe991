"""Rows of two files are matched by the places in the text, never by their number."""

import numpy as np
import pandas as pd
import pytest

from hrsa.activations.alignment import paired_rows, row_set
from hrsa.activations.store import ActivationWriter, open_activations
from hrsa.errors import UserError


def test_one_tokenizer_gives_the_identity(extracted, make_model, tokenizer):
    reference = extracted(make_model(), tokenizer, "a.h5")
    candidate = extracted(make_model("llama"), tokenizer, "b.h5")
    rows = paired_rows(reference, candidate, skip_first_position=False)
    assert np.array_equal(rows.reference, np.arange(reference.n_tokens))
    assert np.array_equal(rows.candidate, rows.reference)
    assert rows.reference.dtype == rows.candidate.dtype == np.int64
    assert rows.share == 1.0
    assert np.array_equal(rows.samples, reference.sample_of_row)
    assert np.array_equal(rows.tokens, reference.tokens.id)
    assert rows.n_samples == 6  # of the eight texts one is empty and one a single token


def test_the_first_position_is_left_out_unless_asked_for(extracted, make_model, tokenizer):
    reference = extracted(make_model(), tokenizer, "a.h5")
    rows = paired_rows(reference, reference)
    assert np.array_equal(rows.reference, np.flatnonzero(reference.tokens.position > 0))
    assert rows.share == 1.0


def test_a_start_token_in_one_file_takes_the_first_position_of_that_file_only(
    extracted, make_model, tokenizer, tokenizer_with_start
):
    plain = extracted(make_model(), tokenizer, "a.h5")
    started = extracted(make_model(), tokenizer_with_start, "b.h5")
    rows = paired_rows(started, plain)
    assert np.array_equal(rows.candidate, np.flatnonzero(plain.tokens.position > 0))
    assert np.array_equal(
        started.tokens.position[rows.reference], plain.tokens.position[rows.candidate] + 1
    )


def test_two_tokenizers_meet_where_both_end_a_token(
    extracted, make_model, tokenizer, coarser_tokenizer
):
    fine = extracted(make_model(), tokenizer, "a.h5")
    coarse = extracted(make_model(), coarser_tokenizer, "b.h5")
    rows = paired_rows(fine, coarse, skip_first_position=False)
    assert len(rows.reference) < fine.n_tokens
    assert rows.share == len(rows.reference) / fine.n_tokens
    for file, numbers in ((fine, rows.reference), (coarse, rows.candidate)):
        assert np.array_equal(file.sample_of_row[numbers], rows.samples)
    ends = fine.tokens.char_end[rows.reference]
    assert np.array_equal(ends, coarse.tokens.char_end[rows.candidate])
    backwards = paired_rows(coarse, fine, skip_first_position=False)
    assert np.array_equal(backwards.candidate, rows.reference)
    assert backwards.row_set == rows.row_set


def test_too_few_places_in_common_is_an_error_with_the_shares(
    extracted, make_model, tokenizer, coarser_tokenizer
):
    fine = extracted(make_model(), tokenizer, "a.h5")
    coarse = extracted(make_model(), coarser_tokenizer, "b.h5")
    share = paired_rows(fine, coarse).share
    assert share < 0.99
    with pytest.raises(UserError, match=rf"too few places in common.*{share:.1%}.*at least 99%"):
        paired_rows(fine, coarse, min_share=0.99)


def test_no_place_in_common_is_an_error(extracted, make_model, tokenizer):
    frames = [pd.DataFrame({"id": [name], "text": ["one two"]}) for name in "ab"]
    files = [
        extracted(make_model(), tokenizer, f"{i}.h5", frame=frame) for i, frame in enumerate(frames)
    ]
    with pytest.raises(UserError, match="0 tokens"):
        paired_rows(*files, min_share=0.0)


def test_files_of_different_data_sets_are_refused(write_file):
    first, _ = write_file("a.h5")
    second, _ = write_file("b.h5", dataset_sha256="00" * 32)
    with (
        open_activations(first) as reference,
        open_activations(second) as candidate,
        pytest.raises(UserError, match="different data sets"),
    ):
        paired_rows(reference, candidate)


def test_samples_in_another_order_are_matched_by_their_ids(tmp_path):
    def write(name, samples):
        n = 2 * len(samples)
        with ActivationWriter(
            tmp_path / name,
            header={},
            samples=samples,
            sample_offsets=np.arange(len(samples) + 1) * 2,
            tokens={
                "id": np.arange(n),
                "position": [1, 2] * len(samples),
                "char_start": [0, 3] * len(samples),
                "char_end": [3, 5] * len(samples),
            },
            layers=[0],
            width=1,
            dtype="float32",
        ) as writer:
            writer.write(0, slice(None), np.zeros((n, 1)))
        return open_activations(tmp_path / name)

    with write("a.h5", ["x", "only-here", "y"]) as first, write("b.h5", ["y", "x"]) as second:
        rows = paired_rows(first, second)
    assert rows.reference.tolist() == [0, 1, 4, 5]
    assert rows.candidate.tolist() == [2, 3, 0, 1]
    assert rows.samples.tolist() == [0, 0, 2, 2]
    assert rows.n_samples == 2
    assert rows.share == 4 / 6


def test_a_row_set_is_named_by_its_places(write_file, extracted, make_model, tokenizer):
    path, _ = write_file("w.h5")
    other, _ = write_file("v.h5", width=3, seed=1)
    with open_activations(path) as first, open_activations(other) as second:
        everything = np.arange(first.n_tokens)
        assert row_set(first, everything) == row_set(second, everything)
        assert row_set(first, everything[1:]) != row_set(first, everything)
        assert row_set(first, everything[::-1]) != row_set(first, everything)
        inner = np.flatnonzero(first.tokens.position > 0)
        assert paired_rows(first, second).row_set == row_set(second, inner)

"""Extracted states are those of transformers, at the places that the text says."""

import multiprocessing
import signal
import time

import numpy as np
import pandas as pd
import pytest
import torch

from hrsa.activations import journal
from hrsa.activations.extraction import extract_activations
from hrsa.activations.hidden_states import HiddenStates
from hrsa.activations.store import extraction_header, header_matches, open_activations
from hrsa.activations.texts import encode_texts
from hrsa.errors import UserError


def alone(model, tokenizer, text):
    """Hidden states of one text without padding: list of (n_tokens × width)."""
    ids = torch.tensor([tokenizer(text)["input_ids"]])
    with torch.no_grad():
        hidden = model.base_model(input_ids=ids, output_hidden_states=True).hidden_states
    return [state[0].numpy() for state in hidden]


@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
@pytest.mark.parametrize("kind", ["qwen2", "llama"])
def test_states_equal_those_of_each_text_alone(
    extracted, make_model, tokenizer, dataset, kind, attention
):
    model = make_model(kind, attention=attention)
    activations = extracted(model, tokenizer, token_budget=64, attention=attention)
    assert activations.layers == [0, 1, 2]
    assert activations.attrs["attention"] == attention
    assert activations.samples.ids.tolist() == dataset["id"].tolist()
    offsets = activations.samples.offsets
    for index, text in enumerate(dataset["text"]):
        rows = slice(offsets[index], offsets[index + 1])
        if len(tokenizer(text)["input_ids"]) < 2:
            assert rows.start == rows.stop
            continue
        positions = activations.tokens.position[rows]
        assert np.array_equal(
            activations.tokens.id[rows], np.array(tokenizer(text)["input_ids"])[positions]
        )
        for layer, state in enumerate(alone(model, tokenizer, text)):
            assert np.abs(activations.layer(layer)[rows] - state[positions]).max() <= 1e-5


def test_first_and_last_states_are_the_embeddings_and_the_normed_output(
    extracted, make_model, tokenizer
):
    model = make_model()
    activations = extracted(model, tokenizer)
    embeddings = model.embed_tokens.weight.detach().numpy()[activations.tokens.id]
    assert np.array_equal(activations.layer(0)[:], embeddings)
    assert activations.attrs["n_layers"] == 2
    # The norm has unit weights here, so its output has unit mean square in each row.
    assert np.allclose((activations.layer(2)[:] ** 2).mean(axis=1), 1.0, atol=1e-3)


def test_the_head_of_a_language_model_is_left_out(extracted, make_model, tokenizer):
    with_head = extracted(make_model(head=True), tokenizer, "head.h5")
    model = make_model(head=True)
    without = extracted(model.model, tokenizer, "bare.h5")
    for layer in (0, 1, 2):
        assert np.array_equal(with_head.layer(layer)[:], without.layer(layer)[:])


def test_the_budget_changes_no_row(extracted, make_model, tokenizer):
    small = extracted(make_model(), tokenizer, "small.h5", token_budget=1)
    large = extracted(make_model(), tokenizer, "large.h5", token_budget=4096)
    assert np.array_equal(small.tokens.char_end, large.tokens.char_end)
    assert np.abs(small.layer(2)[:] - large.layer(2)[:]).max() <= 1e-5


@pytest.mark.parametrize(("attention", "changes"), [("causal", False), ("bidirectional", True)])
def test_the_last_token_changes_the_first_ones_state_only_when_bidirectional(
    extracted, make_model, tokenizer, attention, changes
):
    frame = pd.DataFrame({"id": ["a", "b"], "text": ["seven plus x", "seven plus y"]})
    activations = extracted(
        make_model(attention=attention), tokenizer, frame=frame, attention=attention
    )
    first, second = activations.layer(2)[activations.samples.offsets[:2]]
    assert (np.abs(first - second).max() > 1e-3) == changes


def test_attention_that_the_model_does_not_have_is_refused(extracted, make_model, tokenizer):
    with pytest.raises(UserError, match=r"'bidirectional' is wanted.*attention is causal"):
        extracted(make_model(), tokenizer, attention="bidirectional")
    with pytest.raises(UserError, match=r"'causal' is wanted.*attention is bidirectional"):
        extracted(make_model(attention="bidirectional"), tokenizer, attention="causal")


def test_spans_are_characters_of_the_text_and_bytes_of_one_character_give_one_row(
    extracted, make_model, tokenizer, dataset
):
    activations = extracted(make_model(), tokenizer)
    tokens, offsets = activations.tokens, activations.samples.offsets
    for index, text in enumerate(dataset["text"]):
        rows = slice(offsets[index], offsets[index + 1])
        starts, ends = tokens.char_start[rows], tokens.char_end[rows]
        if len(tokenizer(text)["input_ids"]) < 2:
            continue
        assert np.all(starts < ends)
        assert np.all(np.diff(ends) > 0)
        assert "".join(text[a:b] for a, b in zip(starts, ends, strict=True)) == text
    smile = dataset["text"].tolist().index(next(t for t in dataset["text"] if "😀" in t))
    text = dataset["text"][smile]
    row = offsets[smile] + tokens.char_end[offsets[smile] : offsets[smile + 1]].tolist().index(
        text.index("😀") + 1
    )
    encoding = tokenizer(text).encodings[0]
    ending_there = [i for i, span in enumerate(encoding.offsets) if span[1] == text.index("😀") + 1]
    assert len(ending_there) > 1
    assert tokens.position[row] == ending_there[-1]


def test_special_tokens_are_seen_by_the_model_and_left_out_of_the_rows(
    extracted, make_model, tokenizer_with_start, dataset
):
    model = make_model()
    activations = extracted(model, tokenizer_with_start)
    tokens = activations.tokens
    assert tokenizer_with_start.bos_token_id not in tokens.id
    assert tokens.position.min() == 1
    first = alone(model, tokenizer_with_start, dataset["text"][0])[2][1]
    assert np.abs(activations.layer(2)[0] - first).max() <= 1e-5


def test_a_special_token_written_in_the_text_is_left_out_too(extracted, make_model, tokenizer):
    frame = pd.DataFrame({"id": ["a"], "text": ["one<s>two"]})
    activations = extracted(make_model(), tokenizer, frame=frame)
    assert tokenizer.bos_token_id not in activations.tokens.id
    assert activations.tokens.char_end[-1] == len("one<s>two")


def test_long_texts_are_cut_and_counted(extracted, make_model, tokenizer, dataset):
    activations = extracted(make_model(), tokenizer, max_length=6)
    lengths = [len(tokenizer(text)["input_ids"]) for text in dataset["text"]]
    assert activations.attrs["n_truncated"] == sum(length > 6 for length in lengths) > 0
    assert activations.tokens.position.max() == 5


def test_some_layers_only(extracted, make_model, tokenizer):
    everything = extracted(make_model(), tokenizer, "all.h5")
    some = extracted(make_model(), tokenizer, "some.h5", layers=[2, 0])
    assert some.layers == [0, 2]
    assert some.attrs["n_layers"] == 2
    assert np.array_equal(some.layer(2)[:], everything.layer(2)[:])
    with pytest.raises(UserError, match=r"states 0 \(embeddings\) to 2"):
        extracted(make_model(), tokenizer, "none.h5", layers=[3])


def test_a_model_in_bfloat16_is_stored_without_loss(extracted, make_model, tokenizer):
    model = make_model().to(torch.bfloat16)
    short = extracted(model, tokenizer, "short.h5", dtype="bfloat16")
    wide = extracted(model, tokenizer, "wide.h5", dtype="float64")
    for layer in (0, 1, 2):
        assert np.array_equal(short.layer(layer)[:], wide.layer(layer)[:])


def test_the_cap_keeps_the_same_places_for_two_tokenizers(
    extracted, make_model, tokenizer, coarser_tokenizer
):
    def places(activations):
        ids = activations.samples.ids[activations.sample_of_row]
        return set(zip(ids.tolist(), activations.tokens.char_end.tolist(), strict=True))

    tokenizers = {"fine": tokenizer, "coarse": coarser_tokenizer}
    whole = {n: places(extracted(make_model(), t, f"{n}.h5")) for n, t in tokenizers.items()}
    assert whole["fine"] != whole["coarse"]
    capped = {
        n: places(extracted(make_model(), t, f"{n}-capped.h5", max_tokens=30))
        for n, t in tokenizers.items()
    }
    shared = whole["fine"] & whole["coarse"]
    assert capped["fine"] & shared == capped["coarse"] & shared
    assert 0 < len(capped["fine"] & shared) < len(shared)
    assert capped["fine"] < whole["fine"]


def test_a_cap_changes_which_rows_are_kept_and_no_row(extracted, make_model, tokenizer):
    whole = extracted(make_model(), tokenizer, "whole.h5")
    capped = extracted(make_model(), tokenizer, "capped.h5", max_tokens=30)
    keys = list(zip(whole.sample_of_row.tolist(), whole.tokens.char_end.tolist(), strict=True))
    kept = zip(capped.sample_of_row.tolist(), capped.tokens.char_end.tolist(), strict=True)
    rows = [keys.index(key) for key in kept]
    assert np.array_equal(capped.layer(1)[:], whole.layer(1)[rows])


def test_two_extractions_give_the_same_bytes_and_the_wanted_header(
    extracted, make_model, tokenizer, header
):
    first = extracted(make_model(), tokenizer, "a.h5", token_budget=64)
    second = extracted(make_model(), tokenizer, "b.h5", token_budget=64)
    assert first.path.read_bytes() == second.path.read_bytes()
    wanted = extraction_header({**header, "attention": "causal"})
    assert header_matches(first.path, wanted)
    assert first.attrs["library_versions"]["torch"] == torch.__version__


def test_nothing_of_the_machine_is_in_the_header(extracted, make_model, tokenizer, header):
    activations = extracted(make_model(), tokenizer)
    assert set(activations.attrs) == {
        *header, "schema_version", "dtype", "n_layers", "library_versions", "layers",
        "max_length", "max_tokens", "sampling_seed", "truncation", "n_truncated", "n_short",
    }  # fmt: skip


def test_a_model_that_gives_nan_stops_with_model_sample_and_layer(
    make_model, tokenizer, dataset, header, tmp_path
):
    model = make_model()
    bad = tokenizer("numb")["input_ids"][0]
    sample = next(
        i for i, t in zip(dataset["id"], dataset["text"], strict=True)
        if bad in tokenizer(t)["input_ids"]
    )  # fmt: skip
    with torch.no_grad():
        model.embed_tokens.weight[bad] = float("nan")
    only = dataset[dataset["id"] == sample]
    with pytest.raises(UserError, match=f"model tiny.*layer 0 .*sample '{sample}'"):
        extract_activations(model, tokenizer, only, tmp_path / "x.h5", header=header)
    assert not (tmp_path / "x.h5").exists()


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"id": [], "text": []}), "no rows"),
        (pd.DataFrame({"id": ["a"]}), "lacks the column"),
        (pd.DataFrame({"id": ["a", "a"], "text": ["x", "y"]}), "'a' more than once"),
        (pd.DataFrame({"id": ["a", "b"], "text": ["x", None]}), "row 1: text"),
        (pd.DataFrame({"id": ["a"], "text": [""]}), "no token is left"),
    ],
)
def test_a_data_set_that_cannot_be_read_is_refused(
    make_model, tokenizer, tmp_path, header, frame, message
):
    with pytest.raises(UserError, match=message):
        extract_activations(make_model(), tokenizer, frame, tmp_path / "x.h5", header=header)


def test_texts_longer_than_the_models_positions_are_refused(
    make_model, tokenizer, tmp_path, header
):
    frame = pd.DataFrame({"id": ["a"], "text": ["xyz " * 200]})
    with pytest.raises(UserError, match=r"positions for 128.*Set max_length to 128"):
        extract_activations(make_model(), tokenizer, frame, tmp_path / "x.h5", header=header)


def test_texts_of_fewer_than_two_tokens_have_no_rows_and_are_counted(
    extracted, make_model, tokenizer, dataset
):
    activations = extracted(make_model(), tokenizer)
    lengths = [len(tokenizer(text)["input_ids"]) for text in dataset["text"]]
    assert activations.attrs["n_short"] == sum(length < 2 for length in lengths) == 2
    rows = np.diff(activations.samples.offsets)
    assert [n > 0 for n in rows] == [length >= 2 for length in lengths]


def test_long_texts_are_cut_at_the_start_when_asked_to(extracted, make_model, tokenizer, dataset):
    activations = extracted(make_model(), tokenizer, max_length=6, truncation="start")
    assert activations.attrs["truncation"] == "start"
    for index, text in enumerate(dataset["text"]):
        rows = slice(*activations.samples.offsets[index : index + 2])
        if rows.start < rows.stop:
            assert activations.tokens.char_end[rows][-1] == len(text)
    assert activations.tokens.position.max() == 5
    assert tokenizer.truncation_side == "right"


def test_long_texts_are_refused_when_none_may_be_cut(
    make_model, tokenizer, dataset, header, tmp_path
):
    first = next(
        i for i, t in zip(dataset["id"], dataset["text"], strict=True)
        if len(tokenizer(t)["input_ids"]) > 6
    )  # fmt: skip
    with pytest.raises(UserError, match=f"longer than max_length=6.*the first is '{first}'"):
        extract_activations(
            make_model(), tokenizer, dataset, tmp_path / "x.h5",
            header=header, max_length=6, truncation="refuse",
        )  # fmt: skip


def out_of_memory_above(n_samples, monkeypatch):
    """As if the memory held no larger batch."""
    read = HiddenStates.read
    sizes = []

    def limited(self, ids, mask, layers, take):
        if len(ids) > n_samples:
            # In the middle of a batch: some layers were taken already.
            read(self, ids, mask, layers[:1], take)
            raise torch.OutOfMemoryError("CUDA out of memory")
        sizes.append(len(ids))
        read(self, ids, mask, layers, take)

    monkeypatch.setattr(HiddenStates, "read", limited)
    return sizes


def test_a_batch_that_does_not_fit_in_memory_is_halved(
    extracted, make_model, tokenizer, monkeypatch, capsys
):
    whole = extracted(make_model(), tokenizer, "whole.h5")
    sizes = out_of_memory_above(2, monkeypatch)
    halved = extracted(make_model(), tokenizer, "halved.h5")
    assert max(sizes) == 2
    assert "does not fit in memory" in capsys.readouterr().out
    for layer in whole.layers:
        assert np.abs(halved.layer(layer)[:] - whole.layer(layer)[:]).max() <= 1e-5


def test_a_text_that_does_not_fit_alone_is_an_error_that_keeps_what_was_written(
    make_model, tokenizer, dataset, header, tmp_path, monkeypatch
):
    out_of_memory_above(0, monkeypatch)
    with pytest.raises(UserError, match=r"does not suffice for sample 'text-.*what was written is"):
        extract_activations(make_model(), tokenizer, dataset, tmp_path / "x.h5", header=header)
    assert (tmp_path / "x.h5.partial").exists()


def test_other_errors_of_a_forward_pass_are_not_taken_for_a_full_memory(
    make_model, tokenizer, dataset, header, tmp_path, monkeypatch
):
    def broken(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(HiddenStates, "read", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        extract_activations(make_model(), tokenizer, dataset, tmp_path / "x.h5", header=header)


def test_a_killed_extraction_goes_on_to_the_same_bytes(
    make_model, tokenizer, dataset, header, tmp_path, monkeypatch, capfd
):
    """SIGKILL at ten random moments, each time going on after what was committed."""
    frame = pd.concat([dataset.assign(id=dataset["id"] + f"-{i}") for i in range(30)])
    model = make_model()  # before the forks: each starts at once
    read = HiddenStates.read

    def slow(self, ids, mask, layers, take):
        read(self, ids, mask, layers, take)
        time.sleep(0.06)  # all batches take longer than what is waited before the ten kills

    def extract(name):
        extract_activations(
            model, tokenizer, frame, tmp_path / name, header=header, token_budget=48
        )

    extract("undisturbed.h5")
    fork = multiprocessing.get_context("fork")
    rng = np.random.default_rng(0)
    with monkeypatch.context() as patched:
        patched.setattr(HiddenStates, "read", slow)
        patched.setattr(journal, "SYNC_SECONDS", 0.0)
        for _ in range(10):
            child = fork.Process(target=extract, args=("killed.h5",))
            child.start()
            child.join(rng.uniform(0.05, 0.4))
            child.kill()
            child.join()
            assert child.exitcode == -signal.SIGKILL
    extract("killed.h5")
    assert "killed.h5: going on after" in capfd.readouterr().out
    with (
        open_activations(tmp_path / "undisturbed.h5", verify=True) as wanted,
        open_activations(tmp_path / "killed.h5", verify=True) as found,
    ):
        for layer in wanted.layers:
            assert np.array_equal(found.layer(layer)[:], wanted.layer(layer)[:])
    assert sorted(file.name for file in tmp_path.glob("killed*")) == ["killed.h5"]


def test_vocabularies_with_gaps_are_read():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"[UNK]": 0, "one": 1, "two": 9}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    gaps = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", pad_token="[UNK]")
    frame = pd.DataFrame({"id": ["a"], "text": ["one two three"]})
    (sample,) = encode_texts(gaps, frame, max_length=8)
    assert sample.ids.tolist() == [1, 9, 0]


def test_texts_are_tokenised_in_parts_of_bounded_size(tokenizer, dataset, monkeypatch):
    whole = encode_texts(tokenizer, dataset, max_length=64)
    monkeypatch.setattr("hrsa.activations.texts._CHARACTERS_AT_ONCE", 30)
    parts = encode_texts(tokenizer, dataset, max_length=64)
    assert [one.ids.tolist() for one in parts] == [one.ids.tolist() for one in whole]


def test_positions_that_an_encoder_reserves_are_not_for_texts(tokenizer, header, tmp_path):
    from transformers import RobertaConfig, RobertaModel

    config = RobertaConfig(
        vocab_size=512,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=34,
        pad_token_id=1,
    )
    model = RobertaModel(config, add_pooling_layer=False).eval()
    frame = pd.DataFrame({"id": ["a"], "text": ["xyz " * 60]})
    of_encoder = {"header": {**header, "attention": None}}
    with pytest.raises(UserError, match="Set max_length to 32"):
        extract_activations(model, tokenizer, frame, tmp_path / "x.h5", **of_encoder)
    extract_activations(model, tokenizer, frame, tmp_path / "x.h5", max_length=32, **of_encoder)
    assert (tmp_path / "x.h5").exists()

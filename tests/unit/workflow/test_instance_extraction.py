"""An instance's extraction, whole and in parts."""

import json

import numpy as np
import pandas as pd
import pytest

from hrsa.activations import extraction
from hrsa.activations.shards import join_shards
from hrsa.activations.store import open_activations
from hrsa.errors import UserError
from hrsa_workflow.extraction import extract_instance, extract_shard, part_of

SETTINGS = {
    "layers": "all",
    "dtype": "float32",
    "max_length": 64,
    "truncation": "end",
    "token_budget": 128,
    "max_tokens": 90,
    "device": "cpu",
}
TEXTS = [f"text {i} has {i * 7 % 11} words and a number {i * i}" for i in range(11)]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A model's record beside its weights, and a data set's file."""
    import torch
    from transformers import AutoModel, Qwen2Config

    from hrsa.models.folder import save_model
    from hrsa.models.tokenizer import train_tokenizer

    folder = tmp_path_factory.mktemp("study")
    tokenizer = train_tokenizer(TEXTS, vocabulary=300)
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    config = Qwen2Config(vocab_size=len(tokenizer), max_position_embeddings=64, **shape, **heads)
    save_model(folder / "model", AutoModel.from_config(config), tokenizer)
    record = {"model": "m", "sha256": "ab", "attention": "causal", "note": "", "seed": None}
    (folder / "model" / "record.json").write_text(json.dumps(record))
    frame = pd.DataFrame({"id": [f"t{i:02d}" for i in range(11)], "text": TEXTS})
    frame.to_parquet(folder / "texts.parquet")
    return folder


@pytest.fixture
def common(study):
    """What all extractions of a model have in common."""
    return {"record": f"{study}/model/record.json", "settings": SETTINGS, "seed": 1, "code": "c"}


def extract_parts(study, folder, n_shards, **common):
    """Extract the texts in parts, and return the parts' files."""
    parts = [folder / "texts.shards" / f"{shard}.h5" for shard in range(n_shards)]
    for shard, part in enumerate(parts):
        extract_shard(
            dataset=f"{study}/texts.parquet", step=None, output=str(part), shard=shard,
            n_shards=n_shards, **common,
        )  # fmt: skip
    return parts


def extract_whole(study, path, **common):
    extract_instance(datasets=[f"{study}/texts.parquet"], steps=[], outputs=[str(path)], **common)


def test_parts_joined_are_the_whole(study, common, tmp_path):
    whole = tmp_path / "whole.h5"
    extract_whole(study, whole, **common)
    join_shards(extract_parts(study, tmp_path, 3, **common), tmp_path / "joined.h5")
    with (
        open_activations(whole, verify=True) as wanted,
        open_activations(tmp_path / "joined.h5", verify=True) as found,
    ):
        assert found.attrs == wanted.attrs
        assert found.samples.ids.tolist() == wanted.samples.ids.tolist()
        # The cap is on the whole data set: the same tokens are kept.
        assert np.array_equal(found.tokens.char_end, wanted.tokens.char_end)
        assert 0 < found.n_tokens < sum(len(text) for text in TEXTS)
        for layer in wanted.layers:
            # Texts that share a batch move each other's last digits.
            assert np.abs(found.layer(layer)[:] - wanted.layer(layer)[:]).max() < 1e-5


def test_a_part_that_is_still_right_is_kept(study, common, tmp_path, capsys):
    parts = extract_parts(study, tmp_path, 2, **common)
    before = [part.stat().st_ino for part in parts]
    assert f"wrote {parts[1]}: 6 texts" in capsys.readouterr().out
    # How many tokens are read at once is no property of the file.
    settings = SETTINGS | {"token_budget": 64}
    extract_parts(study, tmp_path, 2, **common | {"settings": settings})
    said = capsys.readouterr().out
    assert all(f"kept {part}: " in said for part in parts)
    assert [part.stat().st_ino for part in parts] == before


@pytest.mark.parametrize(
    "change", [{"code": "other"}, {"seed": 2}, {"settings": SETTINGS | {"max_length": 32}}]
)
def test_a_part_that_is_no_longer_right_is_extracted_anew(study, common, tmp_path, capsys, change):
    (part,) = extract_parts(study, tmp_path, 1, **common)
    extract_parts(study, tmp_path, 1, **common | change)
    assert f"kept {part}" not in capsys.readouterr().out


def test_a_part_of_another_number_of_parts_is_extracted_anew(study, common, tmp_path, capsys):
    extract_parts(study, tmp_path, 3, **common)
    parts = extract_parts(study, tmp_path, 2, **common)
    assert "kept" not in capsys.readouterr().out
    join_shards(parts, tmp_path / "texts.h5")


def test_a_part_that_was_finished_before_its_job_failed_is_kept(study, common, tmp_path, capsys):
    (part,) = extract_parts(study, tmp_path, 1, **common)
    part.rename(f"{part}.finished")
    extract_parts(study, tmp_path, 1, **common)
    assert f"kept {part}: " in capsys.readouterr().out
    assert list(part.parent.iterdir()) == [part]


@pytest.mark.parametrize("copy", [False, True])
def test_without_shards_a_joined_file_that_is_right_is_kept(study, common, tmp_path, capsys, copy):
    joined = tmp_path / "texts.h5"
    parts = extract_parts(study, tmp_path, 2, **common)
    join_shards(parts, joined, copy=copy)
    extract_whole(study, joined, **common)
    assert f"kept {joined}: " in capsys.readouterr().out
    # Parts that the file refers to are needed; a copy's are not.
    assert [part.exists() for part in parts] == [not copy, not copy]
    with open_activations(joined, verify=True) as activations:
        assert activations.n_samples == len(TEXTS)


def test_without_shards_a_file_that_is_written_again_leaves_no_parts(
    study, common, tmp_path, capsys
):
    joined = tmp_path / "texts.h5"
    parts = extract_parts(study, tmp_path, 2, **common)
    join_shards(parts, joined)
    extract_whole(study, joined, **common | {"code": "other"})
    said = capsys.readouterr().out
    assert all(f"removed {part}: the data set is no longer in parts" in said for part in parts)
    assert list(tmp_path.iterdir()) == [joined]


@pytest.mark.parametrize("restored", [False, True])
def test_what_was_finished_before_a_failure_is_not_extracted_again(
    study, monkeypatch, capsys, restored
):
    """Snakemake removes all outputs of a job that fails, or writes older ones over them."""
    other = study / "other.parquet"
    pd.read_parquet(study / "texts.parquet").iloc[:4].to_parquet(other)
    outputs = [study / f"{name}-{restored}.h5" for name in ("first", "second")]
    arguments = {
        "record": f"{study}/model/record.json", "datasets": [f"{study}/texts.parquet", str(other)],
        "steps": [], "outputs": [str(path) for path in outputs], "settings": SETTINGS, "seed": 1,
        "code": "c",
    }  # fmt: skip
    extract = extraction.extract_activations

    def fails_on_the_second(*positional, **options):
        if options["header"]["dataset"] == "other":
            raise UserError("the disk is full")
        extract(*positional, **options)

    monkeypatch.setattr(extraction, "extract_activations", fails_on_the_second)
    with pytest.raises(UserError, match="the disk is full"):
        extract_instance(**arguments)
    for path in outputs:
        path.unlink(missing_ok=True)
        if restored:
            path.write_bytes(b"an older file")
    monkeypatch.setattr(extraction, "extract_activations", extract)
    extract_instance(**arguments)
    told = capsys.readouterr().out
    assert f"kept {outputs[0]}" in told
    assert f"wrote {outputs[1]}" in told
    assert not list(study.glob("*.finished"))


def test_parts_are_consecutive_and_of_about_one_size():
    frame = pd.DataFrame({"id": range(11)})
    parts = [part_of(frame, shard, 3, name="texts")["id"].tolist() for shard in range(3)]
    assert [one for part in parts for one in part] == list(range(11))
    assert sorted(map(len, parts)) == [3, 4, 4]


def test_more_parts_than_samples_are_refused():
    wanted = r"shard 0 of data set `texts`: `datasets\.texts\.shards` is 3, but .* 2 samples"
    with pytest.raises(UserError, match=wanted):
        part_of(pd.DataFrame({"id": [1, 2]}), 0, 3, name="texts")


def test_a_part_without_a_token_to_store_is_refused_by_name(study, common, tmp_path):
    frame = pd.read_parquet(study / "texts.parquet")
    frame.loc[5:, "text"] = ""
    frame.to_parquet(tmp_path / "texts.parquet")
    with pytest.raises(UserError, match=r"data set texts, shard 1 of 2: no token.*fewer shards"):
        extract_parts(tmp_path, tmp_path, 2, **common)

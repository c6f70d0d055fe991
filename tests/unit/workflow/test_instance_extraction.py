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


def test_parts_joined_are_the_whole(study):
    common = {"record": f"{study}/model/record.json", "settings": SETTINGS, "seed": 1, "code": "c"}
    whole = study / "whole.h5"
    extract_instance(datasets=[f"{study}/texts.parquet"], steps=[], outputs=[str(whole)], **common)
    parts = [study / "shards" / f"{shard}.h5" for shard in range(3)]
    for shard, part in enumerate(parts):
        extract_shard(
            dataset=f"{study}/texts.parquet", step=None, output=str(part), shard=shard, n_shards=3,
            **common,
        )  # fmt: skip
    join_shards(parts, study / "joined.h5")
    with (
        open_activations(whole, verify=True) as wanted,
        open_activations(study / "joined.h5", verify=True) as found,
    ):
        assert found.attrs == wanted.attrs
        assert found.samples.ids.tolist() == wanted.samples.ids.tolist()
        # The cap is on the whole data set: the same tokens are kept.
        assert np.array_equal(found.tokens.char_end, wanted.tokens.char_end)
        assert 0 < found.n_tokens < sum(len(text) for text in TEXTS)
        for layer in wanted.layers:
            assert np.abs(found.layer(layer)[:] - wanted.layer(layer)[:]).max() < 1e-5


def test_what_was_finished_before_a_failure_is_not_extracted_again(study, monkeypatch, capsys):
    """Snakemake removes all outputs of a job that fails."""
    other = study / "other.parquet"
    pd.read_parquet(study / "texts.parquet").iloc[:4].to_parquet(other)
    outputs = [study / "first.h5", study / "second.h5"]
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
    monkeypatch.setattr(extraction, "extract_activations", extract)
    extract_instance(**arguments)
    told = capsys.readouterr().out
    assert f"kept {outputs[0]}" in told
    assert f"wrote {outputs[1]}" in told
    assert not list(study.glob("*.finished"))


def test_parts_are_consecutive_and_of_about_one_size():
    frame = pd.DataFrame({"id": range(11)})
    parts = [part_of(frame, shard, 3)["id"].tolist() for shard in range(3)]
    assert [one for part in parts for one in part] == list(range(11))
    assert sorted(map(len, parts)) == [3, 4, 4]


def test_more_parts_than_samples_are_refused():
    with pytest.raises(UserError, match=r"2 samples, too few for 3 shards.*`shards:`"):
        part_of(pd.DataFrame({"id": [1, 2]}), 0, 3)

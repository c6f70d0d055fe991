"""Two models in one line, from folders to table and figures; the second time from the cache."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import hrsa
from hrsa.activations.store import open_activations
from hrsa.cli import app
from hrsa.errors import UserError
from hrsa.models.folder import save_model
from hrsa.models.tokenizer import train_tokenizer
from hrsa.similarity.results import SIMILARITY_COLUMNS
from hrsa.two_models import activation_files, cache_folder, model_folder

RNG = np.random.default_rng(0)
WORDS = ["river", "stone", "seven", "otter", "bridge", "light", "rain", "count", "three", "apple"]
TEXTS = [" ".join(RNG.choice(WORDS, 12)) for _ in range(20)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A tiny Qwen2, and a deeper and wider Llama with a tokenizer of its own."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config

    root = tmp_path_factory.mktemp("models")
    shapes = {"qwen": (Qwen2Config, 16, 2, 300), "llama": (LlamaConfig, 24, 3, 340)}
    for name, (config, width, layers, vocabulary) in shapes.items():
        tokenizer = train_tokenizer(TEXTS, vocabulary=vocabulary)
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(
            config(
                vocab_size=len(tokenizer),
                hidden_size=width,
                intermediate_size=32,
                num_hidden_layers=layers,
                num_attention_heads=2,
                num_key_value_heads=1,
                max_position_embeddings=128,
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=tokenizer.eos_token_id,
            )
        )
        save_model(root / name, model, tokenizer)
    return root


def no_loading(monkeypatch):
    def refused(*_, **__):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("hrsa.models.loading.load_backbone", refused)


def test_two_folders_and_a_list_of_texts_give_the_table(folders, tmp_path, monkeypatch):
    arguments = (folders / "qwen", folders / "llama", TEXTS)
    options = {"cache": tmp_path, "n_permutations": 19}
    with pytest.warns(UserWarning, match="correlation is left out"):
        table = hrsa.compare_models(*arguments, **options)
    assert tuple(table.columns) == SIMILARITY_COLUMNS
    assert set(table["metric"]) == {"procrustes", "cka", "knn"}
    assert table["layer_candidate"].max() == 3
    no_loading(monkeypatch)
    with pytest.warns(UserWarning, match="correlation is left out"):
        again = hrsa.compare_models(*arguments, **options)
    pd.testing.assert_frame_equal(again, table)


def test_other_texts_or_another_reading_are_extracted_anew(folders, tmp_path, monkeypatch):
    qwen = folders / "qwen"
    hrsa.compare_models(qwen, qwen, TEXTS, metrics=["cka"], n_permutations=0, cache=tmp_path)
    assert len(list((tmp_path / "activations").glob("*.h5"))) == 1
    hrsa.compare_models(qwen, qwen, TEXTS[:9], metrics=["cka"], n_permutations=0, cache=tmp_path)
    assert len(list((tmp_path / "activations").glob("*.h5"))) == 2
    no_loading(monkeypatch)
    reading = hrsa.two_models.Reading(attention="bidirectional")
    with pytest.raises(AssertionError, match="a model was loaded"):
        hrsa.compare_models(qwen, qwen, TEXTS, reading=reading, cache=tmp_path)


def test_rows_carry_the_names_that_models_have_now(folders, tmp_path, monkeypatch):
    options = {"metrics": ["cka"], "n_permutations": 0, "cache": tmp_path / "cache"}
    hrsa.compare_models(folders / "qwen", folders / "llama", TEXTS, **options)
    shutil.copytree(folders / "qwen", tmp_path / "final")
    no_loading(monkeypatch)
    table = hrsa.compare_models(tmp_path / "final", folders / "llama", TEXTS, **options)
    assert set(table["reference"]) == {"final"}
    assert set(table["pair"]) == {"final~llama"}


def write_pooling(folder, mode):
    """Make a model folder one of sentence-transformers."""
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    entries = [{"path": path, "type": f"sentence_transformers.models.{c}"} for path, c in modules]
    (folder / "modules.json").write_text(json.dumps(entries))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": mode}))


def test_files_of_an_embedding_model_say_how_it_pools(folders, tmp_path, monkeypatch):
    shutil.copytree(folders / "qwen", tmp_path / "embedding")
    found = []
    for mode in ("cls", "lasttoken"):
        write_pooling(tmp_path / "embedding", mode)
        models = folders / "qwen", tmp_path / "embedding"
        plain, pooled = activation_files(*models, TEXTS, cache=tmp_path / "cache")
        with open_activations(plain) as left, open_activations(pooled) as right:
            assert "pooling" not in left.attrs
            found.append((right.attrs["pooling"], right.attrs.get("pooling_end_mark")))
    assert found == [("cls", None), ("lasttoken", False)]
    no_loading(monkeypatch)
    again = activation_files(*models, TEXTS, cache=tmp_path / "cache")
    assert again == (plain, pooled)


def test_the_command_prints_writes_and_draws(folders, tmp_path):
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(TEXTS))
    done = CliRunner().invoke(
        app,
        [
            "compare-models", str(folders / "qwen"), str(folders / "llama"),
            "--texts", str(texts), "--metric", "cka", "--permutations", "0",
            "--out", str(tmp_path / "table.csv"), "--figures", str(tmp_path / "figures"),
            "--cache", str(tmp_path / "cache"),
        ],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "cka sample_debiased" in done.output
    table = pd.read_csv(tmp_path / "table.csv")
    assert tuple(table.columns) == SIMILARITY_COLUMNS
    assert sorted(file.name for file in (tmp_path / "figures").iterdir()) == [
        "cka_heatmap.pdf", "cka_heatmap.png",
    ]  # fmt: skip


@pytest.mark.parametrize("source", ["no-such-folder", "./owner/name", "a/b/c"])
def test_what_is_no_model_is_told_with_what_is(source, tmp_path):
    with pytest.raises(UserError, match=r"There is no model at .*owner/name@revision"):
        model_folder(source, tmp_path)


def test_the_cache_is_where_it_is_asked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("HRSA_CACHE", raising=False)
    assert cache_folder() == tmp_path / "xdg" / "hrsa"
    monkeypatch.setenv("HRSA_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    assert cache_folder(tmp_path / "given") == tmp_path / "given"

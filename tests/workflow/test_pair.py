"""`studies/pair.yaml` on two models of one's own, folders or a hub's: what most people come for."""

import json
import shutil
import sys
from pathlib import Path

import h5py
import pandas as pd
import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "hub"))
from local_hub import LocalHub

pytestmark = pytest.mark.slow

WORDS = ("river", "stone", "cloud", "lamp", "paper", "train", "garden", "letter", "north", "seven")


def texts():
    return [
        " ".join(WORDS[(start * step + i) % len(WORDS)] for i in range(12))
        for start in range(8)
        for step in (1, 3, 7)
    ]


def save_model(folder: Path, seed: int) -> None:
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from hrsa.models.tokenizer import train_tokenizer

    tokenizer = train_tokenizer(texts(), vocabulary=300)
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=128,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def save_llama(folder: Path, seed: int) -> None:
    """A model with another architecture, width, depth and tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from hrsa.models.tokenizer import train_tokenizer

    tokenizer = train_tokenizer(texts(), vocabulary=270)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=3,
        num_key_value_heads=3,
        max_position_embeddings=128,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.fixture
def pair(fresh):
    """The ten lines of studies/pair.yaml with two folders and a file in place of the hub."""
    for seed, name in enumerate(("one", "other")):
        save_model(fresh.path / "mine" / name, seed)
    (fresh.path / "mine" / "texts.txt").write_text("\n".join(texts()) + "\n")
    study = yaml.safe_load((fresh.path / "studies" / "pair.yaml").read_text())
    study["models"] = {name: {"path": f"mine/{name}"} for name in study["models"]}
    study["datasets"] = {"texts": {"path": "mine/texts.txt"}}
    (fresh.path / "tests" / "workflow" / "small.yaml").write_text(yaml.safe_dump(study))
    return fresh


def test_two_folders_are_compared_by_every_metric_without_training(pair):
    pair.snakemake()
    results = pair.path / "results" / "pair"
    table = pd.read_csv(results / "tables" / "similarity.csv")
    assert set(table["metric"]) == {"correlation", "procrustes", "cka", "knn"}
    assert set(table["pair"]) == {"one-other"}
    same = table[(table["metric"] == "cka") & (table["layer_reference"] == 2)]
    assert same["value"].between(0, 1).any()
    page = (results / "report" / "index.html").read_text()
    assert str(pair.path) not in page
    for file in results.glob("activations/*/*.h5"):
        with h5py.File(file) as activations:
            assert not any(str(pair.path) in str(value) for value in activations.attrs.values())
    assert pair.plan().counts == {}

    # touching the weights does nothing, other weights are extracted again
    weights = pair.path / "mine" / "other" / "model.safetensors"
    weights.touch()
    assert pair.plan().counts == {}
    shutil.copyfile(pair.path / "mine" / "one" / "model.safetensors", weights)
    plan = pair.plan()
    assert plan.counts["materialise"] == plan.counts["extract"] == 1
    record = json.loads((results / "models" / "other" / "record.json").read_text())
    assert record["recipe"] == "path"


TOKEN = "hf_test0123456789abcdefghijklmnop"


@pytest.fixture
def hub(fresh, tmp_path, monkeypatch):
    """The ten lines with two models of a hub, one of them at a named revision."""
    owner = tmp_path / "served" / "models" / "owner"
    save_model(owner / "qwen", seed=0)
    save_llama(owner / "llama@v1.0", seed=1)
    (owner / "llama").mkdir()
    (owner / "llama" / "README.md").write_text("Nothing on the main branch yet.\n")
    (fresh.path / "mine").mkdir()
    (fresh.path / "mine" / "texts.txt").write_text("\n".join(texts()) + "\n")
    study = yaml.safe_load((fresh.path / "studies" / "pair.yaml").read_text())
    study["models"] = {
        "one": {"hub": "owner/qwen", "revision": "main"},
        "other": {"hub": "owner/llama", "revision": "v1.0"},
    }
    study["datasets"] = {"texts": {"path": "mine/texts.txt"}}
    (fresh.path / "tests" / "workflow" / "small.yaml").write_text(yaml.safe_dump(study))
    with LocalHub(tmp_path / "served") as hub:
        for name, value in hub.environment(tmp_path / "home").items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub


def test_two_models_of_a_hub_are_fetched_once_and_compared(fresh, hub):
    fresh.snakemake()
    asked = len(hub.requests)
    names = ["config.json", "generation_config.json", "model.safetensors"]
    names += ["tokenizer.json", "tokenizer_config.json"]
    assert sorted(hub.downloads()) == sorted(names * 2)

    for model, revision in (("qwen", "main"), ("llama", "v1.0")):
        folder = fresh.path / "resources" / "models" / f"owner--{model}" / revision
        record = json.loads((folder / "retrieved.json").read_text())
        commit = hub.repositories.at("models", f"owner/{model}", revision).commit
        assert record["commit"] == commit
    results = fresh.path / "results" / "pair"
    table = pd.read_csv(results / "tables" / "similarity.csv")
    assert set(table["metric"]) == {"procrustes", "cka", "knn"}
    cka = table[table["metric"] == "cka"]
    assert (cka["layer_reference"].max(), cka["layer_candidate"].max()) == (2, 3)
    page = (results / "report" / "index.html").read_text()
    assert "one-other" in page
    # dimensions have no counterparts between models of different widths
    assert "does not apply: dimension-wise correlation needs models of equal width" in page
    assert (results / "finished.json").exists()

    second = fresh.snakemake()
    assert "Nothing to be done" in second.stdout + second.stderr
    assert len(hub.requests) == asked

    # the token was sent, and is nowhere
    assert {request.token for request in hub.requests if not request.of_store} == {TOKEN}
    written = [
        path
        for folder in ("results", "resources", ".snakemake")
        for path in (fresh.path / folder).rglob("*")
        if path.is_file()
    ]
    assert len(written) > 50
    assert [path for path in written if TOKEN.encode() in path.read_bytes()] == []

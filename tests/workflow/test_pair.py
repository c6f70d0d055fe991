"""`studies/pair.yaml` on two model folders of one's own: what most people come for."""

import json
import shutil
from pathlib import Path

import h5py
import pandas as pd
import pytest
import yaml

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

"""`studies/pair.yaml` on two models of one's own, folders or a hub's: what most people come for."""

import json
import shutil
import sys
from dataclasses import replace
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


TOKEN = "hf_test0123456789abcdefghijklmnop"


def configure(folder: Path, models: dict) -> None:
    """Give the ten lines of studies/pair.yaml other models, and a file of texts."""
    study = yaml.safe_load((folder / "studies" / "pair.yaml").read_text())
    assert set(study["models"]) == set(models)
    study |= {"models": models, "datasets": {"texts": {"path": "mine/texts.txt"}}}
    (folder / "tests" / "workflow" / "small.yaml").write_text(yaml.safe_dump(study))
    (folder / "mine").mkdir(exist_ok=True)
    (folder / "mine" / "texts.txt").write_text("\n".join(texts()) + "\n")


QWEN = {"hub": "owner/qwen", "revision": "main"}
LLAMA = {"hub": "owner/llama", "revision": "v1.0"}


@pytest.fixture(scope="module")
def from_the_hub(fresh_for_all, tmp_path_factory):
    """The study of two models of a hub, one at a named revision, run to its end; and the hub."""
    root = tmp_path_factory.mktemp("hub")
    owner = root / "served" / "models" / "owner"
    save_model(owner / "qwen", seed=0)
    save_llama(owner / "llama@v1.0", seed=1)
    (owner / "llama").mkdir()
    (owner / "llama" / "README.md").write_text("Nothing on the main branch yet.\n")
    configure(fresh_for_all.path, {"one": QWEN, "other": LLAMA})
    with LocalHub(root / "served") as hub, pytest.MonkeyPatch.context() as patched:
        hub.set_environment(patched, root / "home")
        patched.setenv("HF_TOKEN", TOKEN)
        fresh_for_all.snakemake()
        yield fresh_for_all, hub


def test_two_models_of_a_hub_are_fetched_once_and_compared(from_the_hub):
    study, hub = from_the_hub
    asked = len(hub.requests)
    names = ["config.json", "generation_config.json", "model.safetensors"]
    names += ["tokenizer.json", "tokenizer_config.json"]
    assert sorted(hub.downloads()) == sorted(names * 2)

    for model, revision in (("qwen", "main"), ("llama", "v1.0")):
        folder = study.path / "resources" / "models" / f"owner--{model}" / revision
        record = json.loads((folder / "retrieved.json").read_text())
        commit = hub.repositories.at("models", f"owner/{model}", revision).commit
        assert record["commit"] == commit
    results = study.path / "results" / "pair"
    table = pd.read_csv(results / "tables" / "similarity.csv")
    assert set(table["metric"]) == {"procrustes", "cka", "knn"}
    cka = table[table["metric"] == "cka"]
    assert (cka["layer_reference"].max(), cka["layer_candidate"].max()) == (2, 3)
    page = (results / "report" / "index.html").read_text()
    assert "one-other" in page
    # dimensions have no counterparts between models of different widths
    assert "does not apply: dimension-wise correlation needs models of equal width" in page
    assert (results / "finished.json").exists()

    second = study.snakemake()
    assert "Nothing to be done" in second.stdout + second.stderr
    assert len(hub.requests) == asked

    # the token was sent, and is nowhere
    assert {request.token for request in hub.requests if not request.of_store} == {TOKEN}
    written = [
        path
        for folder in ("results", "resources", ".snakemake")
        for path in (study.path / folder).rglob("*")
        if path.is_file()
    ]
    assert len(written) > 50
    assert [path for path in written if TOKEN.encode() in path.read_bytes()] == []


def test_a_folder_in_place_of_one_of_them_is_compared_by_every_metric(from_the_hub, tmp_path):
    finished, hub = from_the_hub
    asked = len(hub.requests)
    pair = replace(finished, path=tmp_path / "repository")
    shutil.copytree(finished.path, pair.path, symlinks=True)
    save_model(pair.path / "mine" / "other", seed=1)
    configure(pair.path, {"one": QWEN, "other": {"path": "mine/other"}})
    extracted = (pair.path / "results" / "pair" / "activations" / "one" / "texts.h5").stat()

    # what is known of the other model is not made again
    pair.snakemake()
    results = pair.path / "results" / "pair"
    assert len(hub.requests) == asked
    assert (results / "activations" / "one" / "texts.h5").stat().st_mtime == extracted.st_mtime
    table = pd.read_csv(results / "tables" / "similarity.csv")
    assert set(table["metric"]) == {"correlation", "procrustes", "cka", "knn"}
    assert set(table["pair"]) == {"one-other"}
    same = table[(table["metric"] == "cka") & (table["layer_reference"] == 2)]
    assert same["value"].between(0, 1).any()
    page = (results / "report" / "index.html").read_text()
    files = list(results.glob("activations/*/*.h5"))
    assert len(files) == 2
    for place in (str(finished.path), str(pair.path)):
        assert place not in page
        for file in files:
            with h5py.File(file) as activations:
                assert not any(place in str(value) for value in activations.attrs.values())
    assert pair.plan().counts == {}

    # touching the weights does nothing, other weights are extracted again
    weights = pair.path / "mine" / "other" / "model.safetensors"
    weights.touch()
    assert pair.plan().counts == {}
    weights.write_bytes((results / "models" / "one" / "model.safetensors").read_bytes())
    plan = pair.plan()
    assert plan.counts["materialise"] == plan.counts["extract"] == 1
    record = json.loads((results / "models" / "other" / "record.json").read_text())
    assert record["recipe"] == "path"

"""The recipes as rules: mining, adapters, merges, quantisation, a set from a file."""

import json

import pandas as pd
import pytest
import yaml

pytestmark = pytest.mark.slow

RECIPES = {
    "sft": {
        "steps": 3,
        "batch_size": 4,
        "packing": True,
        "lora": {"rank": 2, "alpha": 4, "dropout": 0.0},
    },
    "contrastive": {
        "steps": 3,
        "batch_size": 8,
        "micro_batch": 4,
        "warmup_steps": 1,
        "negatives": 2,
        "data": ["pairs", "facts"],
    },
}
MODELS = {
    "base": {"recipe": "pretrain", "checkpoints": {"steps": [4]}},
    "sft": {"recipe": "sft", "parent": "base"},
    "merged": {"recipe": "merge", "parent": "sft", "second": "base", "method": "slerp"},
    "random": {"recipe": "reinitialised", "parent": "base"},
    "miner": {"recipe": "contrastive", "parent": "base", "negatives": 0},
    "emb": {"recipe": "contrastive", "parent": "merged"},
    "emb-small": {"recipe": "quantised", "parent": "emb", "type": "Q8_0"},
}


@pytest.fixture(scope="module")
def trained(fresh_for_all):
    """Every model of the study, and no more of it."""
    path = fresh_for_all.path
    small = path / "tests" / "workflow" / "small.yaml"
    study = yaml.safe_load(small.read_text())
    study["recipes"] |= RECIPES
    study["models"] = MODELS
    study["mining"] = {"model": "miner", "negatives": 2}
    study["training_sets"] = {
        "facts": {
            "path": "facts.jsonl",
            "query": "ask",
            "document": "{say}.",
            "instruction": "Find the fact",
        }
    }
    rows = [{"ask": f"what is {i}", "say": f"number {i} of {i % 7}"} for i in range(40)]
    rows += [rows[0], {"ask": "", "say": "nothing"}]
    (path / "facts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    study["pairs"] = [
        {"name": "merge", "reference": "base", "candidate": "merged"},
        {"name": "bits", "reference": "emb", "candidate": "emb-small"},
    ]
    study["benchmarks"] = {}
    small.write_text(yaml.safe_dump(study))
    fresh_for_all.snakemake(*(f"results/small/models/{name}/record.json" for name in MODELS))
    return path / "results" / "small"


def record(results, name):
    return json.loads((results / "models" / name / "record.json").read_text())


def test_negatives_are_mined_for_each_training_set_and_can_be_read(trained):
    mined = pd.read_parquet(trained / "datasets" / "mined" / "facts.parquet")
    assert len(mined) == 42
    scored = mined[mined["negatives"].map(len) > 0]
    assert len(scored) > 10
    for row in scored.itertuples():
        assert max(row.negative_scores) <= row.positive_score - 0.05 * abs(row.positive_score)


def test_what_was_dropped_or_lacked_is_in_the_record(trained):
    data = record(trained, "emb")["data"]
    assert data["examples"] > 40
    assert data["dropped_duplicate"] > 0
    assert data["short_lists"] >= 0
    assert record(trained, "sft")["lora"]["rank"] == 2


def test_variants_say_what_they_were_made_from(trained):
    assert record(trained, "merged")["parent"] == "sft"
    assert record(trained, "merged")["sha256"] != record(trained, "sft")["sha256"]
    assert record(trained, "random")["relative_weight_change"] > 0.5
    small = record(trained, "emb-small")
    assert small["attention"] == "bidirectional"
    assert 0 < small["relative_weight_change"] < 0.02
    assert (trained / "models" / "emb-small" / "1_Pooling" / "config.json").exists()


def test_pretraining_exposes_checkpoints_too(trained):
    (step,) = record(trained, "base")["checkpoints"]
    assert step == "4"
    assert (trained / "models" / "base" / "checkpoints" / "4" / "model.safetensors").exists()


def test_nothing_is_left_to_go_on_from(trained):
    assert not list(trained.glob("checkpoints/*"))

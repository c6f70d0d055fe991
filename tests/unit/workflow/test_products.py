"""Which figures a study has, and what its models are to them."""

import pytest

from hrsa_workflow import products
from hrsa_workflow.config import load_config
from hrsa_workflow.study import Study


def made(config, **changes):
    return Study(load_config(config | changes), code=lambda script: script)


def kinds(config):
    return products.model_kinds(made(config))


def test_a_model_from_outside_is_a_base_unless_a_pair_says_otherwise(study):
    study["models"] |= {
        "qwen": {"hub": "owner/qwen"},
        "tuned": {"hub": "owner/tuned"},
        "tuned-emb": {"recipe": "contrastive", "parent": "tuned"},
        "miner": {"hub": "owner/miner"},
    }
    study["pairs"].append(
        {"name": "outside", "kind": "rlvr", "reference": "qwen", "candidate": "tuned"}
    )
    found = kinds(study)
    assert {name: found[name] for name in ("qwen", "tuned", "tuned-emb", "miner")} == {
        "qwen": "base",
        "tuned": "rlvr",
        "tuned-emb": "rlvr",
        "miner": "base",
    }
    assert found["sft-emb"] == "sft"


def test_merges_and_new_weights_are_of_no_kind_of_training(study):
    study["models"] |= {
        "random": {"recipe": "reinitialised", "parent": "sft.s0"},
        "both": {"recipe": "merge", "parent": "sft.s0", "second": "base"},
        "both-emb": {"recipe": "contrastive", "parent": "both"},
        "small": {"recipe": "quantised", "parent": "sft.s0"},
    }
    found = kinds(study)
    assert [found[name] for name in ("random", "both", "both-emb")] == ["other"] * 3
    assert found["small"] == "sft"


def test_variants_of_embedding_models_are_embedding_models(study):
    study["models"]["small"] = {"recipe": "quantised", "parent": "sft-emb.s0"}
    study["models"]["small-sft"] = {"recipe": "quantised", "parent": "sft.s0"}
    assert products.embedding_models(made(study)) == ["base-emb", "sft-emb", "small"]


@pytest.fixture
def followed(study):
    study["models"]["sft"] |= {"checkpoints": {"steps": [5]}}
    return study


def figure_names(config):
    return [figure.name for figure in products.figures(made(config))]


def test_dynamics_are_drawn_where_embedding_models_are_followed(followed):
    followed["pairs"][0]["checkpoints"] = True  # of language models
    assert "dynamics" not in figure_names(followed)
    pair = {"name": "emb", "kind": "sft", "reference": "base-emb", "candidate": "sft-emb"}
    followed["pairs"].append(pair | {"checkpoints": True})
    assert "dynamics" in figure_names(followed)


def test_the_final_step_is_that_of_the_models_that_are_followed(followed):
    pair = {"name": "emb", "kind": "sft", "reference": "base-emb", "candidate": "sft-emb"}
    followed["pairs"].append(pair | {"checkpoints": True})
    followed["models"]["miner"] = {"recipe": "contrastive", "parent": "base", "steps": 7}
    assert products.final_step(made(followed)) == 160
    followed["models"]["sft-emb"]["steps"] = 150
    assert products.final_step(made(followed)) is None


def test_differences_are_drawn_after_the_scores_where_two_models_of_a_pair_are_scored(study):
    study["benchmarks"] = {"tasks": ["TopicRetrieval"], "models": ["base-emb", "sft-emb"]}
    assert figure_names(study)[-2:] == ["benchmarks", "reanalysis"]
    pair = {"name": "emb", "kind": "sft", "reference": "base-emb", "candidate": "sft-emb"}
    study["pairs"].append(pair)
    assert figure_names(study)[-3:] == ["benchmarks", "differences", "reanalysis"]


def test_published_numbers_are_tested_in_every_study_by_a_rule_of_their_own(study):
    found = made(study)
    own = set(products.published_table_files(found).values())
    assert "results/tiny/tables/reanalysis.csv" in own
    assert own.isdisjoint(products.joined_table_files(found).values())
    joined = set(products.joined_table_files(found).values())
    claims = set(products.claims_files(found).values())
    assert own | joined | claims == set(products.table_files(found).values())
    assert figure_names(study)[-1] == "reanalysis"

"""A model with seeds is several instances, and a pair of bare names is matched by seed."""

import pytest

from hrsa_workflow.config import load_config
from hrsa_workflow.instances import build_instances, expand_pair, parse_reference


def comparisons(study, **pair):
    study["pairs"] = [{"name": "pair", **pair}]
    config = load_config(study)
    return [
        (one.reference, one.candidate, one.seed, one.step)
        for one in expand_pair(config, config["pairs"][0]).comparisons
    ]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("base", ("base", None, None)),
        ("base-emb.s1", ("base-emb", 1, None)),
        ("base-emb.s1@20", ("base-emb", 1, 20)),
        ("base@20", ("base", None, 20)),
        ("v1.5-small", ("v1.5-small", None, None)),
    ],
)
def test_a_reference_is_name_seed_and_step(text, parts):
    assert parse_reference(text) == parts


def test_each_seed_is_an_instance_with_the_parent_of_its_seed(study):
    instances = build_instances(load_config(study))
    assert list(instances) == [
        *("base", "base-emb.s0", "base-emb.s1", "base-emb.s2"),
        *("sft.s0", "sft.s1", "sft-emb.s0", "sft-emb.s1"),
    ]
    assert instances["sft-emb.s1"].parent == "sft.s1"
    assert instances["base-emb.s2"].parent == "base"
    assert instances["base-emb.s0"].checkpoints == (20, 40)
    assert instances["base-emb.s1"].checkpoints == ()


def test_a_model_without_seeds_is_trained_with_the_study_seed(study):
    instances = build_instances(load_config(study | {"seed": 7}))
    assert instances["base"].train_seed == 7
    assert instances["sft.s1"].train_seed == 1


def test_a_model_overrides_its_recipe(study):
    study["recipes"] = {
        "pretrain": {"steps": 10, "learning_rate": 5e-3, "architecture": {"layers": 3}}
    }
    study["models"]["base"] |= {"batch_size": 2}
    settings = build_instances(load_config(study))["base"].settings
    assert (settings["steps"], settings["batch_size"], settings["learning_rate"]) == (10, 2, 5e-3)
    assert settings["architecture"]["layers"] == 3
    assert settings["architecture"]["width"] == 128


def test_bare_names_are_matched_by_seed(study):
    assert comparisons(study, reference="base-emb", candidate="sft-emb") == [
        ("base-emb.s0", "sft-emb.s0", 0, None),
        ("base-emb.s1", "sft-emb.s1", 1, None),
    ]


def test_a_model_without_seeds_is_compared_with_every_seed(study):
    assert comparisons(study, reference="base", candidate="sft") == [
        ("base", "sft.s0", 0, None),
        ("base", "sft.s1", 1, None),
    ]


def test_a_named_seed_is_one_comparison_listed_under_the_candidates_seed(study):
    found = comparisons(study, reference="sft.s0", candidate="sft.s1")
    assert found == [("sft.s0", "sft.s1", 1, None)]


def test_a_named_seed_is_compared_with_every_seed_of_a_bare_name(study):
    assert comparisons(study, reference="base-emb.s2", candidate="sft-emb") == [
        ("base-emb.s2", "sft-emb.s0", 0, None),
        ("base-emb.s2", "sft-emb.s1", 1, None),
    ]


def test_checkpoints_are_the_steps_that_both_sides_have(study):
    found = comparisons(study, reference="base-emb", candidate="sft-emb", checkpoints=True)
    assert found == [
        ("base-emb.s0@40", "sft-emb.s0@40", 0, 40),
        ("base-emb.s0", "sft-emb.s0", 0, None),
        ("base-emb.s1", "sft-emb.s1", 1, None),
    ]


def test_checkpoints_of_the_candidate_alone_are_compared_with_the_final_reference(study):
    found = comparisons(study, reference="base", candidate="sft-emb.s0", checkpoints=True)
    assert found == [
        ("base", "sft-emb.s0@40", 0, 40),
        ("base", "sft-emb.s0@80", 0, 80),
        ("base", "sft-emb.s0", 0, None),
    ]


def test_a_checkpoint_can_be_named(study):
    found = comparisons(study, reference="base-emb.s0", candidate="base-emb.s0@20")
    assert found == [("base-emb.s0", "base-emb.s0@20", 0, 20)]


@pytest.mark.parametrize(
    ("pair", "stage"),
    [
        ({"reference": "base", "candidate": "sft"}, "backbone"),
        ({"reference": "base", "candidate": "base-emb"}, "embedding"),
        ({"reference": "base", "candidate": "sft", "stage": "embedding"}, "embedding"),
    ],
)
def test_the_stage_is_that_of_the_candidate_unless_the_pair_says(study, pair, stage):
    study["pairs"] = [{"name": "pair", **pair}]
    config = load_config(study)
    assert expand_pair(config, config["pairs"][0]).stage == stage

"""The smoke scale keeps a study's structure, however its seeds and batches are written."""

from hrsa_workflow.config import load_config
from hrsa_workflow.study import Study

RLVR = {"recipe": "rlvr", "parent": "base", "loss_type": "grpo"}


def smoke(config, **limits):
    config = config | {"scale": "smoke", "smoke": limits}
    return Study(load_config(config), code=lambda script: script)


def seeds_of(study, model):
    return [one.seed for one in study.instances.values() if one.model == model]


def test_a_parent_keeps_the_seeds_of_the_children_that_are_kept(study):
    study["models"]["sft"]["seeds"] = [0, 1]
    study["models"]["sft-emb"] = {"recipe": "contrastive", "parent": "sft", "seeds": [1, 0]}
    study["models"]["small"] = {"recipe": "quantised", "parent": "sft-emb", "seeds": [1]}
    found = smoke(study, seeds=1)
    assert seeds_of(found, "sft-emb") == [1]
    assert seeds_of(found, "sft") == [0, 1]
    assert found.instances["sft-emb.s1"].parent == "sft.s1"


def test_the_other_side_of_a_merge_keeps_its_seeds_too(study):
    study["models"]["other"] = {"recipe": "sft", "parent": "base", "seeds": [3, 1]}
    merge = {"recipe": "merge", "parent": "sft", "second": "other", "seeds": [1]}
    study["models"]["both"] = merge
    assert smoke(study, seeds=1).instances["both.s1"].second == "other.s1"


def test_a_pair_of_bare_names_keeps_a_seed_to_match_by(study):
    study["models"]["a"] = {"recipe": "sft", "parent": "base", "seeds": [0, 2]}
    study["models"]["b"] = {"recipe": "sft", "parent": "base", "seeds": [1, 2]}
    study["pairs"] = [{"name": "ab", "kind": "sft", "reference": "a", "candidate": "b"}]
    found = smoke(study, seeds=1)
    assert [one.candidate for one in found.pairs["ab"].comparisons] == ["b.s2"]
    assert seeds_of(found, "a") == [0, 2]


def test_what_a_seed_kept_for_a_pair_needs_is_kept_as_well(study):
    study["models"]["sft"]["seeds"] = [0, 1, 2]
    for name, seeds in (("a", [0, 2]), ("b", [1, 2])):
        study["models"][name] = {"recipe": "contrastive", "parent": "sft", "seeds": seeds}
    study["pairs"] = [{"name": "ab", "kind": "sft", "reference": "a", "candidate": "b"}]
    assert seeds_of(smoke(study, seeds=1), "sft") == [0, 1, 2]
    study["pairs"][0]["reference"] = "a.s0"
    assert seeds_of(smoke(study, seeds=1), "sft") == [0, 1]


def test_a_micro_batch_still_divides_the_smaller_batch(study):
    study["recipes"] = {"sft": {"micro_batch": 6, "batch_size": 12}}
    study["models"]["rlvr"] = RLVR | {"prompts_per_step": 9, "completions": 4, "micro_batch": 12}
    found = smoke(study, batch_size=8, prompts_per_step=2, completions=4)
    assert found.training_settings("sft.s0")["micro_batch"] == 2
    assert found.training_settings("rlvr")["micro_batch"] == 4
    assert found.training_settings("base-emb.s0")["micro_batch"] is None


def test_every_problem_that_was_tried_is_kept(study):
    bounds = {"problems": 100, "samples": 8, "low": 0.1, "high": 0.9}
    study["models"]["rlvr"] = RLVR | {"difficulty": bounds}
    tried = smoke(study, problems=9).training_settings("rlvr")["difficulty"]
    assert tried == {"problems": 9, "samples": 8, "low": 0.0, "high": 1.0}


def test_a_named_checkpoint_moves_whatever_the_model_is_called(study):
    study["models"]["a.small"] = study["models"]["base-emb"]
    study["pairs"].append({"name": "p", "reference": "base-emb.s0", "candidate": "a.small.s0@40"})
    (comparison,) = smoke(study, steps=6).pairs["p"].comparisons
    assert comparison.candidate == "a.small.s0@2"

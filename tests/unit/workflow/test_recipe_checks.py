"""Mistakes in a recipe's settings are told when the study is read, not hours later in a job."""

import json

import pytest

from hrsa.errors import UserError
from hrsa_workflow.config import load_config


def refused(config, match):
    with pytest.raises(UserError, match=match):
        load_config(config)


@pytest.fixture
def embedding(study, tmp_path):
    """A study with a training set from outside; its embedding model of one seed."""
    (tmp_path / "pairs.jsonl").write_text(json.dumps({"q": "a", "d": "b"}))
    nq = {"path": str(tmp_path / "pairs.jsonl"), "query": "q", "document": "d"}
    study["training_sets"] = {"nq": nq}
    study["models"]["base-emb"]["data"] = ["pairs", "nq"]
    return study


@pytest.mark.parametrize(
    ("shares", "match"),
    [
        ({"pairs": 0.5, "nq": 0.5}, "names `pairs`.*pairs-text, pairs-word, nq"),
        ({"pairs-text": 1, "pairs-word": 1}, "does not name `nq`"),
        ({"pairs-text": 1, "pairs-word": 1, "nq": 1, "nli": 1}, "names `nli`"),
        ({"pairs-text": 1, "pairs-word": 1, "nq-text": 1}, "names `nq-text`"),
        ({"pairs-text": 0, "pairs-word": 0, "nq": 0}, "is 0 for every set"),
    ],
)
def test_shares_are_of_the_sets_that_are_trained_on(embedding, shares, match):
    embedding["models"]["base-emb"]["shares"] = shares
    refused(embedding, match)


def test_shares_of_all_sets_are_taken(embedding):
    shares = {"pairs-text": 0.5, "pairs-word": 0, "nq": 0.5}
    embedding["models"]["base-emb"]["shares"] = shares
    load_config(embedding)


@pytest.mark.parametrize(
    ("without", "match"),
    [
        (["pairs"], "names `pairs`.*allowed: pairs-text, pairs-word, nq"),
        (["pairs-text", "pairs-word", "nq"], "names every set.*negatives: 0"),
    ],
)
def test_sets_without_hard_negatives_are_some_of_those_trained_on(embedding, without, match):
    models = embedding["models"]
    models["miner"] = {"recipe": "contrastive", "parent": "base"}
    embedding["mining"] = {"model": "miner"}
    models["base-emb"] |= {"negatives": 1, "without_negatives": ["pairs-word", "nq"]}
    load_config(embedding)
    models["base-emb"]["without_negatives"] = without
    refused(embedding, match)


@pytest.mark.parametrize(
    "template", ["query: {query}", "{instruction}\n{query}", "{instruction} x"]
)
def test_a_template_has_an_instruction_and_ends_with_the_query(embedding, template):
    embedding["models"]["base-emb"]["query_template"] = template
    refused(embedding, "`models.base-emb.query_template`.*must hold")
    del embedding["models"]["base-emb"]["query_template"]
    embedding["models"]["miner"] = {"recipe": "contrastive", "parent": "base"}
    embedding["mining"] = {"model": "miner", "query_template": template}
    refused(embedding, "`mining.query_template`.*must hold")


@pytest.mark.parametrize("loss_type", ["psr", "nsr"])
def test_an_objective_of_right_and_wrong_alone_has_no_reward_for_form(study, loss_type):
    rlvr = {"recipe": "rlvr", "parent": "base", "loss_type": loss_type, "format_weight": 0.2}
    study["models"]["rlvr"] = rlvr
    refused(study, f"`models.rlvr` has `loss_type: {loss_type}`.*`format_weight: 0.2`")
    rlvr["loss_type"] = "grpo"
    load_config(study)


def test_a_micro_batch_divides_what_a_process_has_of_the_batch(study):
    sft = study["models"]["sft"]
    sft |= {"batch_size": 16, "micro_batch": 3}
    refused(study, "`micro_batch` is 3, which does not divide the 16.*allowed: 1, 2, 4, 8, 16")
    sft |= {"micro_batch": 8, "gpus": 4}  # as many as each has, or more
    load_config(study)
    sft["gpus"] = 3
    refused(study, "`batch_size` is 16, which 3 GPUs")
    study["models"]["sft"] = {"recipe": "sft", "parent": "base", "seeds": [0, 1]}
    rlvr = {"recipe": "rlvr", "parent": "base", "loss_type": "grpo", "micro_batch": 5}
    study["models"]["rlvr"] = rlvr | {"prompts_per_step": 4, "completions": 4}
    refused(study, "`prompts_per_step` times `completions`")


def test_a_micro_batch_of_cached_gradients_may_be_any(study):
    study["models"]["base-emb"] |= {"batch_size": 16, "micro_batch": 3}
    load_config(study)


def test_a_variant_of_a_missing_parent_is_told_with_the_nearest_name(study):
    study["models"]["small"] = {"recipe": "quantised", "parent": "bas"}
    study["models"]["tuned"] = {"recipe": "sft", "parent": "small"}
    refused(study, "`models.small.parent` is `bas`, but there is no model.*Did you mean `base`")

"""What models are trained on: names, roles, who mines, which objective; and what smoke leaves."""

import json

import pytest

from hrsa.errors import UserError
from hrsa_workflow.config import load_config
from hrsa_workflow.study import Study
from hrsa_workflow.training_data import (
    difficulty_parents,
    difficulty_settings,
    mined_sets,
    mining_part,
    source_file,
)


def made(config, **changes):
    return Study(load_config(config | changes), code=lambda script: script)


def refused(config, match):
    with pytest.raises(UserError, match=match):
        load_config(config)


@pytest.fixture
def pairs_file(tmp_path):
    file = tmp_path / "pairs.jsonl"
    file.write_text(json.dumps({"q": "a", "d": "b", "n": ["c"]}))
    return str(file)


@pytest.fixture
def mining(study):
    study["models"]["miner"] = {"recipe": "contrastive", "parent": "base"}
    study["models"]["base-emb"]["negatives"] = 3
    study["mining"] = {"model": "miner"}
    return study


def test_negatives_are_mined_once_for_each_training_set_that_has_none(mining, pairs_file):
    nq = {"path": pairs_file, "query": "q", "document": "d", "instruction": "Find it"}
    mining["training_sets"] = {"nq": nq, "own": nq | {"negatives": "n"}}
    mining["models"]["base-emb"]["data"] = ["pairs", "nq", "own"]
    found = made(mining)
    assert mined_sets(found) == ["nq", "pairs"]
    assert found.miner == "miner"
    assert found.training_files("base-emb.s0") == [
        "results/tiny/datasets/mined/pairs.parquet",
        "results/tiny/datasets/mined/nq.parquet",
        "results/tiny/datasets/training/own.parquet",
    ]
    assert found.training_files("miner") == ["results/tiny/datasets/corpus/pairs.parquet"]
    assert mining_part(found, "nq")["instruction"] == "Find it"
    assert found.training_settings("base-emb.s0")["instructions"] == {
        "nq": "Find it",
        "own": "Find it",
    }


def test_a_margin_stales_what_is_trained_on_mined_negatives_and_not_the_miner(mining):
    before = made(mining)
    after = made(mining, mining={"model": "miner", "relative_margin": 0.1})
    assert before.training_parts("base-emb.s0") != after.training_parts("base-emb.s0")
    assert before.training_parts("miner") == after.training_parts("miner")


def test_an_instruction_is_no_part_of_the_texts(study, pairs_file):
    nq = {"path": pairs_file, "query": "q", "document": "d"}
    study["models"]["base-emb"]["data"] = ["nq"]
    before = made(study, training_sets={"nq": nq})
    after = made(study, training_sets={"nq": nq | {"instruction": "Find it"}})
    assert before.training_parts("base-emb.s0") == after.training_parts("base-emb.s0")
    assert before.training_settings("base-emb.s0") != after.training_settings("base-emb.s0")


def test_negatives_without_a_miner_are_refused(study):
    study["models"]["base-emb"]["negatives"] = 3
    refused(study, r"asks for 3 hard negatives.*`mining: \{model")


def test_more_negatives_than_are_mined_are_refused(mining):
    mining["models"]["base-emb"]["negatives"] = 5
    refused(mining, "more than the 3 that `mining.negatives`")


@pytest.mark.parametrize(
    ("miner", "match"),
    [
        ("base", "is no embedding model"),
        ("base-emb.s0", "itself trained on mined negatives"),
        ("minr", "no model `minr`.*Did you mean `miner`"),
        ("base-emb", "several seeds"),
    ],
)
def test_who_cannot_mine(mining, miner, match):
    mining["mining"]["model"] = miner
    refused(mining, match)


@pytest.mark.parametrize(
    "made_from",
    [
        {"recipe": "contrastive", "parent": "base-emb.s0", "negatives": 0},
        {"recipe": "merge", "parent": "miner", "second": "base-emb.s1"},
        {"recipe": "quantised", "parent": "base-emb.s0"},
    ],
)
def test_what_is_made_from_mined_negatives_cannot_mine_them(mining, made_from):
    mining["models"]["again"] = made_from
    mining["mining"]["model"] = "again"
    refused(mining, "`again`, which is itself trained on mined negatives, being made from `base-")


def test_a_model_that_is_trained_on_negatives_of_its_sets_can_mine(mining, pairs_file):
    own = {"path": pairs_file, "query": "q", "document": "d", "negatives": "n"}
    mining["training_sets"] = {"own": own}
    mining["models"]["miner"] |= {"negatives": 1, "data": ["own"]}
    assert mined_sets(made(mining)) == ["pairs"]


def test_a_miner_of_the_study_reads_queries_as_it_was_trained_to(mining, pairs_file):
    nq = {"path": pairs_file, "query": "q", "document": "d", "instruction": "Find it"}
    mining["training_sets"] = {"nq": nq}
    mining["models"]["base-emb"]["data"] = ["pairs", "nq"]
    mining["models"]["miner"] |= {
        "query_template": "Do {instruction}: {query}",
        "instruction": "Look",
    }
    mining["models"]["small-miner"] = {"recipe": "quantised", "parent": "miner"}
    for miner in ("miner", "small-miner"):
        mining["mining"]["model"] = miner
        found = {name: mining_part(made(mining), name) for name in ("pairs", "nq")}
        assert [part["instruction"] for part in found.values()] == ["Look", "Find it"]
        assert {part["query_template"] for part in found.values()} == {"Do {instruction}: {query}"}
    mining["mining"]["query_template"] = "{instruction} {query}"
    assert mining_part(made(mining), "nq")["query_template"] == "{instruction} {query}"


def test_an_instruction_that_a_miner_does_not_read_does_not_mine_again(mining, pairs_file):
    nq = {"path": pairs_file, "query": "q", "document": "d"}
    mining["models"]["miner"] = {"hub": "owner/name"}

    def part(instruction, **changes):
        sets = {"nq": nq | {"instruction": instruction}}
        config = mining | {"training_sets": sets, "mining": mining["mining"] | changes}
        return mining_part(made(config), "nq")

    assert part("Find it") == part("Look for it")
    assert "instruction" not in part("Find it")
    read = {"query_template": "{instruction} {query}"}
    assert part("Find it", **read)["instruction"] == "Find it"


def test_an_unknown_training_set_is_named_with_the_nearest(study):
    study["models"]["base-emb"]["data"] = ["pair"]
    refused(study, "Did you mean `pairs`")


def test_a_training_set_must_have_the_roles_that_a_recipe_reads(study, pairs_file):
    study["training_sets"] = {"nq": {"path": pairs_file, "query": "q", "document": "d"}}
    study["models"]["sft"]["data"] = "nq"
    refused(study, "does not say what its `question` is")
    study["training_sets"]["nq"] |= {"question": "q"}
    refused(study, "does not say what its `trace` is")
    study["models"]["sft"]["completion"] = "solution"
    refused(study, "does not say what its `solution` is")


@pytest.mark.parametrize("name", ["pairs", "prose", "test-problems", "retrieval-qrels"])
def test_a_training_set_cannot_have_the_name_of_a_corpus_file(study, pairs_file, name):
    study["training_sets"] = {name: {"path": pairs_file, "query": "q", "document": "d"}}
    refused(study, f"`{name}` stands for a file of the generated")


@pytest.mark.parametrize("recipe", ["sft", "rlvr"])
def test_accuracy_is_not_measured_on_what_a_model_is_trained_on(study, pairs_file, recipe):
    gsm = {"path": pairs_file, "question": "q", "answer": "d", "trace": "d"}
    study["training_sets"] = {"gsm": gsm, "gsm-test": gsm | {"samples": 5}}
    study["recipes"] = {"rlvr": {"loss_type": "grpo"}}
    study["models"]["tuned"] = {"recipe": recipe, "parent": "base", "data": "gsm"}
    study["accuracy"] = {"data": "gsm"}
    refused(study, "`accuracy.data` is `gsm`, which `models.tuned` is trained on.*`data_split")
    study["accuracy"] = {"data": "gsm-test"}
    assert made(study).accuracy_file() == "results/tiny/datasets/training/gsm-test.parquet"
    # the corpus keeps other problems back
    study["models"]["tuned"]["data"], study["accuracy"] = "problems", {"data": "problems"}
    load_config(study)


def test_a_training_set_says_where_it_comes_from(study):
    study["training_sets"] = {"nq": {"query": "q", "document": "d"}}
    refused(study, "`training_sets.nq` does not say where it comes from.*`path`, `hub`")


def test_a_file_of_a_training_set_must_be_there(study, tmp_path):
    path = str(tmp_path / "none.jsonl")
    study["training_sets"] = {"nq": {"path": path, "query": "q", "document": "d"}}
    refused(study, r"`training_sets.nq.path`.*there is no such file")


def test_the_objective_of_rlvr_is_always_written(study):
    study["models"]["rlvr"] = {"recipe": "rlvr", "parent": "base"}
    refused(study, "add `loss_type`, one of grpo, dapo")
    study["models"]["rlvr"]["loss_type"] = "nsr"
    assert made(study).training_settings("rlvr")["loss_type"] == "nsr"


def test_problems_are_tried_once_for_all_seeds_of_a_model(study):
    study["models"]["rlvr"] = {
        "recipe": "rlvr",
        "parent": "base",
        "seeds": [0, 1],
        "loss_type": "grpo",
        "difficulty": {"problems": 100, "samples": 8, "low": 0.1, "high": 0.9},
    }
    found = made(study)
    assert difficulty_parents(found) == [("rlvr", "base")]
    file = "results/tiny/datasets/difficulty/rlvr/base.parquet"
    assert found.training_files("rlvr.s0") == found.training_files("rlvr.s1") == [file]
    assert difficulty_settings(found, "rlvr")["problems"] == 100
    assert "needed" not in difficulty_settings(found, "rlvr")  # that is the training's matter
    smoke = made(study, scale="smoke", smoke={"problems": 9})
    assert difficulty_settings(smoke, "rlvr")["problems"] == 9
    study["models"]["rlvr"]["difficulty"] |= {"low": 0.9, "high": 0.1}
    refused(study, "Exchange `low` and `high`")


def test_adapters_need_all_of_their_settings(study):
    study["models"]["sft"]["lora"] = {"rank": 8}
    refused(study, "`models.sft.lora` lacks the key `alpha`")


def test_a_merge_is_of_two_models_of_a_kind(study):
    study["models"]["both"] = {"recipe": "merge", "parent": "sft.s0", "second": "base-emb.s0"}
    refused(study, "one is an embedding model and one is not")
    study["models"]["both"]["second"] = "sft.s1"
    found = made(study)
    assert found.instances["both"].second == "sft.s1"
    assert found.instances["both"].settings == {"method": "linear", "weight": 0.5}
    assert "both" in found.language_models


def test_a_merge_of_itself_is_a_circle(study):
    study["models"]["both"] = {"recipe": "merge", "parent": "base", "second": "both"}
    refused(study, "the parents go in a circle")


def test_variants_of_embedding_models_are_embedding_models(study):
    study["models"]["small"] = {"recipe": "quantised", "parent": "base-emb.s0", "type": "Q8_0"}
    study["pairs"].append({"name": "bits", "reference": "base-emb.s0", "candidate": "small"})
    found = made(study)
    assert found.pairs["bits"].stage == "embedding"
    assert "small" not in found.language_models
    study["models"]["more"] = {"recipe": "sft", "parent": "small"}
    refused(study, "which writes no text")


def test_a_model_from_outside_that_is_trained_further_is_tried_too(study, tmp_path):
    study["models"]["outside"] = {"hub": "owner/name"}
    assert "outside" not in made(study).language_models
    study["models"]["tuned"] = {"recipe": "sft", "parent": "outside"}
    assert "outside" in made(study).language_models


def test_variants_of_language_models_are_tried_whatever_side_they_are_made_from(study):
    study["models"] |= {
        "outside": {"hub": "owner/name"},
        "apart": {"hub": "owner/apart"},
        "tuned": {"recipe": "sft", "parent": "outside"},
        "small": {"recipe": "quantised", "parent": "outside"},
        "both": {"recipe": "merge", "parent": "apart", "second": "tuned"},
        "small-both": {"recipe": "quantised", "parent": "both"},
        "small-apart": {"recipe": "quantised", "parent": "apart"},
        "small-emb": {"recipe": "quantised", "parent": "base-emb.s0"},
    }
    found = made(study).language_models
    assert {"outside", "tuned", "small", "both", "small-both"} <= set(found)
    assert not {"apart", "small-apart", "small-emb"} & set(found)


def test_who_learnt_to_write_traces_writes_them_ever_after(study):
    rlvr = {"recipe": "rlvr", "loss_type": "grpo"}
    study["models"] |= {
        "short": {"recipe": "sft", "parent": "sft.s0", "completion": "solution"},
        "after": rlvr | {"parent": "sft.s0"},
        "alone": rlvr | {"parent": "base"},
        "small": {"recipe": "quantised", "parent": "after"},
        "both": {"recipe": "merge", "parent": "base", "second": "sft.s0"},
    }
    found = made(study)
    writing = {name for name in found.language_models if found.writes_traces(name)}
    assert writing == {"sft.s0", "sft.s1", "after", "small", "both"}


def test_a_control_of_a_model_from_outside_reads_no_problems(study):
    study["models"] |= {
        "outside": {"hub": "owner/name"},
        "tuned": {"recipe": "sft", "parent": "outside", "data": "arithmetic"},
        "control": {"recipe": "continued", "parent": "outside", "match": "tuned"},
    }
    found = made(study)
    assert found.training_names("control") == ["arithmetic", "prose", "questions"]
    assert found.training_settings("control")["pretrain"] is None
    assert source_file(found, "arithmetic") == "results/tiny/datasets/corpus/arithmetic.parquet"


def test_smoke_can_leave_out_seeds_that_nothing_names(study):
    study["smoke"] = {"seeds": 1, "steps": 3}
    study["pairs"].append({"name": "s", "reference": "base-emb.s0", "candidate": "base-emb.s2"})
    found = made(study, scale="smoke")
    assert [name for name in found.instances if name.startswith("base-emb")] == [
        "base-emb.s0",
        "base-emb.s2",
    ]
    assert found.training_settings("base-emb.s0")["steps"] == 3
    assert found.instances["base-emb.s0"].checkpoints == (1, 2)
    assert len(made(study).instances) > len(found.instances)

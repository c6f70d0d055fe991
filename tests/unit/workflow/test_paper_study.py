"""The paper's training recipe, setting by setting, as studies/paper.yaml has it."""

from pathlib import Path

import pytest
import yaml

from hrsa_workflow.config import load_config
from hrsa_workflow.study import Study
from hrsa_workflow.training_data import mining_part

FILE = Path(__file__).parents[3] / "studies" / "paper.yaml"
SETTINGS = {
    "temperature": 0.02,
    "negatives": 3,
    "query_template": "Instruct: {instruction}\nQuery: {query}",
    "max_length": 512,
    "steps": 782,
    "batch_size": 2048,
    "learning_rate": 2e-5,
    "schedule": "cosine",
    "warmup_steps": 0.03,
    "weight_decay": 0.05,
    "precision": "bfloat16",
    "gradient_checkpointing": True,
    "lora": None,
    "shares": None,
}
SAMPLES = {
    "fever": 105_893,
    "nq": 97_912,
    "nli": 277_217,
    "msmarco": 499_184,
    "quora": 94_443,
    "mrtydi": 102_796,
    "dureader": 17_493,
    "triviaqa": 65_465,
    "hotpotqa": 167_808,
    "squad": 84_494,
    "t2ranking": 90_467,
}


@pytest.fixture(scope="module")
def study():
    config = load_config(yaml.safe_load(FILE.read_text()), files=[FILE])
    return Study(config, code=lambda script: script)


@pytest.fixture(scope="module")
def settings(study):
    return study.training_settings("qwen2.5-1.5b-emb.s0")


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_of_the_paper(settings, name):
    assert settings[name] == SETTINGS[name]


@pytest.mark.parametrize("name", SAMPLES)
def test_a_training_set_of_the_paper_has_its_size_and_an_instruction(study, settings, name):
    assert study.config["training_sets"][name]["samples"] == SAMPLES[name]
    assert name in settings["data"]
    assert settings["instructions"][name]


def test_there_are_eleven_training_sets_and_three_seeds(study, settings):
    assert sorted(settings["data"]) == sorted(SAMPLES)
    assert len(study.config["models"]["qwen2.5-1.5b-emb"]["seeds"]) == 3


def test_gradients_are_cached_in_micro_batches(settings):
    assert settings["micro_batch"] * settings["gpus"] < settings["batch_size"]


def test_a_negative_scores_at_most_95_percent_of_the_positive(study):
    assert study.config["mining"]["relative_margin"] == 0.05
    assert study.config["mining"]["negatives"] == 3


def test_the_miner_reads_queries_with_the_instructions_of_the_sets(study):
    part = mining_part(study, "nq")
    assert part["query_template"] == SETTINGS["query_template"]
    assert part["instruction"] == study.config["training_sets"]["nq"]["instruction"]


def test_no_file_of_the_generated_corpus_is_needed(study):
    """Language models come ready-made; one that is trained here is tried on texts kept back."""
    assert study.language_models == []
    assert study.accuracy_file() == "results/paper/datasets/training/gsm8k-test.parquet"
    assert study.config["training_sets"]["gsm8k-test"]["data_split"] == "test"


def test_the_ablation_has_adapters_of_the_paper_s_size_and_else_the_same(study, settings):
    ablation = study.training_settings("qwen2.5-1.5b-emb-lora")
    assert ablation["lora"] == {"rank": 16, "alpha": 32, "dropout": 0.1}
    same = set(settings) - {"lora", "checkpoints"}
    assert {name: ablation[name] for name in same} == {name: settings[name] for name in same}

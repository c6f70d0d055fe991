"""What a job asks of a scheduler: its rule's number, or its estimate where that is larger."""

import subprocess
import sys
from pathlib import Path

import pytest

from hrsa_workflow.config import load_config
from hrsa_workflow.resources import RATE, JobResources
from hrsa_workflow.sizes import model_sizes
from hrsa_workflow.study import Study
from hrsa_workflow.training_costs import difficulty_cost, training_cost

LARGE = {
    "study": "large",
    "models": {
        "base": {"hub": "owner/Model-7B"},
        "unknown": {"hub": "owner/model"},
        "sft": {"recipe": "sft", "parent": "base", "steps": 1000, "max_length": 2048},
        "rlvr": {
            "recipe": "rlvr",
            "parent": "base",
            "loss_type": "grpo",
            "max_completion_tokens": 2000,
            "difficulty": {"problems": 5000, "samples": 8, "low": 0.1, "high": 0.9},
        },
        "small": {"recipe": "quantised", "parent": "base"},
        "odd": {"recipe": "sft", "parent": "unknown"},
    },
    "datasets": {"topics": {"generator": "topics"}},
    "pairs": [{"name": "p", "kind": "sft", "reference": "base", "candidate": "sft"}],
}


def asked(config):
    return JobResources(made(config))


def made(config):
    return Study(load_config(config), code=lambda script: script)


def test_small_jobs_ask_for_what_their_rule_says(study):
    found = asked(study)
    assert found.mem_mb("sft", "sft.s0", 4000) == 4000
    assert found.runtime("sft", "sft.s0", 120) == 120
    assert found.mem_mb("extract", "base", 8000) == 8000


def test_large_jobs_ask_for_their_estimate():
    study = made(LARGE)
    found = JobResources(study)
    cost = training_cost(study, "sft", model_sizes(study)["sft"])
    memory = found.mem_mb("sft", "sft", 4000)
    assert 0 <= memory * 1e6 - cost.memory.value < 500e6
    assert memory % 500 == 0
    assert memory > 7e9 * 16 / 1e6
    minutes = found.runtime("sft", "sft", 1)
    assert minutes == pytest.approx(cost.operations.value / RATE / 60, abs=1)
    for rule, name in (("extract", "sft"), ("accuracy", "sft"), ("quantised", "small")):
        assert found.mem_mb(rule, name, 4000) > 28000


def test_several_gpus_take_as_much_memory_each_and_share_the_time():
    alone = asked(LARGE)
    sft = LARGE["models"]["sft"] | {"gpus": 4, "micro_batch": 8}
    models = LARGE["models"] | {"sft": sft}
    together = asked(LARGE | {"models": models})
    assert together.mem_mb("sft", "sft", 0) > 3 * 7e9 * 16 / 1e6
    assert together.runtime("sft", "sft", 0) == pytest.approx(
        alone.runtime("sft", "sft", 0) / 4, abs=1
    )


def test_what_is_written_token_by_token_is_reckoned_with_more_time():
    study = made(LARGE)
    found = JobResources(study)
    operations = difficulty_cost(study, "rlvr", "base", model_sizes(study)).value
    minutes = found.runtime("difficulty", "base", 1)
    assert minutes > 1.5 * operations / RATE / 60
    assert found.mem_mb("difficulty", "base", 0) > 28000


def test_a_model_of_unknown_size_asks_for_what_its_rule_says():
    found = asked(LARGE)
    assert (found.mem_mb("sft", "odd", 4000), found.runtime("sft", "odd", 120)) == (4000, 120)


def test_nothing_is_estimated_before_a_job_asks():
    code = (
        "import sys\n"
        "from hrsa_workflow.resources import JobResources\n"
        "JobResources(None)\n"
        "heavy = {'pandas', 'torch', 'hrsa_workflow.study_costs'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    workflow = str(Path(__file__).parents[3] / "workflow")
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": workflow})

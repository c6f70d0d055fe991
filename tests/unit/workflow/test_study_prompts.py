"""What studies/paper.yaml puts before queries is what mteb puts there, and reaches every task."""

import json
from pathlib import Path

import pytest
import yaml
from mteb.models.abs_encoder import AbsEncoder
from mteb.types import PromptType

from hrsa.benchmarks.suites import suite_tasks
from hrsa.benchmarks.task_prompts import load_prompts

STUDIES = Path(__file__).parents[3] / "studies"
SUITES = ("MTEB(Multilingual, v2)", "MTEB(Code, v1)")


class Instructed(AbsEncoder):
    """Any model that reads instructions."""

    prompts_dict = None

    def encode(self, inputs, **kwargs):
        raise NotImplementedError("only instructions are asked of it")


def instruction_of_mteb(task):
    return Instructed().get_instruction(task.metadata, PromptType.query)


def read(name):
    return json.loads((STUDIES / "prompts" / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def study():
    return yaml.safe_load((STUDIES / "paper.yaml").read_text(encoding="utf-8"))


def test_prompts_are_those_that_the_installed_mteb_has_for_its_tasks_and_ours_for_bright():
    tasks = [task for suite in SUITES for task in suite_tasks(suite)]
    own = {task.metadata.name: {"query": instruction_of_mteb(task)} for task in tasks}
    assert read("paper.json") == read("bright.json") | own


def test_every_subset_of_every_task_has_a_prompt_before_queries_and_none_before_documents(study):
    prompts = load_prompts(STUDIES.parent / study["benchmarks"]["prompts"])
    entries = study["benchmarks"]["suites"]
    assert {entry["suite"] for entry in entries} == {*SUITES, "BRIGHT"}
    for task in (task for entry in entries for task in suite_tasks(entry["suite"])):
        for subset in task.hf_subsets:
            assert prompts.instruction(task.metadata.name, subset, "query")
            assert prompts.instruction(task.metadata.name, subset, "document") == ""


def test_the_docs_say_how_many_tasks_have_an_instruction_of_their_own():
    tasks = [task for suite in SUITES for task in suite_tasks(suite)]
    own = {task.metadata.name for task in tasks if task.metadata.prompt}
    alls = {task.metadata.name for task in tasks}
    text = (STUDIES.parent / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    said = " ".join(text.split())
    assert f"{len(own)} of the {len(alls)} tasks" in said
    assert f"the other {len(alls - own)}" in said

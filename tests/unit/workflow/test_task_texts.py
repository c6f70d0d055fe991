"""What benchmarks embed is counted for every task of the study."""

import pytest

from hrsa.data.corpus import generate_part
from hrsa_workflow.analysis_costs import AnalysisCosts
from hrsa_workflow.config import load_config
from hrsa_workflow.sizes import model_sizes
from hrsa_workflow.study import TASK_CORPUS, Study
from hrsa_workflow.text_sizes import task_texts


@pytest.mark.parametrize("task", TASK_CORPUS)
def test_the_texts_of_a_task_are_in_its_files(study, task):
    corpus = load_config(study)["corpus"]
    texts = task_texts(task, corpus)
    assert texts
    for part, columns, count in texts:
        assert part in TASK_CORPUS[task]
        frame = generate_part(part, seed=1, settings=corpus)
        assert set(columns) <= set(frame.columns)
        assert 0 < count <= len(frame)


def test_the_cost_of_every_task_is_known_and_more_tasks_cost_more(study):
    costs = []
    for n in range(1, len(TASK_CORPUS) + 1):
        study["benchmarks"] = {"tasks": list(TASK_CORPUS)[:n], "models": ["base-emb"]}
        made = Study(load_config(study), code=lambda script: script)
        costs.append(AnalysisCosts(made, model_sizes(made)).benchmark("base-emb.s0"))
    assert not any(cost.is_unknown for cost in costs)
    values = [cost.value for cost in costs]
    assert values == sorted(set(values))

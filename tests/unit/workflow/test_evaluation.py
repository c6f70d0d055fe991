"""One model through a group of tasks: what is still right is kept, what fails costs only itself."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ModelMeta, ScoringFunction

from hrsa.benchmarks import evaluate as readers
from hrsa.benchmarks import task_runs
from hrsa.benchmarks.suites import mteb_tasks
from hrsa.benchmarks.task_runs import suite_task
from hrsa.errors import UserError
from hrsa_workflow import evaluation, result_keys
from hrsa_workflow.code_version import code_version
from hrsa_workflow.evaluation import evaluate_group
from hrsa_workflow.task_results import run

GROUP = {"suite": "local", "stem": "local", "languages": None, "without": [], "smallest": False}
SETTINGS = {
    **{"seeds": [1, 2], "batch_size": 8, "max_length": None, "dtype": "float32"},
    **{"device": "cpu", "query_template": None, "mteb": "1"},
}


@pytest.fixture
def corpus(tmp_path):
    """Three documents, a query for each."""
    words = ("river stone cloud", "lamp paper train", "garden letter north")
    ids = ["a", "b", "c"]
    tables = {
        "retrieval-documents": {"id": ids, "text": words},
        "retrieval-queries": {"id": ids, "text": [text.split()[0] for text in words]},
        "retrieval-qrels": {"query": ids, "document": ids, "score": [1, 1, 1]},
    }
    for name, columns in tables.items():
        pd.DataFrame(columns).to_parquet(tmp_path / f"{name}.parquet")
    return [str(tmp_path / f"{name}.parquet") for name in tables]


@pytest.fixture
def evaluate(corpus, tmp_path):
    """Run BM25, or a model, on tasks; the table and the status."""

    def run(*tasks, record=None, prompts=None, group="local", **changes):
        files = {name: tmp_path / f"out.{name}" for name in ("table", "status")}
        options = {"settings": SETTINGS, "data": {}, "result_code": "a"} | changes
        evaluate_group(
            instance="bm25",
            record=record,
            group=GROUP | {"tasks": list(tasks)},
            corpus=corpus,
            prompts=prompts,
            results=tmp_path / "bm25" / group,
            labels={"model": "bm25", "recipe": "bm25", "seed": None, "step": None},
            attempt=1,
            **files,
            **options,
        )
        return pd.read_parquet(files["table"]), json.loads(files["status"].read_text())

    return run


def test_the_table_of_a_kept_result_is_that_of_a_new_one(evaluate, tmp_path, capsys):
    first, status = evaluate("TopicRetrieval")
    assert first["value"].tolist() == [1.0]
    assert status["failures"] == []
    assert "kept" not in capsys.readouterr().out
    written = (tmp_path / "out.table").read_bytes()
    evaluate("TopicRetrieval")
    assert "kept TopicRetrieval" in capsys.readouterr().out
    assert (tmp_path / "out.table").read_bytes() == written


@pytest.mark.parametrize(
    "change",
    [
        {"result_code": "b"},
        {"data": {"TopicRetrieval": {"seed": 1}}},
        {"settings": SETTINGS | {"mteb": "2"}},
    ],
    ids=["code", "data", "mteb"],
)
def test_a_change_that_matters_runs_a_task_again(evaluate, capsys, change):
    evaluate("TopicRetrieval")
    evaluate("TopicRetrieval", **change)
    assert "kept" not in capsys.readouterr().out


def test_a_task_that_moves_to_a_job_of_its_own_is_kept(evaluate, capsys):
    evaluate("TopicRetrieval")
    evaluate(group="local.TopicRetrieval")
    evaluate("TopicRetrieval", group="local.TopicRetrieval")
    assert "kept TopicRetrieval" in capsys.readouterr().out


def with_versions(monkeypatch, **versions):
    def version(name):
        return versions.get(name.replace("-", "_"), "1.0")

    monkeypatch.setattr(result_keys, "version", version)


def test_bm25_has_rows_for_retrieval_alone(evaluate):
    table, status = evaluate("TopicRetrieval", "TopicClassification")
    assert table["task"].tolist() == ["TopicRetrieval"]
    assert status["failures"] == []
    none, status = evaluate("TopicClassification")
    assert len(none) == 0
    assert none.dtypes.equals(table.dtypes)
    assert status["failures"] == []


def test_a_task_without_data_fails_alone_and_has_a_row_without_a_score(evaluate):
    table, status = evaluate("SolutionRetrieval", "TopicRetrieval")
    rows = table.set_index("task")
    assert rows["value"].isna().tolist() == [True, False]
    assert "failed" in rows.loc["SolutionRetrieval", "note"]
    (failure,) = status["failures"]
    assert "solution-qrels.parquet" in failure["reason"]
    assert failure["subject"] == "SolutionRetrieval of bm25"


def test_a_model_that_cannot_be_loaded_is_tried_once(evaluate, tmp_path, monkeypatch):
    tried = []

    def refuse(*_, **__):
        tried.append(1)
        raise UserError("the model is broken")

    monkeypatch.setattr(evaluation, "load", refuse)
    monkeypatch.setattr(result_keys, "model_part", lambda *_: {})
    record = tmp_path / "record.json"
    record.write_text("{}")
    table, status = evaluate("TopicRetrieval", "TopicClassification", record=str(record))
    assert len(tried) == 1
    assert table["value"].isna().all()
    assert [one["reason"] for one in status["failures"]] == ["the model is broken"] * 2


def test_a_fault_of_the_machine_ends_the_job_and_keeps_what_was_finished(
    evaluate, tmp_path, monkeypatch
):
    whole = task_runs.run_task

    def full(reader, task, **options):
        if task.name == "SolutionRetrieval":
            raise OSError(28, "No space left on device")
        return whole(reader, task, **options)

    monkeypatch.setattr(task_runs, "run_task", full)
    with pytest.raises(OSError, match="No space"):
        evaluate("TopicRetrieval", "SolutionRetrieval")
    assert (tmp_path / "bm25" / "local.kept" / "TopicRetrieval").exists()
    monkeypatch.setattr(task_runs, "run_task", lambda *_, **__: pytest.fail("was run again"))
    table, _ = evaluate("TopicRetrieval")
    assert table["value"].tolist() == [1.0]


# What a model's results are made from


class Recorder(AbsEncoder):
    """Embeds texts by their first letters, and keeps what it sees."""

    def __init__(self):
        self.seen = []
        self.mteb_model_meta = ModelMeta.create_empty(
            {"name": "stub/recorder", "revision": "1", "similarity_fn_name": ScoringFunction.COSINE}
        )

    def encode(self, inputs, **kwargs):
        texts = [text for batch in inputs for text in batch["text"]]
        self.seen += texts
        return np.array([[len(text), ord(text[0])] for text in texts], dtype=np.float32)


@pytest.fixture
def recorder(monkeypatch):
    """What is read in place of a model's weights."""
    made = Recorder()
    monkeypatch.setattr(readers, "load_encoder", lambda *_, **__: made)
    monkeypatch.setattr(result_keys, "model_part", lambda *_: {"model": "base"})
    return made


TASKS = ("TopicRetrieval", "SolutionRetrieval")


@pytest.fixture
def evaluate_model(evaluate, corpus, recorder, tmp_path, monkeypatch):
    """Run a model that was trained with a template on two tasks; the texts that it read."""
    record = tmp_path / "record.json"
    record.write_text("{}")
    for file in corpus:
        copied = file.replace("retrieval-", "solution-")
        shutil.copy(file, copied)

    def run(prompts, **settings):
        file = tmp_path / f"prompts{len(list(tmp_path.glob('prompts*')))}.json"
        file.write_text(json.dumps(prompts))
        recorder.seen.clear()
        _, status = evaluate(
            *TASKS,
            record=str(record),
            prompts=str(file),
            settings=SETTINGS
            | {"query_template": "Instruct: {instruction}\nQuery: {query}"}
            | settings,
        )
        assert status["failures"] == []
        return recorder.seen

    return run


QUERIES = ("river", "lamp", "garden")
DOCUMENTS = {"river stone cloud", "lamp paper train", "garden letter north"}


def prompted(instruction):
    return {f"Instruct: {instruction}\nQuery: {query}" for query in QUERIES}


def read_record(tmp_path, task):
    return json.loads((tmp_path / "bm25" / "local" / f"{task}.record.json").read_text())


def test_each_task_s_prompt_is_put_before_its_queries_and_stands_in_its_record(
    evaluate_model, tmp_path
):
    seen = evaluate_model(
        {"TopicRetrieval": {"query": "Find"}, "SolutionRetrieval": {"query": "Solve"}}
    )
    assert set(seen) == DOCUMENTS | prompted("Find") | prompted("Solve")
    for task, instruction in zip(TASKS, ("Find", "Solve"), strict=True):
        assert read_record(tmp_path, task)["prompts"] == {
            f"{task}/default/document": "",
            f"{task}/default/query": f"Instruct: {instruction}\nQuery:",
        }


def test_another_prompt_for_one_task_runs_that_task_alone(evaluate_model, capsys):
    prompts = {"TopicRetrieval": {"query": "Find"}, "SolutionRetrieval": {"query": "Solve"}}
    evaluate_model(prompts)
    capsys.readouterr()
    seen = evaluate_model(prompts | {"SolutionRetrieval": {"query": "Think"}})
    assert set(seen) == DOCUMENTS | prompted("Think")
    said = capsys.readouterr().out
    assert "kept TopicRetrieval" in said
    assert "kept SolutionRetrieval" not in said
    evaluate_model(
        prompts | {"STS17": {"query": "Compare"}, "SolutionRetrieval": {"query": "Think"}}
    )
    assert capsys.readouterr().out.count("kept") == 2


def test_a_prompt_for_a_subset_counts_and_so_does_the_template(evaluate_model):
    prompts = {"TopicRetrieval": {"query": "Find"}}
    bare = evaluate_model(prompts)
    assert set(bare) == DOCUMENTS | prompted("Find") | set(QUERIES)
    subset = prompts | {"TopicRetrieval/default": {"query": "Look for"}}
    assert set(evaluate_model(subset)) == DOCUMENTS | prompted("Look for")
    other = evaluate_model(subset, query_template="{instruction}: {query}")
    assert set(other) == DOCUMENTS | {f"Look for: {query}" for query in QUERIES}


def test_prompts_of_the_parts_of_an_aggregate_task_count_as_its_own(tmp_path, monkeypatch):
    task = suite_task("mteb", *mteb_tasks(["CQADupstackRetrieval"]))
    part, other = "CQADupstackUnixRetrieval", {"STS17": {"query": "Compare"}}
    settings = SETTINGS | {"query_template": "{instruction}: {query}"}

    def prompts_in_key(**prompts):
        file = tmp_path / f"prompts{len(list(tmp_path.glob('prompts*')))}.json"
        file.write_text(json.dumps(prompts))
        return result_keys.task_key(task, settings, None, str(file))["prompts"]

    assert prompts_in_key(**other) is None
    before = prompts_in_key(**other, **{part: {"query": "Find"}})
    assert before == prompts_in_key(**{part: {"query": "Find"}})
    assert before != prompts_in_key(**other, **{part: {"query": "Look for"}})

    used = {f"{part}/default/query": "Find:", "STS17/en-en/query": "Compare:"}
    monkeypatch.setattr(task_runs, "run_task", lambda *_, **__: {"value": 0.5})
    row, prompts = run(SimpleNamespace(used=used), task, output=tmp_path, settings=settings)
    assert row == {"value": 0.5}
    assert prompts == {f"{part}/default/query": "Find:"}


def test_other_data_of_a_part_run_an_aggregate_task_again():
    task = suite_task("mteb", *mteb_tasks(["CQADupstackRetrieval"]))
    key = result_keys.task_key(task, SETTINGS, None, None)
    assert len(key["parts"]) == 12
    part = task.parts[0].task
    part.metadata = part.metadata.model_copy(deep=True)
    part.metadata.dataset["revision"] = "another"
    changed = result_keys.task_key(task, SETTINGS, None, None)
    assert changed != key
    assert changed["revision"] == key["revision"]  # that of the whole says nothing


@pytest.mark.parametrize(
    "library", ["sentence_transformers", "transformers", "torch", "scikit_learn"]
)
def test_other_libraries_run_a_model_s_tasks_again(evaluate_model, monkeypatch, library):
    prompts = {"TopicRetrieval": {"query": "Find"}}
    with_versions(monkeypatch)
    assert evaluate_model(prompts)
    assert not evaluate_model(prompts)
    with_versions(monkeypatch, **{library: "1.1"})
    assert evaluate_model(prompts)


def test_another_build_of_torch_runs_nothing_again_and_is_recorded(
    evaluate_model, tmp_path, monkeypatch
):
    prompts = {"TopicRetrieval": {"query": "Find"}}
    with_versions(monkeypatch, torch="2.9.0+cpu")
    assert evaluate_model(prompts)
    assert read_record(tmp_path, "TopicRetrieval")["libraries"]["torch"] == "2.9.0+cpu"
    with_versions(monkeypatch, torch="2.9.0+cu130")
    assert not evaluate_model(prompts)


def test_another_torch_does_not_run_bm25_again(evaluate, monkeypatch, capsys):
    with_versions(monkeypatch)
    evaluate("TopicRetrieval")
    with_versions(monkeypatch, torch="1.1", transformers="1.1")
    evaluate("TopicRetrieval")
    assert "kept TopicRetrieval" in capsys.readouterr().out
    with_versions(monkeypatch, bm25s="1.1")
    evaluate("TopicRetrieval")
    assert "kept" not in capsys.readouterr().out


# What the code of a result is

WORKFLOW = Path(__file__).parents[3] / "workflow"


@pytest.fixture(scope="module")
def result_code(tmp_path_factory):
    """Version of the code that makes results, where modules have one line more."""
    copies = []

    def edited(*modules):
        root = tmp_path_factory.mktemp(f"workflow{len(copies)}")
        copies.append(root)
        for package in ("hrsa", "hrsa_workflow"):
            shutil.copytree(WORKFLOW / package, root / package)
        for module in modules:
            with (root / module).open("a") as file:
                file.write("\nANOTHER = 1\n")
        return code_version(root / "hrsa_workflow" / "task_results.py", root)

    edited.before = edited()
    return edited


def test_code_that_makes_no_result_is_no_part_of_its_version(result_code):
    names = ("tables", "status", "kept_results", "result_keys", "benchmark_groups", "evaluation")
    modules = [f"hrsa_workflow/{name}.py" for name in names]
    modules += ["hrsa/models/hub_errors.py", "hrsa/benchmarks/differences.py"]
    assert result_code(*modules) == result_code.before


@pytest.mark.parametrize(
    "module",
    [
        *("hrsa/benchmarks/encoders.py", "hrsa/benchmarks/prompted_encoder.py"),
        *("hrsa/benchmarks/task_items.py", "hrsa/benchmarks/task_runs.py"),
        *("hrsa/benchmarks/task_prompts.py", "hrsa/benchmarks/retrieval_tasks.py"),
        *("hrsa/models/loading.py", "hrsa_workflow/task_results.py"),
    ],
)
def test_code_that_makes_results_is(result_code, module):
    assert result_code(module) != result_code.before

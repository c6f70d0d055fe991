"""One model through a group of tasks: what is still right is kept, what fails costs only itself."""

import json
import shutil

import pandas as pd
import pytest

from hrsa.errors import UserError
from hrsa_workflow import evaluation
from hrsa_workflow.evaluation import KeptResults, evaluate_group


@pytest.fixture
def results(tmp_path):
    return tmp_path / "base" / "local"


def names(folder):
    return {file.name for file in folder.iterdir()}


def finish(results, *tasks, key):
    """What a job leaves that ran these tasks, and that Snakemake has removed for the next."""
    kept = KeptResults(results)
    for task in tasks:
        place = kept.folder / f"place-{task}"
        place.mkdir()
        (place / f"{task}.json").write_text("{}")
        kept.add(task, {"key": key, "row": {"task": task, "value": 0.5}}, place)
    kept.finish()
    shutil.rmtree(results)
    return kept.folder


def test_a_result_with_the_wanted_key_is_kept(results):
    finish(results, "One", key={"code": "a"})
    kept = KeptResults(results)
    assert kept.row("One", {"code": "a"}) == {"task": "One", "value": 0.5}
    kept.finish()
    assert names(results) == names(kept.folder) == {"One.json", "One.record.json"}
    assert (results / "One.json").samefile(kept.folder / "One.json")


@pytest.mark.parametrize("key", [{"code": "b"}, {"code": "a", "data": 1}, {}])
def test_a_result_with_another_key_is_not(results, key):
    finish(results, "One", key={"code": "a"})
    kept = KeptResults(results)
    assert kept.row("One", key) is None
    kept.finish()
    assert names(results) == names(kept.folder) == set()


def test_a_result_without_its_files_is_not(results):
    folder = finish(results, "One", key={})
    (folder / "One.json").unlink()
    assert KeptResults(results).row("One", {}) is None


def test_a_record_that_was_cut_short_is_none(results):
    folder = finish(results, "One", key={})
    (folder / "One.record.json").write_text('{"key": {}, "row"')
    assert KeptResults(results).row("One", {}) is None


def test_a_task_is_not_taken_for_one_whose_name_goes_on(results):
    finish(results, "STS22", "STS22.v2", key={})
    kept = KeptResults(results)
    assert kept.row("STS22", {}) is not None
    kept.finish()
    assert names(results) == {"STS22.json", "STS22.record.json"}


def test_what_a_killed_job_finished_is_kept(results):
    killed = KeptResults(results)
    place = killed.folder / "place"
    place.mkdir()
    (place / "One.json").write_text("{}")
    killed.add("One", {"key": {}, "row": {"value": 1.0}}, place)
    (killed.folder / "Two.json").write_text("half")
    again = KeptResults(results)
    assert again.row("One", {}) == {"value": 1.0}
    assert again.row("Two", {}) is None
    again.finish()
    assert names(results) == names(again.folder) == {"One.json", "One.record.json"}


def test_a_disk_without_second_names_gets_copies(results, monkeypatch):
    def refuse(*_):
        raise OSError("no links here")

    monkeypatch.setattr(evaluation.os, "link", refuse)
    folder = finish(results, "One", key={})
    kept = KeptResults(results)
    kept.row("One", {})
    kept.finish()
    assert names(results) == names(folder)


GROUP = {"suite": "local", "languages": None, "without": [], "smallest": False}
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
    """Run BM25 on tasks; the table, the status and the log's lines."""

    def run(*tasks, **changes):
        files = {name: tmp_path / f"out.{name}" for name in ("table", "status")}
        options = {"settings": SETTINGS, "data": {}, "code": "a", "record": None} | changes
        evaluate_group(
            instance="bm25",
            group=GROUP | {"tasks": list(tasks)},
            corpus=corpus,
            prompts=None,
            results=tmp_path / "bm25" / "local",
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
        {"code": "b"},
        {"data": {"TopicRetrieval": {"seed": 1}}},
        {"settings": SETTINGS | {"mteb": "2"}},
    ],
    ids=["code", "data", "mteb"],
)
def test_a_change_that_matters_runs_a_task_again(evaluate, capsys, change):
    evaluate("TopicRetrieval")
    evaluate("TopicRetrieval", **change)
    assert "kept" not in capsys.readouterr().out


def test_bm25_has_rows_for_retrieval_alone(evaluate):
    table, status = evaluate("TopicRetrieval", "TopicClassification")
    assert table["task"].tolist() == ["TopicRetrieval"]
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

    monkeypatch.setattr(evaluation, "_reader", refuse)
    monkeypatch.setattr(evaluation, "model_part", lambda *_: {})
    record = tmp_path / "record.json"
    record.write_text("{}")
    table, status = evaluate("TopicRetrieval", "TopicClassification", record=str(record))
    assert len(tried) == 1
    assert table["value"].isna().all()
    assert [one["reason"] for one in status["failures"]] == ["the model is broken"] * 2


def test_a_fault_of_the_machine_ends_the_job_and_keeps_what_was_finished(
    evaluate, tmp_path, monkeypatch
):
    from hrsa.benchmarks import task_runs

    run = task_runs.run_task

    def full(reader, task, **options):
        if task.name == "SolutionRetrieval":
            raise OSError(28, "No space left on device")
        return run(reader, task, **options)

    monkeypatch.setattr(task_runs, "run_task", full)
    with pytest.raises(OSError, match="No space"):
        evaluate("TopicRetrieval", "SolutionRetrieval")
    assert (tmp_path / "bm25" / "local.kept" / "TopicRetrieval.record.json").exists()
    monkeypatch.setattr(task_runs, "run_task", lambda *_, **__: pytest.fail("was run again"))
    table, _ = evaluate("TopicRetrieval")
    assert table["value"].tolist() == [1.0]

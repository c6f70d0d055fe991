"""Results of finished tasks are found again, whole or not at all, whichever job asks for them."""

import shutil
from contextlib import suppress

import pytest

from hrsa_workflow import kept_results
from hrsa_workflow.kept_results import RECORD, KeptResults


@pytest.fixture
def folder(tmp_path):
    """What is kept of a model's tasks of one suite."""
    return tmp_path / "base" / "mteb.kept"


@pytest.fixture
def results(folder):
    return folder.with_name("mteb")


def names(folder):
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


def finish(results, folder, *tasks, key, files=(".json",), value=0.5):
    """What a job keeps that ran these tasks; its results are removed, as Snakemake does."""
    kept = KeptResults(results, folder)
    for task in tasks:
        with kept.room() as place:
            for ending in files:
                (place / f"{task}{ending}").write_text(f"{key}")
            kept.add(task, {"key": key, "row": {"task": task, "value": value}}, place)
    assert names(results) == {f"{task}{end}" for task in tasks for end in (*files, RECORD)}
    shutil.rmtree(results)


def test_a_result_with_the_wanted_key_is_kept(results, folder):
    finish(results, folder, "One", key={"code": "a"})
    assert KeptResults(results, folder).find("One", {"code": "a"}) == {"task": "One", "value": 0.5}
    assert names(results) == {"One.json", "One.record.json"}
    assert (results / "One.json").samefile(folder / "One" / "One.json")


@pytest.mark.parametrize("key", [{"code": "b"}, {"code": "a", "data": 1}, {}])
def test_a_result_with_another_key_is_not(results, folder, key):
    finish(results, folder, "One", key={"code": "a"})
    assert KeptResults(results, folder).find("One", key) is None
    assert names(results) == set()


def test_a_new_result_replaces_all_files_of_the_one_before(results, folder):
    finish(results, folder, "One", key={"seeds": 2}, files=(".seed1.json", ".seed2.json"))
    finish(results, folder, "One", key={"seeds": 1}, value=0.7)
    assert names(folder) == {"One/One.json", "One/One.record.json"}
    kept = KeptResults(results, folder)
    assert kept.find("One", {"seeds": 2}) is None
    assert kept.find("One", {"seeds": 1}) == {"task": "One", "value": 0.7}


def test_a_result_without_its_files_is_not(results, folder):
    finish(results, folder, "One", key={})
    (folder / "One" / "One.json").unlink()
    assert KeptResults(results, folder).find("One", {}) is None


def test_a_record_that_was_cut_short_is_none(results, folder):
    finish(results, folder, "One", key={})
    (folder / "One" / "One.record.json").write_text('{"key": {}, "row"')
    assert KeptResults(results, folder).find("One", {}) is None


def test_a_task_is_not_taken_for_one_whose_name_goes_on(results, folder):
    finish(results, folder, "STS22", "STS22.v2", key={})
    assert KeptResults(results, folder).find("STS22", {}) is not None
    assert names(results) == {"STS22.json", "STS22.record.json"}


def test_a_task_that_fails_leaves_what_was_kept_of_it_and_nothing_else(results, folder):
    finish(results, folder, "One", key={"code": "a"})
    kept = KeptResults(results, folder)
    with suppress(ValueError), kept.room() as place:
        (place / "One.json").write_text("half")
        raise ValueError
    assert names(results) == set()
    assert kept.find("One", {"code": "b"}) is None
    assert kept.find("One", {"code": "a"}) is not None


def test_tasks_of_a_suite_are_found_however_they_are_divided_into_jobs(results, folder):
    finish(results, folder, "STS12", "STS14", key={})
    alone = KeptResults(results.with_name("mteb.STS14"), folder)
    assert alone.find("STS14", {}) is not None
    assert KeptResults(results, folder).find("STS12", {}) is not None
    assert names(folder) >= {"STS12/STS12.json", "STS14/STS14.json"}
    shutil.rmtree(alone.results)
    assert KeptResults(results, folder).find("STS14", {}) is not None


def test_jobs_of_two_groups_that_run_at_once_leave_each_other_alone(results, folder):
    first = KeptResults(results, folder)
    with first.room() as place:
        (place / "STS12.json").write_text("{}")
        finish(results.with_name("mteb.STS14"), folder, "STS14", key={})
        KeptResults(results.with_name("mteb.STS15"), folder)
        first.add("STS12", {"key": {}, "row": {}}, place)
    again = KeptResults(results, folder)
    assert [again.find(task, {}) is not None for task in ("STS12", "STS14")] == [True, True]


def test_a_disk_without_second_names_gets_copies(results, folder, monkeypatch):
    def refuse(*_):
        raise OSError("no links here")

    monkeypatch.setattr(kept_results.os, "link", refuse)
    finish(results, folder, "One", key={})
    KeptResults(results, folder).find("One", {})
    assert names(results) == {"One.json", "One.record.json"}
    assert not (results / "One.json").samefile(folder / "One" / "One.json")

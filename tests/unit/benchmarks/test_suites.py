"""Suites and tasks by `mteb`'s names, without a network."""

import mteb
import pytest

from hrsa.benchmarks.suites import groups_by_size, mteb_tasks, suite_tasks, task_size
from hrsa.errors import UserError


def names(tasks):
    return [task.metadata.name for task in tasks]


@pytest.mark.parametrize(
    ("suite", "count"),
    [
        ("MTEB(Multilingual, v2)", 131),
        ("MTEB(Code, v1)", 12),
        ("BRIGHT(v1.1)", 20),  # twelve domains, eight of them with long documents too
        ("BRIGHT", 1),  # twelve domains as subsets of one task
    ],
)
def test_a_suite_has_all_its_tasks_once(suite, count):
    tasks = names(suite_tasks(suite))
    assert len(tasks) == len(set(tasks)) == count


def test_the_domains_of_bright_are_subsets_of_its_one_task():
    (task,) = suite_tasks("BRIGHT")
    assert len(task.hf_subsets) == 12


def test_a_suite_can_be_narrowed_to_some_of_its_tasks_in_its_own_order():
    every = names(suite_tasks("MTEB(Code, v1)"))
    kept = suite_tasks("MTEB(Code, v1)", tasks=[every[5], every[2]])
    assert names(kept) == [every[2], every[5]]


def test_languages_leave_tasks_out_and_narrow_the_others():
    tasks = suite_tasks("MTEB(Multilingual, v2)", languages=["deu"])
    assert 0 < len(tasks) < 131
    for task in tasks:
        languages = task.metadata.hf_subsets_to_langscripts
        assert all(
            any(language.startswith("deu") for language in languages[subset])
            for subset in task.hf_subsets
        )


def test_languages_bring_back_no_subset_that_the_suite_leaves_out():
    whole = {task.metadata.name: set(task.hf_subsets) for task in suite_tasks("MTEB(eng, v2)")}
    english = suite_tasks("MTEB(eng, v2)", languages=["eng"])
    assert any(whole[name] < set(mteb.get_task(name).hf_subsets) for name in whole)
    assert all(set(task.hf_subsets) <= whole[task.metadata.name] for task in english)


def test_narrowing_leaves_the_suite_of_mteb_as_it_was():
    before = [list(task.hf_subsets) for task in mteb.get_benchmark("MTEB(Multilingual, v2)").tasks]
    suite_tasks("MTEB(Multilingual, v2)", languages=["fra"])
    after = [list(task.hf_subsets) for task in mteb.get_benchmark("MTEB(Multilingual, v2)").tasks]
    assert before == after


def test_single_tasks_come_by_name_and_language():
    (task,) = mteb_tasks(["STS17"], languages=["deu"])
    assert task.metadata.name == "STS17"
    assert task.hf_subsets == ["en-de"]


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (
            lambda: suite_tasks("MTEB(Multilingual, v3)"),
            ["'MTEB(Multilingual, v3)'", "MTEB(Multilingual, v2)", "available-benchmarks"],
        ),
        (lambda: suite_tasks("bright(v1.2)"), ["bright(v1.2)", "BRIGHT(v1.1)"]),
        (
            lambda: suite_tasks("BRIGHT(v1.1)", tasks=["BrightBiologyRetreival"]),
            ["'BrightBiologyRetreival'", "BrightBiologyRetrieval", "20 tasks"],
        ),
        (lambda: mteb_tasks(["sts 17"]), ["'sts 17'", "STS17", "Correct the name"]),
        (lambda: mteb_tasks(["BrightRetrieval"], languages=["deu"]), ["deu", "eng"]),
        (lambda: suite_tasks("BRIGHT", languages=["deu"]), ["'BRIGHT'", "deu"]),
        (lambda: suite_tasks("BRIGHT", languages=["german"]), ["'german'", "eng-Latn"]),
        (lambda: suite_tasks("BRIGHT", languages=["eng-Late"]), ["'eng-Late'"]),
        (lambda: suite_tasks("BRIGHT", languages=[]), ["empty"]),
    ],
)
def test_an_unknown_name_is_refused_with_what_is_near(ask, words):
    with pytest.raises(UserError) as error:
        ask()
    assert all(word in str(error.value) for word in words)


def test_every_task_of_the_suites_has_a_size():
    for suite in ("MTEB(Multilingual, v2)", "MTEB(Code, v1)", "BRIGHT(v1.1)", "BRIGHT"):
        assert all((task_size(task) or 0) > 0 for task in suite_tasks(suite))


def test_the_size_counts_only_the_subsets_that_are_run():
    (whole,) = mteb_tasks(["STS17"])
    (german,) = mteb_tasks(["STS17"], languages=["deu"])
    assert 0 < task_size(german) < task_size(whole)


def test_a_task_of_long_documents_is_larger_than_its_number_of_texts_says():
    short, long = mteb_tasks(["BrightPonyRetrieval", "BrightStackoverflowLongRetrieval"])
    assert sum(short.metadata.n_samples.values()) > sum(long.metadata.n_samples.values())
    assert task_size(short) < task_size(long)


def test_large_tasks_stand_alone_and_small_ones_share_a_job_up_to_the_limit():
    tasks = suite_tasks("MTEB(Multilingual, v2)")
    sizes = {task.metadata.name: task_size(task) for task in tasks}
    limit = 10_000_000
    groups = groups_by_size(tasks, limit)
    assert sorted(name for group in groups for name in group) == sorted(sizes)
    assert all(sum(sizes[name] for name in group) <= limit for group in groups if len(group) > 1)
    assert [name for name in sizes if sizes[name] > limit] == [
        group[0] for group in groups if sizes[group[0]] > limit
    ]
    assert len(groups) < len(tasks)
    assert groups == groups_by_size(tasks, limit)

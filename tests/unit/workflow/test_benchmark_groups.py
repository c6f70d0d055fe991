"""Benchmark tasks are divided into jobs, and what mteb does not know is refused with near names."""

import pytest

from hrsa.benchmarks.suites import task_size
from hrsa.errors import UserError
from hrsa_workflow.benchmark_groups import benchmark_groups, check_suites, entry_sizes
from hrsa_workflow.config import load_config
from hrsa_workflow.evaluation import _tasks
from hrsa_workflow.study import Study

CODE = "MTEB(Code, v1)"


@pytest.fixture
def benchmarks(study):
    """A complete configuration with these benchmarks."""

    def make(**settings):
        changed = load_config(study)
        changed["benchmarks"] |= {"tasks": [], "models": [], "bm25": False} | settings
        for entry in changed["benchmarks"]["suites"]:
            entry.setdefault("alone", [])
        return changed

    return make


def names_of(groups):
    return {name: (group.tasks, group.without) for name, group in groups.items()}


def test_generated_tasks_share_a_job_and_a_suite_shares_another(benchmarks):
    groups = benchmark_groups(benchmarks(tasks=["TopicRetrieval"], suites=[{"suite": CODE}]))
    assert names_of(groups) == {
        "local": (("TopicRetrieval",), ()),
        "MTEB-Code-v1": (None, ()),
    }


def test_tasks_named_alone_are_jobs_of_their_own(benchmarks):
    groups = benchmark_groups(benchmarks(suites=[{"suite": CODE, "alone": ["CosQA"]}]))
    assert names_of(groups) == {
        "MTEB-Code-v1": (None, ("CosQA",)),
        "MTEB-Code-v1.CosQA": (("CosQA",), ()),
    }
    entry = {"tasks": ["STS17", "CosQA"], "alone": ["CosQA", "STS17"]}
    assert names_of(benchmark_groups(benchmarks(suites=[entry]))) == {
        "mteb.CosQA": (("CosQA",), ()),
        "mteb.STS17": (("STS17",), ()),
    }


def test_a_number_puts_large_tasks_alone_and_small_ones_together(benchmarks):
    limit = 20_000_000
    config = benchmarks(suites=[{"suite": CODE, "alone": limit}])
    groups = benchmark_groups(config)
    (entry,) = config["benchmarks"]["suites"]
    divided = [task for group in groups.values() for task in group.tasks]
    assert len(divided) == len(set(divided)) == 12
    assert groups["MTEB-Code-v1.CodeFeedbackST"].tasks == ("CodeFeedbackST",)
    assert max(len(group.tasks) for group in groups.values()) > 1
    assert len(groups) >= sum(size > limit for size in entry_sizes(entry))


@pytest.mark.parametrize("alone", [[], ["CosQA", "StackOverflowQA"], 20_000_000, 1])
def test_all_groups_of_a_suite_share_what_is_kept_of_it(benchmarks, alone):
    suites = [{"suite": CODE, "alone": alone}, {"tasks": ["STS17", "STS22.v2"], "alone": 1}]
    groups = benchmark_groups(benchmarks(tasks=["TopicRetrieval"], suites=suites))
    stems = {name: group.settings["stem"] for name, group in groups.items()}
    assert set(stems.values()) == {"local", "MTEB-Code-v1", "mteb"}
    assert all(name == stem or name.startswith(f"{stem}.") for name, stem in stems.items())


@pytest.mark.parametrize(
    "second",
    [
        {"suite": CODE, "tasks": ["CosQA"]},
        {"suite": CODE, "tasks": ["CosQA"], "alone": ["CosQA"]},
        {"suite": CODE, "alone": 1_000_000},
        {"suite": "MTEB(Code-v1)"},
    ],
)
def test_two_entries_do_not_share_files(benchmarks, study, second):
    config = benchmarks(suites=[{"suite": CODE}, second])
    with pytest.raises(UserError, match=r"suites\[1\]` is of .* share files.*into one entry"):
        benchmark_groups(config)
    study["benchmarks"] = {"suites": [{"suite": CODE}, second]}
    with pytest.raises(UserError, match="share files"):
        load_config(study)


def test_a_task_alone_that_is_not_of_the_entry_is_refused_with_the_nearest(benchmarks):
    entry = {"tasks": ["CosQA", "STS17"], "alone": ["CosAQ"]}
    with pytest.raises(UserError, match=r"suites\[0\]\.alone` names 'CosAQ'.*mean `CosQA`"):
        benchmark_groups(benchmarks(suites=[entry]))
    with pytest.raises(UserError, match=r"suites\[0\]`: `alone` names 'CosAQ'.*mean `CosQA`"):
        check_suites(benchmarks(suites=[{"suite": CODE, "alone": ["CosAQ"]}]))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"suite": "MTEB(Code, v2)"},
            r"no suite 'MTEB\(Code, v2\)'.*Did you mean `MTEB\(Code, v1\)`",
        ),
        ({"tasks": ["STS71"]}, r"no task 'STS71'.*Did you mean `STS17`"),
        ({"suite": CODE, "tasks": ["CosAQ"]}, r"has no task 'CosAQ'.*Did you mean `CosQA`"),
        ({"suite": CODE, "languages": ["english"]}, "knows no language 'english'"),
    ],
)
def test_what_mteb_does_not_know_is_refused_with_near_names(benchmarks, entry, message):
    with pytest.raises(UserError, match=r"`benchmarks\.suites\[0\]`: .*" + message):
        check_suites(benchmarks(suites=[entry]))


def test_prompts_are_checked_too(benchmarks, tmp_path):
    (tmp_path / "prompts.json").write_text('{"STS71": {"query": "Compare"}}')
    with pytest.raises(UserError, match=r"`benchmarks\.prompts`: .*'STS71'.*STS17"):
        check_suites(benchmarks(prompts="prompts.json"), tmp_path)


def test_every_model_has_a_job_for_every_group(benchmarks):
    config = benchmarks(
        tasks=["TopicRetrieval"], suites=[{"suite": CODE}], models=["base"], bm25=True
    )
    study = Study(config, code=lambda script: script)
    assert study.evaluations == [
        (model, group) for model in ("base", "bm25") for group in ("local", "MTEB-Code-v1")
    ]
    assert set(study.evaluation_inputs("base", "local")) == {"corpus"}
    assert study.evaluation_inputs("base", "MTEB-Code-v1") == {}
    assert list(study.task_parts("local")) == ["TopicRetrieval"]
    assert study.task_parts("MTEB-Code-v1") == {}


def test_a_model_reads_prompts_with_the_template_that_it_was_trained_with(benchmarks):
    config = benchmarks(tasks=["TopicRetrieval"], query_template="{instruction}: {query}")
    study = Study(config, code=lambda script: script)
    trained = next(name for name, one in study.instances.items() if one.source == "contrastive")
    own = study.instances[trained].settings["query_template"]
    assert own != "{instruction}: {query}"
    assert study.query_template(trained) == own
    assert study.query_template("base") == "{instruction}: {query}"


def test_at_smoke_scale_a_suite_is_its_smallest_task_with_short_texts(study):
    study["scale"] = "smoke"
    study["benchmarks"] = {
        "suites": [{"suite": CODE, "alone": ["CosQA"]}],
        **{"models": ["base"], "seeds": [3, 4], "max_length": 8192},
    }
    config = load_config(study)
    (group,) = benchmark_groups(config).values()
    assert (group.name, group.smallest) == ("MTEB-Code-v1", True)
    assert config["benchmarks"]["seeds"] == [3]
    assert config["benchmarks"]["max_length"] == 64
    (task,) = _tasks(group.settings, None, is_lexical=False)
    assert task_size(task.task) == min(entry_sizes({"suite": CODE}))


def test_at_smoke_scale_bm25_runs_the_same_task_as_models_or_none(benchmarks):
    def tasks_of(*names, is_lexical):
        entry = {"tasks": list(names), "smallest": True}
        (group,) = benchmark_groups(benchmarks(suites=[entry])).values()
        return [task.name for task in _tasks(group.settings, None, is_lexical=is_lexical)]

    assert tasks_of("CosQA", "STS17", is_lexical=False) == ["STS17"]
    assert tasks_of("CosQA", "STS17", is_lexical=True) == []
    both = [tasks_of("CosQA", "StackOverflowQA", is_lexical=lexical) for lexical in (False, True)]
    assert both[0] == both[1]
    assert len(both[0]) == 1

"""Which pairs of a study are compared on the benchmarks, and against which margins."""

import pytest

from hrsa.errors import UserError
from hrsa_workflow import products
from hrsa_workflow.config import load_config
from hrsa_workflow.study import Study


@pytest.fixture
def benchmarked(study):
    study["pairs"] += [
        {"name": "emb", "kind": "sft", "reference": "base-emb", "candidate": "sft-emb"},
        {"name": "runs", "kind": "seed", "reference": "base-emb.s0", "candidate": "base-emb.s2"},
        {"name": "one", "kind": "contrastive", "reference": "base", "candidate": "sft-emb.s1"},
    ]
    study["pairs"][1]["checkpoints"] = True
    study["benchmarks"] = {
        "tasks": ["TopicRetrieval"],
        "models": ["base-emb", "sft-emb"],
        "bm25": True,
    }
    return study


def made(config):
    return Study(load_config(config), code=lambda script: script)


def test_pairs_with_two_benchmarked_models_are_matched_by_seed(benchmarked):
    first, second = products.benchmark_pairs(made(benchmarked))
    assert (first["name"], first["reference"], first["candidate"]) == ("emb", "base-emb", "sft-emb")
    assert first["couples"] == [
        {"reference": f"base-emb.s{seed}", "candidate": f"sft-emb.s{seed}", "seed": seed}
        for seed in (0, 1)
    ]
    assert second["couples"] == [
        {"reference": "base-emb.s0", "candidate": "base-emb.s2", "seed": 2}
    ]


def test_only_models_of_such_pairs_are_waited_for(benchmarked):
    benchmarked["pairs"].pop(2)
    names = ["base-emb.s0", "base-emb.s1", "sft-emb.s0", "sft-emb.s1"]
    assert products.paired_models(made(benchmarked)) == names


def test_the_table_is_made_where_there_is_such_a_pair(benchmarked, study):
    csv = "results/tiny/tables/differences.csv"
    assert csv in products.table_files(made(benchmarked)).values()
    assert csv not in products.joined_table_files(made(benchmarked)).values()
    benchmarked["benchmarks"]["models"] = ["base-emb.s0"]
    assert csv not in products.table_files(made(benchmarked)).values()


def test_a_final_model_is_not_compared_with_itself(benchmarked):
    benchmarked["pairs"] = [
        {"name": "way", "kind": "other", "reference": "base-emb.s0", "candidate": "base-emb.s0"}
        | {"checkpoints": True}
    ]
    assert products.benchmark_pairs(made(benchmarked)) == []


@pytest.mark.parametrize(
    ("given", "margins"), [(None, [0.02, 0.05]), (0.03, [0.03]), ([0.1, 0.01], [0.1, 0.01])]
)
def test_margins_are_a_number_or_a_list(study, given, margins):
    if given is not None:
        study["claims"] = {"margins": {"benchmarks": given}}
    found = made(study)
    assert products.benchmark_margins(found) == margins
    assert found.config["claims"]["margins"]["similarity"] == {"seed_spread": 2}


@pytest.mark.parametrize(
    ("margins", "said"),
    [
        ({"benchmarks": 0}, "`claims.margins.benchmarks` is 0; allowed is a number above 0."),
        ({"benchmarks": [0.02, -0.1]}, "`claims.margins.benchmarks[1]` is -0.1; allowed is a"),
        ({"benchmarks": [0]}, "no study can show that a difference is exactly zero"),
        ({"benchmarks": 2}, "which run from 0 to 1"),
        ({"benchmarks": []}, "`claims.margins.benchmarks` is empty; give at least one entry."),
        ({"benchmarks": "small"}, "`claims.margins.benchmarks` is 'small'; allowed is a number."),
        ({"similarity": {"seed_spread": 0}}, "is 0; allowed is a number above 0."),
        ({"similarity": 2}, "`claims.margins.similarity` is 2; allowed is a mapping of keys."),
        ({"benchmark": 0.02}, "Did you mean `benchmarks`?"),
    ],
)
def test_a_margin_that_cannot_be_is_refused_with_the_reason(study, margins, said):
    study["claims"] = {"margins": margins}
    with pytest.raises(UserError) as caught:
        load_config(study)
    assert said in str(caught.value)

"""Stale means stale, and nothing more: what an edit makes Snakemake do again."""

import os

import pytest

from hrsa.activations.store import open_activations

pytestmark = pytest.mark.slow

AFTER_METRICS = {"figure_dynamics", "tables", "claims", "report", "finish"}


def test_a_second_run_does_nothing(finished):
    done = finished.snakemake()
    assert "Nothing to be done" in done.stdout + done.stderr


def test_touching_every_file_does_nothing(checkout):
    for path in checkout.tracked_files():
        os.utime(path)
    assert checkout.plan().counts == {}


@pytest.mark.parametrize(
    "file",
    [
        "workflow/hrsa/similarity/cka.py",
        "workflow/hrsa/models/contrastive.py",
        "workflow/scripts/extract.py",
        "workflow/rules/train.smk",
        "tests/workflow/small.yaml",
    ],
)
def test_a_comment_does_nothing(checkout, file):
    path = checkout.path / file
    path.write_text(path.read_text() + "\n# a remark\n")
    assert checkout.plan().counts == {}


def test_a_parameter_of_one_metric_reruns_that_metric_alone(checkout):
    checkout.edit("tests/workflow/small.yaml", "k: [5, 10]", "k: [5, 12]")
    plan = checkout.plan()
    neighbours = {rule for rule in plan.rules if rule.startswith("neighbours")}
    assert plan.rules == {"knn", "figure_knn", *neighbours, *AFTER_METRICS}
    assert plan.counts["knn"] == 3


def test_an_edit_of_one_metrics_module_reruns_that_metric_alone(checkout):
    path = checkout.path / "workflow/hrsa/similarity/cka.py"
    path.write_text(path.read_text() + "\nREVISED = True\n")
    plan = checkout.plan()
    assert plan.rules == {"cka", "figure_heatmaps", *AFTER_METRICS}
    assert plan.counts["cka"] == 3
    assert plan.counts["figure_heatmaps"] == 1


def test_an_edit_of_a_figures_module_redraws_that_figure_alone(checkout):
    path = checkout.path / "workflow/hrsa/figures/knn.py"
    path.write_text(path.read_text() + "\nREVISED = True\n")
    assert checkout.plan().rules == {"figure_knn", "report", "finish"}


def test_a_deleted_figure_is_redrawn_alone(checkout):
    (checkout.path / "results/small/figures/probe.png").unlink()
    plan = checkout.plan()
    assert plan.rules == {"figure_probe", "report", "finish"}


def test_a_new_model_and_pair_cost_only_themselves(checkout):
    checkout.edit(
        "tests/workflow/small.yaml",
        "datasets:\n",
        "  sft-emb-b: {recipe: contrastive, parent: sft, seeds: [1]}\ndatasets:\n",
    )
    checkout.edit(
        "tests/workflow/small.yaml",
        "metrics:\n",
        "  - {name: new, kind: seed, reference: sft-emb.s0, candidate: sft-emb-b.s1}\nmetrics:\n",
    )
    plan = checkout.plan()
    once = {
        "contrastive",
        "extract",
        "neighbours",
        "correlation",
        "procrustes",
        "cka",
        "knn",
        "probe",
    }
    assert {rule: plan.counts.get(rule) for rule in once} == dict.fromkeys(once, 1)
    assert "Training sft-emb-b.s1 into an embedding model" in plan.messages
    assert not plan.rules & {"pretrain", "sft", "accuracy", "evaluate", "dataset", "corpus"}


def test_a_changed_seed_of_one_embedding_reruns_its_branch_alone(checkout):
    small = checkout.path / "tests/workflow/small.yaml"
    small.write_text(
        small.read_text()
        .replace("parent: base, seeds: [0, 1],", "parent: base, seeds: [0, 7],")
        .replace("candidate: base-emb.s1}", "candidate: base-emb.s7}")
    )
    plan = checkout.plan()
    assert {message for message in plan.messages if "base-emb.s" in message} == {
        "Training base-emb.s7 into an embedding model",
        "Extracting activations of base-emb.s7",
        "Finding nearest neighbours in base-emb.s7",
        "Running the benchmarks local on base-emb.s7",
    }
    assert plan.counts["contrastive"] == plan.counts["extract"] == plan.counts["cka"] == 1
    assert plan.counts["evaluate"] == plan.counts["differences"] == 1
    assert "Comparing geometry by linear CKA: base-emb-seeds" in plan.messages
    assert not plan.rules & {"pretrain", "sft", "accuracy", "dataset", "corpus"}


def test_a_changed_data_set_is_extracted_and_compared_again_and_nothing_is_trained(checkout):
    checkout.edit("tests/workflow/small.yaml", "samples: 96", "samples: 90")
    plan = checkout.plan()
    assert plan.counts["dataset"] == 1
    assert plan.counts["extract"] + plan.counts["extract_2"] == 5
    assert plan.counts["cka"] == 3
    assert not plan.rules & {"corpus", "pretrain", "sft", "contrastive", "accuracy", "evaluate"}


def test_a_changed_corpus_trains_again_what_reads_that_part_of_it(checkout):
    checkout.edit("tests/workflow/small.yaml", "  pairs: 200\n", "  pairs: 210\n")
    plan = checkout.plan()
    assert plan.counts["corpus"] == 1
    assert plan.counts["contrastive"] == 3
    assert not {"pretrain", "sft", "accuracy"} & plan.rules


def test_more_queries_only_score_the_benchmarks_again(checkout):
    checkout.edit("tests/workflow/small.yaml", "queries: 8}", "queries: 9}")
    plan = checkout.plan()
    trained = {"pretrain", "sft", "contrastive", "extract", "cka", "dataset"}
    assert "evaluate" in plan.rules
    assert not trained & plan.rules


def test_files_that_are_still_right_are_kept_when_a_data_set_is_added(checkout):
    kept = checkout.path / "results/small/activations/base/topics.h5"
    before = kept.stat().st_ino
    checkout.edit(
        "tests/workflow/small.yaml",
        "pairs:\n  - {name: base-sft,",
        "  questions: {generator: questions}\npairs:\n  - {name: base-sft,",
    )
    checkout.snakemake("results/small/activations/base/questions.h5")
    with open_activations(kept.parent / "questions.h5") as added:
        assert added.attrs["dataset"] == "questions"
    assert kept.stat().st_ino == before  # a file that is written again is another one
    log = (checkout.path / "results/small/logs/extract/base.log").read_text()
    assert "kept results/small/activations/base/topics.h5" in log


def test_a_failed_comparison_costs_only_itself_and_can_be_queued_again(checkout):
    # more neighbours than tokens: an error of the subject, not of the machine
    checkout.edit("tests/workflow/small.yaml", "k: [5, 10]", "k: [5, 100000]")
    done = checkout.snakemake(check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert "4 results could not be computed" in said
    assert "knn of pair base-sft (base and sft, data set topics)" in said
    page = (checkout.path / "results/small/report/index.html").read_text()
    assert "knn of pair base-sft (base and sft, data set topics)" in page
    assert checkout.plan().rules == {"finish"}
    retry = ("--config", "retry_failed=true")
    assert checkout.plan(*retry).counts["knn"] == 3
    checkout.snakemake(*retry, check=False)
    assert checkout.plan().rules == {"finish"}


def test_a_mistake_in_the_configuration_is_a_paragraph(checkout):
    checkout.edit("tests/workflow/small.yaml", "  cka: {}", "  ckaa: {}")
    done = checkout.snakemake("--dry-run", check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert "tests/workflow/small.yaml: unknown key `ckaa` in `metrics`" in said
    assert "Did you mean `cka`?" in said
    assert "Traceback" not in said
    assert 'File "' not in said

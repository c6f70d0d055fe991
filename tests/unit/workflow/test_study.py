"""What decides a job's staleness: the parts of the configuration that it really uses."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from hrsa.errors import UserError
from hrsa.reporting.effects import EFFECT_COLUMNS
from hrsa.similarity.results import SIMILARITY_COLUMNS
from hrsa_workflow import products
from hrsa_workflow.checks import check_sources
from hrsa_workflow.config import load_config
from hrsa_workflow.reading import read_otherwise
from hrsa_workflow.sources import fingerprint
from hrsa_workflow.study import TASK_CORPUS, Study
from hrsa_workflow.tables import EFFECTS, SIMILARITY, typed
from hrsa_workflow.training import prepare_resume


def made(config, **changes):
    return Study(load_config(config | changes), code=lambda script: script)


def test_a_recipe_depends_on_the_files_of_the_corpus_that_it_reads(study):
    before, after = made(study), made(study, corpus={"pairs": 17})
    assert before.corpus_part(["problems"]) == after.corpus_part(["problems"])
    assert before.corpus_part(["pairs"]) != after.corpus_part(["pairs"])


def test_what_is_measured_on_leaves_training_alone(study):
    before, after = made(study), made(study, corpus={"evaluation": "validation"})
    trained = before.named("pretrain", "sft", "rlvr", "contrastive")
    assert len(trained) > 3
    for name in trained:
        assert before.training_parts(name) == after.training_parts(name)
    for files in (["test-problems"], *TASK_CORPUS.values()):
        assert before.corpus_part(files) != after.corpus_part(files)


def test_a_control_is_given_the_settings_that_it_matches(study):
    study["models"]["base"]["problem_share"] = 0.1
    study["models"]["sft"]["steps"] = 33
    study["models"]["control"] = {"recipe": "continued", "parent": "base"}
    settings = made(study).training_settings("control")
    assert settings["match"]["steps"] == 33
    assert settings["pretrain"]["problem_share"] == 0.1


def test_a_metric_takes_the_data_sets_that_do_not_leave_it_out(study):
    study["datasets"]["problems"] = {"generator": "problems", "metrics": ["cka"]}
    assert made(study).datasets_for("cka") == ["problems", "topics"]
    assert made(study).datasets_for("knn") == ["topics"]
    assert made(study).datasets_for("probe") == []


def write_model(folder, weights, **files):
    folder.mkdir()
    save_file({"w": np.full(3, weights, np.float32)}, folder / files.pop("named"))
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(json.dumps(content))
    return str(folder)


@pytest.fixture
def adapter(study, tmp_path, monkeypatch):
    """A study of an adapter that is merged onto a base; both are folders of the user's."""
    monkeypatch.chdir(tmp_path)  # fingerprints are remembered under it
    model = {"config__json": {"model_type": "qwen2"}, "tokenizer__json": {}}
    lora = {"adapter_config__json": {"peft_type": "LORA"}}
    study["models"]["mine"] = {
        "path": write_model(tmp_path / "lora", 1, named="adapter_model.safetensors", **lora),
        "base": write_model(tmp_path / "base", 2, named="model.safetensors", **model),
    }
    return study


def test_an_adapter_is_made_from_its_files_and_its_bases(adapter, tmp_path):
    found = made(adapter)
    names = [file.rpartition("/")[2] for file in found.source_files("mine")]
    assert names == ["adapter_config.json", "adapter_model.safetensors"]
    assert str(tmp_path / "base" / "model.safetensors") in found.base_files("mine")
    before = found.model_source("mine")
    save_file({"w": np.zeros(4, np.float32)}, tmp_path / "base" / "model.safetensors")
    after = made(adapter).model_source("mine")
    assert before["sha256"] == after["sha256"]
    assert before["base_sha256"] != after["base_sha256"]


def test_a_base_of_the_hub_is_downloaded_like_a_model(adapter):
    adapter["models"]["mine"]["base"] = {"hub": "owner/name"}
    found = made(adapter)
    assert found.base_files("mine") == ["resources/models/owner--name/main/retrieved.json"]
    assert found.hub_sources == {
        "resources/models/owner--name/main": {"hub": "owner/name", "revision": "main"}
    }


def test_a_base_is_for_adapters_alone(adapter):
    mine = adapter["models"]["mine"]
    mine["path"], mine["base"] = mine["base"], mine["path"]
    with pytest.raises(UserError, match=r"`models.mine.path`.*There is no adapter"):
        check_sources(load_config(adapter), Path("."))


def test_which_metrics_use_a_data_set_does_not_change_its_content(study):
    before = made(study).dataset_part("topics")
    study["datasets"]["topics"]["metrics"] = ["cka", "knn"]
    assert made(study).dataset_part("topics") == before


def test_how_parts_are_joined_changes_no_extraction(study):
    before = made(study)
    after = made(study, extraction={"joined": "copy"})
    assert after.config["extraction"] != before.config["extraction"]
    assert after.extraction_settings == before.extraction_settings
    assert made(study, extraction={"max_length": 9}).extraction_settings["max_length"] == 9


def test_the_smoke_scale_has_as_few_shards_as_samples_allow(study):
    study["datasets"]["topics"] |= {"samples": 1000, "shards": 400}
    study["datasets"]["problems"] = {"generator": "problems"}
    assert made(study).shards == {"topics": 400}
    assert made(study, scale="smoke").shards == {"topics": 2}


def test_bare_names_in_the_benchmarks_mean_every_seed(study):
    study["benchmarks"] = {
        "tasks": ["TopicRetrieval"],
        "models": ["base-emb", "base"],
        "bm25": True,
    }
    names = ["base-emb.s0", "base-emb.s1", "base-emb.s2", "base", "bm25"]
    assert made(study).evaluated == names


def test_smoke_results_lie_apart(study):
    assert made(study).folder == "results/tiny"
    assert made(study, scale="smoke").folder == "results/tiny-smoke"


def test_a_study_has_the_figures_that_it_has_something_for(study):
    study["metrics"] = {"cka": {}}
    assert [figure.name for figure in products.figures(made(study))] == [
        "accuracy",
        "losses",
        "cka_heatmaps",
        "reanalysis",
    ]


def test_effects_are_a_table_made_from_similarities_and_their_replicates(study):
    names = products.table_names(made(study))
    assert names[-1] == "effects"
    assert products.table_files(made(study))["effects_csv"] == "results/tiny/tables/effects.csv"
    inputs = products.table_inputs(made(study))
    assert inputs["replicates"] == [
        "results/tiny/similarity/cka/base-sft.h5",
        "results/tiny/similarity/knn/base-sft.h5",
    ]
    assert set(inputs) - {"replicates"} == set(names) - {"effects"}


def test_the_effects_table_has_the_columns_of_the_effects():
    assert list(EFFECTS) == list(EFFECT_COLUMNS)


def test_the_report_tells_no_folder_of_this_machine(study, tmp_path):
    (tmp_path / "mine.csv").write_text("text\nhello\n")
    study["datasets"]["mine"] = {"path": str(tmp_path / "mine.csv")}
    assert str(tmp_path) not in json.dumps(products.facts(made(study)))


def test_a_fingerprint_is_of_name_and_content(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "a.txt"
    file.write_text("one")
    first = fingerprint([str(file)])
    file.touch()
    assert fingerprint([str(file)]) == first
    file.write_text("two")
    assert fingerprint([str(file)]) != first


def test_a_resume_folder_of_another_training_is_emptied(tmp_path):
    folder = tmp_path / "resume"
    prepare_resume(folder, key={"steps": 3})
    (folder / "state").write_text("half way")
    prepare_resume(folder, key={"steps": 3})
    assert (folder / "state").exists()
    prepare_resume(folder, key={"steps": 4})
    assert not (folder / "state").exists()


def test_a_reading_has_the_parents_weights_and_its_own_attention(tmp_path):
    parent = tmp_path / "models" / "base"
    parent.mkdir(parents=True)
    (parent / "model.safetensors").write_bytes(b"weights")
    (parent / "curve.csv").write_text("step,loss\n")
    (parent / "config.json").write_text('{"hidden_size": 8}')
    record = {"model": "base", "sha256": "ab", "attention": "causal", "note": "", "seed": 1}
    (parent / "record.json").write_text(json.dumps(record))
    folder = tmp_path / "models" / "both-ways"
    read_otherwise(parent, folder, attention="bidirectional")
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    assert not (folder / "model.safetensors").readlink().is_absolute()
    assert json.loads((folder / "config.json").read_text())["is_causal"] is False
    written = json.loads((folder / "record.json").read_text())
    assert (written["sha256"], written["attention"]) == ("ab", "bidirectional")
    assert written["parent"] == "base"
    assert not (folder / "curve.csv").exists()


def test_the_similarity_table_has_the_columns_of_the_metrics():
    assert list(SIMILARITY) == list(SIMILARITY_COLUMNS)


@pytest.mark.parametrize("tables", [[], [pd.DataFrame({"pair": ["a"], "seed": [None]})]])
def test_an_empty_table_is_typed_like_a_full_one(tables):
    table = typed(tables, SIMILARITY)
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == dict(SIMILARITY)

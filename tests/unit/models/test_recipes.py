"""Every recipe on a tiny model: what it leaves behind, and what makes it that recipe."""

import json

import pandas as pd
import pytest
import torch
from tiny_recipes import CONTINUED, CONTRASTIVE, RLVR, SFT, training_files
from transformers import Qwen2ForCausalLM

from hrsa.models import continued, contrastive, rewards, rlvr, sft
from hrsa.models.dose import kl_to_parent
from hrsa.models.folder import backbone_weights, relative_weight_change, saved_weight_change
from hrsa.models.loading import load_backbone, load_language_model, weights_sha256

SETTINGS = {sft: SFT, continued: CONTINUED, rlvr: RLVR, contrastive: CONTRASTIVE}
RECIPES = pytest.mark.parametrize("recipe", list(SETTINGS), ids=lambda module: module.RECIPE)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, corpus, base):
    """One model of each recipe, trained when first asked for."""
    folders = {}
    # an untrained model solves nothing: reward what it does by luck, so that there is a gradient
    luck = pytest.MonkeyPatch()
    luck.setattr(rewards, "is_correct", lambda text, *_: len(text) % 2 == 0)

    def get(recipe):
        if recipe not in folders:
            folder = tmp_path_factory.mktemp(recipe.RECIPE) / recipe.RECIPE
            recipe.train(
                folder,
                parent=base,
                data=training_files(corpus, recipe.RECIPE),
                seed=1,
                resume=folder.parent / "resume",
                settings=SETTINGS[recipe],
            )
            folders[recipe] = folder
        return folders[recipe]

    yield get
    luck.undo()


@RECIPES
def test_the_record_says_what_was_done_and_nothing_of_when_or_where(recipe, trained, base):
    folder = trained(recipe)
    record = json.loads((folder / "record.json").read_text())
    assert record["recipe"] == recipe.RECIPE
    assert record["parent"] == "base"
    assert (record["seed"], record["steps"]) == (1, 3)
    assert record["sha256"] == weights_sha256(folder)
    assert 0 < record["relative_weight_change"] < 1
    assert record["train_tokens"] > 0
    files = (folder / "record.json").read_text() + (folder / "arguments.json").read_text()
    assert str(base.parent) not in files


@RECIPES
def test_a_checkpoint_is_a_model_of_its_own(recipe, trained):
    folder = trained(recipe)
    record = json.loads((folder / "record.json").read_text())["checkpoints"]["2"]
    checkpoint = folder / "checkpoints" / "2"
    assert record["sha256"] == weights_sha256(checkpoint) != weights_sha256(folder)
    _, tokenizer = load_backbone(checkpoint)
    assert len(tokenizer("apples")["input_ids"]) > 0


@RECIPES
def test_no_pickle_is_left_under_the_model(recipe, trained):
    names = {path.name for path in trained(recipe).rglob("*") if path.is_file()}
    assert "model.safetensors" in names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pth", ".pkl"))]


@RECIPES
def test_the_curve_has_a_loss_for_every_step(recipe, trained):
    curve = pd.read_csv(trained(recipe) / "curve.csv")
    assert curve["step"].tolist() == [1, 2, 3]
    assert curve["loss"].notna().all()


@pytest.mark.parametrize("recipe", [sft, continued, rlvr], ids=lambda module: module.RECIPE)
def test_language_models_stay_causal(recipe, trained):
    model, _ = load_language_model(trained(recipe))
    assert isinstance(model, Qwen2ForCausalLM)


def test_the_embedding_model_reads_bidirectionally(trained):
    model, _ = load_backbone(trained(contrastive))
    ids = torch.tensor([[300, 301, 302, 303], [300, 301, 302, 310]])
    with torch.no_grad():
        first = model(input_ids=ids).last_hidden_state[:, 0]
    assert model.config.is_causal is False
    assert not torch.allclose(first[0], first[1], atol=1e-6)


def test_the_control_sees_as_many_tokens_as_the_model_it_is_matched_to(trained):
    tokens = [
        json.loads((trained(recipe) / "record.json").read_text())["train_tokens"]
        for recipe in (sft, continued)
    ]
    assert tokens[0] == tokens[1]


def test_one_seed_gives_the_same_weights_again(trained, corpus, base, tmp_path):
    folder = tmp_path / "sft"
    data = training_files(corpus)
    sft.train(folder, parent=base, data=data, seed=1, resume=tmp_path / "resume", settings=SFT)
    assert weights_sha256(folder) == weights_sha256(trained(sft))


def test_reinforcement_records_reward_and_length(trained):
    curve = pd.read_csv(trained(rlvr) / "curve.csv")
    assert curve["reward"].between(0, 1).all()
    assert curve["completion_length"].between(1, 8).all()


def test_the_dose_is_zero_for_the_parent_itself_and_positive_after_training(trained, base, corpus):
    problems = corpus / "test-problems.parquet"
    none = kl_to_parent(base, base, problems, n_texts=20)
    some = kl_to_parent(trained(sft), base, problems, n_texts=20)
    assert none["kl_to_parent"] == pytest.approx(0, abs=1e-9)
    assert some["kl_to_parent"] > 1e-4
    assert none["n_tokens"] == some["n_tokens"] > 0


def test_the_weight_change_is_relative_to_the_start():
    layer = torch.nn.Linear(3, 2)
    before = backbone_weights(layer)
    with torch.no_grad():
        for value in layer.parameters():
            value.mul_(1.1)
    assert relative_weight_change(before, layer) == pytest.approx(0.1, rel=1e-5)


def test_the_weight_change_of_a_saved_model_is_that_of_the_model(trained, base):
    start = backbone_weights(load_language_model(base)[0])
    folder = trained(sft)
    expected = json.loads((folder / "record.json").read_text())["relative_weight_change"]
    assert saved_weight_change(start, folder) == pytest.approx(expected, rel=1e-6)
    assert saved_weight_change(start, base) == 0


def test_the_control_text_is_cut_to_the_asked_lengths(base):
    _, tokenizer = load_language_model(base)
    examples = continued.cut(["one two", "three"], tokenizer, [3, 5, 4])
    assert [len(example) for example in examples] == [3, 5, 4]

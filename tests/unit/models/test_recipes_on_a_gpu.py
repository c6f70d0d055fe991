"""The recipes on a GPU: they compute there, in bfloat16, and leave what they leave on a CPU."""

import json

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from tiny_recipes import CONTINUED, CONTRASTIVE, RLVR, SFT, training_files
from torch.nn.attention import sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention
from transformers import Trainer

from hrsa.models import continued, contrastive, rewards, rlvr, sft
from hrsa.models.trainers import ATTENTION_KERNELS

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU on this machine"),
]
SETTINGS = {sft: SFT, continued: CONTINUED, rlvr: RLVR, contrastive: CONTRASTIVE}
RECIPES = pytest.mark.parametrize("recipe", list(SETTINGS), ids=lambda module: module.RECIPE)
LORA = {"rank": 4, "alpha": 8, "dropout": 0.0}


@pytest.fixture
def train(corpus, base, tmp_path, monkeypatch):
    """Train a recipe with some settings changed; the model's folder."""
    # an untrained model solves nothing: reward what it does by luck, so that there is a gradient
    monkeypatch.setattr(rewards, "is_correct", lambda text, *_: len(text) % 2 == 0)

    def go(recipe, name="model", **settings):
        if recipe is continued and settings:
            settings = {"match": CONTINUED["match"] | settings}
        recipe.train(
            tmp_path / name,
            parent=base,
            data=training_files(corpus, recipe.RECIPE),
            seed=1,
            resume=tmp_path / f"{name}-resume",
            settings=SETTINGS[recipe] | settings,
        )
        return tmp_path / name

    return go


@RECIPES
@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_a_recipe_computes_on_the_gpu_and_keeps_its_weights_in_float32(recipe, lora, train):
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.max_memory_allocated()
    folder = train(recipe, precision="auto", lora=lora)
    assert torch.cuda.max_memory_allocated() > before
    arguments = json.loads((folder / "arguments.json").read_text())
    assert arguments["bf16"] is torch.cuda.is_bf16_supported()
    weights = load_file(folder / "model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float32}
    assert pd.read_csv(folder / "curve.csv")["loss"].notna().all()
    assert 0 < json.loads((folder / "record.json").read_text())["relative_weight_change"] < 1


@pytest.mark.parametrize("recipe", [sft, continued, contrastive], ids=lambda one: one.RECIPE)
def test_in_float32_it_ends_where_a_cpu_ends(recipe, train, monkeypatch):
    """The same batches, in another order of summation; what is sampled may differ altogether."""
    on_gpu = load_file(train(recipe, "gpu", precision="float32") / "model.safetensors")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    on_cpu = load_file(train(recipe, "cpu", precision="float32") / "model.safetensors")
    for name, weight in on_cpu.items():
        # Adam's first steps are as long as the learning rate, whatever the gradient's size
        assert float((weight - on_gpu[name]).abs().mean()) < 1e-4, name


@RECIPES
def test_it_goes_on_from_a_state(recipe, train, monkeypatch):
    """Interrupted after the state of step 2, whole otherwise: losses agree to a GPU's rounding."""
    whole = train(recipe, "whole", save_every=2, checkpoints=[2])
    interrupted = []

    def once(self, *arguments, **keywords):
        save(self, *arguments, **keywords)
        if not interrupted:
            interrupted.append(self.state.global_step)
            raise KeyboardInterrupt

    save = Trainer._save_checkpoint
    monkeypatch.setattr(Trainer, "_save_checkpoint", once)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, "again", save_every=2, checkpoints=[2])
    again = train(recipe, "again", save_every=2, checkpoints=[2])
    assert interrupted == [2]
    losses = [pd.read_csv(folder / "curve.csv")["loss"] for folder in (whole, again)]
    assert losses[0].to_numpy() == pytest.approx(losses[1].to_numpy(), abs=1e-3)


def test_cached_gradients_keep_memory_at_the_micro_batch(base):
    """Twice the pairs in a step at one micro-batch: 10 % more at most; 40 % without a cache."""
    peaks = {
        micro: [peak_of_a_step(base, pairs, micro) for pairs in (512, 1024)] for micro in (64, None)
    }
    assert peaks[64][1] < 1.1 * peaks[64][0]
    assert peaks[None][1] > 1.4 * peaks[None][0]


def peak_of_a_step(parent, pairs, micro):
    """Bytes that a step of InfoNCE holds at most on the GPU."""
    model = contrastive.embedding_model(parent, max_length=64)
    settings = {"temperature": 0.02, "micro_batch": micro, "batch_size": pairs}
    loss = contrastive.info_nce(model, settings)
    columns = [
        {
            "input_ids": torch.randint(300, (pairs, 64), device="cuda"),
            "attention_mask": torch.ones(pairs, 64, dtype=torch.long, device="cuda"),
        }
        for _ in range(2)
    ]
    torch.cuda.reset_peak_memory_stats()
    loss(columns, labels=None).backward()
    return torch.cuda.max_memory_allocated()


def test_the_kernels_of_training_have_gradients_where_all_scores_are_very_low():
    """As a head has them that heeds a massive activation, with padding masked."""
    length, size = 64, 64
    query, key, value = torch.randn(3, 1, 1, length, size, device="cuda", dtype=torch.bfloat16) / 10
    query[..., 0], key[..., 0] = 1.0, -120 * size**0.5
    inputs = [states.requires_grad_() for states in (query.clone(), key.clone(), value.clone())]
    mask = torch.ones(length, length, dtype=torch.bool, device="cuda").tril()
    with sdpa_kernel(ATTENTION_KERNELS):
        scaled_dot_product_attention(*inputs, attn_mask=mask[None, None]).float().sum().backward()
    assert all(torch.isfinite(states.grad).all() for states in inputs)

"""LoRA trains small matrices beside frozen weights, and leaves an ordinary model folder."""

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModel

from hrsa.models.folder import save_model
from hrsa.models.loading import load_language_model
from hrsa.models.lora import add_lora, merge_lora

LORA = {"rank": 4, "alpha": 8, "dropout": 0.0}


@pytest.fixture
def model(qwen_folder):
    return load_language_model(qwen_folder)[0]


@pytest.fixture
def adapted(model):
    """A model whose adapter does something, as it does after training."""
    adapted = add_lora(model, LORA, seed=0)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, value in adapted.named_parameters():
            if "lora_B" in name:
                value.normal_(0, 0.1)
    return adapted.eval()


def logits(model):
    with torch.no_grad():
        return model(input_ids=torch.arange(12)[None]).logits


def adapters(model):
    return {name: value for name, value in model.named_parameters() if value.requires_grad}


def test_without_lora_the_model_is_itself(model):
    assert add_lora(model, None, seed=0) is model
    assert merge_lora(model) is model


def test_all_linear_layers_of_the_blocks_are_adapted_and_nothing_else(model):
    names = set(adapters(add_lora(model, LORA, seed=0)))
    layers = [f"self_attn.{part}_proj" for part in "qkvo"]
    layers += [f"mlp.{part}_proj" for part in ("gate", "up", "down")]
    assert names == {
        f"base_model.model.model.layers.{block}.{layer}.lora_{side}.default.weight"
        for block in range(2)
        for layer in layers
        for side in "AB"
    }


def test_a_backbone_without_a_head_is_adapted_too(qwen_folder):
    backbone = AutoModel.from_pretrained(qwen_folder)
    assert len(adapters(add_lora(backbone, LORA, seed=0))) == 2 * 7 * 2


def test_the_seed_fixes_the_start_and_the_start_changes_nothing(qwen_folder, model):
    before = logits(model)
    state = torch.get_rng_state()
    first, same, other = (
        add_lora(load_language_model(qwen_folder)[0], LORA, seed=seed) for seed in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(*map(values, (first, same)), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(*map(values, (first, other)), strict=True))
    assert torch.equal(logits(first.eval()), before)


def values(model):
    return adapters(model).values()


def test_merged_weights_compute_what_the_adapter_did(qwen_folder, adapted):
    before = logits(adapted)
    assert not torch.allclose(before, logits(load_language_model(qwen_folder)[0]), atol=1e-3)
    assert torch.allclose(logits(merge_lora(adapted)), before, atol=1e-5)


def test_the_update_is_scaled_by_alpha_over_rank(qwen_folder, adapted):
    plain = load_language_model(qwen_folder)[0].get_parameter("model.layers.0.mlp.up_proj.weight")
    layer = adapted.base_model.model.model.layers[0].mlp.up_proj
    update = 2.0 * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    merged = merge_lora(adapted).get_parameter("model.layers.0.mlp.up_proj.weight")
    assert torch.allclose(merged, plain + update, atol=1e-6)


def test_merging_leaves_the_training_untouched(adapted):
    before = {name: value.clone() for name, value in adapted.state_dict().items()}
    merge_lora(adapted)
    after = adapted.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert 0 < len(adapters(adapted)) < len(before)


def test_a_merged_model_is_saved_as_an_ordinary_folder(qwen_folder, adapted, tokenizer, tmp_path):
    save_model(tmp_path, merge_lora(adapted), tokenizer)
    names = [
        set(safe_open(folder / "model.safetensors", "pt").keys())
        for folder in (qwen_folder, tmp_path)
    ]
    assert names[0] == names[1]
    assert not list(tmp_path.glob("adapter*"))
    assert torch.allclose(logits(load_language_model(tmp_path)[0]), logits(adapted), atol=1e-5)

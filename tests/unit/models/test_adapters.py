"""LoRA adapters are merged onto the base that the user names, and fit it or are refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from tiny_families import make_family, marked, save_family, save_gguf
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM

from hrsa.errors import UserError
from hrsa.models.adapters import (
    adapter_base,
    check_adapter_folder,
    merge_adapter,
    save_merged_adapter,
)
from hrsa.models.loading import (
    check_model_folder,
    load_backbone,
    load_language_model,
    weights_sha256,
)

IDS = torch.tensor([[5, 6, 7, 8, 9, 10], [11, 12, 13, 14, 15, 16]])
KINDS = {
    "qwen2": AutoModelForCausalLM,
    "llama": AutoModelForCausalLM,
    "qwen3": AutoModel,  # trained without a head, as embedding models are
    "bert": AutoModelForMaskedLM,
}
MODULES = {"bert": ["query", "value", "dense"]}


@pytest.fixture
def base_of(tmp_path, tokenizer):
    """Save a base model of a family."""

    def save(family: str, **changes) -> Path:
        folder = tmp_path / f"{family}-base"
        own = marked(tokenizer, "<|start|>", "<|stop|>") if family == "bert" else tokenizer
        return save_family(folder, family, own, **changes)

    return save


@pytest.fixture
def adapt(tmp_path):
    """Save an adapter with random weights, as if it had been trained; gives its folder."""

    def save(base: Path, kind=AutoModelForCausalLM, **settings) -> Path:
        settings = {"r": 4, "target_modules": ["q_proj", "v_proj", "down_proj"], **settings}
        torch.manual_seed(3)
        model = get_peft_model(kind.from_pretrained(base), LoraConfig(**settings))
        for name, weight in model.named_parameters():
            if "lora_" in name or "modules_to_save" in name:
                torch.nn.init.normal_(weight, std=0.1)
        folder = tmp_path / "adapter"
        model.save_pretrained(folder)
        return folder

    return save


def by_peft(adapter: Path, base: Path, kind) -> torch.nn.Module:
    return PeftModel.from_pretrained(kind.from_pretrained(base), adapter).eval()


def output(model) -> torch.Tensor:
    with torch.no_grad():
        result = model(input_ids=IDS)
    return result.logits if "logits" in result else result.last_hidden_state


@pytest.mark.parametrize("settings", [{}, {"use_dora": True}, {"use_rslora": True, "bias": "all"}])
@pytest.mark.parametrize("family", KINDS)
def test_a_merged_adapter_computes_what_peft_computes(base_of, adapt, family, settings):
    kind = KINDS[family]
    base = base_of(family)
    modules = {"target_modules": MODULES[family]} if family in MODULES else {}
    adapter = adapt(base, kind, **modules, **settings)
    merged, _ = merge_adapter(adapter, base)
    expected = output(by_peft(adapter, base, kind))
    torch.testing.assert_close(output(merged), expected, atol=1e-5, rtol=1e-5)
    assert (output(kind.from_pretrained(base).eval()) - expected).abs().max() > 1e-2
    assert not any("lora" in name for name, _ in merged.named_parameters())


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("modules", [["lm_head"], ["embed_tokens"], ["q_proj"]])
def test_a_head_that_shares_the_embeddings_is_changed_as_peft_changes_it(
    base_of, adapt, tmp_path, tied, modules
):
    base = base_of("qwen2", tie_word_embeddings=tied)
    adapter = adapt(base, target_modules=modules)
    merged, _ = merge_adapter(adapter, base)
    expected = output(by_peft(adapter, base, AutoModelForCausalLM))
    torch.testing.assert_close(output(merged), expected, atol=1e-5, rtol=1e-5)
    still_tied = merged.lm_head.weight is merged.model.embed_tokens.weight
    assert still_tied == (tied and modules == ["q_proj"])
    save_merged_adapter(adapter, tmp_path / "merged", base)
    read, _ = load_language_model(tmp_path / "merged")
    torch.testing.assert_close(output(read), expected, atol=1e-5, rtol=1e-5)


def test_modules_that_were_trained_whole_are_taken_over(base_of, adapt):
    base = base_of("qwen2", tie_word_embeddings=False)
    adapter = adapt(base, modules_to_save=["lm_head"])
    merged, _ = merge_adapter(adapter, base)
    expected = output(by_peft(adapter, base, AutoModelForCausalLM))
    torch.testing.assert_close(output(merged), expected, atol=1e-5, rtol=1e-5)


def test_what_is_saved_is_a_model_like_any_other(base_of, adapt, tmp_path):
    base = base_of("qwen2", tie_word_embeddings=True)
    adapter = adapt(base)
    before = weights_sha256(base)
    note = save_merged_adapter(adapter, tmp_path / "one", base)
    save_merged_adapter(adapter, tmp_path / "two", base)
    assert weights_sha256(tmp_path / "one") == weights_sha256(tmp_path / "two") != before
    assert weights_sha256(base) == before
    assert before[:16] in note
    assert str(tmp_path) not in note
    expected = by_peft(adapter, base, AutoModelForCausalLM)
    model, _ = load_language_model(tmp_path / "one")
    torch.testing.assert_close(output(model), output(expected), atol=1e-5, rtol=1e-5)
    backbone, _ = load_backbone(tmp_path / "one", attention="bidirectional")
    inner = expected.base_model.model.model
    inner.config.is_causal = False
    torch.testing.assert_close(output(backbone), output(inner), atol=1e-5, rtol=1e-5)


def test_a_gguf_file_is_a_base_too(adapt, base_of, tmp_path, tokenizer):
    base = base_of("qwen2", tie_word_embeddings=True)
    adapter = adapt(base)
    original = AutoModelForCausalLM.from_pretrained(base)
    save_gguf(tmp_path / "base.gguf", "qwen2", original, tokenizer)
    merged, read = merge_adapter(adapter, tmp_path / "base.gguf")
    expected = output(by_peft(adapter, base, AutoModelForCausalLM))
    torch.testing.assert_close(output(merged), expected, atol=1e-5, rtol=1e-5)
    assert read("Rain fell")["input_ids"] == tokenizer("Rain fell")["input_ids"]
    save_merged_adapter(adapter, tmp_path / "merged", tmp_path / "base.gguf")
    torch.testing.assert_close(output(load_language_model(tmp_path / "merged")[0]), output(merged))


def test_weights_in_half_precision_are_added_in_the_type_asked_for(base_of, adapt):
    base = base_of("llama")
    adapter = adapt(base)
    assert merge_adapter(adapter, base)[0].dtype == torch.float32
    assert merge_adapter(adapter, base, dtype="bfloat16")[0].dtype == torch.bfloat16


def test_the_tokenizer_is_the_adapters_where_it_has_one(base_of, adapt, tokenizer):
    base = base_of("qwen2")
    adapter = adapt(base)
    assert len(merge_adapter(adapter, base)[1]("Rain")["input_ids"]) == len(
        tokenizer("Rain")["input_ids"]
    )
    own = type(tokenizer)(tokenizer_object=tokenizer.backend_tokenizer, pad_token="Z")
    own.save_pretrained(adapter)
    assert merge_adapter(adapter, base)[1].pad_token == "Z"


def test_the_recorded_base_is_followed_when_it_is_a_folder_here(base_of, adapt):
    base = base_of("qwen2")
    adapter = adapt(base)
    assert adapter_base(adapter) == base
    assert adapter_base(adapter, "elsewhere") == Path("elsewhere")
    merged, _ = merge_adapter(adapter)
    torch.testing.assert_close(output(merged), output(merge_adapter(adapter, base)[0]))


@pytest.mark.parametrize("recorded", ["owner/name", None])
def test_a_recorded_base_that_is_not_here_is_asked_for_and_never_fetched(base_of, adapt, recorded):
    adapter = adapt(base_of("qwen2"))
    file = adapter / "adapter_config.json"
    settings = json.loads(file.read_text()) | {"base_model_name_or_path": recorded}
    file.write_text(json.dumps(settings))
    with pytest.raises(UserError, match=r"not a folder on this machine. Name its base: `base:`"):
        merge_adapter(adapter)


def test_an_adapter_of_another_family_is_refused(base_of, adapt):
    adapter = adapt(base_of("qwen2"))
    with pytest.raises(UserError, match=r"does not fit the base .* \(bert\)"):
        merge_adapter(adapter, base_of("bert"))


def test_an_adapter_of_another_size_is_refused(base_of, adapt, tmp_path, tokenizer):
    adapter = adapt(base_of("qwen2"))
    wider = save_family(tmp_path / "wider", "qwen2", tokenizer, hidden_size=48)
    with pytest.raises(UserError, match=r"cannot be merged onto the base.*size mismatch"):
        merge_adapter(adapter, wider)
    deeper = adapt(save_family(tmp_path / "deeper", "qwen2", tokenizer, num_hidden_layers=3))
    with pytest.raises(UserError, match=r"model\.layers\.2"):
        merge_adapter(deeper, tmp_path / "qwen2-base")


def test_an_adapter_with_weights_missing_is_refused(base_of, adapt):
    from safetensors.torch import load_file, save_file

    base = base_of("qwen2")
    file = adapt(base) / "adapter_model.safetensors"
    weights = load_file(file)
    weights.pop(next(key for key in weights if "layers.1" in key and "lora_B" in key))
    save_file(weights, file)
    with pytest.raises(UserError, match="1 weights have no counterpart"):
        merge_adapter(file.parent, base)


def remove_configuration(folder: Path) -> None:
    (folder / "adapter_config.json").unlink()


def name_another_kind(folder: Path) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"peft_type": "PREFIX_TUNING"}))


def pickle_weights(folder: Path) -> None:
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")


def truncate_weights(folder: Path) -> None:
    file = folder / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (remove_configuration, "There is no adapter at"),
        (name_another_kind, "of the kind PREFIX_TUNING; allowed is LORA"),
        (pickle_weights, r"pickled weights \(adapter_model.bin\) are never loaded"),
        (truncate_weights, "not a complete safetensors file"),
    ],
)
def test_a_damaged_adapter_is_refused_with_its_name(base_of, adapt, damage, sentence):
    adapter = adapt(base_of("qwen2"))
    check_adapter_folder(adapter)
    damage(adapter)
    with pytest.raises(UserError, match=sentence) as error:
        check_adapter_folder(adapter)
    assert str(adapter) in str(error.value)


def test_an_adapter_alone_is_no_model_and_asks_for_its_base(base_of, adapt, tokenizer):
    adapter = adapt(base_of("qwen2"))
    with pytest.raises(UserError, match=r"holds an adapter .*`base:` beside its `path:`"):
        check_model_folder(adapter)


def test_a_base_that_is_no_model_is_named(base_of, adapt, tmp_path):
    adapter = adapt(base_of("qwen2"))
    shutil.rmtree(tmp_path / "qwen2-base")
    with pytest.raises(UserError, match=r"There is no model at .*qwen2-base"):
        merge_adapter(adapter, tmp_path / "qwen2-base")


def test_a_model_of_the_family_is_random_and_repeats_itself(tokenizer):
    one, other = (output(make_family("qwen2", tokenizer, seed=seed)) for seed in (0, 1))
    assert torch.equal(one, output(make_family("qwen2", tokenizer)))
    assert not torch.allclose(one, other)

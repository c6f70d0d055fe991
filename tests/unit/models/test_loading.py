"""Models load from safetensors and GGUF, read as asked, and refuse what is unsafe or incomplete."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel, Qwen2Config

from hrsa.errors import UserError
from hrsa.models.loading import (
    attention_mode,
    check_model_folder,
    load_backbone,
    load_language_model,
    observed_attention,
    weights_sha256,
)


@pytest.fixture
def copy(qwen_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(qwen_folder, tmp_path / "copy"))


def first_states_of_two_endings(model) -> tuple[torch.Tensor, torch.Tensor]:
    texts = torch.tensor([[5, 6, 7, 8], [5, 6, 7, 9]])
    with torch.no_grad():
        states = model(input_ids=texts).last_hidden_state[:, 0]
    return states[0], states[1]


@pytest.mark.parametrize("attention", ["causal", None])
def test_a_backbone_read_causally_does_not_look_ahead(qwen_folder, attention):
    model, _ = load_backbone(qwen_folder, attention=attention)
    one, other = first_states_of_two_endings(model)
    torch.testing.assert_close(one, other)
    assert attention_mode(model.config) == "causal"


def test_a_backbone_read_bidirectionally_looks_ahead(qwen_folder):
    model, _ = load_backbone(qwen_folder, attention="bidirectional")
    one, other = first_states_of_two_endings(model)
    assert (one - other).abs().max() > 1e-2
    assert attention_mode(model.config) == "bidirectional"


def test_attention_is_saved_and_read_back(qwen_folder, tmp_path):
    model, tokenizer = load_backbone(qwen_folder, attention="bidirectional")
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again, _ = load_backbone(tmp_path)
    assert observed_attention(again) == "bidirectional"


def test_padding_leaves_bidirectional_states_alone(qwen_folder):
    model, tokenizer = load_backbone(qwen_folder, attention="bidirectional")
    texts = ["Rain fell.", "Rain fell on the old town all night, and on the river too."]
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    alone = tokenizer(texts[:1], return_tensors="pt")
    with torch.no_grad():
        padded = model(**batch).last_hidden_state[0, : alone["input_ids"].shape[1]]
        single = model(**alone).last_hidden_state[0]
    torch.testing.assert_close(padded, single, atol=1e-5, rtol=1e-5)


def test_an_encoder_is_found_to_be_bidirectional_and_refuses_to_be_causal(tmp_path, tokenizer):
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=len(tokenizer), hidden_size=32, **sizes)
    BertModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model, _ = load_backbone(tmp_path)
    assert attention_mode(model.config) == "bidirectional"
    with pytest.raises(UserError, match=r"\(bert\) cannot: it obeys for some texts only"):
        load_backbone(tmp_path, attention="causal")


def test_models_are_in_evaluation_mode_and_of_the_dtype_asked_for(qwen_folder):
    model, _ = load_backbone(qwen_folder, dtype="bfloat16")
    assert not model.training
    assert model.dtype == torch.bfloat16
    with pytest.raises(ValueError, match="dtype='int8'"):
        load_backbone(qwen_folder, dtype="int8")
    with pytest.raises(ValueError, match="attention='both'"):
        load_backbone(qwen_folder, attention="both")  # type: ignore[arg-type]


def test_each_use_has_its_padding_side_whatever_was_saved(copy):
    file = copy / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"padding_side": "left"}))
    assert load_backbone(copy)[1].padding_side == "right"
    assert load_language_model(copy)[1].padding_side == "left"


def test_a_tokenizer_without_padding_token_gets_one_that_the_model_knows(copy):
    file = copy / "tokenizer_config.json"
    settings = json.loads(file.read_text())
    del settings["pad_token"]
    file.write_text(json.dumps(settings))
    model, tokenizer = load_backbone(copy)
    assert tokenizer.pad_token_id in range(model.config.vocab_size)


def test_a_language_model_generates(qwen_folder):
    model, tokenizer = load_language_model(qwen_folder)
    prompt = tokenizer(["Rain fell", "Ann"], padding=True, return_tensors="pt")
    assert model.generate(**prompt, max_new_tokens=3).shape[0] == 2


def test_a_backbone_without_head_is_no_language_model(qwen_folder, tmp_path):
    model, tokenizer = load_backbone(qwen_folder)
    model.config.tie_word_embeddings = False
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"1 of its weights are missing \(lm_head.weight\)"):
        load_language_model(tmp_path)


def test_a_bidirectional_model_is_no_language_model(copy):
    file = copy / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"is_causal": False}))
    with pytest.raises(UserError, match="cannot generate"):
        load_language_model(copy)


def test_weights_of_another_size_than_the_configuration_says_are_refused(copy):
    file = copy / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"intermediate_size": 48}))
    with pytest.raises(UserError, match="weights have another shape"):
        load_backbone(copy)


def test_an_unknown_architecture_is_a_sentence(copy):
    file = copy / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"model_type": "mystery"}))
    with pytest.raises(UserError, match="transformers cannot load the model"):
        load_backbone(copy)


def test_attention_is_read_off_configurations_and_their_files():
    assert attention_mode(Qwen2Config()) == "causal"
    assert attention_mode({}) == "causal"
    assert attention_mode({"is_causal": False}) == "bidirectional"


def test_the_hash_of_one_file_is_its_sha256(qwen_folder):
    content = (qwen_folder / "model.safetensors").read_bytes()
    assert weights_sha256(qwen_folder) == hashlib.sha256(content).hexdigest()


def test_the_hash_covers_every_part_in_the_order_of_names(tmp_path):
    (tmp_path / "model-00002-of-00002.safetensors").write_bytes(b"two")
    (tmp_path / "model-00001-of-00002.safetensors").write_bytes(b"one")
    assert weights_sha256(tmp_path) == hashlib.sha256(b"onetwo").hexdigest()


def test_a_model_in_parts_loads(qwen_folder, tmp_path):
    whole, tokenizer = load_backbone(qwen_folder)
    whole.save_pretrained(tmp_path, max_shard_size="40KB")
    tokenizer.save_pretrained(tmp_path)
    parts, _ = load_backbone(tmp_path)
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, parts.state_dict()[name])
    next(tmp_path.glob("model-00002-*")).unlink()
    with pytest.raises(UserError, match="lacks model-00002-of"):
        check_model_folder(tmp_path)


def remove_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def pickle_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def truncate_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def point_to_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")


def remove_configuration(folder: Path) -> None:
    (folder / "config.json").unlink()


def break_configuration(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def name_no_architecture(folder: Path) -> None:
    (folder / "config.json").write_text("{}")


def remove_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def leave_an_adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (remove_weights, "holds no weights"),
        (
            pickle_weights,
            r"only pickled weights \(pytorch_model.bin\).*Convert them to safetensors",
        ),
        (truncate_weights, "not a complete safetensors file"),
        (point_to_weights, "Git LFS pointer"),
        (remove_configuration, "has no config.json"),
        (break_configuration, "not valid JSON"),
        (name_no_architecture, "names no model_type"),
        (remove_tokenizer, "has no tokenizer"),
        (leave_an_adapter, r"holds an adapter.*merge it \(peft: `merge_and_unload`\)"),
    ],
)
def test_a_damaged_folder_is_refused_with_its_name_and_a_remedy(copy, damage, sentence):
    check_model_folder(copy)
    damage(copy)
    with pytest.raises(UserError, match=sentence) as error:
        check_model_folder(copy)
    assert str(copy) in str(error.value)


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(UserError, match="There is no model at"):
        check_model_folder(tmp_path / "absent")
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(UserError, match=r"neither a model folder nor a \.gguf file"):
        check_model_folder(file)
    with pytest.raises(UserError, match="There is no GGUF file"):
        check_model_folder(tmp_path / "absent.gguf")
    (tmp_path / "text.gguf").write_text("not one")
    with pytest.raises(UserError, match="does not start as a GGUF file does"):
        check_model_folder(tmp_path / "text.gguf")

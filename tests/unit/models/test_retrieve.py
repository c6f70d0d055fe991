"""Models from outside: what is asked of the hub, what errors say, what a study's folder gets."""

import json
import shutil
import sys
from pathlib import Path

import gguf
import httpx2
import huggingface_hub
import numpy as np
import pytest
import torch
from gguf.quants import quantize
from huggingface_hub import errors

from hrsa.errors import UserError
from hrsa.models import hub_errors
from hrsa.models.loading import load_backbone, load_language_model, weights_sha256
from hrsa.models.retrieve import configuration_sha256, materialise_path, retrieve, wanted_files

sys.path.insert(0, str(Path(__file__).parents[2] / "hub"))
from local_hub import LocalHub


def test_only_safetensors_configuration_and_tokenizer_are_wanted():
    offered = [
        *("model.safetensors", "model-00001-of-00002.safetensors", "model.safetensors.index.json"),
        *("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"),
        *("modules.json", "1_Pooling/config.json"),
        *("pytorch_model.bin", "training_args.bin", "modeling_mine.py", "README.md"),
        *("consolidated.safetensors", "onnx/model.onnx", "original/model.safetensors"),
        *("checkpoint-5/config.json", "adapter_model.safetensors", ".gitattributes"),
    ]
    assert wanted_files(offered) == sorted(offered[:9])


def test_an_adapter_is_wanted_where_there_are_no_weights_of_a_whole_model():
    adapter = ["adapter_config.json", "adapter_model.safetensors", "tokenizer.json"]
    assert wanted_files([*adapter, "adapter_model.bin", "README.md"]) == sorted(adapter)
    assert wanted_files([*adapter, "model.safetensors"]) == ["model.safetensors", "tokenizer.json"]


@pytest.fixture
def hub(qwen_folder, tmp_path, monkeypatch):
    """A hub that serves the model as owner/name, with files beside it that are not wanted."""
    served = tmp_path / "served" / "models" / "owner" / "name"
    shutil.copytree(qwen_folder, served)
    (served / "pytorch_model.bin").write_bytes(b"pickled")
    (served / "modeling_own.py").write_text("raise SystemExit\n")
    with LocalHub(tmp_path / "served") as hub:
        hub.use(monkeypatch, tmp_path / "home")
        yield hub


def test_a_retrieved_model_is_whole_and_says_where_it_is_from(hub, qwen_folder, tmp_path):
    record = retrieve("owner/name", "main", tmp_path / "model")
    wanted = wanted_files(file.name for file in qwen_folder.iterdir())
    commit = hub.repositories.at("models", "owner/name", "main").commit
    assert record == {
        "repository": "owner/name",
        "revision": "main",
        "commit": commit,
        "sha256": weights_sha256(qwen_folder),
        "files": {name: (qwen_folder / name).stat().st_size for name in wanted},
    }
    assert json.loads((tmp_path / "model" / "retrieved.json").read_text()) == record
    assert not (tmp_path / "model.partial").exists()
    assert sorted(hub.downloads()) == wanted
    load_backbone(tmp_path / "model")
    made = materialise_path(tmp_path / "model", tmp_path / "study" / "qwen", source="hub")
    assert made["note"] == f"weights from owner/name at commit {commit}"
    assert made["recipe"] == "hub"


@pytest.fixture(scope="session")
def adapter(qwen_folder, tmp_path_factory) -> Path:
    """A LoRA adapter that changes the model it was trained on."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("adapter") / "adapter"
    torch.manual_seed(1)
    settings = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    get_peft_model(AutoModelForCausalLM.from_pretrained(qwen_folder), settings).save_pretrained(
        folder
    )
    return folder


def test_an_adapter_of_the_hub_becomes_a_model_merged_onto_its_base(
    hub, adapter, qwen_folder, tmp_path
):
    shutil.copytree(adapter, tmp_path / "served" / "models" / "owner" / "adapter")
    record = retrieve("owner/adapter", "main", tmp_path / "adapter")
    assert record["sha256"] == weights_sha256(adapter / "adapter_model.safetensors")
    assert sorted(hub.downloads()) == ["adapter_config.json", "adapter_model.safetensors"]
    made = materialise_path(
        tmp_path / "adapter", tmp_path / "merged", source="hub", base=qwen_folder
    )
    assert made["sha256"] == weights_sha256(tmp_path / "merged") != weights_sha256(qwen_folder)
    assert "merged onto the model with weights of" in made["note"]
    assert f"weights from owner/adapter at commit {record['commit']}" in made["note"]
    assert str(tmp_path) not in (tmp_path / "merged" / "record.json").read_text()
    load_backbone(tmp_path / "merged")


def test_a_base_beside_a_whole_model_is_refused(qwen_folder, tmp_path):
    with pytest.raises(UserError, match="`base:` is for adapters"):
        materialise_path(qwen_folder, tmp_path / "mine", base=qwen_folder)


def test_a_repository_with_pickled_weights_alone_is_refused_before_any_fetch(hub, tmp_path):
    (tmp_path / "served" / "models" / "owner" / "name" / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"only pickled ones \(pytorch_model.bin\)"):
        retrieve("owner/name", "main", tmp_path / "model")
    assert hub.downloads() == []


def test_a_repository_with_gguf_files_alone_says_how_to_take_one(hub, tmp_path):
    served = tmp_path / "served" / "models" / "owner" / "gguf"
    served.mkdir()
    for name in ("tiny-Q4_0.gguf", "tiny-F16.gguf", "README.md"):
        (served / name).write_bytes(b"GGUF")
    with pytest.raises(UserError) as error:
        retrieve("owner/gguf", "main", tmp_path / "model")
    assert "only GGUF files, of which a study names one (tiny-F16.gguf, tiny-Q4_0.gguf)" in str(
        error.value
    )
    command = "hf download owner/gguf tiny-F16.gguf --revision main --local-dir FOLDER"
    assert f"(`{command}`) and give the file as `path:` instead of `hub:`." in str(error.value)
    assert hub.downloads() == []


def answer(status: int) -> httpx2.Response:
    return httpx2.Response(status, request=httpx2.Request("GET", "https://hub.invalid"))


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (errors.GatedRepoError("gated", response=answer(403)), "grants access on request"),
        (errors.RepositoryNotFoundError("none", response=answer(404)), "no such repository"),
        (errors.RevisionNotFoundError("none", response=answer(404)), "no such revision"),
        (errors.HfHubHTTPError("down", response=answer(418)), "HTTP status 418"),
        (errors.OfflineModeIsEnabled("offline"), "HF_HUB_OFFLINE is set"),
        (httpx2.UnsupportedProtocol("scheme"), "is no address of a hub. Correct .* HF_ENDPOINT"),
        (httpx2.TooManyRedirects("around"), "cannot be reached"),
        (json.JSONDecodeError("no", "<html>", 0), "answered with something that no hub says"),
    ],
)
def test_an_error_of_the_hub_is_a_sentence(tmp_path, monkeypatch, error, sentence):
    def refuse(*args, **kwargs):
        raise error

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", refuse)
    with pytest.raises(UserError, match=sentence) as caught:
        retrieve("owner/name", "v1", tmp_path / "model")
    assert "owner/name at revision v1" in str(caught.value)


def test_an_error_of_another_kind_is_not_hidden(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise TypeError("a mistake of this program")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", fail)
    with pytest.raises(TypeError, match="a mistake of this program"):
        retrieve("owner/name", "v1", tmp_path / "model")


def test_a_hub_that_does_not_answer_is_a_sentence(tmp_path, monkeypatch):
    waited: list[float] = []
    monkeypatch.setattr(hub_errors, "sleep", waited.append)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"127.0.0.1:9 cannot be reached.*`path:`"):
        retrieve("owner/name", "main", tmp_path / "model")
    assert waited == list(hub_errors.WAITS)


def test_a_name_that_is_none_is_a_sentence(hub, tmp_path):
    with pytest.raises(UserError, match="Write `hub:` as owner/name"):
        retrieve("a/b/c", "main", tmp_path / "model")


def test_a_folder_becomes_a_model_of_the_study_without_copying_weights(qwen_folder, tmp_path):
    folder = tmp_path / "models" / "mine"
    record = materialise_path(qwen_folder, folder, attention="bidirectional")
    assert (folder / "model.safetensors").is_symlink()
    assert not (folder / "model.safetensors").readlink().is_absolute()
    assert json.loads((folder / "record.json").read_text()) == record
    assert len(record.pop("configuration_sha256")) == 64
    assert record == {
        "model": "mine",
        "recipe": "path",
        "seed": None,
        "parent": None,
        "sha256": weights_sha256(qwen_folder),
        "attention": "bidirectional",
        "train_tokens": None,
        "steps": None,
        "relative_weight_change": None,
        "checkpoints": {},
        "note": "",
    }
    model, _ = load_backbone(folder)
    assert model.config.is_causal is False
    assert "is_causal" not in json.loads((qwen_folder / "config.json").read_text())


def test_materialising_again_gives_the_same_bytes(qwen_folder, tmp_path):
    folder = tmp_path / "mine"
    materialise_path(qwen_folder, folder)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    materialise_path(qwen_folder, folder)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_a_folder_cannot_be_its_own_source(qwen_folder):
    with pytest.raises(UserError, match="Move it out of the results folder"):
        materialise_path(qwen_folder, qwen_folder)


def interleave(weight: np.ndarray, heads: int) -> np.ndarray:
    """Order the rows of a query or key projection as llama.cpp rotates them."""
    rows, columns = weight.shape
    pairs = weight.reshape(heads, 2, rows // heads // 2, columns)
    return pairs.swapaxes(1, 2).reshape(rows, columns)


def write_gguf(path: Path, model, tokenizer, kind: gguf.GGMLQuantizationType) -> None:
    """Write a Llama as llama.cpp's converter does: matrices quantised, norms in float32."""
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    description = json.loads(tokenizer.backend_tokenizer.to_str())
    special = set(tokenizer.all_special_tokens)
    tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in special else 1 for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in description["model"]["merges"]])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, weight in model.model.state_dict().items():
        values = weight.numpy()
        if "q_proj" in name:
            values = interleave(values, config.num_attention_heads)
        if "k_proj" in name:
            values = interleave(values, config.num_key_value_heads)
        stored = kind if values.ndim > 1 else gguf.GGMLQuantizationType.F32
        title = names.get_name(f"model.{name}", (".weight",))
        writer.add_tensor(title, quantize(values, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_gguf_file_reads_as_the_model_that_it_was_made_from(llama, tokenizer, tmp_path):
    file = tmp_path / "tiny.gguf"
    write_gguf(file, llama, tokenizer, gguf.GGMLQuantizationType.F32)
    model, read = load_language_model(file)
    tokens = tokenizer("Ann has 3 apples.", return_tensors="pt")
    assert read("Ann has 3 apples.")["input_ids"] == tokens["input_ids"][0].tolist()
    with torch.no_grad():
        torch.testing.assert_close(
            model(tokens["input_ids"]).logits,
            llama(tokens["input_ids"]).logits,
            atol=1e-4,
            rtol=1e-4,
        )


def test_a_quantised_gguf_file_is_dequantised_and_says_so(llama, tokenizer, tmp_path):
    file = tmp_path / "tiny.gguf"
    write_gguf(file, llama, tokenizer, gguf.GGMLQuantizationType.Q4_1)
    record = materialise_path(file, tmp_path / "tiny", attention="bidirectional")
    assert record["note"] == "weights dequantised from Q4_1 (GGUF)"
    saved = json.loads((tmp_path / "tiny" / "config.json").read_text())
    assert "quantization_config" not in saved
    assert saved["is_causal"] is False
    model, read = load_backbone(tmp_path / "tiny")
    assert model.dtype == torch.float32
    assert read.padding_side == "right"
    original = llama.model.embed_tokens.weight
    steps = (model.embed_tokens.weight - original).abs().max() / original.abs().max()
    assert 0 < steps < 0.1


def test_another_source_is_not_written_through_a_link_to_the_first(
    qwen_folder, llama, tokenizer, tmp_path
):
    before = weights_sha256(qwen_folder)
    materialise_path(qwen_folder, tmp_path / "mine")
    write_gguf(tmp_path / "tiny.gguf", llama, tokenizer, gguf.GGMLQuantizationType.F32)
    record = materialise_path(tmp_path / "tiny.gguf", tmp_path / "mine")
    assert weights_sha256(qwen_folder) == before
    assert record["sha256"] == weights_sha256(tmp_path / "mine") != before
    assert record["note"] == "weights read from F32 (GGUF)"


def test_another_configuration_is_another_model(qwen_folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(qwen_folder, copy)
    same = configuration_sha256(copy)
    assert same == configuration_sha256(qwen_folder)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"rope_theta": 5000.0}))
    assert configuration_sha256(copy) != same

"""Every family is read as asked: attention, padding, parts, half precision, GGUF, devices."""

import pytest
import torch
from tiny_families import DECODERS, ENCODERS, make_family, marked, save_family, save_gguf
from transformers import AutoModel, MambaConfig, T5Config

from hrsa.errors import UserError
from hrsa.models import attention as attention_module
from hrsa.models.loading import attention_implementation, attention_mode, load_backbone
from hrsa.models.model_files import weight_count
from hrsa.models.placement import SEVERAL, placement_arguments, resolve_device

TEXTS = ["Rain fell.", "Rain fell on the old town all night, and on the river too.", "Ann has 3."]
READINGS = [(family, attention) for family in DECODERS for attention in ("causal", "bidirectional")]
READINGS += [(family, None) for family in ENCODERS]
# The positions of BERT and DistilBERT count from the start of a batch's rows, padding included.
PADDINGS = [(*reading, "right") for reading in READINGS]
PADDINGS += [(*one, "left") for one in READINGS if one[0] not in ("bert", "distilbert")]


@pytest.fixture(scope="session")
def family_folder(tmp_path_factory, tokenizer):
    """Give the folder of a family; written once."""
    marks = marked(tokenizer, "<|start|>", "<|stop|>")
    made = {}

    def folder(family: str):
        if family not in made:
            path = tmp_path_factory.mktemp(family) / "model"
            made[family] = save_family(path, family, tokenizer if family in DECODERS else marks)
        return made[family]

    return folder


def states(model, tokenizer, texts: list[str]) -> list[torch.Tensor]:
    """Last states of each text's own tokens, read in one batch."""
    batch = tokenizer(texts, padding=True, return_tensors="pt").to(model.device)
    mask = batch["attention_mask"]
    with torch.no_grad():
        hidden = model(input_ids=batch["input_ids"], attention_mask=mask).last_hidden_state
    return [one[row.bool()] for one, row in zip(hidden, mask, strict=True)]


@pytest.mark.parametrize(("family", "attention"), READINGS)
def test_the_last_token_moves_the_first_state_when_bidirectional_and_only_then(
    family_folder, family, attention
):
    model, _ = load_backbone(family_folder(family), attention=attention)
    texts = torch.tensor([[5, 6, 7, 8], [5, 6, 7, 9]])
    with torch.no_grad():
        first = model(input_ids=texts).last_hidden_state[:, 0]
    moved = float((first[0] - first[1]).abs().max())
    if attention == "causal":
        assert moved < 1e-6
        assert attention_mode(model.config) == "causal"
    else:
        assert moved > 1e-2
        assert attention_mode(model.config) == "bidirectional"


@pytest.mark.parametrize(("family", "attention", "side"), PADDINGS)
def test_padding_changes_nothing(family_folder, family, attention, side):
    model, tokenizer = load_backbone(family_folder(family), attention=attention)
    assert tokenizer.padding_side == "right"
    tokenizer.padding_side = side
    together = states(model, tokenizer, TEXTS)
    for text, beside in zip(TEXTS, together, strict=True):
        alone = states(model, tokenizer, [text])[0]
        torch.testing.assert_close(beside, alone, atol=1e-5, rtol=1e-5)


def test_without_a_padding_token_padding_changes_nothing_either(tmp_path, tokenizer):
    save_family(tmp_path, "llama", tokenizer)
    bare = type(tokenizer)(tokenizer_object=tokenizer.backend_tokenizer)
    assert bare.pad_token is None
    bare.save_pretrained(tmp_path)
    model, read = load_backbone(tmp_path, attention="bidirectional")
    for text, beside in zip(TEXTS, states(model, read, TEXTS), strict=True):
        torch.testing.assert_close(beside, states(model, read, [text])[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", ENCODERS)
def test_an_encoder_refuses_to_be_causal(family_folder, family):
    with pytest.raises(UserError, match=rf"causal attention.*\({family}\) cannot: it"):
        load_backbone(family_folder(family), attention="causal")


def test_a_family_that_only_looks_back_refuses_to_be_bidirectional(tmp_path, tokenizer):
    config = MambaConfig(vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1)
    AutoModel.from_config(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert attention_mode(load_backbone(tmp_path)[0].config) == "causal"
    with pytest.raises(UserError, match=r"\(mamba\) cannot: it reads with causal attention"):
        load_backbone(tmp_path, attention="bidirectional")


def test_an_encoder_with_a_decoder_is_refused(tmp_path, tokenizer):
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    config = T5Config(vocab_size=len(tokenizer), **sizes)
    AutoModel.from_config(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"\(t5\) with an encoder and a decoder"):
        load_backbone(tmp_path)


@pytest.mark.parametrize("family", [*DECODERS, *ENCODERS])
def test_a_model_in_parts_is_the_model_in_one(family_folder, family, tmp_path, tokenizer):
    whole, read = load_backbone(family_folder(family))
    parts_tokenizer = (
        tokenizer if family in DECODERS else marked(tokenizer, "<|start|>", "<|stop|>")
    )
    save_family(tmp_path, family, parts_tokenizer, shard="30KB")
    assert len(list(tmp_path.glob("model-*-of-*.safetensors"))) > 1
    parts, _ = load_backbone(tmp_path)
    assert torch.equal(states(parts, read, TEXTS)[1], states(whole, read, TEXTS)[1])
    assert weight_count(tmp_path) == weight_count(family_folder(family))


@pytest.mark.parametrize("family", [*DECODERS, *ENCODERS])
def test_a_model_in_half_precision_stays_in_it(family_folder, family):
    model, tokenizer = load_backbone(family_folder(family), dtype="bfloat16")
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
    assert {state.dtype for state in states(model, tokenizer, TEXTS)} == {torch.bfloat16}


@pytest.mark.parametrize("family", ["qwen2", "qwen3"])
def test_a_gguf_file_reads_as_the_model_that_it_was_made_from(tmp_path, tokenizer, family):
    # Tied, as small models are; a GGUF file of Qwen3 does not say how wide a head is.
    original = make_family(family, tokenizer, tie_word_embeddings=True)
    save_gguf(tmp_path / "tiny.gguf", family, original, tokenizer)
    model, read = load_backbone(tmp_path / "tiny.gguf", attention="bidirectional")
    assert model.config.model_type == family
    assert read(TEXTS)["input_ids"] == tokenizer(TEXTS)["input_ids"]
    original.config.is_causal = False
    for text, state in zip(TEXTS, states(model, read, TEXTS), strict=True):
        expected = states(original.model, tokenizer, [text])[0]
        torch.testing.assert_close(state, expected, atol=1e-5, rtol=1e-5)
    assert weight_count(tmp_path / "tiny.gguf") == sum(p.numel() for p in original.parameters())


def test_the_kernels_are_torchs_own_unless_a_faster_package_fits(monkeypatch, qwen_folder):
    monkeypatch.setattr("transformers.utils.is_flash_attn_2_available", lambda: True)
    assert attention_implementation("cuda:1", torch.bfloat16) == "flash_attention_2"
    assert attention_implementation("cuda", torch.float16) == "flash_attention_2"
    assert attention_implementation("cuda", torch.float32) == "sdpa"
    assert attention_implementation(torch.device("cpu"), torch.bfloat16) == "sdpa"
    monkeypatch.setattr("transformers.utils.is_flash_attn_2_available", lambda: False)
    assert attention_implementation("cuda", torch.bfloat16) == "sdpa"
    assert load_backbone(qwen_folder)[0].config._attn_implementation == "sdpa"


@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
def test_kernels_that_cannot_be_had_are_done_without(monkeypatch, qwen_folder, attention):
    usual, tokenizer = load_backbone(qwen_folder, attention=attention)
    monkeypatch.setattr(
        attention_module, "attention_implementation", lambda *_: "flash_attention_2"
    )
    model, _ = load_backbone(qwen_folder, attention=attention)
    assert model.config._attn_implementation == "sdpa"
    assert torch.equal(states(model, tokenizer, TEXTS)[0], states(usual, tokenizer, TEXTS)[0])


class Gpus:
    """Stands in for the GPUs of another machine."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, free: list[int]) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(free))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(free))
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda gpu: (free[gpu], 100))


def test_a_model_goes_to_the_roomiest_gpu_and_to_several_where_it_fits_none(monkeypatch):
    Gpus(monkeypatch, [40, 90])
    assert resolve_device("auto", 70) == "cuda:1"
    assert resolve_device("auto", 80) == SEVERAL
    assert resolve_device("cuda", 80) == "cuda:0"
    assert resolve_device("cuda:1", 80) == "cuda:1"
    assert resolve_device("cpu", 1) == "cpu"
    assert placement_arguments(SEVERAL) == {"device_map": "auto"}
    assert placement_arguments("cuda:1") == {"device_map": {"": "cuda:1"}}
    Gpus(monkeypatch, [40])
    assert resolve_device("auto", 80) == "cpu"
    Gpus(monkeypatch, [])
    assert resolve_device("auto", 1) == "cpu"


@pytest.mark.parametrize("device", ["cuda:2", "cuda:", "gpu", "cuda:-1"])
def test_a_device_that_is_not_there_is_a_sentence(monkeypatch, device):
    Gpus(monkeypatch, [40, 90])
    with pytest.raises(UserError, match=r"2 GPUs; allowed: auto, cpu, cuda:0, cuda:1\."):
        resolve_device(device, 1)


def test_a_gpu_that_is_not_there_is_a_sentence(monkeypatch, qwen_folder):
    Gpus(monkeypatch, [])
    with pytest.raises(UserError, match=r"device 'cuda' is not on.*no GPUs; allowed: auto, cpu\."):
        load_backbone(qwen_folder, device="cuda")


@pytest.mark.parametrize("placed", [{"device_map": "auto"}, {"device_map": {"": "cpu"}}])
def test_a_model_that_is_placed_part_by_part_is_the_same(monkeypatch, qwen_folder, placed):
    """What several GPUs are given is tried with the one device that there is."""
    usual, tokenizer = load_backbone(qwen_folder, attention="bidirectional")
    monkeypatch.setattr("hrsa.models.loading.placement_arguments", lambda _: placed)
    model, _ = load_backbone(qwen_folder, attention="bidirectional", device="auto")
    assert torch.equal(states(model, tokenizer, TEXTS)[1], states(usual, tokenizer, TEXTS)[1])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU on this machine")
@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:0"])
def test_a_gpu_gives_the_states_of_the_cpu(family_folder, device):
    for family, attention in READINGS:
        cpu, tokenizer = load_backbone(family_folder(family), attention=attention)
        gpu, _ = load_backbone(family_folder(family), attention=attention, device=device)
        assert gpu.device.type == "cuda"
        for one, other in zip(
            states(cpu, tokenizer, TEXTS), states(gpu, tokenizer, TEXTS), strict=True
        ):
            torch.testing.assert_close(one, other.cpu(), atol=1e-3, rtol=1e-3)

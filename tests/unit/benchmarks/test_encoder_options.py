"""How long texts may be, in which type a model computes, and where it is put."""

import numpy as np
import pytest
import torch
from transformers import Qwen2Config, T5Config, XLMRobertaConfig

from hrsa.benchmarks import encoders
from hrsa.benchmarks.encoders import MAX_LENGTH, load_encoder
from hrsa.errors import UserError

TEXTS = [
    "the wave salt sail harbour and tide ship anchor",
    "the wave salt sail harbour and bread soup butter",
    "the orbit comet moon planet and lens dust night",
]
FOLDERS = ("embedding_folder", "backbone_folder")


@pytest.fixture(params=FOLDERS)
def embed(request):
    """Embed the texts with a model of either kind, loaded with some options."""
    folder = request.getfixturevalue(request.param)

    def run(**options):
        encoder = load_encoder(folder, **options)
        own = getattr(encoder, "embed", None) or encoder.encode
        return np.asarray(own(TEXTS))

    return run


def test_words_past_the_longest_length_are_not_read(embed):
    whole, cut = embed(), embed(max_length=5)
    assert np.abs(whole[0] - whole[1]).max() > 1e-3
    np.testing.assert_allclose(cut[0], cut[1], atol=1e-6)
    assert np.abs(cut[0] - cut[2]).max() > 1e-3


def test_no_length_is_above_what_the_architecture_reads(embedding_folder, backbone_folder):
    assert load_encoder(embedding_folder, max_length=8192).max_seq_length == 128
    assert load_encoder(backbone_folder, max_length=8192).max_length == 128
    assert load_encoder(backbone_folder).max_length == min(MAX_LENGTH, 128)


def test_positions_that_start_behind_the_padding_are_not_counted():
    shifted = XLMRobertaConfig(max_position_embeddings=514, pad_token_id=1)
    assert encoders._positions(shifted, 8192) == 512
    assert encoders._positions(Qwen2Config(max_position_embeddings=128), 8192) == 128
    assert encoders._positions(T5Config(), 8192) == 8192  # relative positions


def test_bfloat16_gives_embeddings_in_float32_that_lie_near(embed):
    exact, rounded = embed(), embed(dtype="bfloat16")
    assert exact.dtype == rounded.dtype == np.float32
    cosine = (exact * rounded).sum(1) / (
        np.linalg.norm(exact, axis=1) * np.linalg.norm(rounded, axis=1)
    )
    assert (cosine > 0.999).all()
    assert np.abs(exact - rounded).max() > 0


def test_a_backbone_reads_a_prompt_and_leaves_it_out_of_the_mean(backbone_folder):
    encoder = load_encoder(backbone_folder)
    prompt = "the wave salt:"
    ids = encoder.tokenizer(f"{prompt} {TEXTS[2]}", return_tensors="pt")["input_ids"]
    n_before = len(encoder.tokenizer(prompt)["input_ids"])
    with torch.no_grad():
        states = encoder.backbone(input_ids=ids).last_hidden_state[0]
    prompted = encoder.embed(TEXTS, prompt=prompt)[2]
    np.testing.assert_allclose(prompted, states[n_before:].mean(0), atol=1e-5)
    assert np.abs(prompted - encoder.embed(TEXTS)[2]).max() > 1e-3
    assert np.abs(prompted - states.mean(0).numpy()).max() > 1e-3


def test_a_device_that_is_not_there_is_refused(backbone_folder, embedding_folder):
    absent = f"cuda:{torch.cuda.device_count()}"
    for folder in (backbone_folder, embedding_folder):
        with pytest.raises(UserError, match=f"'{absent}' is not on this machine"):
            load_encoder(folder, device=absent)

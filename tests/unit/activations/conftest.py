"""Tiny random models, tokenizers trained on the spot, and files written with numpy alone."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hrsa.activations.store import ActivationWriter, extraction_header, open_activations

TEXTS = [
    "The otter counts nine shells, then ten.",
    "naïve café — 数学 is 😀 fun",
    "a",
    "",
    "What is seven plus five? It is twelve, and twelve is a number that we know.",
    "Rivers run to the sea; the sea runs to no river.",
    "数",
    "two  spaces\n\nand lines",
]


@pytest.fixture
def dataset():
    ids = [f"text-{number}" for number in (5, 3, 9, 1, 0, 7, 2, 8)]
    return pd.DataFrame({"id": ids, "text": TEXTS})


@pytest.fixture
def header():
    return {
        "model": "tiny",
        "model_sha256": "ab" * 32,
        "dataset": "texts",
        "dataset_sha256": "cd" * 32,
        "tokenizer_sha256": "ef" * 32,
        "attention": "causal",
        "template": None,
        "seed": 42,
    }


@pytest.fixture
def write_file(tmp_path, header):
    """Write a small file of three samples (4, 0 and 6 rows); returns its path and values."""

    def write(
        name="a.h5", *, dtype="float32", width=5, layers=(0, 1, 2), values=None, seed=0, **changes
    ):
        rng = np.random.default_rng(seed)
        states = {layer: rng.normal(size=(10, width)) for layer in layers} | (values or {})
        tokens = {
            "id": np.arange(10) + 100,
            "position": [0, 1, 2, 3, 0, 1, 2, 3, 4, 5],
            "char_start": [0, 2, 4, 6, 0, 1, 2, 3, 4, 5],
            "char_end": [2, 4, 6, 8, 1, 2, 3, 4, 5, 6],
        }
        with ActivationWriter(
            tmp_path / name,
            header=extraction_header({**header, **changes}, dtype=dtype),
            samples=["b", "empty", "a"],
            sample_offsets=[0, 4, 4, 10],
            tokens=tokens,
            layers=list(layers),
            width=width,
            dtype=dtype,
        ) as writer:
            for layer, layer_values in states.items():
                rows = rng.permutation(10)
                writer.write(layer, rows[:7], layer_values[rows[:7]])
                writer.write(layer, rows[7:], layer_values[rows[7:]])
        return tmp_path / name, states

    return write


def byte_level_tokenizer(vocabulary: int, *, start_token: bool = False):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<|pad|>", "<s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([text for text in TEXTS if text.isascii()] * 3, trainer)
    if start_token:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 1)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<|pad|>", bos_token="<s>", padding_side="right"
    )


@pytest.fixture(scope="session")
def tokenizer():
    return byte_level_tokenizer(320)


@pytest.fixture(scope="session")
def coarser_tokenizer():
    return byte_level_tokenizer(420)


@pytest.fixture(scope="session")
def tokenizer_with_start():
    return byte_level_tokenizer(320, start_token=True)


@pytest.fixture(scope="session")
def make_model():
    """Random model of two blocks and width 32; the same weights for the same seed."""

    def make(kind="qwen2", *, attention="causal", head=False, seed=0):
        import torch
        from transformers import AutoModel, AutoModelForCausalLM, LlamaConfig, Qwen2Config

        config_class = {"qwen2": Qwen2Config, "llama": LlamaConfig}[kind]
        config = config_class(
            vocab_size=512,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=128,
            initializer_range=0.3,
            pad_token_id=0,
        )
        torch.manual_seed(seed)
        model = (AutoModelForCausalLM if head else AutoModel).from_config(config)
        if attention == "bidirectional":
            model.config.is_causal = False
        return model.eval()

    return make


@pytest.fixture
def extracted(tmp_path, dataset, header):
    """Extract and open a file; closes it at the end of the test."""
    from hrsa.activations.extraction import extract_activations

    opened = []

    def extract(model, tokenizer, name="x.h5", *, frame=None, attention=None, **options):
        path = Path(tmp_path) / name
        extract_activations(
            model,
            tokenizer,
            dataset if frame is None else frame,
            path,
            header={**header, "attention": attention},
            **options,
        )
        opened.append(open_activations(path, verify=True))
        return opened[-1]

    yield extract
    for activations in opened:
        activations.close()

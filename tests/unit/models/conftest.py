"""Tiny random models with a tokenizer, saved as a user's own would be."""

from pathlib import Path

import pytest
import torch
from tiny_recipes import CORPUS, PRETRAIN, training_files
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from hrsa.data.corpus import write_corpus
from hrsa.models import pretrain
from hrsa.models.tokenizer import train_tokenizer

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "tie_word_embeddings": True,
    # Larger than the default, so that attention moves the states of an untrained model visibly.
    "initializer_range": 0.2,
}


@pytest.fixture(scope="session")
def tokenizer():
    texts = ["Ann has 3 apples and Ben has 4 apples.", "Rain fell on the old town all night."]
    return train_tokenizer(texts, vocabulary=288)


@pytest.fixture(scope="session")
def qwen_folder(tmp_path_factory, tokenizer) -> Path:
    """A causal Qwen2 with its language-model head."""
    folder = tmp_path_factory.mktemp("qwen") / "model"
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(Qwen2Config(vocab_size=len(tokenizer), **SIZES))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def llama(tokenizer) -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **SIZES)).eval()


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    """The smallest corpus that every recipe can be trained on."""
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, seed=3, settings=CORPUS)
    return folder


@pytest.fixture(scope="session")
def base(tmp_path_factory, corpus) -> Path:
    """A parent for the recipes, pretrained for a few steps."""
    folder = tmp_path_factory.mktemp("models") / "base"
    pretrain.train(
        folder,
        parent=None,
        data=training_files(corpus),
        seed=0,
        resume=folder.parent / "resume",
        settings=PRETRAIN,
    )
    return folder

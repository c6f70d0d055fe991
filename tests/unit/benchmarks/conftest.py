"""A tiny backbone, an embedding model made from it, and a tiny corpus."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import Qwen2Config, Qwen2Model

from hrsa.models.tokenizer import train_tokenizer

TOPICS = {
    "sea": ["wave", "salt", "sail", "harbour", "tide", "ship", "anchor", "gull"],
    "kitchen": ["pan", "flour", "oven", "spice", "knife", "bread", "soup", "butter"],
    "stars": ["orbit", "comet", "moon", "planet", "lens", "dust", "night", "star"],
}


def sentence(topic: str, rng: np.random.Generator) -> str:
    return " ".join(
        ["the", *rng.choice(TOPICS[topic], size=5), "and", *rng.choice(TOPICS[topic], 3)]
    )


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    topics = pd.DataFrame(
        [
            {
                "id": f"{split}-{topic}-{i}",
                "text": sentence(topic, rng),
                "label": topic,
                "split": split,
            }
            for split, count in (("train", 12), ("validation", 2), ("test", 10))
            for topic in TOPICS
            for i in range(count)
        ]
    )
    topics.to_parquet(folder / "topics.parquet")
    names = list(TOPICS)
    documents = pd.DataFrame(
        [{"id": f"d{i:02}", "text": sentence(names[i % 3], rng)} for i in range(30)]
    )
    documents.to_parquet(folder / "retrieval-documents.parquet")
    # Query i is two words of document i, the only one that is relevant.
    queries = pd.DataFrame(
        [{"id": f"q{i:02}", "text": " ".join(documents["text"][i].split()[1:3])} for i in range(12)]
    )
    queries.to_parquet(folder / "retrieval-queries.parquet")
    relevance = pd.DataFrame({"query": queries["id"], "document": documents["id"][:12], "score": 1})
    relevance.to_parquet(folder / "retrieval-qrels.parquet")
    return folder


@pytest.fixture(scope="session")
def backbone_folder(tmp_path_factory, corpus) -> Path:
    folder = tmp_path_factory.mktemp("backbone") / "tiny"
    tokenizer = train_tokenizer(pd.read_parquet(corpus / "topics.parquet")["text"], vocabulary=300)
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        # Larger than the default, so that attention moves the states of an untrained model visibly.
        initializer_range=0.2,
    )
    Qwen2Model(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def embedding_folder(tmp_path_factory, backbone_folder) -> Path:
    """The same weights, saved by sentence-transformers to be read bidirectionally."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    folder = tmp_path_factory.mktemp("embedding") / "tiny-emb"
    transformer = Transformer(str(backbone_folder))
    transformer.auto_model.config.is_causal = False
    model = SentenceTransformer(modules=[transformer, Pooling(32, "mean")], device="cpu")
    model.save(str(folder), create_model_card=False)
    return folder

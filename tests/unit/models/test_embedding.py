"""Embeddings of a sentence-transformers folder are what sentence-transformers makes of it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import (
    Dense,
    LayerNorm,
    Normalize,
    Pooling,
    StaticEmbedding,
    Transformer,
)
from tiny_families import marked, save_family

from hrsa.activations.extraction import extract_activations
from hrsa.activations.pooling import pooled_samples
from hrsa.activations.store import open_activations
from hrsa.errors import UserError
from hrsa.models.embedding import EmbeddingModel, embedding_settings
from hrsa.models.loading import check_model_folder, load_backbone

TEXTS = [
    "Rain fell on the old town all night, and on the river too.",
    "Ann has 3 apples.",
    "Rain.",
    "Ben has 4 apples and Ann has 3, which makes 7 in all, if no one counted them twice.",
]


@pytest.fixture(scope="session")
def transformers_folder(tmp_path_factory, tokenizer):
    """Give a Qwen2 that is read bidirectionally, or a BERT with marks at both ends of a text."""
    folder = tmp_path_factory.mktemp("transformers")
    save_family(folder / "qwen2", "qwen2", tokenizer)
    file = folder / "qwen2" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"is_causal": False}))
    save_family(folder / "bert", "bert", marked(tokenizer, "<|start|>", "<|stop|>"))
    return folder


@pytest.fixture
def save_embedding(transformers_folder, tmp_path):
    """Save a sentence-transformers folder; gives it and the model that was saved."""

    def save(family: str, *after, pooling="mean", name="model", prompts=None, default=None, **more):
        torch.manual_seed(1)
        model = SentenceTransformer(
            modules=[
                Transformer(str(transformers_folder / family)),
                Pooling(32, pooling, **more),
                *after,
            ],
            device="cpu",
            prompts=prompts,
            default_prompt_name=default,
        )
        model.save(str(tmp_path / name), create_model_card=False)
        return tmp_path / name, model

    return save


@pytest.mark.parametrize("family", ["qwen2", "bert"])
@pytest.mark.parametrize(
    "pooling",
    ["mean", "cls", "lasttoken", "max", "weightedmean", ("cls", "mean")],
    ids=lambda pooling: "+".join([pooling] if isinstance(pooling, str) else pooling),
)
def test_pooling_is_that_of_the_folder(save_embedding, family, pooling):
    folder, _ = save_embedding(family, pooling=pooling)
    expected = SentenceTransformer(str(folder), device="cpu").encode(TEXTS)
    embedded = EmbeddingModel(folder).embed(TEXTS, batch_size=3)
    assert embedded.dtype == np.float32
    np.testing.assert_allclose(embedded, expected, atol=1e-5)


def test_what_comes_after_pooling_is_applied_to_embeddings_and_not_to_hidden_states(
    save_embedding, transformers_folder
):
    folder, model = save_embedding("bert", Dense(32, 8), LayerNorm(8), Normalize())
    embedded = EmbeddingModel(folder).embed(TEXTS)
    np.testing.assert_allclose(embedded, model.encode(TEXTS), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(embedded, axis=1), 1, atol=1e-5)
    backbone, tokenizer = load_backbone(folder)
    plain, _ = load_backbone(transformers_folder / "bert")
    ids = tokenizer(TEXTS[:1], return_tensors="pt")["input_ids"]
    with torch.no_grad():
        assert torch.equal(backbone(ids).last_hidden_state, plain(ids).last_hidden_state)


@pytest.mark.parametrize("includes_prompt", [True, False])
@pytest.mark.parametrize("family", ["qwen2", "bert"])
def test_prompts_are_applied_when_asked_for_and_only_then(save_embedding, family, includes_prompt):
    prompts = {"query": "Find: ", "document": ""}
    folder, model = save_embedding(
        family, prompts=prompts, default="query", include_prompt=includes_prompt
    )
    ours = EmbeddingModel(folder)
    plain = ours.embed(TEXTS)
    np.testing.assert_allclose(plain, model.encode(TEXTS, prompt=""), atol=1e-5)
    prompted = ours.embed(TEXTS, prompt="query")
    np.testing.assert_allclose(prompted, model.encode(TEXTS, prompt_name="query"), atol=1e-5)
    assert np.abs(prompted - plain).max() > 1e-2
    with pytest.raises(UserError, match=r"prompt 'passage' is not one of.*document, query"):
        ours.embed(TEXTS, prompt="passage")


def test_length_and_lower_case_are_those_of_the_folder(save_embedding):
    folder, _ = save_embedding("bert")
    file = folder / "sentence_bert_config.json"
    limits = {"max_seq_length": 9, "do_lower_case": True}
    file.write_text(json.dumps(json.loads(file.read_text()) | limits))
    expected = SentenceTransformer(str(folder), device="cpu").encode(TEXTS)
    ours = EmbeddingModel(folder)
    np.testing.assert_allclose(ours.embed(TEXTS), expected, atol=1e-5)
    upper = [text.upper() for text in TEXTS]
    np.testing.assert_allclose(ours.embed(upper), expected, atol=1e-5)
    np.testing.assert_allclose(ours.embed([TEXTS[0] + " more"]), expected[:1], atol=1e-5)


def test_the_configuration_of_older_versions_is_read(save_embedding):
    folder, model = save_embedding("bert", pooling="cls")
    old = {"word_embedding_dimension": 32, "pooling_mode_cls_token": True}
    old |= {"pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": False}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(old))
    file = folder / "modules.json"
    entries = json.loads(file.read_text())
    for entry in entries:
        entry["type"] = "sentence_transformers.models." + entry["type"].rpartition(".")[2]
    file.write_text(json.dumps(entries))
    settings = embedding_settings(folder)
    assert settings is not None
    assert settings.pooling == ("cls",)
    np.testing.assert_allclose(EmbeddingModel(folder).embed(TEXTS), model.encode(TEXTS), atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "cls", "lasttoken", "max"])
def test_stored_rows_are_pooled_to_the_same_embedding(save_embedding, tmp_path, pooling):
    """Where a tokenizer adds no token of its own, the file holds all that the model pools."""
    folder, model = save_embedding("qwen2", pooling=pooling)
    backbone, tokenizer = load_backbone(folder)
    dataset = pd.DataFrame({"id": [f"text-{n}" for n in range(len(TEXTS))], "text": TEXTS})
    extract_activations(backbone, tokenizer, dataset, tmp_path / "a.h5", header={"model": "m"})
    with open_activations(tmp_path / "a.h5") as activations:
        pooled = pooled_samples(activations, activations.attrs["n_layers"], pooling)
    np.testing.assert_allclose(pooled, model.encode(TEXTS), atol=1e-5)


def test_another_folder_makes_no_embeddings(qwen_folder):
    assert embedding_settings(qwen_folder) is None
    with pytest.raises(UserError, match=r"has no modules\.json"):
        EmbeddingModel(qwen_folder)


def edit_json(file: Path, **changes) -> None:
    content = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(content | changes))


def read_through_a_chat_template(folder: Path) -> None:
    edit_json(folder / "sentence_bert_config.json", modality_config={"message": {}})


def pool_by_code_from_outside(folder: Path) -> None:
    file = folder / "modules.json"
    entries = json.loads(file.read_text())
    entries[1]["type"] = "modeling_own.WeightedPooling"
    file.write_text(json.dumps(entries))


def activate_by_code_from_outside(folder: Path) -> None:
    edit_json(folder / "2_Dense" / "config.json", activation_function="own.Activation")


def pickle_a_module(folder: Path) -> None:
    (folder / "2_Dense" / "model.safetensors").rename(folder / "2_Dense" / "pytorch_model.bin")


def cut_a_module_short(folder: Path) -> None:
    edit_json(folder / "2_Dense" / "config.json", out_features=9)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (read_through_a_chat_template, "through a chat template"),
        (pool_by_code_from_outside, "Transformer, WeightedPooling, Dense; allowed are Transformer"),
        (activate_by_code_from_outside, "names the activation own.Activation, code from outside"),
        (pickle_a_module, r"2_Dense \(Dense\) has no model.safetensors; pickled"),
        (cut_a_module_short, "cannot load the module"),
    ],
)
def test_what_cannot_be_honoured_is_refused_for_embeddings_alone(save_embedding, damage, sentence):
    folder, _ = save_embedding("bert", Dense(32, 8))
    damage(folder)
    with pytest.raises(UserError, match=sentence):
        EmbeddingModel(folder)
    load_backbone(folder)


def test_a_transformer_in_a_subfolder_is_pointed_at(save_embedding):
    folder, _ = save_embedding("bert")
    (folder / "0_Transformer").mkdir()
    for file in folder.iterdir():
        if file.is_file() and not file.name.startswith(("modules", "config_sentence")):
            file.rename(folder / "0_Transformer" / file.name)
    entries = json.loads((folder / "modules.json").read_text())
    entries[0]["path"] = "0_Transformer"
    (folder / "modules.json").write_text(json.dumps(entries))
    with pytest.raises(UserError, match="keeps its transformer in 0_Transformer"):
        check_model_folder(folder)
    check_model_folder(folder / "0_Transformer")


def test_a_folder_without_a_transformer_has_no_hidden_states(tmp_path, tokenizer):
    backend = tokenizer.backend_tokenizer
    model = SentenceTransformer(modules=[StaticEmbedding(backend, embedding_dim=8)], device="cpu")
    model.save(str(tmp_path / "static"), create_model_card=False)
    shutil.rmtree(tmp_path / "static" / "1_Pooling", ignore_errors=True)
    with pytest.raises(UserError, match="starts with a module StaticEmbedding"):
        check_model_folder(tmp_path / "static")

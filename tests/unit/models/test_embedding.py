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
from hrsa.activations.pooling import POOLINGS, file_pooling, pooled_samples
from hrsa.activations.store import open_activations
from hrsa.errors import UserError
from hrsa.models.embedding import EmbeddingModel, embedding_settings, end_mark, pooling_of
from hrsa.models.loading import check_model_folder, load_backbone
from hrsa.similarity import cross_model_probe, probe_layers

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


def extract(folder: Path, texts: list[str], path: Path) -> Path:
    """Extract a folder's hidden states as callers do, its pooling in the header."""
    backbone, tokenizer = load_backbone(folder)
    dataset = pd.DataFrame({"id": [f"text-{n}" for n in range(len(texts))], "text": texts})
    pooling = pooling_of(folder)
    header = {"model": path.stem, "pooling": pooling, **end_mark(pooling, tokenizer)}
    extract_activations(backbone, tokenizer, dataset, path, header=header)
    return path


@pytest.mark.parametrize("pooling", [*POOLINGS, ("cls", "mean")], ids=str)
def test_stored_rows_are_pooled_to_the_same_embedding(save_embedding, tmp_path, pooling):
    """Where a tokenizer adds no token of its own, the file holds all that the model pools."""
    folder, model = save_embedding("qwen2", pooling=pooling)
    with open_activations(extract(folder, TEXTS, tmp_path / "a.h5")) as activations:
        how = file_pooling(activations)
        pooled = pooled_samples(activations, activations.attrs["n_layers"], how.modes)
    assert how.note == ""
    np.testing.assert_allclose(pooled, model.encode(TEXTS), atol=1e-5)


@pytest.mark.parametrize(
    ("pooling", "reason"),
    [("cls", "begins with a special token"), ("lasttoken", "puts a special token behind a text")],
)
def test_a_mark_that_is_pooled_and_not_stored_is_told(save_embedding, tmp_path, pooling, reason):
    folder, _ = save_embedding("bert", pooling=pooling)
    with open_activations(extract(folder, TEXTS, tmp_path / "a.h5")) as activations:
        how = file_pooling(activations)
    assert how.modes == ("mean",)
    assert f"says {pooling}, which is of tokens that are not in the file" in how.note
    assert reason in how.note


def test_the_probe_reads_the_embeddings_of_each_model(save_embedding, tmp_path):
    texts = [f"Ann has {n} apples and Ben has {n * 7 % 60}." for n in range(60)]
    split = np.array(["train", "train", "test"])[np.arange(60) % 3]
    label = np.array(["small", "large"])[np.random.default_rng(0).integers(0, 2, 60)]
    table = pd.DataFrame({"id": [f"text-{n}" for n in range(60)], "label": label, "split": split})
    files, embedded = [], []
    for pooling in ("cls", "lasttoken"):
        folder, model = save_embedding("qwen2", pooling=pooling, name=pooling)
        files.append(extract(folder, texts, tmp_path / f"{pooling}.h5"))
        embedded.append(model.encode(texts, normalize_embeddings=True).astype(np.float64))
    with open_activations(files[0]) as first, open_activations(files[1]) as second:
        found = probe_layers(first, second, table, layers=[2]).table
    direct = cross_model_probe(
        *(embedded[0][split == "train"], label[split == "train"]),
        *(one[split == "test"] for one in embedded),
        label[split == "test"],
        Y_train=embedded[1][split == "train"],
    )
    rows = found[found["layer_reference"] == 2].set_index("statistic")
    assert rows.loc["embedding_reference_accuracy", "value"] == direct.reference
    assert rows.loc["embedding_accuracy", "value"] == direct.value
    assert rows.loc["embedding_own_accuracy", "value"] == direct.own
    assert rows["note"].str.contains("pooling: reference cls, candidate lasttoken").all()


def test_the_pooling_for_the_header_is_read_from_the_folder(save_embedding, qwen_folder, tmp_path):
    folder, _ = save_embedding("bert", Dense(64, 8), pooling=("mean", "lasttoken"))
    assert pooling_of(folder) == "mean+lasttoken"
    pickle_a_module(folder)
    assert pooling_of(folder) == "mean+lasttoken"
    edit_json(folder / "1_Pooling" / "config.json", pooling_mode="lasttoken")
    assert pooling_of(folder) == "lasttoken"
    lose_the_pooling(folder)
    assert pooling_of(folder) == "unknown"
    pool_by_code_from_outside(folder)
    assert pooling_of(folder) == "WeightedPooling"
    assert pooling_of(qwen_folder) is None
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    assert pooling_of(tmp_path / "model.gguf") is None


def test_a_mark_behind_a_text_is_seen_where_the_last_token_is_pooled(tokenizer):
    with_marks = marked(tokenizer, "<|start|>", "<|stop|>")
    assert end_mark("lasttoken", with_marks) == {"pooling_end_mark": True}
    assert end_mark("mean+lasttoken", tokenizer) == {"pooling_end_mark": False}
    assert end_mark("mean", with_marks) == end_mark(None, with_marks) == {}


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


def lose_the_pooling(folder: Path) -> None:
    (folder / "1_Pooling" / "config.json").unlink()


def cut_a_module_short(folder: Path) -> None:
    edit_json(folder / "2_Dense" / "config.json", out_features=9)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (read_through_a_chat_template, "through a chat template"),
        (pool_by_code_from_outside, "Transformer, WeightedPooling, Dense; allowed are Transformer"),
        (activate_by_code_from_outside, "names the activation own.Activation, code from outside"),
        (pickle_a_module, r"2_Dense \(Dense\) has no model.safetensors; pickled"),
        (lose_the_pooling, r"1_Pooling/config.json is missing, which says how the model pools"),
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

"""Benchmarks are mteb's own, read each model as it says, and give the same numbers every time."""

import json
import shutil
import socket
from pathlib import Path

import mteb
import numpy as np
import pandas as pd
import pytest
import torch
from mteb.results import ModelResult
from sentence_transformers import SentenceTransformer

from hrsa.benchmarks.encoders import MeanPooledBackbone, load_embedding_model, load_encoder, words
from hrsa.benchmarks.evaluate import BENCHMARK_COLUMNS, evaluate
from hrsa.benchmarks.intervals import bootstrap_interval
from hrsa.benchmarks.tasks import local_tasks
from hrsa.errors import UserError

BOTH = ["TopicClassification", "TopicRetrieval"]


@pytest.fixture(autouse=True, scope="module")
def _no_network():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", _refuse)
        yield


def _refuse(*args, **kwargs):
    raise AssertionError("an evaluation reached for the network")


@pytest.fixture(scope="module")
def scores(embedding_folder, corpus, tmp_path_factory) -> tuple[pd.DataFrame, Path]:
    output = tmp_path_factory.mktemp("benchmarks")
    return evaluate(embedding_folder, BOTH, corpus=corpus, output=output), output


def test_each_task_is_one_row_with_its_interval(scores):
    table, _ = scores
    assert list(table.columns) == BENCHMARK_COLUMNS
    assert table["task"].tolist() == BOTH
    assert table["type"].tolist() == ["Classification", "Retrieval"]
    assert table["metric"].tolist() == ["accuracy", "ndcg_at_10"]
    assert table["n_items"].tolist() == [30, 12]
    assert table["evaluation_seeds"].tolist() == ["42", ""]
    assert table["chance"].between(0, 0.5, inclusive="neither").all()
    assert (table["ci_low"] < table["value"]).all()
    assert (table["value"] < table["ci_high"]).all()
    assert "mean of 10 draws of training texts" in table["note"][0]
    assert "bootstrap over 12 test items (query)" in table["note"][1]


@pytest.mark.parametrize("task", BOTH)
def test_the_value_is_that_of_mtebs_own_result_and_the_mean_over_items(scores, task):
    table, output = scores
    value = table.set_index("task").loc[task, "value"]
    own = json.loads((output / f"{task}.json").read_text())
    assert own["task_name"] == task
    assert own["mteb_version"] == mteb.__version__
    assert own["scores"]["test"][0]["main_score"] == pytest.approx(value, abs=1e-6)
    items = pd.read_parquet(output / f"{task}.items.parquet")
    assert items["value"].mean() == pytest.approx(value, abs=1e-5)


def test_mtebs_own_tools_load_the_results(scores):
    table, output = scores
    results = [mteb.TaskResult.from_disk(output / f"{task}.json") for task in BOTH]
    frame = ModelResult(model_name="a/b", model_revision="1", task_results=results).to_dataframe()
    assert frame.set_index("task_name")["a/b"].to_dict() == pytest.approx(
        table.set_index("task")["value"].to_dict(), abs=1e-6
    )


def test_items_carry_the_ids_of_the_corpus(scores, corpus):
    _, output = scores
    texts = pd.read_parquet(corpus / "topics.parquet").query("split == 'test'")
    items = pd.read_parquet(output / "TopicClassification.items.parquet")
    assert set(items["item"]) == set(texts["id"])
    queries = pd.read_parquet(corpus / "retrieval-queries.parquet")
    items = pd.read_parquet(output / "TopicRetrieval.items.parquet")
    assert set(items["item"]) == set(queries["id"])


def test_running_again_gives_equal_numbers(scores, embedding_folder, corpus, tmp_path):
    table, _ = scores
    again = evaluate(embedding_folder, BOTH, corpus=corpus, output=tmp_path)
    pd.testing.assert_frame_equal(again, table, check_exact=True)


def test_seeds_are_averaged_and_each_result_is_kept(backbone_folder, corpus, tmp_path):
    table = evaluate(backbone_folder, BOTH, corpus=corpus, output=tmp_path, seeds=(1, 2))
    one, two = (
        json.loads((tmp_path / f"TopicClassification.seed{seed}.json").read_text())
        for seed in (1, 2)
    )
    means = [run["scores"]["test"][0]["main_score"] for run in (one, two)]
    assert means[0] != means[1]
    assert table["value"][0] == pytest.approx(np.mean(means), abs=1e-6)
    assert "mean of 20 draws" in table["note"][0]
    assert table["evaluation_seeds"].tolist() == ["1 2", ""]
    assert (tmp_path / "TopicRetrieval.json").exists()


def test_bm25_takes_part_in_retrieval_alone_and_finds_shared_words(corpus, tmp_path):
    table = evaluate("bm25", BOTH, corpus=corpus, output=tmp_path)
    assert table["task"].tolist() == ["TopicRetrieval"]
    assert table["value"][0] > 0.5
    assert words("The Sail, 3 ships") == ["the", "sail", "3", "ships"]


def test_nothing_is_written_outside_the_output_folder(corpus, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    evaluate("bm25", ["TopicRetrieval"], corpus=corpus, output=tmp_path / "output")
    assert not list((tmp_path / "home").iterdir())
    assert sorted(file.name for file in (tmp_path / "output").iterdir()) == [
        "TopicRetrieval.items.parquet",
        "TopicRetrieval.json",
    ]


def state_of_the_first_token(model: SentenceTransformer, text: str) -> torch.Tensor:
    return model.encode([text], output_value="token_embeddings", convert_to_tensor=True)[0][0]


def test_an_embedding_model_saved_bidirectionally_is_read_bidirectionally(embedding_folder):
    model = load_embedding_model(embedding_folder)
    one = state_of_the_first_token(model, "the wave of the sea 1")
    other = state_of_the_first_token(model, "the wave of the sea 2")
    assert (one - other).abs().max() > 1e-2
    assert model.tokenizer.padding_side == "right"


def test_an_embedding_model_saved_causally_is_read_causally(embedding_folder, tmp_path):
    folder = Path(shutil.copytree(embedding_folder, tmp_path / "causal"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"is_causal": True}))
    model = load_embedding_model(folder)
    one = state_of_the_first_token(model, "the wave of the sea 1")
    other = state_of_the_first_token(model, "the wave of the sea 2")
    torch.testing.assert_close(one, other)


def test_a_backbone_read_bidirectionally_is_pooled_as_the_embedding_model_is(
    backbone_folder, embedding_folder
):
    texts = ["the wave", "the pan and the oven of the kitchen", "orbit"]
    backbone = load_encoder(backbone_folder, attention="bidirectional")
    assert isinstance(backbone, MeanPooledBackbone)
    embedding = load_encoder(embedding_folder)
    assert isinstance(embedding, SentenceTransformer)
    np.testing.assert_allclose(
        backbone.embed(texts, batch_size=2), embedding.encode(texts), rtol=1e-4, atol=1e-5
    )


def test_a_backbone_reads_causally_unless_told_otherwise(backbone_folder):
    texts = ["the wave of the sea"]
    causal = load_encoder(backbone_folder)
    other = load_encoder(backbone_folder, attention="bidirectional")
    assert np.abs(causal.embed(texts) - other.embed(texts)).max() > 1e-2


def test_batches_do_not_change_an_embedding(backbone_folder):
    encoder = MeanPooledBackbone(backbone_folder, attention="bidirectional")
    texts = ["sea", "the pan and the oven of the kitchen and the moon", "the orbit of the moon"]
    alone = np.concatenate([encoder.embed([text]) for text in texts])
    np.testing.assert_allclose(encoder.embed(texts), alone, rtol=1e-4, atol=1e-5)


def test_an_unknown_task_names_the_nearest(corpus):
    with pytest.raises(UserError, match=r"'TopicRetreival'.*Did you mean `TopicRetrieval`\?"):
        local_tasks(["TopicRetreival"], corpus)


def test_a_task_without_data_names_the_file(tmp_path):
    with pytest.raises(UserError, match=r"retrieval-qrels\.parquet, which does not exist"):
        evaluate("bm25", ["TopicRetrieval"], corpus=tmp_path, output=tmp_path)


def test_a_task_with_an_empty_file_or_split_says_so(corpus, backbone_folder, tmp_path):
    topics = pd.read_parquet(corpus / "topics.parquet")
    topics[:0].to_parquet(tmp_path / "topics.parquet")
    task = ["TopicClassification"]
    with pytest.raises(UserError, match="holds no rows"):
        evaluate(backbone_folder, task, corpus=tmp_path, output=tmp_path)
    topics.query("split == 'train'").to_parquet(tmp_path / "topics.parquet")
    with pytest.raises(UserError, match="needs texts of the split 'test'"):
        evaluate(backbone_folder, task, corpus=tmp_path, output=tmp_path)


def test_the_interval_covers_a_known_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    intervals = [bootstrap_interval(rng.normal(0.5, 0.1, size=80)) for _ in range(200)]
    covered = np.mean([low <= 0.5 <= high for low, high in intervals])
    assert 0.89 <= covered <= 0.98

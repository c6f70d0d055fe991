"""Each text is embedded once in a job, whatever the number of tasks that have it."""

import pandas as pd
import pytest

from hrsa.benchmarks.encoders import MeanPooledBackbone, load_encoder
from hrsa.benchmarks.evaluate import evaluate, load_reader
from hrsa.benchmarks.shared_embeddings import EmbeddingsInMemory, SharedEmbeddings

TASKS = ["TopicClassification", "TopicClustering", "TopicRetrieval"]


@pytest.fixture
def embedded(monkeypatch):
    """The texts that a backbone embeds."""
    texts = []
    embed = MeanPooledBackbone.embed

    def counting(self, batch, *args, **kwargs):
        texts.extend(batch)
        return embed(self, batch, *args, **kwargs)

    monkeypatch.setattr(MeanPooledBackbone, "embed", counting)
    return texts


def test_no_text_is_embedded_twice(backbone_folder, corpus, tmp_path, embedded):
    evaluate(backbone_folder, TASKS, corpus=corpus, output=tmp_path, seeds=[1, 2])
    topics = pd.read_parquet(corpus / "topics.parquet")
    test_texts = set(topics.loc[topics["split"] == "test", "text"])
    assert test_texts <= set(embedded)  # of classification and of clustering
    assert len(embedded) == len(set(embedded))


def test_calls_with_one_reader_share_what_it_has_embedded(
    backbone_folder, corpus, tmp_path, embedded
):
    reader = load_reader(backbone_folder)
    for task in TASKS:
        evaluate(reader, [task], corpus=corpus, output=tmp_path)
    assert embedded
    assert len(embedded) == len(set(embedded))


def test_a_task_alone_has_the_score_that_it_has_among_others(backbone_folder, corpus, tmp_path):
    together = evaluate(backbone_folder, TASKS, corpus=corpus, output=tmp_path / "all")
    for task, value in zip(together["task"], together["value"], strict=True):
        alone = evaluate(backbone_folder, [task], corpus=corpus, output=tmp_path / task)
        assert alone["value"].item() == pytest.approx(value, abs=1e-5)


def test_a_model_with_prompts_reads_a_text_anew_in_every_task(backbone_folder):
    encoder = load_encoder(backbone_folder)
    shared = SharedEmbeddings(encoder)
    caches = {id(shared._get_or_create_cache(task, None)) for task in TASKS}
    assert len(caches) == 1
    encoder.model_prompts = {"query": "find: "}
    prompted = SharedEmbeddings(encoder)
    caches = {id(prompted._get_or_create_cache(task, None)) for task in TASKS}
    assert len(caches) == len(TASKS)


def test_rows_are_told_apart_by_what_a_model_reads_of_them():
    kept = EmbeddingsInMemory()
    kept.add([{"id": "a", "text": "x", "title": "t"}], [[1.0]])
    assert {"id": "b", "text": "x", "title": "t"} in kept
    assert kept.get_vector({"id": "a", "text": "x"}) is None
    assert kept.get_vector({"id": "a", "text": "y", "title": "t"}) is None
    kept.close()
    assert {"id": "a", "text": "x", "title": "t"} not in kept

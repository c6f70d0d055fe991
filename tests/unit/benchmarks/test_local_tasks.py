"""The study's own tasks: scored by mteb and nothing else, solvable, and not by shared words."""

import mteb
import numpy as np
import pandas as pd
import planted_encoders
import pytest
from mteb.models.cache_wrappers import CachedEmbeddingWrapper

from hrsa.benchmarks import evaluate as evaluation
from hrsa.benchmarks.encoders import MeanPooledBackbone
from hrsa.benchmarks.items import score_of_items
from hrsa.benchmarks.tasks import LOCAL_TASKS, local_tasks
from hrsa.data.corpus import EVALUATION_FILES, generate_part

SIZES = {
    "evaluation": "test",
    "topics": {"train": 160, "validation": 1, "test": 240},
    "retrieval": {"documents": 300, "queries": 200},
    "solutions": {"documents": 240, "queries": 96},
    "similar_texts": 200,
    "paraphrases": 240,
    "bitext": 150,
}
# How far from what a task calls chance the mean of two encoders may lie that know nothing.
NEAR_CHANCE = {
    "TopicClassification": 0.03,
    "TopicClustering": 0.015,
    "TopicRetrieval": 0.025,
    "SolutionRetrieval": 0.03,
    "TextSimilarity": 0.15,
    "ParaphrasePairs": 0.1,  # the best of five similarities counts
    "WordLanguageBitext": 0.01,
}
SOLVED = {
    "TopicClassification": 0.95,
    "TopicClustering": 0.7,
    "TopicRetrieval": 0.9,
    "SolutionRetrieval": 0.99,
    "TextSimilarity": 0.9,
    "ParaphrasePairs": 0.99,
    "WordLanguageBitext": 0.9,
}


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    for name in EVALUATION_FILES:
        if not name.startswith("test-"):
            frame = generate_part(name, seed=5, settings=SIZES)
            frame.to_parquet(folder / f"{name}.parquet", index=False)
    return folder


@pytest.fixture(scope="module")
def scored(texts, tmp_path_factory):
    """Scores all tasks with an encoder; gives the table and the folder of items."""

    def score(encoder, tasks=tuple(LOCAL_TASKS), seeds=(42,)):
        output = tmp_path_factory.mktemp("scores")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(evaluation, "load_encoder", lambda *args, **kwargs: encoder)
            table = evaluation.evaluate("any", tasks, corpus=texts, output=output, seeds=seeds)
        return table.set_index("task"), output

    return score


@pytest.fixture(scope="module")
def knowing(scored):
    return scored(planted_encoders.knowing())


@pytest.fixture(scope="module")
def cached(backbone_folder, tmp_path_factory):
    backbone = MeanPooledBackbone(backbone_folder)
    return CachedEmbeddingWrapper(backbone, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def through_the_cache(scored, cached):
    return scored(cached)


def plain_task(name, corpus):
    """A task of mteb's own class, with our data and settings and none of our methods."""
    (ready,) = local_tasks([name], corpus)
    ready.load_data()
    classes = type(ready).__mro__
    base = next(one for one in classes if one.__module__.startswith("mteb.abstasks"))
    settings = {
        key: value
        for ours in reversed(classes[: classes.index(base)])
        for key, value in vars(ours).items()
        if key == "metadata" or (hasattr(base, key) and key[0] != "_" and not callable(value))
    }
    task = type(name, (base,), settings | {"load_data": lambda self, **kwargs: None})(seed=42)
    task.dataset, task.data_loaded = ready.dataset, True
    return task


def score_of_mteb(encoder, name, corpus):
    task = plain_task(name, corpus)
    arguments = {"batch_size": 64, "show_progress_bar": False}
    found = mteb.evaluate(encoder, task, cache=None, co2_tracker=False, encode_kwargs=arguments)
    return found.task_results[0].get_score()


@pytest.mark.parametrize("task", LOCAL_TASKS)
def test_the_score_is_mtebs_own(task, through_the_cache, cached, texts):
    table, _ = through_the_cache
    assert table.loc[task, "value"] == pytest.approx(score_of_mteb(cached, task, texts), abs=1e-9)


@pytest.mark.parametrize("task", LOCAL_TASKS)
def test_another_encoder_of_the_same_model_gives_the_same_score(
    task, through_the_cache, backbone_folder, texts
):
    table, _ = through_the_cache
    fresh = score_of_mteb(MeanPooledBackbone(backbone_folder), task, texts)
    assert table.loc[task, "value"] == pytest.approx(fresh, abs=1e-5)


@pytest.mark.parametrize("task", LOCAL_TASKS)
def test_the_kept_items_give_the_score(task, through_the_cache):
    table, output = through_the_cache
    items = pd.read_parquet(output / f"{task}.items.parquet")
    kind = table.loc[task, "type"]
    # mteb rounds the mean nDCG to five decimals
    tolerance = 5.1e-6 if kind == "Retrieval" else 1e-9
    assert score_of_items(kind, items) == pytest.approx(table.loc[task, "value"], abs=tolerance)
    assert items.columns[0] == "item"
    assert items["item"].nunique() == table.loc[task, "n_items"]


def test_every_task_has_its_interval_and_says_how_it_was_made(through_the_cache):
    table, _ = through_the_cache
    assert list(table.index) == list(LOCAL_TASKS)
    assert (table["ci_low"] <= table["value"]).all()
    assert (table["value"] <= table["ci_high"]).all()
    for task in ("TopicClustering", "TextSimilarity", "ParaphrasePairs"):
        assert "shifted" in table.loc[task, "note"]
    assert "mean of 10 draws of clustered texts" in table.loc["TopicClustering", "note"]


@pytest.mark.slow
def test_who_knows_nothing_scores_at_chance(scored):
    tables = [scored(planted_encoders.ignorant(seed))[0] for seed in range(2)]
    means = np.mean([table["value"] for table in tables], axis=0)
    for task, mean, chance in zip(LOCAL_TASKS, means, tables[0]["chance"], strict=True):
        assert mean == pytest.approx(chance, abs=NEAR_CHANCE[task]), task


def test_who_knows_what_the_texts_say_solves_every_task(knowing):
    table, _ = knowing
    for task, least in SOLVED.items():
        assert table.loc[task, "value"] > least, task


def test_shared_words_find_solutions_no_better_than_chance(texts, tmp_path):
    table = evaluation.evaluate("bm25", list(LOCAL_TASKS), corpus=texts, output=tmp_path)
    values = table.set_index("task")["value"]
    assert list(values.index) == ["TopicRetrieval", "SolutionRetrieval"]
    assert values["SolutionRetrieval"] < 1 / 6
    assert values["TopicRetrieval"] > 0.3


def test_seeds_of_clustering_draw_other_texts_and_are_averaged(scored):
    encoder = planted_encoders.knowing()
    parts = [scored(encoder, ["TopicClustering"], (seed,))[0]["value"].iloc[0] for seed in (1, 2)]
    table, output = scored(encoder, ["TopicClustering"], (1, 2))
    assert parts[0] != parts[1]
    assert table["value"].iloc[0] == pytest.approx(np.mean(parts), abs=1e-12)
    items = pd.read_parquet(output / "TopicClustering.items.parquet")
    assert score_of_items("Clustering", items) == pytest.approx(table["value"].iloc[0], abs=1e-9)
    assert set(items["seed"]) == {1, 2}


def test_the_sentence_that_is_found_is_kept(knowing, texts):
    _, output = knowing
    items = pd.read_parquet(output / "WordLanguageBitext.items.parquet")
    assert list(items.columns[:2]) == ["item", "value"]
    assert (items["correct"] == (items["item"] == items["found"])).all()
    assert set(items["found"]) <= set(pd.read_parquet(texts / "bitext.parquet")["id"])


def test_predictions_are_written_where_a_folder_is_given_and_nowhere_else(
    texts, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    arguments = {"cache": None, "co2_tracker": False}
    for name, folder in (("TextSimilarity", None), ("ParaphrasePairs", tmp_path / "kept")):
        (task,) = local_tasks([name], texts)
        mteb.evaluate(planted_encoders.knowing(), task, prediction_folder=folder, **arguments)
    assert [file.name for file in tmp_path.iterdir()] == ["kept"]
    assert [file.name for file in (tmp_path / "kept").iterdir()] == [
        "ParaphrasePairs_predictions.json"
    ]

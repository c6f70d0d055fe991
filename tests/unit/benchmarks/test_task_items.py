"""Items of `mteb`'s own tasks give `mteb`'s scores again, and those of two models pair up.

The tasks are real subclasses of `mteb`'s, on texts in memory, with several splits and subsets of
different sizes.
"""

from pathlib import Path

import mteb
import numpy as np
import pandas as pd
import pytest
from datasets import Dataset, DatasetDict
from mteb._evaluators.retrieval_metrics import evaluate_p_mrr_change
from mteb.abstasks.classification import AbsTaskClassification
from mteb.abstasks.clustering import AbsTaskClustering
from mteb.abstasks.clustering_legacy import AbsTaskClusteringLegacy
from mteb.abstasks.multilabel_classification import AbsTaskMultilabelClassification
from mteb.abstasks.pair_classification import AbsTaskPairClassification
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData
from mteb.abstasks.sts import AbsTaskSTS
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.abstasks.text.bitext_mining import AbsTaskBitextMining
from mteb.abstasks.text.summarization import AbsTaskSummarization
from planted_encoders import PlantedEncoder

from hrsa.benchmarks.intervals import score_interval
from hrsa.benchmarks.items import count_items, score_of_items, strata
from hrsa.benchmarks.paired_items import item_difference
from hrsa.benchmarks.task_items import Predictions, predicted_items

LANGUAGES = {"one": ["eng-Latn"], "two": ["deu-Latn"]}
SIZES = {("test", "one"): 12, ("test", "two"): 25, ("other", "one"): 18, ("other", "two"): 14}
WORDS = [f"word{i}" for i in range(12)]


def encoder(seed):
    """Reads some words of a text, and takes each text for something else besides."""
    return PlantedEncoder(f"words-{seed}", lambda text: [*text.split(), f"{seed} {text}"])


def texts(rng, n, topics=None):
    """Four words each, half of them of the text's topic."""
    topics = rng.integers(4, size=n) if topics is None else topics
    return [
        " ".join([*rng.choice(WORDS[3 * topic : 3 * topic + 3], 2), *rng.choice(WORDS, 2), f"t{i}"])
        for i, topic in enumerate(topics)
    ], list(map(int, topics))


def task_of(base, type_, main_score, data, *, splits=("test", "other"), **attributes):
    """A task of one of `mteb`'s classes; data by subset, or by split where there are none."""
    languages = LANGUAGES if set(data) == {*LANGUAGES} else ["eng-Latn"]
    languages = attributes.pop("languages", languages)
    metadata = TaskMetadata(
        name=f"Tiny{base.__name__.removeprefix('AbsTask')}",
        description="Texts in memory.",
        dataset={"path": "local", "revision": "local"},
        type=type_,
        category="t2t",
        modalities=["text"],
        eval_splits=list(splits),
        eval_langs=languages,
        main_score=main_score,
    )

    def load_data(self, num_proc=None, **kwargs):
        self.dataset = data
        self.data_loaded = True

    made = type("Tiny", (base,), {"metadata": metadata, "load_data": load_data, **attributes})
    return made()


def evaluated(task, seed=0):
    """What the encoder predicts on a task, and its result."""
    task.load_data()
    predictions = Predictions(task)
    results = mteb.evaluate(
        encoder(seed),
        task,
        cache=None,
        co2_tracker=False,
        encode_kwargs={"batch_size": 64, "show_progress_bar": False},
        show_progress_bar=False,
        prediction_folder=Path("nowhere"),
    )
    return predictions, results.task_results[0]


def by_stratum(make):
    """Data by subset and split; `make` is given a generator and the number of texts."""
    return {
        subset: DatasetDict(
            {
                split: Dataset.from_dict(make(np.random.default_rng(size), size))
                for (split, other), size in SIZES.items()
                if other == subset
            }
        )
        for subset in LANGUAGES
    }


def labelled(rng, n):
    read, topics = texts(rng, n)
    return {"text": read, "label": topics}


def classification(main_score="accuracy", make=labelled, **attributes):
    data = by_stratum(make)
    for subset in data.values():
        subset["train"] = Dataset.from_dict(make(np.random.default_rng(99), 60))
    return task_of(
        AbsTaskClassification, "Classification", main_score, data, n_experiments=2, **attributes
    )


def two_topics(rng, n):
    topics = np.arange(n) % 2
    return {"text": texts(rng, n, topics)[0], "label": [int(topic) for topic in topics]}


def multilabel(**attributes):
    def make(rng, n):
        read, topics = texts(rng, n)
        more = rng.integers(4, size=n)
        both = zip(topics, map(int, more), strict=True)
        return {"text": read, "label": [sorted({*labels}) for labels in both]}

    data = by_stratum(make)
    for subset in data.values():
        subset["train"] = Dataset.from_dict(make(np.random.default_rng(99), 60))
    base, type_ = AbsTaskMultilabelClassification, "MultilabelClassification"
    return task_of(base, type_, "accuracy", data, n_experiments=2, **attributes)


def pairs(main_score="max_ap"):
    def make(rng, n):
        read, topics = texts(rng, n)
        other = [topic if i % 2 else (topic + 1) % 4 for i, topic in enumerate(topics)]
        return {
            "sentence1": read,
            "sentence2": texts(rng, n, other)[0],
            "labels": [i % 2 for i in range(n)],
        }

    return task_of(AbsTaskPairClassification, "PairClassification", main_score, by_stratum(make))


def sts(main_score="cosine_spearman", base=AbsTaskSTS):
    def make(rng, n):
        first, second = texts(rng, n)[0], texts(rng, n)[0]
        shared = [len({*a.split()} & {*b.split()}) for a, b in zip(first, second, strict=True)]
        noise = rng.normal(0, 1, n)
        return {"sentence1": first, "sentence2": second, "score": list(shared + noise)}

    return task_of(base, "STS", main_score, by_stratum(make), min_score=-5, max_score=10)


def bitext():
    def make(rng, n):
        first = texts(rng, n)[0]
        second = [" ".join(rng.permutation(text.split()[:4])) for text in first]
        return {"sentence1": first, "sentence2": second}

    return task_of(AbsTaskBitextMining, "BitextMining", "f1", by_stratum(make))


def bitext_among_more():
    """Some sentences have no translation, and are not asked for, in an order of their own."""

    def make(rng, n):
        second = texts(rng, n + 6)[0]
        right = [int(place) for place in rng.permutation(n + 6)[:n]]
        first = [" ".join(second[place].split()[1:3]) for place in right]
        return {"sentence1": first, "sentence2": second, "gold": list(enumerate(right))}

    data = {
        subset: {
            split: make(np.random.default_rng(n), n)
            for (split, other), n in SIZES.items()
            if other == subset
        }
        for subset in LANGUAGES
    }
    return task_of(AbsTaskBitextMining, "BitextMining", "f1", data)


def parallel_bitext():
    rng = np.random.default_rng(3)
    first = texts(rng, 20)[0]
    columns = {
        name: [" ".join(rng.permutation(text.split()[:4])) for text in first]
        for name in ("eng_Latn", "deu_Latn", "fra_Latn")
    }
    data = DatasetDict(test=Dataset.from_dict(columns))
    languages = {
        f"{a}-{b}": [a.replace("_", "-"), b.replace("_", "-")]
        for a in columns
        for b in columns
        if a != b
    }
    return task_of(
        AbsTaskBitextMining,
        "BitextMining",
        "f1",
        data,
        splits=["test"],
        languages=languages,
        parallel_subsets=True,
    )


def clustering(**attributes):
    def make(rng, n):
        read, topics = texts(rng, n)
        # two levels, the second of which some texts lack
        labels = [[t // 2, t] if i % 5 else [t // 2] for i, t in enumerate(topics)]
        return {"sentences": read, "labels": labels}

    chosen = {"max_fraction_of_documents_to_embed": 0.9, "max_documents_per_cluster": 30}
    chosen |= {"n_clusters": 3} | attributes
    return task_of(AbsTaskClustering, "Clustering", "v_measure", by_stratum(make), **chosen)


def legacy_clustering():
    def make(rng, n):
        sets = [texts(rng, size) for size in (n, 10)] + [texts(rng, 4, np.zeros(4, dtype=int))]
        return {"sentences": [read for read, _ in sets], "labels": [topics for _, topics in sets]}

    return task_of(AbsTaskClusteringLegacy, "Clustering", "v_measure", by_stratum(make))


def retrieval(main_score="ndcg_at_10", type_="Retrieval", top_ranked=None, **attributes):
    def make(n):
        rng = np.random.default_rng(n)
        documents, topics = texts(rng, 4 * n)
        asked, about = texts(rng, n)
        relevant = {
            f"q{i}": {f"d{j}": 1 + j % 2 for j in range(4 * n) if topics[j] == topic and j % 3 == 0}
            for i, topic in enumerate(about)
        }
        # a document that is a query too
        documents[0], relevant["q0"] = asked[0], {"q0": 1} | relevant["q0"]
        names = ["q0", *(f"d{j}" for j in range(1, 4 * n))]
        return RetrievalSplitData(
            corpus=Dataset.from_dict({"id": names, "text": documents}),
            queries=Dataset.from_dict({"id": [f"q{i}" for i in range(n)], "text": asked}),
            relevant_docs=relevant,
            top_ranked=top_ranked and top_ranked(n),
        )

    data = {
        subset: {split: make(n) for (split, other), n in SIZES.items() if other == subset}
        for subset in LANGUAGES
    }
    return task_of(AbsTaskRetrieval, type_, main_score, data, k_values=(1, 3, 10, 20), **attributes)


def reranking():
    def top_ranked(n):
        return {f"q{i}": ["q0", *(f"d{j}" for j in range(1, 4 * n, 1 + i % 2))] for i in range(n)}

    return retrieval("map_at_20", "Reranking", top_ranked=top_ranked)


def changed_instructions():
    """Each query twice, the second time with one relevant document fewer."""

    def make(n):
        rng = np.random.default_rng(n)
        documents, topics = texts(rng, 40)
        asked, about = texts(rng, n)
        queries, relevant, changed = {}, {}, {}
        for i, topic in enumerate(about):
            found = [f"d{j}" for j in range(40) if topics[j] == topic]
            changed[str(i)] = found[:2]
            for kind, kept in (("og", found), ("changed", found[2:])):
                queries[f"{i}-{kind}"] = f"{asked[i]} {kind} {WORDS[i % 12]}"
                relevant[f"{i}-{kind}"] = dict.fromkeys(kept, 1)
        texts_of = {"id": list(queries), "text": list(queries.values())}
        corpus = Dataset.from_dict({"id": [f"d{j}" for j in range(40)], "text": documents})
        data = RetrievalSplitData(
            corpus=corpus,
            queries=Dataset.from_dict(texts_of),
            relevant_docs=relevant,
            top_ranked=None,
        )
        return data, changed

    made = {"one": make(6), "two": make(9)}

    def task_specific_scores(self, scores, qrels, results, hf_split, hf_subset):
        return evaluate_p_mrr_change(qrels, results, made[hf_subset][1], self.k_values)

    return task_of(
        AbsTaskRetrieval,
        "InstructionReranking",
        "p-MRR",
        {subset: {"test": data} for subset, (data, _) in made.items()},
        splits=["test"],
        k_values=(1, 3, 10, 20),
        task_specific_scores=task_specific_scores,
    )


TASKS = {
    "accuracy": classification,
    "f1": lambda: classification("f1"),
    "weighted precision": lambda: classification("precision_weighted"),
    "average precision of labels": lambda: classification("ap", two_topics),
    "all labels": multilabel,
    "all labels of a sample": lambda: multilabel(max_eval_samples=15),
    "pairs": pairs,
    "pairs by cosine": lambda: pairs("cosine_ap"),
    "sts": sts,
    "sts by distance": lambda: sts("manhattan_pearson"),
    "bitext": bitext,
    "bitext among more": bitext_among_more,
    "parallel bitext": parallel_bitext,
    "clustering": clustering,
    "clustering of all texts": lambda: clustering(max_fraction_of_documents_to_embed=None),
    "legacy clustering": legacy_clustering,
    "ndcg": retrieval,
    "recall": lambda: retrieval("recall_at_3"),
    "mrr": lambda: retrieval("mrr_at_10", ignore_identical_ids=True),
    "skipping": lambda: retrieval("ndcg_at_3", skip_first_result=True),
    "reranking": reranking,
    "changed instructions": changed_instructions,
}
ROUNDED = ("ndcg", "recall", "skipping", "reranking")


@pytest.fixture(scope="module")
def kept():
    """Task, result and items of a model, each computed once."""
    known = {}

    def keep(name, seed=0):
        if (name, seed) not in known:
            task = TASKS[name]()
            predictions, result = evaluated(task, seed)
            items, note = predicted_items(task, predictions, result)
            assert note == ""
            known[name, seed] = task, result, items
        return known[name, seed]

    return keep


@pytest.mark.parametrize("name", TASKS)
def test_the_score_from_the_items_is_the_one_that_mteb_reports(name, kept):
    task, result, items = kept(name)
    metric = task.metadata.main_score
    found = score_of_items(task.metadata.type, items, metric=metric)
    tolerance = 5e-6 if name in ROUNDED else 1e-9
    assert found == pytest.approx(result.get_score(), abs=tolerance)
    assert 0 < abs(found) < 1  # otherwise wrong items could give it too
    assert list(items)[:3] == ["item", "split", "subset"]
    assert items["item"].map(type).eq(str).all()


@pytest.mark.parametrize("name", [name for name in TASKS if name != "parallel bitext"])
def test_each_split_and_subset_has_the_score_that_mteb_reports_for_it(name, kept):
    task, result, items = kept(name)
    tolerance = 5e-6 if name in ROUNDED else 1e-9
    parts = {(p["split"].iloc[0], p["subset"].iloc[0]): p for p in strata(items)}
    reported = {
        (split, score["hf_subset"]): score["main_score"]
        for split, scores in result.scores.items()
        for score in scores
    }
    assert set(parts) == set(reported)
    for stratum, part in parts.items():
        found = score_of_items(task.metadata.type, part, metric=task.metadata.main_score)
        assert found == pytest.approx(reported[stratum], abs=tolerance)
    assert len({len(part) for part in parts.values()}) > 1  # so that the mean weighs them alike


OF_EACH_TYPE = [
    *("accuracy", "f1", "all labels", "pairs", "sts", "bitext", "parallel bitext"),
    *("clustering", "legacy clustering", "ndcg", "mrr"),
]


@pytest.mark.parametrize("name", OF_EACH_TYPE)
def test_items_of_two_models_pair_up(name, kept):
    (task, first, one), (_, second, other) = kept(name), kept(name, seed=1)
    metric = task.metadata.main_score
    found = item_difference(task.metadata.type, one, other, metric=metric)
    expected = second.get_score() - first.get_score()
    assert found.difference == pytest.approx(expected, abs=1e-5 if name in ROUNDED else 1e-9)
    assert found.se > 0
    assert found.n == count_items(one)


@pytest.mark.parametrize("name", ["accuracy", "f1", "pairs", "clustering", "sts", "recall"])
def test_the_interval_is_about_the_score_of_all_splits_and_subsets(name, kept):
    task, result, items = kept(name)
    metric = task.metadata.main_score
    low, high, note = score_interval(task.metadata.type, items, item="text", metric=metric)
    assert low < result.get_score() < high
    assert f"over {count_items(items)} test items (text) of 4 splits and subsets" in note


def test_items_read_back_from_a_file_give_the_score(kept, tmp_path):
    for name in ("f1", "clustering", "recall"):
        task, _, items = kept(name)
        items.to_parquet(tmp_path / "items.parquet", index=False)
        again = pd.read_parquet(tmp_path / "items.parquet")
        pd.testing.assert_frame_equal(items, again)
        score = score_of_items(task.metadata.type, again, metric=task.metadata.main_score)
        assert score == score_of_items(task.metadata.type, items, metric=task.metadata.main_score)


@pytest.mark.parametrize(
    ("name", "ours", "theirs"),
    [("f1", "label", "label"), ("pairs", "label", "labels"), ("sts", "gold", "score")],
)
def test_an_item_is_the_row_of_its_number(name, ours, theirs, kept):
    task, _, items = kept(name)
    for item, split, subset, value in items[["item", "split", "subset", ours]].itertuples(
        index=False
    ):
        assert task.dataset[subset][split][int(item)][theirs] == value


def test_a_clustered_text_has_the_label_of_its_row_at_each_level(kept):
    task, _, items = kept("clustering")
    columns = ["item", "split", "subset", "label", "level"]
    for item, split, subset, label, level in items[columns].itertuples(index=False):
        assert task.dataset[subset][split][int(item)]["labels"][level] == label
    drawn = items.groupby(["split", "subset", "level", "experiment"])["times"].sum()
    assert set(drawn) == {30}
    assert not items.duplicated([*columns, "experiment"]).any()


def test_a_query_keeps_its_own_score(kept):
    task, _, items = kept("recall")
    row = items[(items["split"] == "other") & (items["subset"] == "one")].set_index("item")
    data = task.dataset["one"]["other"]
    query = row.index[row["value"] == row["value"].max()][0]
    # three documents at most are found of those that are relevant
    found = row["value"][query] * len(data["relevant_docs"][query])
    assert found == pytest.approx(round(found))
    assert 1 <= round(found) <= 3


def test_folds_of_a_cross_validation_are_known():
    data = DatasetDict(train=Dataset.from_dict(labelled(np.random.default_rng(5), 42)))
    task = task_of(
        AbsTaskClassification,
        "Classification",
        "accuracy",
        data,
        splits=["train"],
        is_cross_validation=True,
    )
    predictions, result = evaluated(task)
    items, note = predicted_items(task, predictions, result)
    assert note == ""
    assert items["item"].tolist() != sorted(items["item"])
    assert set(items["item"]) == {str(row) for row in range(42)}
    # folds are not of one size, so that this is not the mean over texts
    score = score_of_items("Classification", items, metric="accuracy")
    assert score == pytest.approx(result.get_score(), abs=1e-12)


def test_ids_of_the_data_are_kept():
    def with_ids(rng, n):
        return labelled(rng, n) | {"id": [f"text-{i}" for i in range(n)]}

    task = classification(make=with_ids)
    items, _ = predicted_items(task, *evaluated(task))
    assert set(items["item"]) == {f"text-{i}" for i in range(25)}


def test_a_task_without_subsets_has_one():
    rng = np.random.default_rng(1)
    data = DatasetDict(
        train=Dataset.from_dict(labelled(rng, 40)), test=Dataset.from_dict(labelled(rng, 15))
    )
    task = task_of(AbsTaskClassification, "Classification", "accuracy", data, splits=["test"])
    predictions, result = evaluated(task)
    items, note = predicted_items(task, predictions, result)
    assert note == ""
    assert set(items["split"] + items["subset"]) == {"testdefault"}
    assert len(strata(items)) == 1
    assert items["value"].mean() == pytest.approx(result.get_score(), abs=1e-12)


def test_translations_are_one_item_for_all_pairs_of_languages(kept):
    _, result, items = kept("parallel bitext")
    assert len(result.scores["test"]) == 6
    assert len(items) == items["item"].nunique() == 20


def test_what_cannot_be_kept_is_said():
    task = sts()
    predictions, result = evaluated(task)
    assert predicted_items(task, Predictions(task), result) == (
        None,
        "no items: mteb gave no predictions",
    )
    task.unload_data()
    assert "not kept in memory" in predicted_items(task, predictions, result)[1]


def test_a_score_that_is_no_function_of_the_predictions_has_no_items():
    class Halved(AbsTaskSTS):
        def _calculate_scores(self, scores, normalized_scores):
            known = super()._calculate_scores(scores, normalized_scores)
            return known | {"cosine_spearman": known["cosine_spearman"] / 2}

    task = sts(base=Halved)
    items, note = predicted_items(task, *evaluated(task))
    assert items is None
    assert note.startswith("no items: they give cosine_spearman 0.")


def test_clusters_of_a_second_run_are_not_taken_for_those_of_the_first():
    task = clustering()
    evaluated(task)
    items, note = predicted_items(task, *evaluated(task))
    assert items is None
    assert "which texts were drawn is not known" in note


def test_scores_that_are_no_means_over_queries_have_no_items():
    task = retrieval("nauc_ndcg_at_10_max")
    items, note = predicted_items(task, *evaluated(task))
    assert items is None
    assert "nauc_ndcg_at_10_max is no mean of scores of single queries" in note


def test_summaries_have_no_items():
    task = task_of(AbsTaskSummarization, "Summarization", "cosine_spearman", {})
    items, note = predicted_items(task, Predictions(task), None)
    assert (items, note) == (None, "no items: none are known of tasks of type Summarization")

"""The generated corpus: what is tested was never trained on."""

import hashlib

import numpy as np
import pandas as pd
import pytest

from hrsa.data.corpus import (
    EVALUATION_FILES,
    FILES,
    TRAINING_FILES,
    generate_part,
    mask,
    write_corpus,
)
from hrsa.data.lexicon import NAMES, THINGS, TOPICS
from hrsa.data.problems import EVALUATIONS, answer, generate_problems
from hrsa.data.verifiers import final_number, is_correct

SETTINGS = {
    "evaluation": "test",
    "problems": 3000,
    "test_problems": 500,
    "prose": 1500,
    "topics": {"train": 100, "validation": 50, "test": 100},
    "questions": 300,
    "pairs": 2000,
    "retrieval": {"documents": 200, "queries": 100},
    "arithmetic": 300,
    "test_arithmetic": 60,
    "solutions": {"documents": 120, "queries": 60},
    "similar_texts": 100,
    "paraphrases": 96,
    "bitext": 100,
}


@pytest.fixture(scope="module", params=EVALUATIONS)
def corpus(tmp_path_factory, request):
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, seed=42, settings=SETTINGS | {"evaluation": request.param})
    return {name: pd.read_parquet(folder / f"{name}.parquet") for name in FILES}


def training_texts(corpus):
    problems = corpus["problems"]
    return [
        *problems["question"],
        *(problems["question"] + " " + problems["solution"]),
        *(problems["question"] + " " + problems["trace"]),
        *corpus["prose"]["text"],
        *corpus["questions"]["text"],
        *corpus["pairs"]["query"],
        *corpus["pairs"]["document"],
    ]


# of the files that there were before plain arithmetic came in: a new file must leave them alone
SHA256_OF_CSV = {
    ("validation", "problems"): "c3bed4a66e6d90ad",
    ("validation", "prose"): "db3e63b3388e55d8",
    ("validation", "questions"): "36952ea307e689c5",
    ("validation", "pairs"): "539f6c4d1a36292d",
    ("validation", "test-problems"): "4b7ba649f09ca8c8",
    ("validation", "test-questions"): "26d19ac83ee0a0b9",
    ("validation", "topics"): "a8b70686d2cfac7e",
    ("validation", "retrieval-documents"): "ee66d879b7f4ca7d",
    ("validation", "retrieval-queries"): "1d9277f4845107e0",
    ("validation", "retrieval-qrels"): "0f2dfd8331569729",
    ("test", "test-problems"): "9787f13d234f4645",
    ("test", "test-questions"): "6f2233a0e0b0925e",
    ("test", "topics"): "8780e20919280ec8",
    ("test", "retrieval-documents"): "c748d7e5a9a44307",
    ("test", "retrieval-queries"): "be37718db7cc0a40",
    ("test", "retrieval-qrels"): "f3d575510ac2506f",
}


@pytest.mark.parametrize(("evaluation", "name"), SHA256_OF_CSV)
def test_files_stay_byte_for_byte_what_they_were(evaluation, name):
    frame = generate_part(name, seed=42, settings=SETTINGS | {"evaluation": evaluation})
    text = frame.to_csv(index=False, lineterminator="\n")
    found = hashlib.sha256(text.encode()).hexdigest()
    assert found.startswith(SHA256_OF_CSV[evaluation, name])


def test_some_files_are_written_only_where_their_size_is_given(tmp_path):
    small = {key: 10 for key in ("problems", "test_problems", "prose", "questions", "pairs")}
    small |= {key: SETTINGS[key] for key in ("evaluation", "topics", "retrieval")}
    write_corpus(tmp_path, seed=1, settings=small | {"arithmetic": 6})
    written = {path.stem for path in tmp_path.iterdir()}
    solutions = {f"solution-{part}" for part in ("documents", "queries", "qrels")}
    others = {"test-arithmetic", "similar-texts", "paraphrases", "bitext"}
    assert set(FILES) - written == others | solutions
    assert len(pd.read_parquet(tmp_path / "arithmetic.parquet")) == 6


@pytest.mark.parametrize(
    ("name", "column", "split"),
    [
        ("test-problems", "question", "test_templates"),
        ("test-questions", "text", "test"),
        ("topics", "text", None),
        ("retrieval-documents", "text", None),
        ("retrieval-queries", "text", None),
        ("solution-documents", "text", None),
        ("solution-queries", "text", None),
        *(
            (name, column, None)
            for name in ("similar-texts", "paraphrases")
            for column in ("sentence1", "sentence2")
        ),
        ("bitext", "english", None),
        ("bitext", "second", None),
    ],
)
def test_no_text_of_the_held_out_templates_occurs_in_training(corpus, name, column, split):
    frame = corpus[name]
    tested = frame if split is None else frame[frame["split"] == split]
    trained = {mask(text) for text in training_texts(corpus)}
    assert len(tested) > 50
    assert trained.isdisjoint(map(mask, tested[column]))


def test_the_mask_would_find_a_leak(corpus):
    trained = {mask(text) for text in training_texts(corpus)}
    text = corpus["prose"]["text"].iloc[0]
    renamed = text.replace("Ada", "Ben")
    assert mask(renamed) in trained


def test_no_template_with_its_numbers_is_both_trained_and_tested(corpus):
    problems = pd.concat([corpus["problems"], corpus["test-problems"]])
    keys = problems.groupby("split")[["template", "a", "b"]].apply(
        lambda part: set(part.itertuples(index=False, name=None))
    )
    assert keys["train"].isdisjoint(keys["test"])
    assert {key[0] for key in keys["test"]} <= {key[0] for key in keys["train"]}
    assert {key[0] for key in keys["train"]}.isdisjoint(key[0] for key in keys["test_templates"])


def test_every_probe_split_is_disjoint(corpus):
    topics = corpus["topics"]
    assert topics["text"].is_unique
    assert set(topics["split"]) == {"train", "validation", "test"}


def test_solutions_and_traces_are_right(corpus):
    for row in corpus["problems"].sample(200, random_state=0).itertuples():
        assert row.answer == answer(row.operation, row.a, row.b)
        assert is_correct(row.solution, row.answer)
        assert is_correct(row.trace, row.answer)


def test_texts_are_whole(corpus):
    for text in training_texts(corpus)[::50]:
        assert "{" not in text
        assert "}" not in text


def test_a_relevant_document_names_every_concept_of_its_query(corpus):
    concept_of = {
        word: (topic, i)
        for topic, concepts in TOPICS.items()
        for i, words in enumerate(concepts)
        for word in words
    }
    documents = corpus["retrieval-documents"].set_index("id")["text"]
    queries = corpus["retrieval-queries"].set_index("id")["text"]

    def concepts(text):
        words = text.replace(",", " ").replace(".", " ").replace("?", " ").split()
        return {concept_of[word] for word in words if word in concept_of}

    for row in corpus["retrieval-qrels"].itertuples():
        # "story of", "note", "record" … are frame words; the three concepts share one topic
        wanted = {c for c in concepts(queries[row.query]) if c[0] == max_topic(queries[row.query])}
        assert len(wanted & concepts(documents[row.document])) >= 3


def max_topic(text):
    words = text.replace(",", " ").replace(".", " ").replace("?", " ").split()
    counts = {
        topic: sum(word in {w for pair in concepts for w in pair} for word in words)
        for topic, concepts in TOPICS.items()
    }
    return max(counts, key=counts.get)


def test_every_word_names_one_concept_of_one_topic():
    words = [word for concepts in TOPICS.values() for pair in concepts for word in pair]
    assert len(words) == len(set(words))
    assert set(words).isdisjoint(THINGS)
    assert set(words).isdisjoint(name.lower() for name in NAMES)


def test_one_seed_gives_one_corpus_and_another_seed_another():
    for name in FILES:
        first, again, other = (generate_part(name, seed=s, settings=SETTINGS) for s in (1, 1, 2))
        pd.testing.assert_frame_equal(first, again)
        assert not first.equals(other)


def test_the_size_of_one_file_leaves_the_others_alone():
    larger = SETTINGS | {"prose": 1600}
    prose, more, pairs, same = (
        generate_part(name, seed=1, settings=settings)
        for name in ("prose", "pairs")
        for settings in (SETTINGS, larger)
    )
    pd.testing.assert_frame_equal(pairs, same)
    assert prose["text"].tolist() == more["text"].tolist()[:1500]


def test_settings_are_chosen_on_other_texts_than_are_reported():
    parts = {
        name: [
            generate_part(name, seed=1, settings=SETTINGS | {"evaluation": evaluation})
            for evaluation in EVALUATIONS
        ]
        for name in FILES
    }
    for name in TRAINING_FILES:
        pd.testing.assert_frame_equal(*parts[name])
    for name in EVALUATION_FILES:
        assert not parts[name][0].equals(parts[name][1])
    keys = [
        frame.groupby("split")[["template", "a", "b"]].apply(
            lambda part: set(part.itertuples(index=False, name=None))
        )
        for frame in parts["test-problems"]
    ]
    assert keys[0]["test"].isdisjoint(keys[1]["test"])
    templates = [{key[0] for key in both["test_templates"]} for both in keys]
    assert templates[0].isdisjoint(templates[1])
    assert len(templates[1]) == 8


def test_problems_do_not_repeat():
    frame = generate_problems("train", 500, np.random.default_rng(0))
    assert frame["question"].is_unique


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("3 + 4 = 7. #### 7", 7),
        ("#### 3 then #### -12", -12),
        ("####5", 5),
        ("The answer is 7", None),
        ("", None),
    ],
)
def test_the_final_number_follows_the_last_mark(text, number):
    assert final_number(text) == number

"""Texts of the study's own benchmark tasks: what is wrong looks as alike as what is right."""

import re

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score

from hrsa.data.lexicon import TOPICS
from hrsa.data.paraphrases import generate_paraphrases
from hrsa.data.second_language import (
    ADJECTIVES,
    TIMES,
    VERBS,
    Sentence,
    generate_bitext,
    in_english,
    in_second_language,
    respell,
    spell_back,
)
from hrsa.data.similar_texts import CONCEPTS, generate_similar_texts
from hrsa.data.solutions import METHODS, generate_solutions, operands, worked_solution
from hrsa.errors import UserError

CONCEPT_OF = {
    word: (topic, i)
    for topic, concepts in TOPICS.items()
    for i, words in enumerate(concepts)
    for word in words
}


WORDINGS = {
    (method, i): re.compile(re.sub(r"\\\{\w+\\\}", r"\\w+", re.escape(text)))
    for method, texts in METHODS.items()
    for i, text in enumerate(texts)
}


def wording(text):
    """Method and wording of a word problem."""
    (found,) = (key for key, pattern in WORDINGS.items() if pattern.match(text))
    return found


def words(text):
    return re.findall(r"\w+", text.lower())


def shared_words(first, second):
    """Jaccard's share of the words of two texts that both have."""
    one, other = set(words(first)), set(words(second))
    return len(one & other) / len(one | other)


def both_texts(frame):
    return frame[["sentence1", "sentence2"]].itertuples(index=False)


def concepts(text, topic):
    """Concepts of a topic that a text names; words of frames may belong to other topics."""
    named = (CONCEPT_OF[word] for word in words(text) if word in CONCEPT_OF)
    return {concept for concept in named if concept[0] == topic}


@pytest.fixture(scope="module")
def similar():
    return generate_similar_texts(600, np.random.default_rng(1))


@pytest.fixture(scope="module")
def paraphrases():
    return generate_paraphrases(1200, np.random.default_rng(1))


@pytest.fixture(scope="module")
def solutions():
    return generate_solutions(240, 120, np.random.default_rng(1))


# -- similar texts ---------------------------------------------------------------------------------


def test_the_score_of_similar_texts_is_the_share_of_concepts_in_common(similar):
    assert similar["score"].value_counts().nunique() == 1
    for row in similar.itertuples():
        one, other = (concepts(text, row.label) for text in (row.sentence1, row.sentence2))
        assert len(one) == len(other) == CONCEPTS
        assert len(one & other) / CONCEPTS == row.score


def test_shared_concepts_never_share_a_word(similar):
    for row in similar.itertuples():
        named = [
            {word for word in words(text) if CONCEPT_OF.get(word, ("",))[0] == row.label}
            for text in (row.sentence1, row.sentence2)
        ]
        assert named[0].isdisjoint(named[1])


def test_shared_words_tell_nothing_of_how_similar_texts_are(similar):
    overlap = [shared_words(*pair) for pair in both_texts(similar)]
    assert abs(spearmanr(overlap, similar["score"]).statistic) < 0.12


# -- paraphrases -----------------------------------------------------------------------------------


def test_half_of_the_pairs_are_paraphrases_and_a_third_of_the_others_swap_roles(paraphrases):
    assert paraphrases["kind"].value_counts().to_dict() == {
        "same": 600,
        "concept": 400,
        "roles": 200,
    }
    assert ((paraphrases["kind"] == "same") == (paraphrases["label"] == 1)).all()


def test_a_near_miss_has_another_concept_or_the_same_ones_in_other_roles(paraphrases):
    for row in paraphrases.itertuples():
        topic = next(CONCEPT_OF[word][0] for word in words(row.sentence1) if word in CONCEPT_OF)
        one, other = (concepts(text, topic) for text in (row.sentence1, row.sentence2))
        assert len(one) == len(other) == 2
        assert len(one & other) == (1 if row.kind == "concept" else 2)


def test_shared_words_do_not_tell_a_paraphrase_from_a_near_miss(paraphrases):
    overlap = [shared_words(*pair) for pair in both_texts(paraphrases)]
    assert 0.45 < average_precision_score(paraphrases["label"], overlap) < 0.55


# -- solutions -------------------------------------------------------------------------------------


def test_the_relevant_documents_are_those_of_the_querys_method(solutions):
    documents, queries, relevance = solutions
    method = (
        documents.set_index("id")["label"].to_dict() | queries.set_index("id")["label"].to_dict()
    )
    assert (relevance["query"].map(method) == relevance["document"].map(method)).all()
    assert len(relevance) / len(queries) / len(documents) == pytest.approx(1 / 6, abs=0.01)
    assert set(queries["label"]) == set(documents["label"]) == set(METHODS)


def test_what_looks_most_like_a_query_mostly_needs_another_method(solutions):
    documents, queries, _ = solutions
    wrong = 0
    for query in queries.itertuples():
        overlap = [shared_words(query.text, text) for text in documents["text"]]
        wrong += documents["label"].iloc[int(np.argmax(overlap))] != query.label
    assert wrong / len(queries) > 5 / 6


def test_the_wordings_of_queries_are_neither_documents_nor_queries_of_the_other_evaluation():
    asked = {}
    for evaluation in ("test", "validation"):
        documents, queries, _ = generate_solutions(
            240, 120, np.random.default_rng(1), evaluation=evaluation
        )
        asked[evaluation] = set(map(wording, queries["text"]))
        assert asked[evaluation].isdisjoint(map(wording, documents["text"]))
        assert len(asked[evaluation]) == 2 * len(METHODS)
    assert asked["test"].isdisjoint(asked["validation"])


@pytest.mark.parametrize("method", METHODS)
def test_every_worked_solution_is_right_and_whole(method):
    for x, y, z in ((2, 3, 4), (9, 9, 9), (7, 2, 5)):
        a, b, c = operands(method, x, y, z)
        text = worked_solution(method, x, y, z)
        result = {
            "join": a + b,
            "remove": a - b,
            "groups": a * b,
            "share": a / b,
            "groups and more": a * b + c,
            "share the rest": (a - b) / c,
        }[method]
        assert text.endswith(f"#### {result:.0f}")
        assert result == int(result)
        for equation in re.findall(r"(\d+ [-+*/] \d+) = (\d+)", text):
            assert eval(equation[0]) == int(equation[1])


def test_too_few_documents_for_all_methods_are_refused():
    with pytest.raises(UserError, match=r"`corpus\.solutions\.documents` is 11.*at least 12"):
        generate_solutions(11, 5, np.random.default_rng(0))


# -- the second language ---------------------------------------------------------------------------


def test_every_word_has_one_spelling_which_no_other_word_has_and_can_be_spelt_back():
    vocabulary = sorted({*CONCEPT_OF, *TIMES, *ADJECTIVES, *VERBS})
    spelt = [respell(word) for word in vocabulary]
    assert len(set(spelt)) == len(vocabulary)
    assert [spell_back(word) for word in spelt] == vocabulary
    assert set(spelt).isdisjoint(vocabulary)


def test_a_sentence_of_the_second_language_follows_its_grammar():
    sentence = Sentence("today", "old", "doctor", "repaired", "train")
    assert in_english(sentence) == "Today the old doctor repaired the train."
    second = in_second_language(sentence)
    assert second == "Tuksulyn urt sutoy sloemynay lafoelat."
    assert spell_back(respell("rain")) == "rain"


def test_sentences_of_two_languages_share_no_word_and_little_else():
    bitext = generate_bitext(400, np.random.default_rng(1))
    assert bitext["english"].is_unique
    assert bitext["second"].is_unique
    vocabulary = [
        {word for text in bitext[side] for word in words(text)} for side in ("english", "second")
    ]
    assert vocabulary[0].isdisjoint(vocabulary[1])
    # Long words stay long; who knows no more finds few.
    lengths = [bitext[side].str.len().to_numpy() for side in ("english", "second")]
    lengths[1] = lengths[1] - np.mean(lengths[1] - lengths[0])
    nearest = np.abs(lengths[0][:, None] - lengths[1][None, :]).argmin(axis=1)
    assert np.mean(nearest == np.arange(len(bitext))) < 0.05

"""Topical prose, and the queries that look for it.

A document is about three concepts of one topic; each of its three sentences names two of them,
each concept always by the same one of its two words. A query names the three concepts, each by the
document's own word with probability `SHARED_WORD` and by its near synonym otherwise. Frames
(sentences and questions) marked held out never occur in training texts.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from hrsa.data.lexicon import DAYS, NAMES, TOPICS

SHARED_WORD = 0.4
SENTENCES = 3
CONCEPTS = 3

TRAINING_FRAMES = (
    "On {day} {name} saw the {x} and the {y}.",
    "The {x} was near the {y}.",
    "{name} wrote on the {x} and a {y}.",
    "Nobody saw the {x} before the {y}.",
    "A {x} may need a {y}.",
    "{name} asked for a {x} or a {y}.",
    "After the {x} came the {y}.",
    "The {x} explains the {y}.",
    "{name} likes the {x} more than the {y}.",
    "No {x} is like a {y}.",
    "The {x} and the {y} were in the news.",
    "By {day} the {x} had changed the {y}.",
    "They know the {x}, not the {y}.",
    "One {x} for {number} kinds of {y}.",
    "Without a {x} there is no {y}.",
    "{name} compared {number} {x} with a {y}.",
)
HELD_OUT_FRAMES = (
    "{name} told how a {x} led to a {y}.",
    "This {day} the {x} met the {y}.",
    "It took {number} days for the {x} and {y}.",
    "Some prefer the {x} to the {y}.",
    "The {x} looked new beside the {y}.",
    "{name} dreamed of a {x} under a {y}.",
    "Between {x} and {y} lies a story.",
    "The {x} was {number} times the {y}.",
)
TRAINING_QUESTIONS = (
    "Which text is about {x}, {y} and {z}?",
    "Where do I read about {x}, {y} and {z}?",
    "Find a note on {x}, {y}, {z}.",
    "{name} looks for {x} with {y} and {z}.",
    "Is there news of {x}, {y} and {z}?",
    "What was said about {x}, {y}, {z}?",
)
HELD_OUT_QUESTIONS = (
    "Show me something on {x}, {y} and {z}.",
    "Who mentions {x}, {y} and {z}?",
    "I want the story of {x}, {y} and {z}.",
)


@dataclass(frozen=True)
class Document:
    """A three-sentence text: its topic, and for each concept it names the word it uses."""

    topic: str
    concepts: tuple[int, ...]
    forms: tuple[int, ...]
    text: str


def generate_document(
    rng: np.random.Generator, *, held_out: bool, sentences: int = SENTENCES
) -> Document:
    """One document of a random topic, from training's or from the held-out frames."""
    topic = list(TOPICS)[rng.integers(len(TOPICS))]
    frames = HELD_OUT_FRAMES if held_out else TRAINING_FRAMES
    concepts = rng.choice(len(TOPICS[topic]), size=CONCEPTS, replace=False)
    forms = rng.integers(2, size=CONCEPTS)
    words = [TOPICS[topic][c][f] for c, f in zip(concepts, forms, strict=True)]
    chosen = rng.choice(len(frames), size=sentences, replace=False)
    parts = [
        frames[f].format(x=words[i % CONCEPTS], y=words[(i + 1) % CONCEPTS], **_circumstances(rng))
        for i, f in enumerate(chosen)
    ]
    return Document(topic, tuple(concepts.tolist()), tuple(forms.tolist()), " ".join(parts))


def generate_query(document: Document, rng: np.random.Generator, *, held_out: bool) -> str:
    """A question for a document: it names the document's three concepts, in any order."""
    frames = HELD_OUT_QUESTIONS if held_out else TRAINING_QUESTIONS
    words = []
    for i in rng.permutation(CONCEPTS):
        form = document.forms[i] if rng.random() < SHARED_WORD else 1 - document.forms[i]
        words.append(TOPICS[document.topic][document.concepts[i]][form])
    frame = frames[rng.integers(len(frames))]
    text = frame.format(x=words[0], y=words[1], z=words[2], **_circumstances(rng))
    return text


def generate_prose(
    n: int, rng: np.random.Generator, *, held_out: bool, sentences: int = SENTENCES
) -> pd.DataFrame:
    """`n` different topical texts: columns id, text, label (the topic)."""
    texts: dict[str, str] = {}
    while len(texts) < n:
        document = generate_document(rng, held_out=held_out, sentences=sentences)
        texts.setdefault(document.text, document.topic)
    prefix = "topic" if held_out else "prose"
    return pd.DataFrame(
        {
            "id": [f"{prefix}-{i:05d}" for i in range(n)],
            "text": list(texts),
            "label": list(texts.values()),
        }
    )


def generate_pairs(n: int, rng: np.random.Generator, *, word_share: float = 0.25) -> pd.DataFrame:
    """Training pairs for contrastive learning: question and text, or two words of one concept.

    Returns
    -------
    pandas.DataFrame
        Columns query, document, kind ("text" or "word"); frames are training's.
    """
    rows = []
    for _ in range(n):
        if rng.random() < word_share:
            topic = list(TOPICS)[rng.integers(len(TOPICS))]
            words = TOPICS[topic][rng.integers(len(TOPICS[topic]))]
            first = int(rng.integers(2))
            rows.append((words[first], words[1 - first], "word"))
        else:
            document = generate_document(rng, held_out=False)
            rows.append((generate_query(document, rng, held_out=False), document.text, "text"))
    return pd.DataFrame(rows, columns=["query", "document", "kind"])


def generate_retrieval(
    n_documents: int, n_queries: int, rng: np.random.Generator
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """A retrieval test from held-out frames: documents, queries and relevance judgements.

    Every document about the three concepts of a query is relevant, whatever words it uses.
    """
    documents = [generate_document(rng, held_out=True) for _ in range(n_documents)]
    queries, judgements = [], []
    for q, target in enumerate(rng.choice(n_documents, size=n_queries, replace=False)):
        wanted = documents[target]
        queries.append((f"query-{q:04d}", generate_query(wanted, rng, held_out=True)))
        judgements += [
            (f"query-{q:04d}", f"document-{d:04d}", 1)
            for d, document in enumerate(documents)
            if document.topic == wanted.topic and set(document.concepts) == set(wanted.concepts)
        ]
    return (
        pd.DataFrame(
            {
                "id": [f"document-{d:04d}" for d in range(n_documents)],
                "text": [document.text for document in documents],
            }
        ),
        pd.DataFrame(queries, columns=["id", "text"]),
        pd.DataFrame(judgements, columns=["query", "document", "score"]),
    )


def _circumstances(rng: np.random.Generator) -> dict[str, object]:
    return {
        "name": NAMES[rng.integers(len(NAMES))],
        "day": DAYS[rng.integers(len(DAYS))],
        "number": int(rng.integers(2, 20)),
    }

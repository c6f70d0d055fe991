"""How many texts a study reads and how long they are in tokens, before any is made or fetched.

Of generated texts a few are drawn and their words counted; of a user's own file all are. Texts that
are not here are taken to be as long as the study allows, which is an upper bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hrsa.data.corpus import generate_part
from hrsa.data.datasets import load_dataset
from hrsa.data.generators import GENERATORS
from hrsa.errors import UserError
from hrsa_workflow.estimates import BOUND, UNKNOWN, Estimate
from hrsa_workflow.study import Study

DRAWN = 120
WORD = re.compile(r"[^\W\d_]+")
OTHER = re.compile(r"\d|[^\w\s]|_")
# Measured on the generated texts with the tokenizers of recipe pretrain and of SmolLM2: a digit or
# a mark is a token, a word 1.1, and more where a vocabulary is too small to hold the words.
TOKENS_PER_WORD = 1.1
ALL_WORDS = 1400
GROWTH = 0.75
# Larger files are not read for a plan.
READ_AT_MOST = 64_000_000


@dataclass(frozen=True)
class Length:
    """How long texts are on average: words, and digits and marks."""

    words: float
    others: float

    def __add__(self, other: Length) -> Length:
        return Length(self.words + other.words, self.others + other.others)

    def __mul__(self, share: float) -> Length:
        return Length(self.words * share, self.others * share)

    def tokens(self, vocabulary: int | None) -> float:
        """Tokens of a text, by a tokenizer with so many entries (None: as many as are usual)."""
        smaller = ALL_WORDS / vocabulary if vocabulary else 1
        return self.words * TOKENS_PER_WORD * max(1.0, smaller**GROWTH) + self.others


@dataclass(frozen=True)
class Texts:
    """Some texts: how many, how long (None: not known), and the most tokens of one."""

    count: Estimate
    length: Length | None
    cap: int | None = None
    characters: int | None = None

    def tokens_each(self, vocabulary: int | None) -> Estimate:
        """Tokens of a text on average; the cap, as a bound, where lengths are not known."""
        if self.length is None:
            return Estimate(self.cap, frozenset({BOUND})) if self.cap else UNKNOWN
        tokens = self.length.tokens(vocabulary)
        return Estimate(min(tokens, self.cap) if self.cap else tokens)

    def tokens(self, vocabulary: int | None) -> Estimate:
        """Tokens of all together."""
        by_count = self.count * self.tokens_each(vocabulary)
        if self.characters is None:
            return by_count
        # a token has a character at least
        most = Estimate(float(self.characters), frozenset({BOUND}))
        return most if by_count.is_unknown else min(by_count, most, key=lambda one: one.value)


def measured(texts: Iterable[str]) -> Length:
    """Mean length of texts."""
    texts = list(texts)
    words = sum(len(WORD.findall(text)) for text in texts)
    others = sum(len(OTHER.findall(text)) for text in texts)
    return Length(words / len(texts), others / len(texts))


@cache
def generated(part: str, columns: tuple[str, ...], seed: int) -> Length:
    """Length of the texts of a file of the corpus, its columns joined."""
    small = {
        **dict.fromkeys(("problems", "prose", "questions", "pairs", "arithmetic"), DRAWN),
        **dict.fromkeys(("test_problems", "test_arithmetic"), DRAWN),
        "topics": {"train": DRAWN, "validation": 0, "test": 0},
        "retrieval": {"documents": DRAWN, "queries": DRAWN},
        "solutions": {"documents": DRAWN, "queries": DRAWN},
        **dict.fromkeys(("similar_texts", "paraphrases", "bitext"), DRAWN),
        "evaluation": "test",
    }
    frame = generate_part(part, seed=seed, settings=small)
    return measured(frame[list(columns)].agg(" ".join, axis=1))


def dataset_texts(study: Study, dataset: str) -> Texts:
    """The texts of a data set that activations are extracted on."""
    entry = study.config["datasets"][dataset]
    cap = study.config["extraction"]["max_length"]
    if "generator" in entry:
        return _generated(study, entry, cap)
    if "path" in entry:
        file = Path(study.dataset_files(dataset)[0])
        if file.is_file() and file.stat().st_size <= READ_AT_MOST:
            return _own_file(study, entry | {"path": str(file)}, cap)
    samples = entry.get("samples")
    count = Estimate(float(samples), frozenset({BOUND})) if samples else UNKNOWN
    return Texts(count, None, cap, entry.get("max_characters"))


def _generated(study: Study, entry: Mapping[str, Any], cap: int) -> Texts:
    corpus, kind, split = study.config["corpus"], entry["generator"], entry.get("split")
    if kind == "topics":
        there = corpus["topics"].get(split, 0) if split else sum(corpus["topics"].values())
    else:
        there = corpus[kind if kind == "questions" else f"test_{kind}"]
    columns = ("text",) if kind in ("topics", "questions") else ("question", "solution")
    length = generated(GENERATORS[kind], columns, study.config["seed"])
    return Texts(Estimate(float(min(there, entry.get("samples", there)))), length, cap)


def _own_file(study: Study, entry: Mapping[str, Any], cap: int) -> Texts:
    settings = {key: value for key, value in entry.items() if key not in ("metrics", "shards")}
    try:
        frame = load_dataset(settings, corpus=None, seed=study.config["seed"])
    except (UserError, OSError, ValueError):
        return Texts(UNKNOWN, None, cap)  # the job that prepares it will say what is wrong
    return Texts(Estimate(float(len(frame))), measured(frame["text"]), cap)


def training_texts(study: Study, name: str, columns: tuple[str, ...], cap: int) -> Texts:
    """The texts of a training set, made of some of its columns."""
    entry = study.config["training_sets"].get(name)
    if entry is None:
        length = generated(name, columns, study.config["seed"])
        return Texts(Estimate(float(study.config["corpus"][name])), length, cap)
    samples = entry.get("samples")
    return Texts(Estimate(samples, frozenset({BOUND})) if samples else UNKNOWN, None, cap)


def task_texts(task: str, corpus: Mapping[str, Any]) -> list[tuple[str, tuple[str, ...], int]]:
    """Texts that a task of the study embeds: file, columns, rows; empty for another task."""
    one, two = ("text",), ("sentence1", "sentence2")
    match task:
        case "TopicClassification":
            return [("topics", one, sum(corpus["topics"].values()))]
        case "TopicClustering":
            return [("topics", one, corpus["topics"]["test"])]
        case "TopicRetrieval":
            return [(f"retrieval-{kind}", one, n) for kind, n in corpus["retrieval"].items()]
        case "SolutionRetrieval":
            return [(f"solution-{kind}", one, n) for kind, n in corpus["solutions"].items()]
        case "TextSimilarity":
            return [("similar-texts", two, corpus["similar_texts"])]
        case "ParaphrasePairs":
            return [("paraphrases", two, corpus["paraphrases"])]
        case "WordLanguageBitext":
            return [("bitext", ("english", "second"), corpus["bitext"])]
    return []

"""Pairs of texts that have some of their concepts in common, never a word for them.

Both texts of a pair are about four concepts of one topic, in two sentences. A concept that they
share is named by one of its two words in the first text and by the other word in the second, and
they use different frames: that two texts are alike is seen in what their words mean, or not at all.
"""

import numpy as np
import pandas as pd

from hrsa.data.lexicon import DAYS, NAMES, TOPICS
from hrsa.data.prose import HELD_OUT_FRAMES

CONCEPTS = 4


def generate_similar_texts(n: int, rng: np.random.Generator) -> pd.DataFrame:
    """`n` pairs, each number of shared concepts (0 to `CONCEPTS`) equally often.

    Parameters
    ----------
    n : int
    rng : numpy.random.Generator

    Returns
    -------
    pandas.DataFrame
        Columns id, sentence1, sentence2, score (share of concepts in common), label (the topic);
        the frames are held out from training.
    """
    rows: dict[tuple[str, str], tuple[float, str]] = {}
    while len(rows) < n:
        shared = len(rows) % (CONCEPTS + 1)
        first, second, topic = _pair(shared, rng)
        rows.setdefault((first, second), (shared / CONCEPTS, topic))
    return pd.DataFrame(
        {
            "id": [f"similar-{i:04d}" for i in range(n)],
            "sentence1": [first for first, _ in rows],
            "sentence2": [second for _, second in rows],
            "score": [score for score, _ in rows.values()],
            "label": [topic for _, topic in rows.values()],
        }
    )


def _pair(shared: int, rng: np.random.Generator) -> tuple[str, str, str]:
    topic = list(TOPICS)[rng.integers(len(TOPICS))]
    concepts = rng.permutation(len(TOPICS[topic]))[: 2 * CONCEPTS - shared]
    first, second = concepts[:CONCEPTS], concepts[CONCEPTS - shared :]
    forms = rng.integers(2, size=len(TOPICS[topic]))
    frames = rng.permutation(len(HELD_OUT_FRAMES))[:CONCEPTS]
    texts = [
        _text([TOPICS[topic][c][form[c]] for c in rng.permutation(of_text)], half, rng)
        for of_text, form, half in (
            (first, forms, frames[: CONCEPTS // 2]),
            (second, 1 - forms, frames[CONCEPTS // 2 :]),
        )
    ]
    return texts[0], texts[1], topic


def _text(words: list[str], frames: np.ndarray, rng: np.random.Generator) -> str:
    """Two concepts to a sentence."""
    return " ".join(
        HELD_OUT_FRAMES[frame].format(
            x=words[2 * i],
            y=words[2 * i + 1],
            name=NAMES[rng.integers(len(NAMES))],
            day=DAYS[rng.integers(len(DAYS))],
            number=int(rng.integers(2, 20)),
        )
        for i, frame in enumerate(frames)
    )

"""Multiple-choice questions with four options: a stand-in for a general-knowledge exam.

The label is the topic of the right option. Training and test use different question frames.
"""

import numpy as np
import pandas as pd

from hrsa.data.lexicon import NAMES, TOPICS

LETTERS = "ABCD"
TRAINING_FRAMES = (
    "Question: Which of these words belongs to {topic}?",
    "Question: {name} reads about {topic}. Which word fits?",
    "Question: Which word would you expect in a text on {topic}?",
    "Question: One of these is a word from {topic}. Which one?",
)
HELD_OUT_FRAMES = (
    "Question: What would a lesson on {topic} mention?",
    "Question: {name} collects words of {topic}. Which one should be kept?",
    "Question: Pick the term that people in {topic} use.",
)


def generate_questions(n: int, rng: np.random.Generator, *, held_out: bool) -> pd.DataFrame:
    """`n` different questions: columns id, text, label (topic); the text ends in the answer."""
    frames = HELD_OUT_FRAMES if held_out else TRAINING_FRAMES
    texts: dict[str, str] = {}
    while len(texts) < n:
        topics = rng.permutation(list(TOPICS))[: len(LETTERS)]
        correct = int(rng.integers(len(LETTERS)))
        options = []
        for letter, topic in zip(LETTERS, topics, strict=True):
            concept = TOPICS[topic][rng.integers(len(TOPICS[topic]))]
            options.append(f"{letter}) {concept[rng.integers(2)]}")
        frame = frames[rng.integers(len(frames))]
        question = frame.format(topic=topics[correct], name=NAMES[rng.integers(len(NAMES))])
        text = f"{question} {' '.join(options)} Answer: {LETTERS[correct]}"
        texts.setdefault(text, str(topics[correct]))
    prefix = "question" if held_out else "exercise"
    return pd.DataFrame(
        {
            "id": [f"{prefix}-{i:05d}" for i in range(n)],
            "text": list(texts),
            "label": list(texts.values()),
        }
    )

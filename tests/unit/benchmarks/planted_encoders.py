"""Encoders whose scores are known beforehand: one knows what texts mean, the other nothing.

Both give each feature of a text a fixed random direction. The features of the one are what the
generators put into a text (concepts, a fact's roles, a method of solution, words of the second
language spelt back), those of the other the text as a whole.
"""

import hashlib
import re
from functools import cache

import numpy as np
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ModelMeta, ScoringFunction

from hrsa.data.lexicon import TOPICS
from hrsa.data.paraphrases import RELATIONS
from hrsa.data.second_language import ADJECTIVES, DEFINITE, OBJECT, TIMES, VERBS, spell_back
from hrsa.data.solutions import METHODS

WIDTH = 256
CONCEPT_OF = {
    word: f"{topic} {i}"
    for topic, concepts in TOPICS.items()
    for i, words in enumerate(concepts)
    for word in words
}
TOPIC_OF = {word: topic for topic, concepts in TOPICS.items() for pair in concepts for word in pair}
OTHER_WORDS = {*TIMES, *ADJECTIVES, *VERBS}


def pattern(template):
    """A regular expression of a template: its first x and y are groups, the rest any words."""
    text = re.sub(r"\\\{([xy])\\\}", r"(?P<\1>\\w+)", re.escape(template), count=2)
    return re.compile(re.sub(r"\\\{\w+\\\}", r"\\w+", text))


SOLUTIONS = [(method, pattern(text)) for method, texts in METHODS.items() for text in texts]
FACTS = [(i, pattern(text)) for i, texts in enumerate(RELATIONS) for text in texts]


def meaning(text):
    """What a generated text says, as features that are alike for all ways of saying it."""
    for method, template in SOLUTIONS:
        if template.match(text):
            return [method]
    for relation, template in FACTS:
        if found := template.match(text):
            return [f"{relation} {role} {CONCEPT_OF[found[role]]}" for role in "xy"]
    features, topics = [], set()
    for word in re.findall(r"\w+", text.lower()):
        known = word if word in CONCEPT_OF or word in OTHER_WORDS else in_english(word)
        if known in CONCEPT_OF:
            features.append(CONCEPT_OF[known])
            topics.add(TOPIC_OF[known])
        elif known in OTHER_WORDS:
            features.append(known)
    return [*features, *sorted(topics)] or ["nothing"]


def in_english(word):
    return spell_back(word.removesuffix(OBJECT).removesuffix(DEFINITE))


@cache
def direction(feature):
    seed = int.from_bytes(hashlib.sha256(feature.encode()).digest()[:8], "big")
    return np.random.default_rng(seed).normal(size=WIDTH) / np.sqrt(WIDTH)


class PlantedEncoder(AbsEncoder):
    """Embeds a text as the sum of its features' directions."""

    def __init__(self, name, features):
        self.features = features
        self.mteb_model_meta = ModelMeta.create_empty(
            {
                "name": f"planted/{name}",
                "revision": "1",
                "similarity_fn_name": ScoringFunction.COSINE,
            }
        )

    def encode(self, inputs, **kwargs):
        texts = [text for batch in inputs for text in batch["text"]]
        return np.array(
            [np.sum([direction(one) for one in self.features(text)], axis=0) for text in texts],
            dtype=np.float32,
        )


def knowing():
    return PlantedEncoder("knowing", meaning)


def ignorant(seed):
    return PlantedEncoder(f"ignorant-{seed}", lambda text: [f"{seed} {text}"])

"""A second surface language of the generated world, and sentences in English and in it.

It is a language, not noise: one rule spells every word, so that a word always looks the same and
two words never do, and a grammar of its own orders them.

- **Spelling**: each letter has another, by regular shifts (p → f → v → b → p, a → o → u → i → e
  → a, …): *rain* is *loem*. The mapping of letters is one to one, so that a word can be spelt back.
- **Nouns**: what English gives the article *the* has the ending *-yn*; the object of a sentence
  adds *-ay*.
- **Order**: subject, its adjective, time, object, verb: "Today the old doctor repaired the
  train" is "doctor-yn old today train-yn-ay repaired", respelt.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from hrsa.data.lexicon import TOPICS

# Each letter of a cycle becomes the next one.
CYCLES = ("pfvb", "tszd", "kghc", "mn", "lr", "jw", "xq", "aouie")
DEFINITE = "yn"
OBJECT = "ay"
TIMES = (
    *("yesterday", "today", "often", "once", "again", "soon"),
    *("lately", "twice", "quietly", "suddenly", "slowly", "finally"),
)
ADJECTIVES = (
    *("old", "big", "small", "quick", "quiet", "bright"),
    *("heavy", "famous", "strange", "cheap", "broken", "modern"),
)
VERBS = (
    *("repaired", "forgot", "followed", "described", "touched", "avoided"),
    *("watched", "needed", "replaced", "reached", "dropped", "improved"),
)
_LETTERS = "".join(CYCLES)
_NEXT = "".join(cycle[1:] + cycle[0] for cycle in CYCLES)
_FORWARD = str.maketrans(_LETTERS, _NEXT)
_BACKWARD = str.maketrans(_NEXT, _LETTERS)


@dataclass(frozen=True)
class Sentence:
    """Who did what to what, when: words of English, without their grammar."""

    time: str
    adjective: str
    subject: str
    verb: str
    object: str


def respell(word: str) -> str:
    """Spell an English word in the second language; letters that it does not shift stay."""
    return word.lower().translate(_FORWARD)


def spell_back(word: str) -> str:
    """The English word that `respell` made a word from."""
    return word.translate(_BACKWARD)


def in_english(sentence: Sentence) -> str:
    """Write a sentence in English."""
    s = sentence
    return f"{s.time.capitalize()} the {s.adjective} {s.subject} {s.verb} the {s.object}."


def in_second_language(sentence: Sentence) -> str:
    """Write a sentence in the second language."""
    words = [
        respell(sentence.subject) + DEFINITE,
        respell(sentence.adjective),
        respell(sentence.time),
        respell(sentence.object) + DEFINITE + OBJECT,
        respell(sentence.verb),
    ]
    return f"{' '.join(words).capitalize()}."


def generate_bitext(n: int, rng: np.random.Generator) -> pd.DataFrame:
    """`n` different sentences in both languages: columns id, english, second.

    No training text is in the second language. Many sentences have a word in common, and no two
    have the same subject, verb and object.
    """
    nouns = [word for concepts in TOPICS.values() for words in concepts for word in words]
    sentences: dict[tuple[str, str, str], Sentence] = {}
    while len(sentences) < n:
        subject, other = (nouns[place] for place in rng.permutation(len(nouns))[:2])
        time, adjective, verb = (
            words[rng.integers(len(words))] for words in (TIMES, ADJECTIVES, VERBS)
        )
        sentence = Sentence(time, adjective, subject, verb, other)
        sentences.setdefault((subject, verb, other), sentence)
    return pd.DataFrame(
        {
            "id": [f"sentence-{i:04d}" for i in range(n)],
            "english": [in_english(sentence) for sentence in sentences.values()],
            "second": [in_second_language(sentence) for sentence in sentences.values()],
        }
    )

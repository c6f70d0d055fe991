"""Pairs of sentences that state one fact in other words, and near misses that state another.

A fact is a relation between two concepts (one comes before the other, is inside it, …), with the
person and the day it is told of. Each relation has two wordings that name the concepts in opposite
orders. The second sentence of every pair has the relation's other wording and, for each concept
that it keeps, the concept's other word, in paraphrases and near misses alike: shared words and word
order tell nothing. A near miss puts another concept of the topic in the place of one, or swaps the
roles of the two.
"""

import numpy as np
import pandas as pd

from hrsa.data.lexicon import DAYS, NAMES, TOPICS

# two wordings of each relation; the first names x before y, the second y before x
RELATIONS: tuple[tuple[str, str], ...] = (
    (
        "On {day} {name} met the {x} and only later the {y}.",
        "{name} met the {y} following the {x} on {day}.",
    ),
    (
        "{name} holds that the {x} brought about the {y} on {day}.",
        "On {day} the {y} was due to the {x}, as {name} holds.",
    ),
    (
        "On {day} the {x} was larger than the {y} in the eyes of {name}.",
        "On {day} the {y} was smaller than the {x} in the eyes of {name}.",
    ),
    (
        "{name} found the {x} inside the {y} on {day}.",
        "{name} found that the {y} contained the {x} on {day}.",
    ),
    (
        "{name} paid less for the {x} than for the {y} on {day}.",
        "On {day} the {y} was dearer to {name} than the {x}.",
    ),
    (
        "{name} put the {x} in place of the {y} on {day}.",
        "{name} let the {y} give way to the {x} on {day}.",
    ),
    (
        "On {day} the {x} was to the left of the {y} for {name}.",
        "On {day} the {y} was to the right of the {x} for {name}.",
    ),
    (
        "On {day} the {x} shielded {name} from the {y}.",
        "On {day} the {y} did {name} no harm thanks to the {x}.",
    ),
)
# Of the pairs every other is a paraphrase; of three near misses one swaps the roles.
KINDS = ("same", "concept", "same", "concept", "same", "roles")


def generate_paraphrases(n: int, rng: np.random.Generator) -> pd.DataFrame:
    """`n` different pairs, half of them paraphrases.

    Parameters
    ----------
    n : int
    rng : numpy.random.Generator

    Returns
    -------
    pandas.DataFrame
        Columns id, sentence1, sentence2, label (1: one fact; 0: a near miss), kind ("same",
        "concept", "roles"). None of the sentences' wordings is training's.
    """
    rows: dict[tuple[str, str], str] = {}
    while len(rows) < n:
        kind = KINDS[len(rows) % len(KINDS)]
        rows.setdefault(_pair(kind, rng), kind)
    return pd.DataFrame(
        {
            "id": [f"paraphrase-{i:04d}" for i in range(n)],
            "sentence1": [first for first, _ in rows],
            "sentence2": [second for _, second in rows],
            "label": [int(kind == "same") for kind in rows.values()],
            "kind": list(rows.values()),
        }
    )


def _pair(kind: str, rng: np.random.Generator) -> tuple[str, str]:
    topic = TOPICS[list(TOPICS)[rng.integers(len(TOPICS))]]
    x, y, other = (int(concept) for concept in rng.permutation(len(topic))[:3])
    forms = rng.integers(2, size=len(topic))
    wording = int(rng.integers(2))
    relation = RELATIONS[rng.integers(len(RELATIONS))]
    told = {"name": NAMES[rng.integers(len(NAMES))], "day": DAYS[rng.integers(len(DAYS))]}
    second = [x, y]
    if kind == "concept":
        second[rng.integers(2)] = other
    elif kind == "roles":
        second = [y, x]
    return (
        relation[wording].format(x=topic[x][forms[x]], y=topic[y][forms[y]], **told),
        relation[1 - wording].format(
            x=topic[second[0]][1 - forms[second[0]]],
            y=topic[second[1]][1 - forms[second[1]]],
            **told,
        ),
    )

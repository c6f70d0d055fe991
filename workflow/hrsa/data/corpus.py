"""The miniature's corpus: every training and test text, generated from one seed.

Files (Parquet) in one folder: `problems`, `prose`, `questions`, `pairs` for training,
`topics` and `retrieval-{documents,queries,qrels}` for benchmarks and probes.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from hrsa.data.lexicon import NAMES
from hrsa.data.problems import generate_problems
from hrsa.data.prose import generate_pairs, generate_prose, generate_retrieval
from hrsa.data.questions import generate_questions

FILES = (
    *("problems", "prose", "questions", "pairs", "topics"),
    *("retrieval-documents", "retrieval-queries", "retrieval-qrels"),
)
TEST_SPLITS = ("test", "test_templates")


def generate_part(name: str, *, seed: int, sizes: dict) -> pd.DataFrame:
    """Generate one file of the corpus.

    Parameters
    ----------
    name : str
        One of `FILES`.
    seed : int
        Each file draws from a stream of its own, so that one file's size leaves the others alone.
    sizes : dict
        `problems`, `test_problems` (per test split), `prose`, `topics` {train, validation, test},
        `questions`, `pairs`, `retrieval` {documents, queries}; only the file's own are read.

    Returns
    -------
    DataFrame
    """
    streams = dict(zip(FILES, np.random.SeedSequence(seed).spawn(len(FILES)), strict=True))
    if name.startswith("retrieval-"):
        rng = np.random.default_rng(streams["retrieval-documents"])
        parts = generate_retrieval(
            sizes["retrieval"]["documents"], sizes["retrieval"]["queries"], rng
        )
        return dict(zip(("documents", "queries", "qrels"), parts, strict=True))[
            name.removeprefix("retrieval-")
        ]
    rng = np.random.default_rng(streams[name])
    match name:
        case "problems":
            return _problems(sizes, rng)
        case "prose":
            return generate_prose(sizes["prose"], rng, held_out=False).assign(split="train")
        case "questions":
            return _questions(sizes["questions"], rng)
        case "pairs":
            return generate_pairs(sizes["pairs"], rng).assign(split="train")
        case _:
            return _topics(sizes["topics"], rng)


def write_corpus(folder: Path, *, seed: int, sizes: dict) -> None:
    """Write every file of the corpus as `<folder>/<name>.parquet`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        generate_part(name, seed=seed, sizes=sizes).to_parquet(
            folder / f"{name}.parquet", index=False
        )


def mask(text: str) -> str:
    """Replace numbers by ``#`` and people's names by ``@``: what is left is the wording."""
    return re.sub(rf"\b(?:{'|'.join(NAMES)})\b", "@", re.sub(r"\d+", "#", text))


def _problems(sizes: dict, rng: np.random.Generator) -> pd.DataFrame:
    counts = {"train": sizes["problems"]} | dict.fromkeys(TEST_SPLITS, sizes["test_problems"])
    return pd.concat([generate_problems(s, n, rng) for s, n in counts.items()], ignore_index=True)


def _questions(n: int, rng: np.random.Generator) -> pd.DataFrame:
    train = generate_questions(n, rng, held_out=False).assign(split="train")
    test = generate_questions(n, rng, held_out=True).assign(split="test")
    return pd.concat([train, test], ignore_index=True)


def _topics(sizes: dict, rng: np.random.Generator) -> pd.DataFrame:
    # one sentence each: two words carry the topic, so that a probe is not at its ceiling
    frame = generate_prose(sum(sizes.values()), rng, held_out=True, sentences=1)
    frame["split"] = np.repeat(list(sizes), list(sizes.values()))
    return frame

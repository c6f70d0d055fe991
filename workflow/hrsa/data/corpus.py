"""The miniature's corpus: every training and test text, generated from one seed.

Files (Parquet) in one folder: `problems`, `prose`, `questions`, `pairs`, `arithmetic` for training;
`test-problems`, `test-questions`, `topics`, `retrieval-{documents,queries,qrels}`,
`test-arithmetic`, `solution-{documents,queries,qrels}`, `similar-texts`, `paraphrases` and `bitext`
for what is measured. The latter exist twice: settings are chosen on the evaluation "validation",
results are reported on "test", drawn from other streams. No training file depends on which of them
it is. Plain arithmetic is for pretrained models.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from hrsa.data.arithmetic import generate_arithmetic
from hrsa.data.lexicon import NAMES
from hrsa.data.paraphrases import generate_paraphrases
from hrsa.data.problems import EVALUATIONS, generate_problems
from hrsa.data.prose import generate_pairs, generate_prose, generate_retrieval
from hrsa.data.questions import generate_questions
from hrsa.data.second_language import generate_bitext
from hrsa.data.similar_texts import generate_similar_texts
from hrsa.data.solutions import generate_solutions

# A file's place is its stream's: new files go to the end, so that the others stay what they are.
TRAINING_FILES = ("problems", "prose", "questions", "pairs", "arithmetic")
EVALUATION_FILES = (
    *("test-problems", "test-questions", "topics"),
    *("retrieval-documents", "retrieval-queries", "retrieval-qrels"),
    "test-arithmetic",
    *("solution-documents", "solution-queries", "solution-qrels"),
    *("similar-texts", "paraphrases", "bitext"),
)
FILES = TRAINING_FILES + EVALUATION_FILES
TEST_SPLITS = ("test", "test_templates")
# Files that `write_corpus` leaves out where the settings do not give their size.
OPTIONAL = {
    "arithmetic": "arithmetic",
    "test-arithmetic": "test_arithmetic",
    **dict.fromkeys(("solution-documents", "solution-queries", "solution-qrels"), "solutions"),
    "similar-texts": "similar_texts",
    "paraphrases": "paraphrases",
    "bitext": "bitext",
}


def generate_part(name: str, *, seed: int, settings: dict) -> pd.DataFrame:
    """Generate one file of the corpus.

    Parameters
    ----------
    name : str
        One of `FILES`.
    seed : int
        Each file draws from a stream of its own, so that one file's size leaves the others alone.
    settings : dict
        Sizes in texts: `problems`, `test_problems` (per test split), `prose`, `topics` {train,
        validation, test}, `questions`, `pairs`, `retrieval` {documents, queries}, `arithmetic`,
        `test_arithmetic`, `solutions` {documents, queries}, `similar_texts`, `paraphrases`,
        `bitext` (pairs each); and `evaluation`, "validation" or "test". Only the file's own are
        read.

    Returns
    -------
    DataFrame
    """
    rng = np.random.default_rng(_stream(name, seed, settings))
    match name:
        case "problems":
            return generate_problems("train", settings["problems"], rng)
        case "prose":
            return generate_prose(settings["prose"], rng, held_out=False).assign(split="train")
        case "questions":
            frame = generate_questions(settings["questions"], rng, held_out=False)
            return frame.assign(split="train")
        case "pairs":
            return generate_pairs(settings["pairs"], rng).assign(split="train")
        case "arithmetic":
            return generate_arithmetic(settings["arithmetic"], rng, held_out=False)
        case "test-problems":
            return _test_problems(settings, rng)
        case "test-questions":
            frame = generate_questions(settings["questions"], rng, held_out=True)
            return frame.assign(split="test")
        case "topics":
            return _topics(settings["topics"], rng)
        case "test-arithmetic":
            n, evaluation = settings["test_arithmetic"], settings["evaluation"]
            return generate_arithmetic(n, rng, held_out=True, evaluation=evaluation)
        case "similar-texts":
            return generate_similar_texts(settings["similar_texts"], rng)
        case "paraphrases":
            return generate_paraphrases(settings["paraphrases"], rng)
        case "bitext":
            return generate_bitext(settings["bitext"], rng)
        case "solution-documents" | "solution-queries" | "solution-qrels":
            return _solutions(name, settings["solutions"], rng, settings["evaluation"])
        case _:
            return _retrieval(name, settings["retrieval"], rng)


def write_corpus(folder: Path, *, seed: int, settings: dict) -> None:
    """Write the corpus as `<folder>/<name>.parquet`; `OPTIONAL` files where sizes are given."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        if OPTIONAL.get(name, "evaluation") not in settings:
            continue
        generate_part(name, seed=seed, settings=settings).to_parquet(
            folder / f"{name}.parquet", index=False
        )


def mask(text: str) -> str:
    """Replace numbers by ``#`` and people's names by ``@``: what is left is the wording."""
    return re.sub(rf"\b(?:{'|'.join(NAMES)})\b", "@", re.sub(r"\d+", "#", text))


def _stream(name: str, seed: int, settings: dict) -> np.random.SeedSequence:
    """The random stream of a file; what is measured has other streams for each evaluation."""
    if name in TRAINING_FILES:
        return np.random.SeedSequence(seed).spawn(len(TRAINING_FILES))[TRAINING_FILES.index(name)]
    streams = np.random.SeedSequence([seed, 1 + EVALUATIONS.index(settings["evaluation"])]).spawn(
        len(EVALUATION_FILES)
    )
    for kind in ("retrieval", "solution"):  # the three files are parts of one draw
        if name.startswith(f"{kind}-"):
            name = f"{kind}-documents"
    return streams[EVALUATION_FILES.index(name)]


def _test_problems(settings: dict, rng: np.random.Generator) -> pd.DataFrame:
    n, evaluation = settings["test_problems"], settings["evaluation"]
    return pd.concat(
        [generate_problems(split, n, rng, evaluation=evaluation) for split in TEST_SPLITS],
        ignore_index=True,
    )


def _retrieval(name: str, sizes: dict, rng: np.random.Generator) -> pd.DataFrame:
    parts = generate_retrieval(sizes["documents"], sizes["queries"], rng)
    names = ("retrieval-documents", "retrieval-queries", "retrieval-qrels")
    return parts[names.index(name)]


def _solutions(name: str, sizes: dict, rng: np.random.Generator, evaluation: str) -> pd.DataFrame:
    parts = generate_solutions(sizes["documents"], sizes["queries"], rng, evaluation=evaluation)
    names = ("solution-documents", "solution-queries", "solution-qrels")
    return parts[names.index(name)]


def _topics(sizes: dict, rng: np.random.Generator) -> pd.DataFrame:
    # one sentence each: two words carry the topic, so that a probe is not at its ceiling
    frame = generate_prose(sum(sizes.values()), rng, held_out=True, sentences=1)
    frame["split"] = np.repeat(list(sizes), list(sizes.values()))
    return frame

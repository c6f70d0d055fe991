"""Continued pretraining: the control that says what further training alone changes.

It sees the corpus's plain text (pretraining's own mixture), for as many steps and tokens as the
model it is matched to: every training example has the length of that model's example.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from hrsa.errors import UserError
from hrsa.models.loading import load_language_model
from hrsa.models.pretrain import plain_texts, training_texts
from hrsa.models.prompts import check_prompt_format
from hrsa.models.sft import draw_problems, example_lengths, fine_tune

RECIPE = "continued"
# a trace is about as long as two plain texts; `cut` starts over where the stream ends
TEXTS_PER_EXAMPLE = 4


def train(
    output: Path,
    *,
    parent: Path | None,
    data: Mapping[str, Path],
    seed: int,
    resume: Path,
    settings: dict,
) -> None:
    """Train on plain text with the optimiser, steps and tokens of an SFT run.

    The tokens that are read match; the loss counts all of them here, and in SFT those of the
    completions.

    Parameters
    ----------
    output, parent, seed, resume
        As in `hrsa.models.pretrain.train`.
    data : mapping of name to Parquet file
        The training set of the SFT run, prose and questions; and problems where the mixture of a
        pretraining is continued.
    settings : dict
        match, the settings of the SFT model (see `hrsa.models.sft.train`) with its `seed`; and
        pretrain, those of the pretraining whose mixture of texts is continued. None: the parent
        was not pretrained here, and reads prose and questions only.
    """
    assert parent is not None, "continued pretraining starts from a parent model"
    model, tokenizer = load_language_model(parent)
    match = settings["match"]
    check_prompt_format(tokenizer, match["prompt_format"], parent)
    problems, _ = draw_problems(data[match["data"]], tokenizer, seed=match["seed"], settings=match)
    lengths = example_lengths(problems, tokenizer, match)
    n_texts = TEXTS_PER_EXAMPLE * len(lengths)
    # a seed of its own: the texts must not be the very ones that pretraining began with
    texts = control_texts(data, n_texts, seed=seed + 1_000_003, pretrain=settings["pretrain"])
    fine_tune(
        output,
        model,
        tokenizer,
        Dataset.from_dict({"input_ids": cut(texts, tokenizer, lengths.tolist())}),
        recipe=RECIPE,
        parent=parent,
        seed=seed,
        resume=resume,
        settings=match,
    )


def control_texts(
    data: Mapping[str, Path], n_texts: int, *, seed: int, pretrain: dict | None
) -> list[str]:
    """Plain texts in the order in which they are read.

    With the settings of a pretraining `n_texts` of its mixture, right and wrong problems included.
    Without, at most as many of the prose and questions, none of them twice.
    """
    if pretrain is not None:
        return training_texts(
            data, seed=seed, settings=pretrain | {"steps": n_texts, "batch_size": 1}
        )
    texts = plain_texts(data)
    if not len(texts):
        raise UserError(
            "The corpus has neither prose nor questions to train on, which continued pretraining "
            "reads. Give `corpus` some."
        )
    return np.random.default_rng(seed).permutation(texts)[:n_texts].tolist()


def cut(texts: list[str], tokenizer: Any, lengths: list[int]) -> list[list[int]]:
    """Join the texts, an end-of-text token between them, and cut the stream to the lengths.

    A tokenizer without such a token has nothing between them. Where the stream ends it starts
    over.
    """
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    stream = [token for row in tokenizer(texts)["input_ids"] for token in [*row, *end]]
    while len(stream) < max(lengths):
        stream += stream
    examples, start = [], 0
    for length in lengths:
        if start + length > len(stream):
            start = 0
        examples.append(stream[start : start + length])
        start += length
    return examples

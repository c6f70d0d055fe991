"""Continued pretraining: the control that says what further training alone changes.

It sees the corpus's plain text (pretraining's own mixture), for as many steps and tokens as the
model it is matched to: every training example has the length of that model's example.
"""

from pathlib import Path

from datasets import Dataset

from hrsa.models.loading import load_language_model
from hrsa.models.pretrain import training_texts
from hrsa.models.sft import draw_problems, fine_tune

RECIPE = "continued"


def train(
    output: Path, *, parent: Path | None, corpus: Path, seed: int, resume: Path, settings: dict
) -> None:
    """Train on plain text with the optimiser, steps and tokens of an SFT run.

    The tokens that are read match; the loss counts all of them here, and in SFT those of the
    completions. Arguments as in `hrsa.models.pretrain.train`; settings: `match`, the settings of
    the SFT model with its `seed`, and `pretrain`, those of the pretraining whose mixture of texts
    is continued.
    """
    assert parent is not None, "continued pretraining starts from a parent model"
    model, tokenizer = load_language_model(parent)
    match = settings["match"]
    # a trace is about as long as two plain texts; `cut` starts over where the stream ends
    enough = {"steps": match["steps"], "batch_size": 4 * match["batch_size"]}
    mixture = settings["pretrain"] | enough
    # a seed of its own: the texts must not be the very ones that pretraining began with
    texts = training_texts(corpus, seed=seed + 1_000_003, settings=mixture)
    problems = draw_problems(corpus, seed=match["seed"], settings=match)
    lengths = [
        len(prompt) + len(completion) + 1
        for prompt, completion in zip(
            tokenizer(problems["question"].tolist())["input_ids"],
            tokenizer((" " + problems["trace"]).tolist())["input_ids"],
            strict=True,
        )
    ]
    fine_tune(
        output,
        model,
        tokenizer,
        Dataset.from_dict({"input_ids": cut(texts, tokenizer, lengths)}),
        recipe=RECIPE,
        parent=parent,
        seed=seed,
        resume=resume,
        settings=match,
    )


def cut(texts: list[str], tokenizer, lengths: list[int]) -> list[list[int]]:
    """Join the texts, an end-of-text token between them, and cut the stream to the lengths."""
    stream = [
        token for row in tokenizer(texts)["input_ids"] for token in [*row, tokenizer.eos_token_id]
    ]
    examples, start = [], 0
    for length in lengths:
        if start + length > len(stream):
            start = 0
        examples.append(stream[start : start + length])
        start += length
    return examples

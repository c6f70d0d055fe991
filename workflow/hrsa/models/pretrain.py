"""Pretraining from scratch: a tiny Qwen2 on worked problems and topical prose.

Half of the worked problems end in a wrong number on purpose. The model then knows the right answer
(it is the likeliest) but samples it less than half of the time: the gap that RLVR sharpens.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from hrsa.data.problems import answer, number_pairs, solution_text
from hrsa.errors import UserError
from hrsa.models.folder import finish_folder, save_model
from hrsa.models.resume import load_state, save_state
from hrsa.models.tokenizer import train_tokenizer
from hrsa.models.trainers import ExposeCheckpoints, is_main_process

RECIPE = "pretrain"
TOKENIZER_TEXTS = 3000
SAVE_EVERY = 100
PLAIN = ("prose", "questions")
FACTS_PER_TABLE = 6
# About 1/sqrt(width): at transformers' 0.02, meant for wide models, a narrow one learns slowly.
INITIALISER_RANGE = 0.08


def train(
    output: Path,
    *,
    parent: Path | None,
    data: Mapping[str, Path],
    seed: int,
    resume: Path,
    settings: dict,
) -> None:
    """Train a language model from random weights, on one device: a GPU where there is one.

    Parameters
    ----------
    output : Path
        Model folder to write.
    parent : None
        Pretraining has none; the argument keeps the recipes' signatures alike.
    data : mapping of name to Parquet file
        problems, prose and questions of a corpus.
    seed : int
        Fixes weights, the drawn texts and their order.
    resume : Path
        Folder for the state from which a killed run goes on.
    settings : dict
        architecture, steps, batch_size, learning_rate, problem_share, table_share (the rest is
        prose), wrong_share; and optionally checkpoints (steps to expose) and save_every (steps
        between two states).

    Raises
    ------
    UserError
        The loss is no number any more.
    """
    del parent
    if not is_main_process():
        return
    texts = training_texts(data, seed=seed, settings=settings)
    tokenizer = train_tokenizer(
        tokenizer_texts(data), vocabulary=settings["architecture"]["vocabulary"]
    )
    torch.manual_seed(seed)
    model: Any = Qwen2ForCausalLM(architecture(settings["architecture"], tokenizer))
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    batches = bucketed_batches(texts, tokenizer, settings["batch_size"], seed=seed)
    exposed = ExposeCheckpoints(
        resume, settings.get("checkpoints", []), lambda path: save_model(path, model, tokenizer)
    )
    curve, tokens = fit(
        model,
        batches,
        settings["learning_rate"],
        resume,
        tokenizer.pad_token_id,
        save_every=settings.get("save_every", SAVE_EVERY),
        exposed=exposed,
    )
    save_model(output, model, tokenizer)
    exposed.place(output)
    finish_folder(
        output,
        model,
        recipe=RECIPE,
        seed=seed,
        steps=len(batches),
        train_tokens=tokens,
        arguments={
            "optimiser": "Muon and AdamW",
            "schedule": "one-cycle",
            "seed": seed,
            **settings,
        },
        curve=curve,
        checkpoint_tokens={step: count_tokens(batches[:step]) for step in exposed.steps},
    )


def architecture(settings: dict, tokenizer: PreTrainedTokenizerFast) -> Qwen2Config:
    """The Qwen2 configuration of a small model."""
    return Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=settings["width"],
        intermediate_size=settings["intermediate"],
        num_hidden_layers=settings["layers"],
        num_attention_heads=settings["heads"],
        num_key_value_heads=settings["kv_heads"],
        max_position_embeddings=512,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        initializer_range=INITIALISER_RANGE,
    )


def training_texts(data: Mapping[str, Path], *, seed: int, settings: dict) -> list[str]:
    """The texts of the whole run, in order: worked problems, arithmetic tables, prose and exams.

    Tables are right; `wrong_share` of the worked problems end in a wrong number.
    """
    rng = np.random.default_rng(seed)
    problems = _train_split(data["problems"])
    prose = plain_texts(data)
    columns = problems[["question", "operation", "a", "b", "answer"]].to_numpy()
    texts = []
    for _ in range(settings["steps"] * settings["batch_size"]):
        kind = rng.random()
        if kind < settings["table_share"]:
            texts.append(arithmetic_table(rng))
            continue
        if kind >= settings["table_share"] + settings["problem_share"]:
            texts.append(str(prose[rng.integers(len(prose))]))
            continue
        question, operation, a, b, result = columns[rng.integers(len(columns))]
        if rng.random() < settings["wrong_share"]:
            result = wrong_number(result, rng)
        texts.append(f"{question} {solution_text(operation, a, b, result)}")
    return texts


def plain_texts(data: Mapping[str, Path]) -> np.ndarray:
    """The prose and exams to train on, those of the two that there are (n_texts)."""
    parts = [_train_split(data[name])["text"] for name in PLAIN if name in data]
    return np.concatenate([np.empty(0, dtype=object), *(part.to_numpy() for part in parts)])


def tokenizer_texts(data: Mapping[str, Path]) -> list[str]:
    """What the tokenizer is trained on: prose, exams, problems with their traces, in equal parts.

    The traces belong to it, as a real tokenizer's corpus is wider than a model's.
    """
    problems = _train_split(data["problems"])
    parts = [
        (problems["question"] + " " + problems["trace"]),
        *(_train_split(data[name])["text"] for name in PLAIN),
    ]
    return [text for part in parts for text in part.head(TOKENIZER_TEXTS)]


def arithmetic_table(rng: np.random.Generator) -> str:
    """A line of sums and differences without a story, as in a school book's table."""
    facts = []
    for operation in rng.choice(["+", "-"], size=FACTS_PER_TABLE):
        pairs = number_pairs(operation)
        a, b = pairs[rng.integers(len(pairs))]
        facts.append(f"{a} {operation} {b} = {answer(operation, a, b)}.")
    return " ".join(facts)


def wrong_number(result: int, rng: np.random.Generator) -> int:
    """A slip: a positive number that misses the result by one or two, all equally likely."""
    slips = [result + slip for slip in (-2, -1, 1, 2) if result + slip > 0]
    return slips[rng.integers(len(slips))]


def bucketed_batches(
    texts: list[str], tokenizer: PreTrainedTokenizerFast, batch_size: int, *, seed: int
) -> list[list[list[int]]]:
    """Token lists of similar length together, batches in random order: half the padding."""
    rows = [[*row, tokenizer.eos_token_id] for row in tokenizer(texts)["input_ids"]]
    pool = 32 * batch_size
    batches = []
    for start in range(0, len(rows), pool):
        part = sorted(rows[start : start + pool], key=len)
        batches += [part[i : i + batch_size] for i in range(0, len(part), batch_size)]
    np.random.default_rng(seed).shuffle(batches)
    return batches


def fit(
    model: Qwen2ForCausalLM,
    batches: list[list[list[int]]],
    learning_rate: float,
    resume: Path,
    pad: int,
    *,
    save_every: int = SAVE_EVERY,
    exposed: ExposeCheckpoints | None = None,
) -> tuple[pd.DataFrame, int]:
    """The training loop: next-token cross-entropy, one-cycle learning rate.

    Parameters
    ----------
    model : Qwen2ForCausalLM
        On the device that computes.
    batches : list of list of list of int
        Token ids of each text of each step.
    learning_rate : float
        The highest of the cycle.
    resume : Path
        Folder of the state.
    pad : int
        Padding token.
    save_every : int
        Steps between two states.
    exposed : ExposeCheckpoints, optional
        What saves the model at the steps that a study asks for.

    Returns
    -------
    curve : DataFrame
        Columns step and loss (nats per token).
    tokens : int
        Training tokens seen, padding not counted.

    Raises
    ------
    UserError
        The loss of a step is NaN or infinite; the last saved state stays.
    """
    optimisers = make_optimisers(model, learning_rate)
    schedules = [
        torch.optim.lr_scheduler.OneCycleLR(
            optimiser,
            max_lr=learning_rate,
            total_steps=len(batches) + 1,
            pct_start=0.1,
            cycle_momentum=False,
        )
        for optimiser in optimisers
    ]
    start, losses = load_state(resume, model, *optimisers, *schedules)
    model.train()
    for step in range(start, len(batches)):
        ids, mask = (part.to(model.device) for part in pad_batch(batches[step], pad))
        labels = ids.masked_fill(mask == 0, -100)
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        losses.append(loss.item())
        _check_loss(losses, save_every, learning_rate)
        model.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser in optimisers:
            optimiser.step()
        for schedule in schedules:
            schedule.step()
        if exposed and step + 1 in exposed.steps:
            exposed.save(exposed.waiting / str(step + 1))
        if (step + 1) % save_every == 0:
            save_state(resume, step + 1, losses, model, *optimisers, *schedules)
            print(f"step {step + 1}: loss {np.mean(losses[-save_every:]):.3f}", flush=True)
    curve = pd.DataFrame({"step": range(1, len(losses) + 1), "loss": losses})
    return curve, count_tokens(batches)


def _check_loss(losses: list[float], save_every: int, learning_rate: float) -> None:
    step = len(losses)
    if math.isfinite(losses[-1]):
        return
    saved = (step - 1) // save_every * save_every
    kept = f"the state after step {saved}" if saved else "none yet"
    raise UserError(
        f"The loss of step {step} is {losses[-1]}: the training has diverged. The last good state "
        f"is kept ({kept}). Lower `learning_rate` (it is {learning_rate:g}), and run again."
    )


def count_tokens(batches: list[list[list[int]]]) -> int:
    """Tokens of all texts of all batches."""
    return sum(len(row) for batch in batches for row in batch)


def make_optimisers(model: Qwen2ForCausalLM, learning_rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks, AdamW for embeddings, norms and biases.

    Muon's update is scaled to AdamW's, so that one learning rate serves both; it needs about half
    of the steps.
    """
    matrices = [value for value in model.model.layers.parameters() if value.ndim == 2]
    chosen = set(map(id, matrices))
    others = [value for value in model.parameters() if id(value) not in chosen]
    return [
        torch.optim.Muon(
            matrices, lr=learning_rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(others, lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.01),
    ]


def pad_batch(rows: list[list[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Right-padded ids and attention mask, both (n_rows, longest)."""
    width = max(map(len, rows))
    ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows])
    lengths = torch.tensor([[len(row)] for row in rows])
    return ids, (torch.arange(width) < lengths).long()


def _train_split(path: Path) -> pd.DataFrame:
    frame = pd.read_parquet(path)
    return frame[frame["split"] == "train"].reset_index(drop=True)

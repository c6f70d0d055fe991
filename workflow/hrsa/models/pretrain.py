"""Pretraining from scratch: a tiny Qwen2 on worked problems and topical prose.

Half of the worked problems end in a wrong number on purpose. The model then knows the right answer
(it is the likeliest) but samples it less than half of the time: the gap that RLVR sharpens.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from hrsa.data.problems import answer, number_pairs, solution_text
from hrsa.models.folder import finish_folder, save_model
from hrsa.models.resume import load_state, save_state
from hrsa.models.tokenizer import train_tokenizer

RECIPE = "pretrain"
TOKENIZER_TEXTS = 3000
FACTS_PER_TABLE = 6
# About 1/sqrt(width): at transformers' 0.02, meant for wide models, a narrow one learns slowly.
INITIALISER_RANGE = 0.08


def train(
    output: Path, *, parent: Path | None, corpus: Path, seed: int, resume: Path, settings: dict
) -> None:
    """Train a language model from random weights.

    Parameters
    ----------
    output : Path
        Model folder to write.
    parent : None
        Pretraining has none; the argument keeps the recipes' signatures alike.
    corpus : Path
        Folder with `problems.parquet`, `prose.parquet` and `questions.parquet`.
    seed : int
        Fixes weights, the drawn texts and their order.
    resume : Path
        Folder for the state from which a killed run goes on.
    settings : dict
        architecture, steps, batch_size, learning_rate, problem_share, table_share (the rest is
        prose), wrong_share.
    """
    del parent
    texts = training_texts(corpus, seed=seed, settings=settings)
    tokenizer = train_tokenizer(
        tokenizer_texts(corpus), vocabulary=settings["architecture"]["vocabulary"]
    )
    torch.manual_seed(seed)
    model = Qwen2ForCausalLM(architecture(settings["architecture"], tokenizer))
    batches = bucketed_batches(texts, tokenizer, settings["batch_size"], seed=seed)
    curve, tokens = fit(model, batches, settings["learning_rate"], resume, tokenizer.pad_token_id)
    save_model(output, model, tokenizer)
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


def training_texts(corpus: Path, *, seed: int, settings: dict) -> list[str]:
    """The texts of the whole run, in order: worked problems, arithmetic tables, prose and exams.

    Tables are right; `wrong_share` of the worked problems end in a wrong number.
    """
    rng = np.random.default_rng(seed)
    problems = _train_split(corpus / "problems.parquet")
    prose = pd.concat(
        [_train_split(corpus / f"{name}.parquet")["text"] for name in ("prose", "questions")]
    ).to_numpy()
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


def tokenizer_texts(corpus: Path) -> list[str]:
    """What the tokenizer is trained on: prose, exams, problems with their traces, in equal parts.

    The traces belong to it, as a real tokenizer's corpus is wider than a model's.
    """
    problems = _train_split(corpus / "problems.parquet")
    parts = [
        (problems["question"] + " " + problems["trace"]),
        *(_train_split(corpus / f"{name}.parquet")["text"] for name in ("prose", "questions")),
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
    save_every: int = 100,
) -> tuple[pd.DataFrame, int]:
    """The training loop: next-token cross-entropy, one-cycle learning rate.

    Returns
    -------
    curve : DataFrame
        Columns step and loss (nats per token).
    tokens : int
        Training tokens seen, padding not counted.
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
        ids, mask = pad_batch(batches[step], pad)
        labels = ids.masked_fill(mask == 0, -100)
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        model.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser in optimisers:
            optimiser.step()
        for schedule in schedules:
            schedule.step()
        losses.append(loss.item())
        if (step + 1) % save_every == 0:
            save_state(resume, step + 1, losses, model, *optimisers, *schedules)
            print(f"step {step + 1}: loss {np.mean(losses[-save_every:]):.3f}", flush=True)
    curve = pd.DataFrame({"step": range(1, len(losses) + 1), "loss": losses})
    return curve, sum(len(row) for batch in batches for row in batch)


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

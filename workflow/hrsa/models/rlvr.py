"""RLVR: reinforcement learning with verifiable rewards (GRPO), nothing but right or wrong."""

from pathlib import Path

import numpy as np
import pandas as pd
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from hrsa.data.verifiers import is_correct
from hrsa.models.folder import backbone_weights, finish_folder, save_model
from hrsa.models.loading import load_language_model
from hrsa.models.trainers import (
    ExposeCheckpoints,
    common_arguments,
    curve_of,
    plain_arguments,
    resume_from,
)

RECIPE = "rlvr"
CURVE = {
    "loss": "loss",
    "reward": "reward",
    "rewards/accuracy/mean": "accuracy",
    "completions/mean_length": "completion_length",
    "entropy": "entropy",
    "kl": "kl",
}


def train(
    output: Path, *, parent: Path | None, corpus: Path, seed: int, resume: Path, settings: dict
) -> None:
    """Train a language model by GRPO on word problems with checkable answers (`trl`).

    Arguments as in `hrsa.models.pretrain.train`; settings: steps, prompts_per_step, completions
    (per prompt), learning_rate (constant), temperature, beta (KL coefficient), loss_type,
    max_completion_tokens, checkpoints.
    """
    assert parent is not None, "RLVR starts from a parent model"
    model, tokenizer = load_language_model(parent)
    before = backbone_weights(model)
    arguments = GRPOConfig(
        **common_arguments(resume, seed=seed, steps=settings["steps"], save_every=20),
        per_device_train_batch_size=settings["prompts_per_step"] * settings["completions"],
        num_generations=settings["completions"],
        learning_rate=settings["learning_rate"],
        lr_scheduler_type="constant",
        temperature=settings["temperature"],
        top_k=0,
        top_p=1.0,
        beta=settings["beta"],
        loss_type=settings["loss_type"],
        max_completion_length=settings["max_completion_tokens"],
    )
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=accuracy,
        args=arguments,
        train_dataset=prompts(corpus, seed=seed, settings=settings),
        processing_class=tokenizer,
    )
    steps = settings.get("checkpoints", [])
    exposed = ExposeCheckpoints(resume, steps, lambda path: save_model(path, model, tokenizer))
    trainer.add_callback(exposed)
    trainer.train(resume_from_checkpoint=resume_from(resume))
    save_model(output, model, tokenizer)
    exposed.place(output)
    history = trainer.state.log_history
    tokens = {entry["step"]: int(entry["num_tokens"]) for entry in history if "num_tokens" in entry}
    finish_folder(
        output,
        model,
        recipe=RECIPE,
        seed=seed,
        steps=settings["steps"],
        train_tokens=max(tokens.values()),
        arguments=plain_arguments(arguments) | {"settings": settings},
        curve=curve_of(history, CURVE),
        parent=parent,
        parent_weights=before,
        checkpoint_tokens={step: tokens[step] for step in steps},
    )


def prompts(corpus: Path, *, seed: int, settings: dict) -> Dataset:
    """Training problems as prompts with their answers, drawn by the seed without repeats."""
    frame: pd.DataFrame = pd.read_parquet(corpus / "problems.parquet")
    frame = frame[frame["split"] == "train"]
    n = min(len(frame), settings["steps"] * settings["prompts_per_step"])
    rows = np.random.default_rng(seed).choice(len(frame), size=n, replace=False)
    chosen = frame.iloc[rows]
    return Dataset.from_dict(
        {"prompt": chosen["question"].tolist(), "answer": chosen["answer"].tolist()}
    )


def accuracy(completions: list[str], answer: list[int], **_: object) -> list[float | None]:
    """The verifiable reward: 1 for a completion that ends in the right number, else 0."""
    return [
        float(is_correct(text, number)) for text, number in zip(completions, answer, strict=True)
    ]

"""RLVR: reinforcement learning with verifiable rewards, nothing but right or wrong (`trl`)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from datasets import Dataset
from trl import GRPOConfig

from hrsa.errors import UserError
from hrsa.models.difficulty import check_step, training_problems
from hrsa.models.folder import backbone_weights, finish_folder, save_model
from hrsa.models.loading import load_language_model
from hrsa.models.lora import add_lora, merge_lora
from hrsa.models.policy_gradient import LOSSES, SIGNED_LOSSES, PolicyGradientTrainer
from hrsa.models.prompts import as_prompt, check_prompt_format
from hrsa.models.rewards import ACCURACY, Accuracy, Format, StopWithoutReward
from hrsa.models.trainers import (
    ExposeCheckpoints,
    batch_arguments,
    common_arguments,
    curve_of,
    is_main_process,
    plain_arguments,
    run,
)

RECIPE = "rlvr"
CURVE = {
    "loss": "loss",
    "reward": "reward",
    ACCURACY: "accuracy",
    "completions/mean_length": "completion_length",
    "entropy": "entropy",
    "kl": "kl",
}
FORMAT_CURVE = {"rewards/format/mean": "format"}


def train(
    output: Path,
    *,
    parent: Path | None,
    data: Mapping[str, Path],
    seed: int,
    resume: Path,
    settings: dict[str, Any],
) -> None:
    """Train a language model by reinforcement on problems whose answers can be checked.

    A step samples `completions` answers to each of `prompts_per_step` problems, all at once, and
    makes one step of the optimiser on them, in micro-batches of `micro_batch`; its state is saved
    between such steps alone, so that a run that goes on after a kill ends with the same weights.

    Parameters
    ----------
    output : Path
        Folder of the trained model.
    parent : Path
        Folder of the causal language model to start from.
    data : mapping of str to Path
        `settings["data"]` names the problems: columns question, answer, and perhaps split (rows of
        "train" are used) and kept (from the difficulty filter).
    seed : int
    resume : Path
        Folder of the run's state.
    settings : dict
        As all recipes have (`trainers.common_arguments`), and: data, prompts_per_step, completions,
        prompt_format, temperature, beta (KL coefficient), loss_type (of
        `policy_gradient.LOSSES`), max_completion_tokens, verifier, format_weight (of the reward
        for the form; 0: none), patience (steps without a right completion after which the run
        stops; 0: never), difficulty (None, or what the filter was told).

    Raises
    ------
    UserError
        The settings contradict each other, fewer problems are kept than a step needs, none is ever
        solved, or the training fails as `trainers.run` says.
    """
    assert parent is not None, "RLVR starts from a parent model"
    check_rewards(settings)
    check_step(data[settings["data"]], parent=parent, settings=settings)
    model, tokenizer = load_language_model(parent)
    check_prompt_format(tokenizer, settings["prompt_format"], parent)
    before = backbone_weights(model)
    arguments = grpo_arguments(resume, seed=seed, settings=settings)
    accuracy = Accuracy(settings["verifier"])
    model = add_lora(model, settings["lora"], seed=seed)
    trainer = PolicyGradientTrainer(
        model,
        loss=settings["loss_type"],
        args=arguments,
        reward_funcs=[accuracy, *_format_reward(settings)],
        train_dataset=prompts(data[settings["data"]], seed=seed, settings=settings),
        processing_class=tokenizer,
    )
    steps = settings["checkpoints"]
    exposed = ExposeCheckpoints(
        resume, steps, lambda path: save_model(path, merge_lora(model), tokenizer)
    )
    trainer.add_callback(exposed)
    trainer.add_callback(StopWithoutReward(settings["patience"], accuracy, settings))
    run(trainer, resume, settings=settings)
    if not is_main_process():
        return
    merged = merge_lora(model)
    save_model(output, merged, tokenizer)
    exposed.place(output)
    history = trainer.state.log_history
    tokens = {entry["step"]: int(entry["num_tokens"]) for entry in history if "num_tokens" in entry}
    finish_folder(
        output,
        merged,
        recipe=RECIPE,
        seed=seed,
        steps=settings["steps"],
        train_tokens=max(tokens.values()),
        arguments=plain_arguments(arguments) | {"settings": settings},
        curve=curve_of(history, CURVE | (FORMAT_CURVE if settings["format_weight"] else {})),
        parent=parent,
        parent_weights=before,
        checkpoint_tokens={step: tokens[step] for step in steps},
    )


def grpo_arguments(resume: Path, *, seed: int, settings: dict[str, Any]) -> GRPOConfig:
    """The arguments of `trl`'s trainer; its completions are sampled from the whole distribution."""
    batch: dict[str, Any] = batch_arguments(
        settings["prompts_per_step"] * settings["completions"], settings["micro_batch"]
    )
    weights = [1.0, *([settings["format_weight"]] if settings["format_weight"] else [])]
    return GRPOConfig(
        **common_arguments(resume, seed=seed, settings=settings),
        **batch,
        **LOSSES[settings["loss_type"]],
        # a batch of completions is one step's, so that a saved state is never within one
        steps_per_generation=batch["gradient_accumulation_steps"],
        num_iterations=1,
        shuffle_dataset=False,  # `prompts` has put them in order
        num_generations=settings["completions"],
        reward_weights=weights,
        temperature=settings["temperature"],
        top_k=0,
        top_p=1.0,
        beta=settings["beta"],
        max_completion_length=settings["max_completion_tokens"],
    )


def check_rewards(settings: dict[str, Any]) -> None:
    """Make sure that the loss can use the rewards.

    Raises
    ------
    UserError
        A reward for the form is asked for, and the loss knows only right and wrong.
    """
    loss = settings["loss_type"]
    if loss in SIGNED_LOSSES and settings["format_weight"]:
        raise UserError(
            f"`loss_type: {loss}` knows only right and wrong completions, so that the reward for "
            f"the form (`format_weight: {settings['format_weight']:g}`) would do nothing. Set "
            "`format_weight: 0`, or another `loss_type` (grpo, bnpo, dapo, dr_grpo)."
        )


def prompts(problems: Path, *, seed: int, settings: dict[str, Any]) -> Dataset:
    """Training problems as prompts with their answers, as many as all steps need.

    They are drawn by the seed; none comes again before all have come.
    """
    frame = training_problems(problems)
    rng = np.random.default_rng(seed)
    n = settings["steps"] * settings["prompts_per_step"]
    rounds = [rng.permutation(len(frame)) for _ in range(-(-n // len(frame)))]
    chosen: pd.DataFrame = frame.iloc[np.concatenate(rounds)[:n]]
    asked = [as_prompt(question, settings["prompt_format"]) for question in chosen["question"]]
    return Dataset.from_dict({"prompt": asked, "answer": chosen["answer"].tolist()})


def _format_reward(settings: dict[str, Any]) -> list[Format]:
    return [Format(settings["verifier"])] if settings["format_weight"] else []

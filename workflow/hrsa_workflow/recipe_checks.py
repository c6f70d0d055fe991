"""Checks of a recipe's settings that would otherwise be refused hours later, in its job."""

from collections.abc import Iterable, Mapping
from typing import Any

from hrsa.errors import UserError
from hrsa.models.instructions import instruction_prompt

# Losses that know right and wrong completions alone (hrsa.models.policy_gradient).
SIGNED_LOSSES = ("psr", "nsr")
# Kinds of the generated pairs: each is a set of its own (hrsa.models.training_pairs).
PAIR_PARTS = {"pairs": ("pairs-text", "pairs-word")}


def check_rlvr(name: str, settings: Mapping[str, Any]) -> None:
    """Check the objective and the difficulty filter of a model of recipe rlvr.

    Raises
    ------
    UserError
        The key, what it is, and what is allowed.
    """
    loss = settings.get("loss_type")
    if loss is None:
        raise UserError(
            f"`models.{name}` (or `recipes.rlvr`) does not say which objective is optimised: add "
            "`loss_type`, one of grpo, dapo, dr_grpo, bnpo, psr, nsr. It has no default."
        )
    if loss in SIGNED_LOSSES and settings["format_weight"]:
        raise UserError(
            f"`models.{name}` has `loss_type: {loss}`, which knows only right and wrong "
            f"completions, so that the reward for the form (`format_weight: "
            f"{settings['format_weight']:g}`) would do nothing. Set `format_weight: 0`, or another "
            "`loss_type` (grpo, bnpo, dapo, dr_grpo)."
        )
    difficulty = settings["difficulty"]
    if difficulty and difficulty["low"] > difficulty["high"]:
        raise UserError(
            f"`models.{name}.difficulty` keeps problems solved between {difficulty['low']:g} and "
            f"{difficulty['high']:g}, which none can be. Exchange `low` and `high`."
        )


def check_batches(name: str, settings: Mapping[str, Any]) -> None:
    """Check that a step's batch can be shared by its GPUs and cut into micro-batches.

    Gradients of contrastive training are cached, so that its micro-batch may be any.

    Raises
    ------
    UserError
        As `hrsa.models.trainers.batch_arguments` would.
    """
    is_rlvr = "prompts_per_step" in settings
    batch = (
        settings["prompts_per_step"] * settings["completions"]
        if is_rlvr
        else settings["batch_size"]
    )
    what = "`prompts_per_step` times `completions`" if is_rlvr else "`batch_size`"
    gpus, micro = settings["gpus"], settings["micro_batch"]
    if batch % gpus:
        raise UserError(
            f"`models.{name}`: {what} is {batch}, which {gpus} GPUs (`gpus`) cannot share evenly. "
            f"Give a multiple of {gpus}, or other `gpus`."
        )
    own = batch // gpus
    if "negatives" not in settings and micro and micro < own and own % micro:
        allowed = ", ".join(str(one) for one in range(1, own + 1) if own % one == 0)
        raise UserError(
            f"`models.{name}`: `micro_batch` is {micro}, which does not divide the {own} examples "
            f"that a process has in a step ({what} over `gpus`); allowed: {allowed}."
        )


def check_shares(
    name: str, settings: Mapping[str, Any], training_sets: Mapping[str, Mapping[str, Any]]
) -> None:
    """Check that the shares of the batches are of the sets that a model trains on, all of them.

    Raises
    ------
    UserError
        The shares name other sets than there are, or none is above 0.
    """
    shares = settings["shares"]
    if shares is None:
        return
    parts = list(_parts(settings["data"], training_sets))
    if set(shares) == set(parts) and any(shares.values()):
        return
    unknown = [one for one in shares if one not in parts]
    missing = [one for one in parts if one not in shares]
    if unknown:
        wrong = f"names `{unknown[0]}`, which the model does not train on"
    elif missing:
        wrong = f"does not name `{missing[0]}`"
    else:
        wrong = "is 0 for every set"
    raise UserError(
        f"`shares` of `models.{name}` {wrong}; it must give each of the sets {', '.join(parts)} a "
        "share of the batches (0 leaves one out), and one above 0."
    )


def check_without_negatives(
    name: str, settings: Mapping[str, Any], training_sets: Mapping[str, Mapping[str, Any]]
) -> None:
    """Check that sets without hard negatives are sets that a model trains on.

    Raises
    ------
    UserError
        Another set is named, or none of those that are left has negatives.
    """
    without = settings["without_negatives"]
    parts = list(_parts(settings["data"], training_sets))
    unknown = [one for one in without if one not in parts]
    if unknown:
        raise UserError(
            f"`without_negatives` of `models.{name}` names `{unknown[0]}`, which the model does "
            f"not train on; allowed: {', '.join(parts)}."
        )
    if settings["negatives"] and set(without) == set(parts):
        raise UserError(
            f"`without_negatives` of `models.{name}` names every set that it trains on. Set "
            "`negatives: 0` instead."
        )


def _parts(data: Iterable[str], training_sets: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    for one in data:
        yield from [one] if one in training_sets else PAIR_PARTS.get(one, [one])


def check_template(key: str, template: str) -> None:
    """Check that an instruction's tokens can be told from the query's.

    Raises
    ------
    UserError
        As `hrsa.models.instructions.instruction_prompt` would.
    """
    try:
        instruction_prompt(template, "")
    except UserError as error:
        raise UserError(f"`{key}`: {error}") from None

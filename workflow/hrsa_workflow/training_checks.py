"""Checks of what models are trained on: names of training sets, roles, who mines, objectives."""

import difflib
from typing import Any

from hrsa.errors import UserError
from hrsa_workflow.instances import VARIANTS, model_settings, parse_reference, resolve, trained_by
from hrsa_workflow.training_data import PAIR_FILES, PROBLEM_FILES

# Columns that a training set from outside must have, by the recipe that trains on it.
NEEDED_ROLES = {
    "sft": ("question",),
    "rlvr": ("question", "answer"),
    "contrastive": ("query", "document"),
}
CORPUS_FILES = {"sft": PROBLEM_FILES, "rlvr": PROBLEM_FILES, "contrastive": PAIR_FILES}


def check_training(config: dict[str, Any]) -> None:
    """Check what every model is trained on.

    Raises
    ------
    UserError
        The key, what it names, and what is allowed.
    """
    for name in config["training_sets"]:
        if name in (*PROBLEM_FILES, *PAIR_FILES):
            raise UserError(
                f"`training_sets.{name}`: the name `{name}` stands for a file of the generated "
                "corpus. Rename the training set."
            )
    for name, model in config["models"].items():
        recipe = model.get("recipe", "")
        if recipe in NEEDED_ROLES:
            _check_data(config, name, recipe, model_settings(config, model))
        if recipe == "rlvr":
            _check_rlvr(name, model_settings(config, model))
        if recipe == "contrastive":
            _check_negatives(config, name, model_settings(config, model))
        if recipe == "merge":
            _check_merge(config, name, model)
    if config["mining"] is not None:
        _check_mining(config)
    _check_accuracy(config)


def _check_data(config: dict[str, Any], name: str, recipe: str, settings: dict[str, Any]) -> None:
    wanted = settings["data"] if isinstance(settings["data"], list) else [settings["data"]]
    for one in wanted:
        _check_name(config, f"models.{name}.data", one, CORPUS_FILES[recipe])
        roles = NEEDED_ROLES[recipe]
        if recipe == "sft":
            roles = (*roles, settings["completion"])
        _check_roles(config, one, roles, f"recipe {recipe} of `models.{name}`")


def _check_name(config: dict[str, Any], key: str, name: str, files: tuple[str, ...]) -> None:
    allowed = [*files, *config["training_sets"]]
    if name not in allowed:
        near = difflib.get_close_matches(name, allowed, n=1, cutoff=0.5)
        hint = f" Did you mean `{near[0]}`?" if near else ""
        raise UserError(
            f"`{key}` names `{name}`; allowed: {', '.join(allowed)} (files of the corpus, and "
            f"entries of `training_sets`).{hint}"
        )


def _check_roles(config: dict[str, Any], name: str, roles: tuple[str, ...], reader: str) -> None:
    entry = config["training_sets"].get(name)
    missing = [role for role in roles if entry is not None and role not in entry]
    if missing:
        raise UserError(
            f"`training_sets.{name}` does not say what its `{missing[0]}` is, which {reader} "
            f"reads. Add `{missing[0]}:` with a column or a template."
        )


def _check_rlvr(name: str, settings: dict[str, Any]) -> None:
    if "loss_type" not in settings:
        raise UserError(
            f"`models.{name}` (or `recipes.rlvr`) does not say which objective is optimised: add "
            "`loss_type`, one of grpo, dapo, dr_grpo, bnpo, psr, nsr. It has no default."
        )
    difficulty = settings["difficulty"]
    if difficulty and difficulty["low"] > difficulty["high"]:
        raise UserError(
            f"`models.{name}.difficulty` keeps problems solved between {difficulty['low']:g} and "
            f"{difficulty['high']:g}, which none can be. Exchange `low` and `high`."
        )


def _check_negatives(config: dict[str, Any], name: str, settings: dict[str, Any]) -> None:
    if not settings["negatives"]:
        return
    sets, mining = config["training_sets"], config["mining"]
    without = [one for one in settings["data"] if "negatives" not in sets.get(one, {})]
    if without and mining is None:
        raise UserError(
            f"`models.{name}` asks for {settings['negatives']} hard negatives, but nothing finds "
            f"those of `{without[0]}`. Add `mining: {{model: …}}` with an embedding model, or "
            "`negatives: 0`."
        )
    if without and settings["negatives"] > mining["negatives"]:
        raise UserError(
            f"`models.{name}` asks for {settings['negatives']} hard negatives, more than the "
            f"{mining['negatives']} that `mining.negatives` finds. Raise the latter."
        )


def _check_mining(config: dict[str, Any]) -> None:
    models, text = config["models"], config["mining"]["model"]
    instance = resolve(config, text, key="mining.model")
    name, _, step = parse_reference(text)
    if step is not None:
        raise UserError(f"`mining.model` is `{text}`; a finished model mines. Remove `@{step}`.")
    recipe = trained_by(models, parse_reference(instance)[0])
    if recipe not in ("contrastive", "hub", "path"):
        raise UserError(
            f"`mining.model` is `{text}`, a model of recipe {recipe}, which is no embedding model. "
            "Name one of recipe contrastive, or one from outside."
        )
    here = name
    while models[here].get("recipe") in VARIANTS:
        here = parse_reference(models[here]["parent"])[0]
    if recipe == "contrastive" and model_settings(config, models[here])["negatives"]:
        raise UserError(
            f"`mining.model` is `{text}`, which is itself trained on mined negatives. Name a model "
            "with `negatives: 0`."
        )


def _check_merge(config: dict[str, Any], name: str, model: dict[str, Any]) -> None:
    models = config["models"]
    recipes = [
        trained_by(models, parse_reference(model[side])[0]) == "contrastive"
        for side in ("parent", "second")
    ]
    if recipes[0] != recipes[1]:
        raise UserError(
            f"`models.{name}` merges `{model['parent']}` and `{model['second']}`, of which one is "
            "an embedding model and one is not. Name two of a kind."
        )


def _check_accuracy(config: dict[str, Any]) -> None:
    name = config["accuracy"]["data"]
    _check_name(config, "accuracy.data", name, PROBLEM_FILES)
    _check_roles(config, name, ("question", "answer"), "`accuracy`")

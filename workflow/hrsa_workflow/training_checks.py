"""Checks of what models are trained on: names of training sets, roles, who mines, what is tried."""

from collections.abc import Iterator
from typing import Any

from hrsa.errors import UserError, did_you_mean
from hrsa_workflow.instances import model_settings, parse_reference, resolve, trained_by
from hrsa_workflow.recipe_checks import (
    check_batches,
    check_rlvr,
    check_shares,
    check_template,
    check_without_negatives,
)
from hrsa_workflow.training_data import CORPUS_SETTINGS, PAIR_FILES, PROBLEM_FILES

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
        if name in CORPUS_SETTINGS:
            raise UserError(
                f"`training_sets.{name}`: the name `{name}` stands for a file of the generated "
                "corpus. Rename the training set."
            )
    for name, model in config["models"].items():
        recipe = model.get("recipe", "")
        if recipe in NEEDED_ROLES:
            settings = model_settings(config, model)
            _check_data(config, name, recipe, settings)
            if recipe == "rlvr":
                check_rlvr(name, settings)
            if recipe == "contrastive":
                _check_negatives(config, name, settings)
                check_shares(name, settings, config["training_sets"])
                check_without_negatives(name, settings, config["training_sets"])
                check_template(f"models.{name}.query_template", settings["query_template"])
            check_batches(name, settings)
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
        raise UserError(
            f"`{key}` names `{name}`; allowed: {', '.join(allowed)} (files of the corpus, and "
            f"entries of `training_sets`).{did_you_mean(name, allowed)}"
        )


def _check_roles(config: dict[str, Any], name: str, roles: tuple[str, ...], reader: str) -> None:
    entry = config["training_sets"].get(name)
    missing = [role for role in roles if entry is not None and role not in entry]
    if missing:
        raise UserError(
            f"`training_sets.{name}` does not say what its `{missing[0]}` is, which {reader} "
            f"reads. Add `{missing[0]}:` with a column or a template."
        )


def _check_negatives(config: dict[str, Any], name: str, settings: dict[str, Any]) -> None:
    mining = config["mining"]
    without = _without_negatives(config, settings)
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
    template = config["mining"]["query_template"]
    if template is not None:
        check_template("mining.query_template", template)
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
    for here in _ancestors(models, name):
        if models[here].get("recipe") != "contrastive":
            continue
        if _without_negatives(config, model_settings(config, models[here])):
            through = "" if here == name else f", being made from `{here}`"
            raise UserError(
                f"`mining.model` is `{text}`, which is itself trained on mined negatives{through}: "
                f"they would have to be there first. Name another model, or set `negatives: 0` for "
                f"`{here}`."
            )


def _without_negatives(config: dict[str, Any], settings: dict[str, Any]) -> list[str]:
    """Training sets of an embedding model whose negatives have to be mined."""
    if not settings["negatives"]:
        return []
    sets = config["training_sets"]
    return [one for one in settings["data"] if "negatives" not in sets.get(one, {})]


def _ancestors(models: dict[str, Any], name: str) -> Iterator[str]:
    """Yield a model and all that it is made from."""
    yield name
    for side in ("parent", "second"):
        if side in models[name]:
            yield from _ancestors(models, parse_reference(models[name][side])[0])


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
    if name not in config["training_sets"]:
        return  # the corpus has other texts to be measured on than to be trained on
    for trained, model in config["models"].items():
        is_trained = model.get("recipe") in ("sft", "rlvr")
        if is_trained and model_settings(config, model)["data"] == name:
            raise UserError(
                f"`accuracy.data` is `{name}`, which `models.{trained}` is trained on: it would be "
                "tried on problems that it has seen. Add another entry of `training_sets` with "
                "texts that are kept back, such as `data_split: test` of the same data set, and "
                "name that one."
            )

"""Checks of a configuration that a schema cannot say: names that refer to each other, and files.

All of them run before any job, read no weights, and import nothing heavy.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hrsa.errors import UserError, did_you_mean
from hrsa.models.adapters import check_adapter_folder
from hrsa.models.model_files import check_model_folder
from hrsa_workflow.benchmark_groups import check_entries
from hrsa_workflow.dataset_checks import check_dataset, check_dataset_path, check_probe_labels
from hrsa_workflow.instances import (
    LANGUAGE_MODEL_RECIPES,
    METRICS,
    VARIANTS,
    build_instances,
    checkpoint_steps,
    datasets_for,
    expand_pairs,
    model_settings,
    parse_reference,
    resolve,
    trained_by,
)
from hrsa_workflow.recipe_checks import check_template
from hrsa_workflow.sources import source_path
from hrsa_workflow.training_checks import check_training

RESERVED_MODELS = ("bm25",)


def check_references(config: dict[str, Any]) -> None:
    """Check every name that refers to another entry.

    Raises
    ------
    UserError
        The key, what it names, and what is allowed.
    """
    _check_models(config)
    _check_parents(config)
    build_instances(config)
    _check_checkpoints(config)
    _check_pairs(config)
    for name, dataset in config["datasets"].items():
        check_dataset(name, dataset)
    _check_metrics(config)
    _check_benchmarks(config)
    _check_corpus(config)
    check_training(config)


def check_sources(config: dict[str, Any], root: Path) -> None:
    """Check that the files which ``path:`` entries name are there and can be used.

    Raises
    ------
    UserError
        The key and what is wrong with its file.
    """
    for name, model in config["models"].items():
        if "path" in model:
            is_adapter = "base" in model
            _check_model_path(f"models.{name}.path", model["path"], root, is_adapter=is_adapter)
        if isinstance(model.get("base"), str):
            _check_model_path(f"models.{name}.base", model["base"], root)
    for section in ("datasets", "training_sets"):
        for name, dataset in config[section].items():
            if "path" in dataset:
                check_dataset_path(f"{section}.{name}.path", dataset["path"], root)


def _check_benchmarks(config: dict[str, Any]) -> None:
    benchmarks = config["benchmarks"]
    check_entries(config)
    for entry in benchmarks["models"]:
        _refuse_step(entry, "benchmarks.models", "benchmarks score finished models")
        _resolve_any_seed(config, entry, "benchmarks.models")
    if benchmarks["query_template"] is not None:
        check_template("benchmarks.query_template", benchmarks["query_template"])
    if benchmarks["prompts"] is None:
        return
    for entry in benchmarks["models"]:
        if not _has_template(config, parse_reference(entry)[0]):
            raise UserError(
                f"`benchmarks.prompts` is given, but `{entry}` was not trained with a template to "
                'read them in. Set `benchmarks.query_template`, such as "{instruction}: {query}".'
            )


def _has_template(config: dict[str, Any], model: str) -> bool:
    """Whether it is known how a model reads prompts: from its own training, or the benchmarks."""
    here, models = model, config["models"]
    while models[here].get("recipe") != "contrastive" and "parent" in models[here]:
        here = parse_reference(models[here]["parent"])[0]
    is_trained = models[here].get("recipe") == "contrastive"
    return is_trained or config["benchmarks"]["query_template"] is not None


def _check_models(config: dict[str, Any]) -> None:
    for name, model in config["models"].items():
        if name in RESERVED_MODELS:
            raise UserError(
                f"`models.{name}`: the name `{name}` stands for the word-matching baseline in "
                "`benchmarks`. Rename the model."
            )
        sources = [key for key in ("recipe", "hub", "path") if key in model]
        if len(sources) > 1:
            raise UserError(
                f"`models.{name}` gives {' and '.join(f'`{key}`' for key in sources)}; a model "
                "comes from one of them. Remove the others."
            )


def _check_parents(config: dict[str, Any]) -> None:
    models = config["models"]
    for name, model in models.items():
        for side in ("parent", "second"):
            if side in model:
                key = f"models.{name}.{side}"
                _refuse_step(model[side], key, "models are made from finished models")
                _resolve_any_seed(config, model[side], key)
    for name in models:
        _check_cycle(models, name)
    for name, model in models.items():
        if "parent" in model:
            _check_parent_writes(models, name, model)
    for name, model in models.items():
        if model.get("recipe") == "continued":
            match = model_settings(config, model)["match"]
            matched = parse_reference(match)[0]
            _refuse_step(match, f"models.{name}.match", "a control matches a whole training")
            _resolve_any_seed(config, match, f"models.{name}.match")
            if models[matched].get("recipe") != "sft":
                sft = [other for other in models if models[other].get("recipe") == "sft"]
                raise UserError(
                    f"`match` of `models.{name}` is `{match}`; a control matches the steps and "
                    f"tokens of a model of recipe sft; allowed: {', '.join(sft) or 'none here'}."
                )


def _check_parent_writes(models: dict[str, Any], name: str, model: dict[str, Any]) -> None:
    if model["recipe"] in ("reading", "contrastive", *VARIANTS):
        return
    recipe = trained_by(models, parse_reference(model["parent"])[0])
    if recipe not in (*LANGUAGE_MODEL_RECIPES, "hub", "path"):
        raise UserError(
            f"`models.{name}.parent` is `{model['parent']}`, a model of recipe {recipe}, which "
            f"writes no text; recipe {model['recipe']} goes on from a language model "
            f"({', '.join(LANGUAGE_MODEL_RECIPES)}, hub or path)."
        )


def _refuse_step(text: str, key: str, reason: str) -> None:
    step = parse_reference(text)[2]
    if step is not None:
        raise UserError(
            f"`{key}` is `{text}`; {reason}, not from or of a checkpoint. Remove `@{step}`."
        )


def _check_corpus(config: dict[str, Any]) -> None:
    retrieval = config["corpus"]["retrieval"]
    if retrieval["queries"] > retrieval["documents"]:
        raise UserError(
            f"`corpus.retrieval.queries` is {retrieval['queries']}, but each query is made from a "
            f"document of its own; allowed: at most `documents`, {retrieval['documents']}."
        )
    for name, model in config["models"].items():
        if model.get("recipe") != "pretrain":
            continue
        settings = model_settings(config, model)
        shares = settings["problem_share"] + settings["table_share"]
        if shares > 1:
            raise UserError(
                f"`problem_share` and `table_share` of `models.{name}` add up to {shares:g}; the "
                "rest of the texts is prose, so that together they are at most 1."
            )


def _check_cycle(models: dict[str, Any], start: str, chain: tuple[str, ...] = ()) -> None:
    if start in chain:
        loop = " -> ".join([*chain[chain.index(start) :], start])
        raise UserError(
            f"`models.{start}.parent`: the parents go in a circle ({loop}), so none of these "
            "models can be trained first. Give one of them another parent or none."
        )
    model = models.get(start, {})
    for side in ("parent", "second"):
        if side in model:
            _check_cycle(models, parse_reference(model[side])[0], (*chain, start))


def _check_checkpoints(config: dict[str, Any]) -> None:
    for name, model in config["models"].items():
        if "checkpoints" not in model:
            continue
        key = f"models.{name}.checkpoints"
        seeds, asked = model.get("seeds", []), model["checkpoints"].get("seeds", [])
        if unknown := [seed for seed in asked if seed not in seeds]:
            raise UserError(
                f"`{key}.seeds` names seed {unknown[0]}; allowed: "
                f"{', '.join(map(str, seeds)) or 'none, as the model lists no seeds'}."
            )
        settings = model_settings(config, model)
        if model.get("recipe") == "continued":  # it trains for as long as the model it matches
            matched = parse_reference(settings["match"])[0]
            settings = model_settings(config, config["models"][matched])
        steps, last = model["checkpoints"]["steps"], settings["steps"]
        if late := [step for step in steps if step >= last]:
            raise UserError(
                f"`{key}.steps` names step {late[0]}, but training ends at step {last}; "
                f"allowed: 1 to {last - 1}."
            )


def _check_pairs(config: dict[str, Any]) -> None:
    names: set[str] = set()
    for pair in config["pairs"]:
        if pair["name"] in names:
            raise UserError(
                f"`pairs` has two entries named `{pair['name']}`; their results would share one "
                "file. Rename one."
            )
        names.add(pair["name"])
        if pair["reference"] == pair["candidate"] and not pair["checkpoints"]:
            raise UserError(
                f"`pairs.{pair['name']}` compares `{pair['reference']}` with itself. "
                "Name another model or seed."
            )
        if pair["checkpoints"]:
            _check_pair_checkpoints(config, pair)
    expand_pairs(config)


def _check_pair_checkpoints(config: dict[str, Any], pair: dict[str, Any]) -> None:
    key = f"pairs.{pair['name']}.candidate"
    name, _, step = parse_reference(pair["candidate"])
    _resolve_any_seed(config, pair["candidate"], key)
    model = config["models"][name]
    if step is not None or not any(
        checkpoint_steps(model, seed) for seed in model.get("seeds") or [None]
    ):
        raise UserError(
            f"`pairs.{pair['name']}.checkpoints` is true, but `{pair['candidate']}` keeps no "
            f"checkpoints. Set `models.{name}.checkpoints`, or remove the key from the pair."
        )


def _check_metrics(config: dict[str, Any]) -> None:
    datasets = config["datasets"]
    for metric in METRICS:
        if metric in config["metrics"] and not datasets_for(config, metric):
            raise UserError(
                f"`metrics.{metric}` is asked for, but every data set leaves it out of its "
                f"`metrics`. Add `{metric}` to one of them, or remove it from `metrics`."
            )
    probe = config["metrics"].get("probe")
    if probe is None:
        return
    if probe["dataset"] not in datasets:
        raise UserError(
            f"`metrics.probe.dataset` is `{probe['dataset']}`, which is not among `datasets`; "
            f"allowed: {', '.join(datasets)}.{did_you_mean(probe['dataset'], datasets)}"
        )
    check_probe_labels(probe["dataset"], datasets[probe["dataset"]])


def _resolve_any_seed(config: dict[str, Any], text: str, key: str) -> None:
    """Check a name that may stand for all seeds of a model."""
    name, seed, _ = parse_reference(text)
    seeds: Iterable[int] = config["models"].get(name, {}).get("seeds", [])
    resolve(config, text, key=key, seed=seed if seed is not None else next(iter(seeds), None))


def _check_model_path(key: str, text: str, root: Path, *, is_adapter: bool = False) -> None:
    path = source_path(text, root, key=key)
    try:
        (check_adapter_folder if is_adapter else check_model_folder)(path)
    except UserError as error:
        raise UserError(f"`{key}` is `{text}`. {error}") from None

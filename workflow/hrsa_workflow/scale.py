"""``scale: smoke``: the same study with every size cut down, to see that all of it runs."""

import math
from typing import Any

from hrsa_workflow.instances import model_settings, parse_reference

CORPUS = {
    "problems": 400,
    "test_problems": 24,
    "prose": 200,
    "questions": 24,
    "pairs": 200,
    "arithmetic": 96,
    "test_arithmetic": 24,
    "topics": {"train": 48, "validation": 24, "test": 48},
    "retrieval": {"documents": 40, "queries": 16},
    "solutions": {"documents": 24, "queries": 12},
    "similar_texts": 20,
    "paraphrases": 24,
    "bitext": 20,
}
# Settings of recipes that `smoke` limits by the same name.
LIMITED = ("steps", "batch_size", "prompts_per_step", "completions", "max_completion_tokens")
WARMUP_STEPS = 2
TEXT_LENGTH = 64  # tokens of a text of a suite
# Few samples make few parts; two are still joined.
SHARDS = 2
# A parent of a few steps solves nothing or the same always: nothing is left out.
ALL_PROBLEMS = {"low": 0.0, "high": 1.0}


def shrink(config: dict[str, Any]) -> dict[str, Any]:
    """Cut the sizes of a complete configuration; its structure stays: every job is still there.

    Checkpoints move to the first steps, as many as were asked for where there is room, so that a
    pair compares the same number of them. Where `smoke.seeds` limits them, later seeds are left
    out, apart from those that something names, or that a child or a pair needs to match by seed.
    """
    limits = config["smoke"]
    small = dict(config)
    small["corpus"] = _at_most(config["corpus"], CORPUS)
    small["recipes"] = {
        name: _shrink_settings(settings, limits) for name, settings in config["recipes"].items()
    }
    kept = _kept_seeds(config, limits["seeds"])
    models = {
        name: _shrink_model(model, limits, kept[name]) for name, model in config["models"].items()
    }
    small["models"] = {name: model | _micro_batch(small, model) for name, model in models.items()}
    small["training_sets"] = {
        name: entry | {"samples": min(entry.get("samples", CORPUS["pairs"]), CORPUS["pairs"])}
        for name, entry in config["training_sets"].items()
    }
    probed = config["metrics"].get("probe", {}).get("dataset")
    small["datasets"] = {
        name: _fewer(dataset, limits["probe_samples" if name == probed else "samples"])
        for name, dataset in config["datasets"].items()
    }
    small["pairs"] = [_shrink_pair(pair, config["models"], limits) for pair in config["pairs"]]
    small["accuracy"] = _at_most(
        config["accuracy"],
        {"problems": limits["problems"], "max_new_tokens": limits["max_completion_tokens"]},
    )
    small["statistics"] = _at_most(config["statistics"], {"permutations": limits["permutations"]})
    small["benchmarks"] = _shrink_benchmarks(config["benchmarks"])
    return small


def _shrink_benchmarks(benchmarks: dict[str, Any]) -> dict[str, Any]:
    """One seed of what tasks draw, and of a suite its smallest task alone, its texts cut short."""
    suites = [entry | {"alone": [], "smallest": True} for entry in benchmarks["suites"]]
    seeds = benchmarks["seeds"]
    small = benchmarks | {"suites": suites, "seeds": seeds and seeds[:1]}
    if suites:
        small["max_length"] = min(benchmarks["max_length"] or TEXT_LENGTH, TEXT_LENGTH)
    return small


def _shrink_settings(settings: dict[str, Any], limits: dict[str, Any]) -> dict[str, Any]:
    caps = {name: limits[name] for name in LIMITED} | {"warmup_steps": WARMUP_STEPS}
    small = _at_most(settings, caps)
    if small.get("difficulty"):
        small["difficulty"] = small["difficulty"] | {
            "problems": min(small["difficulty"]["problems"], limits["problems"]),
            **ALL_PROBLEMS,
        }
    return small


def _micro_batch(config: dict[str, Any], model: dict[str, Any]) -> dict[str, int]:
    """Cut a micro-batch to what still divides a process's share of the smaller batch."""
    settings = model_settings(config, model)
    if not settings.get("micro_batch"):
        return {}
    if "prompts_per_step" in settings:
        batch = settings["prompts_per_step"] * settings["completions"]
    else:
        batch = settings["batch_size"]
    own = batch if batch % settings["gpus"] else batch // settings["gpus"]
    micro = math.gcd(settings["micro_batch"], own)
    return {} if micro == settings["micro_batch"] else {"micro_batch": micro}


def _shrink_model(model: dict[str, Any], limits: dict[str, Any], kept: set[int]) -> dict[str, Any]:
    small = _shrink_settings(model, limits)
    if "seeds" in model:
        small["seeds"] = [seed for seed in model["seeds"] if seed in kept]
    if "checkpoints" in model:
        steps = model["checkpoints"]["steps"]
        small["checkpoints"] = model["checkpoints"] | {
            "steps": list(range(1, min(len(steps), limits["steps"] - 1) + 1))
        }
    return small


def _kept_seeds(config: dict[str, Any], limit: int | None) -> dict[str, set[int]]:
    """Seeds of each model: the first ones, those that are named, and what these need of others."""
    models = config["models"]
    every = {name: list(model.get("seeds", [])) for name, model in models.items()}
    if limit is None:
        return {name: set(seeds) for name, seeds in every.items()}
    named = _named_seeds(config)
    kept = {
        name: set(seeds[:limit]) | (named.get(name, set()) & set(seeds))
        for name, seeds in every.items()
    }
    before = -1
    while (count := sum(map(len, kept.values()))) > before:
        before = count
        for name, model in models.items():
            for other in _bare(model, ("parent", "second")):
                kept[other] |= kept[name] & set(every[other])
        for pair in config["pairs"]:
            sides = [name for name in _bare(pair, ("reference", "candidate")) if every[name]]
            if len(sides) == 2 and not kept[sides[0]] & kept[sides[1]]:
                shared = next(seed for seed in every[sides[0]] if seed in every[sides[1]])
                for name in sides:
                    kept[name].add(shared)
    return kept


def _bare(entry: dict[str, Any], keys: tuple[str, ...]) -> list[str]:
    """Names of models under these keys that stand without a seed, to be matched by seed."""
    parsed = [parse_reference(entry[key]) for key in keys if key in entry]
    return [name for name, seed, _ in parsed if seed is None]


def _named_seeds(config: dict[str, Any]) -> dict[str, set[int]]:
    """Seeds of each model that a pair, a parent, a benchmark or the miner names."""
    texts = [pair[side] for pair in config["pairs"] for side in ("reference", "candidate")]
    for model in config["models"].values():
        texts += [model[side] for side in ("parent", "second", "match") if side in model]
    texts += [settings["match"] for settings in config["recipes"].values() if "match" in settings]
    texts += [config["mining"]["model"]] if config["mining"] else []
    found: dict[str, set[int]] = {}
    for text in [*texts, *config["benchmarks"]["models"]]:
        name, seed, _ = parse_reference(text)
        if seed is not None:
            found.setdefault(name, set()).add(seed)
    for name, model in config["models"].items():
        found.setdefault(name, set()).update(model.get("checkpoints", {}).get("seeds", []))
    return found


def _shrink_pair(
    pair: dict[str, Any], models: dict[str, Any], limits: dict[str, Any]
) -> dict[str, Any]:
    """Rename the checkpoints that a pair names, as `_shrink_model` moves them."""
    moved = {}
    for side in ("reference", "candidate"):
        name, _, step = parse_reference(pair[side])
        steps = models.get(name, {}).get("checkpoints", {}).get("steps", [])
        if step in steps:
            place = min(sorted(steps).index(step), limits["steps"] - 2)
            moved[side] = f"{pair[side].partition('@')[0]}@{place + 1}"
    return pair | moved


def _fewer(dataset: dict[str, Any], samples: int) -> dict[str, Any]:
    few = _at_most(dataset, {"samples": samples, "shards": SHARDS})
    return {"samples": samples} | few


def _at_most(values: dict[str, Any], limits: dict[str, Any]) -> dict[str, Any]:
    """Lower each value that has a limit, groups inside groups too; leave the others."""
    return {key: _lower(value, limits.get(key)) for key, value in values.items()}


def _lower(value: Any, limit: Any) -> Any:
    if isinstance(limit, dict):
        return _at_most(value, limit)
    return value if limit is None or value is None else min(value, limit)

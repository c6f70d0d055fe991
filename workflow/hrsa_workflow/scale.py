"""``scale: smoke``: the same study with every size cut down, to see that all of it runs."""

from typing import Any

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
}
# Settings of recipes that `smoke` limits by the same name.
LIMITED = ("steps", "batch_size", "prompts_per_step", "completions", "max_completion_tokens")
WARMUP_STEPS = 2
# Few samples make few parts; two are still joined.
SHARDS = 2


def shrink(config: dict[str, Any]) -> dict[str, Any]:
    """Cut the sizes of a complete configuration; its structure stays: every job is still there.

    Checkpoints move to the first steps, as many as were asked for where there is room, so that a
    pair compares the same number of them. Where `smoke.seeds` limits them, later seeds are left
    out, apart from those that something names.
    """
    limits = config["smoke"]
    small = dict(config)
    small["corpus"] = _at_most(config["corpus"], CORPUS)
    small["recipes"] = {
        name: _shrink_settings(settings, limits) for name, settings in config["recipes"].items()
    }
    named = _named_seeds(config)
    small["models"] = {
        name: _shrink_model(model, limits, named.get(name, set()))
        for name, model in config["models"].items()
    }
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
    small["accuracy"] = config["accuracy"] | {
        "problems": min(config["accuracy"]["problems"], limits["problems"])
    }
    return small


def _shrink_settings(settings: dict[str, Any], limits: dict[str, Any]) -> dict[str, Any]:
    caps = {name: limits[name] for name in LIMITED} | {"warmup_steps": WARMUP_STEPS}
    small = _at_most(settings, caps)
    if small.get("difficulty"):
        small["difficulty"] = small["difficulty"] | {
            "problems": min(small["difficulty"]["problems"], limits["problems"])
        }
    return small


def _shrink_model(model: dict[str, Any], limits: dict[str, Any], named: set[int]) -> dict[str, Any]:
    small = _shrink_settings(model, limits)
    seeds = model.get("seeds", [])
    if limits["seeds"] and len(seeds) > limits["seeds"]:
        kept = [seed for i, seed in enumerate(seeds) if i < limits["seeds"] or seed in named]
        small["seeds"] = kept
    if "checkpoints" in model:
        steps = model["checkpoints"]["steps"]
        small["checkpoints"] = model["checkpoints"] | {
            "steps": list(range(1, min(len(steps), limits["steps"] - 1) + 1))
        }
    return small


def _named_seeds(config: dict[str, Any]) -> dict[str, set[int]]:
    """Seeds of each model that a pair, a parent, a benchmark or the miner names."""
    texts = [pair[side] for pair in config["pairs"] for side in ("reference", "candidate")]
    for model in config["models"].values():
        texts += [model[side] for side in ("parent", "second", "match") if side in model]
    texts += [settings["match"] for settings in config["recipes"].values() if "match" in settings]
    texts += [config["mining"]["model"]] if config["mining"] else []
    found: dict[str, set[int]] = {}
    for text in [*texts, *config["benchmarks"]["models"]]:
        name, dot, seed = text.partition("@")[0].rpartition(".s")
        if dot and seed.isdigit():
            found.setdefault(name, set()).add(int(seed))
    for name, model in config["models"].items():
        found.setdefault(name, set()).update(model.get("checkpoints", {}).get("seeds", []))
    return found


def _shrink_pair(
    pair: dict[str, Any], models: dict[str, Any], limits: dict[str, Any]
) -> dict[str, Any]:
    """Rename the checkpoints that a pair names, as `_shrink_model` moves them."""
    moved = {}
    for side in ("reference", "candidate"):
        name, at, step = pair[side].partition("@")
        steps = models.get(name.split(".s")[0], {}).get("checkpoints", {}).get("steps", [])
        if at and step.isdigit() and int(step) in steps:
            place = min(sorted(steps).index(int(step)), limits["steps"] - 2)
            moved[side] = f"{name}@{place + 1}"
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
    return value if limit is None else min(value, limit)

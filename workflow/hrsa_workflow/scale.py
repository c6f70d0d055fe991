"""``scale: smoke``: the same study with every size cut down, to see that all of it runs."""

from typing import Any

STEPS = 6
CORPUS = {
    "problems": 400,
    "test_problems": 24,
    "prose": 200,
    "questions": 24,
    "pairs": 200,
    "topics": {"train": 48, "validation": 24, "test": 48},
    "retrieval": {"documents": 40, "queries": 16},
}
SETTINGS = {
    "steps": STEPS,
    "batch_size": 8,
    "warmup_steps": 2,
    "prompts_per_step": 2,
    "completions": 4,
    "max_completion_tokens": 12,
}
SAMPLES = 24
# A probe needs texts of every class in each of its splits.
PROBE_SAMPLES = 120
# Few samples make few parts; two are still joined.
SHARDS = 2


def shrink(config: dict[str, Any]) -> dict[str, Any]:
    """Cut the sizes of a complete configuration; its structure stays: every job is still there.

    Checkpoints move to the first steps, as many as were asked for where there is room, so that a
    pair compares the same number of them.
    """
    small = dict(config)
    small["corpus"] = _at_most(config["corpus"], CORPUS)
    small["recipes"] = {
        name: _at_most(settings, SETTINGS) for name, settings in config["recipes"].items()
    }
    small["models"] = {name: _shrink_model(model) for name, model in config["models"].items()}
    probed = config["metrics"].get("probe", {}).get("dataset")
    small["datasets"] = {
        name: _fewer(dataset, PROBE_SAMPLES if name == probed else SAMPLES)
        for name, dataset in config["datasets"].items()
    }
    small["pairs"] = [_shrink_pair(pair, config["models"]) for pair in config["pairs"]]
    small["accuracy"] = config["accuracy"] | {"problems": min(config["accuracy"]["problems"], 24)}
    return small


def _shrink_model(model: dict[str, Any]) -> dict[str, Any]:
    small = _at_most(model, SETTINGS)
    if "checkpoints" in model:
        steps = model["checkpoints"]["steps"]
        small["checkpoints"] = model["checkpoints"] | {
            "steps": list(range(1, min(len(steps), STEPS - 1) + 1))
        }
    return small


def _shrink_pair(pair: dict[str, Any], models: dict[str, Any]) -> dict[str, Any]:
    """Rename the checkpoints that a pair names, as `_shrink_model` moves them."""
    moved = {}
    for side in ("reference", "candidate"):
        name, at, step = pair[side].partition("@")
        steps = models.get(name.split(".s")[0], {}).get("checkpoints", {}).get("steps", [])
        if at and step.isdigit() and int(step) in steps:
            moved[side] = f"{name}@{min(sorted(steps).index(int(step)), STEPS - 2) + 1}"
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

"""Instances of models (one per seed), their parents, and pairs spelt out as comparisons.

An instance is written ``name`` or ``name.s<seed>``, and ``@<step>`` after it names a checkpoint.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from hrsa.errors import UserError, did_you_mean

REFERENCE = re.compile(r"^(?P<model>.+?)(?:\.s(?P<seed>\d+))?(?:@(?P<step>\d+))?$")
LANGUAGE_MODEL_RECIPES = ("pretrain", "sft", "rlvr", "continued")
# Made from the weights of other models, without training: each is what its parent is.
VARIANTS = ("merge", "reinitialised", "quantised")
METRICS = ("correlation", "procrustes", "cka", "knn", "probe")
# Keys of a model that say what it is; all others override its recipe's settings.
STRUCTURE = ("recipe", "parent", "second", "seeds", "checkpoints", "attention")


@dataclass(frozen=True)
class Instance:
    """One trained or imported model: a folder under ``models/``."""

    model: str
    seed: int | None
    source: str  # a recipe, "hub" or "path"
    train_seed: int
    parent: str | None = None
    second: str | None = None  # the other model of a merge
    checkpoints: tuple[int, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def name(self) -> str:
        """The instance's folder: ``name`` or ``name.s<seed>``."""
        return self.model if self.seed is None else f"{self.model}.s{self.seed}"


@dataclass(frozen=True)
class Comparison:
    """Two instances side by side, each with ``@<step>`` where a checkpoint is meant."""

    reference: str
    candidate: str
    seed: int | None
    step: int | None


@dataclass(frozen=True)
class Pair:
    """A pair of the configuration and every comparison that it stands for."""

    name: str
    kind: str
    stage: str
    comparisons: tuple[Comparison, ...]

    @property
    def has_steps(self) -> bool:
        """Whether checkpoints are compared too."""
        return any(comparison.step is not None for comparison in self.comparisons)


def parse_reference(text: str) -> tuple[str, int | None, int | None]:
    """Split ``name.s1@20`` into model, seed and step; what is not given is None."""
    match = REFERENCE.match(text)
    if match is None:
        raise ValueError(f"{text!r} does not name a model")
    seed, step = match["seed"], match["step"]
    return match["model"], int(seed) if seed else None, int(step) if step else None


def build_instances(config: dict[str, Any]) -> dict[str, Instance]:
    """Make the instances of every model.

    Parameters
    ----------
    config
        A complete configuration.

    Returns
    -------
    dict of Instance
        By instance name, in the order of the models and their seeds.
    """
    instances = {}
    for name, model in config["models"].items():
        for seed in model.get("seeds") or [None]:
            instance = _instance(config, name, model, seed)
            instances[instance.name] = instance
    return instances


def trained_by(models: dict[str, Any], name: str) -> str:
    """The recipe, "hub" or "path" behind a model; variants are what their parents are."""
    while models[name].get("recipe") in VARIANTS:
        name = parse_reference(models[name]["parent"])[0]
    return models[name].get("recipe") or ("hub" if "hub" in models[name] else "path")


def model_settings(config: dict[str, Any], model: dict[str, Any]) -> dict[str, Any]:
    """Give a model's settings: those of its recipe under its own."""
    own = {key: value for key, value in model.items() if key not in STRUCTURE}
    if "attention" in model:
        own["attention"] = model["attention"]
    shared = config["recipes"].get(model.get("recipe", ""), {})
    settings = shared | own
    if "architecture" in shared and "architecture" in own:
        settings["architecture"] = shared["architecture"] | own["architecture"]
    return settings


def resolve(config: dict[str, Any], text: str, *, key: str, seed: int | None = None) -> str:
    """Turn what a key names into one instance's name, a checkpoint's ``@<step>`` left out.

    Parameters
    ----------
    config
        A complete configuration.
    text
        ``name``, ``name.s<seed>`` or either with ``@<step>``.
    key
        Where it stands, for the error.
    seed
        The seed to take where only a name is given and the model has several.

    Raises
    ------
    UserError
        No such model, seed or step; or a bare name where one seed has to be named.
    """
    name, own_seed, step = parse_reference(text)
    model = _model(config, name, text, key)
    seeds = model.get("seeds")
    if own_seed is None and seeds:
        if seed not in seeds:
            names = ", ".join(f"{name}.s{s}" for s in seeds)
            raise UserError(
                f"`{key}` is `{text}`, a model of several seeds, and there is no seed to match it "
                f"by{'' if seed is None else f' (seed {seed} is not among them)'}; "
                f"allowed: {names}. Name one."
            )
        own_seed = seed
    if own_seed is not None and own_seed not in (seeds or []):
        allowed = ", ".join(f"{name}.s{s}" for s in seeds) if seeds else f"{name} (it has no seeds)"
        raise UserError(
            f"`{key}` is `{text}`; `{name}` has no seed {own_seed}; allowed: {allowed}."
        )
    if step is not None:
        steps = checkpoint_steps(model, own_seed)
        if step not in steps:
            listed = ", ".join(map(str, steps)) or "none"
            raise UserError(
                f"`{key}` is `{text}`, but there is no checkpoint at step {step}; "
                f"allowed steps: {listed}. Add it to `models.{name}.checkpoints.steps`."
            )
    return name if own_seed is None else f"{name}.s{own_seed}"


def expand_pair(config: dict[str, Any], pair: dict[str, Any]) -> Pair:
    """Spell out a pair: every seed, matched by seed, and the checkpoints that both sides have."""
    key = f"pairs.{pair['name']}"
    comparisons = []
    for seed in _pair_seeds(config, pair, key):
        reference = resolve(config, pair["reference"], key=f"{key}.reference", seed=seed)
        candidate = resolve(config, pair["candidate"], key=f"{key}.candidate", seed=seed)
        step = parse_reference(pair["candidate"])[2]
        if pair["checkpoints"]:
            comparisons += _checkpoint_comparisons(config, reference, candidate)
        comparisons.append(
            Comparison(
                reference=_at(reference, parse_reference(pair["reference"])[2]),
                candidate=_at(candidate, step),
                seed=_seed(reference, candidate),
                step=step,
            )
        )
    return Pair(pair["name"], pair["kind"], _stage(config, pair), tuple(comparisons))


def expand_pairs(config: dict[str, Any]) -> dict[str, Pair]:
    """Spell out every pair, by name."""
    return {pair["name"]: expand_pair(config, pair) for pair in config["pairs"]}


def datasets_for(config: dict[str, Any], metric: str) -> list[str]:
    """Name the data sets that a metric is computed on; the probe has one of its own."""
    if metric == "probe":
        return [config["metrics"]["probe"]["dataset"]]
    datasets = config["datasets"]
    return [name for name in datasets if metric in datasets[name].get("metrics", [metric])]


def checkpoint_steps(model: dict[str, Any], seed: int | None) -> tuple[int, ...]:
    """List the steps that a model keeps a checkpoint of, for one of its seeds."""
    checkpoints = model.get("checkpoints")
    if not checkpoints:
        return ()
    if seed is not None and seed not in checkpoints.get("seeds", [seed]):
        return ()
    return tuple(sorted(checkpoints["steps"]))


def _instance(
    config: dict[str, Any], name: str, model: dict[str, Any], seed: int | None
) -> Instance:
    parents = {
        key: resolve(config, model[key], key=f"models.{name}.{key}", seed=seed)
        for key in ("parent", "second")
        if key in model
    }
    source = model.get("recipe") or ("hub" if "hub" in model else "path")
    return Instance(
        model=name,
        seed=seed,
        source=source,
        train_seed=config["seed"] if seed is None else seed,
        **parents,
        checkpoints=checkpoint_steps(model, seed),
        settings=model_settings(config, model),
    )


def _model(config: dict[str, Any], name: str, text: str, key: str) -> dict[str, Any]:
    models = config["models"]
    if name not in models:
        raise UserError(
            f"`{key}` is `{text}`, but there is no model `{name}`; "
            f"allowed: {', '.join(models)}.{did_you_mean(name, models)}"
        )
    return models[name]


def _pair_seeds(config: dict[str, Any], pair: dict[str, Any], key: str) -> list[int | None]:
    """List the seeds that the bare names of a pair stand for."""
    open_seeds = {}
    for side in ("reference", "candidate"):
        name, seed, _ = parse_reference(pair[side])
        seeds = _model(config, name, pair[side], f"{key}.{side}").get("seeds")
        if seed is None and seeds:
            open_seeds[side] = seeds
    if not open_seeds:
        return [None]
    shared = [
        seed
        for seed in next(iter(open_seeds.values()))
        if all(seed in seeds for seeds in open_seeds.values())
    ]
    if not shared:
        raise UserError(
            f"`{key}` compares `{pair['reference']}` (seeds {open_seeds['reference']}) with "
            f"`{pair['candidate']}` (seeds {open_seeds['candidate']}), which share no seed to "
            "match them by. Name one seed on each side, such as "
            f"`{pair['reference']}.s{open_seeds['reference'][0]}`."
        )
    return shared


def _at(instance: str, step: int | None) -> str:
    return instance if step is None else f"{instance}@{step}"


def _checkpoint_comparisons(
    config: dict[str, Any], reference: str, candidate: str
) -> list[Comparison]:
    steps = [_steps_of(config, name) for name in (reference, candidate)]
    seed = _seed(reference, candidate)
    if not steps[0]:
        return [Comparison(reference, _at(candidate, step), seed, step) for step in steps[1]]
    return [
        Comparison(_at(reference, step), _at(candidate, step), seed, step)
        for step in steps[1]
        if step in steps[0]
    ]


def _steps_of(config: dict[str, Any], instance: str) -> tuple[int, ...]:
    name, seed, _ = parse_reference(instance)
    return checkpoint_steps(config["models"][name], seed)


def _seed(reference: str, candidate: str) -> int | None:
    """The seed that a comparison is listed under: the candidate's, else the reference's."""
    seeds = [parse_reference(side)[1] for side in (candidate, reference)]
    return seeds[0] if seeds[0] is not None else seeds[1]


def _stage(config: dict[str, Any], pair: dict[str, Any]) -> str:
    name = parse_reference(pair["candidate"])[0]
    is_embedding = trained_by(config["models"], name) == "contrastive"
    return pair.get("stage") or ("embedding" if is_embedding else "backbone")

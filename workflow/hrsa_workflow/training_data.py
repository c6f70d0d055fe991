"""What each training reads: files of the corpus, training sets from outside, what is mined of them.

A name in a recipe's `data` is a training file of the corpus or an entry of `training_sets`.
"""

from typing import TYPE_CHECKING, Any

from hrsa_workflow.instances import (
    VARIANTS,
    Instance,
    model_settings,
    parse_reference,
    trained_by,
)
from hrsa_workflow.sources import fingerprint, source_path
from hrsa_workflow.strict_yaml import canonical

if TYPE_CHECKING:
    from hrsa_workflow.study import Study

# Which of the corpus's settings each of its files depends on (every file has its own stream).
CORPUS_SETTINGS = {
    "problems": ("problems",),
    "prose": ("prose",),
    "questions": ("questions",),
    "pairs": ("pairs",),
    "arithmetic": ("arithmetic",),
    "test-arithmetic": ("test_arithmetic", "evaluation"),
    "test-problems": ("test_problems", "evaluation"),
    "test-questions": ("questions", "evaluation"),
    "topics": ("topics", "evaluation"),
    "retrieval-documents": ("retrieval", "evaluation"),
    "retrieval-queries": ("retrieval", "evaluation"),
    "retrieval-qrels": ("retrieval", "evaluation"),
    "solution-documents": ("solutions", "evaluation"),
    "solution-queries": ("solutions", "evaluation"),
    "solution-qrels": ("solutions", "evaluation"),
    "similar-texts": ("similar_texts", "evaluation"),
    "paraphrases": ("paraphrases", "evaluation"),
    "bitext": ("bitext", "evaluation"),
}
# Files of the corpus that recipes can train on.
PROBLEM_FILES = ("problems", "arithmetic")
PAIR_FILES = ("pairs",)
PLAIN_TEXT = ("prose", "questions")


def data_names(study: "Study", instance: str) -> list[str]:
    """Names of what an instance is trained on, in the order of `data_files`."""
    one = study.instances[instance]
    match one.source:
        case "pretrain":
            return ["problems", *PLAIN_TEXT]
        case "sft" | "rlvr":
            return [one.settings["data"]]
        case "continued":
            return [study.matched(instance).settings["data"], *_plain_text(study, instance)]
        case "contrastive":
            return list(one.settings["data"])
        case _:
            return []


def _plain_text(study: "Study", instance: str) -> tuple[str, ...]:
    """What a control reads: its ancestor's mixture, which has problems, or prose alone."""
    lengths = study.matched(instance).settings["data"]
    mixture = ("problems", *PLAIN_TEXT) if study.pretraining(instance) else PLAIN_TEXT
    return tuple(name for name in mixture if name != lengths)


def data_files(study: "Study", instance: str) -> list[str]:
    """Files that an instance is trained on."""
    one = study.instances[instance]
    if one.source == "rlvr" and one.settings["difficulty"]:
        return [f"{study.folder}/datasets/difficulty/{one.model}/{one.parent}.parquet"]
    return [
        mined_file(study, name) if _is_mined(study, one, name) else source_file(study, name)
        for name in data_names(study, instance)
    ]


def data_parts(study: "Study", instance: str) -> dict[str, Any]:
    """What decides the content of the files that an instance is trained on."""
    one = study.instances[instance]
    parts: dict[str, Any] = {}
    for name in data_names(study, instance):
        parts[name] = {"source": source_part(study, name)}
        if _is_mined(study, one, name):
            parts[name]["mining"] = mining_part(study, name)
    return canonical(parts)


def source_file(study: "Study", name: str) -> str:
    """The texts behind a name, before anything is mined."""
    if name in study.config["training_sets"]:
        return f"{study.folder}/datasets/training/{name}.parquet"
    return f"{study.folder}/datasets/corpus/{name}.parquet"


def source_part(study: "Study", name: str) -> dict[str, Any]:
    """What decides the texts behind a name."""
    entry = study.config["training_sets"].get(name)
    if entry is None:
        return study.corpus_part([name])
    part = {
        "seed": study.config["seed"],
        # The instruction is no part of the texts: it goes to the recipe.
        "settings": {key: value for key, value in entry.items() if key != "instruction"},
        "code": study.code("training_set.py"),
    }
    if "path" in entry:
        part["sha256"] = fingerprint(training_set_files(study, name))
    return canonical(part)


def training_set_files(study: "Study", name: str) -> list[str]:
    """The file of a training set that has a path; none for one of the hub."""
    entry = study.config["training_sets"][name]
    if "path" not in entry:
        return []
    return [str(source_path(entry["path"], study.root, key=f"training_sets.{name}.path"))]


def mined_file(study: "Study", name: str) -> str:
    """A training set with the hard negatives that were found for it."""
    return f"{study.folder}/datasets/mined/{name}.parquet"


def mined_sets(study: "Study") -> list[str]:
    """Training sets that negatives are mined for."""
    found = {
        name
        for one in study.instances.values()
        for name in (one.settings["data"] if one.source == "contrastive" else [])
        if _is_mined(study, one, name)
    }
    return sorted(found)


def mining_part(study: "Study", name: str) -> dict[str, Any]:
    """How negatives of a set are found, and how the miner reads its queries.

    A miner of the study reads them as it was trained to, unless `mining.query_template` says
    otherwise; one from outside as that key says, or else by its own folder, whatever the
    instruction.
    """
    settings = {key: value for key, value in study.config["mining"].items() if key != "model"}
    own = study.config["training_sets"].get(name, {}).get("instruction")
    trained = _settings_of_miner(study)
    if trained:
        template = settings["query_template"] or trained["query_template"]
        instruction = own or trained["instruction"]
        return settings | {"query_template": template, "instruction": instruction}
    return settings | ({"instruction": own} if settings["query_template"] else {})


def _settings_of_miner(study: "Study") -> dict[str, Any] | None:
    """What a miner of the study, or the model that it is a variant of, was trained with."""
    models = study.config["models"]
    name = parse_reference(study.config["mining"]["model"])[0]
    if trained_by(models, name) != "contrastive":
        return None
    while models[name].get("recipe") in VARIANTS:
        name = parse_reference(models[name]["parent"])[0]
    return model_settings(study.config, models[name])


def difficulty_parents(study: "Study") -> list[tuple[str, str]]:
    """RLVR models that filter their problems, each with the instance that tries them."""
    found = [
        (one.model, str(one.parent))
        for one in study.instances.values()
        if one.source == "rlvr" and one.settings["difficulty"]
    ]
    return list(dict.fromkeys(found))


def difficulty_settings(study: "Study", model: str) -> dict[str, Any]:
    """How problems are tried before a model is trained on them."""
    one = next(one for one in study.instances.values() if one.model == model)
    keys = ("prompt_format", "verifier", "temperature", "max_completion_tokens")
    return canonical(dict(one.settings["difficulty"]) | {key: one.settings[key] for key in keys})


def instructions(study: "Study", instance: str) -> dict[str, str]:
    """Instructions of the training sets that have one of their own."""
    sets = study.config["training_sets"]
    return {
        name: sets[name]["instruction"]
        for name in data_names(study, instance)
        if "instruction" in sets.get(name, {})
    }


def _is_mined(study: "Study", one: Instance, name: str) -> bool:
    """Whether an embedding model trains on negatives that have to be found first."""
    own = "negatives" in study.config["training_sets"].get(name, {})
    return one.source == "contrastive" and one.settings["negatives"] > 0 and not own

"""Loading and validating a study's configuration."""

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from hrsa.errors import UserError, did_you_mean
from hrsa_workflow.checks import check_references, check_sources
from hrsa_workflow.instances import VARIANTS
from hrsa_workflow.scale import shrink
from hrsa_workflow.strict_yaml import canonical, refuse_duplicate_keys

SCHEMA = Path(__file__).parents[1] / "schemas" / "config.schema.yaml"
NAME_RULE = (
    "a name becomes a folder: it starts with a letter or a digit, holds only letters, digits and "
    "`. _ -`, and does not hold `.s` before a digit, which marks a seed"
)
INSTANCE_RULE = "a model's name, with `.s<seed>` for one seed and `@<step>` for a checkpoint"
TYPE_NAMES = {
    "object": "a mapping of keys",
    "array": "a list",
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


def load_config(
    config: Mapping[str, Any], *, files: Iterable[Path] = (), root: Path = Path()
) -> dict[str, Any]:
    """Validate a configuration and fill in what it leaves to the defaults.

    Parameters
    ----------
    config
        As Snakemake merged it from the configuration files and the command line.
    files
        The files it was read from: they are named in errors and read again for duplicate keys.
    root
        Folder that relative paths in the configuration start from.

    Returns
    -------
    dict
        The complete configuration, keys sorted; at ``scale: smoke`` with smaller sizes.

    Raises
    ------
    UserError
        One paragraph: the file, the key, its value, what is allowed, the nearest valid name.
    """
    files = list(files)
    where = ", ".join(str(file) for file in files) or "the configuration"
    refuse_duplicate_keys(files)
    config = _from_command_line(config)
    try:
        _check_schema(config)
        complete = fill_defaults(canonical(config))
        check_references(complete)
        check_sources(complete, root)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    return shrink(complete) if complete["scale"] == "smoke" else complete


def _from_command_line(config: Mapping[str, Any]) -> dict[str, Any]:
    """Read truth values that ``--config key=true`` gives as texts."""
    truth = {"true": True, "false": False}
    return {
        key: truth.get(value.lower(), value) if isinstance(value, str) and key != "study" else value
        for key, value in config.items()
    }


@cache
def schema() -> dict[str, Any]:
    """Read the JSON schema."""
    return yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))


def fill_defaults(config: dict[str, Any]) -> dict[str, Any]:
    """Add the schema's defaults; a model's settings stay its own until instances are made."""
    complete = _with_defaults(config, schema())
    definitions = schema()["$defs"]
    for model in complete["models"].values():
        if "hub" in model:
            model.setdefault(
                "revision", definitions["model-hub"]["properties"]["revision"]["default"]
            )
    for dataset in [*complete["datasets"].values(), *complete["training_sets"].values()]:
        if "hub" in dataset:
            default = definitions["dataset-hub"]["properties"]["revision"]["default"]
            dataset.setdefault("revision", default)
    for model in complete["models"].values():
        if model.get("recipe") in VARIANTS:
            part = definitions[f"model-{model['recipe']}"]
            model.update(_with_defaults(model, part))
    return complete


def _with_defaults(value: Any, part: Mapping[str, Any]) -> Any:
    """Fill the defaults of a part of the schema, going down its plain properties and items."""
    if isinstance(value, dict):
        if part.get("if") == {"type": "object"}:  # a part that may be null as well
            part = part["then"]
        filled = dict(value)
        for key, sub in part.get("properties", {}).items():
            if key not in filled and "default" in sub:
                filled[key] = canonical(sub["default"])
            if key in filled:
                filled[key] = _with_defaults(filled[key], sub)
        return dict(sorted(filled.items()))
    if isinstance(value, list) and isinstance(part.get("items"), dict):
        return [_with_defaults(item, part["items"]) for item in value]
    return value


def _check_schema(config: Mapping[str, Any]) -> None:
    from jsonschema import Draft202012Validator

    errors = list(Draft202012Validator(schema()).iter_errors(canonical(config)))
    if errors:
        # The first in the order of the file's own keys, the outermost before what lies inside it.
        first = min(errors, key=lambda error: (len(error.absolute_path), str(error.json_path)))
        raise UserError(_explain(first))


def _explain(error: Any) -> str:
    """Say in one sentence or two what a schema error means for the person who wrote the file."""
    path = key_path(error.absolute_path)
    value = error.instance
    match error.validator:
        case "additionalProperties":
            allowed = sorted(error.schema.get("properties", {}))
            key = next(key for key in value if key not in allowed)
            at = f"in `{path}`" if path else "at the top level"
            return f"unknown key `{key}` {at}; " + _allowed(str(key), allowed)
        case "required":
            missing = next(key for key in error.validator_value if key not in value)
            at = f"`{path}`" if path else "the study"
            if missing == "path":
                return (
                    f"{at} does not say where it comes from; give one of the keys "
                    f"{'`recipe`, `hub`, `path`' if path.startswith('models') else ''}"
                    f"{'`generator`, `path`, `hub`' if path.startswith('datasets') else ''}"
                    f"{'`path`, `hub`' if path.startswith('training_sets') else ''}."
                )
            return f"{at} lacks the key `{missing}`. Add it."
        case "enum":
            return f"`{path}` is {value!r}; " + _allowed(str(value), error.validator_value)
        case "pattern" if "propertyNames" in error.absolute_schema_path:
            return f"the name {value!r} in `{path}` is not allowed: {NAME_RULE}. Rename it."
        case "pattern" if "instance" in str(error.schema_path) or "@" in error.validator_value:
            return f"`{path}` is {value!r}, which cannot be {INSTANCE_RULE}. Correct it."
        case "pattern" if ".s[0-9]" in error.validator_value:
            return f"`{path}` is {value!r}, which is not allowed: {NAME_RULE}. Rename it."
        case "pattern":
            return f"`{path}` is {value!r}; allowed is text of the form {error.validator_value}."
        case "type":
            return f"`{path}` is {value!r}; {_type_rule(error.validator_value)}" + _number_hint(
                value
            )
        case "minimum" | "exclusiveMinimum" | "maximum":
            bound = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most"}
            limit = f"{bound[error.validator]} {error.validator_value}"
            number = limit if error.validator == "exclusiveMinimum" else f"of {limit}"
            meaning = " ".join(["", error.schema.get("description", "")]).rstrip()
            return f"`{path}` is {value!r}; allowed is a number {number}.{meaning}"
        case "minItems" | "minProperties" | "minLength":
            return f"`{path}` is empty; give at least one entry."
        case "uniqueItems":
            return f"`{path}` is {value!r}, which names an entry twice. Remove one."
        case _:
            return f"`{path}` is {value!r}, which is not allowed ({error.message})."


def key_path(parts: Iterable[Any]) -> str:
    """Write a path of keys as a person does: ``models.sft.seeds[0]``."""
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f"{'.' if text else ''}{part}"
    return text


def _allowed(given: str, allowed: Iterable[Any]) -> str:
    names = [str(name) for name in allowed]
    listed = ", ".join(names) if names else "none"
    return f"allowed: {listed}.{did_you_mean(given, names)}"


def _type_rule(types: str | list[str]) -> str:
    names = [types] if isinstance(types, str) else types
    return f"allowed is {' or '.join(TYPE_NAMES[name] for name in names)}."


def _number_hint(value: Any) -> str:
    """YAML reads 1e-3 as text: a number in this notation needs a point."""
    if not isinstance(value, str):
        return ""
    try:
        number = float(value)
    except ValueError:
        return ""
    digits, _, exponent = f"{number:e}".partition("e")
    mantissa = digits.rstrip("0")
    mantissa += "0" if mantissa.endswith(".") else ""
    return f" YAML reads {value} as text; write it as {mantissa}e{int(exponent):+d}, unquoted."

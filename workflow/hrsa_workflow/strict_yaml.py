"""Reading configuration files without losing what the user wrote twice."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from hrsa.errors import UserError


class _StrictLoader(yaml.SafeLoader):
    """A safe loader that refuses a key given twice, where YAML loaders keep the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen: dict[Any, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if key in seen:
                raise UserError(
                    f"{self.name}: the key `{key}` is given twice, in lines {seen[key]} and "
                    f"{line}; only one of them can hold. Remove or rename one."
                )
            seen[key] = line
        return super().construct_mapping(node, deep=deep)


def read_yaml(path: Path) -> Any:
    """Read a YAML or JSON file, refusing duplicate keys.

    Raises
    ------
    UserError
        The file is missing, is no valid YAML, or gives a key twice.
    """
    try:
        with path.open(encoding="utf-8") as stream:
            loader = _StrictLoader(stream)
            loader.name = str(path)
            try:
                return loader.get_single_data()
            finally:
                loader.dispose()
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such configuration file. Correct its path.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UserError(
            f"{path}: this is not valid YAML{where}: {problem}. Mend the line; indent with spaces."
        ) from None


def refuse_duplicate_keys(files: Iterable[Path]) -> None:
    """Read each file again only to see that no key is given twice in it."""
    for file in files:
        read_yaml(file)


def canonical(value: Any) -> Any:
    """Copy a configuration value with its keys sorted, so that equal settings look equal.

    Snakemake compares the text of parameters; the order in which a user writes keys must not count.
    """
    return json.loads(json.dumps(value, sort_keys=True))

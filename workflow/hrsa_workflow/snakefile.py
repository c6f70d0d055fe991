"""What the Snakefile asks of Snakemake's own objects and conventions, in one place."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from snakemake_interface_common.exceptions import WorkflowError

NOTHING = r"(?!)"


class ConfigurationError(WorkflowError):
    """A mistake in a configuration file, which Snakemake prints as a paragraph.

    Snakemake adds the lines of the Snakefile that an error passed through, as far as the error
    tells them. They say nothing to someone who wrote a configuration, so it tells none.
    """

    __traceback__ = None  # type: ignore[assignment]


def any_of(names: Iterable[str]) -> str:
    """Write a wildcard's constraint: one of these names, or nothing where there is none."""
    return "|".join(re.escape(name) for name in names) or NOTHING


def rule_name(stem: str, steps: Iterable[int]) -> str:
    """Name the rule for instances with these checkpoints."""
    return "_".join([stem, *map(str, steps)])


def suffixes(steps: Iterable[int]) -> list[str]:
    """What stands after an instance's name: nothing for the final model, ``@<step>`` for others."""
    return ["", *(f"@{step}" for step in steps)]


def configuration_files(workflow: Any) -> list[Path]:
    """List the files that the configuration was read from, as the user would name them."""
    here = Path.cwd()
    files = [Path(file) for file in workflow.configfiles]
    return [file.relative_to(here) if file.is_relative_to(here) else file for file in files]

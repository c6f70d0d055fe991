"""What is put before queries, task by task and, within a task, subset by subset: data, not code.

A file of prompts is a JSON object: names of tasks, or of a task and one of its subsets
(``"BrightRetrieval/biology"``), and for each what goes before its queries and its documents::

    {"BrightRetrieval/biology": {"query": "Represent this biology post for ...", "document": ""}}

A prompt is the instruction alone. What stands around it belongs to the model, which was trained
with a template (`hrsa.models.instructions`).

`mteb` finds a prompt by the task's name, so that all domains of BRIGHT, which are subsets of one
task there, would get the same. Here a subset's own prompt comes first.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hrsa.errors import UserError, did_you_mean

__all__ = ["Prompts", "load_prompts"]

ROLES = ("query", "document")


@dataclass(frozen=True)
class Prompts:
    """Instructions by task or "task/subset", and by role ("query", "document").

    Attributes
    ----------
    entries : dict
        ``{"task" or "task/subset": {"query": instruction, "document": instruction}}``.
    """

    entries: dict[str, dict[str, str]]

    def instruction(self, task: str, subset: str, role: str | None) -> str | None:
        """Look up what goes before a text.

        Parameters
        ----------
        task, subset
            Names as in `mteb`.
        role
            "query", "document", or None where a task makes no difference (similarity, clusters,
            classes): all texts then have the query's instruction.

        Returns
        -------
        The instruction; "" where nothing goes before such a text; None where the prompts say
        nothing about this task.
        """
        entry = self.entries.get(f"{task}/{subset}", self.entries.get(task))
        return None if entry is None else entry.get(role or "query", "")


def load_prompts(path: str | Path) -> Prompts:
    """Read and check a file of prompts.

    Parameters
    ----------
    path
        JSON, as the module describes it. "document" may be left out: documents are then read bare.

    Returns
    -------
    Prompts

    Raises
    ------
    UserError
        The file is missing or is not JSON of this form, names a task twice, names a task or subset
        that neither `mteb` nor the study knows, or a prompt holds a template's ``{query}`` or
        ``{instruction}``.
    """
    entries = _read(Path(path))
    if not isinstance(entries, dict) or not entries:
        raise UserError(
            f"{path} must be a JSON object with at least one task, such as "
            '{"STS17": {"query": "Retrieve text with the same meaning"}}, but it is '
            f"{'empty' if entries == {} else type(entries).__name__}."
        )
    subsets = _known_subsets()
    for name, entry in entries.items():
        _check_name(name, subsets, path)
        _check_entry(name, entry, path)
    return Prompts({name: {"document": "", **entry} for name, entry in entries.items()})


def _read(path: Path) -> Any:
    def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        repeated = [name for name in names if names.count(name) > 1]
        if repeated:
            raise UserError(f"{path} has {repeated[0]!r} twice. Remove one of the two.")
        return dict(pairs)

    try:
        return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=without_repeats)
    except OSError as error:
        raise UserError(
            f"The prompts {path} cannot be read ({error.strerror}). Correct the path, or leave "
            "the prompts out."
        ) from error
    except ValueError as error:
        raise UserError(
            f"{path} is not valid JSON: {error}. Correct it there; braces, quotes and commas are "
            "the usual places."
        ) from error


def _check_name(name: str, subsets: dict[str, list[str]], path: str | Path) -> None:
    task, slash, subset = name.partition("/")
    if task not in subsets:
        raise UserError(
            f"{path} has a prompt for {name!r}, but there is no task {task!r}."
            f"{did_you_mean(task, subsets, most=3)} Correct the name, or remove the entry."
        )
    if slash and subset not in subsets[task]:
        raise UserError(
            f"{path} has a prompt for {name!r}, but the task {task!r} has no subset {subset!r}; "
            f"it has {', '.join(subsets[task][:20])}.{did_you_mean(subset, subsets[task], most=3)} "
            "Correct the name, or remove the entry."
        )


def _check_entry(name: str, entry: Any, path: str | Path) -> None:
    if not isinstance(entry, dict) or "query" not in entry or set(entry) - set(ROLES):
        given = ", ".join(entry) or "nothing" if isinstance(entry, dict) else json.dumps(entry)
        raise UserError(
            f"{path}: the prompts of {name!r} must be an object with the key `query`, and "
            f'`document` if documents have one too, such as {{"query": "..."}}; it has {given}.'
        )
    for role, text in entry.items():
        if not isinstance(text, str):
            raise UserError(
                f"{path}: the prompt {role!r} of {name!r} is {json.dumps(text)}; it must be a "
                'text, "" for none.'
            )
        if "{query}" in text or "{instruction}" in text:
            raise UserError(
                f"{path}: the prompt {role!r} of {name!r} is {text!r}, a template. Give the "
                "instruction alone; the template is the model's."
            )


def _known_subsets() -> dict[str, list[str]]:
    """Subsets of each task that `mteb` or the study knows."""
    from mteb.get_tasks import TASK_LIST

    from hrsa.benchmarks.tasks import LOCAL_TASKS

    tasks: list[Any] = [*TASK_LIST, *LOCAL_TASKS.values()]
    return {task.metadata.name: list(task.metadata.hf_subsets) for task in tasks}

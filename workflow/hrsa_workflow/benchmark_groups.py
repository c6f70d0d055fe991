"""Groups of benchmark tasks: each is a job for a model, whose tasks share the loading of it.

Reading them needs no `mteb`, which takes seconds to import, unless sizes decide them. What only
`mteb` knows is checked once, by the process that plans the study.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hrsa.errors import UserError

LOCAL = "local"
NO_SUITE = "mteb"


@dataclass(frozen=True)
class TaskGroup:
    """Some tasks of one suite.

    Attributes
    ----------
    name : str
        Part of file names.
    suite : str
        "local" for generated tasks, "mteb" for tasks of no suite.
    tasks : tuple of str or None
        None: all of the suite but those `without`.
    languages : tuple of str or None
    without : tuple of str
    """

    name: str
    suite: str
    tasks: tuple[str, ...] | None
    languages: tuple[str, ...] | None = None
    without: tuple[str, ...] = ()

    @property
    def settings(self) -> dict[str, Any]:
        """What decides its tasks, as plain values."""
        return asdict(self)


def benchmark_groups(config: Mapping[str, Any]) -> dict[str, TaskGroup]:
    """Divide the benchmarks of a complete configuration into groups, by name.

    Raises
    ------
    UserError
        A suite is given twice, or `alone` names a task that is not among the entry's `tasks`.
    """
    benchmarks = config["benchmarks"]
    groups = [TaskGroup(LOCAL, LOCAL, tuple(benchmarks["tasks"]))] if benchmarks["tasks"] else []
    for number, entry in enumerate(benchmarks["suites"]):
        groups += _groups(entry, f"benchmarks.suites[{number}]")
    found: dict[str, TaskGroup] = {}
    for group in groups:
        if group.name in found:
            raise UserError(
                f"`benchmarks.suites` has {group.suite!r} twice; the results would share their "
                "files. Put the tasks of both entries into one."
            )
        found[group.name] = group
    return found


def check_suites(config: Mapping[str, Any], root: Path = Path()) -> None:
    """Check what only `mteb` knows: names of suites, tasks and languages, and those in prompts.

    Raises
    ------
    UserError
        The key, the name, and near names.
    """
    for number, entry in enumerate(config["benchmarks"]["suites"]):
        try:
            tasks = entry_tasks(entry.get("suite"), entry.get("tasks"), entry.get("languages"))
            _check_alone(entry, [task.metadata.name for task in tasks])
        except UserError as error:
            raise UserError(f"`benchmarks.suites[{number}]`: {error}") from None
    prompts = config["benchmarks"]["prompts"]
    if prompts is not None:
        from hrsa.benchmarks.task_prompts import load_prompts

        try:
            load_prompts(root / prompts)
        except UserError as error:
            raise UserError(f"`benchmarks.prompts`: {error}") from None


def entry_tasks(
    suite: str | None, tasks: list[str] | None, languages: list[str] | None
) -> list[Any]:
    """The `mteb` tasks of an entry of `benchmarks.suites`; imports `mteb`.

    Raises
    ------
    UserError
        `mteb` knows no such suite, task or language.
    """
    from hrsa.benchmarks.suites import mteb_tasks, suite_tasks

    if suite is None:
        return mteb_tasks(tasks or [], languages=languages)
    return suite_tasks(suite, tasks=tasks, languages=languages)


def entry_sizes(entry: Mapping[str, Any]) -> list[int | None]:
    """Characters of each task of an entry of `benchmarks.suites`, None if unknown; asks `mteb`."""
    from hrsa.benchmarks.suites import task_size

    tasks = entry_tasks(entry.get("suite"), entry.get("tasks"), entry.get("languages"))
    return [task_size(task) for task in tasks]


def _groups(entry: Mapping[str, Any], key: str) -> list[TaskGroup]:
    suite, tasks = entry.get("suite", NO_SUITE), entry.get("tasks")
    languages = tuple(entry["languages"]) if "languages" in entry else None
    stem = re.sub(r"[^A-Za-z0-9]+", "-", suite).strip("-")
    alone = entry["alone"]
    if isinstance(alone, int):
        return [
            TaskGroup(f"{stem}.{names[0]}", suite, tuple(names), languages)
            for names in _by_size(entry, alone)
        ]
    if tasks is not None:
        _check_alone(entry, tasks, key)
    rest = None if tasks is None else tuple(one for one in tasks if one not in alone)
    shared = TaskGroup(stem, suite, rest, languages, () if tasks else tuple(alone))
    own = [TaskGroup(f"{stem}.{one}", suite, (one,), languages) for one in alone]
    return ([shared] if rest is None or rest else []) + own


def _by_size(entry: Mapping[str, Any], limit: int) -> list[list[str]]:
    from hrsa.benchmarks.suites import task_groups

    tasks = entry_tasks(entry.get("suite"), entry.get("tasks"), entry.get("languages"))
    return task_groups(tasks, alone=limit)


def _check_alone(entry: Mapping[str, Any], tasks: list[str], key: str = "") -> None:
    alone = entry["alone"]
    unknown = [] if isinstance(alone, int) else [name for name in alone if name not in tasks]
    if not unknown:
        return
    nearest = difflib.get_close_matches(unknown[0], tasks, n=1, cutoff=0.5)
    hint = f" Did you mean `{nearest[0]}`?" if nearest else ""
    where = f"`{key}.alone`" if key else "`alone`"
    raise UserError(
        f"{where} names {unknown[0]!r}, which is not among the {len(tasks)} tasks of this entry."
        f"{hint} Correct the name, or leave it out."
    )

"""Groups of benchmark tasks: each is a job for a model, whose tasks share the loading of it.

Reading them needs no `mteb`, which takes seconds to import, unless sizes decide them. What only
`mteb` knows is checked once, by the process that plans the study.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hrsa.errors import UserError, did_you_mean

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
    smallest : bool
        Whether only the smallest of the tasks is run, as at smoke scale.
    """

    name: str
    suite: str
    tasks: tuple[str, ...] | None
    languages: tuple[str, ...] | None = None
    without: tuple[str, ...] = ()
    smallest: bool = False

    @property
    def stem(self) -> str:
        """How the names of all groups of its suite begin, which share what is kept of results."""
        return self.name.partition(".")[0]

    @property
    def settings(self) -> dict[str, Any]:
        """What decides its tasks, as plain values, and the stem."""
        return asdict(self) | {"stem": self.stem}


def benchmark_groups(config: Mapping[str, Any]) -> dict[str, TaskGroup]:
    """Divide the benchmarks of a complete configuration into groups, by name.

    Raises
    ------
    UserError
        As `check_entries`.
    """
    check_entries(config)
    benchmarks = config["benchmarks"]
    groups = [TaskGroup(LOCAL, LOCAL, tuple(benchmarks["tasks"]))] if benchmarks["tasks"] else []
    for entry in benchmarks["suites"]:
        groups += _groups(entry)
    return {group.name: group for group in groups}


def check_entries(config: Mapping[str, Any]) -> None:
    """Check what can be said of `benchmarks.suites` without `mteb`.

    Raises
    ------
    UserError
        A suite is given twice, or `alone` names a task that is not among the entry's `tasks`.
    """
    known = {LOCAL: "`benchmarks.tasks`"}
    for number, entry in enumerate(config["benchmarks"]["suites"]):
        key, stem = f"benchmarks.suites[{number}]", _stem(entry)
        if stem in known:
            said = repr(entry["suite"]) if "suite" in entry else "tasks of no suite"
            raise UserError(
                f"`{key}` is of {said}, and so is {known[stem]}, or has a name that is too much "
                "alike; their results would share files. Put the tasks of both into one entry."
            )
        known[stem] = f"`{key}`"
        if "tasks" in entry:
            _check_alone(entry, entry["tasks"], key)


def check_suites(
    config: Mapping[str, Any], root: Path = Path(), *, files: Iterable[Path] = ()
) -> None:
    """Check what only `mteb` knows: names of suites, tasks and languages, and those in prompts.

    Raises
    ------
    UserError
        The file (of `files`, which the configuration was read from), the key, the name, and near
        names.
    """
    where = "".join([", ".join(map(str, files)), ": "]).removeprefix(": ")
    for number, entry in enumerate(config["benchmarks"]["suites"]):
        try:
            tasks = entry_tasks(entry.get("suite"), entry.get("tasks"), entry.get("languages"))
            _check_alone(entry, [task.metadata.name for task in tasks])
        except UserError as error:
            raise UserError(f"{where}`benchmarks.suites[{number}]`: {error}") from None
    prompts = config["benchmarks"]["prompts"]
    if prompts is not None:
        from hrsa.benchmarks.task_prompts import load_prompts

        try:
            load_prompts(root / prompts)
        except UserError as error:
            raise UserError(f"{where}`benchmarks.prompts`: {error}") from None


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


def _stem(entry: Mapping[str, Any]) -> str:
    """How the names of an entry's groups begin; it has no dot, which follows it."""
    return re.sub(r"[^A-Za-z0-9]+", "-", entry.get("suite", NO_SUITE)).strip("-")


def _groups(entry: Mapping[str, Any]) -> list[TaskGroup]:
    suite, tasks, stem = entry.get("suite", NO_SUITE), entry.get("tasks"), _stem(entry)
    languages = tuple(entry["languages"]) if "languages" in entry else None
    if entry.get("smallest"):
        return [TaskGroup(stem, suite, tuple(tasks) if tasks else None, languages, smallest=True)]
    alone = entry["alone"]
    if isinstance(alone, int):
        return [
            TaskGroup(f"{stem}.{names[0]}", suite, tuple(names), languages)
            for names in _by_size(entry, alone)
        ]
    rest = None if tasks is None else tuple(one for one in tasks if one not in alone)
    shared = TaskGroup(stem, suite, rest, languages, () if tasks else tuple(alone))
    own = [TaskGroup(f"{stem}.{one}", suite, (one,), languages) for one in alone]
    return ([shared] if rest is None or rest else []) + own


def _by_size(entry: Mapping[str, Any], limit: int) -> list[list[str]]:
    from hrsa.benchmarks.suites import groups_by_size

    tasks = entry_tasks(entry.get("suite"), entry.get("tasks"), entry.get("languages"))
    return groups_by_size(tasks, limit)


def _check_alone(entry: Mapping[str, Any], tasks: list[str], key: str = "") -> None:
    alone = entry["alone"]
    unknown = [] if isinstance(alone, int) else [name for name in alone if name not in tasks]
    if not unknown:
        return
    where = f"`{key}.alone`" if key else "`alone`"
    raise UserError(
        f"{where} names {unknown[0]!r}, which is no task of this entry ({len(tasks)} in all)."
        f"{did_you_mean(unknown[0], tasks)} Correct the name, or leave it out."
    )

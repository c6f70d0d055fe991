"""Benchmark suites by `mteb`'s names for them, their tasks, and which tasks share a job.

Nothing here needs a network: `mteb` knows its tasks, their languages and the sizes of their data
without the data.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import mteb

from hrsa.errors import UserError, did_you_mean

__all__ = ["groups_by_size", "mteb_tasks", "suite_tasks", "task_size"]


def suite_tasks(
    name: str, *, tasks: Sequence[str] | None = None, languages: Sequence[str] | None = None
) -> list[Any]:
    """Give the tasks of a suite, or some of them.

    Parameters
    ----------
    name
        A benchmark as `mteb` names it: ``MTEB(Multilingual, v2)``, ``MTEB(Code, v1)``,
        ``BRIGHT(v1.1)``, ``BRIGHT`` and so on.
    tasks
        Names of the tasks to keep; None: all.
    languages
        Codes of languages ("eng", or "eng-Latn" with a script). Tasks without any of them are left
        out, unless `tasks` names them, and of the others the subsets without any of them.

    Returns
    -------
    list of `mteb` tasks, in the suite's order
        Copies: a change to one leaves `mteb`'s own as it was. Data are read when a task is run.

    Raises
    ------
    UserError
        `mteb` knows no such suite or language, the suite has no such task, a task that was asked
        for has none of the languages, or nothing is left.
    """
    suite = {task.metadata.name: task for task in _suite(name)}
    unknown = [task for task in tasks or [] if task not in suite]
    if unknown:
        raise UserError(
            f"The suite {name!r} has no task {unknown[0]!r}."
            f"{did_you_mean(unknown[0], suite, most=3)} "
            "Correct the name, leave the task out, or leave `tasks` out for the whole suite of "
            f"{len(suite)} tasks."
        )
    kept = [copy.deepcopy(task) for one, task in suite.items() if tasks is None or one in tasks]
    return _in_languages(kept, languages, name, asked_for=tasks is not None)


def mteb_tasks(names: Sequence[str], *, languages: Sequence[str] | None = None) -> list[Any]:
    """Give tasks that `mteb` knows, of whatever suite or none.

    Parameters
    ----------
    names
        Names of tasks, such as ``STS17``.
    languages
        As in `suite_tasks`.

    Returns
    -------
    list of `mteb` tasks, in the order of `names`

    Raises
    ------
    UserError
        `mteb` knows no such task or language, or a task has none of the languages.
    """
    known = {task.metadata.name: task for task in _all_tasks()}
    for name in names:
        if name not in known:
            raise UserError(
                f"mteb {mteb.__version__} knows no task {name!r}."
                f"{did_you_mean(name, known, most=3)} "
                "Correct the name, or leave the task out; `mteb available-tasks` lists all."
            )
    return _in_languages([known[name]() for name in names], languages, "mteb", asked_for=True)


def task_size(task: Any) -> int | None:
    """Tell how many characters a task's texts have, from the statistics that `mteb` ships.

    Characters, not texts: a document of BRIGHT's long tasks is as much work as hundreds of others.

    Returns
    -------
    int, over the task's own splits and subsets; None where `mteb` ships no statistics for them
    """
    statistics = task.metadata.descriptive_stats or {}
    sizes = [
        _characters(part)
        for split in task.eval_splits
        for part in _parts(statistics.get(split, {}), task)
    ]
    known = [size for size in sizes if size is not None]
    return sum(known) if known and len(known) == len(sizes) else None


def groups_by_size(tasks: Iterable[Any], limit: int) -> list[list[str]]:
    """Divide tasks into groups that share a job, and thus one loading of a model.

    Parameters
    ----------
    tasks
        `mteb` tasks.
    limit
        Characters, 1 or more: a larger task (`task_size`) is a group of its own, as is one whose
        size is not known; the others are put together, in their order, in groups of at most this
        size.

    Returns
    -------
    list of lists of names
        Each task once; groups in the order of their first tasks. The same for the same arguments.
    """
    groups: list[list[str]] = []
    open_group: list[str] = []
    filled = 0
    for task in tasks:
        name, size = task.metadata.name, task_size(task)
        if size is None or size > limit:
            groups.append([name])
            continue
        if not open_group or filled + size > limit:
            open_group, filled = [], 0
            groups.append(open_group)
        open_group.append(name)
        filled += size
    return groups


def _suite(name: str) -> list[Any]:
    try:
        return list(mteb.get_benchmark(name).tasks)
    except KeyError as error:
        known = [suite.name for suite in mteb.get_benchmarks()]
        raise UserError(
            f"mteb {mteb.__version__} knows no suite {name!r}.{did_you_mean(name, known, most=3)} "
            "Correct the name, or name single tasks; `mteb available-benchmarks` lists all."
        ) from error


def _in_languages(
    tasks: list[Any], languages: Sequence[str] | None, place: str, *, asked_for: bool
) -> list[Any]:
    """Narrow tasks to languages, within the subsets that they already have."""
    if languages is None:
        return tasks
    _check_languages(languages)
    kept = []
    for task in tasks:
        try:
            kept.append(task.filter_languages(list(languages), hf_subsets=set(task.hf_subsets)))
        except ValueError as error:
            if asked_for:
                raise UserError(
                    f"The task {task.metadata.name!r} has no text in {', '.join(languages)}; its "
                    f"languages are {', '.join(sorted(task.metadata.languages))}. Leave the task "
                    "out, or add one of them to `languages`."
                ) from error
    if not kept:
        raise UserError(
            f"No task of {place!r} has text in {', '.join(languages)}. Name a language of its "
            "tasks, or leave `languages` out."
        )
    return kept


def _check_languages(languages: Sequence[str]) -> None:
    from mteb.languages import ISO_TO_LANGUAGE, ISO_TO_SCRIPT

    if not languages:
        raise UserError("`languages` is empty. Name one at least, or leave it out for all.")
    for language in languages:
        code, _, script = language.partition("-")
        if code not in ISO_TO_LANGUAGE or (script and script not in ISO_TO_SCRIPT):
            raise UserError(
                f"mteb knows no language {language!r}. Languages are written as their three "
                "letters in ISO 639-3, such as eng or deu, or with a script, such as eng-Latn."
            )


def _all_tasks() -> Sequence[type[Any]]:
    # `mteb.get_tasks` is a function that leaves some tasks out, in a module of the same name.
    from mteb.get_tasks import TASK_LIST

    return TASK_LIST


def _parts(split: dict[str, Any], task: Any) -> list[dict[str, Any]]:
    """Statistics of a split as a whole, or of its subsets where only some of them are run."""
    subsets = split.get("hf_subset_descriptive_stats") or {}
    if set(task.hf_subsets) == set(task.metadata.hf_subsets):
        return [split]
    return [subsets.get(subset, {}) for subset in task.hf_subsets]


def _characters(statistics: dict[str, Any]) -> int | None:
    lengths = [
        part["total_text_length"]
        for part in statistics.values()
        if isinstance(part, dict) and "total_text_length" in part
    ]
    return sum(lengths) if lengths else statistics.get("number_of_characters")

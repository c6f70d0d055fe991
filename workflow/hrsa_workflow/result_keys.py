"""What the result of a benchmark task was made from: a kept result is right while that is the same.

Where a model is computed (`device`, and the build of torch for it) is left out, as with
activations.
"""

import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hrsa_workflow.model_identity import model_part
from hrsa_workflow.task_results import plain, prompted_names

# That embed texts, or score them beside mteb; of BM25, that rank.
LIBRARIES = ("sentence-transformers", "transformers", "torch", "scikit-learn")
LEXICAL_LIBRARIES = ("bm25s",)


def common_key(record: Path | None, settings: Mapping[str, Any], code: str) -> dict[str, Any]:
    """What the results of all tasks of a model depend on.

    Parameters
    ----------
    record
        The model's record.json; None for BM25.
    settings
        max_length, batch_size, dtype, mteb (its version).
    code
        Version of the code that makes results.
    """
    names = ("max_length", "batch_size", "dtype")
    return {
        "model": model_part(json.loads(record.read_text(encoding="utf-8")), record.parent, None)
        if record
        else None,
        "settings": {name: settings[name] for name in names} if record else None,
        "mteb": settings["mteb"],
        "libraries": {
            name: installed.partition("+")[0]
            for name, installed in libraries(is_lexical=record is None).items()
        },
        "code": code,
    }


def task_key(
    task: Any, settings: Mapping[str, Any], data: Any, prompts: str | None
) -> dict[str, Any]:
    """What the result of one task depends on besides.

    Parameters
    ----------
    task : `hrsa.benchmarks.task_runs.BenchmarkTask`
    settings
        seeds, query_template.
    data
        What decides the data of a generated task.
    prompts
        File of prompts; None where the model reads none.
    """
    key: dict[str, Any] = plain(
        {
            "suite": task.suite,
            **_texts_of(task),
            "seeds": task.seeds(settings["seeds"]),
            "data": data,
            "prompts": _prompts_of(prompted_names(task), prompts, settings["query_template"]),
        }
    )
    return key


def _texts_of(task: Any) -> dict[str, Any]:
    """Which texts a task has; a mean of tasks has those of its parts."""
    texts = {
        "revision": task.task.metadata.dataset.get("revision"),
        "splits": list(task.task.eval_splits),
        "subsets": sorted(task.task.hf_subsets),
    }
    return texts | {"parts": {part.name: _texts_of(part) for part in task.parts}}


def libraries(*, is_lexical: bool) -> dict[str, str]:
    """Versions of the libraries that a result depends on beside mteb, builds included."""
    return {name: version(name) for name in (LEXICAL_LIBRARIES if is_lexical else LIBRARIES)}


def _prompts_of(tasks: Iterable[str], prompts: str | None, template: str | None) -> Any:
    if prompts is None:
        return None
    tasks, entries = set(tasks), _prompt_entries(prompts)
    own = {name: entry for name, entry in entries.items() if name.split("/")[0] in tasks}
    return [template, own] if own else None


@cache
def _prompt_entries(prompts: str) -> dict[str, Any]:
    from hrsa.benchmarks.task_prompts import load_prompts

    return load_prompts(prompts).entries

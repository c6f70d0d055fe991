"""Evaluation of a model on benchmark tasks: `mteb` scores, one tidy row per task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import mteb
import numpy as np
import pandas as pd

from hrsa.benchmarks.encoders import LexicalSearch, load_encoder
from hrsa.benchmarks.intervals import bootstrap_interval, score_interval
from hrsa.benchmarks.shared_embeddings import SharedEmbeddings
from hrsa.benchmarks.tasks import LOCAL_TASKS, SUITE, local_tasks
from hrsa.models.loading import Attention

__all__ = ["BENCHMARK_COLUMNS", "BM25", "bootstrap_interval", "evaluate", "load_reader"]

BENCHMARK_COLUMNS = [
    *("suite", "task", "type", "metric"),
    *("value", "ci_low", "ci_high", "chance", "n_items", "evaluation_seeds", "note"),
]
BM25 = "bm25"


def load_reader(
    model: Path | Literal["bm25"], *, attention: Attention | None = None, device: str = "cpu"
) -> SharedEmbeddings | LexicalSearch:
    """Load what reads texts for the tasks; it embeds a text once, however many tasks have it.

    Parameters
    ----------
    model
        Model folder (see `hrsa.benchmarks.encoders.load_encoder`), or "bm25", which retrieves
        words and so takes part in retrieval tasks only.
    attention
        "causal", "bidirectional", or None: as the model's folder says.
    device
        Where torch computes.

    Raises
    ------
    UserError
        The model cannot be loaded.
    """
    if model == BM25:
        return LexicalSearch()
    return SharedEmbeddings(load_encoder(Path(model), attention=attention, device=device))


def evaluate(
    model: Path | Literal["bm25"] | SharedEmbeddings | LexicalSearch,
    tasks: Iterable[str],
    *,
    corpus: Path,
    output: Path,
    seeds: Sequence[int] = (42,),
    batch_size: int = 64,
    attention: Attention | None = None,
    device: str = "cpu",
) -> pd.DataFrame:
    """Evaluate a model on tasks of the study, without a network.

    Parameters
    ----------
    model
        As `load_reader` takes it, or what that gave, so that several calls share embeddings.
    tasks
        Names of tasks (`hrsa.benchmarks.tasks.LOCAL_TASKS`).
    corpus
        Folder with the tasks' Parquet files.
    output
        Folder for `mteb`'s own results (``<task>.json``, or ``<task>.seed<seed>.json`` with several
        seeds) and for what each score is computed from (``<task>.items.parquet``, columns by type
        of task: `hrsa.benchmarks.items`).
    seeds
        Seeds of the draws of training or clustered texts; scores are averaged over them.
    batch_size
        Texts per forward pass.
    attention, device
        As in `load_reader`, for a model that is not loaded yet.

    Returns
    -------
    DataFrame with `BENCHMARK_COLUMNS`
        One row per task: `mteb`'s main score with a 95 % interval over items (queries, test texts,
        pairs), which holds the model, its training texts and clusters fixed, and the score to be
        expected of embeddings that say nothing. `evaluation_seeds` names the seeds that the score
        is a mean over, "" for a task that draws nothing.

    Raises
    ------
    UserError
        An unknown task, missing data, or a model that cannot be loaded.
    """
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    names = [task.metadata.name for task in local_tasks(tasks, corpus)]
    if isinstance(model, SharedEmbeddings | LexicalSearch):
        reader = model
    else:
        reader = load_reader(model, attention=attention, device=device)
    if isinstance(reader, LexicalSearch):
        names = [name for name in names if "Retrieval" in name]
    rows = []
    for name in names:
        used = seeds if LOCAL_TASKS[name].draws_samples else seeds[:1]
        runs = {seed: _run(reader, name, corpus, seed, batch_size) for seed in used}
        for seed, (_, result) in runs.items():
            suffix = f".seed{seed}" if len(used) > 1 else ""
            result.to_disk(output / f"{name}{suffix}.json")
        rows.append(_row(name, runs, output))
    return pd.DataFrame(rows, columns=BENCHMARK_COLUMNS)


def _run(encoder: Any, name: str, corpus: Path, seed: int, batch_size: int) -> tuple[Any, Any]:
    """Run one task once; gives the task, which holds its items, and `mteb`'s result."""
    (task,) = local_tasks([name], corpus, seed=seed)
    # Loaded beforehand, since mteb forgets the data, the ids with them, that it loaded itself.
    task.load_data()
    results = mteb.evaluate(
        encoder,
        task,
        cache=None,  # the default writes to the home directory
        co2_tracker=False,
        encode_kwargs={"batch_size": batch_size, "show_progress_bar": False},
        show_progress_bar=False,
    )
    return task, results.task_results[0]


def _row(name: str, runs: dict[int, tuple[Any, Any]], output: Path) -> dict[str, Any]:
    task = next(iter(runs.values()))[0]
    items = _kept_items(runs)
    items.to_parquet(output / f"{name}.items.parquet", index=False)
    low, high, note = score_interval(task.metadata.type, items, item=task.item)
    return {
        "suite": SUITE,
        "task": name,
        "type": task.metadata.type,
        "metric": task.metadata.main_score,
        "value": float(np.mean([result.get_score() for _, result in runs.values()])),
        "ci_low": low,
        "ci_high": high,
        "chance": task.chance(),
        "n_items": items["item"].nunique(),
        "evaluation_seeds": " ".join(map(str, runs)) if task.draws_samples else "",
        "note": "; ".join([note, *_experiments(runs)]),
    }


def _kept_items(runs: dict[int, tuple[Any, Any]]) -> pd.DataFrame:
    """Items of all runs; where a task draws samples, with the seed that drew them."""
    parts = [
        task.items().assign(**({"seed": seed} if task.draws_samples else {}))
        for seed, (task, _) in runs.items()
    ]
    return pd.concat(parts, ignore_index=True)


def _experiments(runs: dict[int, tuple[Any, Any]]) -> list[str]:
    """Say how far `mteb`'s experiments, each with other texts, lie apart."""
    values = [value for task, result in runs.values() for value in _of_experiments(task, result)]
    if not values:
        return []
    drawn = next(iter(runs.values()))[0].drawn
    spread = f"{min(values):.3f} to {max(values):.3f}, standard deviation {np.std(values):.3f}"
    return [f"mean of {len(values)} draws of {drawn} ({spread})"]


def _of_experiments(task: Any, result: Any) -> list[float]:
    scores = result.scores["test"][0]
    levels = scores.get("v_measures", {})
    experiments = scores.get("scores_per_experiment", [])
    return [value for level in levels.values() for value in level] + [
        experiment[task.metadata.main_score] for experiment in experiments
    ]

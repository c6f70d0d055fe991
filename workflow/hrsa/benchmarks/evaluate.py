"""Evaluation of a model on benchmark tasks: `mteb` scores, one tidy row per task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import mteb
import numpy as np
import pandas as pd

from hrsa.benchmarks.encoders import LexicalSearch, load_encoder
from hrsa.benchmarks.tasks import LOCAL_TASKS, SUITE, local_tasks
from hrsa.models.loading import Attention

BENCHMARK_COLUMNS = [
    *("suite", "task", "type", "metric"),
    *("value", "ci_low", "ci_high", "n_items", "note"),
]
RESAMPLES = 2000
BM25 = "bm25"


def evaluate(
    model: Path | Literal["bm25"],
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
        Model folder (see `hrsa.benchmarks.encoders.load_encoder`), or "bm25", which retrieves
        words and so takes part in retrieval tasks only.
    tasks
        Names of tasks (`hrsa.benchmarks.tasks.LOCAL_TASKS`).
    corpus
        Folder with the tasks' Parquet files.
    output
        Folder for `mteb`'s own results (``<task>.json``, or ``<task>.seed<seed>.json`` with several
        seeds) and for the score of each item (``<task>.items.parquet``: item, value).
    seeds
        Seeds of the draws of training texts; scores are averaged over them.
    batch_size
        Texts per forward pass.
    attention
        "causal", "bidirectional", or None: as the model's folder says.
    device
        Where torch computes.

    Returns
    -------
    DataFrame with `BENCHMARK_COLUMNS`
        One row per task: `mteb`'s main score with a 95 % interval over items (queries, test texts),
        which holds the model and its training texts fixed.

    Raises
    ------
    UserError
        An unknown task, missing data, or a model that cannot be loaded.
    """
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    names = [task.metadata.name for task in local_tasks(tasks, corpus)]
    if model == BM25:
        names = [name for name in names if "Retrieval" in name]
        encoder: Any = LexicalSearch()
    else:
        encoder = load_encoder(Path(model), attention=attention, device=device)
    rows = []
    for name in names:
        used = seeds if LOCAL_TASKS[name].draws_samples else seeds[:1]
        runs = [_run(encoder, name, corpus, seed, batch_size) for seed in used]
        for seed, (_, result) in zip(used, runs, strict=True):
            suffix = f".seed{seed}" if len(used) > 1 else ""
            result.to_disk(output / f"{name}{suffix}.json")
        rows.append(_row(runs, output))
    return pd.DataFrame(rows, columns=BENCHMARK_COLUMNS)


def bootstrap_interval(values: np.ndarray, *, seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap interval of a mean over independent items.

    Parameters
    ----------
    values
        Score of each item, shape (n_items,).
    seed
        Seed of the resamples, the same for all models, so that equal scores give equal intervals.

    References
    ----------
    Efron & Tibshirani (1993), An Introduction to the Bootstrap, ch. 13.
    """
    n_items = len(values)
    draws = np.random.default_rng(seed).integers(n_items, size=(RESAMPLES, n_items))
    low, high = np.quantile(values[draws].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def _run(encoder: Any, name: str, corpus: Path, seed: int, batch_size: int) -> tuple[Any, Any]:
    """Run one task once; gives the task, which holds the items' scores, and `mteb`'s result."""
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


def _row(runs: list[tuple[Any, Any]], output: Path) -> dict[str, Any]:
    task = runs[0][0]
    items = pd.concat([run.item_scores() for run, _ in runs], axis=1).mean(axis=1)
    items.rename("value").rename_axis("item").reset_index().to_parquet(
        output / f"{task.metadata.name}.items.parquet", index=False
    )
    low, high = bootstrap_interval(items.to_numpy())
    note = f"interval: percentile bootstrap over {len(items)} test items ({task.item})"
    return {
        "suite": SUITE,
        "task": task.metadata.name,
        "type": task.metadata.type,
        "metric": task.metadata.main_score,
        "value": float(np.mean([result.get_score() for _, result in runs])),
        "ci_low": low,
        "ci_high": high,
        "n_items": len(items),
        "note": "; ".join([note, *_experiments(runs)]),
    }


def _experiments(runs: list[tuple[Any, Any]]) -> list[str]:
    """Say how far `mteb`'s experiments, each with other training texts, lie apart."""
    values = [
        experiment[task.metadata.main_score]
        for task, result in runs
        for experiment in result.scores["test"][0].get("scores_per_experiment", [])
    ]
    if not values:
        return []
    spread = f"{min(values):.3f} to {max(values):.3f}, standard deviation {np.std(values):.3f}"
    return [f"mean of {len(values)} draws of training texts ({spread})"]

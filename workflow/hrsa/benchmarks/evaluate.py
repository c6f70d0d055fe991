"""Evaluation of a model on benchmark tasks: `mteb` scores, one tidy row per task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from hrsa.benchmarks.encoders import LexicalSearch, load_encoder
from hrsa.benchmarks.prompted_encoder import PromptedEmbeddings, PromptedEncoder
from hrsa.benchmarks.shared_embeddings import SharedEmbeddings
from hrsa.benchmarks.task_prompts import Prompts
from hrsa.benchmarks.task_runs import (
    BENCHMARK_COLUMNS,
    generated_task,
    run_task,
)
from hrsa.models.loading import Attention

__all__ = [
    *("BENCHMARK_COLUMNS", "BM25"),
    *("evaluate", "load_reader", "takes_part"),
]

BM25 = "bm25"
# What BM25 takes part in: it ranks documents and does nothing else.
LEXICAL_TYPES = ("Retrieval", "InstructionRetrieval")


def takes_part(task_type: str, *, lexical: bool) -> bool:
    """Whether a model takes part in tasks of a type: BM25 (`lexical`) in few, others in all."""
    return not lexical or task_type in LEXICAL_TYPES


def load_reader(
    model: Path | Literal["bm25"],
    *,
    attention: Attention | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    max_length: int | None = None,
    prompts: Prompts | None = None,
    template: str | None = None,
    share: bool = True,
) -> Any:
    """Load what reads texts for the tasks.

    Parameters
    ----------
    model
        Model folder (see `hrsa.benchmarks.encoders.load_encoder`), or "bm25", which retrieves
        words and so takes part in retrieval tasks only.
    attention, device, dtype, max_length
        As in `load_encoder`.
    prompts, template
        What is put before queries, and the model's template for it
        (`hrsa.benchmarks.prompted_encoder`); None: nothing.
    share
        Whether a text is embedded once, however many tasks have it. All embeddings are then kept in
        memory, which the texts of large tasks do not fit.

    Returns
    -------
    `mteb` encoder or search model

    Raises
    ------
    UserError
        The model cannot be loaded, or the template is not of the form that it must have.
    """
    if model == BM25:
        return LexicalSearch()
    encoder: Any = load_encoder(
        Path(model), attention=attention, device=device, dtype=dtype, max_length=max_length
    )
    if prompts is None:
        return SharedEmbeddings(encoder) if share else encoder
    prompted = PromptedEncoder(encoder, prompts, template=template or "")
    return PromptedEmbeddings(prompted) if share else prompted


def evaluate(
    model: Any,
    tasks: Iterable[str],
    *,
    corpus: Path,
    output: Path,
    seeds: Sequence[int] = (42,),
    batch_size: int = 64,
    attention: Attention | None = None,
    device: str = "cpu",
) -> pd.DataFrame:
    """Evaluate a model on the study's own tasks, without a network.

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
        An unknown task, missing data, a model that cannot be loaded, or an undefined score.
    """
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    asked = [generated_task(name, corpus) for name in tasks]
    is_model = isinstance(model, str | Path)
    reader = load_reader(model, attention=attention, device=device) if is_model else model
    lexical = isinstance(reader, LexicalSearch)
    rows = [
        run_task(reader, task, output=output, seeds=seeds, batch_size=batch_size)
        for task in asked
        if takes_part(task.type, lexical=lexical)
    ]
    return pd.DataFrame(rows, columns=BENCHMARK_COLUMNS)

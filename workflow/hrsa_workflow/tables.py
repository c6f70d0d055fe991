"""Columns and types of the tidy tables, so that an empty one is typed like a full one."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

# pandas' names of the types; Any, since its stubs know them only as literals.
TEXT: Any = "string"
NUMBER: Any = "float64"
WHOLE: Any = "Int64"

SIMILARITY = {
    **dict.fromkeys(("pair", "kind", "stage", "reference", "candidate"), TEXT),
    **dict.fromkeys(("seed", "step"), WHOLE),
    **dict.fromkeys(("dataset", "metric", "statistic", "view", "variant"), TEXT),
    **dict.fromkeys(("k", "layer_reference", "layer_candidate"), WHOLE),
    **dict.fromkeys(("value", "se", "ci_low", "ci_high"), NUMBER),
    "interval_method": TEXT,
    **dict.fromkeys(("chance", "p"), NUMBER),
    "holm_family": TEXT,
    **dict.fromkeys(("p_holm", "floor"), NUMBER),
    **dict.fromkeys(("n_tokens", "n_samples"), WHOLE),
    "note": TEXT,
}
BENCHMARKS = {
    **dict.fromkeys(("model", "recipe"), TEXT),
    **dict.fromkeys(("seed", "step"), WHOLE),
    **dict.fromkeys(("suite", "task", "type", "metric"), TEXT),
    **dict.fromkeys(("value", "ci_low", "ci_high", "chance"), NUMBER),
    "n_items": WHOLE,
    **dict.fromkeys(("evaluation_seeds", "note"), TEXT),
}
# Means over the tasks of a suite (hrsa.benchmarks.aggregation).
BENCHMARK_MEANS = {
    **dict.fromkeys(("model", "recipe"), TEXT),
    **dict.fromkeys(("seed", "step"), WHOLE),
    **dict.fromkeys(("suite", "mean", "type"), TEXT),
    **dict.fromkeys(("value", "value_of_present"), NUMBER),
    **dict.fromkeys(("n_tasks", "n_missing"), WHOLE),
    "complete": "bool",
    "note": TEXT,
}
ACCURACY = {
    **dict.fromkeys(("model", "recipe"), TEXT),
    **dict.fromkeys(("seed", "step"), WHOLE),
    **dict.fromkeys(("split", "decoding"), TEXT),
    **dict.fromkeys(("accuracy", "ci_low", "ci_high"), NUMBER),
    "n": WHOLE,
}
DOSE = {
    "model": TEXT,
    **dict.fromkeys(("seed", "step"), WHOLE),
    "parent": TEXT,
    **dict.fromkeys(("relative_weight_change", "kl_to_parent"), NUMBER),
    **dict.fromkeys(("n_tokens", "train_tokens"), WHOLE),
}
# Made from the similarity table and the replicates behind it (hrsa.reporting.effects).
EFFECTS = {
    **dict.fromkeys(("pair", "kind", "stage", "dataset", "metric", "statistic", "variant"), TEXT),
    **dict.fromkeys(("k", "layer"), WHOLE),
    **dict.fromkeys(("value", "floor", "effect", "se", "ci_low", "ci_high"), NUMBER),
    "interval_method": TEXT,
    "n_seeds": WHOLE,
    **dict.fromkeys(("dose", "note"), TEXT),
}

SPLIT_HALF = {
    **dict.fromkeys(("stage", "dataset", "metric", "statistic", "variant"), TEXT),
    **dict.fromkeys(("k", "n_cells"), WHOLE),
    **dict.fromkeys(("correlation", "reliability", "mean_difference"), NUMBER),
    **dict.fromkeys(("rms_difference", "rms_expected"), NUMBER),
    "note": TEXT,
}

# Made from the scores of pairs and what they are computed from (hrsa.benchmarks.differences).
DIFFERENCES = {
    **dict.fromkeys(("pair", "kind", "reference", "candidate", "level"), TEXT),
    **dict.fromkeys(("suite", "task", "type"), TEXT),
    "seed": WHOLE,
    **dict.fromkeys(("delta", "se", "df"), NUMBER),
    "n": WHOLE,
    **dict.fromkeys(("ci90_low", "ci90_high", "ci95_low", "ci95_high", "p_difference"), NUMBER),
    "holm_family": TEXT,
    **dict.fromkeys(("p_holm", "p_tost", "margin"), NUMBER),
    "verdict": TEXT,
    **dict.fromkeys(("smallest_margin", "detectable_difference"), NUMBER),
    **dict.fromkeys(("units_needed", "n_items"), WHOLE),
    "note": TEXT,
}

# Made from the published numbers (hrsa.reporting.reanalysis).
REANALYSIS = {
    **dict.fromkeys(("pair", "kind", "suite"), TEXT),
    **dict.fromkeys(("delta", "std"), NUMBER),
    "n_seeds": WHOLE,
    **dict.fromkeys(("margin", "ci90_low", "ci90_high", "ci95_low", "ci95_high"), NUMBER),
    "p_tost": NUMBER,
    "verdict": TEXT,
}
PUBLISHED_ALIGNMENT = {
    **dict.fromkeys(("measure", "stage", "dataset"), TEXT),
    **dict.fromkeys(("k", "n_sft", "n_rlvr"), WHOLE),
    **dict.fromkeys(("median_sft", "median_rlvr", "share_sft_higher", "p", "least_p"), NUMBER),
}

# Made from all of these and from the published numbers (hrsa.reporting.claims).
CLAIMS = {
    **dict.fromkeys(("id", "claim", "level", "metric", "statistic", "source", "stage"), TEXT),
    **dict.fromkeys(("pairs", "direction"), TEXT),
    **dict.fromkeys(("effect", "se", "ci_low", "ci_high", "ci90_low", "ci90_high"), NUMBER),
    **dict.fromkeys(("chance", "floor", "margin", "p", "p_tost"), NUMBER),
    **dict.fromkeys(("verdict", "reason", "conditional_on"), TEXT),
    **dict.fromkeys(("n_seeds", "n_pairs"), WHOLE),
    "dose": TEXT,
}

# Columns of training curves that figures show; a recipe logs some of them.
LOGGED = ("loss", "reward", "accuracy", "format", "entropy", "completion_length", "kl")


def typed(tables: Sequence[pd.DataFrame], columns: Mapping[str, Any]) -> pd.DataFrame:
    """Join tables into one with exactly these columns and types; none gives an empty table."""
    parts = [
        pd.DataFrame(
            {
                name: _column(table[name], dtype) if name in table else _missing(table, dtype)
                for name, dtype in columns.items()
            }
        )
        for table in tables
    ]
    empty = pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in columns.items()})
    return pd.concat(parts, ignore_index=True) if parts else empty


def _column(values: pd.Series, dtype: Any) -> pd.Series:
    values = values.reset_index(drop=True)
    if dtype == TEXT:
        return values.astype(TEXT)
    return pd.to_numeric(values).astype(dtype)


def _missing(table: pd.DataFrame, dtype: Any) -> pd.Series:
    return pd.Series([None] * len(table), dtype=dtype)


TABLES = {
    "similarity": SIMILARITY,
    "benchmarks": BENCHMARKS,
    "accuracy": ACCURACY,
    "dose": DOSE,
}


def read(paths: Sequence[str], columns: Mapping[str, Any]) -> pd.DataFrame:
    """Read and join the tables that several jobs wrote."""
    return typed([pd.read_parquet(path) for path in paths], columns)


def dose_of_model(
    record: Mapping[str, Any],
    *,
    labels: Mapping[str, Any],
    parent: str | None,
    divergence: Mapping[int | None, Mapping[str, float | int]],
) -> pd.DataFrame:
    """Rows of the dose table for a language model; none for one that was not trained in the study.

    Parameters
    ----------
    record : mapping
        The model's record; that of a model from outside says nothing of its training.
    labels : mapping
        Columns that name the instance.
    parent : str or None
    divergence : mapping
        As `hrsa.models.dose.kl_to_parent` gives it, for each step of a checkpoint, and for the
        final model (None); empty without a parent.
    """
    if not parent and record.get("train_tokens") is None:
        return typed([], DOSE)
    rows = []
    for step in sorted(divergence, key=lambda step: (step is None, step or 0)) or [None]:
        trained = record if step is None else record["checkpoints"][str(step)]
        dose = {name: trained.get(name) for name in ("relative_weight_change", "train_tokens")}
        rows.append({**labels, "step": step, "parent": parent, **dose, **divergence.get(step, {})})
    return typed([pd.DataFrame(rows)], DOSE)


def dose_rows(records: Sequence[Path], labels: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Rows of the dose table for models that write no text, from their records."""
    rows = []
    for path in records:
        record = json.loads(path.read_text(encoding="utf-8"))
        steps = {int(step): one for step, one in record.get("checkpoints", {}).items()}
        for step, trained in [*sorted(steps.items()), (None, record)]:
            dose = {name: trained.get(name) for name in ("relative_weight_change", "train_tokens")}
            row = {**labels[str(path)], "step": step, "parent": record.get("parent"), **dose}
            rows.append(row)
    return typed([pd.DataFrame(rows)], DOSE)


def read_curves(paths: Sequence[str], labels: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Join training curves; what a recipe does not log is missing."""
    columns = ["model", "recipe", "seed", "step", *LOGGED]
    parts = []
    for path, label in zip(paths, labels, strict=True):
        curve = pd.read_csv(path)
        if not curve.empty:
            parts.append(curve.assign(**{key: label[key] for key in ("model", "recipe", "seed")}))
    if not parts:
        return pd.DataFrame(columns=columns)
    return pd.concat(parts, ignore_index=True).reindex(columns=columns)

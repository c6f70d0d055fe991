"""Small tables for the report: one row per pair or model, one column per headline number."""

import pandas as pd

from hrsa.figures.benchmarks import mean_and_spread
from hrsa.figures.frames import (
    HEADLINES,
    STAGES,
    Headline,
    final_layer,
    headline_rows,
    instance_label,
    ordered_pairs,
    prepare,
    prepare_similarity,
)

_PAIR_COLUMNS = ("pair", "kind", "stage", "data set", "seeds")


def similarity_summary(similarity: pd.DataFrame) -> pd.DataFrame:
    """Return the similarity of the final layers, one row per pair and data set.

    Parameters
    ----------
    similarity : DataFrame
        The similarity table.

    Returns
    -------
    DataFrame
        Columns pair, kind, stage, data set, seeds, and one per headline number. Cells are texts:
        the value with its 95 % interval in brackets, or the mean with the range over seeds in
        parentheses; empty where not computed.
    """
    frame = prepare_similarity(similarity)
    frame = final_layer(frame[frame["step"].isna()])
    records = []
    for stage in STAGES:
        of_stage = frame[frame["stage"] == stage]
        for pair, kind in ordered_pairs(of_stage):
            of_pair = of_stage[of_stage["pair"] == pair]
            for dataset, rows in of_pair.groupby("dataset", sort=True):
                cells = {headline.label: _cell(rows, headline) for headline in HEADLINES}
                seeds = max(int(rows["seed"].nunique()), 1)
                labels = (pair, kind, stage, dataset, seeds)
                records.append(dict(zip(_PAIR_COLUMNS, labels, strict=True)) | cells)
    columns = [*_PAIR_COLUMNS, *(headline.label for headline in HEADLINES)]
    return pd.DataFrame(records, columns=columns)


def accuracy_summary(accuracy: pd.DataFrame) -> pd.DataFrame:
    """Return accuracies with their 95 % intervals, one row per trained model.

    Parameters
    ----------
    accuracy : DataFrame
        The table of accuracies.

    Returns
    -------
    DataFrame
        Column model, and one column of texts per split and decoding.
    """
    columns = ("model", "seed", "step", "split", "decoding", "accuracy", "ci_low", "ci_high")
    frame = prepare(accuracy, columns, "the table of accuracies")
    frame = frame[frame["step"].isna()]
    frame = frame.assign(
        model=[instance_label(*key) for key in zip(frame["model"], frame["seed"], strict=True)],
        column=frame["split"] + ", " + frame["decoding"],
        text=[
            _with_interval(*cell)
            for cell in zip(frame["accuracy"], frame["ci_low"], frame["ci_high"], strict=True)
        ],
    )
    wide = frame.pivot_table(index="model", columns="column", values="text", aggfunc="first")
    return wide.rename_axis(columns=None).reset_index()


def benchmark_summary(benchmarks: pd.DataFrame) -> pd.DataFrame:
    """Return scores as mean and spread over seeds, one row per model, one column per task.

    Parameters
    ----------
    benchmarks : DataFrame
        The table of benchmarks.
    """
    columns = ("model", "seed", "step", "task", "value")
    frame = prepare(benchmarks, columns, "the table of benchmarks")
    frame = frame[frame["step"].isna() & frame["value"].notna()]
    grouped = frame.groupby(["model", "task"], sort=True)["value"]
    texts = {key: mean_and_spread(values) for key, values in grouped}
    tasks = sorted(set(frame["task"]))
    records = [
        {"model": model} | {task: texts.get((model, task), "") for task in tasks}
        for model in sorted(set(frame["model"]))
    ]
    return pd.DataFrame(records, columns=["model", *tasks])


def _cell(rows: pd.DataFrame, headline: Headline) -> str:
    """Write a headline number at the final layer, whatever layers its figure averages."""
    found = headline_rows(rows, headline, layer="final").dropna(subset="value")
    if found.empty:
        return ""
    if len(found) == 1:
        return _with_interval(*found[["value", "ci_low", "ci_high"]].iloc[0])
    low, high = found["value"].min(), found["value"].max()
    return f"{found['value'].mean():.3f} ({low:.3f} to {high:.3f})"


def _with_interval(value: float, low: float, high: float) -> str:
    if pd.isna(value):
        return ""
    if pd.isna(low) or pd.isna(high):
        return f"{value:.3f}"
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"

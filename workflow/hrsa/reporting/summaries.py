"""Small tables for the report: one row per pair or model, one column per headline number."""

from typing import Any

import pandas as pd

from hrsa.figures.benchmarks import mean_and_spread
from hrsa.figures.frames import (
    HEADLINES,
    KIND_ORDER,
    MEAN_LAYER,
    STAGES,
    Headline,
    final_layer,
    floor_rows,
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
        parentheses; empty where not computed. Below the pairs of a stage stand, for each data set,
        the seed floor and the chance level.
    """
    frame = prepare_similarity(similarity)
    frame = final_layer(frame[frame["step"].isna()])
    records: list[dict[str, Any]] = []
    for stage in STAGES:
        of_stage = frame[frame["stage"] == stage]
        for pair, kind in ordered_pairs(of_stage):
            of_pair = of_stage[of_stage["pair"] == pair]
            for dataset, rows in of_pair.groupby("dataset", sort=True):
                cells = {headline.label: _cell(rows, headline) for headline in HEADLINES}
                seeds = max(int(rows["seed"].nunique()), 1)
                labels = (pair, kind, stage, dataset, seeds)
                records.append(dict(zip(_PAIR_COLUMNS, labels, strict=True)) | cells)
        for dataset, rows in of_stage.groupby("dataset", sort=True):
            for name, cells in _reference_lines(rows).items():
                line = (name, "", stage, dataset, None)
                records.append(dict(zip(_PAIR_COLUMNS, line, strict=True)) | cells)
    columns = [*_PAIR_COLUMNS, *(headline.label for headline in HEADLINES)]
    return pd.DataFrame(records, columns=columns).astype({"seeds": "Int64"})


def effects_summary(effects: pd.DataFrame) -> pd.DataFrame:
    """Return effects beyond the seed floor, one row per pair and data set.

    Parameters
    ----------
    effects : DataFrame
        The table of effects.

    Returns
    -------
    DataFrame
        Columns pair, kind, stage, data set, seeds, and one per headline number at its own layer
        (the mean over layers, or the final one, as the column says). Cells are texts: the effect
        with its 95 % interval in brackets, where there is one.
    """
    headlines = {f"{one.label}, {_layer_name(one)}": one for one in HEADLINES}
    columns = [*_PAIR_COLUMNS, *headlines]
    if effects.empty:
        return pd.DataFrame(columns=columns)
    records: list[dict[str, Any]] = []
    keys = ["stage", "pair", "kind", "dataset"]
    order = {kind: rank for rank, kind in enumerate(KIND_ORDER)}
    for labels, rows in effects.groupby(keys, sort=True):
        stage, pair, kind, dataset = map(str, labels)
        cells = {label: _effect_cell(rows, headline) for label, headline in headlines.items()}
        line = (pair, kind, stage, dataset, int(rows["n_seeds"].max()))
        records.append(dict(zip(_PAIR_COLUMNS, line, strict=True)) | cells)
    records.sort(key=lambda one: (one["stage"], order.get(one["kind"], len(order)), one["pair"]))
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

    Returns
    -------
    DataFrame
        Column model, and one column of texts per task. The last row holds the chance levels, as far
        as they are known (a range where they vary with the model); without any there is no such
        row.
    """
    columns = ("model", "seed", "step", "task", "value", "chance")
    frame = prepare(benchmarks, columns, "the table of benchmarks")
    frame = frame[frame["step"].isna() & frame["value"].notna()]
    grouped = frame.groupby(["model", "task"], sort=True)["value"]
    texts = {key: mean_and_spread(values) for key, values in grouped}
    tasks = sorted(set(frame["task"]))
    records = [
        {"model": model} | {task: texts.get((model, task), "") for task in tasks}
        for model in sorted(set(frame["model"]))
    ]
    if frame["chance"].notna().any():
        levels = {task: _range(frame.loc[frame["task"] == task, "chance"]) for task in tasks}
        records.append({"model": "chance"} | levels)
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


def _reference_lines(rows: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Seed floor and chance of each headline number at the final layer; a range where they vary."""
    lines = {}
    for name, column in (("seed floor", "floor"), ("chance", "chance")):
        cells = {}
        for headline in HEADLINES:
            found = headline_rows(rows, headline, layer="final").dropna(subset="value")
            cells[headline.label] = _range(
                (floor_rows(found) if column == "floor" else found)[column]
            )
        lines[name] = cells
    return lines


def _range(values: pd.Series) -> str:
    """Write the value, or the lowest and the highest; nothing where none is known."""
    known = values.dropna()
    ends = {f"{value:.3f}": None for value in (known.min(), known.max())}
    return " to ".join(ends) if len(known) else ""


def _layer_name(headline: Headline) -> str:
    return "mean over layers" if headline.layer == "mean" else "final layer"


def _effect_cell(rows: pd.DataFrame, headline: Headline) -> str:
    found = rows[
        (rows["metric"] == headline.metric) & (rows["statistic"] == headline.statistic)
    ].dropna(subset="effect")
    if found.empty:
        return ""
    layers = found["layer"]
    wanted = MEAN_LAYER if headline.layer == "mean" else layers.max()
    found = found[layers == wanted]
    if found.empty:
        return ""
    value, low, high = (float(found[name].iloc[0]) for name in ("effect", "ci_low", "ci_high"))
    text = f"{value:+.3f}" if pd.isna(low) else f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"
    return text.replace("-", "\N{MINUS SIGN}")


def _with_interval(value: float, low: float, high: float) -> str:
    if pd.isna(value):
        return ""
    if pd.isna(low) or pd.isna(high):
        return f"{value:.3f}"
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"

"""The table of two files, metric by metric, and the part of it that a person reads first."""

import warnings
from collections.abc import Sequence
from typing import Any, cast

import pandas as pd

from hrsa.errors import UserError
from hrsa.similarity.cka import cka_layers
from hrsa.similarity.correlation import correlation_layers
from hrsa.similarity.files import OpenPair
from hrsa.similarity.knn import knn_layers
from hrsa.similarity.layers import MEAN_OVER_LAYERS, join_notes
from hrsa.similarity.orthogonal_procrustes import procrustes_layers
from hrsa.similarity.results import LayerComparison, label_rows
from hrsa.similarity.views import View, Viewed, view_of
from hrsa.statistics.permutation import N_PERMUTATIONS

METRICS = ("correlation", "procrustes", "cka", "knn")
_LAYERS = ["layer_reference", "layer_candidate"]
_HEAD = ("", "layer", "value", "95 % interval", "chance", "p", "note")


def pair_table(
    pair: OpenPair,
    metrics: Sequence[str] | None = None,
    *,
    ks: Sequence[int] = (10,),
    n_permutations: int = N_PERMUTATIONS,
    views: Sequence[View] = ("raw",),
) -> pd.DataFrame:
    """Compare two files by several metrics.

    Parameters
    ----------
    pair : OpenPair
        See `hrsa.similarity.files.open_pair`.
    metrics : sequence of {"correlation", "procrustes", "cka", "knn"}, or None
        None: all that apply (correlation needs equal widths).
    ks : sequence of int
        Sizes of neighbourhood for knn.
    n_permutations : int
        For the p-values; 0: no p.
    views : sequence of str
        Ways to look at the files, each with rows of its own (see `hrsa.similarity.views`).

    Returns
    -------
    pandas.DataFrame
        Rows of the similarity table (SIMILARITY_COLUMNS). Layer columns are empty for arrays.

    Warns
    -----
    UserWarning
        When a metric is left out.

    Raises
    ------
    UserError, ValueError
        When a metric that was asked for does not apply.
    """
    chosen = _applicable(pair) if metrics is None else metrics
    unknown = [name for name in chosen if name not in METRICS]
    if unknown:
        raise UserError(f"there is no metric {unknown[0]!r}; a metric is one of {METRICS}.")
    seen = {view: view_of(view, pair.reference, pair.candidate, pair.rows) for view in views}
    found = [
        _noted(_measure(name, one, pair, ks, n_permutations).table.assign(view=view), one.note)
        for name in METRICS
        if name in chosen
        for view, one in seen.items()
    ]
    table = label_rows(_noted(pd.concat(found, ignore_index=True), pair.note), **pair.labels)
    table = table.astype(dict.fromkeys(_LAYERS, "Int64"))
    if pair.has_layers:
        return table
    table = table[table["layer_reference"] != MEAN_OVER_LAYERS].reset_index(drop=True)
    table[_LAYERS] = pd.NA
    return table


def summary(pair: OpenPair, table: pd.DataFrame) -> str:
    """Set the means over layers, and the layers to show, as text of fixed width.

    Parameters
    ----------
    pair : OpenPair
        The files.
    table : pandas.DataFrame
        Of `pair_table`.

    Returns
    -------
    str
        Lines; of each metric the means first. Notes are numbered and follow the numbers.
    """
    kept = _means_first(table[_is_shown(table, pair)])
    notes: dict[str, int] = {}
    cells = [_cells(row, notes) for row in cast(list[dict[str, Any]], kept.to_dict("records"))]
    widths = [max(map(len, column)) for column in zip(_HEAD, *cells, strict=True)]
    lines = [_first_line(pair)]
    metric = None
    for row, line in zip(kept["metric"], cells, strict=True):
        if row != metric:
            metric = row
            lines += ["", _aligned((metric, *_HEAD[1:]), widths)]
        lines.append(_aligned(line, widths))
    lines += ["", *(f"[{number}] {note}" for note, number in notes.items())]
    methods = sorted(set(kept["interval_method"]) - {""})
    lines += [f"95 % intervals: {', or '.join(methods)}."] if methods else []
    n_left = len(table) - len(kept)
    if n_left:
        lines.append(f"{n_left} more rows, of other layers, are written with --out.")
    return "\n".join(lines)


def _applicable(pair: OpenPair) -> list[str]:
    if pair.reference.width == pair.candidate.width:
        return list(METRICS)
    warnings.warn(
        f"correlation is left out: it needs equal widths, got {pair.reference.width} and "
        f"{pair.candidate.width}",
        UserWarning,
        stacklevel=3,
    )
    return [name for name in METRICS if name != "correlation"]


def _measure(
    metric: str, seen: Viewed, pair: OpenPair, ks: Sequence[int], n_permutations: int
) -> LayerComparison:
    files = seen.reference, seen.candidate, seen.rows
    if metric == "correlation":
        return correlation_layers(*files, n_permutations=n_permutations)
    if metric == "procrustes":
        return procrustes_layers(*files, n_permutations=n_permutations)
    if metric == "cka":
        return cka_layers(*files, n_permutations=n_permutations)
    return knn_layers(*files, ks=ks, exclude=pair.exclude, n_permutations=n_permutations)


def _noted(table: pd.DataFrame, note: str) -> pd.DataFrame:
    return table.assign(note=[join_notes(one, note) for one in table["note"].fillna("")])


def _is_shown(table: pd.DataFrame, pair: OpenPair) -> list[bool]:
    if not pair.has_layers:
        return [True] * len(table)
    shown = {(MEAN_OVER_LAYERS, MEAN_OVER_LAYERS), *pair.shown}
    places = zip(table["layer_reference"], table["layer_candidate"], strict=True)
    return [place in shown for place in places]


def _means_first(table: pd.DataFrame) -> pd.DataFrame:
    keys = pd.DataFrame(
        {
            "metric": table["metric"].map(METRICS.index),
            "is_layer": (table["layer_reference"] != MEAN_OVER_LAYERS).fillna(True),
        }
    )
    return table.loc[keys.sort_values(["metric", "is_layer"], kind="stable").index]


def _first_line(pair: OpenPair) -> str:
    labels = pair.labels
    data = f", data set {labels['dataset']}" if labels["dataset"] else ""
    return (
        f"{labels['reference']} and {labels['candidate']}{data}: {len(pair.rows.reference)} tokens "
        f"of {pair.rows.n_samples} samples, widths {pair.reference.width} and "
        f"{pair.candidate.width}"
    )


def _cells(row: dict[str, Any], notes: dict[str, int]) -> tuple[str, ...]:
    """Texts of a row; its note is numbered, the same for the same text."""
    k = "" if pd.isna(row["k"]) else f"k={row['k']}"
    view = "" if row["view"] == "raw" else f"({row['view']})"
    name = " ".join(part for part in (row["statistic"], row["variant"], k, view) if part)
    interval = "–"
    if not pd.isna(row["ci_low"]):
        interval = f"{_number(row['ci_low'])} … {_number(row['ci_high'])}"
    note = f"[{notes.setdefault(row['note'], len(notes) + 1)}]" if row["note"] else ""
    numbers = _number(row["value"]), interval, _number(row["chance"]), _number(row["p"])
    return (f"  {name}", _place(row), *numbers, note)


def _place(row: dict[str, Any]) -> str:
    reference, candidate = (row[name] for name in _LAYERS)
    if pd.isna(reference):
        return "–"
    if reference == MEAN_OVER_LAYERS:
        return "max" if row["statistic"].endswith("_max") else "mean"
    return str(reference) if reference == candidate else f"{reference}~{candidate}"


def _number(value: float | None) -> str:
    return "–" if value is None or pd.isna(value) else f"{value:.4f}"


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Names to the left, numbers to the right, the note to the left again."""
    texts = [
        cell.ljust(width) if place in (0, len(widths) - 1) else cell.rjust(width)
        for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(texts).rstrip()

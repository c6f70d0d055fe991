"""The ceiling of a pattern of similarities: does it repeat itself on the other half of texts?"""

from typing import Any

import numpy as np
import pandas as pd

from hrsa.figures.frames import MEAN_LAYER
from hrsa.reporting.replicates import matched_cells
from hrsa.similarity.views import HALVES
from hrsa.statistics.reliability import spearman_brown, split_half_correlation

SPLIT_HALF_COLUMNS = (
    "stage", "dataset", "metric", "statistic", "variant", "k", "n_cells", "correlation",
    "reliability", "mean_difference", "rms_difference", "rms_expected", "note",
)  # fmt: skip
_GROUP = ["stage", "dataset", "metric", "statistic", "variant", "k"]
_LAYERS = ["layer_reference", "layer_candidate"]
_CELL = ["pair", "reference", "candidate", *_LAYERS]
FEW_CELLS = "no correlation: fewer than three cells, or values that are all equal"
DISAGREE = "no reliability: the halves do not agree"
NO_ERRORS = "no expected difference: the statistic has no interval"


def split_half_table(similarity: pd.DataFrame) -> pd.DataFrame:
    """Compare the values on one half of the samples with those on the other.

    Parameters
    ----------
    similarity : DataFrame
        The similarity table of all pairs, with rows of the views half_a and half_b.

    Returns
    -------
    DataFrame
        Columns SPLIT_HALF_COLUMNS, a row per stage, data set and statistic. Cells are the pairs'
        seeds and matched layers from 1 on, models at the end of training. `correlation` is over
        cells, `reliability` that of the values on all samples (Spearman–Brown), `mean_difference`
        and `rms_difference` are of half_a − half_b, and `rms_expected` is what the halves' standard
        errors predict for the latter: where the difference is much greater, the intervals are too
        narrow. Without such rows the table is empty.
    """
    frame = similarity.astype({name: "object" for name in (*_GROUP, *_CELL, "view")})
    frame = frame[frame["step"].isna() & frame["view"].isin(HALVES)]
    keys = [*_GROUP, *_CELL]
    frame[keys] = frame[keys].where(frame[keys].notna(), "")
    frame = frame[_is_matched(frame)]
    sides = [
        frame.loc[frame["view"] == half, [*keys, "value", "se"]].dropna(subset="value")
        for half in HALVES
    ]
    both = sides[0].merge(sides[1], on=keys, suffixes=("_a", "_b"), validate="one_to_one")
    records = [
        dict(zip(_GROUP, key, strict=True)) | _agreement(cells)
        for key, cells in both.groupby(_GROUP, sort=True)
    ]
    table = pd.DataFrame(records, columns=list(SPLIT_HALF_COLUMNS))
    return table.assign(k=table["k"].replace("", None))


def _is_matched(frame: pd.DataFrame) -> np.ndarray:
    """Rows of layers that stand opposite one another in their comparison, the embeddings not."""
    found = np.zeros(len(frame), dtype=bool)
    layers = frame[_LAYERS].to_numpy(dtype=np.int64)
    of_pair = [*_GROUP[:4], *_CELL[:3]]
    for places in frame.reset_index(drop=True).groupby(of_pair, sort=False).indices.values():
        sides = [sorted(set(layers[places, side]) - {MEAN_LAYER}) for side in (0, 1)]
        matched = set(matched_cells(*sides))
        found[places] = [
            int(i) >= 1 and (int(i), int(j)) in matched for i, j in layers[places].tolist()
        ]
    return found


def split_half_summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return the part of the table that a reader looks at, numbers as texts.

    Parameters
    ----------
    table : DataFrame
        Of `split_half_table`.
    """
    named = [
        " ".join(str(part) for part in parts if pd.notna(part) and part)
        for parts in zip(table["statistic"], table["variant"], strict=True)
    ]
    k = [f" k = {one}" if pd.notna(one) else "" for one in table["k"]]
    return pd.DataFrame(
        {
            "statistic": [f"{name}{size}" for name, size in zip(named, k, strict=True)],
            "stage": table["stage"],
            "data set": table["dataset"],
            "cells": table["n_cells"],
            "reliability": _texts(table["reliability"], ".3f"),
            "difference of halves (rms)": _texts(table["rms_difference"], ".4f"),
            "expected from their intervals": _texts(table["rms_expected"], ".4f"),
        }
    )


def _texts(numbers: pd.Series, form: str) -> list[str]:
    return ["" if pd.isna(number) else format(number, form) for number in numbers]


def _agreement(cells: pd.DataFrame) -> dict[str, Any]:
    first, second, se_a, se_b = (
        pd.to_numeric(cells[name]).to_numpy("float64", na_value=np.nan)
        for name in ("value_a", "value_b", "se_a", "se_b")
    )
    correlation = split_half_correlation(first, second)
    reliability = spearman_brown(correlation)
    difference = first - second
    variances = se_a**2 + se_b**2
    known = np.isfinite(variances)
    expected = float(np.sqrt(variances[known].mean())) if known.any() else np.nan
    notes = [FEW_CELLS] if np.isnan(correlation) else []
    notes += [DISAGREE] if np.isnan(reliability) and not np.isnan(correlation) else []
    notes += [] if known.any() else [NO_ERRORS]
    if known.any() and not known.all():
        notes.append(f"expected difference: of {known.sum()} cells, others have no interval")
    return {
        "n_cells": len(cells),
        "correlation": correlation,
        "reliability": reliability,
        "mean_difference": float(difference.mean()),
        "rms_difference": float(np.sqrt(np.mean(difference**2))),
        "rms_expected": expected,
        "note": "; ".join(notes),
    }

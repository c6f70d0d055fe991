"""What the metrics share when they go over the layers of two models."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hrsa.activations.alignment import PairedRows
from hrsa.activations.store import Activations
from hrsa.errors import UserError
from hrsa.similarity.layer_stack import file_reader
from hrsa.similarity.results import METRIC_COLUMNS, LayerComparison
from hrsa.statistics.resampling import Interval, jackknife_interval

MEAN_OVER_LAYERS = -1
MAXIMUM_NOTE = (
    "maximum over matched layers, for its p alone: it has no interval and no chance level"
)
# Rows that a null permutes: its cost grows with them, and a few thousand are plenty for a p.
NULL_ROWS = 2000
NO_P = "no p: no permutations were asked for, or there are fewer than five samples"


@dataclass(frozen=True)
class MatchedLayers:
    """Layers of two models that are compared with one another.

    Attributes
    ----------
    pairs : list of (int, int)
        Layer of the reference, layer of the candidate.
    note : str
        Says so when depths differ, else empty.
    """

    pairs: list[tuple[int, int]]
    note: str


def matched_layers(reference: Activations, candidate: Activations) -> MatchedLayers:
    """Match layers by number, or by share of the depth when two models differ in depth.

    Returns
    -------
    MatchedLayers
        A pair for each stored layer of the reference.
    """
    depths = [int(activations.attrs["n_layers"]) for activations in (reference, candidate)]
    if depths[0] == depths[1] and reference.layers == candidate.layers:
        return MatchedLayers([(layer, layer) for layer in reference.layers], "")
    pairs = [
        (layer, _nearest_layer(layer * depths[1] / depths[0], candidate.layers))
        for layer in reference.layers
    ]
    note = (
        f"the models store different layers (depths {depths[0]} and {depths[1]}): layers are "
        "matched by their share of the depth"
    )
    return MatchedLayers(pairs, note)


def _nearest_layer(depth: float, layers: Sequence[int]) -> int:
    return min(layers, key=lambda layer: (abs(layer - depth), layer))


def check_rows(rows: PairedRows, *, least: int, least_samples: int = 1) -> None:
    """Refuse a pair that has too few rows or samples in common.

    Raises
    ------
    UserError
        With the numbers.
    """
    if len(rows.reference) < least or rows.n_samples < least_samples:
        raise UserError(
            f"the two models have {len(rows.reference)} rows of {rows.n_samples} samples in "
            f"common, this metric needs at least {least} rows of {least_samples} samples: use a "
            "larger data set or raise its token cap"
        )


def read_layer(activations: Activations, layer: int, rows: np.ndarray) -> np.ndarray:
    """Read rows of a layer in float64.

    Returns
    -------
    numpy.ndarray of float64, shape (len(rows), width)

    Raises
    ------
    UserError
        A value is not finite: names model, layer and row.
    """
    return file_reader(activations, layer, rows)(np.arange(len(rows))).astype(np.float64)


class MetricTable:
    """Collects the rows of one metric for one pair.

    Parameters
    ----------
    metric : str
        Value of the column ``metric``.
    matched : MatchedLayers
        The layers that a mean over layers is taken of; their note goes to every row.
    n_tokens, n_samples : int
        Rows compared, and samples that they are of.
    """

    def __init__(
        self, metric: str, matched: MatchedLayers, *, n_tokens: int, n_samples: int
    ) -> None:
        self._common = {
            "metric": metric,
            "view": "raw",
            "variant": "",
            "n_tokens": n_tokens,
            "n_samples": n_samples,
        }
        self._matched = matched
        self._records: list[dict[str, Any]] = []

    @classmethod
    def of_rows(cls, metric: str, matched: MatchedLayers, rows: PairedRows) -> "MetricTable":
        """Start the table of a metric that compares paired rows."""
        return cls(metric, matched, n_tokens=len(rows.reference), n_samples=rows.n_samples)

    def add(
        self, statistic: str, layers: tuple[int, int], value: float | None, **columns: Any
    ) -> None:
        """Add a row; ``columns`` are any of METRIC_COLUMNS, None for what is missing."""
        note = join_notes(columns.pop("note", ""), self._matched.note)
        record = dict(self._common, statistic=statistic, value=value, note=note)
        record |= {"layer_reference": layers[0], "layer_candidate": layers[1]} | columns
        self._records.append(record)

    def add_layer_mean(
        self,
        statistic: str,
        *,
        replicates: np.ndarray | None = None,
        interval: Interval | None = None,
        p: float | None = None,
        **columns: Any,
    ) -> None:
        """Add the mean over matched layers of rows that were added, layer 0 left out.

        Parameters
        ----------
        statistic : str
            Which rows; ``columns`` that are given (variant, k) choose further.
        replicates : numpy.ndarray of shape (n_layers, n_blocks), or None
            Delete-one-block values of those rows, which give the interval of their mean.
        interval : Interval, optional
            An interval of the mean that was computed in another way.
        p : float, optional
            p of the mean.
        **columns
            ``variant``, ``k`` to choose rows; ``note`` for the new row.
        """
        note = columns.pop("note", "")
        wanted = {"variant": "", **columns, "statistic": statistic}
        chosen = [
            record
            for record in self._records
            if record["layer_reference"] > 0
            and (record["layer_reference"], record["layer_candidate"]) in self._matched.pairs
            and all(record.get(key) == value for key, value in wanted.items())
        ]
        if not chosen:
            return
        value = _mean(record["value"] for record in chosen)
        if value is None:
            note = join_notes(note, "undefined at a layer")
        if interval is None and value is not None and replicates is not None:
            interval = jackknife_interval(value, replicates.mean(axis=0))
        found = interval_columns(interval if value is not None else None)
        chance = _mean(record.get("chance") for record in chosen)
        layers = (MEAN_OVER_LAYERS, MEAN_OVER_LAYERS)
        counts = {name: chosen[0][name] for name in ("n_tokens", "n_samples")}
        shared = counts | found | columns | {"p": p if value is not None else None}
        self.add(statistic, layers, value, chance=chance, note=note, **shared)

    def build(self, arrays: dict[str, np.ndarray]) -> LayerComparison:
        """Return the rows as a typed table, with the arrays beside them."""
        table = pd.DataFrame(self._records).reindex(columns=list(METRIC_COLUMNS))
        numbers = ("value", "se", "ci_low", "ci_high", "chance", "p")
        table = table.astype(dict.fromkeys(numbers, "float64") | {"k": "Int64"})
        table["interval_method"] = table["interval_method"].astype(object).fillna("")
        return LayerComparison(table, arrays)


def interval_columns(interval: Interval | None) -> dict[str, Any]:
    """Columns of the table that an interval fills."""
    found = interval or Interval()
    return {
        "se": found.se,
        "ci_low": found.low,
        "ci_high": found.high,
        "interval_method": found.method,
    }


def join_notes(*notes: str) -> str:
    """Join what notes there are."""
    return "; ".join(note for note in notes if note)


def _mean(values: Iterable[float | None]) -> float | None:
    known = list(values)
    if any(value is None or np.isnan(value) for value in known):
        return None
    return float(np.mean([value for value in known if value is not None]))

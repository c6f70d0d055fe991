"""Headline similarities of every two models with their joint replicates, as claims compare them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from hrsa.figures.frames import HEADLINES, MEAN_LAYER, Headline, headline_cells, prepare_similarity
from hrsa.reporting.claim_kinds import Estimated
from hrsa.reporting.effects import Neighbours
from hrsa.reporting.replicates import (
    Cell,
    CellReplicates,
    Comparison,
    cell_replicates,
    matched_cells,
)
from hrsa.statistics.replicates import Estimate, estimate, linear_combination, mean_of

Arrays = Mapping[str, np.ndarray]
Term = tuple[float, Estimate]
ROUNDING = 1e-12  # of the numbers that are added up


@dataclass(frozen=True, eq=False)
class ComparedModels:
    """What one headline number says of two models on one data set.

    Attributes
    ----------
    pair, kind, stage, reference, candidate, dataset : str
        As in the similarity table; `reference` and `candidate` are instances (`sft-emb.s0`).
    step : int or None
        Of the checkpoint; None: the end of training.
    value : Estimate
        At the layer that the number is read at: the final one, or the mean over layers 1 … L.
    layers : mapping of int to Estimate
        At each layer of the reference from 1 on, with the layer of the candidate opposite it.
    chance : float
    """

    pair: str
    kind: str
    stage: str
    reference: str
    candidate: str
    dataset: str
    step: int | None
    value: Estimate
    layers: Mapping[int, Estimate] = field(default_factory=dict)
    chance: float = float("nan")


class _Row(NamedTuple):
    """What a row of the similarity table says of its numbers."""

    value: float
    ci_low: float
    chance: float
    n_tokens: float
    n_samples: float


def headline(metric: str, statistic: str) -> Headline:
    """The headline number of a metric's statistic.

    Raises
    ------
    KeyError
        If it is none.
    """
    return {(one.metric, one.statistic): one for one in HEADLINES}[metric, statistic]


def compared_models(
    similarity: pd.DataFrame,
    replicates: Mapping[Comparison, Arrays],
    wanted: Headline,
    *,
    checkpoints: Mapping[tuple[Comparison, int], Arrays] | None = None,
    neighbours: Neighbours | None = None,
) -> list[ComparedModels]:
    """Give one headline number of every two models and data set that the table compares.

    Parameters
    ----------
    similarity : DataFrame
        The similarity table.
    replicates : mapping
        Arrays of each comparison at the end of training
        (`hrsa.reporting.replicates.read_replicates`).
    wanted : Headline
    checkpoints : mapping, optional
        Arrays of each comparison and step (`hrsa.reporting.replicates.read_checkpoints`).
    neighbours : Neighbours, optional
        Needed for the replicates of k-NN overlap.

    Returns
    -------
    list of ComparedModels
        Sorted by the columns that name them. Without replicates an estimate has no interval.
    """
    frame = headline_cells(prepare_similarity(similarity), wanted)
    frame = frame[frame["value"].notna()]
    keys = ["pair", "kind", "stage", "reference", "candidate", "dataset", "step"]
    found = []
    for labels, rows in frame.groupby(keys, sort=True, dropna=False):
        *texts, at_step = labels
        pair, kind, stage, reference, candidate, dataset = map(str, texts)
        step = _step(at_step)
        key = Comparison(wanted.metric, pair, reference, candidate, dataset)
        arrays = replicates.get(key) if step is None else (checkpoints or {}).get((key, step))
        cells = cell_replicates(
            arrays or {},
            wanted.metric,
            wanted.statistic,
            variant=str(rows["variant"].iloc[0]),
            k=wanted.k,
            ks=neighbours.ks if neighbours else (),
            exclusions=neighbours.exclusions if neighbours else (),
        )
        names = (pair, kind, stage, reference, candidate, dataset)
        one = _of_comparison(names, step, rows, cells, wanted)
        found += [] if one is None else [one]
    return found


def _of_comparison(
    names: tuple[str, str, str, str, str, str],
    step: int | None,
    rows: pd.DataFrame,
    cells: CellReplicates,
    wanted: Headline,
) -> ComparedModels | None:
    dataset = names[-1]
    columns = ["layer_reference", "layer_candidate", *_Row._fields]
    numbers = rows[columns].to_numpy("float64").tolist()
    by_cell = {(int(i), int(j)): _Row(*others) for i, j, *others in numbers}
    sides = [sorted({cell[side] for cell in by_cell if cell[0] != MEAN_LAYER}) for side in (0, 1)]
    matched = [cell for cell in matched_cells(*sides) if cell in by_cell]
    at = {cell: _estimate(by_cell[cell], cells, cell, dataset) for cell in matched}
    layers = {cell[0]: one for cell, one in at.items() if cell[0] > 0}
    if wanted.layer == "final":
        if not at:
            return None
        last = max(at)
        return ComparedModels(*names, step, at[last], layers, by_cell[last].chance)
    mean = by_cell.get((MEAN_LAYER, MEAN_LAYER))
    if mean is None:
        return None
    over = mean_of(layers.values()) if layers else None
    # The replicates of the mean are those of the layers only if the table averages the same.
    if over is None or not np.isclose(over.value, mean.value, rtol=1e-6, atol=1e-9):
        over = estimate(mean.value, None, dataset=dataset)
    return ComparedModels(*names, step, over, layers, mean.chance)


def _step(step: Any) -> int | None:
    return None if pd.isna(step) else int(step)


def _estimate(row: _Row, cells: CellReplicates, cell: Cell, dataset: str) -> Estimate:
    # Replicates can be there and yet be no ground for an interval: the metric's own row tells.
    return estimate(
        row.value,
        None if np.isnan(row.ci_low) else cells.cells.get(cell),
        scheme=cells.scheme,
        n_samples=int(row.n_samples),
        dataset=dataset,
        rows=(row.n_tokens, row.n_samples),
    )


def combined(terms: Sequence[Term], constant: float = 0.0) -> Estimated:
    """Add up weighted estimates, with the joint standard error; none where it cannot be had.

    Parameters
    ----------
    terms : sequence of (weight, Estimate)
    constant : float
        Added to their sum.

    Returns
    -------
    Estimated
        Data sets are independent; their degrees of freedom are Satterthwaite's. What is left of
        equal numbers by rounding counts as nothing, or it would seem to lie on one side of 0.
    """
    value = float(sum(weight * one.value for weight, one in terms)) + constant
    size = abs(constant) + sum(abs(weight * one.value) for weight, one in terms)
    value = 0.0 if abs(value) <= ROUNDING * size else value
    try:
        error = linear_combination(terms).error
    except ValueError:  # compared on other rows, and so not joint
        return Estimated(value)
    if error is None:
        return Estimated(value)
    se, freedom = error
    return Estimated(value, 0.0 if se <= ROUNDING * size else se, freedom)

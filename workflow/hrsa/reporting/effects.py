"""Effects: how far a pair lies below what two seeds of one recipe give, with a joint interval."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from hrsa.figures.frames import HEADLINES, MEAN_LAYER, Headline, headline_cells, prepare_similarity
from hrsa.reporting.doses import RLVR, SFT, UNKNOWN, Dose, Doses, dose_text
from hrsa.reporting.replicates import (
    Cell,
    CellReplicates,
    Comparison,
    cell_replicates,
    matched_cells,
)
from hrsa.statistics.floors import SEED_KIND
from hrsa.statistics.replicates import Estimate, estimate, linear_combination
from hrsa.statistics.resampling import Interval

EFFECT_COLUMNS = (
    "pair", "kind", "stage", "dataset", "metric", "statistic", "variant", "k", "layer", "value",
    "floor", "effect", "se", "ci_low", "ci_high", "interval_method", "n_seeds", "dose", "note",
)  # fmt: skip
NO_FLOOR = "no seed pair at this stage has this value: no floor, no effect"
ONE_SEED_PAIR = "floor of one seed pair"
NO_REPLICATES = "no interval: of some pair there is none, or no replicates are kept of it"
GIVEN_PROBES = "the interval is given the fitted probes"
UNDEFINED = "no interval: undefined without some of the samples"
NOT_JOINT = "no interval: the pairs were compared on other rows"
OF_KINDS = "value and effect are differences SFT − RLVR, the floor cancels"
KINDS = (SFT, RLVR)
_MEAN: Cell = (MEAN_LAYER, MEAN_LAYER)
Term = tuple[float, Estimate]


@dataclass(frozen=True, eq=False)
class Neighbours:
    """How neighbours were asked for, in the order of the axes of their arrays."""

    ks: Sequence[int] = ()
    exclusions: Sequence[str] = ()


class _Row(NamedTuple):
    """What a row of the similarity table says of its numbers."""

    value: float
    ci_low: float
    n_tokens: float
    n_samples: float


@dataclass(frozen=True, eq=False)
class _Group:
    """One headline number at one stage on one data set.

    ``estimates`` has one per seed, by pair and cell; ``candidates`` are instances by pair.
    """

    labels: dict[str, Any]
    kinds: dict[str, str]
    candidates: dict[str, list[str]]
    doses: Doses
    estimates: dict[tuple[str, Cell], list[Estimate]] = field(default_factory=dict)

    def pairs(self, *kinds: str) -> list[str]:
        """Names of the pairs of some kinds."""
        return sorted(pair for pair, kind in self.kinds.items() if kind in kinds)

    def dose(self, pairs: Sequence[str]) -> Dose:
        """Mean dose of the language models behind the candidates of some pairs."""
        return self.doses.mean(name for pair in pairs for name in self.candidates[pair])

    def cells(self, pair: str) -> list[Cell]:
        """Cells of a pair, the mean over layers first."""
        return sorted(cell for name, cell in self.estimates if name == pair)

    def mean(self, pairs: Sequence[str], cell: Cell) -> list[Term]:
        """Terms of the mean over the pairs that have a cell, each its mean over seeds."""
        found = [self.estimates[pair, cell] for pair in pairs if (pair, cell) in self.estimates]
        return [(1 / len(found) / len(seeds), one) for seeds in found for one in seeds]


def effects_table(
    similarity: pd.DataFrame,
    replicates: Mapping[Comparison, Mapping[str, np.ndarray]],
    *,
    neighbours: Neighbours | None = None,
    doses: Doses | None = None,
) -> pd.DataFrame:
    """Effect of each pair beyond the seed floor, d(pair) − d(floor) with d = 1 − value.

    Parameters
    ----------
    similarity : DataFrame
        The similarity table of all pairs.
    replicates : mapping
        Arrays of each comparison (`hrsa.reporting.replicates.read_replicates`).
    neighbours : Neighbours, optional
        Needed for the replicates of k-NN overlap.
    doses : Doses, optional
        How far the language models moved, for the column `dose`.

    Returns
    -------
    DataFrame
        Columns EFFECT_COLUMNS. A row for each pair that is no seed pair, data set, headline
        statistic and matched layer (layer −1: their mean), models at the end of training. `value`
        is the mean over the pair's seeds, `floor` the mean over the stage's seed pairs (each its
        own mean over seeds), `effect` = floor − value: above 0 where the pair is less alike than
        two seeds. Further rows (kind "sft − rlvr") are the difference of the two kinds' effects.
        `dose` says, as text, how far the language models behind the candidates moved.
        The interval is over texts, from joint replicates, the trained models held fixed.
    """
    frame = prepare_similarity(similarity)
    frame = frame[frame["step"].isna() & frame["value"].notna()]
    records: list[dict[str, Any]] = []
    for headline in HEADLINES:
        cells = headline_cells(frame, headline)
        for group in _groups(cells, replicates, neighbours, headline, doses or Doses({}, {})):
            for pair in sorted(set(group.kinds) - set(group.pairs(SEED_KIND))):
                records += [_effect(group, pair, cell) for cell in group.cells(pair)]
            records += _kind_differences(group)
    return pd.DataFrame(records, columns=list(EFFECT_COLUMNS))


def _groups(
    rows: pd.DataFrame,
    replicates: Mapping[Comparison, Mapping[str, np.ndarray]],
    neighbours: Neighbours | None,
    headline: Headline,
    doses: Doses,
) -> Iterator[_Group]:
    for (stage, dataset), of_stage in rows.groupby(["stage", "dataset"], sort=True):
        labels: dict[str, Any] = {
            "stage": stage,
            "dataset": dataset,
            "metric": headline.metric,
            "statistic": headline.statistic,
            "variant": of_stage["variant"].iloc[0],
            "k": headline.k,
        }
        kinds = dict(zip(of_stage["pair"], of_stage["kind"], strict=True))
        candidates = {
            str(pair): sorted(set(own)) for pair, own in of_stage.groupby("pair")["candidate"]
        }
        group = _Group(labels, kinds, candidates, doses)
        keys = ["pair", "reference", "candidate"]
        for models, compared in of_stage.groupby(keys, sort=True):
            pair, reference, candidate = map(str, models)
            key = Comparison(headline.metric, pair, reference, candidate, str(dataset))
            found = cell_replicates(
                replicates.get(key, {}),
                headline.metric,
                headline.statistic,
                variant=labels["variant"],
                k=headline.k,
                ks=neighbours.ks if neighbours else (),
                exclusions=neighbours.exclusions if neighbours else (),
            )
            for cell, one in _estimates(compared, found, str(dataset)):
                group.estimates.setdefault((pair, cell), []).append(one)
        yield group


def _estimates(
    compared: pd.DataFrame, replicates: CellReplicates, dataset: str
) -> Iterator[tuple[Cell, Estimate]]:
    """Give the matched layers of one comparison, and their mean, with their replicates."""
    columns = ["layer_reference", "layer_candidate", "value", "ci_low", "n_tokens", "n_samples"]
    numbers = compared[columns].to_numpy("float64").tolist()
    rows = {(int(i), int(j)): _Row(*others) for i, j, *others in numbers}
    sides = [sorted({cell[side] for cell in rows if cell != _MEAN}) for side in (0, 1)]
    matched = [cell for cell in matched_cells(*sides) if cell in rows]
    for cell in matched:
        yield cell, _estimate(rows[cell], replicates.cells.get(cell), replicates, dataset)
    if _MEAN in rows:
        counted = [cell for cell in matched if cell[0] > 0]
        mean = np.mean([rows[cell].value for cell in counted]) if counted else np.nan
        # The replicates of the mean are those of the layers only if the table averages the same.
        same = bool(np.isclose(mean, rows[_MEAN].value, rtol=1e-6, atol=1e-9))
        values = replicates.mean_over(counted) if same else None
        yield _MEAN, _estimate(rows[_MEAN], values, replicates, dataset)


def _estimate(
    row: _Row, values: np.ndarray | None, replicates: CellReplicates, dataset: str
) -> Estimate:
    # Replicates can be there and yet be no ground for an interval: the metric's own row tells.
    return estimate(
        row.value,
        None if np.isnan(row.ci_low) else values,
        scheme=replicates.scheme,
        n_samples=int(row.n_samples),
        dataset=dataset,
        rows=(row.n_tokens, row.n_samples),
    )


def _effect(group: _Group, pair: str, cell: Cell) -> dict[str, Any]:
    seeds = group.pairs(SEED_KIND)
    pairs_with_floor = [name for name in seeds if (name, cell) in group.estimates]
    own, floor = group.mean([pair], cell), group.mean(seeds, cell)
    record = _record(group, pair, group.kinds[pair], cell) | {"value": _value(own)}
    record |= {"n_seeds": len(own), "dose": _known(group.dose([pair]))}
    if not floor:
        return _with_notes(record, NO_FLOOR)
    record = _with_notes(record, ONE_SEED_PAIR if len(pairs_with_floor) == 1 else "")
    return _with_effect(record | {"floor": _value(floor)}, _difference(floor, own))


def _kind_differences(group: _Group) -> list[dict[str, Any]]:
    """Effects of SFT minus effects of RLVR, where the stage has both; their floor cancels."""
    kinds = [group.pairs(kind) for kind in KINDS]
    single = all(len(pairs) == 1 for pairs in kinds)
    name = " − ".join(pairs[0] for pairs in kinds) if single else " − ".join(KINDS)
    shared = [{cell for pair in pairs for cell in group.cells(pair)} for pairs in kinds]
    records = []
    for cell in sorted(shared[0] & shared[1]):
        sft, rlvr = (group.mean(pairs, cell) for pairs in kinds)
        record = _record(group, name, " − ".join(KINDS), cell)
        record["value"] = _value(_difference(sft, rlvr))
        seeds = [group.estimates.get((pair, cell), []) for pairs in kinds for pair in pairs]
        record["n_seeds"] = min(len(found) for found in seeds if found)
        by_kind = dict(zip(KINDS, map(group.dose, kinds), strict=True))
        record["dose"] = dose_text(by_kind)
        records.append(_with_effect(_with_notes(record, OF_KINDS), _difference(rlvr, sft)))
    return records


def _known(dose: Dose) -> str | None:
    return None if str(dose) == UNKNOWN else str(dose)


def _record(group: _Group, pair: str, kind: str, cell: Cell) -> dict[str, Any]:
    record = dict.fromkeys(EFFECT_COLUMNS) | group.labels
    note = f"layer {cell[1]} of the candidate" if cell[0] != cell[1] else ""
    return record | {"pair": pair, "kind": kind, "layer": cell[0], "note": note}


def _with_effect(record: dict[str, Any], terms: list[Term]) -> dict[str, Any]:
    """Fill the effect that terms add up to, and its interval or the reason why there is none."""
    interval, reason = _interval(terms)
    if interval.method and record["metric"] == "probe":
        reason = GIVEN_PROBES
    effect = {
        "effect": _value(terms),
        "se": interval.se,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "interval_method": interval.method,
    }
    return _with_notes(record | effect, reason)


def _interval(terms: list[Term]) -> tuple[Interval, str]:
    try:
        combined = linear_combination(terms)
    except ValueError:
        return Interval(), NOT_JOINT
    if any(part is None for part in combined.parts.values()):
        return Interval(), NO_REPLICATES
    interval = combined.interval
    return interval, "" if interval.method else UNDEFINED


def _difference(a: list[Term], b: list[Term]) -> list[Term]:
    return a + [(-weight, one) for weight, one in b]


def _value(terms: list[Term]) -> float:
    return float(sum(weight * one.value for weight, one in terms))


def _with_notes(record: dict[str, Any], *notes: str) -> dict[str, Any]:
    return record | {"note": "; ".join(note for note in (record["note"], *notes) if note)}

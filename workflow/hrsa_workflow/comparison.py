"""One metric on one pair: all its seeds, checkpoints and data sets in one job."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from hrsa.activations.alignment import PairedRows, paired_rows
from hrsa.activations.store import Activations, open_activations
from hrsa.similarity.results import LayerComparison, label_rows
from hrsa.similarity.views import HALVES, VIEWS, View, Viewed, view_of
from hrsa_workflow.status import Failure, subject_failure, write_status
from hrsa_workflow.tables import SIMILARITY, typed

AT_THE_END = "p and halves: at the end of training"


@dataclass(frozen=True)
class Subject:
    """Two open activation files on one data set, as a view shows them, and their place in the job.

    `reference` and `candidate` read like files, `rows` are the rows in common that the view keeps.
    `statistics` are the keyword arguments of a metric that say how uncertainty is computed; of
    views only the raw one (and one that shows just the same) has p-values, since they cost as much
    as the metric many times over. Checkpoints of a pair that is compared at the end of training too
    have none either, and no halves: a curve is read against chance levels and intervals.
    """

    reference: Activations
    candidate: Activations
    rows: PairedRows
    view: str
    statistics: dict[str, Any]
    index: int
    dataset: str


def compare_pair(snakemake: Any, measure: Callable[[Subject], LayerComparison]) -> None:
    """Measure every comparison of a pair on every data set and write the results.

    Parameters
    ----------
    snakemake
        The job of a metric's rule. Inputs `reference` and `candidate`: activation files,
        comparison by comparison, within one by data set. Parameters `pair` (name, kind, stage and
        comparisons), `datasets` (names), `views` (raw alone when left out) and `attempt`. Outputs
        `table` (rows of the similarity table), `arrays` (matrices) and `status`.
    measure
        The metric, given a subject.
    """
    pair, output = snakemake.params.pair, snakemake.output
    reference, candidate = snakemake.input.reference, snakemake.input.candidate
    failures: list[Failure] = []
    tables: list[pd.DataFrame] = []
    subjects = list(product(pair["comparisons"], snakemake.params.datasets))
    asked = [view for view in VIEWS if view in (snakemake.params.get("views") or ["raw"])]
    _verify({*reference, *candidate})
    with h5py.File(output.arrays, "w") as arrays:
        for index, (entry, dataset) in enumerate(subjects):
            statistics = dict(snakemake.params.get("statistics") or {})
            views, remark = asked, ""
            if statistics and _only_follows(entry, pair["comparisons"]):
                statistics["n_permutations"] = 0
                views, remark = [one for one in asked if one not in HALVES], AT_THE_END
            models = f"{entry['reference']} and {entry['candidate']}"
            name = f"{snakemake.rule} of pair {pair['name']} ({models}, data set {dataset})"
            with (
                subject_failure(failures, name),
                open_activations(reference[index]) as left,
                open_activations(candidate[index]) as right,
            ):
                whole = Subject(
                    reference=left,
                    candidate=right,
                    rows=paired_rows(left, right),
                    view="raw",
                    statistics=statistics,
                    index=index,
                    dataset=dataset,
                )
                group = f"{entry['reference']}~{entry['candidate']}/{dataset}"
                for view, table, found in _measured_views(views, whole, measure):
                    tables.append(_labelled(_noted(table, remark), pair, entry, dataset))
                    into = arrays.require_group(group if view == "raw" else f"{group}/{view}")
                    for array, values in sorted(found.items()):
                        into.create_dataset(array, data=values)
    typed(tables, SIMILARITY).to_parquet(output.table, index=False)
    write_status(Path(output.status), failures, attempt=snakemake.params.attempt)


def _only_follows(entry: Mapping[str, Any], comparisons: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a comparison is of checkpoints on the way to final models that are compared too."""
    return entry["step"] is not None and any(one["step"] is None for one in comparisons)


def _measured_views(
    views: Sequence[View], whole: Subject, measure: Callable[[Subject], LayerComparison]
) -> Iterator[tuple[View, pd.DataFrame, Mapping[str, np.ndarray]]]:
    """Table and arrays of a subject in each view; one that shows nothing else is not measured."""
    measured: list[tuple[Viewed, LayerComparison]] = []
    files = whole.reference, whole.candidate
    for view in views:
        seen = view_of(view, *files, whole.rows, seed=whole.statistics.get("seed", 0))
        found = next((one for other, one in measured if seen.shows_the_same(other)), None)
        if found is None:
            statistics = whole.statistics | ({} if view == "raw" else {"n_permutations": 0})
            found = measure(
                replace(
                    whole,
                    reference=seen.reference,
                    candidate=seen.candidate,
                    rows=seen.rows,
                    view=view,
                    statistics=statistics,
                )
            )
            if seen.rows is whole.rows:  # no other can show just the same as a later one
                measured.append((seen, found))
        yield view, _with_attention(_with_view(found.table, view, seen.note), *files), found.arrays


def _verify(paths: Iterable[str]) -> None:
    """Check each file against its checksums, once in a job."""
    for path in sorted(paths):
        with open_activations(path) as activations:
            activations.verify()


def _with_view(table: pd.DataFrame, view: str, remark: str) -> pd.DataFrame:
    """Name the view of each row, and what it did."""
    return _noted(table.assign(view=view), remark)


def _noted(table: pd.DataFrame, remark: str) -> pd.DataFrame:
    if not remark:
        return table
    return table.assign(
        note=[f"{note}; {remark}" if note else remark for note in table["note"].fillna("")]
    )


def _with_attention(
    table: pd.DataFrame, reference: Activations, candidate: Activations
) -> pd.DataFrame:
    """Say in each row's note when the two sides read with different attention."""
    modes = [str(side.attrs["attention"]) for side in (reference, candidate)]
    if modes[0] == modes[1]:
        return table
    return _noted(table, f"attention differs: reference {modes[0]}, candidate {modes[1]}")


def _labelled(
    table: pd.DataFrame, pair: Mapping[str, Any], entry: Mapping[str, Any], dataset: str
) -> pd.DataFrame:
    reference, candidate = (entry[side].partition("@")[0] for side in ("reference", "candidate"))
    return label_rows(
        table,
        pair=pair["name"],
        kind=pair["kind"],
        stage=pair["stage"],
        reference=reference,
        candidate=candidate,
        seed=entry["seed"],
        step=entry["step"],
        dataset=dataset,
    )

"""One metric on one pair: all its seeds, checkpoints and data sets in one job."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import h5py
import pandas as pd

from hrsa.activations.alignment import PairedRows, paired_rows
from hrsa.activations.store import Activations, open_activations
from hrsa.similarity.results import LayerComparison, label_rows
from hrsa.similarity.views import VIEWS, view_of
from hrsa_workflow.status import Failure, subject_failure, write_status
from hrsa_workflow.tables import SIMILARITY, typed


@dataclass(frozen=True)
class Subject:
    """Two open activation files on one data set, as a view shows them, and their place in the job.

    `reference` and `candidate` read like files, `rows` are the rows in common that the view keeps.
    `statistics` are the keyword arguments of a metric that say how uncertainty is computed; only
    the raw view has p-values, since each costs as much as the metric many times over.
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
            models = f"{entry['reference']} and {entry['candidate']}"
            name = f"{snakemake.rule} of pair {pair['name']} ({models}, data set {dataset})"
            with (
                subject_failure(failures, name),
                open_activations(reference[index]) as left,
                open_activations(candidate[index]) as right,
            ):
                rows = paired_rows(left, right)
                for view in asked:
                    seen = view_of(view, left, right, rows)
                    statistics = dict(snakemake.params.get("statistics") or {})
                    if view != "raw":
                        statistics |= {"n_permutations": 0}
                    subject = Subject(
                        reference=seen.reference,
                        candidate=seen.candidate,
                        rows=seen.rows,
                        view=view,
                        statistics=statistics,
                        index=index,
                        dataset=dataset,
                    )
                    result = measure(subject)
                    table = _with_attention(_with_view(result.table, view, seen.note), left, right)
                    tables.append(_labelled(table, pair, entry, dataset))
                    group = f"{entry['reference']}~{entry['candidate']}/{dataset}"
                    group += "" if view == "raw" else f"/{view}"
                    for array, values in sorted(result.arrays.items()):
                        arrays.create_dataset(f"{group}/{array}", data=values)
    typed(tables, SIMILARITY).to_parquet(output.table, index=False)
    write_status(Path(output.status), failures, attempt=snakemake.params.attempt)


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

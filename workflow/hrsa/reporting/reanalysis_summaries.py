"""What the report says of the published numbers: a table for a reader, sentences with counts."""

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import pandas as pd

from hrsa.figures.style import kind_label
from hrsa.reporting.reanalysis import published_equivalence
from hrsa.reporting.training import Remark
from hrsa.statistics.equivalence import BOTH, DIFFERENT, EQUIVALENT
from hrsa.statistics.multiplicity import holm

ASSUMPTION = (
    "An assumption: the published spread is read as the standard deviation over training seeds. A "
    "spread over tasks would say nothing of how far retraining moves a score."
)
_ROUNDED = 0.005  # half of the last digit of a published difference and its spread
_LABELS = {"h_inv": "Inverse row entropy", "knn_overlap": "k-NN overlap"}
_CLAIM = "“SFT pairs show higher alignment than RLVR pairs”"


def reanalysis_summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table for a reader: one row per published difference, a verdict per margin.

    Parameters
    ----------
    table : DataFrame
        Of `hrsa.reporting.reanalysis.reanalyse`.
    """
    margins = _margins(table)
    first = table[table["margin"] == margins[0]] if margins else table
    verdicts = {
        f"at ±{margin:g} points": table.loc[table["margin"] == margin, "verdict"].to_numpy()
        for margin in margins
    }
    return pd.DataFrame(
        {
            **{name: first[name].to_numpy() for name in ("pair", "kind", "suite")},
            "difference": [
                _signs(f"{delta:+.2f} ± {std:.2f}")
                for delta, std in zip(first["delta"], first["std"], strict=True)
            ],
            "90 % interval": _intervals(first, "ci90"),
            "95 % interval": _intervals(first, "ci95"),
            **verdicts,
        }
    )


def reanalysis_remarks(table: pd.DataFrame) -> list[Remark]:
    """Say what the published differences support, and what that hangs on.

    Parameters
    ----------
    table : DataFrame
        Of `hrsa.reporting.reanalysis.reanalyse`.

    Returns
    -------
    list of Remark
        The assumption about the spread (marked); for each margin, where the table supports
        equivalence; where a difference exceeds its spread; how many verdicts would be others with
        another reading of the spread, or before the published numbers were rounded.
    """
    margins = _margins(table)
    if not margins:
        return []
    return [
        Remark(ASSUMPTION, marked=True),
        *(_equivalence_remark(table[table["margin"] == margin], margin) for margin in margins),
        _difference_remark(table, margins),
        _readings_remark(table),
    ]


def alignment_remarks(table: pd.DataFrame) -> list[Remark]:
    """Say of each measure whether published SFT pairs are more or less alike than RLVR pairs.

    Parameters
    ----------
    table : DataFrame
        Rows of `alignment_by_kind` and `neighbours_by_kind` (`hrsa.reporting.reanalysis`).
    """
    remarks = []
    for measure, rows in table.groupby("measure", sort=False):
        lower = int((rows["share_sft_higher"] < 0.5).sum())
        higher = int((rows["share_sft_higher"] > 0.5).sum())
        says = "neither agrees with nor contradicts"
        if len(rows) in (lower, higher):
            says = "says the opposite of" if lower else "agrees with"
        least = float(rows["least_p"].min())
        limit = f"no exact p can be below {least:.2f}" if least < 1 else "nothing can be tested"
        remarks.append(
            Remark(
                f"{_LABELS[str(measure)]}: in the published table SFT pairs lie below RLVR pairs "
                f"in {lower} of {len(rows)} comparisons and above them in {higher}, which {says} "
                f"{_CLAIM}. A description only: with so few pairs (SFT {_range(rows['n_sft'])}, "
                f"RLVR {_range(rows['n_rlvr'])}; some share a model) {limit}."
            )
        )
    return remarks


def _equivalence_remark(rows: pd.DataFrame, margin: float) -> Remark:
    holds = rows["verdict"].isin([EQUIVALENT, BOTH])
    text = (
        f"At a margin of {margin:g} points the published table supports equivalence for "
        f"{_counts(rows, holds)}"
    )
    text += "" if holds.all() else f"; it does not for {_places(rows, ~holds)}"
    return Remark(f"{text}. {_after_holm(rows['p_tost'], holds)}")


def _difference_remark(table: pd.DataFrame, margins: Sequence[float]) -> Remark:
    rows = table[table["margin"] == margins[0]]
    differs = rows["verdict"].isin([DIFFERENT, BOTH])
    if not differs.any():
        return Remark("No difference exceeds its spread: every 95 % interval holds 0.")
    higher = int((rows["delta"][differs] > 0).sum())
    negligible = [
        f"{int(((table['margin'] == margin) & (table['verdict'] == BOTH)).sum())} at ±{margin:g}"
        for margin in margins
    ]
    p = [published_equivalence(row, margins[0]).p_difference for row in _records(rows)]
    return Remark(
        f"Larger than their spread (the 95 % interval leaves out 0) are {_counts(rows, differs)}: "
        f"{_places(rows, differs)}. The reasoning model scores higher in {higher} of them. "
        f"Equivalent all the same, so that the change is too small to matter: "
        f"{', '.join(negligible)}. {_after_holm(pd.Series(p, rows.index), differs)}"
    )


def _readings_remark(table: pd.DataFrame) -> Remark:
    rows = _records(table)
    wider = [published_equivalence(row, row["margin"], spread_is_se=True).verdict for row in rows]
    changed = sum(one != row["verdict"] for one, row in zip(wider, rows, strict=True))
    factors = sorted({f"{math.sqrt(row['n_seeds']):.2f}" for row in rows})
    rounded = sum(_hangs_on_rounding(row) for row in rows)
    return Remark(
        f"Were the spread a standard error already, intervals would be {' to '.join(factors)} "
        f"times as wide, and {changed} of {len(rows)} verdicts would be others. With the numbers "
        f"as they were before rounding to two decimals, up to {rounded} could be."
    )


def _hangs_on_rounding(row: Mapping[str, Any]) -> bool:
    """Whether numbers that are rounded to the published ones have another verdict."""
    shifts = (-_ROUNDED, _ROUNDED)
    corners = [
        {**row, "delta": row["delta"] + shift, "std": max(row["std"] + change, 0.0)}
        for shift, change in product(shifts, shifts)
    ]
    return any(
        published_equivalence(corner, row["margin"]).verdict != row["verdict"] for corner in corners
    )


def _counts(rows: pd.DataFrame, holds: pd.Series) -> str:
    """Write ``9 of 15 differences (SFT 0 of 3, RLVR 9 of 12)``."""
    kinds = [
        f"{kind_label(str(kind))} {int(found.sum())} of {len(found)}"
        for kind, found in holds.groupby(rows["kind"], sort=False)
    ]
    return f"{int(holds.sum())} of {len(rows)} differences ({', '.join(kinds)})"


def _places(rows: pd.DataFrame, holds: pd.Series) -> str:
    """Name the pairs, and the suites where not all of a pair's are meant."""
    named = []
    for pair, suites in rows.groupby("pair", sort=False):
        found = suites.loc[holds[suites.index], "suite"]
        if len(found):
            where = "every suite" if len(found) == len(suites) else ", ".join(found)
            named.append(f"{pair} ({where})")
    return "; ".join(named)


def _after_holm(p: pd.Series, holds: pd.Series) -> str:
    kept = int((holds.to_numpy() & (holm(p) < 0.05)).sum())
    return f"With Holm's correction for {len(p)} tests, {kept} of these {int(holds.sum())} remain."


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _margins(table: pd.DataFrame) -> list[float]:
    return [float(margin) for margin in table["margin"].unique()]


def _intervals(rows: pd.DataFrame, name: str) -> list[str]:
    ends = zip(rows[f"{name}_low"], rows[f"{name}_high"], strict=True)
    return [_signs(f"[{low:.3f}, {high:.3f}]") for low, high in ends]


def _range(numbers: pd.Series) -> str:
    return " to ".join(dict.fromkeys(str(int(one)) for one in (numbers.min(), numbers.max())))


def _signs(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")

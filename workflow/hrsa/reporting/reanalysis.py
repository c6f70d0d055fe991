"""The published numbers, tested again: which of them support "no difference", and which a change?

The tables of "Do Reasoning Models Enhance Embedding Models?" (arXiv 2601.21192) give a difference
and its spread for each pair and benchmark. That is enough for an equivalence test, once it is
assumed that the spread is the standard deviation over training seeds.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from hrsa.errors import UserError
from hrsa.statistics.equivalence import Equivalence, equivalence

MARGINS = (0.5, 1.0)  # points of a score that runs from 0 to 100
LEAST_SEEDS = 3  # fewer say next to nothing of their own spread
REANALYSIS_COLUMNS = (
    "pair", "kind", "suite", "delta", "std", "n_seeds", "margin", "ci90_low", "ci90_high",
    "ci95_low", "ci95_high", "p_tost", "verdict",
)  # fmt: skip
ALIGNMENT_COLUMNS = (
    "measure", "stage", "dataset", "k", "n_sft", "n_rlvr", "median_sft", "median_rlvr",
    "share_sft_higher", "p", "least_p",
)  # fmt: skip
STAGES = ("backbone", "embedding")


def reanalyse(table1: pd.DataFrame, *, margins: Iterable[float] = MARGINS) -> pd.DataFrame:
    """Test each published difference against zero and against margins.

    The standard error is std/√n_seeds and the intervals are by t with n_seeds − 1 degrees of
    freedom: the spread is taken as the standard deviation over training seeds, an assumption.

    Parameters
    ----------
    table1 : DataFrame
        Columns pair, kind, suite, delta and delta_std in points, seeds.
    margins : iterable of float
        Greater than 0, in points.

    Returns
    -------
    DataFrame
        Columns REANALYSIS_COLUMNS, a row per row of the table and margin, in that order. `verdict`
        is equivalent (the 90 % interval lies inside ±margin), different (the 95 % interval excludes
        0), both ("equivalent and different"), or inconclusive.

    Raises
    ------
    UserError
        If a column is missing, a difference or its spread is not a number, a spread is negative, a
        row has fewer than three seeds, or a margin is not greater than 0.

    References
    ----------
    Table 1 of "Do Reasoning Models Enhance Embedding Models?" (arXiv 2601.21192). Schuirmann
    (1987), A comparison of the two one-sided tests procedure and the power approach for assessing
    the equivalence of average bioavailability.
    """
    _check_columns(table1, ("pair", "kind", "suite", "delta", "delta_std", "seeds"), "Table 1")
    names = ["pair", "kind", "suite", "delta", "std", "n_seeds"]
    rows = table1.rename(columns={"delta_std": "std", "seeds": "n_seeds"})[names]
    asked = list(margins)
    records = []
    for values in rows.itertuples(index=False, name=None):
        row = dict(zip(names, values, strict=True))
        _check_row(row)
        records += [row | _tested(row, margin) for margin in asked]
    return pd.DataFrame(records, columns=list(REANALYSIS_COLUMNS))


def published_equivalence(
    row: Mapping[str, Any], margin: float, *, spread_is_se: bool = False
) -> Equivalence:
    """Test one published difference.

    Parameters
    ----------
    row : mapping
        `delta` and `std` in points, `n_seeds`.
    margin : float
        Greater than 0, in points.
    spread_is_se : bool
        Read `std` as the standard error of `delta` rather than as the standard deviation over
        seeds, which makes intervals √n_seeds times as wide.

    Returns
    -------
    Equivalence
        By t with n_seeds − 1 degrees of freedom.

    Raises
    ------
    UserError
        If the margin is not greater than 0.
    """
    n = int(row["n_seeds"])
    se = row["std"] if spread_is_se else row["std"] / math.sqrt(n)
    return equivalence(row["delta"], se, n - 1, margin=margin, n=n)


def _tested(row: Mapping[str, Any], margin: float) -> dict[str, float | str]:
    found = published_equivalence(row, margin)
    return {
        "margin": float(margin),
        "ci90_low": found.ci90[0],
        "ci90_high": found.ci90[1],
        "ci95_low": found.ci95[0],
        "ci95_high": found.ci95[1],
        "p_tost": found.p_tost,
        "verdict": found.verdict,
    }


def _check_row(row: Mapping[str, Any]) -> None:
    where = f"Table 1, pair {row['pair']}, suite {row['suite']}"
    if not row["n_seeds"] >= LEAST_SEEDS:
        raise UserError(
            f"{where}: `seeds` is {row['n_seeds']}, and a spread over fewer than {LEAST_SEEDS} "
            "training seeds carries no test of equivalence. Leave the row out."
        )
    if not (math.isfinite(row["delta"]) and math.isfinite(row["std"]) and row["std"] >= 0):
        raise UserError(
            f"{where}: `delta` is {row['delta']} and `delta_std` is {row['std']}; the first must "
            "be a number, the second a number of zero or more. Correct the table."
        )


def alignment_by_kind(table: pd.DataFrame) -> pd.DataFrame:
    """Compare the inverse row entropy of SFT pairs with that of RLVR pairs, by ranks.

    Descriptive: there are few pairs, each measured once, and some share a model.

    Parameters
    ----------
    table : DataFrame
        Column kind (sft, rlvr), and a column of H_inv for each data set and stage, named
        `<dataset>_backbone` or `<dataset>_embedding`; pairs without a number are left out.

    Returns
    -------
    DataFrame
        Columns ALIGNMENT_COLUMNS, a row per stage and data set. `share_sft_higher` is the share of
        couples of an SFT and an RLVR pair in which the SFT pair has the greater value, ties one
        half (Mann–Whitney's U over its maximum); `p` is exact and two-sided, `least_p` the smallest
        that so few pairs can reach.

    Raises
    ------
    UserError
        If there is no column `kind` or none of H_inv, or a column has no SFT or no RLVR pair.
    """
    what = "The table of inverse row entropy"
    _check_columns(table, ("kind",), what)
    columns = [
        (stage, str(name).removesuffix(f"_{stage}").replace("_", "-"), name)
        for stage in STAGES
        for name in table
        if str(name).endswith(f"_{stage}")
    ]
    if not columns:
        raise UserError(
            f"{what} has no column named <dataset>_backbone or <dataset>_embedding; it has "
            f"{', '.join(map(str, table))}. Read it from the CSV file of the published numbers."
        )
    records = [
        {"measure": "h_inv", "stage": stage, "dataset": dataset, "k": None}
        | _sft_against_rlvr(table["kind"], table[name])
        for stage, dataset, name in columns
    ]
    return pd.DataFrame(records, columns=list(ALIGNMENT_COLUMNS))


def neighbours_by_kind(table: pd.DataFrame) -> pd.DataFrame:
    """Compare the k-NN overlap of SFT pairs with that of RLVR pairs, as `alignment_by_kind` does.

    Parameters
    ----------
    table : DataFrame
        Columns kind, stage, dataset, k, mean_overlap_over_layers; a row per pair, stage and k.

    Returns
    -------
    DataFrame
        Columns ALIGNMENT_COLUMNS, a row per stage, data set and k.

    Raises
    ------
    UserError
        If a column is missing, or rows to be compared have no SFT or no RLVR pair.
    """
    wanted = ("kind", "stage", "dataset", "k", "mean_overlap_over_layers")
    _check_columns(table, wanted, "The table of k-NN overlap")
    records = [
        {"measure": "knn_overlap", "stage": stage, "dataset": dataset, "k": k}
        | _sft_against_rlvr(rows["kind"], rows["mean_overlap_over_layers"])
        for (stage, dataset, k), rows in table.groupby(["stage", "dataset", "k"], sort=True)
    ]
    return pd.DataFrame(records, columns=list(ALIGNMENT_COLUMNS))


def _sft_against_rlvr(kinds: pd.Series, values: pd.Series) -> dict[str, float | int]:
    sft, rlvr = (values[kinds == kind].dropna().to_numpy("float64") for kind in ("sft", "rlvr"))
    absent = [name for name, found in (("SFT", sft), ("RLVR", rlvr)) if not len(found)]
    if absent:
        raise UserError(
            f"Published column `{values.name}`: there is no {' and no '.join(absent)} pair with a "
            "number, and so nothing to compare. Leave the column, or these rows, out."
        )
    share, p, least = _rank_test(sft, rlvr)
    return {
        "n_sft": len(sft),
        "n_rlvr": len(rlvr),
        "median_sft": float(np.median(sft)),
        "median_rlvr": float(np.median(rlvr)),
        "share_sft_higher": share,
        "p": p,
        "least_p": least,
    }


def _rank_test(first: np.ndarray, second: np.ndarray) -> tuple[float, float, float]:
    """Mann–Whitney's test over all ways to split the values, which is exact with ties too.

    Returns U over its maximum, the two-sided p-value (twice the smaller tail, at most 1) and the
    smallest that these sizes allow. For a dozen values, whose splits can be listed.
    """
    values = np.concatenate([first, second])
    higher = np.sign(values[:, None] - values[None, :]) / 2 + 0.5
    places = set(range(len(values)))
    counts = np.array(
        [
            higher[np.ix_(chosen, sorted(places.difference(chosen)))].sum()
            for chosen in combinations(range(len(values)), len(first))
        ]
    )
    observed = counts[0]  # the first split is the one into the two samples
    tails = (counts <= observed).mean(), (counts >= observed).mean()
    share = float(observed) / (len(first) * len(second))
    return share, min(1.0, 2 * float(min(tails))), min(1.0, 2 / len(counts))


def _check_columns(table: pd.DataFrame, wanted: Sequence[str], what: str) -> None:
    missing = [name for name in wanted if name not in table]
    if missing:
        raise UserError(
            f"{what} lacks the column(s) {', '.join(missing)}; it has "
            f"{', '.join(map(str, table))}. Read it from the CSV file of the published numbers."
        )

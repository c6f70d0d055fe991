"""Claims about benchmark scores, and the same about the published numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from hrsa.benchmarks.chance import NO_TASK_LEFT, remarks_on_tasks
from hrsa.reporting.claim_kinds import (
    CONTRADICTED,
    INCONCLUSIVE,
    Estimated,
    Verdict,
    conjunction,
    equivalence,
    not_applicable,
    rank,
)

SEEDS, TASKS, ITEMS = "seeds", "tasks", "items"
FEWEST_SEEDS = 3
EQUIVALENT = "within ±margin"
_MEASURES = {"h_inv": ("procrustes", "h_inv"), "knn_overlap": ("knn", "jaccard")}
_UNIT = {SEEDS: "training seeds", TASKS: "tasks"}
_SPREAD = "the published spread is read as the standard deviation over 3 training seeds"


def score_rows(differences: pd.DataFrame, kind: str) -> list[dict[str, Any]]:
    """Judge "the two models of a pair score the same" for each margin of the table.

    Of each pair and suite the suite's mean is tested over training seeds where there are three, and
    over tasks (of the mean over seeds) otherwise.

    Parameters
    ----------
    differences : DataFrame
        Columns pair, kind, level ("seeds", "tasks", "items"), suite, task, seed, delta, se, df, n,
        margin, and perhaps units_needed and note; a row per margin.
    kind : str
        Of the pairs.

    Returns
    -------
    list of dict
        Columns of the table of claims; `id` is what follows the claim's own. For each margin a row
        for all pairs and suites together and, where there are several, one for each.
        `conditional_on` says which tasks the means are without: those without a score, and those
        on which neither model is shown above chance (`hrsa.benchmarks.chance`).
    """
    own = differences[differences["kind"] == kind] if len(differences) else differences
    if not len(own):
        missing = f"no difference of benchmark scores of a pair of kind {kind}"
        return [_labels() | {"id": ""} | verdict_columns(not_applicable(missing))]
    rows = []
    for margin, of_margin in own.groupby("margin", sort=True):
        parts = {
            f"{pair}.{suite}": _score_row(str(pair), str(suite), of_suite, _number(margin))
            for (pair, suite), of_suite in of_margin.groupby(["pair", "suite"], sort=True)
        }
        rows += _together(f".within-{100 * _number(margin):g}-points", parts)
    return rows


def _score_row(pair: str, suite: str, rows: pd.DataFrame, margin: float) -> dict[str, Any]:
    seeds = rows[(rows["level"] == SEEDS) & rows["task"].isna() & rows["se"].notna()]
    tasks = rows[(rows["level"] == TASKS) & rows["se"].notna()]
    if tasks["seed"].isna().any():  # the mean over seeds
        tasks = tasks[tasks["seed"].isna()]
    n_seeds = max(int(rows.loc[rows["level"] == ITEMS, "seed"].nunique()), 1)
    row = _labels() | {"statistic": suite, "pairs": pair, "margin": margin, "n_pairs": 1}
    level = SEEDS if len(seeds) else TASKS
    found = seeds if len(seeds) else tasks
    row["n_seeds"] = int(seeds["n"].iloc[0]) if len(seeds) else n_seeds
    if not len(found):
        missing = f"pair {pair}, {suite}: {_why_no_mean(rows)}"
        return row | verdict_columns(not_applicable(missing))
    one = found.iloc[0]
    estimate = Estimated(float(one["delta"]), float(one["se"]), float(one["df"]))
    verdict = equivalence(estimate, margin)
    why = f"the suite's mean over {int(one['n'])} {_UNIT[level]}"
    if level == TASKS:
        why += f", since there are fewer than {FEWEST_SEEDS} training seeds"
    needed = one.get("units_needed")
    if verdict.verdict == INCONCLUSIVE and pd.notna(needed) and needed > one["n"]:
        why += f"; {int(needed)} would show a difference of 0 to be negligible (power 0.8)"
    holds = "these tasks and their items" if level == SEEDS else "these trained models"
    return (
        row
        | estimate_columns(estimate)
        | verdict_columns(verdict)
        | {
            "reason": f"{verdict.reason}; {why}",
            "conditional_on": "; ".join(
                [
                    f"pair {pair}",
                    f"{row['n_seeds']} training seeds",
                    f"{holds} held fixed",
                    *remarks_on_tasks(one.get("note")),
                ]
            ),
        }
    )


def _why_no_mean(rows: pd.DataFrame) -> str:
    """Say why no mean over tasks is tested: none may be left of those that are not at chance."""
    notes = list(rows.loc[rows["task"].isna(), "note"]) if "note" in rows else []
    for remarks in map(remarks_on_tasks, notes):
        if NO_TASK_LEFT in remarks:
            return "; ".join(remarks)
    return "neither three training seeds nor two tasks to test over"


def published_scores(reanalysis: pd.DataFrame, kind: str) -> list[dict[str, Any]]:
    """Judge "the two models of a pair score the same" from the published differences.

    Parameters
    ----------
    reanalysis : DataFrame
        Of `hrsa.reporting.reanalysis.reanalyse`, in points; may be empty.
    kind : str
        Of the pairs.

    Returns
    -------
    list of dict
        As `score_rows`, in scores from 0 to 1; a row per margin, with the numbers of the difference
        that is farthest from 0.
    """
    own = reanalysis[reanalysis["kind"] == kind] if len(reanalysis) else reanalysis
    if not len(own):
        missing = f"no published difference of a pair of kind {kind}"
        return [_labels() | {"id": ""} | verdict_columns(not_applicable(missing))]
    rows = []
    for margin, of_margin in own.groupby("margin", sort=True):
        points = _number(margin)
        judged = {}
        for one in of_margin.to_dict("records"):
            n = int(one["n_seeds"])
            estimate = Estimated(one["delta"] / 100, one["std"] / 100 / n**0.5, n - 1)
            name = f"{one['pair']} on {one['suite']}"
            judged[name] = estimate, equivalence(estimate, points / 100)
        whole = conjunction({name: verdict for name, (_, verdict) in judged.items()})
        farthest = max(judged, key=lambda name: abs(judged[name][0].value))
        estimate, verdict = judged[farthest]
        counts = _counts([one.verdict for _, one in judged.values()])
        against = [name for name, (_, one) in judged.items() if one.verdict == CONTRADICTED]
        beyond = f" (beyond the margin: {', '.join(against)})" if against else ""
        rows.append(
            _labels()
            | estimate_columns(estimate)
            | verdict_columns(whole)
            | {
                "id": f".within-{points:g}-points",
                "statistic": "Table 1",
                "pairs": ", ".join(dict.fromkeys(map(str, of_margin["pair"]))),
                "margin": points / 100,
                "p_tost": max(one.p_tost or 0.0 for _, one in judged.values()),
                "reason": f"of {len(judged)} published differences {counts}{beyond}; the farthest "
                f"from 0, {farthest}: {verdict.reason}",
                "conditional_on": _SPREAD,
                "n_seeds": int(of_margin["n_seeds"].min()),
                "n_pairs": int(of_margin["pair"].nunique()),
            }
        )
    return rows


def published_alignment(alignment: pd.DataFrame, measure: str, side: str) -> dict[str, Any]:
    """Judge where the published SFT pairs lie, above or below the RLVR pairs: a description.

    Parameters
    ----------
    alignment : DataFrame
        Of `hrsa.reporting.reanalysis`: `alignment_by_kind` and `neighbours_by_kind`; may be empty.
    measure : {"h_inv", "knn_overlap"}
    side : {"above", "below"}
        Where the claim puts the SFT pairs.

    Returns
    -------
    dict
        Columns of the table of claims.
    """
    metric, statistic = _MEASURES[measure]
    labels = {
        "metric": metric,
        "statistic": statistic,
        "direction": f"SFT pairs {side} RLVR pairs",
        "conditional_on": "the published pairs, of which some share a model",
    }
    rows = alignment[alignment["measure"] == measure] if len(alignment) else alignment
    if not len(rows):
        missing = f"no published comparison of {measure}"
        return labels | verdict_columns(not_applicable(missing))
    higher = [float(share) for share in rows["share_sft_higher"]]
    n_sft, n_rlvr = int(rows["n_sft"].max()), int(rows["n_rlvr"].max())
    least = float(rows["least_p"].min())
    verdict = rank(higher, side=side, n_first=n_sft, n_second=n_rlvr, least_p=least)
    difference = rows["median_sft"] - rows["median_rlvr"]
    return (
        labels
        | verdict_columns(verdict)
        | {
            "stage": ", ".join(dict.fromkeys(map(str, rows["stage"]))),
            "effect": float(difference.mean()),
            "reason": f"{verdict.reason}; effect: mean difference of the medians",
            "n_pairs": n_sft + n_rlvr,
        }
    )


def _together(name: str, parts: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """One row alone, or one for all and then each."""
    if len(parts) == 1:
        return [{**row, "id": name} for row in parts.values()]
    whole = conjunction(
        {part: Verdict(row["verdict"], row["reason"]) for part, row in parts.items()}
    )
    shared = list(parts.values())
    summary = (
        _labels()
        | verdict_columns(whole)
        | {
            "id": name,
            "conditional_on": " | ".join(
                dict.fromkeys(row["conditional_on"] for row in shared if "conditional_on" in row)
            ),
            "margin": shared[0]["margin"],
            "pairs": ", ".join(dict.fromkeys(row["pairs"] for row in shared)),
            "n_seeds": min(row["n_seeds"] for row in shared),
            "n_pairs": len({row["pairs"] for row in shared}),
        }
    )
    return [summary, *({**row, "id": f"{name}.{part}"} for part, row in parts.items())]


def _labels() -> dict[str, Any]:
    return {"metric": "score", "stage": "embedding", "direction": EQUIVALENT}


def verdict_columns(verdict: Verdict) -> dict[str, Any]:
    """Columns of the table of claims that a verdict fills."""
    return {"verdict": verdict.verdict, "reason": verdict.reason, "p_tost": verdict.p_tost}


def estimate_columns(estimate: Estimated) -> dict[str, Any]:
    """Columns of the table of claims that an estimate fills."""
    numbers: dict[str, Any] = {"effect": estimate.value, "se": estimate.se, "p": estimate.p}
    for name, confidence in (("ci", 0.95), ("ci90", 0.90)):
        low, high = estimate.interval(confidence) or (None, None)
        numbers |= {f"{name}_low": low, f"{name}_high": high}
    return numbers


def _counts(verdicts: Sequence[str]) -> str:
    return ", ".join(f"{verdicts.count(one)} {one}" for one in dict.fromkeys(verdicts))


def _number(value: Any) -> float:
    return float(value)

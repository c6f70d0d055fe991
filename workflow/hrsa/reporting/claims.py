"""The claims of the paper, each tested on the models of a study and on the published numbers.

What is claimed and how it is tested stands in `claims.yaml`, the rules of the verdicts in
`hrsa.reporting.claim_kinds`, the numbers behind them in `hrsa.reporting.claim_contrasts`. A verdict
of a similarity holds for the trained models at hand: its interval is over texts.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hrsa.reporting.claim_conditions import score_conditions
from hrsa.reporting.claim_evidence import Evidence
from hrsa.reporting.claim_kinds import Verdict, conjunction, signed
from hrsa.reporting.claim_list import Claim, read_claims
from hrsa.reporting.claim_parts import tested
from hrsa.reporting.claim_scores import published_alignment, published_scores, score_rows

CLAIM_COLUMNS = (
    "id", "claim", "level", "metric", "statistic", "source", "stage", "pairs", "direction",
    "effect", "se", "ci_low", "ci_high", "ci90_low", "ci90_high", "chance", "floor", "margin", "p",
    "p_tost", "verdict", "reason", "conditional_on", "n_seeds", "n_pairs", "dose",
)  # fmt: skip
ALL_PARTS = "all parts hold"


def claims_table(evidence: Evidence, claims: Iterable[Claim] | None = None) -> pd.DataFrame:
    """Test every claim.

    Parameters
    ----------
    evidence : Evidence
    claims : iterable of Claim, optional
        Those of `claims.yaml`.

    Returns
    -------
    DataFrame
        Columns CLAIM_COLUMNS. A claim has a row for each entry of `each` (`<id>.<entry>`) and, of
        several parts, a row for each part below it (`<id>.<entry>.<part>`). `verdict` is supported,
        contradicted, inconclusive or not applicable. `effect` is the number of
        `claims.yaml`'s contrast in the unit of its statistic (scores: 0 to 1).
    """
    rows: list[dict[str, Any]] = []
    for claim in read_claims() if claims is None else claims:
        for entry in claim.each:
            name = ".".join(filter(None, [claim.id, "-".join(entry.values())]))
            parts = [{**part, **entry} for part in claim.parts]
            rows += _entry_rows(claim, name, parts, evidence)
        if claim.published:
            rows += _published_rows(claim, evidence)
    return pd.DataFrame(rows, columns=list(CLAIM_COLUMNS))


def _entry_rows(
    claim: Claim, name: str, parts: Sequence[Mapping[str, str]], evidence: Evidence
) -> list[dict[str, Any]]:
    if any(part["contrast"] == "scores" for part in parts):
        (part,) = parts
        found = score_rows(_of_embeddings(evidence), part["kind"])
        of_models = [
            score_conditions(row, evidence.similarity, evidence.doses, kind=part["kind"])
            for row in found
        ]
        return [
            _row(claim, {"source": "study", **row, **more, "id": f"{name}{row['id']}"})
            for row, more in zip(found, of_models, strict=True)
        ]
    found = [tested(part, evidence) for part in parts]
    rows = [_row(claim, {"id": name, "source": "study", **one}) for one in found]
    if len(rows) == 1:
        return rows
    names = _part_names(parts)
    whole = conjunction(
        {
            f"{part}{_shown_effect(row)}": Verdict(row["verdict"], row["reason"])
            for part, row in zip(names, rows, strict=True)
        }
    )
    caveats = [
        f"{part}: {caveat}"
        for part, one in zip(names, found, strict=True)
        for caveat in one.get("caveats", ())
    ]
    summary = {
        "id": name,
        "source": "study",
        "direction": ALL_PARTS,
        "verdict": whole.verdict,
        "reason": "; ".join([whole.reason, *caveats]),
        **{key: _shared(rows, key) for key in ("stage", "pairs", "conditional_on", "dose")},
        **{key: _least(rows, key) for key in ("n_seeds", "n_pairs")},
    }
    below = [{**row, "id": f"{name}.{part}"} for part, row in zip(names, rows, strict=True)]
    return [_row(claim, summary), *below]


def _shown_effect(row: Mapping[str, Any]) -> str:
    if row["effect"] is None:
        return ""
    margin = "" if row["margin"] is None else f" (margin {row['margin']:.3f})"
    return f" {signed(row['effect'], 3)}{margin}"


def _part_names(parts: Sequence[Mapping[str, str]]) -> list[str]:
    """Name parts by their statistic or metric, and by their contrast where that is not enough."""
    names = ["h_inv" if part["statistic"] == "h_inv" else part["metric"] for part in parts]
    if len(set(names)) < len(names):
        return [f"{name}-{part['contrast']}" for name, part in zip(names, parts, strict=True)]
    return names


def _published_rows(claim: Claim, evidence: Evidence) -> list[dict[str, Any]]:
    asked = dict(claim.published)
    if asked["table"] == "scores":
        found = published_scores(evidence.reanalysis, asked["kind"])
    else:
        side = asked["side"]
        found = [published_alignment(evidence.published_alignment, asked["table"], side)]
    named = [{**row, "id": f"{claim.id}.published{row.get('id', '')}"} for row in found]
    return [_row(claim, {"source": "published", **row}) for row in named]


def _row(claim: Claim, values: Mapping[str, Any]) -> dict[str, Any]:
    row = dict.fromkeys(CLAIM_COLUMNS) | {"claim": claim.claim, "level": claim.level}
    return row | {key: value for key, value in values.items() if key in row}


def _of_embeddings(evidence: Evidence) -> pd.DataFrame:
    """Differences of scores without those of two backbones, as far as that is known."""
    similarity, differences = evidence.similarity, evidence.differences
    if similarity.empty or differences.empty:
        return differences
    backbones = set(similarity.loc[similarity["stage"] == "backbone", "pair"])
    return differences[~differences["pair"].isin(backbones)]


def _shared(rows: Sequence[Mapping[str, Any]], key: str) -> str | None:
    """What the rows say of something, each different saying once."""
    return " | ".join(dict.fromkeys(str(row[key]) for row in rows if row[key])) or None


def _least(rows: Sequence[Mapping[str, Any]], key: str) -> int | None:
    known = [row[key] for row in rows if row[key] is not None]
    return min(known) if known else None


def headline_claims(table: pd.DataFrame) -> pd.DataFrame:
    """Keep the rows that judge a whole claim, without those of its parts."""
    rows = list(zip(table["source"], table["id"], strict=True))
    is_part = [
        any(source == whose and one.startswith(f"{other}.") for whose, other in rows)
        for source, one in rows
    ]
    return table[~np.array(is_part, dtype=bool)]

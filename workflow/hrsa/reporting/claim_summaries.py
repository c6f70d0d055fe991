"""The claims for a reader: a verdict per claim, and what it hangs on."""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from hrsa.reporting.claim_list import MATCHED
from hrsa.reporting.claims import headline_claims
from hrsa.reporting.doses import MATCHINGS


def claims_summary(claims: pd.DataFrame) -> pd.DataFrame:
    """Return the verdicts on whole claims, one row per claim and what it is tested on.

    Parameters
    ----------
    claims : DataFrame
        Of `hrsa.reporting.claims.claims_table`.

    Returns
    -------
    DataFrame
        Columns claim, tested on, verdict, why, conditional on; cells are texts. Parts of claims are
        left out.
    """
    columns = ["claim", "tested on", "verdict", "why", "conditional on"]
    if claims.empty:
        return pd.DataFrame(columns=columns)
    records = [_record(row) for row in headline_claims(claims).to_dict("records")]
    return pd.DataFrame(records, columns=columns)


def _record(row: Mapping[Hashable, Any]) -> dict[str, str]:
    entry = str(row["id"]).partition(".")[2]
    what = {"study": "this study", "published": "published numbers"}[row["source"]]
    entry = entry.removeprefix("published").strip(".").replace("-points", " points")
    entry = entry.replace("within-", "within ±")
    entry = entry.replace(f"-{MATCHED}", " at one dose")
    dose = _text(row["dose"])
    for said in MATCHINGS:  # the conditions say it too
        dose = dose.removesuffix(f"; {said}")
    conditions = [_text(row["conditional_on"]), f"doses: {dose}" if dose else ""]
    return {
        "claim": str(row["claim"]),
        "tested on": f"{what}, {entry}" if entry else what,
        "verdict": str(row["verdict"]),
        "why": _text(row["reason"]),
        "conditional on": "; ".join(filter(None, conditions)),
    }


def _text(value: Any) -> str:
    return "" if pd.isna(value) else str(value)

"""docs/tables.md has every column of the tables that it describes."""

import re
from pathlib import Path

import pytest

from hrsa_workflow.tables import CLAIMS, DIFFERENCES, DOSE, EFFECTS, REANALYSIS

DOCS = Path(__file__).parents[3] / "docs" / "tables.md"
TABLES = {
    "claims.csv": CLAIMS,
    "effects.csv": EFFECTS,
    "differences.csv": DIFFERENCES,
    "reanalysis.csv": REANALYSIS,
    "dose.csv": DOSE,
}


def documented(name: str) -> set[str]:
    """Names in the first cells of a table's rows."""
    (section,) = re.findall(rf"^## {name}$(.*?)(?=^## |\Z)", DOCS.read_text("utf-8"), re.M | re.S)
    rows = re.findall(r"^\| (`.*?) \|", section.split("What `effect` is")[0], re.M)
    return {column for row in rows for column in re.findall(r"`(\w+)`", row)}


@pytest.mark.parametrize("name", TABLES)
def test_every_column_is_described(name):
    assert set(TABLES[name]) <= documented(name)

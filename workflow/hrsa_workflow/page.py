"""What the report's script reads beside the tables: captions, and notes on models from outside."""

import json
from collections.abc import Iterable
from pathlib import Path


def read_caption(files: Iterable[str], name: str) -> str:
    """Read a caption; it is also Snakemake's, in reStructuredText without any markup."""
    path = next(Path(file) for file in files if Path(file).stem == name)
    return " ".join(path.read_text(encoding="utf-8").split())


def notes(records: Iterable[str]) -> dict[str, str]:
    """Read the remark that a model's record makes on its weights, where there is one."""
    found = {}
    for path in records:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        if record["note"]:
            found[record["model"]] = record["note"]
    return found

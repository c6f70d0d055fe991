"""What identifies a model in what is computed from it: hashes only, no place on this machine."""

import hashlib
from pathlib import Path
from typing import Any

from hrsa.models.embedding import pooling_of
from hrsa.models.retrieve import configuration_sha256


def model_part(record: dict[str, Any], folder: Path, step: int | None) -> dict[str, Any]:
    """What identifies a model, or one of its checkpoints, by its record and its folder."""
    weights = record["checkpoints"][str(step)]["sha256"] if step else record["sha256"]
    tokenizer = hashlib.sha256()
    for name in ("tokenizer.json", "tokenizer.model", "tokenizer_config.json"):
        if (folder / name).exists():
            tokenizer.update((folder / name).read_bytes())
    return {
        "model": f"{record['model']}@{step}" if step else record["model"],
        "model_sha256": weights,
        "configuration_sha256": configuration_sha256(folder),
        "tokenizer_sha256": tokenizer.hexdigest(),
        "attention": record["attention"],
        "template": None,
        "pooling": pooling_of(folder),
        "seed": record["seed"],
        "model_note": record["note"],
    }

"""Extracting one instance: each checkpoint on each data set, keeping files that are still right."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from hrsa.activations.header import extraction_header
from hrsa.activations.store import header_matches
from hrsa.models.retrieve import configuration_sha256


def extract_instance(
    *,
    record: str,
    datasets: Sequence[str],
    steps: Sequence[int],
    outputs: Sequence[str],
    settings: dict[str, Any],
    seed: int,
    code: str,
) -> None:
    """Extract the final model and its checkpoints.

    Parameters
    ----------
    record
        The instance's record.json.
    datasets
        Files of the data sets.
    steps
        Checkpoints.
    outputs
        Activation files: the final model's on every data set, then each checkpoint's.
    settings
        layers, dtype, max_length, token_budget, max_tokens.
    seed
        Of the tokens that are kept where there is a cap.
    code
        Version of the code, written into each file: a file from other code is not kept.
    """
    content = json.loads(Path(record).read_text(encoding="utf-8"))
    wanted = {
        "layers": settings["layers"],
        "dtype": settings["dtype"],
        "max_length": settings["max_length"],
        "max_tokens": settings["max_tokens"],
        "sampling_seed": seed,
    }
    paths = iter(outputs)
    for step in [None, *steps]:
        folder = Path(record).parent / (f"checkpoints/{step}" if step else "")
        headers = {
            next(paths): {**_model_part(content, folder, step), **_data_part(file), "code": code}
            for file in datasets
        }
        missing = {
            path: (header, file)
            for (path, header), file in zip(headers.items(), datasets, strict=True)
            if not header_matches(path, extraction_header(header, **wanted))
        }
        for path in headers.keys() - missing.keys():
            print(f"kept {path}: it was extracted from the same model, texts and code")
        if missing:
            _extract(folder, missing, settings["token_budget"], wanted, content["attention"])


def _extract(
    folder: Path,
    missing: dict[str, tuple[dict[str, Any], str]],
    token_budget: int,
    wanted: dict[str, Any],
    attention: Any,
) -> None:
    """Load a model once and write its activations on the given data sets."""
    from hrsa.activations.extraction import extract_activations
    from hrsa.models.loading import load_backbone

    # The stored type is that of the computation, too: float64 is for checks of the metrics.
    model, tokenizer = load_backbone(folder, attention=attention, dtype=wanted["dtype"])
    for path, (header, file) in missing.items():
        Path(path).unlink(missing_ok=True)
        texts = pd.read_parquet(file)
        extract_activations(
            model, tokenizer, texts, path, header=header, token_budget=token_budget, **wanted
        )
        print(f"wrote {path}: {len(texts)} texts")


def _model_part(record: dict[str, Any], folder: Path, step: int | None) -> dict[str, Any]:
    """What identifies the model: hashes only, no place on this machine."""
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
        "seed": record["seed"],
        "model_note": record["note"],
    }


def _data_part(file: str) -> dict[str, Any]:
    return {
        "dataset": Path(file).stem,
        "dataset_sha256": hashlib.sha256(Path(file).read_bytes()).hexdigest(),
    }

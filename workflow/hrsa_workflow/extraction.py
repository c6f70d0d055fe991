"""Extracting one instance: each checkpoint on each data set, keeping files that are still right."""

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from hrsa.activations.header import extraction_header
from hrsa.activations.store import header_matches
from hrsa.errors import UserError
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
        layers, dtype, max_length, truncation, token_budget, max_tokens, device.
    seed
        Of the tokens that are kept where there is a cap.
    code
        Version of the code, written into each file: a file from other code is not kept.
    """
    content = json.loads(Path(record).read_text(encoding="utf-8"))
    wanted = _wanted(settings, seed)
    for path in outputs:
        _take_back(Path(path))
    paths = iter(outputs)
    for step in [None, *steps]:
        folder = _folder(record, step)
        headers = {
            next(paths): {**_model_part(content, folder, step), **_data_part(file)}
            | _settings_part(settings, code)
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
            _extract(folder, missing, settings, wanted, content["attention"])
    for path in outputs:
        _spare(Path(path)).unlink(missing_ok=True)


def extract_shard(
    *,
    record: str,
    dataset: str,
    step: int | None,
    output: str,
    shard: int,
    n_shards: int,
    settings: dict[str, Any],
    seed: int,
    code: str,
) -> None:
    """Extract one model on one of the consecutive parts of a data set.

    Parameters
    ----------
    record, settings, seed, code
        As for `extract_instance`.
    dataset
        File of the whole data set.
    step
        Checkpoint; None for the final model.
    output
        The part's activation file; its header has `shard` and `n_shards`
        (see `hrsa.activations.shards.join_shards`).
    shard, n_shards
        Which part of how many; parts have about equally many samples.
    """
    content = json.loads(Path(record).read_text(encoding="utf-8"))
    folder = _folder(record, step)
    header = _model_part(content, folder, step) | _data_part(dataset)
    header |= _settings_part(settings, code) | {"shard": shard, "n_shards": n_shards}
    wanted = _wanted(settings, seed)
    _extract(folder, {output: (header, dataset)}, settings, wanted, content["attention"])


def part_of(frame: pd.DataFrame, shard: int, n_shards: int) -> pd.DataFrame:
    """Rows of one of several consecutive parts of a data set.

    Raises
    ------
    UserError
        There are fewer samples than parts.
    """
    if len(frame) < n_shards:
        raise UserError(
            f"the data set has {len(frame)} samples, too few for {n_shards} shards. Lower its "
            "`shards:`."
        )
    edges = [len(frame) * part // n_shards for part in (shard, shard + 1)]
    return frame.iloc[edges[0] : edges[1]].reset_index(drop=True)


def _folder(record: str, step: int | None) -> Path:
    return Path(record).parent / (f"checkpoints/{step}" if step is not None else "")


def _wanted(settings: dict[str, Any], seed: int) -> dict[str, Any]:
    """What `extraction_header` and `extract_activations` both take."""
    names = ("layers", "dtype", "max_length", "max_tokens")
    return {name: settings[name] for name in names} | {"sampling_seed": seed}


def _settings_part(settings: dict[str, Any], code: str) -> dict[str, Any]:
    return {"code": code, "truncation": settings["truncation"]}


def _extract(
    folder: Path,
    missing: dict[str, tuple[dict[str, Any], str]],
    settings: dict[str, Any],
    wanted: dict[str, Any],
    attention: Any,
) -> None:
    """Load a model once and write its activations on the given data sets."""
    from hrsa.activations.extraction import extract_activations
    from hrsa.models.loading import load_backbone

    # The stored type is that of the computation, too: float64 is for checks of the metrics.
    model, tokenizer = load_backbone(
        folder, attention=attention, dtype=wanted["dtype"], device=settings["device"]
    )
    for path, (header, file) in missing.items():
        Path(path).unlink(missing_ok=True)
        whole = pd.read_parquet(file)
        is_part = "shard" in header
        texts = part_of(whole, header["shard"], header["n_shards"]) if is_part else whole
        extract_activations(
            model,
            tokenizer,
            texts,
            path,
            header=header,
            n_characters=int(whole["text"].str.len().sum()),
            token_budget=settings["token_budget"],
            truncation=settings["truncation"],
            **wanted,
        )
        if not is_part:
            _put_aside(Path(path))
        print(f"wrote {path}: {len(texts)} texts")


def _spare(path: Path) -> Path:
    return path.with_name(f"{path.name}.finished")


def _put_aside(path: Path) -> None:
    """Give a finished file a second name: when its job fails, Snakemake removes the first."""
    _spare(path).unlink(missing_ok=True)
    with suppress(OSError):  # not every file system has such links; then it is made anew
        os.link(path, _spare(path))


def _take_back(path: Path) -> None:
    """Use what a job finished before it failed; whether it is right, its header says."""
    if _spare(path).exists():
        os.replace(_spare(path), path)


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

"""Extracting one instance, whole data sets or parts of them, keeping files that are still right."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from hrsa.activations.header import extraction_header
from hrsa.activations.store import header_matches
from hrsa.errors import UserError
from hrsa.models.embedding import end_mark
from hrsa_workflow.model_identity import model_part
from hrsa_workflow.parts import remove_other_parts


@dataclass(frozen=True)
class _Content:
    """What an activation file is of: a data set's file, or one of its consecutive parts."""

    dataset: str
    part: dict[str, int] = field(default_factory=dict)

    def read(self) -> tuple[pd.DataFrame, int]:
        """Read its texts, and how many characters the texts of the whole data set have."""
        whole = pd.read_parquet(self.dataset)
        n_characters = int(whole["text"].str.len().sum())
        name = Path(self.dataset).stem
        return part_of(whole, **self.part, name=name) if self.part else whole, n_characters

    @property
    def header(self) -> dict[str, Any]:
        """What identifies it."""
        return {
            "dataset": Path(self.dataset).stem,
            "dataset_sha256": hashlib.sha256(Path(self.dataset).read_bytes()).hexdigest(),
        } | self.part


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
    paths = iter(outputs)
    wanted = {step: {next(paths): _Content(file) for file in datasets} for step in [None, *steps]}
    _keep_or_extract(wanted, record=record, settings=settings, seed=seed, code=code)
    for path in outputs:
        for file in remove_other_parts(path):
            print(f"removed {file}: the data set is no longer in parts")


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
    wanted = {step: {output: _Content(dataset, {"shard": shard, "n_shards": n_shards})}}
    _keep_or_extract(wanted, record=record, settings=settings, seed=seed, code=code)


def part_of(frame: pd.DataFrame, shard: int, n_shards: int, *, name: str) -> pd.DataFrame:
    """Rows of one of several consecutive parts of a data set.

    Raises
    ------
    UserError
        There are fewer samples than parts.
    """
    if len(frame) < n_shards:
        raise UserError(
            f"shard {shard} of data set `{name}`: `datasets.{name}.shards` is {n_shards}, but the "
            f"data set has {len(frame)} samples, and each shard needs one. Set it to {len(frame)} "
            "or less."
        )
    edges = [len(frame) * part // n_shards for part in (shard, shard + 1)]
    return frame.iloc[edges[0] : edges[1]].reset_index(drop=True)


def _keep_or_extract(
    wanted: Mapping[int | None, Mapping[str, _Content]],
    *,
    record: str,
    settings: dict[str, Any],
    seed: int,
    code: str,
) -> None:
    """Extract each checkpoint's files but those that are there and still right."""
    content = json.loads(Path(record).read_text(encoding="utf-8"))
    options = _options(settings, seed)
    outputs = [Path(path) for files in wanted.values() for path in files]
    for output in outputs:
        _take_back(output)
    for step, files in wanted.items():
        folder = _folder(record, step)
        common = model_part(content, folder, step) | _settings_part(settings, code)
        headers = {path: common | one.header for path, one in files.items()}
        missing = {
            path: (header, files[path])
            for path, header in headers.items()
            if not header_matches(path, extraction_header(header, **options))
        }
        for path in headers:
            if path not in missing:
                print(f"kept {path}: it was extracted from the same model, texts and code")
        if missing:
            _extract(folder, missing, settings, options, content["attention"])
    for output in outputs:
        _take_back(output)


def _folder(record: str, step: int | None) -> Path:
    return Path(record).parent / (f"checkpoints/{step}" if step is not None else "")


def _options(settings: dict[str, Any], seed: int) -> dict[str, Any]:
    """What `extraction_header` and `extract_activations` both take."""
    names = ("layers", "dtype", "max_length", "max_tokens")
    return {name: settings[name] for name in names} | {"sampling_seed": seed}


def _settings_part(settings: dict[str, Any], code: str) -> dict[str, Any]:
    return {"code": code, "truncation": settings["truncation"]}


def _extract(
    folder: Path,
    missing: dict[str, tuple[dict[str, Any], _Content]],
    settings: dict[str, Any],
    options: dict[str, Any],
    attention: Any,
) -> None:
    """Load a model once and write its activations on the given data sets."""
    from hrsa.activations.extraction import extract_activations
    from hrsa.models.loading import load_backbone

    # The stored type is that of the computation, too: float64 is for checks of the metrics.
    model, tokenizer = load_backbone(
        folder, attention=attention, dtype=options["dtype"], device=settings["device"]
    )
    for path, (header, content) in missing.items():
        Path(path).unlink(missing_ok=True)
        texts, n_characters = content.read()
        extract_activations(
            model,
            tokenizer,
            texts,
            path,
            header=header | end_mark(header["pooling"], tokenizer),
            n_characters=n_characters,
            token_budget=settings["token_budget"],
            truncation=settings["truncation"],
            **options,
        )
        _put_aside(Path(path))
        print(f"wrote {path}: {len(texts)} texts")


def _spare(path: Path) -> Path:
    return path.with_name(f"{path.name}.finished")


def _put_aside(path: Path) -> None:
    """Move a finished file: when its job fails, Snakemake removes or replaces what has its name."""
    os.replace(path, _spare(path))


def _take_back(path: Path) -> None:
    """Use what a job finished before it failed; whether it is right, its header says."""
    if _spare(path).exists():
        os.replace(_spare(path), path)

"""The recipe `reading`: the same weights, read with another attention."""

import json
import os
import shutil
from pathlib import Path

# Files that belong to the parent's training, not to its weights.
NOT_TAKEN_OVER = ("record.json", "arguments.json", "curve.csv", "retrieved.json")


def read_otherwise(parent: Path, folder: Path, *, attention: str) -> None:
    """Make a model folder with the parent's weights (linked) and another attention.

    Parameters
    ----------
    parent
        The parent's model folder.
    folder
        The folder to fill.
    attention
        "causal" or "bidirectional".
    """
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted(parent.iterdir()):
        target = folder / file.name
        if file.name in NOT_TAKEN_OVER or file.is_dir():
            # of folders, only the modules of an embedding model (1_Pooling, ...) belong to it
            if file.is_dir() and file.name[0].isdigit():
                shutil.copytree(file, target, dirs_exist_ok=True)
            continue
        target.unlink(missing_ok=True)
        if file.suffix == ".safetensors":
            target.symlink_to(os.path.relpath(file.resolve(), folder.resolve()))
        else:
            shutil.copyfile(file, target)
    config = json.loads((parent / "config.json").read_text(encoding="utf-8"))
    _write(folder / "config.json", config | {"is_causal": attention == "causal"})
    record = json.loads((parent / "record.json").read_text(encoding="utf-8"))
    _write(
        folder / "record.json",
        record
        | {
            "model": folder.name,
            "recipe": "reading",
            "parent": parent.name,
            "attention": attention,
            "train_tokens": 0,
            "steps": 0,
            "relative_weight_change": 0.0,
            "checkpoints": {},
        },
    )


def _write(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")

"""What variants share that are made from the weights of other models without any training.

Weights are read and written one tensor at a time, so that memory holds a few tensors, whatever the
size of the model. Files are replaced, never written into: a parent's may be links.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from hrsa.errors import UserError
from hrsa.models.attention import attention_mode
from hrsa.models.folder import CHECKPOINTS, RECORD, write_json
from hrsa.models.model_files import (
    check_model_folder,
    read_json,
    safetensors_header,
    weights_sha256,
)
from hrsa.models.retrieve import wanted_files

WEIGHTS, CONFIGURATION = "model.safetensors", "config.json"
# As safetensors writes them.
TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
# Name of a tensor -> its type and shape.
Layout = dict[str, tuple[torch.dtype, tuple[int, ...]]]


class StoredWeights(Mapping[str, torch.Tensor]):
    """The weights of a folder by name, each read from its file when it is asked for.

    Parameters
    ----------
    folder : Path
        With model.safetensors, or the files that a model.safetensors.index.json names.

    Attributes
    ----------
    layout : dict
        Name -> (type, shape), from the headers of the files.
    """

    def __init__(self, folder: Path):
        self.layout: Layout = {}
        self._file_of: dict[str, Path] = {}
        for file in _weight_files(folder):
            for name, entry in safetensors_header(file).items():
                if entry["dtype"] not in TYPES:
                    raise UserError(
                        f"The weight {name} in {file} is stored as {entry['dtype']}; allowed are "
                        f"{', '.join(TYPES)}. Save the model in one of these types."
                    )
                self.layout[name] = TYPES[entry["dtype"]], tuple(entry["shape"])
                self._file_of[name] = file

    def __getitem__(self, name: str) -> torch.Tensor:
        with safe_open(self._file_of[name], framework="pt") as file:
            return file.get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.layout)

    def __len__(self) -> int:
        return len(self.layout)


class WeightChange:
    """‖θ − θ₀‖ / ‖θ₀‖ over tensors that are given one after the other."""

    def __init__(self) -> None:
        self._change = self._norm = 0.0

    def add(self, before: torch.Tensor, after: torch.Tensor) -> None:
        """Count one tensor."""
        start = before.double()
        self._change += float((after.double() - start).square().sum())
        self._norm += float(start.square().sum())

    @property
    def relative(self) -> float | None:
        """The relative change; None where nothing but zeros was counted."""
        return math.sqrt(self._change / self._norm) if self._norm else None


def write_weights(file: Path, layout: Layout, make: Callable[[str], torch.Tensor]) -> None:
    """Write a safetensors file, each tensor made when its turn comes.

    The file has the header's length (8 bytes, little-endian), the header (JSON, padded to 8 bytes)
    and the tensors, those of wide types first, as safetensors' own writer orders them.

    Parameters
    ----------
    file : Path
        Written beside its place and then put there.
    layout : dict
        Name -> (type, shape).
    make : callable
        Gives the tensor of a name.
    """
    names = sorted(layout, key=lambda name: (-layout[name][0].itemsize, name))
    title = {dtype: name for name, dtype in TYPES.items()}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in names:
        dtype, shape = layout[name]
        start, end = end, end + dtype.itemsize * math.prod(shape)
        header[name] = {
            "dtype": title[dtype],
            "shape": list(shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    partial = file.with_name(f"{file.name}.partial")
    with partial.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            tensor = make(name)
            assert (tensor.dtype, tuple(tensor.shape)) == layout[name], name
            stream.write(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    os.replace(partial, file)


def check_parent(folder: Path) -> None:
    """Check that a model can be loaded and that its weights are plain numbers.

    Raises
    ------
    UserError
        It is damaged, or its weights are stored packed by another quantisation.
    """
    check_model_folder(folder)
    if "quantization_config" in read_json(folder / CONFIGURATION):
        raise UserError(
            f"The weights of {folder} are stored packed (config.json: quantization_config), which "
            "no other weights can be made from. Give the model that they were made from."
        )


def start_folder(parent: Path, output: Path) -> None:
    """Copy a model's small files: configuration, tokenizer, and how an embedding model pools.

    What an earlier run left in the folder goes first.
    """
    if parent.resolve() == output.resolve():
        raise ValueError(f"{output} cannot be made from itself")
    output.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(output / CHECKPOINTS, ignore_errors=True)
    for name in _wanted_files(output):
        (output / name).unlink()
    for name in _wanted_files(parent):
        if "/" in name or ".safetensors" not in name:  # the parent's weights, and their index
            (output / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(parent / name, output / name)


def places_of_weights(folder: Path) -> list[str]:
    """Name the folders that hold weights: the model's own, and modules such as 2_Dense."""
    modules = [name for name in _wanted_files(folder) if name.endswith(f"/{WEIGHTS}")]
    return [".", *(str(Path(name).parent) for name in modules)]


def is_of_backbone(name: str) -> bool:
    """Whether a weight counts in the relative change; the language-model head's do not."""
    return not name.startswith("lm_head")


def write_dtype(output: Path, dtype: torch.dtype) -> None:
    """Say in the configuration what type the weights are stored in."""
    config = read_json(output / CONFIGURATION)
    key = "torch_dtype" if "torch_dtype" in config else "dtype"
    write_json(output / CONFIGURATION, config | {key: str(dtype).removeprefix("torch.")})


def write_record(
    output: Path,
    *,
    recipe: str,
    seed: int | None,
    parent: Path,
    change: float | None,
    note: str,
    extra: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Write the record of a model that was not trained, with the keys of one that was.

    Parameters
    ----------
    output : Path
        The model's folder, its weights and configuration in it.
    recipe : str
    seed : int or None
    parent : Path
        Folder of the model that it was made from.
    change : float or None
        ‖θ − θ₀‖ / ‖θ₀‖ over the backbone, θ₀ the parent's weights.
    note : str
        What a reader has to know of the model.
    extra : dict, optional
        More entries.

    Returns
    -------
    The record.
    """
    record = {
        "model": output.name,
        "recipe": recipe,
        "seed": seed,
        "parent": parent.name,
        "sha256": weights_sha256(output),
        "attention": attention_mode(read_json(output / CONFIGURATION)),
        "steps": 0,
        "train_tokens": 0,
        "relative_weight_change": change,
        "checkpoints": {},
        "note": note,
    } | (extra or {})
    write_json(output / RECORD, record)
    return record


def seed_of(folder: Path) -> int | None:
    """The seed of a model's training, None where it was not trained in the study."""
    return _record(folder).get("seed")


def with_notes_of(note: str, *parents: Path) -> str:
    """Add what there is to know of the weights that a model was made from."""
    own = [(parent.name, _record(parent).get("note")) for parent in parents]
    return "; ".join([note, *(f"{name}: {text}" for name, text in own if text)])


def _record(folder: Path) -> dict[str, Any]:
    return read_json(folder / RECORD) if (folder / RECORD).exists() else {}


def _weight_files(folder: Path) -> list[Path]:
    """List the files that transformers reads: the one, or else those of the index."""
    if (folder / WEIGHTS).exists():
        return [folder / WEIGHTS]
    index = read_json(folder / f"{WEIGHTS}.index.json")
    return [folder / name for name in sorted(set(index["weight_map"].values()))]


def _wanted_files(folder: Path) -> list[str]:
    return wanted_files(
        file.relative_to(folder).as_posix()
        for file in folder.rglob("*")
        if file.is_file() or file.is_symlink()
    )

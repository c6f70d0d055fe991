"""The same weights read through a quantisation: what a model loses that is stored in few bits."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize, quantize

from hrsa.errors import UserError
from hrsa.models.variants import (
    WEIGHTS,
    StoredWeights,
    WeightChange,
    check_parent,
    is_of_backbone,
    places_of_weights,
    seed_of,
    start_folder,
    with_notes_of,
    write_dtype,
    write_record,
    write_weights,
)

RECIPE = "quantised"
# Those that gguf's Python package can write; the others (Q4_K, IQ4_XS, ...) it only reads.
QUANTISATIONS = (
    *("F16", "BF16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0", "MXFP4", "TQ2_0", "TQ1_0"),
)
# Matrices that llama.cpp never quantises: places and segments of encoders such as BERT.
KEPT_WHOLE = ("position_embeddings", "token_type_embeddings")


def quantise(parent: Path, output: Path, *, type: str) -> dict[str, Any]:
    """Quantise each matrix of a model and write what a reader of the quantised weights sees.

    As in llama.cpp, matrices are quantised along their rows (embeddings and head included), and
    norms and biases stay. The result is a model folder in float32.

    Parameters
    ----------
    parent : Path
        Model folder.
    output : Path
        The folder to fill.
    type : str
        One of `QUANTISATIONS`.

    Returns
    -------
    The record. Its note has the relative error ‖Δθ‖/‖θ‖ over the quantised matrices and how many
    are left whole, since their rows are no multiple of the type's block.

    Raises
    ------
    UserError
        The parent cannot be read, or there is no such type.
    """
    parent, output = Path(parent), Path(output)
    if type not in QUANTISATIONS:
        raise UserError(
            f"`type` of a quantised model is {type!r}; allowed: {', '.join(QUANTISATIONS)}."
        )
    check_parent(parent)
    reading = _Reading(type)
    reading.refuse_if_nothing_fits(parent)
    start_folder(parent, output)
    for place in places_of_weights(parent):
        weights = StoredWeights(parent / place)
        layout = {
            name: (torch.float32 if dtype.is_floating_point else dtype, shape)
            for name, (dtype, shape) in weights.layout.items()
        }
        write_weights(output / place / WEIGHTS, layout, partial(reading.read, weights))
    write_dtype(output, torch.float32)
    return write_record(
        output,
        recipe=RECIPE,
        seed=seed_of(parent),
        parent=parent,
        change=reading.change.relative,
        note=with_notes_of(reading.note(), parent),
        extra={"quantisation": type, "quantisation_error": reading.error.relative},
    )


class _Reading:
    """Weights as they are read through one type, and what that did to them."""

    def __init__(self, type: str):
        self.type = type
        self.block = GGML_QUANT_SIZES[GGMLQuantizationType[type]][0]
        self.change, self.error = WeightChange(), WeightChange()
        self.quantised = self.whole = 0

    def refuse_if_nothing_fits(self, parent: Path) -> None:
        for place in places_of_weights(parent):
            for name, (dtype, shape) in StoredWeights(parent / place).layout.items():
                if is_quantised(name, dtype, shape) and shape[-1] % self.block == 0:
                    return
        raise UserError(
            f"No matrix of {parent} has rows that are a multiple of {self.block}, the block of "
            f"{self.type}. Choose another `type`: {', '.join(QUANTISATIONS)}."
        )

    def read(self, weights: StoredWeights, name: str) -> torch.Tensor:
        stored = weights[name]
        whole = stored.float() if stored.is_floating_point() else stored
        after = whole
        if is_quantised(name, *weights.layout[name]):
            if whole.shape[-1] % self.block:
                self.whole += 1
            else:
                after = through(whole, self.type)
                self.quantised += 1
                self.error.add(whole, after)
        if is_of_backbone(name):
            self.change.add(stored, after)
        return after

    def note(self) -> str:
        error = f"relative error {self.error.relative or 0:.3g}"
        note = f"{self.quantised} matrices read through {self.type} ({error})"
        if self.whole:
            note += f"; {self.whole} left whole, their rows being no multiple of {self.block}"
        return note


def is_quantised(name: str, dtype: torch.dtype, shape: tuple[int, ...]) -> bool:
    """Whether a weight is a matrix of the kind that llama.cpp quantises."""
    is_matrix = len(shape) == 2 and dtype.is_floating_point
    return is_matrix and not any(part in name for part in KEPT_WHOLE)


def through(matrix: torch.Tensor, type: str) -> torch.Tensor:
    """Quantise a float32 matrix along its rows (a multiple of the block) and read it again."""
    kind = GGMLQuantizationType[type]
    return torch.from_numpy(dequantize(quantize(matrix.numpy(), kind), kind).copy())

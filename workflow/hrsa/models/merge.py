"""Merges: one model made from the weights of two, along a line or along a circle.

Spherical interpolation is Shoemake's slerp ("Animating rotation with quaternion curves", SIGGRAPH
1985, section 3.3), per weight tensor: the angle is that between the two normalised tensors, and
what is interpolated are the tensors as they are, as is usual in model merging (mergekit; Goddard
et al., "Arcee's MergeKit", arXiv 2403.13257).
"""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import torch

from hrsa.errors import UserError
from hrsa.models.loading import load_config
from hrsa.models.variants import (
    WEIGHTS,
    Layout,
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

RECIPE = "merge"
METHODS = ("linear", "slerp")
# Above this cosine two tensors count as parallel (mergekit's threshold): the two interpolations
# differ by less than 1e-4 of the tensors there, and sin θ would divide by next to nothing.
PARALLEL = 0.9995
# Entries of a configuration that change nothing in what given weights compute.
WITHOUT_EFFECT = {
    *("_name_or_path", "architectures", "transformers_version", "dtype", "torch_dtype"),
    *("use_cache", "is_causal", "initializer_range", "max_position_embeddings"),
    *("bos_token_id", "eos_token_id", "pad_token_id", "output_hidden_states", "return_dict"),
    *("output_attentions", "chunk_size_feed_forward", "id2label", "label2id", "problem_type"),
}
# Tokenizers keep here how they were last called.
OF_THE_LAST_CALL = ("truncation", "padding")
SHOWN = 3


def merge_models(
    first: Path, second: Path, output: Path, *, method: str, weight: float
) -> dict[str, Any]:
    """Merge two models of one architecture and one tokenizer.

    Tensors are interpolated in float64, one at a time, and written in the wider of the two stored
    types. Everything but the weights is the first model's.

    Parameters
    ----------
    first, second : Path
        Model folders.
    output : Path
        The folder to fill.
    method : str
        "linear": (1 − w)·a + w·b; "slerp": see `slerp`.
    weight : float
        w between 0 (the first model's weights, exactly) and 1 (the second's).

    Returns
    -------
    The record; its relative weight change is from the first model.

    Raises
    ------
    UserError
        The models differ in architecture or tokenizer, one of them cannot be read, or an argument
        is not allowed.
    """
    first, second, output = Path(first), Path(second), Path(output)
    if method not in METHODS:
        raise UserError(f"`method` of a merge is {method!r}; allowed: {', '.join(METHODS)}.")
    if not 0 <= weight <= 1:
        raise UserError(f"`weight` of a merge is {weight}; allowed are numbers from 0 to 1.")
    for parent in (first, second):
        check_parent(parent)
    check_alike(first, second)
    start_folder(first, output)
    merge = _Merge(method, weight)
    for place in places_of_weights(first):
        one, other = (StoredWeights(folder / place) for folder in (first, second))
        layout = _layout(one, other)
        write_weights(output / place / WEIGHTS, layout, partial(merge.tensor, one, other, layout))
    write_dtype(output, _widest(StoredWeights(output)))
    note = merge.note(first.name, second.name)
    return write_record(
        output,
        recipe=RECIPE,
        seed=seed_of(first),
        parent=first,
        change=merge.change.relative,
        note=with_notes_of(note, first, second),
        extra={"merged_with": second.name},
    )


class _Merge:
    """How tensors are merged, and what that did to the first model's."""

    def __init__(self, method: str, weight: float):
        self.method, self.weight = method, weight
        self.change, self.total, self.linear = WeightChange(), 0, 0

    def tensor(
        self, one: StoredWeights, other: StoredWeights, layout: Layout, name: str
    ) -> torch.Tensor:
        a, b = one[name], other[name]
        merged, is_linear = interpolate(a, b, method=self.method, weight=self.weight)
        self.total, self.linear = self.total + 1, self.linear + is_linear
        if is_of_backbone(name):
            self.change.add(a, merged)
        return merged.to(layout[name][0])

    def note(self, first: str, second: str) -> str:
        kind = {"linear": "linear", "slerp": "spherical"}[self.method]
        note = f"{kind} merge of {first} and {second} ({self.weight:g} of the latter)"
        if self.method == "slerp":
            note += f"; linear for {self.linear} of {self.total} tensors, nearly parallel or zero"
        return note


def interpolate(
    a: torch.Tensor, b: torch.Tensor, *, method: str, weight: float
) -> tuple[torch.Tensor, bool]:
    """Interpolate two tensors of one shape in float64; at the ends they come back as they are.

    Returns
    -------
    tensor
    is_linear : bool
        Whether it was along a line.
    """
    if not a.is_floating_point():  # a table of positions or a mask: nothing to be between
        return (b if weight == 1 else a), True
    if weight in (0, 1):
        return (b if weight else a), method == "linear"
    a, b = a.double(), b.double()
    spherical = slerp(a, b, weight) if method == "slerp" else None
    return ((1 - weight) * a + weight * b, True) if spherical is None else (spherical, False)


def slerp(a: torch.Tensor, b: torch.Tensor, weight: float) -> torch.Tensor | None:
    """sin((1 − w)θ)/sin θ · a + sin(wθ)/sin θ · b, θ the angle between a and b as flat vectors.

    Returns
    -------
    The tensor; None where the two are zero, nearly parallel or nearly opposite, so that θ says
    nothing and the interpolation has to be linear.
    """
    norms = float(a.norm()) * float(b.norm())
    cosine = float((a * b).sum()) / norms if norms else 1.0
    if abs(cosine) > PARALLEL:
        return None
    angle = math.acos(cosine)
    return (math.sin((1 - weight) * angle) * a + math.sin(weight * angle) * b) / math.sin(angle)


def check_alike(first: Path, second: Path) -> None:
    """Make sure that two models have one architecture and one tokenizer.

    Raises
    ------
    UserError
        They do not; the message names what differs.
    """
    differences = (
        _config_differences(first, second)
        or _weight_differences(first, second)
        or _tokenizer_differences(first, second)
    )
    if differences:
        more = len(differences) - SHOWN
        raise UserError(
            f"The models {first.name} and {second.name} cannot be merged, since they differ in "
            f"{'; '.join(differences[:SHOWN])}{f'; and {more} more' if more > 0 else ''}. A merge "
            "needs two models of one architecture with one tokenizer, such as two that were "
            f"trained from the same parent. (They are {first} and {second}.)"
        )


def _config_differences(first: Path, second: Path) -> list[str]:
    one, other = (
        {
            key: value
            for key, value in load_config(folder).to_dict().items()
            if key not in WITHOUT_EFFECT and not key.endswith(("dropout", "_pdrop"))
        }
        for folder in (first, second)
    )
    if one["model_type"] != other["model_type"]:  # all else then differs too
        one, other = ({"model_type": config["model_type"]} for config in (one, other))
    return [
        f"`{key}` ({one.get(key)} and {other.get(key)})"
        for key in sorted(one.keys() | other.keys())
        if one.get(key) != other.get(key)
    ]


def _weight_differences(first: Path, second: Path) -> list[str]:
    if places_of_weights(first) != places_of_weights(second):
        return ["the modules that hold weights (modules.json)"]
    differences = []
    for place in places_of_weights(first):
        one, other = (StoredWeights(folder / place).layout for folder in (first, second))
        for here, there, folder in ((one, other, second), (other, one, first)):
            differences += [
                f"the weight {name} (not in {folder.name})"
                for name in sorted(here)
                if name not in there and not _is_tied(name, first)
            ]
        differences += [
            f"the shape of {name} ({_shape(one[name])} and {_shape(other[name])})"
            for name in sorted(one)
            if name in other and one[name][1] != other[name][1]
        ]
    return differences


def _tokenizer_differences(first: Path, second: Path) -> list[str]:
    one, other = (_tokenizer(folder) for folder in (first, second))
    parts = [key for key in sorted(one.keys() | other.keys()) if one.get(key) != other.get(key)]
    return [f"the tokenizer (its {', '.join(parts)})"] if parts else []


def _tokenizer(folder: Path) -> dict[str, Any]:
    """Content of a tokenizer.json, of a tokenizer in older files too."""
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(
        str(folder), local_files_only=True, trust_remote_code=False
    )
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    return {key: value for key, value in content.items() if key not in OF_THE_LAST_CALL}


def _layout(one: StoredWeights, other: StoredWeights) -> Layout:
    """Types and shapes of the result; a head that shares the embeddings is in both or in none."""
    return {
        name: (torch.promote_types(dtype, other.layout[name][0]), shape)
        for name, (dtype, shape) in one.layout.items()
        if name in other.layout
    }


def _widest(weights: StoredWeights) -> torch.dtype:
    types = {dtype for dtype, _ in weights.layout.values() if dtype.is_floating_point}
    return max(types, key=lambda dtype: dtype.itemsize)


def _is_tied(name: str, folder: Path) -> bool:
    """Whether a weight is a copy of the embeddings, which some models are saved with."""
    return name == "lm_head.weight" and getattr(load_config(folder), "tie_word_embeddings", False)


def _shape(entry: tuple[torch.dtype, tuple[int, ...]]) -> str:
    return " × ".join(map(str, entry[1]))

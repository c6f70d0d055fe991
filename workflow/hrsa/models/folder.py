"""What every recipe leaves behind: weights, tokenizer, record, arguments, training curve."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors import safe_open

from hrsa.models.loading import attention_mode, weights_sha256

RECORD, ARGUMENTS, CURVE, CHECKPOINTS = "record.json", "arguments.json", "curve.csv", "checkpoints"


def save_model(folder: Path, model: Any, tokenizer: Any) -> None:
    """Save weights as one safetensors file, with configuration and tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)


def write_json(path: Path, content: dict) -> None:
    """Write JSON whose bytes depend on the content only."""
    path.write_text(json.dumps(content, indent=1, sort_keys=True, default=str) + "\n")


def finish_folder(
    folder: Path,
    model: Any,
    *,
    recipe: str,
    seed: int,
    steps: int,
    train_tokens: int,
    arguments: dict,
    curve: pd.DataFrame,
    parent: Path | None = None,
    parent_weights: dict[str, torch.Tensor] | None = None,
    checkpoint_tokens: dict[int, int] | None = None,
    note: str = "",
    extra: dict[str, Any] | None = None,
) -> None:
    """Write the record of a saved model, its training arguments and its curve.

    The record holds nothing that differs between two equal runs (no times, no absolute paths),
    since later steps of the study compare it to decide whether they are stale.

    Parameters
    ----------
    folder : Path
        Model folder in which weights and, under `checkpoints/<step>/`, exposed checkpoints lie.
    model : torch.nn.Module
        The trained model, for the weight change.
    parent_weights : dict of Tensor, optional
        The weights at the start, for the relative change ‖Δθ‖/‖θ‖.
    checkpoint_tokens : dict, optional
        Training tokens at each exposed checkpoint.
    note : str
        What a reader has to know of the model; shown in the report.
    extra : dict, optional
        More entries of the record, of which the recipe knows the meaning.
    """
    checkpoints = folder / CHECKPOINTS
    checkpoints.mkdir(exist_ok=True)
    write_json(
        folder / RECORD,
        {
            "model": folder.name,
            "recipe": recipe,
            "seed": seed,
            "parent": parent.name if parent else None,
            "sha256": weights_sha256(folder),
            "attention": attention_mode(model.config),
            "steps": steps,
            "train_tokens": train_tokens,
            "relative_weight_change": (
                relative_weight_change(parent_weights, model) if parent_weights else None
            ),
            "checkpoints": {
                str(step): {
                    "sha256": weights_sha256(checkpoints / str(step)),
                    "train_tokens": tokens,
                    "relative_weight_change": (
                        saved_weight_change(parent_weights, checkpoints / str(step))
                        if parent_weights
                        else None
                    ),
                }
                for step, tokens in sorted((checkpoint_tokens or {}).items())
            },
            "note": note,
        }
        | (extra or {}),
    )
    write_json(folder / ARGUMENTS, arguments)
    curve.to_csv(folder / CURVE, index=False, float_format="%.6g")


def backbone_weights(model: Any) -> dict[str, torch.Tensor]:
    """A copy of the weights without the language-model head's prefix, so that heads may differ."""
    return {
        name.removeprefix("model."): value.detach().cpu().clone()
        for name, value in model.state_dict().items()
        if not name.startswith("lm_head")
    }


def relative_weight_change(before: dict[str, torch.Tensor], model: Any) -> float:
    """‖θ − θ₀‖ / ‖θ₀‖ over the backbone's weights."""
    after = {
        name.removeprefix("model."): value.detach() for name, value in model.state_dict().items()
    }
    return _relative_change(before, lambda name: after[name].cpu())


def saved_weight_change(before: dict[str, torch.Tensor], folder: Path) -> float:
    """‖θ − θ₀‖ / ‖θ₀‖ over the backbone's weights of a saved model, read one by one."""
    with ExitStack() as files:
        found: dict[str, tuple[Any, str]] = {}
        for path in sorted(folder.glob("*.safetensors")):
            file = files.enter_context(safe_open(path, framework="pt"))
            found |= {name.removeprefix("model."): (file, name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        return _relative_change(before, lambda name: found[name][0].get_tensor(found[name][1]))


def _relative_change(
    before: dict[str, torch.Tensor], after: Callable[[str], torch.Tensor]
) -> float:
    change = norm = 0.0
    # One at a time in double: a large model fits once, not thrice.
    for name, value in before.items():
        start = value.double()
        change += float((after(name).double() - start).square().sum())
        norm += float(start.square().sum())
    return float((change / norm) ** 0.5)

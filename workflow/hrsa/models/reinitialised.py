"""The same architecture with new random weights: the floor that nothing learnt falls under."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from hrsa.errors import UserError
from hrsa.models.loading import load_config
from hrsa.models.variants import (
    WEIGHTS,
    StoredWeights,
    WeightChange,
    check_parent,
    is_of_backbone,
    places_of_weights,
    start_folder,
    write_dtype,
    write_record,
)

RECIPE = "reinitialised"
IN_ONE_FILE = "1000TB"
# A stream of its own: with the seed of the parent's pretraining the parent's very initial weights
# would come out, which a parent of few steps has hardly left.
STREAM = 1_000_003


def reinitialise(parent: Path, output: Path, *, seed: int) -> dict[str, Any]:
    """Write a model of the parent's architecture with weights as transformers draws them.

    Their scale is what the parent's configuration says (`initializer_range`); the random numbers
    are torch's on the CPU, so that one seed gives one model. Weights are float32.

    Parameters
    ----------
    parent : Path
        Model folder.
    output : Path
        The folder to fill.
    seed : int

    Returns
    -------
    The record; its relative weight change is from the parent.

    Raises
    ------
    UserError
        The parent cannot be read, or holds weights beside the transformer's (a Dense module),
        which transformers knows no distribution of.
    """
    parent, output = Path(parent), Path(output)
    check_parent(parent)
    if modules := places_of_weights(parent)[1:]:
        raise UserError(
            f"The model {parent} has modules with weights of their own ({', '.join(modules)}), "
            "which transformers cannot draw. Give an embedding model that only pools, or the model "
            "that it was trained from."
        )
    config = load_config(parent)
    start_folder(parent, output)
    with torch.random.fork_rng(devices=[]), TemporaryDirectory(dir=output) as new:
        torch.manual_seed(seed + STREAM)
        _model_class(config)(config).save_pretrained(new, max_shard_size=IN_ONE_FILE)
        os.replace(Path(new) / WEIGHTS, output / WEIGHTS)
    write_dtype(output, torch.float32)
    return write_record(
        output,
        recipe=RECIPE,
        seed=seed,
        parent=parent,
        change=_change(StoredWeights(parent), StoredWeights(output)),
        note=f"random weights in the architecture of {parent.name}; nothing is learnt",
    )


def _model_class(config: Any) -> Any:
    """The class that the parent was saved from, so that the weights' names are the parent's."""
    import transformers

    named = (config.architectures or [""])[0]
    known = getattr(transformers, named, None)
    if isinstance(known, type) and issubclass(known, transformers.PreTrainedModel):
        return known
    return partial(transformers.AutoModel.from_config, dtype=torch.float32)


def _change(before: StoredWeights, after: StoredWeights) -> float | None:
    change = WeightChange()
    for name in before:
        if name in after and is_of_backbone(name):
            change.add(before[name], after[name])
    return change.relative

"""LoRA: train small matrices beside the frozen weights (Hu et al. 2021, arXiv 2106.09685).

A model that was trained this way is merged when it is saved, so that whatever reads it later sees
an ordinary folder.
"""

import copy
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model


def add_lora(model: Any, lora: dict | None, *, seed: int) -> Any:
    """Freeze a model and put trainable low-rank matrices beside all linear layers of its blocks.

    Parameters
    ----------
    model : PreTrainedModel
        With or without a language-model head, which stays as it is, as the embeddings do.
    lora : dict or None
        rank, alpha (the update is scaled by alpha/rank), dropout. None: no LoRA.
    seed : int
        Of the matrices' first values; the update that they make is zero at the start.

    Returns
    -------
    The model with its adapter, or the model itself without LoRA.
    """
    if lora is None:
        return model
    config = LoraConfig(
        r=lora["rank"],
        lora_alpha=lora["alpha"],
        lora_dropout=lora["dropout"],
        target_modules="all-linear",
    )
    # by default the state of every visible GPU is kept, which takes memory on each of them
    with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
        torch.manual_seed(seed)
        return get_peft_model(model, config)


def merge_lora(model: Any) -> Any:
    """The plain model, its low-rank updates added to its weights.

    Parameters
    ----------
    model : PeftModel or PreTrainedModel
        It stays as it is, and its training may go on.

    Returns
    -------
    A copy on the CPU without adapters, so that a GPU holds the weights once. A model without LoRA
    is returned itself.
    """
    if not isinstance(model, PeftModel):
        return model
    values = [*model.named_parameters(), *model.named_buffers()]
    merged = copy.deepcopy(model, {id(value): _on_cpu(value) for _, value in values})
    merged = merged.merge_and_unload()
    vars(merged).pop("forward", None)  # a trainer may have put its own there, of the model copied
    return merged.requires_grad_(True)


def _on_cpu(value: torch.Tensor) -> torch.Tensor:
    copied = value.detach().to("cpu", copy=True)
    return torch.nn.Parameter(copied) if isinstance(value, torch.nn.Parameter) else copied

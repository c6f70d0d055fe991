"""Where a model is put: the CPU, one GPU, or several that share its layers."""

from __future__ import annotations

import re
from typing import Any

from hrsa.errors import UserError

BYTES_OF_DTYPE = {"float32": 4, "float64": 8, "bfloat16": 2, "float16": 2}
SEVERAL = "several"
# Share of a GPU's free memory that weights may take; the rest is for the states of a batch.
WEIGHTS_SHARE = 0.8


def resolve_device(device: str, n_bytes: int) -> str:
    """Decide where a model goes.

    Parameters
    ----------
    device
        "cpu"; "cuda" or "cuda:<number>", one GPU; or "auto": the GPU with the most free memory
        where the weights fit one, several GPUs where they do not and there are several, the CPU
        otherwise.
    n_bytes
        Size of the weights in the type that they are loaded in.

    Returns
    -------
    "cpu", "cuda:<number>" or `SEVERAL`.

    Raises
    ------
    UserError
        There is no such device.
    """
    import torch

    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return _roomiest([torch.cuda.mem_get_info(gpu)[0] for gpu in range(n_gpus)], n_bytes)
    if device == "cpu":
        return device
    number = re.fullmatch(r"cuda(?::(\d+))?", device)
    if number and int(number[1] or 0) < n_gpus:
        return f"cuda:{int(number[1] or 0)}"
    gpus = [f"cuda:{gpu}" for gpu in range(n_gpus)]
    raise UserError(
        f"device {device!r} is not on this machine, where torch finds {n_gpus or 'no'} GPUs; "
        f"allowed: {', '.join(['auto', 'cpu', *gpus])}."
    )


def placement_arguments(device: str) -> dict[str, Any]:
    """Arguments of transformers' ``from_pretrained`` that load onto what `resolve_device` gave."""
    if device == "cpu":
        return {}
    return {"device_map": "auto" if device == SEVERAL else {"": device}}


def _roomiest(free: list[int], n_bytes: int) -> str:
    if free and n_bytes <= WEIGHTS_SHARE * max(free):
        return f"cuda:{free.index(max(free))}"
    return SEVERAL if len(free) > 1 else "cpu"

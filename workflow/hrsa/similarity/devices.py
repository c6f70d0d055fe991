"""Where large products are computed: in NumPy, or on a GPU through torch when there is one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

# Drivers of NVIDIA and AMD show one of these: without them torch need not be imported at all.
_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")


def mover(device: str = "auto") -> Callable[[np.ndarray], Any]:
    """A function that takes an array to where products are computed.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda"}
        "auto": a GPU where there is one.

    Returns
    -------
    callable
        NumPy arrays stay what they are on the CPU; on a GPU they become torch tensors, which
        multiply by the same operators. torch is imported only then.

    Raises
    ------
    ValueError
        When "cuda" is asked for and there is none.
    """
    if device == "cpu" or (device == "auto" and not any(Path(one).exists() for one in _DRIVERS)):
        return np.asarray
    if device not in ("auto", "cuda"):
        raise ValueError(f"device must be auto, cpu or cuda, got {device!r}")
    import torch

    if not torch.cuda.is_available():
        if device == "auto":
            return np.asarray
        raise ValueError("device is cuda, but torch finds no GPU: use auto or cpu")
    return lambda array: torch.from_numpy(np.ascontiguousarray(array)).to("cuda")

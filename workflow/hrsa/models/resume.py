"""State of an unfinished training run: written often, read by the run that goes on, then removed.

Only files that this study wrote are read, and only as tensors (`weights_only=True`).
"""

from pathlib import Path
from typing import Any

import torch

STATE = "state.pt"


def save_state(folder: Path, step: int, losses: list[float], *parts: Any) -> None:
    """Save the state dicts of model, optimiser, …; a kill leaves the older state whole."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{STATE}.partial"
    torch.save(
        {"step": step, "losses": losses, "parts": [part.state_dict() for part in parts]}, partial
    )
    partial.replace(folder / STATE)


def load_state(folder: Path, *parts: Any) -> tuple[int, list[float]]:
    """Load the state into the parts; (0, []) where there is none."""
    path = folder / STATE
    if not path.exists():
        return 0, []
    state = torch.load(path, weights_only=True)
    for part, values in zip(parts, state["parts"], strict=True):
        part.load_state_dict(values)
    return int(state["step"]), list(state["losses"])

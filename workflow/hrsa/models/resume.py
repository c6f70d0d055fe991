"""State of an unfinished training run: written often, read by the run that goes on, then removed.

Only files that this study wrote are read, and only as tensors (`weights_only=True`).
"""

import json
from pathlib import Path
from typing import Any

import torch

STATE = "state.pt"
STATE_OF_TRAINER = "trainer_state.json"  # in each checkpoint of transformers' Trainer


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
    state = torch.load(path, map_location="cpu", weights_only=True)
    for part, values in zip(parts, state["parts"], strict=True):
        part.load_state_dict(values)
    return int(state["step"]), list(state["losses"])


def last_whole_checkpoint(folder: Path) -> str | None:
    """The last checkpoint of transformers' Trainer that was written to its end, if there is one.

    The trainer writes a checkpoint in place and its own state last: where that is missing or cut
    short, the run was killed as it wrote. Nothing is removed, since several processes may look.
    """
    whole = {
        int(path.name.rpartition("-")[2]): path
        for path in folder.glob("checkpoint-*")
        if _is_whole(path)
    }
    return str(whole[max(whole)]) if whole else None


def _is_whole(checkpoint: Path) -> bool:
    try:
        json.loads((checkpoint / STATE_OF_TRAINER).read_bytes())
    except (OSError, ValueError):
        return False
    return True

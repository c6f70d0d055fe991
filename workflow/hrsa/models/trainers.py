"""What the recipes built on transformers' Trainer share: arguments, checkpoints, curves."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
from transformers import TrainerCallback
from transformers.trainer_utils import get_last_checkpoint

from hrsa.models.folder import CHECKPOINTS


def common_arguments(resume: Path, *, seed: int, steps: int, save_every: int) -> dict[str, Any]:
    """Training arguments that every recipe uses: one device, fp32 on a CPU, nothing reported.

    The trainer's own checkpoints go to `resume`, outside the model's folder, since they hold the
    optimiser's pickled state.
    """
    return {
        "output_dir": str(resume),
        "max_steps": steps,
        "seed": seed,
        "data_seed": seed,
        "save_strategy": "steps",
        "save_steps": save_every,
        "save_total_limit": 1,
        "logging_steps": 1,
        "report_to": "none",
        "disable_tqdm": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "dataloader_pin_memory": False,
    }


def resume_from(resume: Path) -> str | None:
    """The trainer's last checkpoint of a run that was killed, None for a fresh start."""
    return get_last_checkpoint(str(resume)) if resume.is_dir() else None


class ExposeCheckpoints(TrainerCallback):
    """Save the model as a folder of its own at the steps that a study asks for.

    They wait beside the state of the run, so that a run that goes on after a kill still has those
    from before it; `place` puts them into the finished model's folder.

    Parameters
    ----------
    resume : Path
        Folder of the run's state.
    steps : list of int
    save : callable
        Writes the model as it is now to the folder that it is given.
    """

    def __init__(self, resume: Path, steps: list[int], save: Any):
        self.waiting, self.steps, self.save = resume / "exposed", set(steps), save

    def on_step_end(self, args, state, control, **kwargs):  # noqa: D102 (transformers' hook)
        if state.global_step in self.steps:
            self.save(self.waiting / str(state.global_step))

    def place(self, output: Path) -> None:
        """Copy the checkpoints to `checkpoints/<step>/` of the model's folder."""
        for step in sorted(self.steps):
            shutil.copytree(
                self.waiting / str(step), output / CHECKPOINTS / str(step), dirs_exist_ok=True
            )


def curve_of(history: list[dict], columns: dict[str, str]) -> pd.DataFrame:
    """The trainer's log as a table: `step`, and `columns` (name in the log -> name here)."""
    rows = [
        {"step": entry["step"]}
        | {name: entry[key] for key, name in columns.items() if key in entry}
        for entry in history
        if any(key in entry for key in columns)
    ]
    return pd.DataFrame(rows, columns=["step", *columns.values()])


def plain_arguments(arguments: Any) -> dict[str, Any]:
    """A trainer's arguments as plain values, without paths and host names."""
    hidden = ("dir", "hub_", "_n_gpu", "local_rank", "deepspeed", "project", "run_name")
    return {
        key: value
        for key, value in arguments.to_dict().items()
        if not any(part in key for part in hidden) and value not in (None, "", [], {})
    }

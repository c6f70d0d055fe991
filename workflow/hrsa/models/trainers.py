"""What the recipes built on transformers' Trainer share: arguments, checkpoints, curves, faults."""

import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import TrainerCallback

from hrsa.errors import UserError
from hrsa.models.folder import CHECKPOINTS
from hrsa.models.resume import last_whole_checkpoint

PRECISIONS = ("auto", "float32", "bfloat16")
# Times the norm of the weights at the start: training that goes well moves them far less.
BLOWN_UP = 10
# All but cuDNN's, PyTorch's first choice on recent GPUs: where padding is masked, the gradient of a
# query whose scores are all very low is no number there if the length is 64 more than a multiple of
# 128 (PyTorch 2.11 to 2.13, its issue 196678). Models with massive activations have such queries.
ATTENTION_KERNELS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


def common_arguments(resume: Path, *, seed: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Training arguments that every recipe uses; nothing is reported to a service.

    The trainer's own checkpoints go to `resume`, outside the model's folder, since they hold the
    optimiser's pickled state.

    Parameters
    ----------
    resume : Path
    seed : int
        Of everything random in the training.
    settings : dict
        steps, learning_rate, schedule, warmup_steps (below 1 a share of the steps), weight_decay,
        save_every (steps), precision, gradient_checkpointing.
    """
    return {
        "output_dir": str(resume),
        "max_steps": settings["steps"],
        "seed": seed,
        "data_seed": seed,
        "learning_rate": settings["learning_rate"],
        "lr_scheduler_type": settings["schedule"],
        "warmup_steps": settings["warmup_steps"],
        "weight_decay": settings["weight_decay"],
        # No state is written that nothing could go on from: the run ends with the model itself.
        "save_strategy": "steps" if settings["save_every"] < settings["steps"] else "no",
        "save_steps": settings["save_every"],
        # Whether a state is good shows at the next step; until then the one before it is kept too.
        "save_total_limit": 2,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # a loss that is no number must be seen
        "report_to": "none",
        "use_cpu": not torch.cuda.is_available(),  # without it bfloat16 is refused there
        "disable_tqdm": True,
        "bf16": computes_in_bfloat16(settings["precision"]),
        "gradient_checkpointing": settings["gradient_checkpointing"],
        "dataloader_pin_memory": False,
    }


def batch_arguments(batch_size: int, micro_batch: int | None) -> dict[str, int]:
    """Share a step's batch among processes, and cut what each has into micro-batches.

    Parameters
    ----------
    batch_size : int
        Examples of a step, over all processes.
    micro_batch : int or None
        Most examples that one process computes at a time; None: all that it has.

    Raises
    ------
    UserError
        The batch cannot be shared or cut evenly.
    """
    own = per_process(batch_size)
    micro = min(micro_batch or own, own)
    if own % micro:
        raise UserError(
            f"`micro_batch` is {micro}, which does not divide the {own} examples that a process "
            f"has in a step; allowed: {_divisors(own)}."
        )
    return {"per_device_train_batch_size": micro, "gradient_accumulation_steps": own // micro}


def per_process(batch_size: int) -> int:
    """Examples of a step that one process has (`accelerate` tells it how many there are)."""
    n_processes = process_count()
    if batch_size % n_processes:
        raise UserError(
            f"`batch_size` is {batch_size}, which {n_processes} processes cannot share evenly; "
            f"give a multiple of {n_processes}, or other `gpus`."
        )
    return batch_size // n_processes


def process_count() -> int:
    """Processes that train one model together; 1 unless `accelerate` started several."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main_process() -> bool:
    """Whether this process is the one that writes the model."""
    return int(os.environ.get("RANK", "0")) == 0


def computes_in_bfloat16(precision: str) -> bool:
    """Whether forward and backward passes run in bfloat16 (weights stay in float32).

    "auto" is bfloat16 on a GPU that has it and float32 on a CPU, where bfloat16 is slower.
    """
    if precision == "auto":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return precision == "bfloat16"


def run(trainer: Any, resume: Path, *, settings: dict[str, Any]) -> None:
    """Train to the end, from the last checkpoint of a run that was killed.

    Raises
    ------
    UserError
        The training diverges, or memory does not suffice: what to change. Of the checkpoints in
        `resume` good ones alone stay.
    """
    trainer.add_callback(StopWhereItDiverges())
    try:
        with sdpa_kernel(ATTENTION_KERNELS):
            trainer.train(resume_from_checkpoint=resume_from(resume))
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(_too_large(settings)) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, of the machine or of a GPU, does not suffice."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        sign in str(error) for sign in ("can't allocate memory", "not enough memory")
    )


def _too_large(settings: dict[str, Any]) -> str:
    of_step = settings.get("batch_size") or settings["prompts_per_step"] * settings["completions"]
    own = per_process(of_step)
    used = min(settings["micro_batch"] or own, own)
    length = "max_length" if "max_length" in settings else "max_completion_tokens"
    others = f"`gradient_checkpointing: true`, a smaller `{length}`, or `lora`"
    if used == 1:
        return f"Memory does not suffice for one example at a time. Set {others}."
    smaller = max(size for size in range(1, used) if own % size == 0)
    return (
        f"Memory does not suffice for {used} examples at a time. Set `micro_batch: {smaller}` in "
        f"the model's settings: a step's batch stays the same. If that is not enough: {others}."
    )


def resume_from(resume: Path) -> str | None:
    """The trainer's last whole checkpoint of a run that was killed, None for a fresh start."""
    return last_whole_checkpoint(resume)


class StopWhereItDiverges(TrainerCallback):
    """Stop where loss, gradient or weights are no numbers, and keep no checkpoint that is ruined.

    The loss and the gradient of a step are of the weights before its update: a checkpoint is known
    to be good when the step after it has gone well.
    """

    def __init__(self):
        self.norm_at_start = math.inf

    def on_train_begin(self, args, state, control, model=None, **kwargs):  # noqa: D102
        self.norm_at_start = weight_norm(model)

    def on_log(self, args, state, control, logs=None, model=None, **kwargs):  # noqa: D102
        for key, name in (("loss", "loss"), ("grad_norm", "norm of the gradient")):
            value = (logs or {}).get(key, 0.0)
            if not math.isfinite(value):
                _stop(f"The {name} of step {state.global_step} is {value}", args, state)
        if control.should_save:
            norm = _finite_norm(model, args, state)
            # the training may go on, and may find back; no run has to go on from here
            control.should_save = norm <= BLOWN_UP * self.norm_at_start

    def on_train_end(self, args, state, control, model=None, **kwargs):  # noqa: D102
        _finite_norm(model, args, state)


def _finite_norm(model: torch.nn.Module, args: Any, state: Any) -> float:
    norm = weight_norm(model)
    if not math.isfinite(norm):
        _stop(f"The norm of the weights after step {state.global_step} is {norm}", args, state)
    return norm


def weight_norm(model: torch.nn.Module) -> float:
    """The Euclidean norm of all weights of a model."""
    weights = [weight.detach() for weight in model.parameters()]
    return float(torch.nn.utils.get_total_norm(weights))


def _stop(what: str, args: Any, state: Any) -> NoReturn:
    resume = Path(args.output_dir)
    good, ruined = _judged(resume, state)
    if state.is_world_process_zero:
        for checkpoint in ruined:
            shutil.rmtree(checkpoint, ignore_errors=True)
    kept = "No checkpoint that is known to be good is left"
    if good:
        last = good[max(good)]
        kept = f"The last good state, after step {max(good)}, is in {resume.name}/{last.name}"
    raise UserError(
        f"{what}: the training has diverged. Lower `learning_rate` (it is {args.learning_rate:g}) "
        f"or lengthen `warmup_steps`, and run again: a run with other settings starts anew. {kept}."
    )


def _judged(resume: Path, state: Any) -> tuple[dict[int, Path], list[Path]]:
    """The good checkpoints by their steps, and all others."""
    logged = {entry["step"]: entry for entry in state.log_history if "loss" in entry}
    first = abs(logged[min(logged)]["loss"]) if logged else math.inf

    def is_good(step: int) -> bool:
        after = logged.get(step + 1, {"loss": math.inf})
        loss, norm = after["loss"], after.get("grad_norm", 0.0)
        # far above the loss at the start the state has blown up, though all be numbers
        return math.isfinite(loss) and math.isfinite(norm) and loss <= 1 + 2 * first

    checkpoints = {int(path.name.rpartition("-")[2]): path for path in resume.glob("checkpoint-*")}
    good = {step: path for step, path in checkpoints.items() if is_good(step)}
    return good, [path for step, path in checkpoints.items() if step not in good]


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

    def __init__(self, resume: Path, steps: list[int], save: Callable[[Path], Any]):
        self.waiting, self.steps, self.save = resume / "exposed", set(steps), save

    def on_step_end(self, args, state, control, **kwargs):  # noqa: D102 (transformers' hook)
        if state.global_step in self.steps and state.is_world_process_zero:
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


def _divisors(number: int) -> str:
    return ", ".join(str(one) for one in range(1, number + 1) if number % one == 0)

"""Training with several processes, one for each GPU, started by `accelerate`.

`launch` writes what a recipe is called with to a file, starts the processes and waits for them.
Each runs this module (``python -m hrsa_workflow.launch FILE``) and calls the recipe; the recipes'
trainers find each other by what accelerate puts into the environment.

How the processes work together is a matter of the machine, not of the study: the environment
variable ACCELERATE_CONFIG_FILE names a file that `accelerate config` wrote. Without it, it is plain
data parallelism, whatever accelerate's own default file says. Each process has to hold the whole
model, since one of them writes it.
"""

import json
import os
import shutil
import stat
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from hrsa.errors import UserError

CONFIGURATION = "ACCELERATE_CONFIG_FILE"
PACKAGES = Path(__file__).parents[1]
THREADS = "OMP_NUM_THREADS"
# In which processes that fail together have all written why.
SECONDS_TO_LEAVE = 3


@dataclass(frozen=True)
class Training:
    """What a recipe is called with.

    Attributes
    ----------
    recipe
        Name of its module, which has a function `train`.
    output, parent, data, seed, resume, settings
        The arguments of `train`.
    """

    recipe: str
    output: Path
    parent: Path | None
    data: dict[str, Path]
    seed: int
    resume: Path
    settings: dict[str, Any]

    def run(self, train: Callable[..., None] | None = None) -> None:
        """Call the recipe, all sources of random numbers seeded first."""
        train = train or import_module(self.recipe).train
        seed_everything(self.seed)
        arguments = {name: value for name, value in vars(self).items() if name != "recipe"}
        train(arguments.pop("output"), **arguments)

    def to_json(self) -> str:
        """Write it as JSON."""
        return json.dumps(asdict(self), indent=1, default=str)

    @classmethod
    def from_json(cls, text: str) -> "Training":
        """Read what `to_json` wrote."""
        fields = json.loads(text)
        paths = {name: Path(fields[name]) for name in ("output", "resume")}
        parent = Path(fields["parent"]) if fields["parent"] else None
        data = {name: Path(file) for name, file in fields["data"].items()}
        return cls(**fields | paths | {"parent": parent, "data": data})


def seed_everything(seed: int) -> None:
    """Seed Python's, numpy's and torch's global random numbers, those of every GPU too."""
    import random

    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 (libraries draw from it)
    torch.manual_seed(seed)


def usable_processes(gpus: int) -> int:
    """Say how many processes train one model together, of as many GPUs as a job was given.

    Without any GPU it is one: more would share the same cores. The batch of a step is the same in
    any case.

    Raises
    ------
    UserError
        The machine has some GPUs, but fewer.
    """
    if gpus <= 1:
        return 1
    import torch

    visible = torch.cuda.device_count()
    if not visible:
        print(f"There is no GPU here for `gpus: {gpus}`: training with one process on the CPU.")
        return 1
    if visible < gpus:
        raise UserError(
            f"The training asks for `gpus: {gpus}`, but {visible} can be seen here. Set `gpus` to "
            f"at most {visible}, or make more visible (CUDA_VISIBLE_DEVICES)."
        )
    return gpus


def show_one_gpu() -> None:
    """Hide all GPUs but the first from this process, which has not used any yet.

    transformers' trainer would otherwise train on all that it sees, each with a whole batch.
    """
    import torch

    if torch.cuda.device_count() > 1:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0")
        os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[0]


def launch(training: Training, n_processes: int) -> None:
    """Train with several processes, and wait for them.

    What they print comes where this process prints. They end when one of them fails and when this
    process ends, by whatever signal.

    Parameters
    ----------
    training
        What each process runs.
    n_processes
        How many.

    Raises
    ------
    UserError
        What a process raised, once.
    RuntimeError
        A process failed in another way; its traceback has been printed.
    """
    folder = training.resume / "launch"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    spec = folder / "training.json"
    spec.write_text(training.to_json(), encoding="utf-8")
    with (folder / "launcher.log").open("w+b") as log:
        # A pipe that nothing is written to: its end tells the processes that this one has ended.
        process = subprocess.Popen(
            command(spec, n_processes),
            env=environment(n_processes),
            stdin=subprocess.PIPE,
            stderr=log,
        )
        try:
            status = process.wait()
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()
    if status == 0:
        return
    if errors := sorted(folder.glob("error-*.txt")):
        raise UserError(errors[0].read_text(encoding="utf-8"))
    print((folder / "launcher.log").read_text(encoding="utf-8", errors="replace"), flush=True)
    raise RuntimeError(f"One of the {n_processes} processes of the training failed.")


def command(spec: Path, n_processes: int) -> list[str]:
    """Give the command line that starts the processes.

    Raises
    ------
    UserError
        The accelerate configuration that the environment names is not there.
    """
    options = {
        "config_file": str(accelerate_configuration(spec.parent)),
        "num_processes": str(n_processes),
        "main_process_port": "0",  # a free one
        "mixed_precision": "no",  # the trainer sets the study's
        "num_cpu_threads_per_process": str(threads_each(n_processes)),
    }
    return [
        *(sys.executable, "-m", "accelerate.commands.launch"),
        *(part for name, value in options.items() for part in (f"--{name}", value)),
        *("--module", "hrsa_workflow.launch", str(spec)),
    ]


def accelerate_configuration(folder: Path) -> Path:
    """Find the configuration file for accelerate: the user's, or one for plain data parallelism.

    Raises
    ------
    UserError
        The user's is not there, or would leave each process with a part of the model only.
    """
    if name := os.environ.get(CONFIGURATION):
        if not Path(name).is_file():
            raise UserError(
                f"The environment variable {CONFIGURATION} names {name}, which is no file. Name "
                "one that `accelerate config --config_file FILE` wrote, or unset it."
            )
        refuse_shared_weights(Path(name))
        return Path(name)
    file = folder / "accelerate.json"
    plain = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": "MULTI_GPU",
        "num_machines": 1,
        "machine_rank": 0,
        "mixed_precision": "no",
        "use_cpu": False,
        "debug": False,
    }
    file.write_text(json.dumps(plain), encoding="utf-8")
    return file


def refuse_shared_weights(file: Path) -> None:
    """Refuse a configuration by which no process holds the whole model.

    Raises
    ------
    UserError
        It is for FSDP, for stage 3 of DeepSpeed's ZeRO, or for anything else but data parallelism.
    """
    content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    kind, zero = content.get("distributed_type"), content.get("deepspeed_config") or {}
    stage = zero.get("zero_stage")
    if own := zero.get("deepspeed_config_file"):
        text = Path(own).read_text(encoding="utf-8")
        stage = json.loads(text).get("zero_optimization", {}).get("stage", 0)
    if kind == "MULTI_GPU" or (kind == "DEEPSPEED" and stage in (0, 1, 2)):
        return
    stated = f"{kind} with ZeRO stage {stage}" if kind == "DEEPSPEED" else kind
    raise UserError(
        f"The accelerate configuration {file} asks for the distributed type {stated}; allowed are "
        "MULTI_GPU, and DEEPSPEED with a ZeRO stage of 0, 1 or 2: each process has to hold the "
        "whole model, which one of them writes. Where it does not fit, set `lora`, "
        "`gradient_checkpointing: true` or a smaller `micro_batch`."
    )


def environment(n_processes: int) -> dict[str, str]:
    """Give the environment of the processes: they find these packages, and hash alike."""
    paths = [str(PACKAGES), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONHASHSEED": "0",
        "HRSA_PROCESSES": str(n_processes),
    }


def threads_each(n_processes: int) -> int:
    """Share the threads of this job among its processes."""
    return max(1, int(os.environ.get(THREADS, "1")) // n_processes)


def main(spec: Path) -> None:
    """Be one of the processes: train, and leave a user's mistake where `launch` finds it."""
    end_with_parent()
    os.dup2(1, 2)  # stderr is the launcher's, who tells in its own words that a process failed
    status = 1
    try:
        check_world()
        meet_on_cpu()
        Training.from_json(spec.read_text(encoding="utf-8")).run()
        status = 0
    except UserError as error:
        leave(error, spec.parent)
    except BaseException:
        if not another_left_a_mistake(spec.parent):
            traceback.print_exc()
    if status:
        # At once: the others wait for this process, and it would wait for them at its exit.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def check_world() -> None:
    """Make sure that as many processes were started as GPUs were given."""
    expected, started = (
        int(os.environ.get(name, "1")) for name in ("HRSA_PROCESSES", "WORLD_SIZE")
    )
    if started != expected:
        raise UserError(
            f"The accelerate configuration {os.environ.get(CONFIGURATION, '')} starts {started} "
            f"process(es) where the training has {expected} GPUs. Choose a distributed type in it "
            f"(`accelerate config`), or unset {CONFIGURATION}."
        )


def meet_on_cpu() -> None:
    """Say that processes without a GPU train together on the CPU (gloo).

    Otherwise each would take itself for the only one and train alone.
    """
    import torch

    if not torch.cuda.is_available():
        os.environ["ACCELERATE_USE_CPU"] = "true"


def leave(error: UserError, folder: Path) -> None:
    """Write a message so that it is there whole or not at all."""
    rank = int(os.environ.get("RANK", "0"))
    partial = folder / f"error-{rank:04d}.partial"
    partial.write_text(str(error), encoding="utf-8")
    partial.rename(partial.with_suffix(".txt"))


def another_left_a_mistake(folder: Path) -> bool:
    """Whether another process fails for a user's mistake: then this one only lost touch with it."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return False
    end = time.monotonic() + SECONDS_TO_LEAVE
    while time.monotonic() < end:
        if any(folder.glob("error-*.txt")):
            return True
        time.sleep(0.1)
    return False


def end_with_parent() -> None:
    """End this process when the job ends that started it, killed or not.

    Otherwise a killed job's processes would go on training, beside those of its next try.
    """
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        pipe = os.dup(0)

        def wait() -> None:
            while os.read(pipe, 1):
                pass
            os._exit(1)

        threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

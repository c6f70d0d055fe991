"""Running a recipe as a job: its arguments, its processes, and a resume folder that fits them."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hrsa_workflow.launch import Training, launch, show_one_gpu, usable_processes
from hrsa_workflow.strict_yaml import canonical


def run_recipe(snakemake: Any, train: Callable[..., None]) -> None:
    """Train one instance, with as many processes as GPUs were given to the job.

    A killed run goes on from the state in its resume folder, but only if that state is of the very
    same training; what is left of another one is removed first, and all of it in the end.
    """
    training = training_of(snakemake, train)
    n_processes = usable_processes(int(snakemake.resources.get("gpu", 1)))
    prepare_resume(training.resume, key=_key(snakemake, training, n_processes))
    if n_processes > 1:
        launch(training, n_processes)
    else:
        show_one_gpu()
        training.run(train)
    Path(snakemake.output.checkpoints).mkdir(exist_ok=True)
    shutil.rmtree(training.resume, ignore_errors=True)


def training_of(snakemake: Any, train: Callable[..., None]) -> Training:
    """What a job calls its recipe with; files of training data come in the order of their names."""
    parent = snakemake.input.get("parent_record")
    files = snakemake.input.data
    files = [files] if isinstance(files, str) else files
    return Training(
        recipe=train.__module__,
        output=Path(snakemake.output.record).parent,
        parent=Path(parent).parent if parent else None,
        data=dict(zip(snakemake.params.data_names, map(Path, files), strict=True)),
        seed=snakemake.params.seed,
        resume=Path(snakemake.params.resume),
        settings=dict(snakemake.params.settings),
    )


def prepare_resume(folder: Path, *, key: dict[str, Any]) -> None:
    """Keep a resume folder whose key is the same; empty it otherwise."""
    text = json.dumps(canonical(key), indent=1) + "\n"
    file = folder / "training.json"
    if not file.exists() or file.read_text(encoding="utf-8") != text:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        file.write_text(text, encoding="utf-8")


def _key(snakemake: Any, training: Training, n_processes: int) -> dict[str, Any]:
    record = training.parent / "record.json" if training.parent else None
    return {
        "code": snakemake.params.code,
        "seed": training.seed,
        "data": snakemake.params.data,
        # mined negatives and tables of difficulty depend on a model too, which `data` does not tell
        "files": {name: _sha256(file) for name, file in training.data.items()},
        "settings": training.settings,
        # each process has random states of its own
        "processes": n_processes,
        "parent": json.loads(record.read_text(encoding="utf-8"))["sha256"] if record else None,
    }


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

"""Running a recipe as a job: its arguments, and a resume folder that fits them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hrsa_workflow.strict_yaml import canonical


def run_recipe(snakemake: Any, train: Callable[..., None]) -> None:
    """Train one instance.

    A killed run goes on from the state in its resume folder, but only if that state is of the very
    same training; what is left of another one is removed first, and all of it in the end.
    """
    parent = snakemake.input.get("parent_record")
    settings = dict(snakemake.params.settings)
    resume = Path(snakemake.params.resume)
    prepare_resume(resume, key=_key(snakemake, parent, settings))
    train(
        Path(snakemake.output.record).parent,
        parent=Path(parent).parent if parent else None,
        corpus=Path(snakemake.input.corpus[0]).parent,
        seed=snakemake.params.seed,
        resume=resume,
        settings=settings,
    )
    Path(snakemake.output.checkpoints).mkdir(exist_ok=True)
    shutil.rmtree(resume, ignore_errors=True)


def prepare_resume(folder: Path, *, key: dict[str, Any]) -> None:
    """Keep a resume folder whose key is the same; empty it otherwise."""
    text = json.dumps(canonical(key), indent=1) + "\n"
    file = folder / "training.json"
    if not file.exists() or file.read_text(encoding="utf-8") != text:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        file.write_text(text, encoding="utf-8")


def _key(snakemake: Any, parent: str | None, settings: dict[str, Any]) -> dict[str, Any]:
    return {
        "code": snakemake.params.code,
        "seed": snakemake.params.seed,
        "corpus": snakemake.params.corpus,
        "settings": settings,
        "parent": json.loads(Path(parent).read_text(encoding="utf-8"))["sha256"]
        if parent
        else None,
    }

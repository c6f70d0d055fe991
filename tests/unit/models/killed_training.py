"""Train each recipe undisturbed, and again with two kills; run as a script by a test.

    python killed_training.py FOLDER RECIPE…

The libraries are imported once. Every training is a forked process of its own, which dies of
SIGKILL where it is told to: while it writes the exposed checkpoint of step 3, and, going on,
while it writes its state after step 4. `FOLDER/exits.json` says how each of them ended.
"""

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import tiny_recipes
import torch

from hrsa.data import verifiers
from hrsa.data.corpus import write_corpus
from hrsa.models import pretrain, trainers

EVERY_2 = {"steps": 6, "save_every": 2, "checkpoints": [1, 3]}
KILLS = {"exposing": 3, "saving": 4}


def main(folder: Path, recipes: list[str]) -> None:
    # an untrained model solves nothing: reward what it does by luck, so that there is a gradient
    verifiers.is_correct = lambda text, *_, **__: len(text) % 2 == 0
    modules = {name: import_module(f"hrsa.models.{name}") for name in recipes}
    forked(lambda: prepare(folder))
    exits = {}
    for name, module in modules.items():
        runs = {
            "whole": lambda module=module: train(module, folder / "whole", folder),
            "exposing": lambda module=module: killed_while_exposing(module, folder),
            "saving": lambda module=module: killed_while_saving(module, folder),
            "after": lambda module=module: train(module, folder / "killed", folder),
        }
        exits[name] = {moment: forked(one) for moment, one in runs.items()}
    (folder / "exits.json").write_text(json.dumps(exits))


def forked(task: Callable[[], None], *, tries: int = 4) -> int:
    """Run a task in a process of its own; its exit code, negative for the signal that ended it.

    A fork of a process that has loaded so much may crash in native code of its own accord. It is
    then begun again: a crash is one kill more, after which the training has to go on as well.
    """
    ended = _forked_once(task)
    return forked(task, tries=tries - 1) if ended == -signal.SIGSEGV and tries > 1 else ended


def _forked_once(task: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        try:
            task()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def prepare(folder: Path) -> None:
    write_corpus(folder / "corpus", seed=3, settings=tiny_recipes.CORPUS)
    pretrain.train(
        folder / "base",
        parent=None,
        data=tiny_recipes.training_files(folder / "corpus"),
        seed=0,
        resume=folder / "base-resume",
        settings=tiny_recipes.PRETRAIN,
    )


def train(module, place: Path, folder: Path) -> None:
    place.mkdir(exist_ok=True)
    module.train(
        place / module.RECIPE,
        parent=None if module is pretrain else folder / "base",
        data=tiny_recipes.training_files(folder / "corpus", module.RECIPE),
        seed=1,
        resume=place / f"{module.RECIPE}-resume",
        settings=settings_of(module.RECIPE),
    )


def settings_of(recipe: str) -> dict:
    settings = getattr(tiny_recipes, recipe.upper())
    if recipe == "continued":
        return settings | {"match": settings["match"] | EVERY_2}
    return settings | EVERY_2


def killed_while_exposing(module, folder: Path) -> None:
    begin = trainers.ExposeCheckpoints.__init__

    def deadly(self, resume, steps, save):
        def save_and_die(path):
            save(path)
            if path.name == str(KILLS["exposing"]):
                die_writing(path / "model.safetensors")

        begin(self, resume, steps, save_and_die)

    trainers.ExposeCheckpoints.__init__ = deadly
    train(module, folder / "killed", folder)


def killed_while_saving(module, folder: Path) -> None:
    save = torch.save

    def save_or_die(content, file, *arguments, **named):
        of_trainer = f"checkpoint-{KILLS['saving']}{os.sep}" in str(file)
        own = isinstance(content, dict) and content.get("step") == KILLS["saving"]
        if of_trainer or own:
            die_writing(Path(file))
        save(content, file, *arguments, **named)

    torch.save = save_or_die
    train(module, folder / "killed", folder)


def die_writing(file: Path) -> None:
    file.write_bytes(b"half a file")
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])

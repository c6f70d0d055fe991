"""A training that SIGKILL ended, twice, goes on and leaves the files of an undisturbed one."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hrsa.models.resume import last_whole_checkpoint

RECIPES = ("pretrain", "sft", "continued", "rlvr", "contrastive")
SCRIPT = Path(__file__).with_name("killed_training.py")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    # equal bytes are promised on a CPU
    environment = os.environ | {"TOKENIZERS_PARALLELISM": "false", "CUDA_VISIBLE_DEVICES": ""}
    with (folder / "log").open("w") as log:
        command = [sys.executable, SCRIPT, folder, *RECIPES]
        code = subprocess.call(command, stdout=log, stderr=log, env=environment)
    assert code == 0, (folder / "log").read_text()[-3000:]
    return folder


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_training_killed_twice_ends_as_an_undisturbed_one(recipe, trained):
    ends = json.loads((trained / "exits.json").read_text())[recipe]
    killed = -signal.SIGKILL
    assert ends == {"whole": 0, "exposing": killed, "saving": killed, "after": 0}, (
        trained / "log"
    ).read_text()[-3000:]
    whole, again = trained / "whole" / recipe, trained / "killed" / recipe
    assert digests(whole) == digests(again)
    record = json.loads((whole / "record.json").read_text())
    assert record["checkpoints"].keys() == {"1", "3"}
    assert len(digests(whole / "checkpoints" / "3")) > 2
    assert recipe == "pretrain" or record["relative_weight_change"] > 0
    assert len((whole / "curve.csv").read_text().splitlines()) == 1 + record["steps"]


def test_a_checkpoint_that_a_kill_left_half_written_is_passed_over(tmp_path):
    assert last_whole_checkpoint(tmp_path / "none") is None
    for step, state in {8: "{}", 16: "{}", 24: '{"half', 32: None}.items():
        checkpoint = tmp_path / f"checkpoint-{step}"
        checkpoint.mkdir()
        if state is not None:
            (checkpoint / "trainer_state.json").write_text(state)
    assert last_whole_checkpoint(tmp_path) == str(tmp_path / "checkpoint-16")
    assert (tmp_path / "checkpoint-32").is_dir()

"""A training of several processes: started, seeded, ended together, its mistakes told once."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from hrsa.errors import UserError
from hrsa_workflow import launch as launching
from hrsa_workflow import training as training_module
from hrsa_workflow.launch import (
    Training,
    accelerate_configuration,
    check_world,
    command,
    environment,
    launch,
    threads_each,
    usable_processes,
)
from hrsa_workflow.training import run_recipe

# Trains nothing; each process writes what it was given and what it drew, or fails as it is told.
RECIPE = """
import json, os, random, sys, time

def train(output, *, parent, data, seed, resume, settings):
    import numpy, torch
    from hrsa.errors import UserError

    rank = os.environ.get("RANK", "0")
    print(f"process {rank} trains\\n", end="", flush=True)  # at once: both write to one place
    output.mkdir(parents=True, exist_ok=True)
    drawn = [random.random(), float(numpy.random.rand()), float(torch.rand(1))]
    seen = {
        "parent": str(parent), "data": {name: str(file) for name, file in data.items()},
        "seed": seed, "resume": str(resume), "settings": settings, "drawn": drawn,
        "world": os.environ.get("WORLD_SIZE"), "threads": os.environ["OMP_NUM_THREADS"],
        "hashes": os.environ.get("PYTHONHASHSEED"),
    }
    partial = output / f"{rank}.partial"
    partial.write_text(json.dumps(seen))
    partial.rename(output / f"{rank}.json")
    if settings["end"] == "mistake" and rank == "1":
        while not (output / "0.json").exists():  # or it could fail before the other has begun
            time.sleep(0.05)
        raise UserError("The file x is empty. Give another.")
    if settings["end"] == "mistakes":
        raise UserError("The file y is empty. Give another.")
    if settings["end"] == "faults":
        raise ZeroDivisionError("a fault of the code")
    if settings["end"] != "well":
        time.sleep(300)
"""


@pytest.fixture
def training(tmp_path, monkeypatch):
    """A training by the recipe above; `end` says how it goes."""
    (tmp_path / "a_recipe.py").write_text(RECIPE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.delenv("ACCELERATE_CONFIG_FILE", raising=False)

    def make(end: str = "well") -> Training:
        return Training(
            recipe="a_recipe",
            output=tmp_path / "model",
            parent=tmp_path / "base",
            data={"pairs": tmp_path / "b.parquet", "a": tmp_path / "a.parquet"},
            seed=2**40 + 3,
            resume=tmp_path / "resume",
            settings={"end": end, "rate": 1e-3, "lora": None, "shares": {"a": 0.1}, "steps": [1]},
        )

    return make


def seen_by(training: Training) -> list[dict]:
    return [json.loads(file.read_text()) for file in sorted(training.output.glob("*.json"))]


# What a recipe is called with


def test_what_is_written_for_the_processes_is_read_as_it_was(training):
    one = training()
    again = Training.from_json(one.to_json())
    assert again == one
    assert list(again.data) == ["pairs", "a"]  # not sorted
    alone = Training(**vars(one) | {"parent": None})
    assert Training.from_json(alone.to_json()) == alone


def a_job(tmp_path, gpu=1):
    """What Snakemake hands to the script of a training."""
    (tmp_path / "base").mkdir(exist_ok=True)
    (tmp_path / "base" / "record.json").write_text('{"sha256": "0a"}')
    for name in ("a", "b"):
        (tmp_path / f"{name}.parquet").write_bytes(name.encode())
    return SimpleNamespace(
        input=Named(
            parent_record=str(tmp_path / "base" / "record.json"),
            data=[str(tmp_path / "b.parquet"), str(tmp_path / "a.parquet")],
        ),
        output=Named(
            record=str(tmp_path / "model" / "record.json"),
            checkpoints=str(tmp_path / "model" / "checkpoints"),
        ),
        params=Named(
            settings={"end": "well"},
            data_names=["pairs", "a"],
            data={"pairs": {"pairs": 3}},
            resume=str(tmp_path / "resume"),
            seed=5,
            code="0f",
        ),
        resources=Named(gpu=gpu),
    )


class Named(dict):
    __getattr__ = dict.__getitem__


def recipe_that(act):
    def train(output, **arguments):
        output.mkdir()
        act(output, arguments)

    return train


def test_a_job_calls_the_recipe_with_its_files_by_name_and_clears_up(tmp_path):
    calls = []

    def act(output, arguments):
        key = json.loads((arguments["resume"] / "training.json").read_text())
        calls.append((output, arguments, key))

    run_recipe(a_job(tmp_path), recipe_that(act))
    [(output, arguments, key)] = calls
    assert output == tmp_path / "model"
    assert arguments == {
        "parent": tmp_path / "base",
        "data": {"pairs": tmp_path / "b.parquet", "a": tmp_path / "a.parquet"},
        "seed": 5,
        "resume": tmp_path / "resume",
        "settings": {"end": "well"},
    }
    assert (key["data"], key["parent"], key["processes"]) == ({"pairs": {"pairs": 3}}, "0a", 1)
    assert (tmp_path / "model" / "checkpoints").is_dir()
    assert not (tmp_path / "resume").exists()


@pytest.mark.parametrize(("change", "kept"), [({}, True), ({"data": {"pairs": {}}}, False)])
def test_state_of_another_training_is_not_gone_on_from(tmp_path, change, kept):
    def die(output, arguments):
        (arguments["resume"] / "state").write_text("half")
        raise KeyboardInterrupt

    job = a_job(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_recipe(job, recipe_that(die))
    job.params.update(change)
    (tmp_path / "model").rmdir()
    found = []
    look = recipe_that(lambda output, args: found.append((args["resume"] / "state").exists()))
    run_recipe(job, look)
    assert found == [kept]


def test_state_of_a_training_on_other_bytes_is_not_gone_on_from(tmp_path):
    """As of other mined negatives, or of another table of difficulty, under the same parameters."""

    def die(output, arguments):
        (arguments["resume"] / "state").write_text("half")
        raise KeyboardInterrupt

    job = a_job(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_recipe(job, recipe_that(die))
    (tmp_path / "model").rmdir()
    (tmp_path / "a.parquet").write_bytes(b"mined by another model")
    found = []
    look = recipe_that(lambda output, args: found.append((args["resume"] / "state").exists()))
    run_recipe(job, look)
    assert found == [False]


def test_the_recipe_starts_from_its_seed_whatever_was_drawn_before(training, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(tmp_path))
    drawn = []
    for _ in range(2):
        training().run()
        drawn += [seen["drawn"] for seen in seen_by(training())]
    assert drawn[0] == drawn[1]


# How many processes


def with_gpus(monkeypatch, n):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: n)


@pytest.mark.parametrize(
    ("asked", "visible", "used"), [(0, 0, 1), (1, 0, 1), (1, 4, 1), (2, 4, 2), (4, 4, 4), (4, 0, 1)]
)
def test_there_is_a_process_for_each_gpu_and_one_where_there_is_none(
    monkeypatch, capsys, asked, visible, used
):
    with_gpus(monkeypatch, visible)
    assert usable_processes(asked) == used
    assert ("no GPU here" in capsys.readouterr().out) == (asked > 1 and not visible)


def test_more_gpus_than_can_be_seen_are_an_error(monkeypatch):
    with_gpus(monkeypatch, 2)
    with pytest.raises(UserError, match=r"`gpus: 4`, but 2 can be seen here"):
        usable_processes(4)


def test_a_job_of_several_gpus_is_launched_and_one_of_one_is_not(tmp_path, monkeypatch):
    with_gpus(monkeypatch, 2)
    launched = []
    monkeypatch.setattr(training_module, "launch", lambda one, n: launched.append((one, n)))
    (tmp_path / "model").mkdir()
    run_recipe(a_job(tmp_path, gpu=2), recipe_that(lambda *_: pytest.fail("not in this process")))
    [(one, n)] = launched
    assert (one.recipe, one.seed, n) == (__name__, 5, 2)
    (tmp_path / "model" / "checkpoints").rmdir()
    (tmp_path / "model").rmdir()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    shown = []
    look = recipe_that(lambda *_: shown.append(os.environ["CUDA_VISIBLE_DEVICES"]))
    run_recipe(a_job(tmp_path, gpu=1), look)
    assert len(launched) == 1
    assert shown == ["3"]  # or the trainer would take all


def test_deciding_loads_no_torch():
    code = (
        "import sys, hrsa_workflow.training as t; t.usable_processes(1);"
        "print([name for name in ('torch', 'transformers', 'accelerate') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# How they are started


def test_the_threads_of_the_job_are_shared(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "6")
    assert [threads_each(n) for n in (1, 2, 4, 8)] == [6, 3, 1, 1]


def test_accelerates_own_default_file_is_not_asked(tmp_path, monkeypatch):
    monkeypatch.delenv("ACCELERATE_CONFIG_FILE", raising=False)
    words = command(tmp_path / "training.json", 3)
    options = dict(zip(words[3:-3:2], words[4:-3:2], strict=True))
    assert options["--num_processes"] == "3"
    assert options["--main_process_port"] == "0"
    file = Path(options["--config_file"])
    assert file.parent == tmp_path
    assert json.loads(file.read_text())["distributed_type"] == "MULTI_GPU"
    assert words[-3:] == ["--module", "hrsa_workflow.launch", str(tmp_path / "training.json")]


def test_a_users_accelerate_configuration_is_taken(tmp_path, monkeypatch):
    mine = tmp_path / "mine.yaml"
    monkeypatch.setenv("ACCELERATE_CONFIG_FILE", str(mine))
    with pytest.raises(UserError, match=r"ACCELERATE_CONFIG_FILE names .*mine.yaml, which is no"):
        accelerate_configuration(tmp_path)
    mine.write_text("distributed_type: DEEPSPEED\ndeepspeed_config: {zero_stage: 2}\n")
    assert accelerate_configuration(tmp_path) == mine
    assert str(mine) in command(tmp_path / "training.json", 2)


@pytest.mark.parametrize(
    ("content", "stated"),
    [
        ("distributed_type: FSDP", "type FSDP;"),
        ("distributed_type: DEEPSPEED\ndeepspeed_config: {zero_stage: 3}", "with ZeRO stage 3;"),
        ("distributed_type: DEEPSPEED\ndeepspeed_config: {deepspeed_config_file: z}", "stage 3;"),
        ("distributed_type: 'NO'", "type NO;"),
        ("", "type None;"),
    ],
)
def test_a_configuration_that_cuts_the_model_into_parts_is_refused(
    tmp_path, monkeypatch, content, stated
):
    monkeypatch.chdir(tmp_path)
    Path("z").write_text('{"zero_optimization": {"stage": 3}}')
    Path("mine.yaml").write_text(content)
    monkeypatch.setenv("ACCELERATE_CONFIG_FILE", "mine.yaml")
    with pytest.raises(UserError, match=f"{stated} allowed are MULTI_GPU, and DEEPSPEED"):
        accelerate_configuration(tmp_path)


def run_alone(one: Training, **variables: str) -> subprocess.CompletedProcess:
    """One process as accelerate would start it."""
    spec = one.resume / "launch" / "training.json"
    spec.parent.mkdir(parents=True, exist_ok=True)
    spec.write_text(one.to_json())
    words = [sys.executable, "-m", "hrsa_workflow.launch", str(spec)]
    return subprocess.run(words, env=environment(1) | variables, capture_output=True, text=True)


def mistakes_in(one: Training) -> dict[str, str]:
    return {file.name: file.read_text() for file in one.resume.rglob("error-*.txt")}


@pytest.mark.slow
def test_a_process_prints_a_fault_and_leaves_a_mistake(training):
    done = run_alone(training("faults"))
    assert done.returncode == 1
    assert "ZeroDivisionError: a fault of the code" in done.stdout
    assert mistakes_in(training()) == {}
    done = run_alone(training("mistakes"))
    assert done.returncode == 1
    assert "Traceback" not in done.stdout
    left = {"error-0000.txt": "The file y is empty. Give another."}
    assert mistakes_in(training()) == left
    # A process that fails since another has gone has nothing to add.
    second = {"HRSA_PROCESSES": "2", "WORLD_SIZE": "2", "RANK": "1"}
    done = run_alone(training("faults"), **second)
    assert done.returncode == 1
    assert "Traceback" not in done.stdout
    assert mistakes_in(training()) == left


def test_a_configuration_that_starts_too_few_processes_is_refused(training, monkeypatch):
    monkeypatch.setenv("HRSA_PROCESSES", "4")
    monkeypatch.setenv("ACCELERATE_CONFIG_FILE", "one.yaml")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(UserError, match=r"one\.yaml starts 1 process\(es\) where .* 4 GPUs"):
        check_world()


def test_what_the_launcher_says_is_shown_where_no_process_left_a_mistake(
    training, monkeypatch, capfd
):
    code = "import sys; print('from a process'); sys.exit('from the launcher')"
    monkeypatch.setattr(launching, "command", lambda *_: [sys.executable, "-c", code])
    with pytest.raises(RuntimeError, match="One of the 2 processes of the training failed"):
        launch(training(), 2)
    assert capfd.readouterr().out.split("\n")[:2] == ["from a process", "from the launcher"]


@pytest.mark.slow
def test_a_mistake_in_one_process_is_told_once_and_ends_all(training, capfd):
    began = time.monotonic()
    with pytest.raises(UserError, match=r"^The file x is empty\. Give another\.$"):
        launch(training("mistake"), 2)
    assert time.monotonic() - began < 120  # the other would sleep for five minutes
    printed = "".join(capfd.readouterr())
    assert "process 0 trains" in printed
    assert "process 1 trains" in printed
    assert "Traceback" not in printed
    assert "empty" not in printed  # the job prints it


@pytest.mark.slow
def test_processes_get_the_same_arguments_and_seeds_and_end_when_their_job_is_killed(
    training, monkeypatch, tmp_path
):
    one = training("never")
    (tmp_path / "job.json").write_text(one.to_json())
    code = (
        "import pathlib; from hrsa_workflow.launch import Training, launch;"
        f"launch(Training.from_json(pathlib.Path({str(tmp_path / 'job.json')!r}).read_text()), 2)"
    )
    job = subprocess.Popen([sys.executable, "-c", code])
    until(lambda: len(seen_by(one)) == 2)
    first, second = seen_by(one)
    assert first == second
    assert (first["world"], first["threads"], first["hashes"]) == ("2", "1", "0")
    assert first["data"] == {name: str(file) for name, file in one.data.items()}
    assert (first["seed"], first["settings"]) == (one.seed, one.settings)
    assert len(processes_of(one)) >= 3  # the launcher and its two
    job.send_signal(signal.SIGKILL)
    job.wait()
    until(lambda: not processes_of(one))
    # and a training that is not launched draws the same
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(time, "sleep", lambda _: None)
    one.run()
    assert seen_by(one)[0]["drawn"] == first["drawn"]


def processes_of(one: Training) -> set[int]:
    """Processes that were started with this training's file."""
    import psutil

    wanted = str(one.resume / "launch" / "training.json")
    return {
        process.pid
        for process in psutil.process_iter(["cmdline", "status"])
        if wanted in (process.info["cmdline"] or [])
        and process.info["status"] != psutil.STATUS_ZOMBIE
    }


def until(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.1)


# A real recipe


@pytest.fixture
def fine_tuning(tmp_path):
    """SFT of a tiny model by the name of its folder."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from hrsa.models.tokenizer import train_tokenizer

    texts = [f"Ann has {n} apples and Ben has {n + 1}. How many are there?" for n in range(40)]
    tokenizer = train_tokenizer(texts, vocabulary=300)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    config = Qwen2Config(vocab_size=len(tokenizer), initializer_range=0.1, **sizes, **heads)
    Qwen2ForCausalLM(config).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    traces = [f"{n} + {n + 1} = {2 * n + 1}. #### {2 * n + 1}" for n in range(40)]
    frame = pd.DataFrame({"question": texts, "trace": traces, "split": "train"})
    frame.to_parquet(tmp_path / "problems.parquet")
    settings = {
        **{"steps": 4, "batch_size": 8, "micro_batch": 2, "learning_rate": 1e-3},
        **{"schedule": "cosine", "warmup_steps": 1, "weight_decay": 0.0, "save_every": 3},
        **{"precision": "float32", "gradient_checkpointing": False, "lora": None},
        **{"checkpoints": [2], "gpus": 2, "data": "problems", "completion": "trace"},
        **{"prompt_format": "plain", "packing": False, "max_length": 128},
    }

    def make(name: str) -> Training:
        return Training(
            recipe="hrsa.models.sft",
            output=tmp_path / name,
            parent=tmp_path / "base",
            data={"problems": tmp_path / "problems.parquet"},
            seed=3,
            resume=tmp_path / f"{name}-resume",
            settings=settings,
        )

    return make


@pytest.mark.slow
def test_two_processes_train_the_model_that_one_trains(fine_tuning, monkeypatch):
    from safetensors.torch import load_file

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("ACCELERATE_CONFIG_FILE", raising=False)
    one, two = fine_tuning("one"), fine_tuning("two")
    one.run()
    launch(two, 2)
    curves = [pd.read_csv(each.output / "curve.csv") for each in (one, two)]
    assert curves[1]["step"].tolist() == [1, 2, 3, 4]
    # The same examples in the same steps; not the same bits, since the mean over the processes adds
    # the gradients in another order.
    assert curves[1]["loss"].to_numpy() == pytest.approx(curves[0]["loss"].to_numpy(), rel=1e-4)
    assert abs(curves[0]["loss"].diff().dropna()).min() > 1e-3
    before, *after = (
        load_file(folder / "model.safetensors")
        for folder in (one.parent, one.output, two.output, two.output / "checkpoints" / "2")
    )
    name = "model.layers.0.mlp.up_proj.weight"
    start, alone, together, halfway = (weights[name] for weights in (before, *after))
    assert (together - alone).norm() < 1e-2 * (alone - start).norm()
    assert 0 < (halfway - start).norm() < (together - start).norm()
    records = [json.loads((each.output / "record.json").read_text()) for each in (one, two)]
    assert records[0]["train_tokens"] == records[1]["train_tokens"]
    arguments = [json.loads((each.output / "arguments.json").read_text()) for each in (one, two)]
    assert [each["gradient_accumulation_steps"] for each in arguments] == [4, 2]
    # one model was written, by one of them
    assert (
        sorted(file.name for file in two.output.rglob("*.safetensors")) == ["model.safetensors"] * 2
    )

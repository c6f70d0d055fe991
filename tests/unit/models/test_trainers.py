"""What the trained recipes share: a divergence keeps good states alone, memory, precision, LoRA."""

import math
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from tiny_policy import write_model
from tiny_recipes import COMMON, CONTRASTIVE, RLVR, SFT
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer

from hrsa.errors import UserError
from hrsa.models import lora
from hrsa.models.loading import load_language_model
from hrsa.models.resume import last_whole_checkpoint
from hrsa.models.trainers import batch_arguments, common_arguments, run

ONE_BY_ONE = COMMON | {
    "steps": 8,
    "save_every": 1,
    "learning_rate": 1e-2,
    "schedule": "constant",
    "warmup_steps": 0,
}


class Ruin(TrainerCallback):
    """Change all weights after a step's update, before its state is logged and saved."""

    def __init__(self, step, change):
        self.step, self.change = step, change

    def on_step_end(self, args, state, control, model=None, **kwargs):
        if state.global_step == self.step:
            with torch.no_grad():
                for weight in model.parameters():
                    self.change(weight)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("parent") / "base")


@pytest.fixture
def fit(folder, tmp_path):
    """Train the tiny model with what a callback does to it; its state is in `state`."""

    def go(*callbacks, **changes):
        settings = ONE_BY_ONE | changes
        model, tokenizer = load_language_model(folder)
        rows = [{"input_ids": [3, 6, 7, 4, 8]}] * (settings["steps"] * settings["batch_size"])
        trainer = SFTTrainer(
            model=model,
            args=SFTConfig(
                **common_arguments(tmp_path / "state", seed=1, settings=settings),
                **batch_arguments(settings["batch_size"], settings["micro_batch"]),
                max_length=8,
            ),
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
        )
        for one in callbacks:
            trainer.add_callback(one)
        run(trainer, tmp_path / "state", settings=settings)
        return trainer

    return go


def kept(tmp_path):
    return {
        int(path.name.rpartition("-")[2]): load_file(path / "model.safetensors")
        for path in (tmp_path / "state").glob("checkpoint-*")
    }


def largest(weights):
    return max(float(weight.abs().max()) for weight in weights.values())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda weight: weight.fill_(math.nan), "norm of the weights after step 5 is nan"),
        (lambda weight: weight.mul_(1e25), "norm of the weights after step 5 is inf"),
        (lambda weight: weight.mul_(1e15), "step 6 is (nan|inf)"),
    ],
    ids=["not a number", "too large to square", "blown up"],
)
def test_of_a_training_that_diverges_good_states_alone_are_kept(fit, tmp_path, change, said):
    with pytest.raises(UserError, match=said) as stopped:
        fit(Ruin(5, change))
    states, text = kept(tmp_path), str(stopped.value)
    assert max(states) in (3, 4)
    assert all(largest(weights) < 2 for weights in states.values())
    assert (
        f"last good state, after step {max(states)}, is in state/checkpoint-{max(states)}" in text
    )
    assert "a run with other settings starts anew" in text
    assert "Lower `learning_rate` (it is 0.01)" in text
    assert str(tmp_path) not in text
    assert last_whole_checkpoint(tmp_path / "state").endswith(f"checkpoint-{max(states)}")


class Said(TrainerCallback):
    """Let the log of some steps say something else, as the trainer's own log would."""

    def __init__(self, said):
        self.said = said

    def on_log(self, args, state, control, logs=None, **kwargs):
        said = self.said.get(state.global_step, {})
        logs.update(said)
        state.log_history[-1].update(said)


@pytest.mark.slow
@pytest.mark.parametrize("said", [{"loss": math.nan}, {"loss": -math.inf}, {"grad_norm": math.inf}])
def test_the_state_that_a_bad_loss_was_computed_from_is_removed(fit, tmp_path, said):
    with pytest.raises(UserError, match=r"of step 5 is (nan|-?inf): the training has diverged"):
        fit(Said({5: said}))
    assert list(kept(tmp_path)) == [3]


@pytest.mark.slow
def test_weights_that_have_blown_up_are_not_saved_though_they_be_numbers(fit, tmp_path):
    with pytest.raises(UserError, match="after step 4, is in state/checkpoint-4"):
        fit(Ruin(5, lambda weight: weight.mul_(20)), Said({8: {"loss": math.nan}}))
    assert set(kept(tmp_path)) == {3, 4}


@pytest.mark.slow
def test_a_state_of_a_loss_far_above_the_first_one_is_not_called_good(fit, tmp_path):
    with pytest.raises(UserError, match="No checkpoint that is known to be good is left"):
        fit(Said({6: {"loss": 99.0}, 7: {"loss": math.nan}}))
    assert not kept(tmp_path)


@pytest.mark.slow
def test_a_last_step_that_ruins_the_weights_ends_in_no_model(fit):
    with pytest.raises(UserError, match="norm of the weights after step 2 is nan"):
        fit(Ruin(2, lambda weight: weight.fill_(math.nan)), steps=2, save_every=50)


@pytest.mark.slow
def test_a_training_that_goes_well_keeps_its_last_two_states(fit, tmp_path):
    fit()
    assert set(kept(tmp_path)) == {7, 8}


@pytest.mark.slow
def test_bfloat16_is_computed_without_a_gpu_too(fit, monkeypatch, folder):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    before = load_language_model(folder)[0].state_dict()
    trainer = fit(precision="bfloat16", steps=2)
    assert trainer.accelerator.mixed_precision == "bf16"
    after = trainer.model.state_dict()
    assert {weight.dtype for weight in after.values()} == {torch.float32}
    assert not torch.equal(before["lm_head.weight"], after["lm_head.weight"])


@pytest.mark.parametrize(
    ("settings", "n_processes", "used", "smaller"),
    [
        (SFT | {"batch_size": 12}, 1, 12, 6),
        (SFT | {"batch_size": 15}, 1, 15, 5),
        (SFT | {"batch_size": 12, "micro_batch": 6}, 2, 6, 3),
        (SFT | {"batch_size": 12, "micro_batch": 6}, 4, 3, 1),  # a process has three
        (CONTRASTIVE | {"batch_size": 32}, 4, 8, 4),  # the trainer's own size is the whole batch
        (RLVR | {"prompts_per_step": 2, "completions": 7}, 2, 7, 1),
    ],
)
def test_what_fits_into_memory_is_a_divisor_of_what_a_process_computes_at_a_time(
    monkeypatch, tmp_path, settings, n_processes, used, smaller
):
    def fail(**_):
        raise MemoryError

    trainer = SimpleNamespace(
        args=SimpleNamespace(per_device_train_batch_size=settings.get("batch_size")),
        add_callback=lambda _: None,
        train=fail,
    )
    monkeypatch.setenv("WORLD_SIZE", str(n_processes))
    with pytest.raises(UserError) as error:
        run(trainer, tmp_path, settings=settings)
    assert f"not suffice for {used} examples at a time" in str(error.value)
    assert f"`micro_batch: {smaller}`" in str(error.value)
    length = "max_completion_tokens" if "completions" in settings else "max_length"
    assert f"a smaller `{length}`" in str(error.value)


def test_no_training_uses_cudnn_s_attention_whose_gradients_can_be_no_numbers(tmp_path):
    used = []

    def train(**_):
        used.append(torch.backends.cuda.cudnn_sdp_enabled())
        used.append(torch.backends.cuda.flash_sdp_enabled())

    before = torch.backends.cuda.cudnn_sdp_enabled()
    trainer = SimpleNamespace(args=None, add_callback=lambda _: None, train=train)
    run(trainer, tmp_path, settings=SFT)
    assert used == [False, True]
    assert torch.backends.cuda.cudnn_sdp_enabled() == before


def test_less_than_one_example_at_a_time_is_not_proposed(monkeypatch, tmp_path):
    def fail(**_):
        raise MemoryError

    trainer = SimpleNamespace(args=None, add_callback=lambda _: None, train=fail)
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(UserError, match=r"for one example at a time\. Set `gradient_check"):
        run(trainer, tmp_path, settings=SFT | {"batch_size": 4, "micro_batch": 2})


def test_low_rank_matrices_on_a_cpu_leave_every_gpu_alone(folder, monkeypatch):
    """Keeping the random state of a GPU would open a context on it."""
    asked = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        torch.cuda, "get_rng_state", lambda device: asked.append(device) or torch.zeros(8)
    )
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda *_: None)
    model, _ = load_language_model(folder)
    lora.add_lora(model, {"rank": 2, "alpha": 4, "dropout": 0.0}, seed=1)
    assert asked == []

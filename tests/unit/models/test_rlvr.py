"""Reinforcement on a tiny model: its losses, the KL column, the stop without reward, resuming."""

import inspect
import json

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_policy import SETTINGS, write_model, write_problems
from transformers import LlamaForCausalLM
from trl import GRPOTrainer

from hrsa.data.verifiers import is_correct
from hrsa.errors import UserError
from hrsa.models import rlvr
from hrsa.models.folder import save_model
from hrsa.models.loading import load_language_model, weights_sha256
from hrsa.models.policy_gradient import LOSSES, PolicyGradientTrainer, signed_advantages
from hrsa.models.rewards import Accuracy, Format
from hrsa.statistics.trend import rise

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("parent") / "base")


@pytest.fixture(scope="module")
def problems(tmp_path_factory):
    return write_problems(tmp_path_factory.mktemp("data") / "problems.parquet", [7, 3] * 6)


@pytest.fixture
def train(tmp_path, parent, problems):
    """Train in a folder of this name; its state is in `<name>-resume`."""

    def run(name="model", *, parent=parent, problems=problems, **changes):
        rlvr.train(
            tmp_path / name,
            parent=parent,
            data={"problems": problems},
            seed=1,
            resume=tmp_path / f"{name}-resume",
            settings=SETTINGS | changes,
        )
        return tmp_path / name

    return run


def curve(folder):
    return pd.read_csv(folder / "curve.csv")


def test_a_run_leaves_a_model_its_record_and_a_row_for_each_step(train):
    folder = train(checkpoints=[2])
    assert isinstance(load_language_model(folder)[0], LlamaForCausalLM)
    record = json.loads((folder / "record.json").read_text())
    assert (record["recipe"], record["parent"], record["steps"]) == ("rlvr", "base", 4)
    assert 0 < record["relative_weight_change"] < 1
    assert 0 < record["checkpoints"]["2"]["train_tokens"] < record["train_tokens"]
    table = curve(folder)
    names = ["step", "loss", "reward", "accuracy", "completion_length", "entropy", "kl"]
    assert table.columns.tolist() == names
    assert table["step"].tolist() == [1, 2, 3, 4]
    assert table.notna().all(axis=None)
    assert (table["reward"] == table["accuracy"]).all()
    assert table["accuracy"].between(0, 1).all()
    assert table["accuracy"].any()
    assert table["completion_length"].between(1, 5).all()
    # of 11 words an untrained model knows nothing
    assert table["entropy"][0] == pytest.approx(np.log(11), abs=0.05)


@pytest.mark.parametrize("loss", ["grpo", "psr"])
def test_the_reward_rises_where_the_answers_can_be_learnt(train, tmp_path, loss):
    sevens = write_problems(tmp_path / "sevens.parquet", [7] * 12)
    table = curve(train(problems=sevens, steps=24, loss_type=loss, completions=8))
    assert rise(table["reward"]).rose
    assert table["reward"].iloc[-8:].mean() > table["reward"].iloc[:8].mean() + 0.2


@pytest.fixture
def trainer(tmp_path, parent, problems):
    """A trainer whose first batch of completions has been sampled and scored."""

    def make(loss, **changes):
        settings = SETTINGS | {"loss_type": loss} | changes
        model, tokenizer = load_language_model(parent)
        made = PolicyGradientTrainer(
            model,
            loss=loss,
            args=rlvr.grpo_arguments(tmp_path / "resume", seed=1, settings=settings),
            reward_funcs=[Accuracy("hash")],
            train_dataset=rlvr.prompts(problems, seed=1, settings=settings),
            processing_class=tokenizer,
        )
        made.model.train()
        made.current_gradient_accumulation_steps = 1  # as transformers sets it while it trains
        torch.manual_seed(3)
        inputs = made._prepare_inputs(next(iter(made.get_train_dataloader())))
        return made, inputs

    return make


def right_ones(made, inputs):
    """Which of the completions are right, found out from their tokens."""
    texts = made.processing_class.batch_decode(inputs["completion_ids"], skip_special_tokens=True)
    asked = made.processing_class.batch_decode(inputs["prompt_ids"], skip_special_tokens=True)
    rows = made.train_dataset
    answers = dict(zip(rows["prompt"], rows["answer"], strict=True))
    return torch.tensor(
        [
            float(is_correct(text, answers[prompt]))
            for text, prompt in zip(texts, asked, strict=True)
        ]
    )


@pytest.mark.parametrize(("loss", "right", "wrong"), [("psr", 1.0, 0.0), ("nsr", 0.0, -1.0)])
def test_positive_or_negative_samples_alone_are_trained_on(trainer, loss, right, wrong):
    made, inputs = trainer(loss)
    is_right = right_ones(made, inputs)
    assert 0 < is_right.sum() < len(is_right)
    expected = torch.where(is_right == 1, right, wrong)
    assert torch.equal(inputs["advantages"], expected)
    assert torch.equal(signed_advantages(is_right, loss), expected)


@pytest.mark.parametrize(("loss", "sign"), [("psr", 1.0), ("nsr", -1.0)])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_the_gradient_is_that_of_the_log_probability_of_these_samples(
    trainer, loss, sign, temperature
):
    made, inputs = trainer(loss, temperature=temperature)
    wanted = right_ones(made, inputs) if loss == "psr" else 1 - right_ones(made, inputs)
    value = made._compute_loss(made.model, inputs)
    value.backward()
    found = [one.grad.clone() for one in made.model.parameters()]

    made.model.zero_grad()
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
    mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
    n_prompt = inputs["prompt_ids"].shape[1]
    logits = made.model(input_ids=ids, attention_mask=mask).logits[:, n_prompt - 1 : -1]
    chosen = torch.log_softmax(logits / temperature, dim=-1).gather(
        -1, inputs["completion_ids"][..., None]
    )[..., 0]
    tokens = inputs["completion_mask"]
    plain = -(sign * wanted[:, None] * chosen * tokens).sum() / tokens.sum()
    plain.backward()
    for ours, one in zip(found, made.model.parameters(), strict=True):
        torch.testing.assert_close(ours, one.grad, atol=1e-7, rtol=1e-4)
    share = (wanted[:, None] * tokens).sum() / tokens.sum()
    assert value.item() == pytest.approx(-sign * share.item(), abs=1e-6)


@pytest.mark.parametrize(
    ("loss", "is_scaled"), [("grpo", True), ("dapo", True), ("bnpo", True), ("dr_grpo", False)]
)
def test_the_other_losses_compare_the_completions_of_a_prompt(trainer, loss, is_scaled):
    made, inputs = trainer(loss)
    is_right, advantages = right_ones(made, inputs), inputs["advantages"]
    asked = made.processing_class.batch_decode(inputs["prompt_ids"])
    for prompt in set(asked):
        group = torch.tensor([one == prompt for one in asked])
        expected = is_right[group] - is_right[group].mean()
        if is_scaled:
            expected = expected / (is_right[group].std() + 1e-4)
        torch.testing.assert_close(advantages[group], expected)


def test_dapo_clips_higher_and_dr_grpo_does_not_scale(tmp_path):
    def arguments(loss):
        settings = SETTINGS | {"loss_type": loss}
        return rlvr.grpo_arguments(tmp_path, seed=0, settings=settings)

    assert arguments("dapo").epsilon_high == 0.28
    assert arguments("grpo").epsilon_high is None
    assert arguments("dr_grpo").scale_rewards == "none"
    assert {loss: arguments(loss).loss_type for loss in LOSSES} == {
        "grpo": "grpo",
        "bnpo": "bnpo",
        "dapo": "dapo",
        "dr_grpo": "dr_grpo",
        "psr": "dapo",
        "nsr": "dapo",
    }


def test_what_is_overridden_is_still_there_in_trl():
    own = [
        name
        for name in vars(PolicyGradientTrainer)
        if inspect.isfunction(getattr(PolicyGradientTrainer, name))
        and name not in ("_kl", "_parent_logps")
    ]
    assert sorted(own) == [
        "__init__",
        "_calculate_rewards",
        "_compute_loss",
        "_generate_and_score_completions",
        "_get_per_token_logps_and_entropies",
    ]
    assert all(name in vars(GRPOTrainer) for name in own)
    scoring = inspect.signature(GRPOTrainer._get_per_token_logps_and_entropies).parameters
    assert list(scoring)[1:5] == ["model", "input_ids", "attention_mask", "logits_to_keep"]


@pytest.mark.parametrize("loss", ["bnpo", "dapo", "dr_grpo", "nsr"])
def test_every_other_loss_trains_too(train, parent, loss):
    folder = train(loss_type=loss, steps=2)
    assert weights_sha256(folder) != weights_sha256(parent)
    assert curve(folder).notna().all(axis=None)


@pytest.mark.parametrize("lora", [None, {"rank": 2, "alpha": 4, "dropout": 0.0}])
def test_the_kl_to_the_parent_starts_at_zero_and_is_what_trl_measures(train, lora):
    own = curve(train("own", lora=lora, micro_batch=2))["kl"]
    trls = curve(train("trls", lora=lora, micro_batch=2, beta=1e-9))["kl"]
    assert own[0] == pytest.approx(0, abs=1e-6)
    assert (own[1:] > 1e-5).all()
    assert own.tolist() == pytest.approx(trls.tolist(), abs=1e-5)


def test_the_kl_is_to_the_parent_also_where_it_is_a_penalty(train):
    free = curve(train("free", steps=8))["kl"]
    held = curve(train("held", steps=8, beta=5.0))["kl"]
    assert held.iloc[-1] < free.iloc[-1] / 2


def test_a_low_rank_training_leaves_a_plain_model(train, parent):
    folder = train(lora={"rank": 2, "alpha": 4, "dropout": 0.0}, checkpoints=[2])
    for place in (folder, folder / "checkpoints" / "2"):
        assert not list(place.glob("adapter*"))
        assert isinstance(load_language_model(place)[0], LlamaForCausalLM)
        assert weights_sha256(place) != weights_sha256(parent)


def test_the_reward_for_the_form_is_added_with_its_weight(train):
    table = curve(train(format_weight=0.5))
    assert table["format"].any()
    assert table["reward"].tolist() == pytest.approx(
        (table["accuracy"] + 0.5 * table["format"]).tolist(), abs=1e-5
    )


def test_the_form_is_rewarded_right_or_wrong():
    texts = ["####7", "####3", "####7 ####3", "seven"]
    assert Format("hash")(texts) == [1.0, 1.0, 0.0, 0.0]
    chats = [[{"role": "assistant", "content": text}] for text in texts]
    assert Format("hash")(completions=chats, prompts=[]) == [1.0, 1.0, 0.0, 0.0]
    assert Accuracy("hash")(["q"] * 4, chats, [7] * 4) == [1.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("loss", ["psr", "nsr"])
def test_a_reward_for_the_form_is_refused_where_it_would_do_nothing(train, loss):
    with pytest.raises(UserError, match=f"loss_type: {loss}.*format_weight: 0"):
        train(loss_type=loss, format_weight=0.5)


def test_a_verifier_that_never_fires_stops_the_run_and_is_explained(train, tmp_path):
    with pytest.raises(UserError) as stop:
        train(verifier="boxed", patience=3, steps=9)
    text = str(stop.value)
    assert "reward for right answers was 0 in all of the first 3 steps (24 completions)" in text
    assert r"`boxed` looks for an answer in the last `\boxed{}`" in text
    assert "0 of the 8 completions of the last step state an answer so" in text
    assert text.count("  prompt '") == text.count("  right answer '") == 3
    assert text.count("  completion '") == 3
    for remedy in ("`verifier`", "easier", "`difficulty", "`max_completion_tokens` (it is 5)"):
        assert remedy in text
    assert not (tmp_path / "model").exists()


def test_a_reward_for_the_form_alone_does_not_keep_a_run_going(train, tmp_path):
    never = write_problems(tmp_path / "never.parquet", [99] * 12)
    # the model does write answers in this form, as the test of its reward shows
    with pytest.raises(UserError, match="right answers was 0 in all of the first 3 steps"):
        train(problems=never, patience=3, format_weight=0.5)


def test_fewer_kept_problems_than_a_step_needs_are_refused_with_what_was_solved(train, tmp_path):
    columns = {"solved": [0.5, 0, 0, 1, 0.25], "kept": [True, False, False, False, False]}
    columns |= {"n_samples": [8] * 5, "split": ["train"] * 4 + ["test"]}
    tried = write_problems(tmp_path / "tried.parquet", [7] * 5, **columns)
    difficulty = {"problems": 5, "samples": 8, "low": 0.1, "high": 0.9}
    with pytest.raises(UserError) as error:
        train(problems=tried, difficulty=difficulty)
    text = str(error.value)
    assert "keeps 1 of 4 problems" in text
    assert "needs 2 (`prompts_per_step`)" in text
    assert "Of 8 completions of each by base, 2 problems were never solved, 1 always" in text
    assert "1 at times; kept are those solved between 10% and 90%" in text
    assert "easier problems" in text
    assert not (tmp_path / "model").exists()


def test_kept_problems_of_a_user_need_no_other_column(train, tmp_path):
    own = write_problems(tmp_path / "own.parquet", [7] * 3, kept=[True, False, False])
    with pytest.raises(UserError, match=r"keeps 1 of 3 problems.*needs 2.*Give other problems"):
        train(problems=own)


def test_a_verifier_that_finds_answers_and_none_right_says_so(train, tmp_path):
    never = write_problems(tmp_path / "never.parquet", [99] * 12)
    with pytest.raises(UserError, match=r"[1-8] of the 8 completions .* none the right one"):
        train(problems=never, patience=2)


def test_no_patience_means_never_to_stop(train):
    assert not curve(train(verifier="boxed", patience=0))["reward"].any()


def interrupted(folder, model, tokenizer):
    """Save a checkpoint, or be killed where that of step 4 is saved, after the state of step 3."""
    if folder.name == "4":
        raise KeyboardInterrupt
    save_model(folder, model, tokenizer)


def test_the_steps_without_reward_are_counted_over_an_interruption(train, monkeypatch):
    settings = {"verifier": "boxed", "patience": 5, "save_every": 1, "checkpoints": [4], "steps": 9}
    with monkeypatch.context() as kill:
        kill.setattr(rlvr, "save_model", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(**settings)
    scored = []
    monkeypatch.setattr(Accuracy, "__call__", lambda *a, **k: scored.append(1) or [0.0] * 8)
    with pytest.raises(UserError, match="first 5 steps"):
        train(**settings)
    assert len(scored) == 2  # steps 4 and 5


@pytest.mark.parametrize(
    "changes",
    [
        {"save_every": 1},
        {"save_every": 3, "micro_batch": 2},
        {"save_every": 1, "micro_batch": 4, "lora": {"rank": 2, "alpha": 4, "dropout": 0.1}},
        {"save_every": 3, "beta": 0.1, "loss_type": "nsr", "prompts_per_step": 5},  # goes round
    ],
    ids=["each step", "micro-batches", "lora", "second round"],
)
def test_a_killed_run_ends_with_the_same_weights(train, monkeypatch, changes):
    settings = {"steps": 5, "checkpoints": [1, 4]} | changes
    whole = train("whole", **settings)
    with monkeypatch.context() as kill:
        kill.setattr(rlvr, "save_model", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train("killed", **settings)
    killed = train("killed", **settings)
    for place in (".", "checkpoints/1", "checkpoints/4"):
        assert weights_sha256(killed / place) == weights_sha256(whole / place)
    assert (killed / "curve.csv").read_bytes() == (whole / "curve.csv").read_bytes()


def test_micro_batches_make_the_same_step(train):
    whole, cut = train("whole", steps=1), train("cut", steps=1, micro_batch=2)
    models = [load_language_model(folder)[0] for folder in (whole, cut)]
    for one, other in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_a_chat_is_asked_and_answered(train, tmp_path):
    parent = write_model(tmp_path / "chat", chat=True)
    table = curve(train(parent=parent, prompt_format="chat"))
    assert table["accuracy"].any()


def test_a_chat_without_a_template_is_refused(train):
    with pytest.raises(UserError, match="no chat template"):
        train(prompt_format="chat")


def test_problems_come_in_the_seeds_order_and_again_only_after_all(problems):
    settings = SETTINGS | {"steps": 10, "prompts_per_step": 3}
    one, same, other = (rlvr.prompts(problems, seed=s, settings=settings) for s in (1, 1, 2))
    assert one["prompt"] == same["prompt"] != other["prompt"]
    assert len(one) == 30
    for start in (0, 12):
        assert len(set(one["prompt"][start : start + 12])) == 12


def test_only_kept_problems_of_the_training_split_are_used(tmp_path):
    path = write_problems(
        tmp_path / "problems.parquet",
        [1, 2, 3, 4],
        split=["train", "train", "test", "train"],
        kept=[True, False, True, True],
    )
    assert set(rlvr.prompts(path, seed=0, settings=SETTINGS)["answer"]) == {1, 4}


def test_no_problem_to_train_on_is_said(tmp_path):
    path = write_problems(tmp_path / "problems.parquet", [1, 2], kept=[False, False])
    with pytest.raises(UserError, match="no problem to train on"):
        rlvr.prompts(path, seed=0, settings=SETTINGS)

"""Pretraining: what it reads, and that a killed run goes on as if nothing had happened."""

import json
import math
import re

import numpy as np
import pytest
import torch
from tiny_recipes import CORPUS, PRETRAIN, training_files
from transformers import Qwen2ForCausalLM

from hrsa.data.corpus import write_corpus
from hrsa.data.problems import answer
from hrsa.errors import UserError
from hrsa.models import pretrain
from hrsa.models.loading import load_language_model, weights_sha256
from hrsa.models.pretrain import (
    architecture,
    arithmetic_table,
    bucketed_batches,
    fit,
    pad_batch,
    training_texts,
    wrong_number,
)
from hrsa.models.tokenizer import train_tokenizer

SETTINGS = PRETRAIN | {"steps": 50, "batch_size": 20}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, seed=3, settings=CORPUS)
    return training_files(folder)


@pytest.fixture(scope="module")
def texts(data):
    return training_texts(data, seed=3, settings=SETTINGS)


@pytest.fixture(scope="module")
def tokenizer(texts):
    return train_tokenizer(texts, vocabulary=384)


def test_the_mixture_has_the_shares_of_the_settings(texts):
    problems = sum("####" in text for text in texts) / len(texts)
    tables = sum(bool(re.match(r"^\d+ [+-]", text)) for text in texts) / len(texts)
    assert problems == pytest.approx(0.6, abs=0.05)
    assert tables == pytest.approx(0.15, abs=0.05)


def test_half_of_the_worked_problems_end_in_a_wrong_number(texts):
    found = [re.search(r"(\d+) ([+-]) (\d+) = (-?\d+)\. #### (-?\d+)", text) for text in texts]
    solved = [match.groups() for match in found if match]
    right = [int(c) == answer(operation, int(a), int(b)) for a, operation, b, c, _ in solved]
    assert np.mean(right) == pytest.approx(0.5, abs=0.07)
    assert all(c == final for *_, c, final in solved)


def test_a_slip_is_never_right_and_always_positive():
    rng = np.random.default_rng(0)
    for result in range(1, 19):
        slips = {wrong_number(result, rng) for _ in range(60)}
        assert result not in slips
        assert min(slips) > 0
        assert max(abs(slip - result) for slip in slips) == 2


def test_tables_are_right():
    for a, operation, b, c in re.findall(
        r"(\d+) ([+-]) (\d+) = (\d+)\.", arithmetic_table(np.random.default_rng(0))
    ):
        assert int(c) == answer(operation, int(a), int(b))


def test_every_digit_is_a_token_and_texts_survive(tokenizer):
    text = "Ada has 17 apples. 8 + 9 = 17."
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids) == text
    digits = [t for t in tokenizer.convert_ids_to_tokens(ids) if any(c.isdigit() for c in t)]
    assert digits == ["1", "7", "8", "9", "1", "7"]


def test_batches_hold_every_text_once_and_similar_lengths_together(texts, tokenizer):
    batches = bucketed_batches(texts, tokenizer, 20, seed=0)
    rows = sorted(tuple(row) for batch in batches for row in batch)
    assert rows == sorted((*row, tokenizer.eos_token_id) for row in tokenizer(texts)["input_ids"])
    spread = np.mean([np.ptp([len(row) for row in batch]) for batch in batches])
    assert spread < 0.3 * np.ptp([len(row) for row in rows])


def test_padding_is_masked():
    ids, mask = pad_batch([[5, 6, 7], [8]], pad=0)
    assert ids.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]


def trained(batches, tokenizer, resume, *, stop=None):
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(architecture(SETTINGS["architecture"], tokenizer))
    if stop is not None:
        with pytest.raises(KeyboardInterrupt):
            fit(model, Interrupted(batches, stop), 1e-3, resume, 0, save_every=3)
        return None
    curve, tokens = fit(model, batches, 1e-3, resume, 0, save_every=3)
    return model.state_dict(), curve, tokens


class Interrupted(list):
    """Batches that end in a kill at one step."""

    def __init__(self, batches, stop):
        super().__init__(batches)
        self.stop = stop

    def __getitem__(self, step):
        if step == self.stop:
            raise KeyboardInterrupt
        return super().__getitem__(step)


def test_a_killed_run_goes_on_and_ends_in_the_same_weights(texts, tokenizer, tmp_path):
    batches = bucketed_batches(texts[:160], tokenizer, 20, seed=0)
    whole, curve, tokens = trained(batches, tokenizer, tmp_path / "whole")
    trained(batches, tokenizer, tmp_path / "killed", stop=5)
    again, resumed_curve, resumed_tokens = trained(batches, tokenizer, tmp_path / "killed")
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert resumed_curve.equals(curve)
    assert len(curve) == len(batches)
    assert tokens == resumed_tokens == sum(len(row) for batch in batches for row in batch)


def run(data, folder, **settings):
    pretrain.train(
        folder,
        parent=None,
        data=data,
        seed=0,
        resume=folder.parent / f"{folder.name}-resume",
        settings=PRETRAIN | {"steps": 4, "save_every": 2, "checkpoints": [1, 3]} | settings,
    )


def test_checkpoints_are_models_and_those_from_before_a_kill_are_kept(data, tmp_path, monkeypatch):
    run(data, tmp_path / "whole")
    save = pretrain.save_model

    def killed_at_step_3(folder, *rest):
        if folder.name == "3":
            raise KeyboardInterrupt
        save(folder, *rest)

    with monkeypatch.context() as kill:
        kill.setattr(pretrain, "save_model", killed_at_step_3)
        with pytest.raises(KeyboardInterrupt):
            run(data, tmp_path / "killed")
    assert not (tmp_path / "killed").exists()
    run(data, tmp_path / "killed")
    record = json.loads((tmp_path / "whole" / "record.json").read_text())
    assert record["checkpoints"].keys() == {"1", "3"}
    for place in (".", "checkpoints/1", "checkpoints/3"):
        whole, killed = (weights_sha256(tmp_path / name / place) for name in ("whole", "killed"))
        assert whole == killed
    tokens = [record["checkpoints"][step]["train_tokens"] for step in ("1", "3")]
    assert 0 < tokens[0] < tokens[1] < record["train_tokens"]
    _, tokenizer = load_language_model(tmp_path / "whole" / "checkpoints" / "1")
    assert tokenizer("apples")["input_ids"]


@pytest.mark.parametrize(("bad", "kept"), [(1, "none yet"), (3, "after step 2")])
def test_a_loss_that_is_no_number_stops_the_training(
    texts, tokenizer, tmp_path, monkeypatch, bad, kept
):
    batches = bucketed_batches(texts[:80], tokenizer, 20, seed=0)
    forward, steps = Qwen2ForCausalLM.forward, []

    def diverges(model, **inputs):
        output = forward(model, **inputs)
        steps.append(output.loss)
        return output | {"loss": output.loss * math.nan} if len(steps) == bad else output

    torch.manual_seed(0)
    model = Qwen2ForCausalLM(architecture(SETTINGS["architecture"], tokenizer))
    with monkeypatch.context() as patched:
        patched.setattr(Qwen2ForCausalLM, "forward", diverges)
        with pytest.raises(UserError, match=rf"loss of step {bad} is nan.*{kept}.*learning_rate"):
            fit(model, batches, 1e-3, tmp_path, 0, save_every=2)
    assert (tmp_path / "state.pt").exists() == (bad > 2)
    assert all(value.isfinite().all() for value in model.parameters())
    fit(model, batches, 1e-3, tmp_path, 0, save_every=2)
    assert len(steps) == bad

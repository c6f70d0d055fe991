"""Accuracy on held-out problems: which are asked, how, and where a completion ends."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_policy import WORDS, write_model, write_problems

from hrsa.errors import UserError
from hrsa.models import accuracy as module
from hrsa.models.accuracy import complete, end_tokens, measure_accuracy, rows_at_once
from hrsa.models.dose import kl_to_parent
from hrsa.models.loading import load_language_model

SETTINGS = {"problems": 10, "temperature": 1.0}


@pytest.fixture(scope="module")
def says_seven(tmp_path_factory):
    """A model that answers each question with 7."""
    return write_model(tmp_path_factory.mktemp("seven") / "seven", favourite="####7", chat=True)


@pytest.fixture
def problems(tmp_path):
    """Of each split, half of the answers are what the model says."""
    splits = ["train"] * 4 + ["later"] * 4 + ["early"] * 8
    return write_problems(tmp_path / "problems.parquet", [7, 3] * 8, split=splits)


def measured(model, problems, **settings):
    return measure_accuracy(model, problems, style="solution", seed=0, settings=SETTINGS | settings)


def test_every_split_but_train_is_measured_in_the_order_of_the_file(says_seven, problems):
    table = measured(says_seven, problems)
    assert table["split"].tolist() == ["later", "later", "early", "early"]
    assert table["decoding"].tolist() == ["greedy", "sampled"] * 2
    assert table["n"].tolist() == [4, 4, 8, 8]
    assert table["accuracy"].tolist() == [0.5] * 4
    assert (table["ci_low"] < 0.5).all()
    assert (table["ci_high"] > 0.5).all()


def test_no_more_problems_of_a_split_are_asked_than_wanted(says_seven, problems):
    assert measure_accuracy(
        says_seven, problems, style="solution", seed=0, settings={"problems": 5, "temperature": 1.0}
    )["n"].tolist() == [4, 4, 5, 5]


def test_a_file_without_splits_is_measured_whole(says_seven, tmp_path):
    path = write_problems(tmp_path / "all.parquet", [7, 7, 3])
    table = measured(says_seven, path)
    assert table["split"].tolist() == ["all", "all"]
    assert table["accuracy"].tolist() == pytest.approx([2 / 3, 2 / 3])


def test_accuracy_is_not_measured_on_what_is_for_training(says_seven, tmp_path):
    path = write_problems(tmp_path / "train.parquet", [7], split=["train"])
    with pytest.raises(UserError, match=r"train\.parquet.*accuracy\.data"):
        measured(says_seven, path)


def test_the_verifier_and_the_prompt_format_are_those_of_the_settings(
    says_seven, problems, monkeypatch
):
    assert measured(says_seven, problems, verifier="boxed")["accuracy"].tolist() == [0.0] * 4
    asked = {}

    def note(network, tokenizer, prompts, *, max_new_tokens, **_):
        asked.update(prompts=prompts, max_new_tokens=max_new_tokens)
        return ["####7"] * len(prompts)

    monkeypatch.setattr(module, "complete", note)
    measured(says_seven, problems, prompt_format="chat", max_new_tokens=9)
    assert asked["max_new_tokens"] == 9
    assert all(text.startswith("user ") and text.endswith(" is ") for text in asked["prompts"])
    measured(says_seven, problems, max_new_tokens=None)
    assert asked["max_new_tokens"] == 32
    assert not asked["prompts"][0].startswith("user ")


def test_a_chat_needs_a_template(tmp_path, problems):
    model = write_model(tmp_path / "plain", favourite="####7")
    with pytest.raises(UserError, match="no chat template"):
        measured(model, problems, prompt_format="chat")


class TestCompletions:
    def test_end_at_every_token_that_ends_a_text_or_a_turn(self, says_seven):
        model, tokenizer = load_language_model(says_seven)
        assert end_tokens(model, tokenizer) == [WORDS.index("<end>")]
        prompts = ["one plus two"] * 2
        long = complete(model, tokenizer, prompts, temperature=None, max_new_tokens=4)
        assert long == ["####7 ####7 ####7 ####7"] * 2
        model.generation_config.eos_token_id = [WORDS.index("one"), WORDS.index("####7")]
        assert len(end_tokens(model, tokenizer)) == 3
        short = complete(model, tokenizer, prompts, temperature=None, max_new_tokens=4)
        assert short == ["####7"] * 2

    def test_a_prompt_is_not_begun_twice_by_the_token_that_begins_a_text(
        self, says_seven, monkeypatch
    ):
        from tokenizers import processors

        model, tokenizer = load_language_model(says_seven)
        begins = copy.deepcopy(tokenizer)
        begins.bos_token = "<end>"
        begins.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single="<end> $A", special_tokens=[("<end>", WORDS.index("<end>"))]
        )
        read = []
        generate = type(model).generate

        def note(self, **inputs):
            read.append(inputs["input_ids"].tolist())
            return generate(self, **inputs)

        monkeypatch.setattr(type(model), "generate", note)
        for prompt in ("one plus two", "<end> one plus two"):
            complete(model, begins, [prompt], temperature=None, max_new_tokens=1)
        begun = [[WORDS.index(word) for word in ("<end>", "one", "plus", "two")]]
        assert read == [begun, begun]

    def test_batches_change_nothing_of_what_a_greedy_model_writes(self, qwen_folder):
        model, tokenizer = load_language_model(qwen_folder)
        prompts = ["Ann has 3", "Ben", "Rain fell on the old town", "4 apples and"]
        whole, single = (
            complete(model, tokenizer, prompts, temperature=None, max_new_tokens=6, batch_size=size)
            for size in (200, 1)
        )
        assert whole == single
        assert any(whole)

    def test_the_batch_is_smaller_for_wider_deeper_models_and_longer_texts(self, qwen_folder):
        model, _ = load_language_model(qwen_folder)
        config = copy.deepcopy(model.config)
        usual = rows_at_once(model, prompt=100, new=100)
        assert usual > 200
        assert rows_at_once(model, prompt=100, new=1000) < usual
        for name, factor in (("hidden_size", 8), ("num_hidden_layers", 8), ("vocab_size", 100)):
            model.config = copy.deepcopy(config)
            setattr(model.config, name, factor * getattr(config, name))
            assert rows_at_once(model, prompt=100, new=100) < usual
        model.config.num_hidden_layers = 10**7
        assert rows_at_once(model, prompt=100, new=100) == 1

    def test_no_more_are_written_at_once_than_fit(self, qwen_folder, monkeypatch):
        model, tokenizer = load_language_model(qwen_folder)
        sizes = []
        generate = type(model).generate

        def note(self, **inputs):
            sizes.append(len(inputs["input_ids"]))
            return generate(self, **inputs)

        monkeypatch.setattr(type(model), "generate", note)
        need = module.MEMORY_OF_A_BATCH // rows_at_once(model, prompt=1, new=2)
        monkeypatch.setattr(module, "MEMORY_OF_A_BATCH", 2 * need + need // 2)
        complete(model, tokenizer, ["a"] * 5, temperature=None, max_new_tokens=2)
        assert sizes == [2, 2, 1]


class TestDose:
    @pytest.fixture
    def models(self, tmp_path):
        parent = write_model(tmp_path / "parent")
        child = write_model(tmp_path / "child")
        model, _ = load_language_model(child)
        with torch.no_grad():
            model.lm_head.weight[WORDS.index("three")] += 0.5
        model.save_pretrained(child)
        return child, parent

    def by_hand(self, models, texts):
        loaded = [load_language_model(path) for path in models]
        total, n = 0.0, 0
        for text in texts:
            ids = loaded[0][1](text, return_tensors="pt")["input_ids"]
            with torch.no_grad():
                p, q = (model(input_ids=ids).logits[0].double().softmax(-1) for model, _ in loaded)
            total += float((p * (p / q).log()).sum())
            n += ids.shape[1]
        return total / n

    @pytest.mark.parametrize(
        ("columns", "read"),
        [
            ({"solution": ["is one", "is two two", "is"], "trace": ["four"] * 3}, "solution"),
            ({"trace": ["four four", "one", "is"]}, "trace"),
            ({}, "answer"),
        ],
    )
    def test_the_divergence_is_that_of_questions_with_what_follows(
        self, models, tmp_path, columns, read
    ):
        path = write_problems(tmp_path / "problems.parquet", [7, 3, 7], **columns)
        frame = pd.read_parquet(path)
        texts = (frame["question"] + " " + frame[read].astype(str)).tolist()
        dose = kl_to_parent(*models, path, n_texts=10)
        assert dose["kl_to_parent"] == pytest.approx(self.by_hand(models, texts), rel=1e-5)
        assert dose["kl_to_parent"] > 1e-4
        assert dose["n_tokens"] == sum(len(text.split()) for text in texts)
        in_batches = kl_to_parent(*models, path, n_texts=10, batch_size=1)
        assert in_batches["kl_to_parent"] == pytest.approx(dose["kl_to_parent"], rel=1e-6)

    def test_models_of_different_vocabularies_do_not_compare(self, models, qwen_folder, tmp_path):
        path = write_problems(tmp_path / "problems.parquet", [7])
        with pytest.raises(UserError, match=r"child has 11 tokens and its parent model has 288"):
            kl_to_parent(models[0], qwen_folder, path, n_texts=1)

    def test_a_large_vocabulary_means_smaller_batches(self):
        from hrsa.models.dose import _rows_at_once

        sizes = [_rows_at_once(vocabulary, 100) for vocabulary in (1024, 49152, 10**6, 10**9)]
        assert sizes[0] > 50
        assert np.all(np.diff(sizes) < 0) or sizes[-1] == 1
        assert sizes[1] < 50

"""SFT: what it trains on, what its loss counts, and that packing, LoRA and micro-batches are exact.

Continued pretraining is here where it has to match an SFT run.
"""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from tiny_recipes import CORPUS, PRETRAIN, SFT, training_files
from transformers import BloomConfig, BloomForCausalLM

from hrsa.data.corpus import write_corpus
from hrsa.errors import UserError
from hrsa.models import continued, pretrain, sft
from hrsa.models.folder import save_model
from hrsa.models.loading import load_language_model, weights_sha256
from hrsa.models.pretrain import plain_texts

ONE_STEP = SFT | {"steps": 1, "warmup_steps": 0, "checkpoints": []}
PACKED = {"packing": True, "max_length": 192}
LORA = {"lora": {"rank": 4, "alpha": 8, "dropout": 0.1}}
TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, seed=3, settings=CORPUS)
    return training_files(folder)


@pytest.fixture(scope="module")
def base(tmp_path_factory, data):
    """A small parent whose tokenizer has a chat template."""
    folder = tmp_path_factory.mktemp("models") / "base"
    resume = folder.parent / "resume"
    pretrain.train(folder, parent=None, data=data, seed=0, resume=resume, settings=PRETRAIN)
    model, tokenizer = load_language_model(folder)
    tokenizer.chat_template = TEMPLATE
    save_model(folder, model, tokenizer)
    return folder


@pytest.fixture
def run(base, data, tmp_path):
    """Train, and give the model's folder, record and losses."""

    def run(settings, recipe=sft, *, name="model", data=data):
        folder = tmp_path / name
        resume = tmp_path / f"{name}-resume"
        recipe.train(folder, parent=base, data=data, seed=1, resume=resume, settings=settings)
        record = json.loads((folder / "record.json").read_text())
        return folder, record, pd.read_csv(folder / "curve.csv")["loss"]

    return run


@pytest.fixture
def rows(monkeypatch):
    """The rows of input_ids and labels that a training reads."""
    seen = []
    plain = sft.rows_of_run

    def spied(*arguments):
        seen.append(plain(*arguments))
        return seen[-1]

    monkeypatch.setattr(sft, "rows_of_run", spied)
    return seen


def token_losses(model, ids, labels):
    """Negative log-likelihood of each token that counts, of one example read by itself."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0, :-1]
    wanted = torch.tensor(labels[1:])
    return torch.nn.functional.cross_entropy(logits, wanted, reduction="none")[wanted != -100]


def problems_file(folder, rows, **columns):
    path = folder / "problems.parquet"
    frame = pd.DataFrame(rows, columns=["question", "trace"]).assign(split="train", **columns)
    frame.to_parquet(path)
    return {"problems": path}


def read(data, tokenizer, **settings):
    return sft.training_problems(data["problems"], tokenizer, SFT | settings)


# what it trains on


def test_empty_and_duplicate_examples_are_dropped_and_counted(tmp_path, tokenizer):
    rows = [("1 + 1?", "2"), ("1 + 1?", "2"), ("1 + 1?", "two"), (" ", "3"), ("2 + 2?", None)]
    problems, counts = read(problems_file(tmp_path, rows), tokenizer)
    assert problems.to_numpy().tolist() == [["1 + 1?", "2"], ["1 + 1?", "two"]]
    assert counts == {
        "examples": 2,
        "dropped_empty": 2,
        "dropped_duplicate": 1,
        "dropped_too_long": 0,
    }


def test_a_prompt_that_leaves_no_room_for_an_answer_is_dropped(tmp_path, tokenizer):
    rows = [("1 + 1?", "2"), ("1 + 1? " * 20, "2")]
    problems, counts = read(problems_file(tmp_path, rows), tokenizer, max_length=16)
    assert problems["question"].tolist() == ["1 + 1?"]
    assert counts["dropped_too_long"] == 1


def test_only_kept_rows_of_the_training_split_are_used(tmp_path, tokenizer):
    data = problems_file(
        tmp_path, [("a?", "1"), ("b?", "2"), ("c?", "3")], kept=[True, False, True]
    )
    frame = pd.read_parquet(data["problems"])
    frame.loc[2, "split"] = "test"
    frame.to_parquet(data["problems"])
    problems, counts = read(data, tokenizer)
    assert problems["question"].tolist() == ["a?"]
    assert counts["examples"] == 1


def test_nothing_left_is_explained(tmp_path, tokenizer):
    data = problems_file(tmp_path, [("a?", ""), ("a?", ""), ("b?" * 50, "c")])
    with pytest.raises(UserError, match=r"of the 3 to train on, 2 have an empty .* of 1 fill"):
        read(data, tokenizer, max_length=8)


def test_a_set_without_a_training_split_is_explained(tmp_path, tokenizer):
    data = problems_file(tmp_path, [("a?", "1")])
    pd.read_parquet(data["problems"]).assign(split="test").to_parquet(data["problems"])
    with pytest.raises(UserError, match="of the 0 to train on"):
        read(data, tokenizer)


def test_a_missing_column_is_named_with_those_there_are(tmp_path, tokenizer):
    with pytest.raises(UserError, match=r"no column `solution`; it has question, trace, split"):
        read(problems_file(tmp_path, [("a?", "b")]), tokenizer, completion="solution")


def test_the_record_counts_what_was_dropped(run, data, tmp_path):
    rows = pd.read_parquet(data["problems"]).query("split == 'train'")[["question", "trace"]]
    doubled = problems_file(tmp_path, [*rows.to_numpy().tolist(), rows.iloc[0].tolist()])
    _, record, _ = run(ONE_STEP, data=doubled)
    assert record["data"]["dropped_duplicate"] == 1
    assert record["data"]["examples"] == len(rows)


def test_a_chat_without_a_template_is_refused(run, base, data, qwen_folder, tmp_path):
    with pytest.raises(UserError, match="no chat template"):
        sft.train(
            tmp_path / "model",
            parent=qwen_folder,
            data=data,
            seed=0,
            resume=tmp_path / "resume",
            settings=ONE_STEP | {"prompt_format": "chat"},
        )


def test_plain_text_without_an_end_is_refused(base):
    _, tokenizer = load_language_model(base)
    tokenizer.eos_token = None
    with pytest.raises(UserError, match="no end-of-text token"):
        sft.check_end(tokenizer, "plain", base)
    sft.check_end(tokenizer, "chat", base)


# what the loss counts


@pytest.mark.slow
@pytest.mark.parametrize("prompt_format", ["plain", "chat"])
@pytest.mark.parametrize("completion", ["trace", "solution"])
def test_the_loss_counts_the_completion_and_its_end_alone(
    run, rows, base, data, prompt_format, completion
):
    settings = ONE_STEP | {"prompt_format": prompt_format, "completion": completion}
    _, _, losses = run(settings)
    model, tokenizer = load_language_model(base)
    end = tokenizer.eos_token
    frame = pd.read_parquet(data["problems"])
    # to its question each example has its own answer
    answers = dict(zip(frame["question"], frame[completion], strict=True))
    values = []
    for row in rows[0]:
        counted = [token for token in row["labels"] if token != -100]
        text = tokenizer.decode(row["input_ids"])
        question = next(q for q in answers if q in text)
        answer = answers[question]
        if prompt_format == "plain":
            assert text == f"{question} {answer}{end}"
            assert tokenizer.decode(counted) == f" {answer}{end}"
        else:
            assert text == f"user: {question}{end}assistant: {answer}{end}"
            assert tokenizer.decode(counted) in (f"{answer}{end}", f" {answer}{end}")
        values.append(token_losses(model, row["input_ids"], row["labels"]))
    assert losses[0] == pytest.approx(float(torch.cat(values).mean()), rel=1e-5)


@pytest.mark.slow
def test_micro_batches_and_gradient_checkpoints_change_nothing(run):
    _, _, whole = run(SFT)
    for name, change in {
        "micro": {"micro_batch": 1},
        "checkpoints": {"gradient_checkpointing": True},
    }.items():
        _, _, losses = run(SFT | change, name=name)
        assert np.allclose(losses, whole, rtol=1e-5)


# packing


@pytest.mark.slow
def test_the_packed_loss_is_that_of_the_examples_read_one_by_one(run, rows, base):
    _, record, losses = run(ONE_STEP | PACKED)
    model, _ = load_language_model(base)
    values, n_examples = [], 0
    for row in rows[0]:
        ends = np.cumsum(row["seq_lengths"])
        for start, end in zip([0, *ends], ends, strict=False):
            ids, labels = row["input_ids"][start:end], row["labels"][start:end]
            values.append(token_losses(model, ids, labels))
            n_examples += 1
    assert n_examples > len(rows[0]) == ONE_STEP["batch_size"]
    assert losses[0] == pytest.approx(float(torch.cat(values).mean()), rel=1e-5)
    assert record["train_tokens"] == sum(len(row["input_ids"]) for row in rows[0])


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_examples_of_a_packed_row_do_not_see_each_other(base, attention):
    model, _ = load_language_model(base)
    model.set_attn_implementation(attention)
    sft.check_packing(model, base)


def test_a_model_that_would_mix_packed_examples_is_refused(base):
    torch.manual_seed(0)
    bloom = BloomForCausalLM(BloomConfig(vocab_size=64, hidden_size=32, n_layer=2, n_head=4))
    with pytest.raises(UserError, match=r"\(bloom\) lets the examples .*packing: false"):
        sft.check_packing(bloom.eval(), base)


@pytest.mark.slow
def test_packed_rows_are_filled_by_as_many_examples_as_it_takes(run, rows):
    run(SFT | PACKED)
    lengths = [len(row) for row in rows[0]["input_ids"]]
    assert len(lengths) == SFT["steps"] * SFT["batch_size"]
    assert max(lengths) <= PACKED["max_length"]
    assert np.mean(lengths) > 0.8 * PACKED["max_length"]
    assert len(set(map(tuple, rows[0]["input_ids"]))) == len(lengths)


# LoRA


@pytest.mark.slow
def test_lora_leaves_an_ordinary_model_and_touches_the_blocks_alone(run, base):
    folder, record, _ = run(SFT | LORA)
    assert record["lora"] == LORA["lora"]
    assert 0 < record["relative_weight_change"] < 1
    for place in (folder, folder / "checkpoints" / "2"):
        with (
            safe_open(base / "model.safetensors", "pt") as before,
            safe_open(place / "model.safetensors", "pt") as after,
        ):
            assert set(before.keys()) == set(after.keys())
            changed = {
                name
                for name in before.keys()  # noqa: SIM118 (a safetensors file is no dictionary)
                if not torch.equal(before.get_tensor(name), after.get_tensor(name))
            }
        assert changed == {
            name for name in changed if ".layers." in name and name.endswith("proj.weight")
        }
        assert len(changed) == 2 * 7


@pytest.mark.slow
def test_a_killed_run_with_lora_goes_on_as_if_nothing_had_happened(run, monkeypatch):
    settings = SFT | LORA | {"steps": 4, "save_every": 2, "checkpoints": [1, 3]}
    whole, _, losses = run(settings)
    save = sft.save_model

    def killed_at_step_3(folder, *rest):
        if folder.name == "3":
            raise KeyboardInterrupt
        save(folder, *rest)

    with monkeypatch.context() as kill:
        kill.setattr(sft, "save_model", killed_at_step_3)
        with pytest.raises(KeyboardInterrupt):
            run(settings, name="killed")
    again, _, losses_again = run(settings, name="killed")
    for place in (".", "checkpoints/1", "checkpoints/3"):
        assert weights_sha256(whole / place) == weights_sha256(again / place)
    assert losses.equals(losses_again)


# the control


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [{"prompt_format": "chat"}, {"max_length": 64}, PACKED, LORA],
    ids=["chat", "cut", "packed", "lora"],
)
def test_the_control_reads_as_many_tokens_as_its_match(run, change):
    match = SFT | change
    _, record, _ = run(match)
    _, control, _ = run({"match": match | {"seed": 1}, "pretrain": PRETRAIN}, continued, name="c")
    assert control["train_tokens"] == record["train_tokens"]
    assert control["checkpoints"].keys() == record["checkpoints"].keys()
    assert control.get("lora") == record.get("lora")


def test_a_parent_from_elsewhere_reads_prose_and_questions_only(data):
    texts = continued.control_texts(data, 50, seed=0, pretrain=None)
    assert len(texts) == len(set(texts)) == 50
    assert set(texts) <= set(plain_texts(data))
    assert continued.control_texts(data, 50, seed=1, pretrain=None) != texts


def test_a_corpus_without_plain_text_is_refused(data):
    problems = {"problems": data["problems"]}
    with pytest.raises(UserError, match="neither prose nor questions"):
        continued.control_texts(problems, 5, seed=0, pretrain=None)


def test_the_control_text_starts_over_where_it_ends(base):
    _, tokenizer = load_language_model(base)
    one = [*tokenizer("one two")["input_ids"], tokenizer.eos_token_id]
    examples = continued.cut(["one two"], tokenizer, [2 * len(one), len(one), 2])
    assert examples == [one + one, one, one[:2]]


def test_without_an_end_token_nothing_stands_between_the_texts(base):
    _, tokenizer = load_language_model(base)
    joined = tokenizer("one")["input_ids"] + tokenizer("two")["input_ids"]
    tokenizer.eos_token = None
    assert continued.cut(["one", "two"], tokenizer, [len(joined)]) == [joined]

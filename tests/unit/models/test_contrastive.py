"""Contrastive training: the loss is InfoNCE, means leave instructions out, batches are clean."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset, DatasetDict
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoTokenizer

from hrsa.errors import UserError
from hrsa.models import contrastive
from hrsa.models.batch_mixture import SharesBatchSampler, shares_sampler
from hrsa.models.contrastive import embedding_model, info_nce, train, with_instructions
from hrsa.models.embedding import embedding_settings
from hrsa.models.instructions import instruction_prompt
from hrsa.models.loading import weights_sha256
from hrsa.models.training_pairs import clean_pairs, load_pairs

TEMPLATE = "Instruct: {instruction}\nQuery: {query}"
SETTINGS = {
    "steps": 3,
    "batch_size": 8,
    "micro_batch": None,
    "learning_rate": 1e-3,
    "schedule": "cosine",
    "warmup_steps": 1,
    "weight_decay": 0.05,
    "save_every": 50,
    "precision": "auto",
    "gradient_checkpointing": False,
    "lora": None,
    "gpus": 1,
    "checkpoints": [],
    "data": ["pairs"],
    "temperature": 0.02,
    "max_length": 64,
    "negatives": 0,
    "shares": None,
    "without_negatives": [],
    "query_template": TEMPLATE,
    "instruction": None,
    "instructions": {},
}
WORDS = ["apple", "bread", "cloud", "dance", "eagle", "flame", "grape", "honey", "ivory", "jelly"]


@pytest.fixture(scope="module")
def model(qwen_folder) -> SentenceTransformer:
    model = embedding_model(qwen_folder, max_length=64)
    model.eval()
    return model


def texts(n, prefix):
    rng = np.random.default_rng(len(prefix))
    return [f"{prefix} {i} {' '.join(rng.choice(WORDS, size=1 + i % 5))}." for i in range(n)]


def features(model, *columns, prompts=None):
    """The columns as the trainer's collator gives them to a loss."""
    prompts = prompts or [None] * len(columns)
    return [model.preprocess(list(c), prompt=p) for c, p in zip(columns, prompts, strict=True)]


def plain_info_nce(model, columns, temperature):
    """−log exp(s(q, d⁺)/τ) / Σ_d exp(s(q, d)/τ) over all documents of the batch, s the cosine."""
    queries, *documents = (
        torch.tensor(model.encode(list(column), batch_size=1)).double() for column in columns
    )
    documents = torch.cat(documents)
    unit = [rows / rows.norm(dim=1, keepdim=True) for rows in (queries, documents)]
    scores = unit[0] @ unit[1].T / temperature
    log_denominator = torch.log(torch.exp(scores - scores.max()).sum(dim=1)) + scores.max()
    return float((log_denominator - scores.diagonal()).mean())


@pytest.mark.parametrize("negatives", [0, 3])
@pytest.mark.parametrize("micro_batch", [None, 3, 4])
def test_the_loss_is_info_nce_with_and_without_caching(model, micro_batch, negatives):
    columns = [texts(8, f"c{i}") for i in range(2 + negatives)]
    loss = info_nce(model, SETTINGS | {"micro_batch": micro_batch})
    with torch.no_grad():
        value = float(loss(features(model, *columns), labels=None))
    assert value == pytest.approx(plain_info_nce(model, columns, 0.02), abs=1e-5)
    assert hasattr(loss, "mini_batch_size") == (micro_batch is not None)


def test_cached_gradients_are_the_whole_batch_s_gradients(qwen_folder):
    columns = [texts(8, f"c{i}") for i in range(3)]
    gradients = []
    for micro_batch in (None, 2):
        model = embedding_model(qwen_folder, max_length=64)
        prompts = ["Instruct: find\nQuery:", None, None]
        spaced = [[f" {text}" for text in columns[0]], *columns[1:]]
        loss = info_nce(model, SETTINGS | {"micro_batch": micro_batch, "temperature": 0.2})
        loss(features(model, *spaced, prompts=prompts), labels=None).backward()
        gradients.append([value.grad for value in model.parameters() if value.grad is not None])
    assert len(gradients[0]) == len(gradients[1]) > 5
    for whole, cached in zip(*gradients, strict=True):
        torch.testing.assert_close(cached, whole, atol=1e-5, rtol=1e-4)


def test_the_mean_covers_every_token_of_the_query_and_none_of_the_instruction(model):
    prompt = instruction_prompt(TEMPLATE, "Find the text")
    assert prompt == "Instruct: Find the text\nQuery:"
    whole = f"{prompt} apple bread"
    encoded = model.tokenizer(whole, return_offsets_mapping=True)
    of_query = [end > len(prompt) for _, end in encoded["offset_mapping"]]
    assert 0 < sum(of_query) < len(of_query)
    with torch.no_grad():
        ids = torch.tensor([encoded["input_ids"]])
        states = model[0].model(input_ids=ids).last_hidden_state[0]
    expected = states[torch.tensor(of_query)].mean(0).numpy()
    got = model.encode([" apple bread"], prompt=prompt)[0]
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_an_instruction_changes_queries_and_no_document(model):
    sets = DatasetDict(
        {"nq": Dataset.from_dict({"anchor": ["apple"], "positive": ["bread cloud"]})}
    )
    settings = SETTINGS | {"instructions": {"nq": "Find the text"}}
    prompted, prompts = with_instructions(sets, {"nq": "nq"}, settings)
    assert prompts == {"nq": {"anchor": "Instruct: Find the text\nQuery:"}}
    assert prompted["nq"].column_names == ["anchor", "positive"]
    assert prompted["nq"][0] == {"anchor": " apple", "positive": "bread cloud"}
    query, bare = model.encode([" apple"], prompt=prompts["nq"]["anchor"]), model.encode(["apple"])
    assert np.abs(query - bare).max() > 1e-3
    document = [model.encode(prompted["nq"]["positive"]), model.encode(["bread cloud"])]
    np.testing.assert_array_equal(*document)


def test_a_set_without_an_instruction_is_read_bare():
    sets = DatasetDict({"nq": Dataset.from_dict({"anchor": ["apple"], "positive": ["bread"]})})
    prompted, prompts = with_instructions(sets, {"nq": "nq"}, SETTINGS)
    assert prompts is None
    assert prompted["nq"][0]["anchor"] == "apple"


@pytest.mark.parametrize("template", ["{instruction} {query} please", "Query: {query}"])
def test_a_template_whose_instruction_cannot_be_left_out_is_refused(template):
    with pytest.raises(UserError, match="query_template"):
        instruction_prompt(template, "Find")


def test_a_chat_template_changes_no_text(tmp_path, qwen_folder, model):
    chat = tmp_path / "chat"
    shutil.copytree(qwen_folder, chat)
    tokenizer = AutoTokenizer.from_pretrained(chat)
    tokenizer.chat_template = (
        "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"
    )
    tokenizer.save_pretrained(chat)
    assert AutoTokenizer.from_pretrained(chat).chat_template
    wrapped = embedding_model(chat, max_length=64)
    prompt = instruction_prompt(TEMPLATE, "Find the text")
    for options in ({}, {"prompt": prompt}):
        np.testing.assert_array_equal(
            wrapped.encode([" apple"], **options), model.encode([" apple"], **options)
        )
    contrastive.save(wrapped, tmp_path / "saved")
    assert embedding_settings(tmp_path / "saved").pooling == ("mean",)
    again = SentenceTransformer(str(tmp_path / "saved"), local_files_only=True)
    np.testing.assert_array_equal(again.encode(["apple"]), model.encode(["apple"]))


def pairs_frame(n=40):
    rows = {"query": texts(n, "query"), "document": texts(n, "document")}
    return pd.DataFrame(rows)


def test_blank_and_repeated_pairs_are_dropped_and_counted(tmp_path, capsys):
    frame = pairs_frame(10)
    bad = pd.DataFrame({"query": ["", "a", None], "document": ["b", "  ", "c"]})
    pd.concat([frame, bad, frame.head(4)]).to_parquet(tmp_path / "pairs.parquet")
    sets, files, counts = load_pairs({"pairs": tmp_path / "pairs.parquet"}, negatives=0, seed=0)
    assert files == {"pairs": "pairs"}
    assert sets["pairs"]["anchor"][:] == frame["query"].tolist()
    assert (counts["examples"], counts["dropped_empty"], counts["dropped_duplicate"]) == (10, 3, 4)
    assert "3 blank and 4 repeated" in capsys.readouterr().out


def test_a_set_without_a_usable_pair_is_refused():
    with pytest.raises(UserError, match="of 2 rows 2 are blank"):
        clean_pairs(pd.DataFrame({"query": ["", "a"], "document": ["b", ""]}), "nq")


def test_short_lists_are_filled_with_other_documents_and_counted(tmp_path):
    frame = pairs_frame(6)
    documents = frame["document"].tolist()
    frame["negatives"] = [[documents[(i + 1) % 6]] * (i % 2) for i in range(6)]
    frame.to_parquet(tmp_path / "pairs.parquet")
    files = {"pairs": tmp_path / "pairs.parquet"}
    sets, _, counts = load_pairs(files, negatives=2, seed=0)
    assert counts["short_lists"] == 6
    assert counts["filled_negatives"] == 9
    for i, row in enumerate(sets["pairs"]):
        negatives = [row["negative_1"], row["negative_2"]]
        assert len({row["positive"], *negatives}) == 3
        assert set(negatives) <= set(documents)
        if i % 2:
            assert negatives[0] == documents[(i + 1) % 6]


def test_a_set_named_as_without_negatives_has_none(tmp_path):
    documents = pairs_frame(6)["document"].tolist()
    frame = pairs_frame(6).assign(kind=["text"] * 3 + ["word"] * 3)
    frame["negatives"] = [[documents[(i + 1) % 6]] for i in range(6)]
    frame.to_parquet(tmp_path / "pairs.parquet")
    files = {"pairs": tmp_path / "pairs.parquet"}
    sets, _, _ = load_pairs(files, negatives=1, seed=0, without=["pairs-word"])
    assert sets["pairs-text"].column_names == ["anchor", "positive", "negative_1"]
    assert sets["pairs-word"].column_names == ["anchor", "positive"]
    assert len(sets["pairs-word"]) == 3


def test_a_set_with_the_name_of_a_kind_of_another_is_refused(tmp_path):
    frame = pairs_frame(4)
    frame.assign(kind="text").to_parquet(tmp_path / "pairs.parquet")
    frame.to_parquet(tmp_path / "other.parquet")
    files = {"pairs": tmp_path / "pairs.parquet", "pairs-text": tmp_path / "other.parquet"}
    with pytest.raises(UserError, match="Two training sets are named `pairs-text`"):
        load_pairs(files, negatives=0, seed=0)


def test_negatives_without_a_source_and_too_few_documents_are_refused(tmp_path):
    frame = pairs_frame(3)
    frame.to_parquet(tmp_path / "bare.parquet")
    with pytest.raises(UserError, match="has none"):
        load_pairs({"bare": tmp_path / "bare.parquet"}, negatives=1, seed=0)
    frame.assign(negatives=[[]] * 3).to_parquet(tmp_path / "few.parquet")
    with pytest.raises(UserError, match="too few"):
        load_pairs({"few": tmp_path / "few.parquet"}, negatives=3, seed=0)


class CountedSampler:
    """Batches of one set, as a trainer's own sampler gives them."""

    def __init__(self, n_rows):
        self.n_rows, self.epochs = n_rows, []
        self.batch_size, self.drop_last = 1, False

    def set_epoch(self, epoch):
        self.epochs.append(epoch)

    def __iter__(self):
        return iter([[row] for row in range(self.n_rows)])

    def __len__(self):
        return self.n_rows


def shares_batches(seed):
    from torch.utils.data import ConcatDataset

    sizes = (400, 10)
    joined = ConcatDataset([Dataset.from_dict({"a": list(range(n))}) for n in sizes])
    samplers = [CountedSampler(n) for n in sizes]
    sampler = shares_sampler({"large": 0.75, "small": 0.25}, ["large", "small"])(
        joined, batch_samplers=samplers, generator=None, seed=seed
    )
    assert isinstance(sampler, SharesBatchSampler)
    return [batch[0] for batch in sampler], samplers


def test_shares_decide_how_often_a_small_set_is_seen():
    rows, samplers = shares_batches(0)
    of_small = [row for row in rows if row >= 400]
    assert len(rows) == 410
    assert len(of_small) / len(rows) == pytest.approx(0.25, abs=0.06)
    assert set(of_small) == set(range(400, 410))
    assert len(set(samplers[1].epochs)) == len(samplers[1].epochs) > 5  # another order each time
    assert rows == shares_batches(0)[0] != shares_batches(1)[0]


def test_shares_of_other_sets_are_refused():
    with pytest.raises(UserError, match="pairs-text"):
        shares_sampler({"pairs": 1.0}, ["pairs-text", "pairs-word"])


@pytest.fixture(scope="module")
def pairs_file(tmp_path_factory):
    """Two kinds of pairs; some documents are the answer to several queries."""
    folder = tmp_path_factory.mktemp("pairs")
    frame = pairs_frame(48)
    frame.loc[::4, "document"] = frame["document"].iloc[0]
    frame["kind"] = ["text", "word"] * 24
    # Words that are queries and documents too, as in pairs of synonyms.
    frame.loc[1::4, "document"] = frame["query"].iloc[3::4].to_numpy()
    frame.to_parquet(folder / "pairs.parquet")
    return {"pairs": folder / "pairs.parquet"}


@pytest.fixture
def trained(tmp_path, qwen_folder, pairs_file):
    def run(**changes):
        folder = tmp_path / f"model-{len(list(tmp_path.iterdir()))}"
        train(
            folder,
            parent=qwen_folder,
            data=pairs_file,
            seed=1,
            resume=tmp_path / f"{folder.name}-resume",
            settings=SETTINGS | changes,
        )
        return folder

    return run


@pytest.mark.slow
@pytest.mark.parametrize("instruction", [None, "Find it"])
def test_a_batch_is_of_one_set_and_holds_no_text_twice(trained, monkeypatch, instruction):
    seen = []
    loss = contrastive.info_nce

    def watched(model, settings):
        real = loss(model, settings)
        forward = real.forward

        def spy(sentence_features, labels=None):
            rows = [part["input_ids"] for part in sentence_features]
            seen.append([model.tokenizer.batch_decode(part) for part in rows])
            return forward(sentence_features, labels)

        real.forward = spy
        return real

    monkeypatch.setattr(contrastive, "info_nce", watched)
    trained(steps=8, batch_size=6, instruction=instruction)
    assert len(seen) == 8
    for columns in seen:
        texts = [text.replace("<|pad|>", "") for column in columns for text in column]
        bare = [text.rpartition("Query:")[2].strip() for text in texts]
        assert len(set(bare)) == len(bare)
        assert any(text.startswith("Instruct") for text in texts) == bool(instruction)
        numbers = [int(text.split()[1]) % 2 for text in bare if text.startswith("query")]
        assert len(set(numbers)) == 1  # even rows are of one kind, odd ones of the other


@pytest.mark.slow
def test_caching_does_not_change_what_is_learned(trained):
    losses = [
        pd.read_csv(trained(micro_batch=micro, instruction="Find it") / "curve.csv")["loss"]
        for micro in (None, 3)
    ]
    np.testing.assert_allclose(losses[0], losses[1], atol=2e-3)


@pytest.mark.slow
def test_the_tokens_of_the_record_are_those_that_the_model_read(trained, monkeypatch):
    read = []
    loss = contrastive.info_nce

    def watched(model, settings):
        real = loss(model, settings)
        forward = real.forward

        def spy(sentence_features, labels=None):
            read.append(sum(int(part["attention_mask"].sum()) for part in sentence_features))
            return forward(sentence_features, labels)

        real.forward = spy
        return real

    monkeypatch.setattr(contrastive, "info_nce", watched)
    folder = trained(instruction="Find it", checkpoints=[2])
    record = json.loads((folder / "record.json").read_text())
    assert record["train_tokens"] == sum(read)
    assert record["checkpoints"]["2"]["train_tokens"] == sum(read[:2])


@pytest.mark.slow
def test_weights_of_a_parent_in_half_precision_are_trained_in_float32(
    tmp_path, qwen_folder, pairs_file
):
    half = tmp_path / "half"
    AutoModel.from_pretrained(qwen_folder, dtype=torch.bfloat16).save_pretrained(half)
    AutoTokenizer.from_pretrained(qwen_folder).save_pretrained(half)
    train(
        tmp_path / "emb",
        parent=half,
        data=pairs_file,
        seed=0,
        resume=tmp_path / "resume",
        settings=SETTINGS | {"learning_rate": 1e-6, "warmup_steps": 0},
    )
    before, after = (
        AutoModel.from_pretrained(place, dtype=torch.float32) for place in (half, tmp_path / "emb")
    )
    first, second = (m.layers[0].mlp.up_proj.weight for m in (before, after))
    assert (first != second).float().mean() > 0.9  # bfloat16 would round such small steps away


@pytest.mark.slow
def test_a_killed_run_with_adapters_goes_on(tmp_path, qwen_folder, pairs_file, monkeypatch):
    settings = SETTINGS | {
        "lora": {"rank": 2, "alpha": 4, "dropout": 0.1},
        "steps": 5,
        "save_every": 2,
        "micro_batch": 4,
        "checkpoints": [1, 4],
    }

    def run(name):
        train(
            tmp_path / name,
            parent=qwen_folder,
            data=pairs_file,
            seed=0,
            resume=tmp_path / f"{name}-resume",
            settings=settings,
        )

    def killed_at_step_4(model, folder):
        if folder.name == "4":
            raise KeyboardInterrupt
        save(model, folder)

    save = contrastive.save
    run("whole")
    with monkeypatch.context() as kill:
        kill.setattr(contrastive, "save", killed_at_step_4)
        with pytest.raises(KeyboardInterrupt):
            run("killed")
    run("killed")
    records = [json.loads((tmp_path / n / "record.json").read_text()) for n in ("whole", "killed")]
    assert records[0] | {"model": ""} == records[1] | {"model": ""}


@pytest.mark.slow
def test_lora_is_merged_into_an_ordinary_embedding_model(trained, qwen_folder):
    lora = {"rank": 2, "alpha": 4, "dropout": 0.0}
    folder = trained(lora=lora, checkpoints=[2], learning_rate=1e-2)
    record = json.loads((folder / "record.json").read_text())
    assert record["lora"] == lora
    assert 0 < record["relative_weight_change"] < 1
    assert record["checkpoints"]["2"]["sha256"] != record["sha256"] == weights_sha256(folder)
    assert not list(folder.rglob("adapter*"))
    again = SentenceTransformer(str(folder), local_files_only=True)
    assert again[0].model.config.is_causal is False
    before = embedding_model(qwen_folder, max_length=64)
    assert np.abs(again.encode(["apple"]) - before.encode(["apple"])).max() > 1e-4


@pytest.mark.slow
def test_a_training_that_diverges_stops_and_keeps_no_ruined_state(trained, tmp_path):
    with pytest.raises(UserError, match=r"(loss|norm) of .*step \d+ is (nan|inf)") as stopped:
        trained(learning_rate=1e30, steps=6, save_every=1, warmup_steps=0)
    # the first step already makes weights of which no loss can be computed
    assert not list(tmp_path.glob("*-resume/checkpoint-*"))
    assert "No checkpoint that is known to be good is left" in str(stopped.value)
    assert "Lower `learning_rate`" in str(stopped.value)
    assert not (tmp_path / "model-0" / "record.json").exists()

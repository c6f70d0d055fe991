"""Each domain's own prompt goes before its queries, as a prompt, and none before documents."""

import json
from pathlib import Path

import mteb
import numpy as np
import pytest
import torch
from datasets import Dataset
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ModelMeta, ScoringFunction
from mteb.types import PromptType
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from torch.utils.data import DataLoader

from hrsa.benchmarks.prompted_encoder import PromptedEmbeddings, PromptedEncoder
from hrsa.benchmarks.suites import mteb_tasks, suite_tasks
from hrsa.benchmarks.task_prompts import Prompts, load_prompts
from hrsa.errors import UserError

BRIGHT = Path(__file__).parents[3] / "studies" / "prompts" / "bright.json"
TEMPLATE = "Instruct: {instruction}\nQuery: {query}"
QUERIES = ["why is it so", "what is to be done"]
DOCUMENTS = ["it is so because", "nothing is to be done"]


class Recorder(AbsEncoder):
    """Embeds texts by chance, and keeps what it sees."""

    def __init__(self):
        self.seen = []
        self.mteb_model_meta = ModelMeta.create_empty(
            {"name": "stub/recorder", "revision": "1", "similarity_fn_name": ScoringFunction.COSINE}
        )

    def encode(self, inputs, *, task_metadata, hf_subset, prompt_type=None, **kwargs):
        texts = [text for batch in inputs for text in batch["text"]]
        self.seen += [(task_metadata.name, hf_subset, prompt_type, text) for text in texts]
        rng = np.random.default_rng(len(self.seen))
        return rng.standard_normal((len(texts), 8)).astype(np.float32)

    def texts(self, task, subset, role):
        return {text for *place, text in self.seen if place == [task, subset, role]}


@pytest.fixture
def recorder():
    return Recorder()


def with_tiny_data(task):
    """The task with two queries and two documents, the same in all its subsets."""
    split = {
        "queries": Dataset.from_dict({"id": ["q0", "q1"], "text": QUERIES}),
        "corpus": Dataset.from_dict(
            {"id": ["d0", "d1"], "text": DOCUMENTS, "title": ["", ""]},
        ),
        "relevant_docs": {"q0": {"d0": 1}, "q1": {"d1": 1}},
        "top_ranked": None,
    }

    def load_data(**kwargs):
        task.dataset = {
            subset: {name: dict(split) for name in task.eval_splits} for subset in task.hf_subsets
        }
        task.data_loaded = True

    task.load_data = load_data
    return task


def run(encoder, tasks):
    return mteb.evaluate(
        encoder,
        [with_tiny_data(task) for task in tasks],
        cache=None,
        co2_tracker=False,
        encode_kwargs={"show_progress_bar": False},
        show_progress_bar=False,
    )


def rendered(instruction):
    return {f"Instruct: {instruction}\nQuery: {query}" for query in QUERIES}


def instruction_of_mteb(name):
    return mteb.get_task(name).metadata.prompt["query"].removesuffix(": ")


DOMAINS = {
    "biology": "BrightBiologyRetrieval",
    "earth_science": "BrightEarthScienceRetrieval",
    "economics": "BrightEconomicsRetrieval",
    "psychology": "BrightPsychologyRetrieval",
    "robotics": "BrightRoboticsRetrieval",
    "stackoverflow": "BrightStackoverflowRetrieval",
    "sustainable_living": "BrightSustainableLivingRetrieval",
    "pony": "BrightPonyRetrieval",
    "leetcode": "BrightLeetcodeRetrieval",
    "aops": "BrightAopsRetrieval",
    "theoremqa_theorems": "BrightTheoremQATheoremsRetrieval",
    "theoremqa_questions": "BrightTheoremQAQuestionsRetrieval",
}


def test_each_domain_of_the_one_task_of_bright_has_its_own_prompt(recorder):
    run(PromptedEncoder(recorder, load_prompts(BRIGHT), template=TEMPLATE), suite_tasks("BRIGHT"))
    assert {subset for _, subset, _, _ in recorder.seen} == set(DOMAINS)
    for domain, task in DOMAINS.items():
        seen = recorder.texts("BrightRetrieval", domain, PromptType.query)
        assert seen == rendered(instruction_of_mteb(task))
        assert recorder.texts("BrightRetrieval", domain, PromptType.document) == set(DOCUMENTS)


def test_each_task_of_bright_1_1_has_the_prompt_of_its_domain(recorder):
    tasks = suite_tasks("BRIGHT(v1.1)")
    run(PromptedEncoder(recorder, load_prompts(BRIGHT), template=TEMPLATE), tasks)
    assert {name for name, *_ in recorder.seen} == {task.metadata.name for task in tasks}
    for name in {name for name, *_ in recorder.seen}:
        seen = recorder.texts(name, "default", PromptType.query)
        assert seen == rendered(instruction_of_mteb(name))
        assert recorder.texts(name, "default", PromptType.document) == set(DOCUMENTS)


def test_domains_of_bright_with_long_documents_have_the_same_prompts_as_with_short_ones():
    prompts = load_prompts(BRIGHT)
    (long,) = suite_tasks("BRIGHT (long)")
    for domain in long.hf_subsets:
        assert prompts.instruction("BrightLongRetrieval", domain, "query") == (
            prompts.instruction("BrightRetrieval", domain, "query")
        )


def test_the_cache_keeps_domains_with_the_same_queries_apart(recorder):
    prompted = PromptedEncoder(recorder, load_prompts(BRIGHT), template=TEMPLATE)
    run(PromptedEmbeddings(prompted), suite_tasks("BRIGHT"))
    queries = [text for *_, role, text in recorder.seen if role == PromptType.query]
    prompts = {instruction_of_mteb(task) for task in DOMAINS.values()}
    assert len(prompts) == 11  # competitions and TheoremQA's questions have the same
    assert sorted(queries) == sorted(text for prompt in prompts for text in rendered(prompt))
    documents = [text for *_, role, text in recorder.seen if role == PromptType.document]
    assert sorted(documents) == sorted(DOCUMENTS)  # bare in all domains, and so embedded once


def test_what_was_put_before_texts_is_kept_for_the_record(recorder):
    prompted = PromptedEncoder(recorder, load_prompts(BRIGHT), template=TEMPLATE)
    run(PromptedEmbeddings(prompted), suite_tasks("BRIGHT"))
    assert len(prompted.used) == 24
    assert prompted.used["BrightRetrieval/pony/query"] == (
        "Instruct: Represent this Pony question for searching relevant passages\nQuery:"
    )
    assert prompted.used["BrightRetrieval/pony/document"] == ""


def test_a_template_can_be_that_of_mteb_itself(recorder):
    name = "BrightPonyRetrieval"
    prompts = load_prompts(BRIGHT)
    run(PromptedEncoder(recorder, prompts, template="{instruction}: {query}"), mteb_tasks([name]))
    own = mteb.get_task(name).metadata.prompt["query"]
    seen = recorder.texts(name, "default", PromptType.query)
    assert seen == {own + query for query in QUERIES}


def test_a_task_without_an_entry_is_left_to_the_model(recorder):
    prompts = Prompts({"STS17": {"query": "Compare", "document": ""}})
    prompted = PromptedEncoder(recorder, prompts, template=TEMPLATE)
    run(PromptedEmbeddings(prompted), mteb_tasks(["BrightPonyRetrieval"]))
    assert {text for *_, text in recorder.seen} == {*QUERIES, *DOCUMENTS}
    assert prompted.used == {}


def test_a_task_without_queries_has_its_prompt_before_all_texts():
    prompts = Prompts({"STS17": {"query": "Compare", "document": ""}})
    assert prompts.instruction("STS17", "en-de", None) == "Compare"


# With sentence-transformers


@pytest.fixture(scope="module")
def model(backbone_folder):
    """Mean pooling that leaves prompts out, as contrastive training has it; prompts of its own."""
    transformer = Transformer(str(backbone_folder))
    transformer.tokenizer.padding_side = "right"
    pooling = Pooling(32, "mean", include_prompt=False)
    own = {"query": "own ", "document": "own "}
    return SentenceTransformer(modules=[transformer, pooling], device="cpu", prompts=own)


def embed(model, texts, role, prompts):
    encoder = PromptedEncoder(model, prompts, template=TEMPLATE)
    return np.asarray(
        encoder.encode(
            DataLoader(Dataset.from_dict({"text": texts}), batch_size=2),
            task_metadata=mteb.get_task("BrightRetrieval").metadata,
            hf_split="standard",
            hf_subset="biology",
            prompt_type=role,
            show_progress_bar=False,
        )
    )


def mean_of_own_tokens(model, prompt, text):
    """Mean of the last states over the tokens that lie behind the prompt."""
    whole = f"{prompt} {text}" if prompt else text
    tokens = model.tokenizer(whole, return_offsets_mapping=True, return_tensors="pt")
    places = tokens.pop("offset_mapping")[0]
    with torch.no_grad():
        states = model[0].auto_model(**tokens).last_hidden_state[0]
    own = places[:, 0] >= len(prompt)
    assert own.any()
    assert own.all() == (not prompt)
    return states[own].mean(dim=0).numpy()


def test_the_prompt_is_read_but_left_out_of_the_mean(model):
    prompts = load_prompts(BRIGHT)
    text = "the tide and the moon"
    instruction = prompts.instruction("BrightRetrieval", "biology", "query")
    (found,) = embed(model, [text], PromptType.query, prompts)
    prompt = f"Instruct: {instruction}\nQuery:"
    np.testing.assert_allclose(found, mean_of_own_tokens(model, prompt, text), atol=1e-5)
    pasted = model.encode(f"{prompt} {text}")
    assert np.abs(found - pasted).max() > 1e-2
    assert np.abs(found - mean_of_own_tokens(model, "", text)).max() > 1e-2


def test_documents_are_read_bare_even_by_a_model_with_prompts_of_its_own(model):
    text = "the tide and the moon"
    (found,) = embed(model, [text], PromptType.document, load_prompts(BRIGHT))
    np.testing.assert_allclose(found, mean_of_own_tokens(model, "", text), atol=1e-5)


def test_prompts_go_through_mteb_to_a_sentence_transformers_model(model, monkeypatch):
    seen = []
    encode = SentenceTransformer.encode

    def recording(self, inputs, *args, prompt=None, **kwargs):
        seen.append((tuple(inputs), prompt))
        return encode(self, inputs, *args, prompt=prompt, **kwargs)

    monkeypatch.setattr(SentenceTransformer, "encode", recording)
    prompted = PromptedEncoder(model, load_prompts(BRIGHT), template=TEMPLATE)
    run(PromptedEmbeddings(prompted), suite_tasks("BRIGHT"))
    queries = {(inputs, prompt) for inputs, prompt in seen if prompt}
    expected = {
        (tuple(f" {query}" for query in QUERIES), f"Instruct: {instruction_of_mteb(task)}\nQuery:")
        for task in DOMAINS.values()
    }
    assert queries == expected
    assert [inputs for inputs, prompt in seen if not prompt] == [tuple(DOCUMENTS)]


# Files


def test_prompts_for_documents_may_be_left_out(tmp_path):
    file = tmp_path / "prompts.json"
    file.write_text('{"STS17": {"query": "Compare"}}')
    assert load_prompts(file).instruction("STS17", "en-de", "document") == ""


def test_a_prompt_of_a_subset_comes_before_that_of_its_task(tmp_path):
    file = tmp_path / "prompts.json"
    file.write_text('{"STS17": {"query": "Compare"}, "STS17/en-de": {"query": "Vergleiche"}}')
    prompts = load_prompts(file)
    assert prompts.instruction("STS17", "en-de", "query") == "Vergleiche"
    assert prompts.instruction("STS17", "en-en", "query") == "Compare"


def test_tasks_of_the_study_itself_can_have_prompts(tmp_path):
    file = tmp_path / "prompts.json"
    file.write_text('{"SolutionRetrieval": {"query": "Find the method"}}')
    assert load_prompts(file).instruction("SolutionRetrieval", "default", "query")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"STS17": {"query": "Compare"}', ["not valid JSON", "line 1"]),
        ('"STS17"', ["JSON object", "str"]),
        ("{}", ["at least one task", "empty"]),
        ('{"STS17": "Compare"}', ["'STS17'", "`query`", '"Compare"']),
        ('{"STS17": {"document": ""}}', ["'STS17'", "`query`"]),
        ('{"STS17": {"query": "Compare", "passage": ""}}', ["`document`", "passage"]),
        ('{"STS17": {"query": 3}}', ["'query' of 'STS17'", "3", "text"]),
        ('{"STS17": {"query": "Instruct: x\\nQuery: {query}"}}', ["instruction alone"]),
        ('{"STS_17": {"query": "Compare"}}', ["no task 'STS_17'", "STS17"]),
        ('{"SolutionRetreival": {"query": "x"}}', ["SolutionRetrieval"]),
        ('{"BrightRetrieval/biologie": {"query": "x"}}', ["no subset 'biologie'", "biology"]),
        ('{"STS17": {"query": "a"}, "STS17": {"query": "b"}}', ["'STS17' twice"]),
    ],
)
def test_a_file_that_says_nothing_clear_is_refused(tmp_path, text, words):
    file = tmp_path / "prompts.json"
    file.write_text(text)
    with pytest.raises(UserError) as error:
        load_prompts(file)
    assert all(word in str(error.value) for word in [*words, "prompts.json"])


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.json"):
        load_prompts(tmp_path / "nowhere.json")


@pytest.mark.parametrize("template", ["Query: {query}", "{instruction}{query}", "{instruction}"])
def test_a_template_without_a_place_for_the_instruction_is_refused(recorder, template):
    with pytest.raises(UserError, match="query_template"):
        PromptedEncoder(recorder, load_prompts(BRIGHT), template=template)


def test_the_file_for_bright_has_nothing_before_documents():
    entries = json.loads(BRIGHT.read_text(encoding="utf-8"))
    assert {entry["document"] for entry in entries.values()} == {""}

"""What a study takes is estimated before it runs: sizes, tokens, operations, memory, disk, jobs."""

import json
import math
import socket
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import save_file

from hrsa.data.corpus import generate_part
from hrsa.similarity.pair_sums import ROWS_OF_SUMS, operations
from hrsa_workflow.analysis_costs import AnalysisCosts
from hrsa_workflow.config import load_config
from hrsa_workflow.estimates import (
    BOUND,
    COUNTS,
    OPEN,
    ROUGH,
    UNKNOWN,
    Estimate,
    duration,
    scaled,
    total,
)
from hrsa_workflow.job_counts import count_jobs, dry_run_arguments, read_job_table
from hrsa_workflow.plan import write_plan
from hrsa_workflow.sizes import from_architecture, from_name, from_weights, model_sizes
from hrsa_workflow.study import Study
from hrsa_workflow.study_costs import estimate_costs
from hrsa_workflow.text_sizes import dataset_texts, measured
from hrsa_workflow.training_costs import difficulty_cost, passes, training_cost

ARCHITECTURE = {
    "layers": 3,
    "width": 48,
    "heads": 4,
    "kv_heads": 2,
    "intermediate": 80,
    "vocabulary": 350,
}
OUTSIDE = {"hub": "owner/pairs", "query": "q", "document": "d"}


def made(config, root=None):
    where = {} if root is None else {"root": root}
    return Study(load_config(config, **where), code=lambda script: "", **where)


def cost_of(config, name):
    study = made(config)
    return training_cost(study, name, model_sizes(study)[name]), model_sizes(study)[name]


def write_model(folder, *, layers, width, inner, vocabulary, tied=True):
    """Weights of a small Llama-like model; a head of its own where it is not tied."""
    shapes = {"model.embed_tokens.weight": (vocabulary, width), "model.norm.weight": (width,)}
    for i in range(layers):
        block = f"model.layers.{i}"
        shapes |= {f"{block}.self_attn.{x}_proj.weight": (width, width) for x in "qkvo"}
        shapes |= {f"{block}.mlp.{x}_proj.weight": (inner, width) for x in ("gate", "up")}
        shapes |= {
            f"{block}.mlp.down_proj.weight": (width, inner),
            f"{block}.input_layernorm.weight": (width,),
        }
    if not tied:
        shapes["lm_head.weight"] = (vocabulary, width)
    folder.mkdir(parents=True)
    save_file(
        {name: np.zeros(shape, dtype=np.float16) for name, shape in shapes.items()},
        folder / "model.safetensors",
    )
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    return sum(math.prod(shape) for shape in shapes.values())


# -- estimates -------------------------------------------------------------------------------------


def test_sums_and_products_keep_what_is_said_of_their_parts():
    found = (Estimate(2.0, frozenset({BOUND})) + 3) * Estimate(10.0, frozenset({ROUGH}))
    assert found == Estimate(50.0, frozenset({BOUND, ROUGH}))
    assert total([Estimate(1.0), UNKNOWN]).text("B") == "1 B + ?"
    assert (UNKNOWN * 3).text("B") == "unknown"
    assert found.text("FLOP") == "≤ ~50 FLOP"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (12_340, "12.3 kB"),
        (123_400, "123 kB"),
        (999_900, "1.00 MB"),
        (7.6e9, "7.60 GB"),
        (4.2e18, "4.20 EB"),
    ],
)
def test_numbers_have_three_digits_and_a_prefix(value, text):
    assert scaled(value, "B") == text


def test_counts_are_in_millions_and_billions():
    assert scaled(1.5e9, "", COUNTS) == "1.50 B"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.001, "under 0.1 s"),
        (32, "about 32 s"),
        (5400, "about 1.5 h"),
        (86400 * 800, "about 2.2 years"),
    ],
)
def test_times_have_the_unit_that_suits_them(seconds, text):
    assert duration(seconds) == text


# -- sizes of models -------------------------------------------------------------------------------


def test_the_parameters_of_an_architecture_are_those_of_the_real_model(tmp_path):
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=350,
        hidden_size=48,
        intermediate_size=80,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    model = Qwen2ForCausalLM(config)
    size = from_architecture(ARCHITECTURE)
    assert size.parameters == model.num_parameters()
    assert size.blocks == model.num_parameters() - 350 * 48
    model.save_pretrained(tmp_path / "model")
    saved = from_weights(tmp_path / "model")
    assert saved.origin == "weights"
    for name in ("blocks", "vocabulary", "width", "layers", "tables", "sides", "writing"):
        assert getattr(saved, name) == getattr(size, name), name


@pytest.mark.parametrize("tied", [True, False])
def test_a_head_of_its_own_is_counted_once_as_weights_and_once_as_a_product(tmp_path, tied):
    sizes = {"layers": 2, "width": 16, "inner": 40, "vocabulary": 100}
    n_weights = write_model(tmp_path / "model", **sizes, tied=tied)
    size = from_weights(tmp_path / "model")
    assert size.parameters == n_weights
    assert size.blocks == n_weights - (1 if tied else 2) * 1600
    assert size.writing == size.blocks + 1600


def test_a_gguf_file_is_read_by_its_header(tmp_path):
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(tmp_path / "model.gguf", "llama")
    shapes = {"token_embd.weight": (64, 16), "output_norm.weight": (16,)}
    for i in range(2):
        shapes |= {
            f"blk.{i}.attn_q.weight": (16, 16),
            f"blk.{i}.attn_norm.weight": (16,),
            f"blk.{i}.ffn_up.weight": (40, 16),
        }
    for name, shape in shapes.items():
        writer.add_tensor(name, np.zeros(shape, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    size = from_weights(tmp_path / "model.gguf")
    assert size.parameters == sum(math.prod(shape) for shape in shapes.values())
    assert (size.width, size.layers, size.vocabulary, size.tables) == (16, 2, 64, 1)


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("Qwen/Qwen2.5-1.5B", 1.5e9),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", 135e6),
        ("intfloat/e5-mistral-7b-instruct", 7e9),
        ("owner/all-MiniLM-L6-v2", None),
        ("mistralai/Mixtral-8x7B-v0.1", None),
    ],
)
def test_a_size_in_a_name_is_taken_from_it(name, weights):
    size = from_name(name)
    assert (size and size.parameters) == weights
    assert size is None or size.is_guess


def test_a_model_that_is_here_is_measured_and_one_that_is_not_is_taken_by_its_name(study, tmp_path):
    study["models"] |= {"here": {"hub": "owner/some-7B"}, "away": {"hub": "owner/other-7B"}}
    folder = tmp_path / "resources/models/owner--some-7B/main"
    n_weights = write_model(folder, layers=2, width=16, inner=40, vocabulary=100)
    sizes = model_sizes(made(study, tmp_path))
    assert (sizes["here"].parameters, sizes["here"].is_guess) == (n_weights, False)
    assert (sizes["away"].parameters, sizes["away"].is_guess) == (7e9, True)


def test_models_are_as_large_as_what_they_are_made_from(study):
    study["models"]["blend"] = {"recipe": "merge", "parent": "base", "second": "sft.s0"}
    sizes = model_sizes(made(study))
    assert sizes["base"] is not None
    assert sizes["blend"] == sizes["base-emb.s1"] == sizes["sft.s1"] == sizes["base"]


# -- training --------------------------------------------------------------------------------------


@pytest.mark.parametrize("vocabulary", [512, 1024])
def test_tokens_of_generated_texts_are_those_of_the_tokenizer_within_a_third(vocabulary):
    from hrsa.models.tokenizer import train_tokenizer

    sizes = {"problems": 3000, "prose": 3000, "questions": 1500}
    problems, prose, exams = (generate_part(name, seed=7, settings=sizes) for name in sizes)
    texts = {
        "worked": (problems["question"] + " " + problems["solution"]).tolist(),
        "trace": (problems["question"] + " " + problems["trace"]).tolist(),
        "prose": prose["text"].tolist(),
        "exam": exams["text"].tolist(),
    }
    tokenizer = train_tokenizer(
        texts["trace"] + texts["prose"] + texts["exam"], vocabulary=vocabulary
    )
    for kind, some in texts.items():
        few = some[:200]
        real = np.mean([len(row) for row in tokenizer(few)["input_ids"]])
        assert measured(few).tokens(vocabulary) == pytest.approx(real, rel=1 / 3), kind


@pytest.mark.parametrize(
    ("settings", "cached", "operations_each"),
    [
        ({}, False, 6),
        ({"lora": {"rank": 8}}, False, 4),
        ({"gradient_checkpointing": True}, False, 8),
        ({"gradient_checkpointing": True}, True, 10),
    ],
)
def test_a_step_costs_two_operations_forward_and_four_backward(settings, cached, operations_each):
    assert passes(settings, cached=cached) == operations_each


def test_texts_from_outside_are_as_long_as_is_allowed_and_that_is_said(study):
    study["training_sets"] = {"far": OUTSIDE, "near": OUTSIDE}
    settings = {"data": ["far", "near"], "steps": 10, "batch_size": 16, "max_length": 50}
    # the hard negatives come with the sets: nothing is mined
    for entry in study["training_sets"]:
        study["training_sets"][entry] = OUTSIDE | {"negatives": "n"}
    study["models"]["base-emb"] = {
        **{"recipe": "contrastive", "parent": "base", "seeds": [0, 1, 2]},
        **settings,
        "negatives": 3,
        "checkpoints": {"steps": [5]},
    }
    cost, size = cost_of(study, "base-emb.s0")
    assert cost.tokens == Estimate(10 * 16 * (2 + 3) * 50, frozenset({BOUND}))
    assert cost.operations.value == 6 * size.blocks * cost.tokens.value
    assert cost.operations.text("FLOP").startswith("≤ ")


def test_cached_gradients_cost_a_pass_and_save_memory(study):
    study["recipes"] = {"contrastive": {"batch_size": 2048}}
    whole, _ = cost_of(study, "base-emb.s0")
    study["recipes"]["contrastive"]["micro_batch"] = 16
    cached, _ = cost_of(study, "base-emb.s0")
    assert cached.operations.value == pytest.approx(whole.operations.value * 8 / 6)
    assert cached.memory.value < whole.memory.value / 2
    # where each of several processes has no more than that, nothing is cached
    study["recipes"]["contrastive"] |= {"micro_batch": 16, "batch_size": 64, "gpus": 4}
    shared, size = cost_of(study, "base-emb.s0")
    assert shared.operations.value == pytest.approx(6 * size.blocks * shared.tokens.value)


def test_the_parent_that_a_kl_is_taken_to_reads_and_takes_room_as_well(study):
    study["recipes"] = {"rlvr": {"loss_type": "grpo"}}
    study["models"]["rlvr"] = {"recipe": "rlvr", "parent": "base"}
    free, size = cost_of(study, "rlvr")
    study["models"]["rlvr"]["beta"] = 0.1
    bound, _ = cost_of(study, "rlvr")
    assert free.operations.value == pytest.approx(8 * size.writing * free.tokens.value)
    assert bound.operations.value == pytest.approx(10 * size.writing * free.tokens.value)
    assert bound.memory.value - free.memory.value == pytest.approx(4 * size.parameters)
    assert BOUND in free.tokens.marks  # completions may end before they have to


def test_lora_trains_its_rank_times_the_sides_of_the_matrices(study):
    full, size = cost_of(study, "sft.s0")
    study["models"]["sft"]["lora"] = {"rank": 2, "alpha": 4, "dropout": 0.0}
    lora, _ = cost_of(study, "sft.s0")
    assert lora.resume.value == 2 * 12 * 2 * size.sides  # two states of the run are kept
    assert full.resume.value == 2 * 12 * size.parameters
    assert lora.saved == full.saved == Estimate(4.0 * size.parameters)
    assert lora.memory.value < full.memory.value


def test_a_control_costs_what_the_model_it_matches_does(study):
    study["models"]["control"] = {"recipe": "continued", "parent": "base", "match": "sft"}
    control, _ = cost_of(study, "control")
    assert control == cost_of(study, "sft.s0")[0]


def test_trying_problems_costs_their_samples(study):
    study["recipes"] = {"rlvr": {"loss_type": "grpo"}}
    tried = {"problems": 100, "samples": 8, "low": 0.1, "high": 0.9}
    study["models"]["rlvr"] = {"recipe": "rlvr", "parent": "base", "difficulty": tried}
    config = made(study)
    sizes = model_sizes(config)
    cost = training_cost(config, "rlvr", sizes["rlvr"])
    settings = config.instances["rlvr"].settings
    examples = settings["steps"] * settings["prompts_per_step"] * settings["completions"]
    expected = 2 * sizes["base"].writing * 100 * 8 * cost.tokens.value / examples
    assert difficulty_cost(config, "rlvr", "base", sizes).value == pytest.approx(expected)


# -- analysis --------------------------------------------------------------------------------------


def test_answers_with_a_trace_are_longer_whoever_learnt_to_write_them(study):
    study["models"] |= {
        "after": {"recipe": "rlvr", "parent": "sft.s0", "loss_type": "grpo"},
        "alone": {"recipe": "rlvr", "parent": "base", "loss_type": "grpo"},
    }
    found = made(study)
    costs = AnalysisCosts(found, model_sizes(found))
    assert costs.accuracy("after") == costs.accuracy("sft.s0")
    assert costs.accuracy("after").value > 1.5 * costs.accuracy("alone").value


def test_activations_take_a_number_for_each_token_layer_and_dimension(study):
    found = {}
    for dtype in ("float32", "bfloat16"):
        study["extraction"] = {"dtype": dtype}
        config = made(study)
        sizes = model_sizes(config)
        analysis = AnalysisCosts(config, sizes)
        found[dtype] = analysis.extraction("base-emb.s0")[1].value
    size, tokens = sizes["base"], analysis.tokens_kept("base", "topics").value
    # the model and its two checkpoints
    assert found["float32"] == pytest.approx(3 * tokens * (size.layers + 1) * size.width * 4)
    assert found["bfloat16"] == found["float32"] / 2


def test_a_cap_on_tokens_keeps_about_as_many_and_reads_all(study):
    study["extraction"] = {"max_tokens": 100}
    config = made(study)
    analysis = AnalysisCosts(config, model_sizes(config))
    assert analysis.tokens_kept("base", "topics") == Estimate(100.0, frozenset({ROUGH}))
    assert analysis.tokens_read("base", "topics").value > 1000


def test_the_products_of_cka_are_those_that_its_module_states(study):
    study["statistics"] = {"permutations": 0, "blocks": 10}
    study["models"] = {name: study["models"][name] for name in ("base", "sft")}
    study["pairs"] = [{"name": "one", "reference": "base", "candidate": "sft.s0"}]
    config = made(study)
    sizes = model_sizes(config)
    analysis = AnalysisCosts(config, sizes)
    n, layers = round(analysis.tokens_kept("base", "topics").value), sizes["base"].layers + 1
    shape = ((sizes["base"].width,) * 2, (layers,) * 2)
    ways = operations(n, *shape)["grams"], operations(n + 10 * ROWS_OF_SUMS, *shape)["products"]
    assert analysis.similarity("cka").value == min(ways)


def test_texts_in_a_file_are_counted(study, tmp_path):
    (tmp_path / "texts.jsonl").write_text('{"text": "three words here"}\n' * 7)
    study["datasets"]["own"] = {"path": "texts.jsonl"}
    texts = dataset_texts(made(study, tmp_path), "own")
    assert texts.count == Estimate(7.0)
    assert texts.tokens(None).value == pytest.approx(7 * 3 * 1.1)


def test_mining_and_what_it_needs_are_part_of_the_estimate(study):
    study["models"]["miner"] = {"recipe": "contrastive", "parent": "base"}
    before = estimate_costs(made(study))
    study["mining"] = {"model": "miner"}
    study["models"]["base-emb"]["negatives"] = 2
    after = estimate_costs(made(study))
    assert "mining" not in before.stages
    assert after.stages["mining"].value > 0
    assert "mine" in after.memory


def test_disk_has_every_model_and_every_exposed_checkpoint(study):
    costs = estimate_costs(made(study))
    weights = 4 * costs.sizes["base"].parameters
    # base, two sft, three base-emb and two sft-emb; two checkpoints of each first embedding model
    assert costs.disk["trained models"] == Estimate(8.0 * weights)
    assert costs.disk["exposed checkpoints"] == Estimate(4.0 * weights)


# -- the page --------------------------------------------------------------------------------------


@pytest.fixture
def paper():
    """Models of the hub at the sizes of papers, and one that tells no size."""
    return {
        "study": "paper-like",
        "training_sets": {"fever": OUTSIDE | {"negatives": "n"}},
        "recipes": {
            "contrastive": {
                **{"data": ["fever"], "negatives": 3, "steps": 782, "batch_size": 2048},
                **{"max_length": 512, "micro_batch": 32, "gradient_checkpointing": True},
            }
        },
        "models": {
            "small": {"hub": "Qwen/Qwen2.5-1.5B"},
            "large": {"hub": "Qwen/Qwen2.5-7B"},
            "strange": {"hub": "owner/no-size"},
            "small-emb": {"recipe": "contrastive", "parent": "small"},
            "strange-emb": {"recipe": "contrastive", "parent": "strange"},
        },
        "datasets": {"far": {"hub": "owner/texts"}},
        "pairs": [{"name": "two", "reference": "small", "candidate": "large"}],
        "extraction": {"max_tokens": 50_000},
    }


def rows_of(page, section):
    """Rows of a section, as lists of words."""
    lines = page[page.index(f"\n{section}\n") :].splitlines()[4:]
    return [line.split() for line in lines[: lines.index("")]]


def test_a_study_of_large_models_is_planned_without_a_network(paper, monkeypatch):
    def refuse(*arguments, **settings):
        raise AssertionError("a plan opened a connection")

    monkeypatch.setattr(socket, "socket", refuse)
    page = write_plan(made(paper), Counter(cka=1), Counter(cka=1))
    models = {row[0]: row for row in rows_of(page, "Models")}
    assert models["large"][3:6] == ["~7.00", "B", "by"]
    assert models["strange"][3] == "unknown"
    # 782 steps · 2048 queries · five texts of 512 tokens at most
    assert models["small-emb"][-6:] == ["≤", "4.10", "B", "≤", "~61.5", "EFLOP"]
    assert models["strange-emb"][-4:] == ["≤", "4.10", "B", "unknown"]
    stages = {row[0]: " ".join(row[1:]) for row in rows_of(page, "FLOPs by stage")}
    assert stages["training"] == "≤ ~61.5 EFLOP + ?"
    assert "In all ≤ ~61.5 EFLOP + ?: at 100 GFLOP/s that is about 20 years" in page


def test_jobs_are_listed_with_how_many_are_left(study):
    page = write_plan(made(study), Counter(pretrain=1, sft=2, cka=1), Counter(cka=1))
    assert rows_of(page, "Jobs") == [
        ["pretrain", "1", "0"],
        ["sft", "2", "0"],
        ["cka", "1", "1"],
        ["total", "4", "1"],
    ]


def test_columns_are_aligned(study):
    page = write_plan(made(study), Counter(pretrain=10, sft=2), Counter())
    lines = page[page.index("\nJobs\n") + 6 :].splitlines()[:5]
    assert lines == [
        "  rule      all  to do",
        "  --------  ---  -----",
        "  pretrain   10      0",
        "  sft         2      0",
        "  total      12      0",
    ]


# -- jobs ------------------------------------------------------------------------------------------


def test_jobs_of_one_rule_are_counted_together_and_targets_not_at_all():
    table = """Building DAG of jobs...
Job stats:
job                count
-----------------  -------
extract                  3
extract_20_40            2
extract_shard            4
all                      1
total                   10

"""
    assert read_job_table(table + table) == Counter(extract=5, extract_shard=4)
    assert read_job_table("Nothing to be done.\n") == Counter()


def test_a_dry_run_reads_the_same_study():
    workflow = SimpleNamespace(
        overwrite_configfiles=["/studies/pair.yaml"],
        config_settings=SimpleNamespace(config_args=["scale=smoke", "retry_failed=true"]),
        rerun_triggers={"params", "mtime"},
        main_snakefile="/study/Snakefile",
    )
    assert dry_run_arguments(workflow) == [
        *("--snakefile", "/study/Snakefile", "--configfile", "/studies/pair.yaml"),
        *("--config", "scale=smoke", "retry_failed=true"),
        *("--rerun-triggers", "mtime", "params"),
    ]


def test_what_snakemake_has_against_a_study_is_told(tmp_path):
    from hrsa.errors import UserError

    speaker = tmp_path / "python"
    speaker.write_text("#!/bin/sh\necho MissingInputException: no such file\nexit 1\n")
    speaker.chmod(0o755)
    with pytest.raises(UserError, match="MissingInputException: no such file"):
        count_jobs(str(speaker), [])


def test_open_marks_are_kept_by_the_largest_job(paper):
    costs = estimate_costs(made(paper))
    estimate, name = costs.memory["contrastive"]
    assert name == "small-emb"
    assert OPEN in estimate.marks

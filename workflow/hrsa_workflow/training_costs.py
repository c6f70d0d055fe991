"""What the training of each model takes: tokens, floating-point operations, memory, disk.

A pass forward costs 2·N operations for each token and one backward 4·N (Kaplan et al. 2020, arXiv
2001.08361, §2.1). N are the weights that a token is multiplied with: those of the blocks, and the
output head where the next token is predicted; looking up embeddings costs nothing. The products of
queries with keys (2 · layers · length · width a token) are left out, and padding is not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hrsa_workflow.estimates import BOUND, ROUGH, UNKNOWN, Estimate, as_estimate, total
from hrsa_workflow.sizes import ModelSize
from hrsa_workflow.study import RECIPES, Study
from hrsa_workflow.text_sizes import generated, measured, training_texts
from hrsa_workflow.training_data import data_names

FORWARD, BACKWARD = 2, 4
# Of frozen weights no gradient is computed, only what flows on to those below.
BACKWARD_THROUGH_FROZEN = 2
FLOAT32 = 4
# Weights, gradients and Adam's two moments, each in float32; the recipes also keep the weights of
# the start, to tell how far they moved.
TRAINED_BYTES, START_BYTES = 16, 4
# Muon, which pretraining uses for matrices, has one moment.
MUON_BYTES = 12
# The trainer's own checkpoints, of which two are kept: weights and both moments.
RESUME_BYTES = 24
# Python with torch, transformers, trl and sentence-transformers.
PROCESS_BYTES = 0.6e9
# Values kept for the backward pass, for each layer and unit of width, as counted in a Qwen2 block:
# norms 6, attention 11, a gated MLP 12 to 23. Of a layer that is computed again, its input alone.
KEPT_VALUES, KEPT_WITH_CHECKPOINTING = 34, 1
# The longest example of a batch, to which the others are padded, over the mean.
PADDED = 1.5
# Logits, their softmax and gradient, in float32.
LOGIT_BYTES = 12
# The longest text that pretraining reads, and the longest prompt that is reckoned with.
LONGEST = 512
# What a chat template puts around a question: a system prompt and marks of turns (SmolLM2, Qwen).
CHAT_TOKENS = 30
# A line of sums that pretraining reads, as hrsa.models.pretrain writes them.
TABLE = " ".join(["12 + 5 = 17."] * 6)


@dataclass(frozen=True)
class TrainingCost:
    """What one training takes.

    Attributes
    ----------
    tokens : Estimate
        Tokens that the model is trained on, with those of the prompts.
    operations : Estimate
        Floating-point operations.
    memory : Estimate
        Bytes at the peak, of one process.
    saved, resume : Estimate
        Bytes of the model (an exposed checkpoint has as many), and of the state that a killed run
        goes on from, which is removed in the end.
    """

    tokens: Estimate
    operations: Estimate
    memory: Estimate
    saved: Estimate
    resume: Estimate


def training_cost(study: Study, name: str, size: ModelSize | None) -> TrainingCost | None:
    """What the training of an instance takes; None where it is not trained."""
    instance = study.instances[name]
    if instance.source not in RECIPES:
        return None
    settings = dict(instance.settings)
    recipe = instance.source
    if recipe == "continued":  # as many tokens, steps and so on as the model that it matches
        recipe, settings = "sft", study.training_settings(name)["match"]
    tokens, example = _LENGTHS[recipe](study, name, settings, size)
    if size is None:
        return TrainingCost(tokens, *[UNKNOWN] * 4)
    return TrainingCost(
        tokens=tokens,
        operations=_guess(_OPERATIONS[recipe](size, tokens, settings, study), size),
        memory=_guess(_memory(recipe, size, example, settings), size),
        saved=_guess(as_estimate(FLOAT32 * size.parameters), size),
        resume=_guess(as_estimate(RESUME_BYTES * _trained_weights(size, settings)), size),
    )


def _guess(estimate: Estimate, size: ModelSize) -> Estimate:
    return estimate.marked(ROUGH) if size.is_guess else estimate


# -- tokens: of the whole training, and of one example (for memory) --------------------------------


def _pretrain_tokens(
    study: Study, name: str, settings: Mapping[str, Any], size: ModelSize | None
) -> tuple[Estimate, Estimate]:
    seed, corpus = study.config["seed"], study.config["corpus"]
    worked, table = settings["problem_share"], settings["table_share"]
    prose = corpus["prose"] / (corpus["prose"] + corpus["questions"])
    plain = max(0.0, 1 - worked - table)
    text = generated("problems", ("question", "solution"), seed) * worked
    text += measured([TABLE]) * table
    text += generated("prose", ("text",), seed) * (plain * prose)
    text += generated("questions", ("text",), seed) * (plain * (1 - prose))
    each = Estimate(min(text.tokens(_vocabulary(size)) + 1, LONGEST))
    return each * settings["steps"] * settings["batch_size"], each


def _sft_tokens(
    study: Study, name: str, settings: Mapping[str, Any], size: ModelSize | None
) -> tuple[Estimate, Estimate]:
    cap = settings["max_length"]
    examples = settings["steps"] * settings["batch_size"]
    if settings["packing"]:  # rows are filled up
        full = Estimate(cap, frozenset({BOUND}))
        return full * examples, full
    columns = ("question", settings["completion"])
    each = training_texts(study, settings["data"], columns, cap).tokens_each(_vocabulary(size))
    each = with_chat(each, settings)
    return each * examples, each


def _rlvr_tokens(
    study: Study, name: str, settings: Mapping[str, Any], size: ModelSize | None
) -> tuple[Estimate, Estimate]:
    each = _prompt_and_answer(study, settings, size)
    examples = settings["steps"] * settings["prompts_per_step"] * settings["completions"]
    return each * examples, each


def _prompt_and_answer(
    study: Study, settings: Mapping[str, Any], size: ModelSize | None
) -> Estimate:
    prompts = training_texts(study, settings["data"], ("question",), LONGEST)
    answer = Estimate(settings["max_completion_tokens"], frozenset({BOUND}))
    return with_chat(prompts.tokens_each(_vocabulary(size)), settings) + answer


def with_chat(each: Estimate, settings: Mapping[str, Any]) -> Estimate:
    """Add a chat template's tokens to those of a question; a cap has them already."""
    is_chat = settings.get("prompt_format") == "chat"
    return each + CHAT_TOKENS if is_chat and BOUND not in each.marks else each


def _contrastive_tokens(
    study: Study, name: str, settings: Mapping[str, Any], size: ModelSize | None
) -> tuple[Estimate, Estimate]:
    names, cap = data_names(study, name), settings["max_length"]
    asked = settings["query_template"] + (settings["instruction"] or "")
    before = measured([asked]).tokens(None) if settings["instruction"] else 0
    texts: dict[str, Estimate] = {}
    for column in ("query", "document"):
        sets = (training_texts(study, one, (column,), cap) for one in names)
        texts[column] = total(one.tokens_each(_vocabulary(size)) for one in sets)
        texts[column] = texts[column] * (1 / len(names))
    if BOUND not in texts["query"].marks:  # the cap counts the instruction already
        texts["query"] = texts["query"] + before
    each = texts["query"] + texts["document"] * (1 + settings["negatives"])
    return each * settings["steps"] * settings["batch_size"], each


def _vocabulary(size: ModelSize | None) -> int | None:
    return size.vocabulary if size else None


_LENGTHS: dict[str, Callable[..., tuple[Estimate, Estimate]]] = {
    "pretrain": _pretrain_tokens,
    "sft": _sft_tokens,
    "rlvr": _rlvr_tokens,
    "contrastive": _contrastive_tokens,
}


# -- operations ------------------------------------------------------------------------------------


def passes(settings: Mapping[str, Any], *, cached: bool = False) -> int:
    """Operations for each weight and token of a training step: 6 where nothing special is asked."""
    backward = BACKWARD_THROUGH_FROZEN if settings.get("lora") else BACKWARD
    again = bool(settings.get("gradient_checkpointing")) + cached
    return FORWARD * (1 + again) + backward


def caches_gradients(settings: Mapping[str, Any]) -> bool:
    """Whether embeddings are computed once before, so that memory follows the micro-batch."""
    micro = settings.get("micro_batch")
    return bool(micro) and micro < settings["batch_size"] / (settings.get("gpus") or 1)


def _supervised(
    size: ModelSize, tokens: Estimate, settings: Mapping[str, Any], study: Study
) -> Estimate:
    return tokens * passes(settings) * size.writing


def _contrastive(
    size: ModelSize, tokens: Estimate, settings: Mapping[str, Any], study: Study
) -> Estimate:
    return tokens * passes(settings, cached=caches_gradients(settings)) * size.blocks


def _rlvr(size: ModelSize, tokens: Estimate, settings: Mapping[str, Any], study: Study) -> Estimate:
    """Completions are written, learned from, and read by the parent where its KL counts."""
    read = FORWARD if settings.get("beta") else 0
    return tokens * (FORWARD + passes(settings) + read) * size.writing


_OPERATIONS: dict[str, Callable[..., Estimate]] = {
    "pretrain": _supervised,
    "sft": _supervised,
    "rlvr": _rlvr,
    "contrastive": _contrastive,
}


def difficulty_cost(
    study: Study, model: str, parent: str, sizes: Mapping[str, ModelSize | None]
) -> Estimate:
    """Operations of sampling problems from the parent of an RLVR model before its training."""
    size = sizes[parent]
    if size is None:
        return UNKNOWN
    settings = next(one.settings for one in study.instances.values() if one.model == model)
    tried = settings["difficulty"]
    there = training_texts(study, settings["data"], ("question",), LONGEST).count
    count = Estimate(tried["problems"], frozenset({BOUND}))
    if not there.is_unknown and there.value < count.value:
        count = there
    each = _prompt_and_answer(study, settings, size)
    return _guess(count * tried["samples"] * each * FORWARD * size.writing, size)


# -- memory ----------------------------------------------------------------------------------------


def _memory(
    recipe: str, size: ModelSize, example: Estimate, settings: Mapping[str, Any]
) -> Estimate:
    weights = TRAINED_BYTES * size.parameters + START_BYTES * size.parameters
    if recipe == "pretrain":
        weights = MUON_BYTES * size.blocks + TRAINED_BYTES * (size.parameters - size.blocks)
    elif settings.get("lora"):
        trained = TRAINED_BYTES * _trained_weights(size, settings)
        weights = (FLOAT32 + START_BYTES) * size.parameters + trained
    if recipe == "rlvr" and settings.get("beta") and not settings.get("lora"):
        weights += FLOAT32 * size.parameters  # the parent stays beside it
    at_once = _examples_at_once(recipe, settings) * example
    if BOUND not in example.marks:
        at_once = at_once * PADDED
    if recipe == "contrastive" and caches_gradients(settings):
        # one text of an example at a time: the query, the document, each hard negative
        at_once = at_once * (1 / (2 + settings["negatives"]))
    kept = KEPT_VALUES * size.layers
    if settings.get("gradient_checkpointing"):  # one layer at a time is computed again
        kept = KEPT_WITH_CHECKPOINTING * size.layers + KEPT_VALUES
    number = 2 if settings.get("precision") == "bfloat16" else FLOAT32
    per_token = number * kept * size.width
    if recipe != "contrastive":
        per_token += LOGIT_BYTES * size.vocabulary
    return Estimate(PROCESS_BYTES + weights) + at_once * per_token


def _examples_at_once(recipe: str, settings: Mapping[str, Any]) -> float:
    if recipe == "rlvr":
        batch = settings["prompts_per_step"] * settings["completions"]
    else:
        batch = settings["batch_size"]
    own = batch / (settings.get("gpus") or 1)
    return min(settings.get("micro_batch") or own, own)


def _trained_weights(size: ModelSize, settings: Mapping[str, Any]) -> int:
    lora = settings.get("lora")
    return lora["rank"] * size.sides if lora else size.parameters

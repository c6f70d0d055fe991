"""Contrastive training: a language model becomes an embedding model (sentence-transformers).

Bidirectional attention, mean pooling of the last layer without the instruction's tokens, InfoNCE
(van den Oord et al. 2018, arXiv 1807.03748) on the cosine with in-batch negatives and mined hard
negatives; every batch comes from one training set. Where a step's batch does not fit, gradients
are cached (GradCache, Gao et al. 2021, arXiv 2101.06983): the loss is the whole batch's, memory
follows the micro-batch.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, DatasetDict
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainingArguments
from sentence_transformers.base.sampler import MultiDatasetBatchSamplers
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    MultipleNegativesRankingLoss,
)
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

from hrsa.models.batch_mixture import NoTextTwiceBatchSampler, shares_sampler
from hrsa.models.contrastive_trainer import ContrastiveTrainer, tokens_by_step
from hrsa.models.folder import backbone_weights, finish_folder
from hrsa.models.instructions import SPLIT_POINT, instruction_prompt
from hrsa.models.loading import attention_mode
from hrsa.models.lora import add_lora, merge_lora
from hrsa.models.trainers import (
    ExposeCheckpoints,
    common_arguments,
    curve_of,
    is_main_process,
    per_process,
    plain_arguments,
    process_count,
    run,
)
from hrsa.models.training_pairs import ANCHOR, load_pairs

RECIPE = "contrastive"
# Said outright: where a tokenizer has a chat template, sentence-transformers would send every text
# through it, and could not leave an instruction out of the mean.
PLAIN_TEXT = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}


def train(
    output: Path,
    *,
    parent: Path | None,
    data: Mapping[str, Path],
    seed: int,
    resume: Path,
    settings: dict,
) -> None:
    """Train an embedding model from a language model.

    Two runs with one seed see the same pairs in the same order, whatever their parent, so that
    models are paired by seed.

    Parameters
    ----------
    output, parent, seed, resume
        As in `hrsa.models.pretrain.train`.
    data : mapping of name to Parquet file
        Training sets, as `hrsa.models.training_pairs.load_pairs` reads them.
    settings : dict
        Those of every recipe (see `hrsa.models.trainers.common_arguments`), batch_size (pairs of a
        step, over all processes), micro_batch, lora, checkpoints; and temperature (τ), max_length
        (tokens of a query or document), negatives (hard ones for each query),
        without_negatives (sets that have none), shares (of the batches, by set; None: by the sets'
        sizes), query_template, instruction (for sets without
        one of their own), instructions (by set).
    """
    assert parent is not None, "contrastive training starts from a parent model"
    model = embedding_model(parent, max_length=settings["max_length"])
    before = backbone_weights(backbone_of(model))
    model[0].model = add_lora(model[0].model, settings["lora"], seed=seed)
    sets, files_of, counts = load_pairs(
        data, negatives=settings["negatives"], seed=seed, without=settings["without_negatives"]
    )
    sets, prompts = with_instructions(sets, files_of, settings)
    arguments = SentenceTransformerTrainingArguments(
        **common_arguments(resume, seed=seed, settings=settings),
        **whole_batches(settings["batch_size"]),
        prompts=prompts,
        batch_sampler=NoTextTwiceBatchSampler,
        multi_dataset_batch_sampler=mixture(sets, settings["shares"]),
    )
    trainer = ContrastiveTrainer(
        model=model, args=arguments, train_dataset=sets, loss=info_nce(model, settings)
    )
    steps = settings["checkpoints"]
    exposed = ExposeCheckpoints(resume, steps, lambda path: save(model, path))
    trainer.add_callback(exposed)
    run(trainer, resume, settings=settings)
    if not is_main_process():
        return
    save(model, output)
    exposed.place(output)
    tokens = tokens_by_step(trainer.state.log_history)
    finish_folder(
        output,
        merge_lora(backbone_of(model)),
        recipe=RECIPE,
        seed=seed,
        steps=settings["steps"],
        train_tokens=tokens[settings["steps"]],
        arguments=plain_arguments(arguments) | {"settings": settings},
        curve=curve_of(trainer.state.log_history, {"loss": "loss"}),
        parent=parent,
        parent_weights=before,
        checkpoint_tokens={step: tokens[step] for step in steps},
        extra={
            "data": counts,
            "lora": settings["lora"],
            "prompts": {name: one[ANCHOR] for name, one in (prompts or {}).items()},
        },
    )


def whole_batches(batch_size: int) -> dict[str, Any]:
    """Arguments by which several processes share a batch of one training set.

    By default each process would take a batch of its own, from another set, and documents of other
    sets would be among a query's negatives. An incomplete batch cannot be shared and is dropped,
    where one process trains on it.
    """
    per_process(batch_size)  # refuses what cannot be shared
    several = process_count() > 1
    return {
        "per_device_train_batch_size": batch_size,
        "accelerator_config": {"split_batches": several},
        "dataloader_drop_last": several,
    }


def embedding_model(parent: Path, *, max_length: int) -> SentenceTransformer:
    """A backbone with bidirectional attention under mean pooling."""
    transformer = Transformer(
        str(parent),
        max_seq_length=max_length,
        modality_config=PLAIN_TEXT,
        module_output_name="token_embeddings",
    )
    # As stored, weights of a model from outside are often bfloat16, too coarse for small steps.
    transformer.model.float()
    # sentence-transformers drops is_causal from its config arguments without a word
    transformer.model.config.is_causal = False
    assert attention_mode(transformer.model.config) == "bidirectional"
    transformer.tokenizer.padding_side = "right"
    if transformer.tokenizer.pad_token is None:
        transformer.tokenizer.pad_token = transformer.tokenizer.eos_token
    pooling = Pooling(
        transformer.get_embedding_dimension(), pooling_mode="mean", include_prompt=False
    )
    return SentenceTransformer(modules=[transformer, pooling], device=device())


def device() -> str:
    """Where an embedding model is trained: a GPU where there is one."""
    own = os.environ.get("LOCAL_RANK", "0")  # of this process, where accelerate started several
    return f"cuda:{own}" if torch.cuda.is_available() else "cpu"


def backbone_of(model: SentenceTransformer) -> Any:
    """The transformers model inside, with its adapters if it has some."""
    return model[0].model


def info_nce(model: SentenceTransformer, settings: dict[str, Any]) -> torch.nn.Module:
    """InfoNCE on the cosine at temperature τ, each query against all documents of the batch.

    With a micro-batch smaller than what a process has in a step, gradients are cached. With several
    processes, documents of all of them are negatives.
    """
    common: dict[str, Any] = {
        "scale": 1 / settings["temperature"],
        "gather_across_devices": process_count() > 1,
    }
    micro = settings["micro_batch"]
    if micro is None or micro >= per_process(settings["batch_size"]):
        return MultipleNegativesRankingLoss(model, **common)
    return CachedMultipleNegativesRankingLoss(model, mini_batch_size=micro, **common)


def with_instructions(
    sets: DatasetDict, files_of: Mapping[str, str], settings: dict[str, Any]
) -> tuple[DatasetDict, dict[str, dict[str, str]] | None]:
    """Put a set's instruction before its queries: prompts for the trainer, by set and column.

    A set's instruction is its file's own, or that of all sets; where there is neither, queries stay
    bare.
    """
    prompts: dict[str, dict[str, str]] = {}
    prompted: dict[str, Dataset] = {}
    for name, one in sets.items():
        own = settings["instructions"].get(files_of[str(name)])
        instruction = own or settings["instruction"]
        prompt = instruction_prompt(settings["query_template"], instruction)
        prompted[str(name)] = one
        if prompt:
            prompts[str(name)] = {ANCHOR: prompt}
            queries = [SPLIT_POINT + query for query in one[ANCHOR]]
            prompted[str(name)] = one.remove_columns(ANCHOR).add_column(ANCHOR, queries)
            # The trainer takes a set's columns in their order: the query comes first.
            order = [ANCHOR, *(column for column in one.column_names if column != ANCHOR)]
            prompted[str(name)] = prompted[str(name)].select_columns(order)
    return DatasetDict(prompted), prompts or None


def mixture(sets: DatasetDict, shares: Mapping[str, float] | None) -> Any:
    """How batches are drawn from the sets: by their sizes, or by shares."""
    if shares is None:
        return MultiDatasetBatchSamplers.PROPORTIONAL
    return shares_sampler(shares, [str(name) for name in sets])


def save(model: SentenceTransformer, folder: Path) -> None:
    """Save with the tokenizer, adapters merged, and make sure that the attention mode is saved."""
    trained = backbone_of(model)
    model[0].model = merge_lora(trained)
    try:
        model.save_pretrained(str(folder), create_model_card=False)
    finally:
        model[0].model = trained
    saved = Transformer.load(str(folder)).model.config
    assert attention_mode(saved) == "bidirectional", f"{folder} was saved with causal attention"

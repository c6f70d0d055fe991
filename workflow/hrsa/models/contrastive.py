"""Contrastive training: a language model becomes an embedding model (sentence-transformers).

Bidirectional attention, mean pooling of the last layer, InfoNCE on the cosine with in-batch
negatives; every batch comes from one data set.
"""

from pathlib import Path

import pandas as pd
from datasets import Dataset, DatasetDict
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.base.sampler import BatchSamplers, MultiDatasetBatchSamplers
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

from hrsa.models.folder import backbone_weights, finish_folder
from hrsa.models.loading import attention_mode
from hrsa.models.trainers import (
    ExposeCheckpoints,
    common_arguments,
    curve_of,
    plain_arguments,
    resume_from,
)

RECIPE = "contrastive"


def train(
    output: Path, *, parent: Path | None, corpus: Path, seed: int, resume: Path, settings: dict
) -> None:
    """Train an embedding model from a language model.

    Arguments as in `hrsa.models.pretrain.train`; the corpus folder holds `pairs.parquet`. Settings:
    steps, batch_size, learning_rate, warmup_steps, temperature (τ), max_length (tokens),
    checkpoints. Two runs with one seed see the same pairs in the same order, whatever their
    parent, so that models are paired by seed.
    """
    assert parent is not None, "contrastive training starts from a parent model"
    model = embedding_model(parent, max_length=settings["max_length"])
    backbone = model[0].model
    before = backbone_weights(backbone)
    arguments = SentenceTransformerTrainingArguments(
        **common_arguments(resume, seed=seed, steps=settings["steps"], save_every=100),
        per_device_train_batch_size=settings["batch_size"],
        learning_rate=settings["learning_rate"],
        lr_scheduler_type="cosine",
        warmup_steps=settings["warmup_steps"],
        batch_sampler=BatchSamplers.NO_DUPLICATES,
        multi_dataset_batch_sampler=MultiDatasetBatchSamplers.PROPORTIONAL,
    )
    datasets = training_pairs(corpus)
    trainer = SentenceTransformerTrainer(
        model=model,
        args=arguments,
        train_dataset=datasets,
        loss=MultipleNegativesRankingLoss(model, scale=1 / settings["temperature"]),
    )
    steps = settings.get("checkpoints", [])
    exposed = ExposeCheckpoints(resume, steps, lambda path: save(model, path))
    trainer.add_callback(exposed)
    trainer.train(resume_from_checkpoint=resume_from(resume))
    save(model, output)
    exposed.place(output)
    per_step = mean_tokens(model, datasets) * settings["batch_size"]
    finish_folder(
        output,
        backbone,
        recipe=RECIPE,
        seed=seed,
        steps=settings["steps"],
        train_tokens=round(per_step * settings["steps"]),
        arguments=plain_arguments(arguments) | {"settings": settings},
        curve=curve_of(trainer.state.log_history, {"loss": "loss"}),
        parent=parent,
        parent_weights=before,
        checkpoint_tokens={step: round(per_step * step) for step in steps},
    )


def embedding_model(parent: Path, *, max_length: int) -> SentenceTransformer:
    """A backbone with bidirectional attention under mean pooling."""
    transformer = Transformer(str(parent), max_seq_length=max_length)
    # sentence-transformers drops is_causal from its config arguments without a word
    transformer.model.config.is_causal = False
    assert attention_mode(transformer.model.config) == "bidirectional"
    transformer.tokenizer.padding_side = "right"
    pooling = Pooling(transformer.get_embedding_dimension(), pooling_mode="mean")
    return SentenceTransformer(modules=[transformer, pooling], device="cpu")


def save(model: SentenceTransformer, folder: Path) -> None:
    """Save with the tokenizer, and make sure that the attention mode is saved too."""
    model.save_pretrained(str(folder), create_model_card=False)
    saved = Transformer.load(str(folder)).model.config
    assert attention_mode(saved) == "bidirectional", f"{folder} was saved with causal attention"


def training_pairs(corpus: Path) -> DatasetDict:
    """Pairs by kind: a batch holds words only or texts only."""
    frame = pd.read_parquet(corpus / "pairs.parquet")
    return DatasetDict(
        {
            kind: Dataset.from_dict(
                {"anchor": part["query"].tolist(), "positive": part["document"].tolist()}
            )
            for kind, part in frame.groupby("kind")
        }
    )


def mean_tokens(model: SentenceTransformer, datasets: DatasetDict) -> float:
    """Mean number of tokens of a pair, over all pairs."""
    counts = [
        len(row)
        for part in datasets.values()
        for column in ("anchor", "positive")
        for row in model.tokenizer(list(part[column]))["input_ids"]
    ]
    return sum(counts) / sum(len(part) for part in datasets.values())

"""SFT: supervised fine-tuning on long reasoning traces, as distilled reasoning models are made."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from hrsa.models.folder import backbone_weights, finish_folder, save_model
from hrsa.models.loading import load_language_model
from hrsa.models.trainers import (
    ExposeCheckpoints,
    common_arguments,
    curve_of,
    plain_arguments,
    resume_from,
)

RECIPE = "sft"


def train(
    output: Path, *, parent: Path | None, corpus: Path, seed: int, resume: Path, settings: dict
) -> None:
    """Fine-tune a language model on the corpus's reasoning traces (`trl`).

    The loss counts the completion's tokens only. Arguments as in `hrsa.models.pretrain.train`;
    settings: steps, batch_size, learning_rate, checkpoints (steps to expose).
    """
    assert parent is not None, "SFT starts from a parent model"
    model, tokenizer = load_language_model(parent)
    problems = draw_problems(corpus, seed=seed, settings=settings)
    examples = Dataset.from_dict(
        {
            "prompt": problems["question"].tolist(),
            "completion": (" " + problems["trace"]).tolist(),
        }
    )
    fine_tune(
        output,
        model,
        tokenizer,
        examples,
        recipe=RECIPE,
        parent=parent,
        seed=seed,
        resume=resume,
        settings=settings,
    )


def draw_problems(corpus: Path, *, seed: int, settings: dict) -> pd.DataFrame:
    """The training problems of a run, one for each example, drawn by the seed."""
    frame = pd.read_parquet(corpus / "problems.parquet")
    frame = frame[frame["split"] == "train"]
    n = settings["steps"] * settings["batch_size"]
    rows = np.random.default_rng(seed).choice(len(frame), size=n, replace=n > len(frame))
    return frame.iloc[rows]


def fine_tune(
    output: Path,
    model: Any,
    tokenizer: Any,
    examples: Dataset,
    *,
    recipe: str,
    parent: Path,
    seed: int,
    resume: Path,
    settings: dict,
) -> None:
    """Run `trl`'s SFT trainer on prepared examples and write the model folder."""
    before = backbone_weights(model)
    arguments = SFTConfig(
        **common_arguments(resume, seed=seed, steps=settings["steps"], save_every=50),
        per_device_train_batch_size=settings["batch_size"],
        learning_rate=settings["learning_rate"],
        lr_scheduler_type="cosine",
        warmup_steps=max(1, settings["steps"] // 20),
        max_length=512,
        packing=False,
    )
    tokenizer.padding_side = "right"
    trainer = SFTTrainer(
        model=model, args=arguments, train_dataset=examples, processing_class=tokenizer
    )
    steps = settings.get("checkpoints", [])
    exposed = ExposeCheckpoints(resume, steps, lambda path: save_model(path, model, tokenizer))
    trainer.add_callback(exposed)
    trainer.train(resume_from_checkpoint=resume_from(resume))
    save_model(output, model, tokenizer)
    exposed.place(output)
    prepared: Any = trainer.train_dataset
    lengths = [len(row) for row in prepared["input_ids"]]
    per_step = sum(lengths) / settings["steps"]
    finish_folder(
        output,
        model,
        recipe=recipe,
        seed=seed,
        steps=settings["steps"],
        train_tokens=sum(lengths),
        arguments=plain_arguments(arguments) | {"settings": settings},
        curve=curve_of(trainer.state.log_history, {"loss": "loss"}),
        parent=parent,
        parent_weights=before,
        checkpoint_tokens={step: round(step * per_step) for step in steps},
    )

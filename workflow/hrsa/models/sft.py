"""SFT: supervised fine-tuning on long reasoning traces, as distilled reasoning models are made."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from trl import SFTConfig, SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from hrsa.errors import UserError
from hrsa.models.folder import backbone_weights, finish_folder, save_model
from hrsa.models.loading import load_language_model
from hrsa.models.lora import add_lora, merge_lora
from hrsa.models.prompts import (
    as_completion,
    as_prompt,
    check_prompt_format,
    completion_text,
    prompt_text,
)
from hrsa.models.trainers import (
    ExposeCheckpoints,
    batch_arguments,
    common_arguments,
    curve_of,
    is_main_process,
    plain_arguments,
    run,
)

RECIPE = "sft"
# examples whose mean length says how many of them fill the packed rows of a run
LENGTH_SAMPLE = 1000


def train(
    output: Path,
    *,
    parent: Path | None,
    data: Mapping[str, Path],
    seed: int,
    resume: Path,
    settings: dict,
) -> None:
    """Fine-tune a language model on reasoning traces (`trl`).

    The loss counts the completions' tokens only.

    Parameters
    ----------
    output, parent, seed, resume
        As in `hrsa.models.pretrain.train`.
    data : mapping of name to Parquet file
        Problems, as `training_problems` reads them.
    settings : dict
        Those of every recipe (see `hrsa.models.trainers.common_arguments`), batch_size,
        micro_batch, lora, checkpoints; and data (the training set), completion (its column),
        prompt_format, max_length (tokens of an example, cut at the end), packing: fill rows of
        max_length with whole examples that do not see each other. `batch_size` then counts rows.

    Raises
    ------
    UserError
        The training set or the model does not allow it (see `training_problems`,
        `check_prompt_format`, `check_packing`), or the training fails (`hrsa.models.trainers.run`).
    """
    assert parent is not None, "SFT starts from a parent model"
    model, tokenizer = load_language_model(parent)
    prompt_format = settings["prompt_format"]
    check_prompt_format(tokenizer, prompt_format, parent)
    check_end(tokenizer, prompt_format, parent)
    problems, counts = draw_problems(
        data[settings["data"]], tokenizer, seed=seed, settings=settings
    )
    examples = Dataset.from_dict(
        {
            "prompt": [as_prompt(text, prompt_format) for text in problems["question"]],
            "completion": [as_completion(text, prompt_format) for text in problems["completion"]],
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
        extra={"data": counts},
    )


def check_end(tokenizer: Any, prompt_format: str, model: Path) -> None:
    """Refuse plain examples without an end: a model trained on them would never stop."""
    if prompt_format == "plain" and tokenizer.eos_token is None:
        raise UserError(
            f"The tokenizer of {model} names no end-of-text token, which SFT on plain text puts "
            "after each completion. Set `eos_token` in its tokenizer_config.json."
        )


def training_problems(
    path: Path, tokenizer: Any, settings: dict
) -> tuple[pd.DataFrame, dict[str, int]]:
    """The usable examples of a training set.

    Parameters
    ----------
    path : Path
        Parquet file with the columns question and `settings["completion"]`, and optionally split
        (rows of "train" are used) and kept (from the difficulty filter).
    tokenizer : PreTrainedTokenizerBase
    settings : dict
        completion, prompt_format, max_length.

    Returns
    -------
    problems : DataFrame
        question and completion; none empty, no two rows alike, no prompt that fills max_length.
    counts : dict
        examples (those left), dropped_empty, dropped_duplicate, dropped_too_long.

    Raises
    ------
    UserError
        A column is missing, or no example is left.
    """
    frame = pd.read_parquet(path)
    columns = ["question", settings["completion"]]
    missing = [name for name in columns if name not in frame]
    if missing:
        raise UserError(
            f"The training set {path} has no column `{missing[0]}`; it has "
            f"{', '.join(map(str, frame.columns))}. SFT needs `question` and the column that "
            "`completion` names."
        )
    for column, wanted in (("split", "train"), ("kept", True)):
        if column in frame:
            frame = frame[frame[column] == wanted]
    texts = frame[columns].set_axis(["question", "completion"], axis=1).fillna("").astype(str)
    empty = texts.apply(lambda column: column.str.strip() == "").any(axis=1)
    texts = texts[~empty]
    duplicate = texts.duplicated()
    texts = texts[~duplicate]
    too_long = prompt_lengths(texts, tokenizer, settings) >= settings["max_length"]
    texts = texts[~too_long]
    counts = {
        "examples": len(texts),
        "dropped_empty": int(empty.sum()),
        "dropped_duplicate": int(duplicate.sum()),
        "dropped_too_long": int(too_long.sum()),
    }
    if not counts["examples"]:
        raise UserError(
            f"No example is left of the training set {path}: of the {len(frame)} to train on, "
            f"{counts['dropped_empty']} have an empty question or `{columns[1]}`, "
            f"{counts['dropped_duplicate']} are duplicates, and the prompts of "
            f"{counts['dropped_too_long']} fill `max_length`. Mend the set, or name another as "
            "`data`."
        )
    return texts.reset_index(drop=True), counts


def draw_problems(
    path: Path, tokenizer: Any, *, seed: int, settings: dict
) -> tuple[pd.DataFrame, dict[str, int]]:
    """The training examples of a run in order, drawn by the seed, and `training_problems`' counts.

    One for each place in a batch; with packing about as many as fill the rows.
    """
    problems, counts = training_problems(path, tokenizer, settings)
    n = settings["steps"] * settings["batch_size"]
    if settings["packing"]:
        few = problems.sample(min(LENGTH_SAMPLE, len(problems)), random_state=0)
        mean = example_lengths(few, tokenizer, settings).mean()
        n = int(np.ceil(1.05 * n * settings["max_length"] / mean))
    rows = np.random.default_rng(seed).choice(len(problems), size=n, replace=n > len(problems))
    return problems.iloc[rows], counts


def prompt_lengths(problems: pd.DataFrame, tokenizer: Any, settings: dict) -> np.ndarray:
    """Tokens of each example's prompt (n_examples)."""
    prompt_format = settings["prompt_format"]
    texts = [prompt_text(tokenizer, text, prompt_format) for text in problems["question"]]
    return _token_counts(texts, tokenizer, prompt_format)


def example_lengths(problems: pd.DataFrame, tokenizer: Any, settings: dict) -> np.ndarray:
    """Tokens of each example as it is trained on, its end included (n_examples)."""
    prompt_format = settings["prompt_format"]
    texts = [
        _example_text(tokenizer, question, completion, prompt_format)
        for question, completion in zip(problems["question"], problems["completion"], strict=True)
    ]
    counts = _token_counts(texts, tokenizer, prompt_format)
    return np.minimum(counts, settings["max_length"])


def _example_text(tokenizer: Any, question: str, completion: str, prompt_format: str) -> str:
    parts = as_prompt(question, prompt_format), as_completion(completion, prompt_format)
    if prompt_format == "plain":
        return "".join(map(completion_text, parts)) + (tokenizer.eos_token or "")
    return tokenizer.apply_chat_template([*parts[0], *parts[1]], tokenize=False)


def _token_counts(texts: list[str], tokenizer: Any, prompt_format: str) -> np.ndarray:
    if not texts:
        return np.zeros(0, dtype=int)
    # a chat template writes the special tokens itself
    rows = tokenizer(texts, add_special_tokens=prompt_format == "plain")["input_ids"]
    return np.array([len(row) for row in rows])


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
    extra: dict[str, Any] | None = None,
) -> None:
    """Run `trl`'s SFT trainer on prepared examples and write the model folder.

    Examples are prompts with completions, whose tokens alone the loss counts, or rows of
    `input_ids`, of which it counts all.
    """
    before = backbone_weights(model)
    if settings["packing"]:
        check_packing(model, parent)
    model = add_lora(model, settings["lora"], seed=seed)
    batch: dict[str, Any] = batch_arguments(settings["batch_size"], settings["micro_batch"])
    arguments = SFTConfig(
        **common_arguments(resume, seed=seed, settings=settings),
        **batch,
        max_length=settings["max_length"],
        packing=settings["packing"],
        packing_strategy="bfd",
        completion_only_loss="completion" in examples.column_names,
    )
    tokenizer.padding_side = "right"
    trainer = SFTTrainer(
        model=model, args=arguments, train_dataset=examples, processing_class=tokenizer
    )
    rows = rows_of_run(trainer.train_dataset, settings)
    trainer.train_dataset = rows
    steps = settings["checkpoints"]
    exposed = ExposeCheckpoints(
        resume, steps, lambda path: save_model(path, merge_lora(model), tokenizer)
    )
    trainer.add_callback(exposed)
    run(trainer, resume, settings=settings)
    if not is_main_process():
        return
    merged = merge_lora(model)
    save_model(output, merged, tokenizer)
    exposed.place(output)
    tokens = sum(len(ids) for ids in rows["input_ids"])
    finish_folder(
        output,
        merged,
        recipe=recipe,
        seed=seed,
        steps=settings["steps"],
        train_tokens=tokens,
        arguments=plain_arguments(arguments) | {"settings": settings},
        curve=curve_of(trainer.state.log_history, {"loss": "loss"}),
        parent=parent,
        parent_weights=before,
        checkpoint_tokens={step: round(step * tokens / settings["steps"]) for step in steps},
        extra=(extra or {}) | ({"lora": settings["lora"]} if settings["lora"] else {}),
    )


def rows_of_run(rows: Any, settings: dict) -> Any:
    """As many rows as a run has places for, so that it sees each once.

    Packed rows come sorted by the lengths of their examples: they are taken at random, the same
    for every seed, so that a run with examples of the same lengths takes the same.
    """
    n = settings["steps"] * settings["batch_size"]
    order = np.arange(len(rows))
    if settings["packing"]:
        order = np.random.default_rng(0).permutation(len(rows))
    elif len(rows) == n:
        return rows
    return rows.select(np.resize(order, n))


def check_packing(model: Any, path: Path) -> None:
    """Make sure that a model reads an example alike alone and packed behind another.

    It is observed on a forward pass of the very batch that `trl` makes of packed rows.

    Raises
    ------
    UserError
        The examples of a row would see each other.
    """
    ids = torch.arange(1, 17).remainder(model.get_input_embeddings().num_embeddings)
    first, second = ids.chunk(2)
    collate = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=True)
    batch = collate([{"input_ids": part.tolist()} for part in (first, second)])
    del batch["labels"]
    with torch.no_grad():
        alone = model(input_ids=second[None], use_cache=False).logits[0]
        packed = model(**batch, use_cache=False).logits[0, len(first) :]
    if (packed - alone).abs().max() > 1e-4 * alone.abs().max():
        raise UserError(
            f"`packing` is true, but the model {path} ({model.config.model_type}) lets the "
            "examples of a packed row see each other. Set `packing: false`."
        )

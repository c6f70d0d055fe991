"""Accuracy on held-out problems, greedy and sampled."""

from pathlib import Path
from typing import Any

import pandas as pd
import torch
from scipy.stats import binomtest
from transformers import GenerationConfig

from hrsa.data.verifiers import is_correct
from hrsa.errors import UserError
from hrsa.models.loading import load_language_model
from hrsa.models.prompts import check_prompt_format, prompt_text

MAX_NEW_TOKENS = {"solution": 32, "trace": 128}
MEMORY_OF_A_BATCH = 2**30  # bytes, beside the weights
WHOLE_FILE = "all"  # the split of a file that has none


def measure_accuracy(
    model: Path, problems: Path, *, style: str, seed: int, settings: dict
) -> pd.DataFrame:
    """Share of problems whose completion states the right answer.

    Parameters
    ----------
    model : Path
        Folder of a causal language model.
    problems : Path
        Parquet file with columns question and answer; the splits beside "train" are used, in
        their order, or all rows (as the split "all") where there is no column split.
    style : {"solution", "trace"}
        How long a completion may be, where the settings do not say: the short solution or a
        reasoning trace.
    seed : int
        Of the sampled completions (one for each problem; temperature as in the settings, no
        top-k, no top-p).
    settings : dict
        `problems` (most problems per split), `temperature`; and, perhaps, `prompt_format`
        ("plain"), `verifier` ("hash") and `max_new_tokens` (None: by the style).

    Returns
    -------
    DataFrame
        Columns split, decoding (greedy, sampled), accuracy, ci_low, ci_high (95 % Wilson
        interval over problems), n.

    Raises
    ------
    UserError
        All problems are for training, or the model knows no chat.
    """
    network, tokenizer = load_language_model(model, device="auto")
    prompt_format = settings.get("prompt_format", "plain")
    check_prompt_format(tokenizer, prompt_format, model)
    rows = []
    for split, part in held_out_parts(problems, settings["problems"]).items():
        prompts = [prompt_text(tokenizer, one, prompt_format) for one in part["question"]]
        for decoding in ("greedy", "sampled"):
            torch.manual_seed(seed)
            completions = complete(
                network,
                tokenizer,
                prompts,
                temperature=settings["temperature"] if decoding == "sampled" else None,
                max_new_tokens=settings.get("max_new_tokens") or MAX_NEW_TOKENS[style],
            )
            verifier = settings.get("verifier", "hash")
            right = sum(
                is_correct(text, answer, verifier)
                for text, answer in zip(completions, part["answer"], strict=True)
            )
            interval = binomtest(right, len(part)).proportion_ci(method="wilson")
            rows.append((split, decoding, right / len(part), *interval, len(part)))
    return pd.DataFrame(rows, columns=["split", "decoding", "accuracy", "ci_low", "ci_high", "n"])


def held_out_parts(problems: Path, most: int) -> dict[str, pd.DataFrame]:
    """The first problems of each split that is not for training.

    Raises
    ------
    UserError
        There is no such split.
    """
    frame = pd.read_parquet(problems)
    if "split" not in frame:
        return {WHOLE_FILE: frame.head(most)}
    splits = [name for name in frame["split"].unique() if name != "train"]
    if not splits:
        raise UserError(
            f"{problems} has problems of the split train alone, on which no accuracy is measured. "
            "Give held-out problems as `accuracy.data`."
        )
    return {split: frame[frame["split"] == split].head(most) for split in splits}


@torch.no_grad()
def complete(
    model: Any,
    tokenizer: Any,
    prompts: list[str],
    *,
    temperature: float | None,
    max_new_tokens: int,
    batch_size: int = 200,
) -> list[str]:
    """One completion for each prompt.

    Parameters
    ----------
    model, tokenizer
        As from `load_language_model`: padding on the left.
    prompts : list of str
        What the model reads, as from `prompt_text`: texts that begin with a special token (chats)
        have all of them and get no more.
    temperature : float or None
        Of the samples, drawn from the whole distribution; None: greedy.
    max_new_tokens : int
        A completion ends there, or before any token of the model or its tokenizer that ends a
        text (or, in a chat, a turn).
    batch_size : int
        Most prompts at once; fewer where so many would need more than `MEMORY_OF_A_BATCH`.

    Returns
    -------
    list of str
        Without special tokens.
    """
    config = GenerationConfig(
        max_new_tokens=max_new_tokens,
        do_sample=temperature is not None,
        temperature=temperature,
        top_k=0 if temperature is not None else None,
        top_p=1.0 if temperature is not None else None,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=end_tokens(model, tokenizer),
    )
    # a chat's template writes its own special tokens
    how = {
        "add_special_tokens": not any(starts_with_special(tokenizer, one) for one in prompts),
        "return_token_type_ids": False,
    }
    longest = max((len(row) for row in tokenizer(prompts, **how)["input_ids"]), default=0)
    size = min(batch_size, rows_at_once(model, prompt=longest, new=max_new_tokens))
    texts = []
    for start in range(0, len(prompts), size):
        batch = tokenizer(
            prompts[start : start + size],
            return_tensors="pt",
            padding=True,
            padding_side="left",
            **how,
        ).to(model.device)
        out = model.generate(**batch, generation_config=config)
        texts += tokenizer.batch_decode(
            out[:, batch["input_ids"].shape[1] :], skip_special_tokens=True
        )
    return texts


def end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """The ids that end a completion: of the model's generation settings, and the tokenizer's.

    Models of a chat have more than one: that of a turn's end and that of a text's.
    """
    own = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ids = own if isinstance(own, list) else [own]
    return sorted({one for one in (*ids, tokenizer.eos_token_id) if one is not None})


def starts_with_special(tokenizer: Any, prompt: str) -> bool:
    """Whether a text begins with a special token of its own, as a chat template writes it."""
    return any(prompt.startswith(token) for token in tokenizer.all_special_tokens)


def rows_at_once(model: Any, *, prompt: int, new: int) -> int:
    """How many completions fit into `MEMORY_OF_A_BATCH`, at least 1.

    For each row count the keys and values of all layers (twice: a step copies what grows), the
    widest activations of a layer over the prompt, and the float32 copies of a step's logits. It
    depends on the model and the lengths alone, so that the same batches, and with them the same
    draws, are made everywhere.

    Parameters
    ----------
    model : transformers.PreTrainedModel
    prompt, new : int
        Tokens of the longest prompt and of a completion.
    """
    config = model.config.get_text_config()
    width, heads = config.hidden_size, config.num_attention_heads
    head_width = getattr(config, "head_dim", None) or width // heads
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    intermediate = getattr(config, "intermediate_size", None) or 4 * width
    n_bytes = next(model.parameters()).element_size()
    cache = 2 * (prompt + new) * config.num_hidden_layers * 2 * kv_heads * head_width * n_bytes
    activations = prompt * (3 * intermediate + 4 * width + heads * prompt) * n_bytes
    logits = 4 * config.vocab_size * 4
    return max(1, MEMORY_OF_A_BATCH // (cache + activations + logits))

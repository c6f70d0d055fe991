"""Accuracy on held-out word problems, greedy and sampled."""

from pathlib import Path
from typing import Any

import pandas as pd
import torch
from scipy.stats import binomtest
from transformers import GenerationConfig

from hrsa.data.verifiers import is_correct
from hrsa.models.loading import load_language_model

MAX_NEW_TOKENS = {"solution": 32, "trace": 128}


def measure_accuracy(
    model: Path, problems: Path, *, style: str, seed: int, settings: dict
) -> pd.DataFrame:
    """Share of problems whose completion ends in the right number.

    Parameters
    ----------
    model : Path
        Folder of a causal language model.
    problems : Path
        `test-problems.parquet`; the splits `test` and `test_templates` are used.
    style : {"solution", "trace"}
        How long a completion may be: the short solution or a reasoning trace.
    seed : int
        Of the sampled completions (one for each problem; temperature as in the settings, no
        top-k, no top-p).
    settings : dict
        `problems` (most problems per split), `temperature`.

    Returns
    -------
    DataFrame
        Columns split, decoding (greedy, sampled), accuracy, ci_low, ci_high (95 % Wilson
        interval over problems), n.
    """
    network, tokenizer = load_language_model(model)
    frame = pd.read_parquet(problems)
    rows = []
    for split in ("test", "test_templates"):
        part = frame[frame["split"] == split].head(settings["problems"])
        for decoding in ("greedy", "sampled"):
            torch.manual_seed(seed)
            completions = complete(
                network,
                tokenizer,
                part["question"].tolist(),
                temperature=settings["temperature"] if decoding == "sampled" else None,
                max_new_tokens=MAX_NEW_TOKENS[style],
            )
            right = sum(map(is_correct, completions, part["answer"]))
            interval = binomtest(right, len(part)).proportion_ci(method="wilson")
            rows.append((split, decoding, right / len(part), *interval, len(part)))
    return pd.DataFrame(rows, columns=["split", "decoding", "accuracy", "ci_low", "ci_high", "n"])


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
    """One completion for each prompt; greedy where `temperature` is None."""
    config = GenerationConfig(
        max_new_tokens=max_new_tokens,
        do_sample=temperature is not None,
        temperature=temperature,
        top_k=0 if temperature is not None else None,
        top_p=1.0 if temperature is not None else None,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    texts = []
    for start in range(0, len(prompts), batch_size):
        batch = tokenizer(
            prompts[start : start + batch_size],
            return_tensors="pt",
            padding=True,
            padding_side="left",
            return_token_type_ids=False,
        )
        out = model.generate(**batch, generation_config=config)
        texts += tokenizer.batch_decode(
            out[:, batch["input_ids"].shape[1] :], skip_special_tokens=True
        )
    return texts

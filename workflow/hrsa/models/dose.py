"""How far a model moved from its parent: the dose that every comparison is read against."""

from pathlib import Path

import pandas as pd
import torch

from hrsa.models.loading import load_language_model
from hrsa.models.pretrain import pad_batch


@torch.no_grad()
def kl_to_parent(
    model: Path, parent: Path, problems: Path, *, n_texts: int, batch_size: int = 50
) -> dict[str, float | int]:
    """Mean KL divergence of the next-token distribution to the parent's, in nats per token.

    KL(model ‖ parent), over every token of held-out problems with their short solutions (the same
    texts for all models).

    Parameters
    ----------
    model, parent : Path
        Folders of causal language models with one tokenizer.
    problems : Path
        `test-problems.parquet`, of which the first `n_texts` of the split `test` are read.
    n_texts, batch_size : int

    Returns
    -------
    dict
        `kl_to_parent` and `n_tokens`.
    """
    network, tokenizer = load_language_model(model)
    reference, _ = load_language_model(parent)
    frame = pd.read_parquet(problems)
    frame = frame[frame["split"] == "test"].head(n_texts)
    rows = tokenizer((frame["question"] + " " + frame["solution"]).tolist())["input_ids"]
    total, n_tokens = 0.0, 0
    for start in range(0, len(rows), batch_size):
        ids, mask = pad_batch(rows[start : start + batch_size], tokenizer.pad_token_id)
        own, other = (
            torch.log_softmax(m(input_ids=ids, attention_mask=mask).logits.double(), dim=-1)
            for m in (network, reference)
        )
        divergence = (own.exp() * (own - other)).sum(-1)
        total += float((divergence * mask).sum())
        n_tokens += int(mask.sum())
    return {"kl_to_parent": total / n_tokens, "n_tokens": n_tokens}

"""How far a model moved from its parent: the dose that every comparison is read against."""

from pathlib import Path
from typing import Any

import torch

from hrsa.errors import UserError
from hrsa.models.accuracy import held_out_parts
from hrsa.models.loading import load_language_model
from hrsa.models.pretrain import pad_batch

ANSWERS = ("solution", "trace", "answer")  # the first that a file has follows the question
MEMORY_OF_A_BATCH = 2**30  # bytes, of both models' distributions


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
        Folders of causal language models with one vocabulary.
    problems : Path
        Parquet file of problems, of whose first held-out split (of all rows where there are no
        splits) the first `n_texts` are read: the question and the first column there is of
        solution, trace and answer.
    n_texts : int
    batch_size : int
        Most texts at once; fewer where the distributions would need more than
        `MEMORY_OF_A_BATCH`.

    Returns
    -------
    dict
        `kl_to_parent` and `n_tokens`.

    Raises
    ------
    UserError
        The two have different vocabularies.
    """
    network, tokenizer = load_language_model(model, device="auto")
    reference, _ = load_language_model(parent, device="auto")
    sizes = [one.get_output_embeddings().weight.shape[0] for one in (network, reference)]
    if sizes[0] != sizes[1]:
        raise UserError(
            f"{model.name} has {sizes[0]} tokens and its parent {parent.name} has {sizes[1]}: "
            "their distributions over the next token do not compare."
        )
    rows = tokenizer(_texts(problems, n_texts))["input_ids"]
    size = min(batch_size, _rows_at_once(sizes[0], max(map(len, rows))))
    total, n_tokens = 0.0, 0
    for start in range(0, len(rows), size):
        ids, mask = pad_batch(rows[start : start + size], tokenizer.pad_token_id or 0)
        divergence = _divergence(network, reference, ids, mask)
        total += float((divergence * mask.to(divergence.device)).sum())
        n_tokens += int(mask.sum())
    return {"kl_to_parent": total / n_tokens, "n_tokens": n_tokens}


def _texts(problems: Path, n_texts: int) -> list[str]:
    """Questions with what follows them, as plain text."""
    frame = next(iter(held_out_parts(problems, n_texts).values()))
    column = next(name for name in ANSWERS if name in frame)
    return (frame["question"] + " " + frame[column].astype(str)).tolist()


def _divergence(
    network: Any, reference: Any, ids: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """KL(network ‖ reference) at each token, (n_rows, n_tokens), in double precision."""
    own, other = (
        torch.log_softmax(
            one(input_ids=ids.to(one.device), attention_mask=mask.to(one.device)).logits.double(),
            dim=-1,
        ).to(network.device)
        for one in (network, reference)
    )
    return (own.exp() * (own - other)).sum(-1)


def _rows_at_once(vocabulary: int, length: int) -> int:
    """How many texts fit: for each token two distributions, two more in passing, and logits."""
    return max(1, MEMORY_OF_A_BATCH // (length * vocabulary * (4 * 8 + 4)))

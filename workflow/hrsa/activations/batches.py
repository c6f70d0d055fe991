"""Samples of like length together, padded to tensors, and the rows that they become."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hrsa.activations.texts import EncodedSample

if TYPE_CHECKING:
    import torch


def length_sorted_batches(lengths: Sequence[int], token_budget: int) -> Iterator[list[int]]:
    """Samples of like length together, longest first, each batch within the padded budget.

    The longest first, so that a budget too large for the machine fails at once. Samples of length
    0 need no forward pass.

    Parameters
    ----------
    lengths : sequence of int
        Tokens of each sample.
    token_budget : int
        Most tokens in a batch, padding included; a longer sample is a batch by itself.

    Yields
    ------
    list of int
        Samples, ascending.
    """
    batch: list[int] = []
    longest = 0
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if lengths[index] == 0:
            break
        if batch and (len(batch) + 1) * longest > token_budget:
            yield sorted(batch)
            batch = []
        longest = longest if batch else lengths[index]
        batch.append(index)
    if batch:
        yield sorted(batch)


def padded(
    sequences: Sequence[np.ndarray], device: "torch.device"
) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Token ids and attention mask (n_samples × longest), padded on the right.

    What the padding holds does not matter under the mask; id 0 exists in every vocabulary.
    """
    import torch

    shape = (len(sequences), max(map(len, sequences)))
    ids, mask = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.from_numpy(sequence)
        mask[row, : len(sequence)] = 1
    return ids.to(device), mask.to(device)


def rows_of_batch(
    samples: Sequence[EncodedSample], offsets: np.ndarray, batch: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the file, and for each its place in the flattened (n_samples · longest) batch."""
    length = max(len(samples[i].ids) for i in batch)
    rows = [np.arange(offsets[i], offsets[i + 1]) for i in batch]
    places = [slot * length + samples[i].position for slot, i in enumerate(batch)]
    return np.concatenate(rows), np.concatenate(places)

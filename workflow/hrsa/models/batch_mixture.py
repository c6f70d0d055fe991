"""Which pairs a batch of contrastive training holds, and from which training set they come."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from sentence_transformers.base.sampler import (
    MultiDatasetDefaultBatchSampler,
    NoDuplicatesBatchSampler,
)

from hrsa.errors import UserError


class NoTextTwiceBatchSampler(NoDuplicatesBatchSampler):
    """Keeps texts out of a batch that are there already, as query or as document.

    Texts are compared without the space that stands before a query with an instruction (see
    `hrsa.models.instructions`): a query's own text would else be one of its negatives.
    """

    def __init__(self, dataset: Any, *args: Any, **kwargs: Any):
        super().__init__(dataset, *args, **kwargs)
        self.dataset: Any = self.dataset.map(_without_leading_space)


def _without_leading_space(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.removeprefix(" ") if isinstance(value, str) else value
        for name, value in row.items()
    }


class SharesBatchSampler(MultiDatasetDefaultBatchSampler):
    """Takes batches from the sets by fixed shares, whatever their sizes.

    A set that has been gone through is shuffled and begun again, so that a small one can be seen
    more often than a large one. Which set comes next is drawn by the trainer's seed.

    Parameters
    ----------
    *args, **kwargs
        As sentence-transformers gives them.
    weights : list of float
        Share of each set, in their order; need not add up to 1.
    """

    def __init__(self, *args: Any, weights: list[float], **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.weights = torch.tensor(weights)

    def __iter__(self) -> Iterator[list[int]]:
        """Yield rows of the joined sets, batch by batch."""
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        starts = [0]
        sets: Any = self.dataset.datasets
        for dataset in sets[:-1]:
            starts.append(starts[-1] + len(dataset))
        streams = [_endless(sampler, self.epoch) for sampler in self.batch_samplers]
        for _ in range(len(self)):
            chosen = int(torch.multinomial(self.weights, 1, generator=generator))
            yield [starts[chosen] + row for row in next(streams[chosen])]

    def __len__(self) -> int:
        """Batches of an epoch: as many as one pass through all sets has."""
        return sum(len(sampler) for sampler in self.batch_samplers)


def shares_sampler(shares: Mapping[str, float], names: list[str]) -> Callable[..., Any]:
    """Choose the sampler for given shares of the batches.

    Parameters
    ----------
    shares : mapping of set to share
    names : list of str
        The sets, in the order of the trainer's data sets.

    Returns
    -------
    What sentence-transformers takes as `multi_dataset_batch_sampler`; it can be pickled, as the
    trainer's checkpoints need.

    Raises
    ------
    UserError
        The shares name other sets than there are, or none is above 0.
    """
    if set(shares) != set(names) or not any(shares.values()):
        raise UserError(
            f"`shares` names {', '.join(shares) or 'nothing'}; it must give each of the sets "
            f"{', '.join(names)} a share of the batches, and one above 0."
        )
    return partial(SharesBatchSampler, weights=[float(shares[name]) for name in names])


def _endless(sampler: Any, epoch: int) -> Iterator[list[int]]:
    """Go through a set's batches again and again, in another order each time."""
    passes = 0
    while True:
        sampler.set_epoch(1_000_003 * epoch + passes)
        n_batches = 0
        for batch in sampler:
            n_batches += 1
            yield batch
        if not n_batches:
            raise UserError(
                "A training set has too few different texts for one batch, and several processes "
                "cannot share an incomplete one. Lower `batch_size`, or train on one GPU."
            )
        passes += 1

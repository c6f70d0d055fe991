"""How the samples of two models are pooled before a probe reads them."""

import warnings
from dataclasses import dataclass

from hrsa.activations.pooling import FilePooling, file_pooling
from hrsa.activations.store import Activations


@dataclass(frozen=True)
class PairPooling:
    """Poolings of two models, each as its own folder says, on every layer alike.

    Attributes
    ----------
    reference, candidate : FilePooling
        See `hrsa.activations.pooling.file_pooling`.
    note : str
        Says which they are; empty where both are the mean.
    """

    reference: FilePooling
    candidate: FilePooling
    note: str


def pair_pooling(reference: Activations, candidate: Activations) -> PairPooling:
    """Read how two models pool.

    Parameters
    ----------
    reference, candidate : Activations
        Open activation files.

    Returns
    -------
    PairPooling

    Warns
    -----
    UserWarning
        For a model that is not, or may not be, pooled as its folder says.
    """
    first, second = _told(reference), _told(candidate)
    by_mean = FilePooling(("mean",))
    is_plain = first == by_mean and second == by_mean
    note = "" if is_plain else f"pooling: reference {first}, candidate {second}"
    return PairPooling(first, second, note)


def _told(activations: Activations) -> FilePooling:
    pooling = file_pooling(activations)
    if pooling.note:
        message = f"{activations.path}: pooled by {pooling}"
        warnings.warn(message, UserWarning, stacklevel=4)  # at who called the probe
    return pooling

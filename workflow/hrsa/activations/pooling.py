"""From tokens to samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

import numpy as np

from hrsa.activations.store import Activations
from hrsa.errors import UserError

Pooling = Literal["mean", "cls", "lasttoken", "max", "weightedmean", "mean_sqrt_len_tokens"]
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)
# What the rows that a cap on tokens keeps give an estimate of.
_OF_SOME_ROWS = ("mean", "weightedmean")
_BLOCK_ROWS = 16384


@dataclass(frozen=True)
class FilePooling:
    """How the samples of an activation file are pooled.

    Attributes
    ----------
    modes : tuple of str
        As in `pooled_samples`; of several the vectors are put one behind the other.
    note : str
        What is not, or may not be, as the model's folder says; empty where all is.
    """

    modes: tuple[Pooling, ...]
    note: str = ""

    def __str__(self) -> str:
        return "+".join(self.modes) + (f" ({self.note})" if self.note else "")


def file_pooling(activations: Activations) -> FilePooling:
    """Read from a file's header how its model pools, and see whether its rows can give that.

    The header entry `pooling` names the modes of a sentence-transformers folder, joined by "+"
    (see `hrsa.models.embedding.pooling_of`). A plain language model has none, and is pooled by the
    mean.

    Returns
    -------
    FilePooling
        The folder's modes; or the mean, and a note that says why, where the file has not the rows
        that they are of or they are none of `POOLINGS`.
    """
    named = activations.attrs.get("pooling")
    if named is None:
        return FilePooling(("mean",))
    modes = str(named).split("+")
    if not set(modes) <= set(POOLINGS):
        return _by_mean(named, "is no pooling that is known here")
    known = cast(tuple[Pooling, ...], tuple(modes))
    for mode in known:
        reason = _not_given(activations, mode)
        if reason:
            return _by_mean(named, f"is of tokens that are not in the file: {reason}")
    note = ""
    if "lasttoken" in known and activations.attrs.get("pooling_end_mark") is None:
        note = "whether a special token follows the last one of a text is not recorded"
    return FilePooling(known, note)


def sample_means(activations: Activations, layer: int) -> np.ndarray:
    """Mean hidden state of each sample over its stored rows.

    Parameters
    ----------
    activations
        An open file.
    layer
        A stored layer.

    Returns
    -------
    float64 array (n_samples × width), in the file's order of samples; a sample without a stored
    row (an empty text, or one that a token cap left out whole) has NaN.

    Raises
    ------
    UserError
        The file does not store that layer.
    """
    return pooled_samples(activations, layer, "mean")


def pooled_samples(
    activations: Activations, layer: int, pooling: Pooling | Sequence[Pooling] = "mean"
) -> np.ndarray:
    """One vector per sample from its stored rows, as an embedding model pools its tokens.

    Rows are the text's own tokens: special tokens are not stored, so that means and the maximum
    are over the text alone, and "lasttoken" is the last token of the text, not an end mark that a
    tokenizer puts behind it. (`hrsa.models.embedding` pools over everything that a model saw.)

    Parameters
    ----------
    activations
        An open file.
    layer
        A stored layer.
    pooling
        "mean"; "max", of each dimension; "cls", the first token that the model saw; "lasttoken";
        "weightedmean", each token with its place in the sequence (from 1) as weight;
        "mean_sqrt_len_tokens", the sum over the root of the number of tokens. Of a sequence of
        these the vectors are put one behind the other.

    Returns
    -------
    float64 array (n_samples × width, or × the number of poolings times that), in the file's order
    of samples; a sample without a stored row has NaN.

    Raises
    ------
    UserError
        The file does not store that layer, or not the tokens that the pooling is of.
    """
    modes = [pooling] if isinstance(pooling, str) else list(pooling)
    for mode in modes:
        if mode not in POOLINGS:
            raise ValueError(f"pooling={mode!r}; allowed are {', '.join(POOLINGS)}.")
        reason = _not_given(activations, mode)
        if reason:
            raise UserError(
                f"{activations.path}: pooling {mode!r} is of tokens that are not in the file: "
                f"{reason}. Pool by 'mean', or embed the texts with the model itself."
            )
    parts = [
        _single_rows(activations, layer, mode)
        if mode in ("cls", "lasttoken")
        else _combined_rows(activations, layer, mode)
        for mode in modes
    ]
    return parts[0] if len(parts) == 1 else np.hstack(parts)


def _by_mean(named: object, reason: str) -> FilePooling:
    return FilePooling(("mean",), f"the file says {named}, which {reason}")


def _not_given(activations: Activations, mode: Pooling) -> str:
    """Why a file's rows do not give a pooling; empty when they do."""
    if activations.attrs.get("max_tokens") is not None and mode not in _OF_SOME_ROWS:
        return "it was extracted with a cap on tokens (max_tokens)"
    if mode == "cls":
        offsets = activations.samples.offsets
        first = offsets[:-1][np.diff(offsets) > 0]
        if (activations.tokens.position[first] != 0).any():
            return "a sample begins with a special token or with part of a character"
    if mode == "lasttoken" and activations.attrs.get("pooling_end_mark"):
        return "the tokenizer puts a special token behind a text"
    return ""


def _single_rows(activations: Activations, layer: int, mode: Pooling) -> np.ndarray:
    """The first or the last row of each sample."""
    offsets = activations.samples.offsets
    has_rows = np.diff(offsets) > 0
    rows = (offsets[:-1] if mode == "cls" else offsets[1:] - 1)[has_rows]
    pooled = np.full((activations.n_samples, activations.width), np.nan)
    pooled[has_rows] = activations.layer(layer)[rows]
    return pooled


def _combined_rows(activations: Activations, layer: int, mode: Pooling) -> np.ndarray:
    """The maximum, or a mean, of all rows of each sample."""
    combine, start = (np.maximum, -np.inf) if mode == "max" else (np.add, 0.0)
    weights = activations.tokens.position + 1.0 if mode == "weightedmean" else None
    states = activations.layer(layer)
    pooled = np.full((activations.n_samples, activations.width), start)
    for block in activations.blocks(_BLOCK_ROWS):
        samples = activations.sample_of_row[block]
        starts = np.flatnonzero(np.diff(samples, prepend=-1))
        values = states[block].astype(np.float64)
        if weights is not None:
            values *= weights[block, None]
        of_block = combine.reduceat(values, starts, axis=0)
        pooled[samples[starts]] = combine(pooled[samples[starts]], of_block)
    divisor = _divisor(activations, mode, weights)[:, None]
    has_rows = np.diff(activations.samples.offsets)[:, None] > 0
    return np.divide(pooled, divisor, out=np.full_like(pooled, np.nan), where=has_rows)


def _divisor(activations: Activations, mode: Pooling, weights: np.ndarray | None) -> np.ndarray:
    """What the sum of each sample is divided by (n_samples,)."""
    if mode == "max":
        return np.ones(activations.n_samples)
    total = np.bincount(activations.sample_of_row, weights, minlength=activations.n_samples)
    return np.sqrt(total) if mode == "mean_sqrt_len_tokens" else total

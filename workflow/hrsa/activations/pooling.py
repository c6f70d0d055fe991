"""From tokens to samples."""

from typing import Literal, get_args

import numpy as np

from hrsa.activations.store import Activations
from hrsa.errors import UserError

Pooling = Literal["mean", "cls", "lasttoken", "max"]
_BLOCK_ROWS = 16384


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


def pooled_samples(activations: Activations, layer: int, pooling: Pooling = "mean") -> np.ndarray:
    """One vector per sample from its stored rows, as an embedding model pools its tokens.

    Rows are the text's own tokens: special tokens are not stored, so that the mean and the maximum
    are over the text alone, and "lasttoken" is the last token of the text, not an end mark that a
    tokenizer puts behind it. (`hrsa.models.embedding` pools over everything that a model saw.)

    Parameters
    ----------
    activations
        An open file.
    layer
        A stored layer.
    pooling
        "mean"; "max", of each dimension; "cls", the first token that the model saw; "lasttoken".

    Returns
    -------
    float64 array (n_samples × width), in the file's order of samples; a sample without a stored
    row has NaN.

    Raises
    ------
    UserError
        The file does not store that layer, or not the tokens that the pooling is of.
    """
    if pooling not in get_args(Pooling):
        raise ValueError(f"pooling={pooling!r}; allowed are {', '.join(get_args(Pooling))}.")
    if pooling in ("cls", "lasttoken"):
        return _single_rows(activations, layer, pooling)
    combine, start = (np.add, 0.0) if pooling == "mean" else (np.maximum, -np.inf)
    states = activations.layer(layer)
    pooled = np.full((activations.n_samples, activations.width), start)
    for block in activations.blocks(_BLOCK_ROWS):
        samples = activations.sample_of_row[block]
        starts = np.flatnonzero(np.diff(samples, prepend=-1))
        of_block = combine.reduceat(states[block].astype(np.float64), starts, axis=0)
        pooled[samples[starts]] = combine(pooled[samples[starts]], of_block)
    counts = np.diff(activations.samples.offsets)[:, None]
    divisor = counts if pooling == "mean" else 1
    return np.divide(pooled, divisor, out=np.full_like(pooled, np.nan), where=counts > 0)


def _single_rows(activations: Activations, layer: int, pooling: Pooling) -> np.ndarray:
    """The first or the last row of each sample, where it is the token that the pooling is of."""
    offsets = activations.samples.offsets
    has_rows = np.diff(offsets) > 0
    rows = (offsets[:-1] if pooling == "cls" else offsets[1:] - 1)[has_rows]
    if activations.attrs.get("max_tokens") is not None:
        reason = "it was extracted with a cap on tokens (max_tokens)"
    elif pooling == "cls" and (activations.tokens.position[rows] != 0).any():
        reason = "it begins a sample as a special token or as part of a character"
    else:
        pooled = np.full((activations.n_samples, activations.width), np.nan)
        pooled[has_rows] = activations.layer(layer)[rows]
        return pooled
    raise UserError(
        f"{activations.path}: pooling {pooling!r} is of a token that is not in the file: {reason}. "
        "Pool by 'mean' or 'max', or embed the texts with the model itself."
    )

"""From tokens to samples."""

import numpy as np

from hrsa.activations.store import Activations

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
    states = activations.layer(layer)
    sums = np.zeros((activations.n_samples, activations.width))
    for block in activations.blocks(_BLOCK_ROWS):
        samples = activations.sample_of_row[block]
        starts = np.flatnonzero(np.diff(samples, prepend=-1))
        values = states[block].astype(np.float64)
        sums[samples[starts]] += np.add.reduceat(values, starts, axis=0)
    counts = np.diff(activations.samples.offsets)[:, None]
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)

"""Several tests of one question: p-values that hold for all of them together."""

import numpy as np
import numpy.typing as npt


def holm(p: npt.ArrayLike) -> np.ndarray:
    """Adjust p-values so that any false rejection has at most the nominal probability.

    Parameters
    ----------
    p : array-like, shape (m,)
        p-values of one family.

    Returns
    -------
    numpy.ndarray, shape (m,)
        The i-th smallest, i = 0, 1, …, times m − i, at least as large as those of smaller p-values,
        at most 1.

    References
    ----------
    Holm (1979), A simple sequentially rejective multiple test procedure.
    """
    raw = np.asarray(p, dtype=np.float64)
    order = np.argsort(raw, kind="stable")
    steps = raw[order] * (len(raw) - np.arange(len(raw)))
    adjusted = np.empty_like(raw)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted

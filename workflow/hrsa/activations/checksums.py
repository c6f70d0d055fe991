"""SHA-256 of the parts of an activation file: per block of rows, per layer, per table."""

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from hrsa.activations.rows import row_blocks

BLOCK_ROWS = 4096


def block_digests(stored: Any, rows: int) -> np.ndarray:
    """Digest of each block of rows of a stored layer.

    Parameters
    ----------
    stored : array-like (n_tokens × width)
        Anything that gives numpy arrays for row slices, such as an HDF5 data set.
    rows
        Rows of a block.

    Returns
    -------
    uint8 array (n_blocks × 32).
    """
    blocks = row_blocks(stored.shape[0], rows)
    digests = [
        hashlib.sha256(np.ascontiguousarray(stored[block]).data).digest() for block in blocks
    ]
    return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(len(blocks), 32)


def layer_digest(digests: np.ndarray) -> str:
    """Hash of a layer: SHA-256 over the digests of its blocks."""
    return hashlib.sha256(np.ascontiguousarray(digests).data).hexdigest()


def table_digest(columns: Iterable[np.ndarray], ids: Iterable[str] = ()) -> str:
    """Hash of a table of integer columns and, where it has them, text ids."""
    digest = hashlib.sha256()
    for column in columns:
        digest.update(np.ascontiguousarray(column).data)
    for text in ids:
        encoded = text.encode()
        digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.hexdigest()

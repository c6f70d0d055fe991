"""SHA-256 of the parts of an activation file: per block of rows, per layer, per table."""

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

BLOCK_ROWS = 4096
# Hashing bounds the rate of closing and of verifying a file; blocks are hashed side by side.
_LANES = 2
_PIECE_BYTES = 2**20


def block_digests(stored: Any, blocks: Sequence[slice]) -> np.ndarray:
    """Digest of each block of rows of a stored layer.

    Parameters
    ----------
    stored : array-like (n_tokens × width)
        Anything that gives numpy arrays for row slices, such as an HDF5 data set.
    blocks
        Slices of rows.

    Returns
    -------
    uint8 array (n_blocks × 32).
    """
    row_bytes = max(1, stored.shape[1] * stored.dtype.itemsize)
    rows = max(1, _PIECE_BYTES // row_bytes)
    digests: list[bytes] = []
    with ThreadPoolExecutor(max_workers=_LANES) as pool:
        for first in range(0, len(blocks), _LANES):
            digests += _digests(stored, blocks[first : first + _LANES], rows, pool)
    return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(len(blocks), 32)


def _digests(
    stored: Any, blocks: Sequence[slice], rows: int, pool: ThreadPoolExecutor
) -> list[bytes]:
    """Digests of a few blocks, hashed side by side while the next rows of each are read.

    Reading stays in this thread: h5py has one lock, which whoever called this may hold.
    """
    hashes = [hashlib.sha256() for _ in blocks]
    steps = max(block.stop - block.start for block in blocks)
    hashing: list[Future[None]] = []
    for step in range(0, steps, rows):
        pieces = [
            (one, stored[block.start + step : min(block.start + step + rows, block.stop)])
            for one, block in zip(hashes, blocks, strict=True)
            if block.start + step < block.stop
        ]
        for future in hashing:
            future.result()
        hashing = [
            pool.submit(one.update, np.ascontiguousarray(piece).data) for one, piece in pieces
        ]
    for future in hashing:
        future.result()
    return [one.digest() for one in hashes]


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

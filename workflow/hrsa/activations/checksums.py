"""SHA-256 of the parts of an activation file: per block of rows, per layer, per table."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import h5py
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

    Raises
    ------
    OSError
        The file ends within the layer.
    """
    with ThreadPoolExecutor(max_workers=_LANES) as pool:
        if _is_plain(stored):
            digests = list(pool.map(_PlainLayer(stored).digest, blocks))
        else:
            digests = [
                digest
                for first in range(0, len(blocks), _LANES)
                for digest in _digests(stored, blocks[first : first + _LANES], pool)
            ]
    return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(len(blocks), 32)


def _is_plain(stored: Any) -> bool:
    """Whether the layer's bytes lie in its file as they are, one row after the other."""
    return (
        isinstance(stored, h5py.Dataset)
        and stored.file.driver == "sec2"
        and stored.chunks is None
        and not stored.is_virtual
        and stored.id.get_offset() is not None
    )


class _PlainLayer:
    """Bytes of a layer, read by several threads at once.

    All that h5py has to say is asked beforehand: its one lock would keep the threads from each
    other, and whoever holds it already would wait for them for ever. The file is HDF5's own, since
    its name may lead elsewhere by now.
    """

    def __init__(self, stored: h5py.Dataset) -> None:
        self._file = stored.file.id.get_vfd_handle()
        self._first = stored.id.get_offset()
        self._row_bytes = stored.shape[1] * stored.dtype.itemsize
        self._name = f"{stored.name} in {stored.file.filename}"

    def digest(self, rows: slice) -> bytes:
        """Digest of some rows."""
        place = self._first + rows.start * self._row_bytes
        end = self._first + rows.stop * self._row_bytes
        digest = hashlib.sha256()
        while place < end:
            piece = os.pread(self._file, min(_PIECE_BYTES, end - place), place)
            if not piece:
                raise OSError(f"the file ends within {self._name}")
            digest.update(piece)
            place += len(piece)
        return digest.digest()


def _digests(stored: Any, blocks: Sequence[slice], pool: ThreadPoolExecutor) -> list[bytes]:
    """Digests of a few blocks, hashed side by side while the next rows of each are read.

    Reading stays in this thread: h5py has one lock, which whoever called this may hold.
    """
    rows = max(1, _PIECE_BYTES // max(1, stored.shape[1] * stored.dtype.itemsize))
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

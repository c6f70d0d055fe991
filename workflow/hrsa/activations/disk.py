"""Bytes on disk: written in full, how many there may be, and what is said when it is full."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hrsa.errors import UserError

_FULL = (errno.ENOSPC, errno.EDQUOT)


def write_all(file: int, data: Any, offset: int) -> None:
    """Write a contiguous buffer to an open file at an offset, however many calls it takes."""
    left = memoryview(data).cast("B")
    while len(left):
        done = os.pwrite(file, left, offset)
        left, offset = left[done:], offset + done


def bring_to_disk(path: Path) -> None:
    """Return when a file's bytes, or a folder's entries, would outlast a loss of power."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def bytes_held(path: Path) -> int:
    """Bytes on disk that a file takes up, which are fewer than its size where it has holes."""
    try:
        return 512 * path.stat().st_blocks
    except FileNotFoundError:
        return 0


def shown_size(n_bytes: int) -> str:
    """A number of bytes for people, rounded up."""
    for unit, size in (("GB", 10**9), ("MB", 10**6)):
        if n_bytes >= size:
            return f"{-(-10 * n_bytes // size) / 10:g} {unit}"
    return f"{-(-n_bytes // 1000)} kB"


def check_free(path: Path, size: int, held: int) -> None:
    """Refuse to begin a file that the disk has no place for.

    Parameters
    ----------
    path
        Where the file goes.
    size
        Bytes that it will take up.
    held
        Bytes that an unfinished file, which becomes it or is replaced by it, has already.

    Raises
    ------
    UserError
    """
    free = shutil.disk_usage(path.parent).free
    if size - held > free:
        raise UserError(
            f"{path}: the file will take {shown_size(size)}, of which {shown_size(size - held)} "
            f"are still to be written, and {shown_size(free)} are free in {path.parent}. Free "
            f"about {shown_size(size - held - free)}, or ask for fewer layers, fewer tokens or a "
            "narrower stored type, and run again."
        )


@contextmanager
def full_disk_told(path: Path, unfinished: Path, *, size: int, kept: bool) -> Iterator[None]:
    """Turn a full disk into an error for people; any other fault of the disk passes as it is.

    Parameters
    ----------
    path, unfinished
        The file that is being written, and where what there is of it lies.
    size
        Bytes that the file will take up.
    kept
        Whether the unfinished file is kept, so that the next run goes on with it.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        if not is_full(error):
            raise
        free = shutil.disk_usage(path.parent).free
        missing = max(size - bytes_held(unfinished) - free, 10**6)
        rest = (
            f"What was written is kept in {unfinished.name}; free about {shown_size(missing)} and "
            "run again: it goes on."
            if kept
            else f"What was written of it is removed; free about {shown_size(size - free)} and run "
            "again."
        )
        raise UserError(
            f"{path}: the disk is full (folder {path.parent}; or a quota is used up). {rest}"
        ) from None


def is_full(error: Exception) -> bool:
    """Whether a disk that is full, or a quota, is what an error says."""
    # By its words too: not all errors of HDF5 have numbers.
    return getattr(error, "errno", None) in _FULL or any(
        os.strerror(number) in str(error) for number in _FULL
    )

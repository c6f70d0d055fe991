"""Faults of the machine, which are no matter of the task that met them."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import torch

__all__ = ["raise_fault"]

# A full disk, too many files, no memory, a disk that cannot be read.
NUMBERS = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO}
# As the allocators of CPUs and GPUs say it.
WITHOUT_MEMORY = ("out of memory", "allocate memory")


def raise_fault(error: Exception) -> None:
    """Raise the fault of the machine that an error comes from, if it does.

    The fault itself, not the error that was made of it: that may be of a kind that is taken for the
    failure of one task, and the next ones would run on a full disk.
    """
    for cause in _causes(error):
        if _is_fault(cause):
            raise cause


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error, what it was raised from, and so on."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        yield cause
        seen.add(id(cause))
        cause = cause.__cause__ or cause.__context__


def _is_fault(error: BaseException) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError | torch.AcceleratorError):
        return True
    if isinstance(error, RuntimeError):
        return any(words in str(error).lower() for words in WITHOUT_MEMORY)
    if not isinstance(error, OSError):
        return False
    # `datasets` asks beforehand, and raises without a number
    return error.errno in NUMBERS or "Not enough disk space" in str(error)

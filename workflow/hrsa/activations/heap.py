"""Memory that is freed and asked for again with every batch, kept by the process meanwhile."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Parameters of mallopt(3), and the values that glibc's own adaptation ends at.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST_MMAP_THRESHOLD = 2**25
_KEPT_BYTES = 2**30


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Let freed memory stay with the process until the end of the block.

    Two threads that free tensors in turns make glibc give memory back to the system and ask for it
    again, page by page, all the time: a sixth of an extraction on a CPU. Elsewhere than under
    glibc nothing is done.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    libc.mallopt(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
    libc.mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
    try:
        yield
    finally:
        libc.mallopt(_TRIM_THRESHOLD, 2 * _LARGEST_MMAP_THRESHOLD)
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None

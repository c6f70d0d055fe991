"""A lock that ends with the process that holds it, however that ends."""

import errno
import os
from pathlib import Path

# What file systems say that have no such locks; there, two writers are not told apart.
_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)


def open_locked(path: Path) -> int:
    """Open a file for reading and writing (made when there is none) and lock it for this process.

    The lock is advisory (`flock`). It is gone when the file is closed, and so after a SIGKILL.

    Returns
    -------
    The open file's number; `os.close` it to release the lock.

    Raises
    ------
    BlockingIOError
        Someone else holds the lock.
    """
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            _lock(file)
            if _is_at(file, path):
                return file
        except BaseException:
            os.close(file)
            raise
        # Its former holder removed it between our opening and locking.
        os.close(file)


def _lock(file: int) -> None:
    # Imported here: Windows has no such module, and reading files needs no locks.
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False

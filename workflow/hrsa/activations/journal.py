"""The journal of an unfinished file: which of its rows are safe on disk, and that it has a writer.

A small text file beside it. The first line says what the unfinished file is (a digest), every
other one names rows whose bytes had been brought to disk before it was added:

    <CRC-32 of the rest> <digest>
    <CRC-32 of the rest> 0:128 512:640 …

A line that was torn, by a kill or a loss of power, does not fit its CRC; reading ends before it.
The journal is locked while it is open, which keeps a second writer away.
"""

import os
import zlib
from pathlib import Path

import numpy as np

from hrsa.activations.disk import is_full, write_all
from hrsa.activations.locking import open_locked
from hrsa.activations.rows import runs
from hrsa.errors import UserError

# Least time between two commits: bringing bytes to disk has a price, so has computing them anew.
SYNC_SECONDS = 5.0


class Journal:
    """An open, locked journal.

    Parameters
    ----------
    path
        The file that the journal is for; the journal is `<path>.journal`. Its folder is made.

    Raises
    ------
    UserError
        Someone else writes that file, or the folder cannot be written to.
    """

    def __init__(self, path: Path):
        self.path = Path(f"{path}.journal")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open_locked(self.path)
        except BlockingIOError:
            raise UserError(
                f"{path}: another process is writing this file (it holds the lock of "
                f"{self.path.name}). Nothing was changed. Wait until it has finished, or stop it "
                "and run again."
            ) from None
        except OSError as error:
            if is_full(error):
                raise
            raise UserError(
                f"{path}: nothing can be written in {path.parent} ({error.strerror}). Choose "
                "another folder, or change its permissions."
            ) from None
        self._end = 0

    def read(self, n_rows: int) -> tuple[str, np.ndarray]:
        """Read the digest of the first line ("" when there is none), and the committed rows.

        Parameters
        ----------
        n_rows
            Rows of the unfinished file.

        Returns
        -------
        str, bool array (n_rows)
        """
        committed = np.zeros(n_rows, dtype=bool)
        lines = _whole_lines(_content(self._file))
        for line in lines[1:]:
            for run in _payload(line).split():
                start, _, stop = run.partition(":")
                committed[int(start) : int(stop)] = True
        # What is appended takes the place of a torn line.
        self._end = sum(len(line) + 1 for line in lines)
        return _payload(lines[0]) if lines else "", committed

    def clear(self) -> None:
        """Make the journal vouch for nothing; to be done before its file is begun anew."""
        if os.fstat(self._file).st_size:
            os.ftruncate(self._file, 0)
            os.fsync(self._file)
        self._end = 0

    def start(self, digest: str) -> None:
        """Write the first line: what the unfinished file is."""
        self.clear()
        self._append(digest)

    def commit(self, rows: np.ndarray) -> None:
        """Add ascending row numbers, whose bytes are on disk in every layer."""
        self._append(" ".join(f"{rows[start]}:{rows[stop - 1] + 1}" for start, stop in runs(rows)))

    def remove(self) -> None:
        """Remove the journal and release its lock."""
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Release the lock; the journal stays."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _append(self, payload: str) -> None:
        text = payload.encode()
        line = b"%08x %s\n" % (zlib.crc32(text), text)
        write_all(self._file, line, self._end)
        os.fsync(self._file)
        self._end += len(line)


def _content(file: int) -> bytes:
    content = bytearray()
    while part := os.pread(file, 2**20, len(content)):
        content += part
    return bytes(content)


def _whole_lines(content: bytes) -> list[bytes]:
    lines: list[bytes] = []
    for line in content.split(b"\n")[:-1]:
        if line[:9] != b"%08x " % zlib.crc32(line[9:]):
            break
        lines.append(line)
    return lines


def _payload(line: bytes) -> str:
    return line[9:].decode()

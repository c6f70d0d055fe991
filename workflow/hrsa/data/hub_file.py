"""What the Hugging Face Hub states of a file, of a model's as of a data set's."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class HubFile:
    """Size and hash of a file.

    `size` is in bytes. Of the hashes one is known: `sha256` of a large file, `git_oid` (SHA-1 of
    "blob <size>", a zero byte and the content) of another.
    """

    size: int
    sha256: str | None = None
    git_oid: str | None = None

    def fits(self, path: Path) -> bool:
        """Tell whether a file on disk has this size and this hash."""
        if not path.is_file() or path.stat().st_size != self.size:
            return False
        if self.sha256 is not None:
            with path.open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest() == self.sha256
        if self.git_oid is not None:
            header = f"blob {self.size}\0".encode()
            with path.open("rb") as stream:
                digest = hashlib.file_digest(
                    stream, lambda: hashlib.sha1(header, usedforsecurity=False)
                )
            return digest.hexdigest() == self.git_oid
        return True

    def __str__(self) -> str:
        if self.sha256 is not None:
            return f"{self.size} bytes, sha256 {self.sha256}"
        return f"{self.size} bytes" + (f", git {self.git_oid}" if self.git_oid else "")

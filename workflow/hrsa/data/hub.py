"""Rows of a data set of the hub, by the `datasets` library.

The library keeps what it downloads in its own cache and heeds ``HF_HOME``, ``HF_ENDPOINT``,
``HF_TOKEN`` and ``HF_HUB_OFFLINE``; nothing of them is written anywhere here.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from hrsa.data.sources import class_names
from hrsa.data.table import Table, listed, place_ids
from hrsa.errors import UserError, did_you_mean

DEFAULT_SPLIT = "test"
SPLIT = "split"  # column with the split of each row
# Packages whose errors speak of the data, not of the connection.
QUOTED = ("builtins", "datasets", "json", "pandas", "pyarrow")


def read_hub(
    repository: str,
    *,
    name: str | None = None,
    revision: str | None = None,
    splits: str | Sequence[str] = DEFAULT_SPLIT,
) -> Table:
    """Read the rows of one or more splits.

    Parameters
    ----------
    repository : str
        ``owner/name``.
    name, revision : str, optional
        Configuration of the data set; branch, tag or commit.
    splits : str or sequence of str
        Splits, or parts of them as the library writes these (``train[:1000]``).

    Returns
    -------
    Table
        Classes by name; the column ``split`` holds the name of each row's split. A row's id is
        its split and its number in the whole split, whichever part or other splits are read.

    Raises
    ------
    UserError
        The repository, configuration, split or a column is missing, the repository is gated, the
        hub cannot be reached or serves something else than it states, or the download fails.
    """
    source = f"hub:{repository}"
    with _explained(repository, revision):
        builder = _open(repository, name, revision)
    specifications = [splits] if isinstance(splits, str) else list(splits)
    # known before the download if the repository says so, else after it
    _check_splits(specifications, builder.info.splits or builder.config.data_files, source)
    with _explained(repository, revision):
        from hrsa.data.checked_downloads import CheckedDownloads

        builder.download_and_prepare(dl_manager=CheckedDownloads(builder))
    sizes = {split: info.num_examples for split, info in (builder.info.splits or {}).items()}
    _check_splits(specifications, sizes, source)
    return _table(source, builder, _parts(specifications, sizes))


def _table(source: str, builder: Any, parts: Sequence[Any]) -> Table:
    """Lay parts of splits after each other."""
    import datasets

    ids: list[str] = []
    splits: list[str] = []
    pieces = []
    for part in parts:
        numbers = range(part.from_, part.to)
        pieces.append(builder.as_dataset(split=part.splitname).select(numbers))
        splits += [part.splitname] * len(numbers)
        ids += [f"{part.splitname}-{row}" for row in place_ids(len(numbers), part.from_)]
    together = datasets.concatenate_datasets(pieces)
    print(f"{source}: {len(ids)} rows at commit {builder.hash}", flush=True)

    def read(name: str, rows: np.ndarray) -> list[Any]:
        if name == SPLIT:
            return [splits[row] for row in rows]
        # the stored values: features such as images are not decoded, classes are numbers
        values = together.select_columns([name]).select(rows).to_dict()[name]
        names = getattr(together.features[name], "names", None)
        return values if names is None else class_names(values, names)

    names = [name for name in together.column_names if name != SPLIT]
    return Table(source, [*names, SPLIT], ids, read, np.arange(len(ids)))


def _address(repository: str) -> str:
    # never a folder of that name in the working directory
    return f"hf://datasets/{repository}"


def _open(repository: str, name: str | None, revision: str | None) -> Any:
    import datasets

    try:
        return datasets.load_dataset_builder(_address(repository), name, revision=revision)
    except ValueError:
        names = datasets.get_dataset_config_names(_address(repository), revision=revision)
        if name in names or (name is None and len(names) == 1):
            raise
        if name is None:
            raise UserError(
                f"The data set hub:{repository} has several configurations: {listed(names)}. Name "
                "one with `name:`."
            ) from None
        raise UserError(
            f"The data set hub:{repository} has no configuration {name!r}; it has "
            f"{listed(names)}. Correct `name:`.{did_you_mean(name, names)}"
        ) from None


def _check_splits(specifications: Sequence[str], known: Any, source: str) -> None:
    """Refuse a split that is not among the known ones; parts of splits count as their split."""
    known = [str(split) for split in known or []]
    if not known:
        return
    for specification in specifications:
        for split in (part.partition("[")[0].strip() for part in specification.split("+")):
            if split not in known:
                raise UserError(
                    f"The data set {source} has no split {split!r} (`data_split:`, which is "
                    f"{DEFAULT_SPLIT} when left out); it has {listed(known)}."
                    f"{did_you_mean(split, known)}"
                )


def _parts(specifications: Sequence[str], sizes: dict[str, int]) -> list[Any]:
    """Ranges of rows that the specifications of splits name."""
    import datasets

    try:
        return [
            part
            for specification in specifications
            for part in datasets.ReadInstruction.from_spec(specification).to_absolute(sizes)
        ]
    except (ValueError, AssertionError) as error:
        raise UserError(
            f"`data_split:` cannot be read: {error}. A split is written `train`, a part of it "
            "`train[:1000]` or `train[10%:20%]`."
        ) from None


@contextmanager
def _explained(repository: str, revision: str | None) -> Iterator[None]:
    """Say in a sentence why a data set cannot be had; the library raises many kinds of errors."""
    from datasets.exceptions import DatasetNotFoundError

    at = f"The data set hub:{repository}"
    try:
        yield
    except UserError:
        raise
    except DatasetNotFoundError as error:
        # one class for all of these; its text tells them apart
        said = str(error)
        if "gated" in said:
            what = (
                "is gated: accept its terms on its page of the hub, then set HF_TOKEN to a token "
                "of that account, or run `hf auth login`."
            )
        elif said.startswith("Revision"):
            what = f"has no revision {revision!r}. Correct `revision:`, a branch, tag or commit."
        else:
            what = (
                "does not exist, or is private. Correct `hub:` (owner/name); for a private one "
                "set HF_TOKEN."
            )
        raise UserError(f"{at} {what}") from None
    except ConnectionError as error:
        raise UserError(
            f"{at} is not in the cache of this machine, and the hub cannot be reached "
            f"({_cause(error)}). Check the network, HF_ENDPOINT and HF_HUB_OFFLINE, and run again."
        ) from None
    except Exception as error:
        raise UserError(
            f"{at} could not be had from the hub: {_cause(error)}. Check the network, the free "
            "disk space and `hub:`, `name:` and `revision:`, and run again: what has arrived is "
            "kept."
        ) from None


def _cause(error: BaseException) -> str:
    """Name the innermost cause: outer ones say no more than that something failed.

    Texts of the client that speaks to the hub are not repeated, since they may hold a signed
    address or what was sent as a token.
    """
    while error.__cause__ is not None:
        error = error.__cause__
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return f"it answered with HTTP status {status}"
    if isinstance(error, OSError) and error.strerror and not isinstance(error, ConnectionError):
        return error.strerror
    lines = str(error).strip().splitlines()
    if type(error).__module__.partition(".")[0] in QUOTED:
        return lines[0].rstrip(".") if lines else type(error).__name__
    return f"the connection failed ({type(error).__name__})"

"""Checks of the data sets from outside: settings that go together, and files that must exist.

They run before any job and read no more of a file than tells whether it has a row.
"""

from pathlib import Path
from typing import Any

from hrsa.errors import UserError
from hrsa_workflow.sources import source_path

DATASET_SUFFIXES = (".parquet", ".csv", ".jsonl", ".txt")
# A key that means nothing without one of some others.
NEEDED_BY = {
    "label_names": ("label",),
    "allocation": ("stratify",),
    "stratify": ("samples", "max_characters"),
}


def check_dataset(name: str, dataset: dict[str, Any]) -> None:
    """Check the settings of one data set from a file or the hub.

    Raises
    ------
    UserError
        The key, and what it lacks or contradicts.
    """
    for key, needed in NEEDED_BY.items():
        if key in dataset and not any(other in dataset for other in needed):
            others = " or ".join(f"`{other}`" for other in needed)
            raise UserError(
                f"`datasets.{name}.{key}` is given without {others}, so that it would change "
                "nothing. Add it, or remove the key."
            )
    if dataset.get("shards", 1) > dataset.get("samples", dataset.get("shards", 1)):
        raise UserError(
            f"`datasets.{name}.shards` is {dataset['shards']}, but `samples` leaves "
            f"{dataset['samples']} at most, and each shard needs one. Lower `shards`."
        )
    for column, condition in dataset.get("where", {}).items():
        if isinstance(condition, dict):
            low, high = condition.get("min"), condition.get("max")
            if low is not None and high is not None and low > high:
                raise UserError(
                    f"`datasets.{name}.where.{column}` has `min: {low}` above `max: {high}`, so "
                    "that no row can fulfil it. Exchange them."
                )
    if "text" in dataset:
        from hrsa.data.templates import parse_template

        try:
            parse_template(dataset["text"])
        except UserError as error:
            raise UserError(f"`datasets.{name}.text`: {error}") from None


def check_probe_labels(name: str, dataset: dict[str, Any]) -> None:
    """Check that a data set from outside names the labels that the probe is to read.

    Raises
    ------
    UserError
        It names no column of labels.
    """
    if "generator" not in dataset and "label" not in dataset:
        raise UserError(
            f"`metrics.probe.dataset` is `{name}`, but `datasets.{name}` names no `label`, the "
            "column of the classes that a probe learns. Add it, or name another data set."
        )


def check_dataset_path(key: str, text: str, root: Path) -> None:
    """Check that the file of a data set is there, of a known kind, and holds a row.

    Raises
    ------
    UserError
        The key and what is wrong with its file.
    """
    path = source_path(text, root, key=key)
    if path.suffix not in DATASET_SUFFIXES:
        raise UserError(
            f"`{key}` is `{text}`; allowed are files that end in {', '.join(DATASET_SUFFIXES)}."
        )
    if not path.is_file():
        raise UserError(f"`{key}` is `{text}`, but there is no such file. Correct the path.")
    if _is_empty(path, key, text):
        raise UserError(
            f"`{key}` is `{text}`, a data set without a single text. Give a file with at least one."
        )


def _is_empty(path: Path, key: str, text: str) -> bool:
    if path.suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet as parquet

        try:
            return parquet.read_metadata(path).num_rows == 0
        except (pyarrow.ArrowException, OSError) as error:
            raise UserError(
                f"`{key}` is `{text}`, which cannot be read as Parquet: {error}. Write or download "
                "the file again."
            ) from None
    # Bytes: whether they are UTF-8 is said, with the line, by the job that reads all of them.
    with path.open("rb") as stream:
        lines = (line for line in stream if line.strip() not in (b"", b"[]", b"{}"))
        if path.suffix == ".csv":
            next(lines, None)
        return next(lines, None) is None

"""Rows of a file: JSONL, CSV, Parquet or plain text, with errors that say where in the file.

Cells keep the type that the file gives them and no other: a CSV holds texts alone (``NA`` and
``007`` stay what they are), JSONL and Parquet hold numbers, lists and mappings as well.
"""

import codecs
import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from hrsa.data.table import Table, describe, place_ids
from hrsa.errors import UserError

# Above what the csv module allows (128 KiB), as one trace of reasoning may be longer.
LONGEST_CELL = 2**31 - 1


def read_file(path: Path) -> Table:
    """Read the rows of a file.

    Parameters
    ----------
    path : Path
        A file whose name ends in one of `READERS`.

    Returns
    -------
    Table
        A row's id is its number from 0: of the line in a text file, blank ones counted; of the
        record in the others. It stays whatever is filtered, shuffled or capped later.

    Raises
    ------
    UserError
        No such file, an unknown kind, no row, invalid UTF-8, or a line that is no record.
    """
    if not path.is_file():
        raise UserError(f"There is no data file {path}. Correct the data set's `path:`.")
    if path.suffix not in READERS:
        raise UserError(
            f"The data file {path} ends in {path.suffix!r}; readable are {', '.join(READERS)}. "
            "Convert it, or rename it if only its ending is wrong."
        )
    table = READERS[path.suffix](path)
    if not len(table.ids):
        raise UserError(
            f"The data set from {path} holds no text: the file has no row. Give one with at least "
            "one sample."
        )
    return table


def class_names(values: list[Any], names: Sequence[str]) -> list[Any]:
    """Names of classes in place of their numbers; -1 stands for a sample without a class."""
    return [
        names[value] if isinstance(value, int) and 0 <= value < len(names) else None
        for value in values
    ]


def read_utf8(path: Path) -> str:
    """Read a text file as UTF-8; a byte order mark is no part of the text.

    Raises
    ------
    UserError
        Bytes that are not UTF-8: the line and byte, and how to convert the file.
    """
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        marked = len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0
        at = error.start + marked
        line = data.count(b"\n", 0, at) + 1
        utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        encoding = "UTF-16" if utf16 else "WINDOWS-1252"
        raise UserError(
            f"The data file {path} is not UTF-8: line {line} holds the byte 0x{data[at]:02x} (byte "
            f"{at} of the file, from 0). Convert the file from what it was written in, for example "
            f"`iconv -f {encoding} -t UTF-8 {path.name} > utf8-{path.name}`, or mend the line."
        ) from None


def _read_text(path: Path) -> Table:
    """One sample a line; only a line feed ends a line, since texts may hold other separators."""
    lines = read_utf8(path).split("\n")
    if lines[-1] == "":  # after the last line feed
        lines.pop()
    return Table.from_columns(str(path), {"text": [line.removesuffix("\r") for line in lines]})


def _read_jsonl(path: Path) -> Table:
    records = []
    for number, line in enumerate(read_utf8(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise UserError(
                f"The data file {path} cannot be read as .jsonl: line {number} is no JSON "
                f'({error}). Each line holds one record, as in {{"text": "…"}}.'
            ) from None
        if not isinstance(record, dict):
            raise UserError(
                f"The data file {path} cannot be read as .jsonl: line {number} holds "
                f"{describe(record)}, which has no named columns. Each line holds one record, as "
                'in {"text": "…"}.'
            )
        records.append(record)
    # in the order of their first appearance; a record may leave columns out
    names = list(dict.fromkeys(name for record in records for name in record))
    columns = {name: [record.get(name) for record in records] for name in names}
    return Table.from_columns(str(path), columns)


def _read_csv(path: Path) -> Table:
    csv.field_size_limit(LONGEST_CELL)
    # strict: a quote that is never closed would take in the rest of the file
    reader = csv.reader(io.StringIO(read_utf8(path), newline=""), strict=True)
    try:
        header = next((row for row in reader if row), [])
        if twice := [name for name in header if header.count(name) > 1]:
            raise UserError(
                f"The data file {path} has more than one column named {twice[0]!r}. Rename the "
                "others."
            )
        rows = []
        for row in reader:
            if row and len(row) != len(header):
                raise UserError(
                    f"The data file {path} cannot be read as .csv: the row that ends in line "
                    f"{reader.line_num} has {len(row)} fields, the header {len(header)}. Text with "
                    "a comma or line break stands in quotes."
                )
            if row:
                rows.append(row)
    except csv.Error as error:
        raise UserError(
            f"The data file {path} cannot be read as .csv: line {reader.line_num}: {error}. Text "
            "with a comma, quote or line break stands in quotes, and quotes in it are doubled."
        ) from None
    columns = {name: [row[at] for row in rows] for at, name in enumerate(header)}
    return Table.from_columns(str(path), columns)


def _read_parquet(path: Path) -> Table:
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    with _readable_parquet(path):
        file = parquet.ParquetFile(path)
    n_rows = file.metadata.num_rows
    classes = _class_columns(file.schema_arrow.metadata)

    def read(name: str, rows: np.ndarray) -> list[Any]:
        wanted = np.zeros(n_rows, dtype=bool)
        wanted[rows] = True
        with _readable_parquet(path):
            column = file.read(columns=[name]).column(name)
            values = column.filter(arrow.array(wanted)).to_pylist()
        return class_names(values, classes[name]) if name in classes else values

    names = file.schema_arrow.names
    return Table(str(path), names, place_ids(n_rows), read, np.arange(n_rows))


@contextmanager
def _readable_parquet(path: Path) -> Iterator[None]:
    import pyarrow as arrow

    try:
        yield
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"The data file {path} cannot be read as .parquet: {error}. It may be cut short or of "
            "another kind: write or download it again."
        ) from error


def _class_columns(metadata: dict[bytes, bytes] | None) -> dict[str, list[str]]:
    """Columns of class numbers and their names, as the `datasets` library notes them in a file."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return {
            name: feature["names"]
            for name, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (KeyError, ValueError, TypeError):  # not written by that library
        return {}


READERS: dict[str, Callable[[Path], Table]] = {
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".txt": _read_text,
}

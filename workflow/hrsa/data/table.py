"""The rows of a source as they were read, and the fields of them that settings name."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hrsa.errors import UserError, did_you_mean

# `column`, then any number of `[entry]`
FIELD = re.compile(r"([^\[\]]*)((?:\[[^\[\]]+\])*)")
LISTED = 12


# Values of a column, by its name, in the rows of these numbers.
Read = Callable[[str, np.ndarray], list[Any]]


@dataclass(frozen=True)
class Table:
    """Rows of a source, each with an id by its place there, whatever is taken of them later.

    Columns are read when they are asked for: of a large source no more than the settings name,
    and texts only of the rows that a filter left.

    Parameters
    ----------
    source : str
        What the rows come from, for errors: a file, or ``hub:owner/name``.
    names : sequence of str
        Columns that there are.
    ids : sequence of str
        An id by the place of each row (n).
    read : callable
        Reads a column: plain Python values, None where there is none.
    rows : ndarray of int
        Numbers of the rows in the source, as `read` takes them (n).
    """

    source: str
    names: Sequence[str]
    ids: Sequence[str]
    read: Read
    rows: np.ndarray

    @classmethod
    def from_columns(cls, source: str, columns: dict[str, list[Any]]) -> "Table":
        """Make a table of columns that are in memory (each n values)."""
        n_rows = len(next(iter(columns.values()), []))

        def read(name: str, rows: np.ndarray) -> list[Any]:
            column = columns[name]
            return [column[row] for row in rows]

        return cls(source, list(columns), place_ids(n_rows), read, np.arange(n_rows))

    def take(self, keep: np.ndarray) -> "Table":
        """Keep some of the rows (n truth values); their ids stay what they are."""
        ids = [one for one, kept in zip(self.ids, keep, strict=True) if kept]
        return replace(self, ids=ids, rows=self.rows[keep])

    def values(self, field: str, key: str) -> list[Any]:
        """Values of a field in every row (n), None where a row has none.

        Parameters
        ----------
        field : str
            A column, or an entry of a nested one: ``answers[text]``, ``solutions[0]``,
            ``messages[-1][content]``; ``messages[content]`` is the content of every message.
        key : str
            The setting that names the field, for the error.

        Raises
        ------
        UserError
            There is no such column, or no row has the entry.
        """
        column, entries = resolve(field, self.names, key, self.source)
        values = cells = self.read(column, self.rows)
        for entry in entries:
            values = [_entry(value, entry) for value in values]
        there = [cell for cell in cells if cell is not None]
        if entries and there and all(value is None for value in values):
            raise UserError(
                f"No row of {self.source} has the entry {field!r} (asked for by `{key}:`); the "
                f"column {column!r} holds {describe(there[0])}."
                f"{did_you_mean(entries[-1], _keys(there[0]))}"
            )
        return values


def place_ids(n_rows: int, start: int = 0) -> list[str]:
    """Ids by the place of rows, with zeros before so that they sort as numbers do."""
    return [f"{row:06d}" for row in range(start, start + n_rows)]


def resolve(
    field: str, available: Sequence[str], key: str, source: str
) -> tuple[str, tuple[str, ...]]:
    """Find the column of a field and the entries that lead into it.

    Raises
    ------
    UserError
        There is no such column; those that there are, and the nearest name.
    """
    if field in available:
        return field, ()
    match = FIELD.fullmatch(field)
    column, inside = match.groups() if match else (field, "")
    if column not in available:
        raise missing_column(field, key, available, source)
    return column, tuple(re.findall(r"\[([^\[\]]+)\]", inside))


def missing_column(field: str, key: str, available: Sequence[str], source: str) -> UserError:
    """Give the error for a column that the setting `key` names and the source lacks."""
    column, dot, entry = field.partition(".")
    if dot and column in available:
        hint = f" An entry of a nested column is written `{column}[{entry}]`."
    else:
        hint = did_you_mean(field, available)
    default = f" (which is {field!r} when left out)" if (key, field) == ("text", "text") else ""
    return UserError(
        f"The data set from {source} has no column {field!r} (asked for by `{key}:`{default}); it "
        f"has {listed(available)}.{hint}"
    )


def listed(names: Iterable[Any]) -> str:
    """Write names after each other, the first dozen of many."""
    texts = [str(name) for name in names]
    more = len(texts) - LISTED
    return ", ".join(texts[:LISTED]) + (f" and {more} more" if more > 0 else "")


def describe(value: Any) -> str:
    """Say what kind of value this is: ``a list of 3``, ``keys role, content``, ``the number 4``."""
    if isinstance(value, dict):
        return f"the keys {listed(value)}"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}" + (f" (first {describe(value[0])})" if value else "")
    if isinstance(value, bool):
        return f"the truth value {value}"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the text {value if len(value) <= 40 else value[:39] + '…'!r}"
    return f"a value of type {type(value).__name__}"


def is_missing(value: Any) -> bool:
    """Say whether a cell holds nothing: None or NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def as_text(value: Any, key: str, source: str, row: str) -> str | None:
    """Write a single value as text: a name, an id, a class.

    A whole number is written without a decimal point whatever type the file gave it (a column of
    whole numbers with a gap is often stored as floats). None for a missing or blank value.

    Raises
    ------
    UserError
        The value is a list, a mapping or bytes, or no valid Unicode.
    """
    if is_missing(value):
        return None
    if isinstance(value, list | tuple | dict | bytes):
        raise UserError(
            f"`{key}:` must name single values, but row {row} of {source} holds "
            f"{describe(value)}. Name an entry of it, as in `column[0]` or `column[name]`."
        )
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value)
    check_unicode(text, source, row)
    return text if text.strip() else None


def check_unicode(text: str, source: str, row: str) -> None:
    r"""Refuse half a surrogate pair, which JSON can spell (``"\ud83d"``) and no file can hold."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"Row {row} of {source} holds half of a surrogate pair at character {error.start} "
            f"({text[error.start]!r}), which is no character: the text was cut in the middle of "
            "one. Mend or remove the row."
        ) from None


def _keys(value: Any) -> Iterable[str]:
    """Names of the entries of a nested value, or of each item of a list of them."""
    if isinstance(value, list | tuple) and value:
        value = value[0]
    return value if isinstance(value, dict) else ()


def _entry(value: Any, entry: str) -> Any:
    if isinstance(value, dict):
        return value.get(entry)
    if isinstance(value, list | tuple):
        if re.fullmatch(r"-?\d+", entry):
            place = int(entry)
            return value[place] if -len(value) <= place < len(value) else None
        inner = [_entry(item, entry) for item in value]
        return None if all(item is None for item in inner) else inner
    return None

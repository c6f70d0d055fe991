"""Texts of samples from the columns of a source: a column, or a template of several.

A template is written as Python's format strings are: ``"{question}\\n{options:lettered}"``.
"""

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hrsa.data.table import Table, check_unicode, describe, is_missing
from hrsa.errors import UserError, did_you_mean

DEFAULT_STYLE = "lines"


@dataclass(frozen=True)
class Part:
    """Literal text, and the field that follows it (none at the end)."""

    literal: str
    field: str | None = None
    style: str = ""


def parse_template(text: str) -> list[Part]:
    """Read a template, or the name of a column.

    Parameters
    ----------
    text : str
        A column's name if it holds no brace; else a template. A field is ``{column}``,
        ``{column[entry]}``, or one of these with ``:`` and how to write it: a style of
        `LIST_STYLES` for lists, a format such as ``.2f`` for numbers. ``{{`` and ``}}`` are braces.

    Raises
    ------
    UserError
        A brace without its other half, a field without a name, or a conversion (``!r``).
    """
    if not is_template(text):
        return [Part("", text)]
    try:
        parsed = list(string.Formatter().parse(text))
    except ValueError as error:
        raise UserError(
            f"The template `text: {text!r}` cannot be read: {error}. A field is a column's name in "
            "braces; braces that are part of the text are doubled, {{ and }}."
        ) from None
    for _, field, _, conversion in parsed:
        if field is not None and not field.strip():
            raise UserError(
                f"The template `text: {text!r}` has a field without a name. Write a column's name "
                "into the braces, or double them, {{}}, if they are part of the text."
            )
        if conversion:
            raise UserError(
                f"The template `text: {text!r}` has the conversion `!{conversion}`, which is not "
                f"known here. Write {{{field}}}, or {{{field}:…}} with a style of lists "
                f"({', '.join(LIST_STYLES)}) or a format of numbers."
            )
    return [Part(literal, field, style or "") for literal, field, style, _ in parsed]


def is_template(text: str) -> bool:
    """Say whether this is a template rather than a column's name."""
    return "{" in text or "}" in text


def template_fields(text: str) -> list[str]:
    """Name the fields of a template, or the column itself."""
    return [part.field for part in parse_template(text) if part.field is not None]


def render(text: str, table: Table) -> list[str | None]:
    """Write the text of every row (n).

    Parameters
    ----------
    text : str
        A template or a column, as for `parse_template`.
    table : Table
        The rows.

    Returns
    -------
    list of str or None
        None where a field of the row is missing: a text with a hole, or with the word "None" in
        it, is not the text that was asked for.

    Raises
    ------
    UserError
        No such column; a column named without a template that holds anything but text; a value
        that the style or format cannot write.
    """
    parts = parse_template(text)
    columns = [table.values(part.field, "text") for part in parts if part.field is not None]
    if not is_template(text):
        texts = [_own_text(value, text, table, row) for row, value in enumerate(columns[0])]
    else:
        texts = [_fill(parts, row, columns, table) for row in range(len(table.ids))]
    for row, one in zip(table.ids, texts, strict=True):
        if one is not None:
            check_unicode(one, table.source, row)
    return texts


def _own_text(value: Any, field: str, table: Table, row: int) -> str | None:
    """Take the text of a column; numbers in it are more often a wrong column than texts."""
    if is_missing(value):
        return None
    if not isinstance(value, str):
        style = ":lines" if isinstance(value, list) else ""
        raise UserError(
            f"`text: {field}` is to hold texts, but row {table.ids[row]} of {table.source} holds "
            f"{describe(value)}. Name another column, or write the template "
            f'`text: "{{{field}{style}}}"` if this is to be written as text.'
        )
    return value


def _fill(parts: list[Part], row: int, columns: Sequence[list[Any]], table: Table) -> str | None:
    written = []
    values = iter(columns)
    for part in parts:
        written.append(part.literal)
        if part.field is None:
            continue
        text = _write(next(values)[row], part, table, row)
        if text is None:
            return None
        written.append(text)
    return "".join(written)


def _write(value: Any, part: Part, table: Table, row: int) -> str | None:
    """Write one field of one row, None if it is missing."""
    where = f"row {table.ids[row]} of {table.source}"
    if is_missing(value):
        return None
    if isinstance(value, list | tuple):
        return _write_list(value, part, where)
    if isinstance(value, dict):
        raise UserError(
            f"The field {{{part.field}}} of `text:` holds {describe(value)} in {where}; a template "
            f"writes single values and lists of them. Name one, as in "
            f"{{{part.field}[{next(iter(value), 'name')}]}}."
        )
    if isinstance(value, bytes):
        raise UserError(
            f"The field {{{part.field}}} of `text:` holds bytes in {where}, which are no text. "
            "Name another column."
        )
    if part.style in LIST_STYLES:
        raise UserError(
            f"The field {{{part.field}:{part.style}}} of `text:` is written as a list, but {where} "
            f"holds {describe(value)}. Leave out `:{part.style}`; if this is a list that a CSV "
            "file holds as text, give the data as JSONL or Parquet, which have lists."
        )
    try:
        return format(value, part.style)
    except (ValueError, TypeError):
        raise UserError(
            f"The field {{{part.field}:{part.style}}} of `text:` holds {describe(value)} in "
            f"{where}, which the format `{part.style}` cannot write. Leave it out, or name a style "
            f"of lists ({', '.join(LIST_STYLES)}).{did_you_mean(part.style, LIST_STYLES)}"
        ) from None


def _write_list(items: Sequence[Any], part: Part, where: str) -> str | None:
    style = part.style or DEFAULT_STYLE
    if style not in LIST_STYLES:
        raise UserError(
            f"The field {{{part.field}:{style}}} of `text:` holds a list in {where}; a list is "
            f"written as one of {', '.join(LIST_STYLES)}.{did_you_mean(style, LIST_STYLES)}"
        )
    if any(is_missing(item) for item in items):
        return None
    if nested := [item for item in items if isinstance(item, list | tuple | dict | bytes)]:
        raise UserError(
            f"The field {{{part.field}}} of `text:` holds a list in {where} whose items are no "
            f"single values: one holds {describe(nested[0])}. Name an entry, as in "
            f"{{{part.field}[0]}} or {{{part.field}[name]}}, which takes it from every item."
        )
    if style == "lettered" and len(items) > len(string.ascii_uppercase):
        raise UserError(
            f"The field {{{part.field}:lettered}} of `text:` holds {len(items)} items in {where}, "
            "more than there are letters. Use `numbered`."
        )
    return LIST_STYLES[style]([str(item) for item in items])


def _lettered(items: list[str]) -> str:
    pairs = zip(string.ascii_uppercase, items, strict=False)
    return "\n".join(f"{letter}. {item}" for letter, item in pairs)


def _numbered(items: list[str]) -> str:
    return "\n".join(f"{number}. {item}" for number, item in enumerate(items, start=1))


# How `{field:style}` writes a list; without a style each item has a line of its own.
LIST_STYLES: dict[str, Callable[[list[str]], str]] = {
    "lines": "\n".join,
    "paragraphs": "\n\n".join,
    "words": " ".join,
    "commas": ", ".join,
    "lettered": _lettered,
    "numbered": _numbered,
}

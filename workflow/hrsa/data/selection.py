"""Which samples of a source are taken: filters, strata, caps, and the order they come in.

Whether a sample is taken, and where in the order, hangs on the seed and on its id alone: each
sample has a place in a line by a hash of the two, and the first of the line are taken. A random
permutation would give every sample another place when one row is added or filtered away. So the
same seed and source give the same samples on every machine, a larger sample contains the smaller
one, and a filter takes away what it names and moves nothing else.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hrsa.data.table import Table, as_text, is_missing, listed
from hrsa.errors import UserError, did_you_mean

ALLOCATIONS = ("equal", "proportional")


def fulfilling(table: Table, where: Mapping[str, Any]) -> np.ndarray:
    """Rows that fulfil every condition.

    Parameters
    ----------
    table : Table
        n rows.
    where : mapping
        Field -> a value, a list of allowed values, or a mapping with `min`, `max` (bounds, both
        included) and `not` (a value or list that is left out). A number matches the same number
        however it is written (4, 4.0, "4"), a text matches exactly. Of a list any item may match;
        a missing value fulfils nothing.

    Returns
    -------
    ndarray of bool
        n.

    Raises
    ------
    UserError
        No such column, a named value that no row has, bounds for values that are no numbers, or
        conditions that no row fulfils.
    """
    keep = np.ones(len(table.ids), dtype=bool)
    for field, condition in where.items():
        cells = table.values(field, "where")
        before = int(keep.sum())
        keep &= _fulfils(cells, condition, field, table)
        if not keep.any():
            raise UserError(
                f"`where: {field}` leaves none of {before} rows of {table.source}. "
                f"{_seen(field, cells)} Widen the condition."
            )
    return keep


def _fulfils(cells: list[Any], condition: Any, field: str, table: Table) -> np.ndarray:
    if not isinstance(condition, Mapping):
        return _any_of(cells, condition, field, table)
    keep = np.array([not is_missing(cell) for cell in cells], dtype=bool)
    if "not" in condition:
        keep &= ~_any_of(cells, condition["not"], field, table)
    if "min" in condition or "max" in condition:
        low, high = condition.get("min", -np.inf), condition.get("max", np.inf)
        numbers = [[_number(item) for item in _items(cell)] for cell in cells]
        if all(number is None for row in numbers for number in row):
            raise UserError(
                f"`where: {field}` gives bounds, but no row of {table.source} has a number there. "
                f"{_seen(field, cells)} Name values instead."
            )
        keep &= np.array([any(n is not None and low <= n <= high for n in row) for row in numbers])
    return keep


def _any_of(cells: list[Any], wanted: Any, field: str, table: Table) -> np.ndarray:
    """Cells that hold one of the wanted values; each of these must occur, or it is a slip."""
    keep = np.zeros(len(cells), dtype=bool)
    for value in wanted if isinstance(wanted, list) else [wanted]:
        found = np.array([any(_same(i, value) for i in _items(cell)) for cell in cells], dtype=bool)
        if not found.any():
            raise UserError(
                f"`where: {field}` names {value!r}, which no row of {table.source} has. "
                f"{_seen(field, cells)}{did_you_mean(str(value), _distinct(cells))}"
            )
        keep |= found
    return keep


def _items(cell: Any) -> Sequence[Any]:
    return cell if isinstance(cell, list | tuple) else [cell]


def _same(cell: Any, wanted: Any) -> bool:
    if isinstance(cell, bool) or isinstance(wanted, bool):  # else true would equal 1
        return str(cell).lower() == str(wanted).lower()
    if isinstance(wanted, int | float):
        return _number(cell) == wanted
    return not is_missing(cell) and str(cell) == str(wanted)


def _number(cell: Any) -> float | int | None:
    """Read a number, or a text that is one; a truth value is none."""
    if isinstance(cell, bool) or not isinstance(cell, int | float | str):
        return None
    try:
        number = cell if isinstance(cell, int) else float(cell)
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def _distinct(cells: list[Any]) -> list[str]:
    found = {str(item): item for cell in cells for item in _items(cell) if not is_missing(item)}
    numbers = {text: _number(item) for text, item in found.items()}
    return sorted(found, key=lambda text: (numbers[text] is None, numbers[text] or 0, text))


def _seen(field: str, cells: list[Any]) -> str:
    values = _distinct(cells)
    return f"Values of {field} there: {listed(values) or 'none'}."


def priorities(ids: Sequence[str], seed: int) -> np.ndarray:
    """Place of each sample in the line: a hash of the seed and its id, as uint64 (n)."""
    key = str(seed).encode()
    digests = [hashlib.blake2b(one.encode(), digest_size=8, key=key).digest() for one in ids]
    return np.frombuffer(b"".join(digests), dtype="<u8")


def draw_order(
    line: np.ndarray, strata: Sequence[Any] | None = None, allocation: str = "equal"
) -> np.ndarray:
    """Order in which samples are drawn: any first part of it is balanced over the strata.

    Parameters
    ----------
    line : ndarray of uint64
        Places in the line, of `priorities` (n).
    strata : sequence, optional
        Stratum of each sample (n); one stratum when left out.
    allocation : {"equal", "proportional"}
        Equally many of each stratum, as long as it has some; or as many as its share. The r-th of
        a stratum's n_s samples (from 0) is drawn at r, or at (r + 1/2) / n_s, which is Webster's
        method of apportionment.

    Returns
    -------
    ndarray of int
        Numbers of the samples, the first to be drawn first (n).
    """
    if strata is None:
        return np.argsort(line, kind="stable")
    _, codes = np.unique(np.asarray(strata, dtype=object).astype(str), return_inverse=True)
    sizes = np.bincount(codes)
    by_stratum = np.lexsort((line, codes))
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    rank = np.empty(len(line), dtype=np.int64)
    rank[by_stratum] = np.arange(len(line)) - first[codes[by_stratum]]
    turn = rank if allocation == "equal" else (rank + 0.5) / sizes[codes]
    return np.lexsort((line, turn))


def capped(order: np.ndarray, lengths: np.ndarray, max_characters: int | None) -> np.ndarray:
    """First part of an order whose texts are together no longer than a number of characters.

    It ends before the first text that no longer fits; later ones that would are not taken in its
    stead, so that the samples under a smaller cap are among those under a larger one, and short
    texts are not preferred.
    """
    if max_characters is None:
        return order
    total = np.cumsum(lengths[order])
    return order[: np.searchsorted(total, max_characters, side="right")]


def stratum_labels(table: Table, fields: Sequence[str]) -> list[str | None]:
    """Name the stratum of every row (n), None where a field is missing."""
    columns = [
        [
            as_text(value, "stratify", table.source, row)
            for row, value in zip(table.ids, table.values(field, "stratify"), strict=True)
        ]
        for field in fields
    ]
    return [
        None if any(value is None for value in row) else "\0".join(map(str, row))
        for row in zip(*columns, strict=True)
    ]

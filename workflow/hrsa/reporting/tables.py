"""Tidy tables: gathered from the parts that jobs wrote, typed, sorted, written reproducibly."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from hrsa.errors import UserError

INTEGER_COLUMNS = {
    "seed", "step", "k", "layer_reference", "layer_candidate", "n", "n_items", "n_tokens",
    "n_samples", "train_tokens",
}  # fmt: skip
NUMBER_COLUMNS = {
    "value", "se", "ci_low", "ci_high", "chance", "p", "p_holm", "floor", "accuracy", "delta",
    "ci90_low", "ci90_high", "ci95_low", "ci95_high", "p_tost", "margin", "loss", "reward",
    "relative_weight_change", "kl_to_parent",
}  # fmt: skip


def collect(paths: Iterable[Path], columns: Sequence[str]) -> pd.DataFrame:
    """Gather Parquet files into one table, in an order that does not depend on theirs.

    Parameters
    ----------
    paths : iterable of Path
        Parts of the table; each has all of `columns`, and may have more, which are dropped.
    columns : sequence of str
        Columns of the table, in order; also what rows are sorted by.

    Returns
    -------
    DataFrame
        Columns have the same types whatever the parts: integers that may be missing (`seed`,
        `step`, `k`, layers, counts), floats, texts. Without parts the table is empty.

    Raises
    ------
    UserError
        If a part cannot be read or lacks a column.
    """
    parts = [_read(Path(path), columns) for path in sorted(map(str, paths))]
    filled = [part for part in parts if len(part)]
    if not filled:
        return typed(pd.DataFrame(columns=list(columns)))
    frame = pd.concat(filled, ignore_index=True)
    return frame.sort_values(list(columns), kind="stable", ignore_index=True)


def typed(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose columns have the type that their name calls for.

    Columns with other names are numbers where all their values are, and texts otherwise.
    """
    return frame.assign(**{str(name): _typed_column(frame[name]) for name in frame.columns})


def write_table(table: pd.DataFrame, csv_path: Path) -> None:
    """Write a table as CSV for people and, beside it, as Parquet for jobs.

    Parameters
    ----------
    table : DataFrame
    csv_path : Path
        Ends in `.csv`; six significant digits, nothing for a missing value. The Parquet file has
        the same name with `.parquet` and all digits.
    """
    csv_path = Path(csv_path)
    csv_path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(csv_path, index=False, float_format="%.6g", na_rep="", lineterminator="\n")
    table.to_parquet(csv_path.with_suffix(".parquet"), index=False)


def _read(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    try:
        part = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: this part of a table cannot be read ({error}). Delete it and run again."
        ) from error
    missing = [name for name in columns if name not in part.columns]
    if missing:
        raise UserError(
            f"{path}: this part of a table lacks the column(s) {', '.join(missing)}; it has "
            f"{', '.join(map(str, part.columns))}. Delete it and run again."
        )
    return typed(part[list(columns)])


def _typed_column(column: pd.Series) -> pd.Series:
    if column.name in INTEGER_COLUMNS:
        return pd.to_numeric(column).astype("Int64")
    if column.name in NUMBER_COLUMNS:
        numbers = pd.to_numeric(column).astype("Float64")
        return pd.Series(numbers.to_numpy("float64", na_value=float("nan")), column.index)
    if pd.api.types.is_numeric_dtype(column):
        return column
    return column.astype("object").where(column.notna(), None).astype("str")

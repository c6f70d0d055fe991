"""Data sets on which activations are extracted: generated, from a file, or from the hub.

Every one becomes a table with the columns id, text, label (may be empty) and split.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hrsa.data.generators import GENERATORS
from hrsa.data.hub import DEFAULT_SPLIT, read_hub
from hrsa.data.selection import (
    capped,
    draw_order,
    fulfilling,
    priorities,
    stratum_labels,
)
from hrsa.data.sources import read_file
from hrsa.data.table import Table, as_text, listed
from hrsa.data.templates import render
from hrsa.errors import UserError

COLUMNS = ["id", "text", "label", "split"]


def load_dataset(settings: dict, *, corpus: Path | None, seed: int) -> pd.DataFrame:
    """Read the texts of one data set.

    Parameters
    ----------
    settings : dict
        One of `generator` (a name in `GENERATORS`; texts of `corpus`), `path` (JSONL, CSV, Parquet
        or plain text, one sample a line) or `hub` (a repository, with `name`, `revision` and
        `data_split`). Of the last two: `text` is a column or a template such as
        ``"{question}\\n{options:lettered}"``; `id`, `label` and `split` name columns,
        `label_names` the classes behind numbers; `where` filters; `samples`, `max_characters`,
        `stratify`, `allocation`, `shuffle` and `seed` choose samples. docs/datasets.md has more.
    corpus : Path, optional
        Folder of the generated corpus.
    seed : int
        Fixes which samples are drawn and the order of a shuffle, unless `settings` has its own.

    Returns
    -------
    DataFrame
        Columns id (unique), text, label (None where a sample has none), split; in the source's
        order unless shuffled. What was left out is printed.

    Raises
    ------
    UserError
        A missing file, repository or column, an unknown kind of file, bytes that are not UTF-8, no
        text at all, texts that are no texts, repeated ids, a condition that nothing fulfils.
    """
    if "generator" in settings:
        assert corpus is not None, "a generated data set needs the corpus folder"
        return generated(settings, corpus, seed)
    settings = {"text": "text", **settings}
    table = read_table(settings)
    frame = drawn(sample_frame(table, settings), table.source, settings, seed)
    return frame[COLUMNS].reset_index(drop=True)


def generated(settings: dict, corpus: Path, seed: int) -> pd.DataFrame:
    """A test split of the generated corpus, whose texts no model was trained on."""
    name = settings["generator"]
    frame = pd.read_parquet(corpus / f"{GENERATORS[name]}.parquet")
    if name in ("problems", "arithmetic"):
        frame["text"] = frame["question"] + " " + frame["solution"]
        frame["label"] = frame["operation"]
    # a topic's splits are the probe's own: no model is trained on any of them
    split = settings.get("split", None if name == "topics" else "test")
    there = frame["split"].unique()
    if split is not None:
        frame = frame[frame["split"] == split]
    if frame.empty:
        raise UserError(
            f"The data set from the generator {name} holds no text of the split {split!r}; it has "
            f"{listed(there)}. Correct `split:`."
        )
    samples = settings.get("samples")
    if samples is not None and len(frame) > samples:
        # not by hash as below: the default study's numbers were measured on these samples
        frame = frame.sample(samples, random_state=seed).sort_index()
    return frame[COLUMNS].reset_index(drop=True)


def read_table(settings: Mapping[str, Any]) -> Table:
    """Open the file or the data set of the hub that the settings name."""
    if "path" in settings:
        return read_file(Path(settings["path"]))
    return read_hub(
        settings["hub"],
        name=settings.get("name"),
        revision=settings.get("revision"),
        splits=settings.get("data_split", DEFAULT_SPLIT),
    )


def sample_frame(table: Table, settings: Mapping[str, Any]) -> pd.DataFrame:
    """Columns id, text, label, split and stratum of the rows that can be samples.

    Rows that `where` excludes are gone, and rows without a text or a stratum are left out.

    Raises
    ------
    UserError
        No text is left, or ids are missing or not unique.
    """
    if "where" in settings:
        n_rows = len(table.ids)
        table = table.take(fulfilling(table, settings["where"]))
        print(f"{table.source}: {len(table.ids)} of {n_rows} rows fulfil `where`", flush=True)
    strata = _strata(settings)
    frame = pd.DataFrame(
        {
            "id": _single_values("id", table, settings) if "id" in settings else list(table.ids),
            "text": render(settings["text"], table),
            "label": _labels(table, settings),
            "split": _splits(table, settings),
            "stratum": stratum_labels(table, strata) if strata else "",
            "row": list(table.ids),
        },
        dtype=object,
    )
    _check_ids(frame, table.source)
    blank = frame["text"].fillna("").str.strip() == ""
    frame = _leave_out(frame, blank, "a text (blank, or a field of it is missing)")
    if frame.empty:
        raise UserError(
            f"The data set from {table.source} holds no text: every row is blank in "
            f"`text: {settings['text']}` or lacks a field of it. Check the column or template"
            f"{' and `where:`' if 'where' in settings else ''}."
        )
    frame = _leave_out(frame, frame["stratum"].isna(), "a value to stratify by")
    if frame.empty:
        raise UserError(
            f"No row of {table.source} has a value of {listed(strata)} to stratify by. Correct "
            "`stratify:`."
        )
    return frame


def drawn(frame: pd.DataFrame, source: str, settings: Mapping[str, Any], seed: int) -> pd.DataFrame:
    """Take the samples that the caps allow, drawn by seed and id; see `hrsa.data.selection`.

    Raises
    ------
    UserError
        The first text is longer than all characters that are allowed.
    """
    line = priorities(frame["id"].tolist(), settings.get("seed", seed))
    order = draw_order(line, frame["stratum"].tolist(), settings.get("allocation", "equal"))
    order = order[: settings.get("samples")]
    lengths = frame["text"].str.len().to_numpy(dtype=np.int64)
    taken = capped(order, lengths, settings.get("max_characters"))
    if not len(taken):
        raise UserError(
            f"`max_characters: {settings['max_characters']}` is less than the first text drawn "
            f"from {source} has ({lengths[order[0]]}), so that none is left. Raise it."
        )
    if settings.get("shuffle", False):
        taken = taken[np.argsort(line[taken], kind="stable")]
    else:
        taken = np.sort(taken)
    print(
        f"{source}: {len(taken)} of {len(frame)} samples taken, {lengths[taken].sum()} characters",
        flush=True,
    )
    return frame.iloc[taken]


def _strata(settings: Mapping[str, Any]) -> list[str]:
    fields = settings.get("stratify", [])
    return [fields] if isinstance(fields, str) else list(fields)


def _single_values(key: str, table: Table, settings: Mapping[str, Any]) -> list[str | None]:
    """Values of the field that a key names, as text (n)."""
    values = table.values(settings[key], key)
    return [
        as_text(value, key, table.source, row) for row, value in zip(table.ids, values, strict=True)
    ]


def _labels(table: Table, settings: Mapping[str, Any]) -> list[str | None]:
    """Labels, None where a sample has none; names in place of numbers if they are given."""
    if "label" not in settings:
        return [None] * len(table.ids)
    labels = _single_values("label", table, settings)
    names = settings.get("label_names")
    if names is None:
        return labels
    pairs = enumerate(names) if isinstance(names, list) else names.items()
    by_number = {str(number): str(name) for number, name in pairs}
    for row, label in zip(table.ids, labels, strict=True):
        if label is not None and label not in by_number:
            raise UserError(
                f"`label_names:` has no name for the label {label!r}, which row {row} of "
                f"{table.source} has; it names {listed(by_number)}. Add it, or leave "
                "`label_names:` out if the labels are names already."
            )
    return [None if label is None else by_number[label] for label in labels]


def _splits(table: Table, settings: Mapping[str, Any]) -> list[str | None]:
    """Split of each row: of the named column, of one that is called so, or else test."""
    if "split" in settings or "split" in table.names:
        return _single_values("split", table, {"split": "split", **settings})
    return ["test"] * len(table.ids)


def _check_ids(frame: pd.DataFrame, source: str) -> None:
    """Refuse samples without an id, and ids that name more than one sample."""
    if frame["id"].isna().any():
        row = frame.loc[frame["id"].isna(), "row"].iloc[0]
        raise UserError(
            f"Row {row} of {source} has no id in the column that `id:` names. Fill it, name "
            "another column, or leave `id:` out to number the samples by their place."
        )
    repeated = frame.loc[frame["id"].duplicated(keep=False)]
    if len(repeated):
        twice = repeated["id"].iloc[0]
        rows = repeated.loc[repeated["id"] == twice, "row"]
        raise UserError(
            f"The data set from {source} has the id {twice!r} more than once (rows "
            f"{listed(rows)}). Ids must be unique, since rows of two models are paired by them: "
            "name another column with `id:`, leave `id:` out to number the samples, or let no "
            "part of a split stand in `data_split:` twice."
        )


def _leave_out(frame: pd.DataFrame, without: pd.Series, what: str) -> pd.DataFrame:
    """Drop rows that lack something, and say how many."""
    if without.any():
        print(f"{int(without.sum())} of {len(frame)} rows left out: without {what}", flush=True)
    return frame[~without]

"""Data sets on which activations are extracted: generated, from a file, or from the hub.

Every one becomes a table with the columns id, text, label (may be empty) and split.
"""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from hrsa.data.generators import GENERATORS
from hrsa.errors import UserError

COLUMNS = ["id", "text", "label", "split"]
READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".jsonl": lambda path: pd.read_json(path, lines=True, dtype=False),
    ".csv": pd.read_csv,
    ".parquet": pd.read_parquet,
    ".txt": lambda path: pd.DataFrame({"text": path.read_text(encoding="utf-8").splitlines()}),
}


def load_dataset(settings: dict, *, corpus: Path | None, seed: int) -> pd.DataFrame:
    """Read the texts of one data set.

    Parameters
    ----------
    settings : dict
        One of `generator` (a name in `GENERATORS`; texts of `corpus`), `path` (JSONL, CSV, Parquet
        or plain text, one sample a line) or `hub` (a repository, with `name`, `revision` and
        `data_split`). `text` is a column or a template such as ``"{question} {answer}"``; `id` and
        `label` name columns; `split` and `samples` select.
    corpus : Path, optional
        Folder of the generated corpus.
    seed : int
        Fixes which samples are drawn when there are more than `samples`.

    Returns
    -------
    DataFrame
        Columns id (unique), text, label, split; in the source's order.

    Raises
    ------
    UserError
        A missing file or column, an unknown kind of file, no text at all, repeated ids.
    """
    if "generator" in settings:
        assert corpus is not None, "a generated data set needs the corpus folder"
        frame, source = generated(settings, corpus), f"the generator {settings['generator']}"
    elif "path" in settings:
        frame, source = from_file(Path(settings["path"]), settings), settings["path"]
    else:
        frame, source = from_hub(settings), f"hub:{settings['hub']}"
    frame = frame[frame["text"].fillna("").str.strip() != ""]
    if frame.empty:
        raise UserError(
            f"The data set from {source} holds no text. Check the file, the column or template "
            f"`text: {settings.get('text', 'text')}` and the split `{settings.get('split', '')}`."
        )
    if frame["id"].duplicated().any():
        twice = frame.loc[frame["id"].duplicated(), "id"].iloc[0]
        raise UserError(
            f"The data set from {source} has the id {twice!r} more than once. Ids must be unique, "
            "since rows of two models are paired by them: name another column with `id:`, or leave "
            "`id:` out to number the samples."
        )
    return draw(frame, settings.get("samples"), seed)[COLUMNS].reset_index(drop=True)


def draw(frame: pd.DataFrame, samples: int | None, seed: int) -> pd.DataFrame:
    """At most `samples` rows, drawn by the seed and kept in the source's order."""
    if samples is None or len(frame) <= samples:
        return frame
    return frame.sample(samples, random_state=seed).sort_index()


def generated(settings: dict, corpus: Path) -> pd.DataFrame:
    """A test split of the generated corpus, whose texts no model was trained on."""
    name = settings["generator"]
    frame = pd.read_parquet(corpus / f"{GENERATORS[name]}.parquet")
    if name == "problems":
        frame["text"] = frame["question"] + " " + frame["solution"]
        frame["label"] = frame["operation"]
    # a topic's splits are the probe's own: no model is trained on any of them
    split = settings.get("split", None if name == "topics" else "test")
    if split is not None:
        frame = frame[frame["split"] == split]
    return frame[COLUMNS]


def from_file(path: Path, settings: dict) -> pd.DataFrame:
    """A user's own texts."""
    if not path.is_file():
        raise UserError(f"There is no data file {path}. Correct the data set's `path:`.")
    if path.suffix not in READERS:
        raise UserError(
            f"The data file {path} ends in {path.suffix!r}; readable are {', '.join(READERS)}. "
            "Convert it, or rename it if only its ending is wrong."
        )
    try:
        frame = READERS[path.suffix](path)
    except (ValueError, OSError) as error:
        raise UserError(
            f"The data file {path} cannot be read as {path.suffix}: {error}."
        ) from error
    return select_columns(frame, settings, str(path))


def from_hub(settings: dict) -> pd.DataFrame:
    """A data set of the hub, by the `datasets` library."""
    import datasets

    try:
        loaded = datasets.load_dataset(
            settings["hub"],
            settings.get("name"),
            split=settings.get("data_split", "test"),
            revision=settings.get("revision"),
        )
    except Exception as error:  # the library raises many kinds; all mean "not to be had"
        raise UserError(
            f"The data set {settings['hub']} could not be had from the hub: {error}. Check its "
            "name, `name:`, `revision:`, `data_split:` and the network."
        ) from error
    return select_columns(loaded.to_pandas(), settings, f"hub:{settings['hub']}")


def select_columns(frame: pd.DataFrame, settings: dict, source: str) -> pd.DataFrame:
    """Columns id, text, label and split from whatever the source calls them."""
    if frame.empty:
        return pd.DataFrame(columns=COLUMNS, dtype=str)
    template = settings.get("text", "text")
    if "{" in template:
        try:
            text = frame.apply(lambda row: template.format(**row), axis=1)
        except KeyError as error:
            raise missing_column(str(error).strip("'"), "text", frame, source) from error
    else:
        text = column(frame, template, "text", source)
    n = len(frame)
    return pd.DataFrame(
        {
            "id": (
                column(frame, settings["id"], "id", source).astype(str)
                if "id" in settings
                else pd.Series([f"{i:06d}" for i in range(n)], index=frame.index)
            ),
            "text": text.astype(str),
            "label": (
                column(frame, settings["label"], "label", source).astype(str)
                if "label" in settings
                else pd.Series([None] * n, index=frame.index, dtype=object)
            ),
            "split": frame.get("split", "test"),
        }
    )


def column(frame: pd.DataFrame, name: str, key: str, source: str) -> pd.Series:
    """The named column, or an error that lists those that there are."""
    if name not in frame:
        raise missing_column(name, key, frame, source)
    return frame[name]


def missing_column(name: str, key: str, frame: pd.DataFrame, source: str) -> UserError:
    """The error for a column that `key` names and the source lacks."""
    return UserError(
        f"The data set from {source} has no column {name!r} (asked for by `{key}:`); it has "
        f"{', '.join(map(str, frame.columns))}."
    )

"""Pairs for contrastive training: read, cleaned, with as many hard negatives as are asked for."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from datasets import Dataset, DatasetDict

from hrsa.errors import UserError

ANCHOR, POSITIVE = "anchor", "positive"


@dataclass
class Counts:
    """What became of the pairs of a training: kept, dropped, and how many hard negatives lacked.

    Attributes
    ----------
    examples : int
        Pairs that are trained on.
    dropped_empty : int
        Pairs whose query or document is blank.
    dropped_duplicate : int
        Pairs that were there before, query and document.
    short_lists : int
        Pairs for which fewer hard negatives than asked for were found.
    filled_negatives : int
        Random documents of the same set that stand in their place.
    """

    examples: int = 0
    dropped_empty: int = 0
    dropped_duplicate: int = 0
    short_lists: int = 0
    filled_negatives: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        mine, theirs = asdict(self), asdict(other)
        return Counts(**{name: mine[name] + theirs[name] for name in mine})


def load_pairs(
    files: Mapping[str, Path], *, negatives: int, seed: int, without: Collection[str] = ()
) -> tuple[DatasetDict, dict[str, str], dict[str, Any]]:
    """Read the training sets of an embedding model; a batch comes from one of them.

    Parameters
    ----------
    files : mapping of name to Parquet file
        Columns query, document; kind (pairs of a kind are a set of their own, ``name-kind``);
        negatives (lists of documents), which hard-negative mining adds; split, of which the rows
        of "train" are used.
    negatives : int
        Hard negatives for each query.
    seed : int
        Draws the random documents where a list of hard negatives is short.
    without : collection of str
        Sets (as they are returned) that have no hard negatives, whatever their file holds.

    Returns
    -------
    sets : DatasetDict
        Columns anchor, positive, negative_1, …
    files_of : dict
        For each set the name of the file that it comes from.
    counts : dict
        `Counts` over all sets.

    Raises
    ------
    UserError
        A set has no usable pair, no negatives although some are asked for, too few documents, or
        the name of a kind of another.
    """
    sets: dict[str, Dataset] = {}
    files_of: dict[str, str] = {}
    counts = Counts()
    for name, file in files.items():
        frame = pd.read_parquet(file)
        if "split" in frame:
            frame = frame[frame["split"] == "train"]
        frame, dropped = clean_pairs(frame, name)
        counts += dropped
        for part_name, part in _parts(name, frame):
            if part_name in sets:
                raise UserError(
                    f"Two training sets are named `{part_name}`: an entry of `training_sets`, and "
                    "the pairs of one kind of another. Rename the entry."
                )
            files_of[part_name] = name
            wanted = 0 if part_name in without else negatives
            sets[part_name], filled = _with_negatives(part, part_name, wanted, seed)
            counts += filled
    return DatasetDict(sets), files_of, asdict(counts)


def clean_pairs(frame: pd.DataFrame, name: str) -> tuple[pd.DataFrame, Counts]:
    """Drop pairs that are blank on a side or were there before, and count them.

    Raises
    ------
    UserError
        No pair is left.
    """
    blank = frame[["query", "document"]].apply(lambda column: column.fillna("").str.strip() == "")
    empty = blank.any(axis=1)
    filled = frame[~empty]
    repeated = filled.duplicated(["query", "document"])
    kept = filled[~repeated]
    if kept.empty:
        raise UserError(
            f"The training set `{name}` holds no usable pair: of {len(frame)} rows {empty.sum()} "
            "are blank in query or document. Check the columns or templates that `query:` and "
            "`document:` name."
        )
    counts = Counts(len(kept), int(empty.sum()), int(repeated.sum()))
    if counts.dropped_empty or counts.dropped_duplicate:
        print(
            f"{name}: {counts.dropped_empty} blank and {counts.dropped_duplicate} repeated pairs "
            f"dropped, {len(kept)} kept",
            flush=True,
        )
    return kept.reset_index(drop=True), counts


def _parts(name: str, frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    if "kind" not in frame:
        return [(name, frame)]
    groups = frame.groupby("kind")
    return [(f"{name}-{kind}", part.reset_index(drop=True)) for kind, part in groups]


def _with_negatives(
    frame: pd.DataFrame, name: str, n_negatives: int, seed: int
) -> tuple[Dataset, Counts]:
    columns = {ANCHOR: frame["query"].tolist(), POSITIVE: frame["document"].tolist()}
    if not n_negatives:
        return Dataset.from_dict(columns), Counts()
    if "negatives" not in frame:
        raise UserError(
            f"`negatives` is {n_negatives}, but the training set `{name}` has none. Set `mining:` "
            "with the model that is to find them, or `negatives: 0`."
        )
    lists = [list(found)[:n_negatives] for found in frame["negatives"]]
    short = [len(found) < n_negatives for found in lists]
    before = sum(map(len, lists))
    fill_lists(lists, frame, n_negatives, name=name, seed=seed)
    for i in range(n_negatives):
        columns[f"negative_{i + 1}"] = [found[i] for found in lists]
    filled = n_negatives * len(lists) - before
    return Dataset.from_dict(columns), Counts(short_lists=sum(short), filled_negatives=filled)


def fill_lists(
    lists: list[list[str]], frame: pd.DataFrame, n_negatives: int, *, name: str, seed: int
) -> None:
    """Fill short lists with random documents of the set: no positive of the query, none twice.

    Raises
    ------
    UserError
        The set has too few documents for that.
    """
    documents = list(dict.fromkeys(frame["document"]))
    positives = frame.groupby("query")["document"].agg(set)
    rng = np.random.default_rng(seed)
    for query, found in zip(frame["query"], lists, strict=True):
        taken = positives[query] | set(found)
        if len(found) < n_negatives and len(documents) - len(taken & set(documents)) < (
            n_negatives - len(found)
        ):
            raise UserError(
                f"The training set `{name}` has {len(documents)} documents, too few for "
                f"{n_negatives} negatives beside the positives of {query!r}. Lower `negatives`."
            )
        while len(found) < n_negatives:
            document = documents[rng.integers(len(documents))]
            if document not in taken:
                found.append(document)
                taken.add(document)

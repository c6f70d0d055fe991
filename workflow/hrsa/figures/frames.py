"""Selections from the tidy tables that several figures share."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hrsa.statistics.floors import SEED_KIND, seed_floors

STAGES = ("backbone", "embedding")
KIND_ORDER = ("sft", "rlvr", "control", "contrastive", "seed", "other")
NO_FLOOR = "No pair differs only in a seed: there is no floor."
MEAN_LAYER = -1  # how the tables write a mean over layers 1 … L

_NUMBERS = {
    "seed", "step", "k", "layer_reference", "layer_candidate", "value", "se", "ci_low", "ci_high",
    "chance", "p", "p_holm", "floor", "n", "n_tokens", "n_samples", "n_items", "accuracy", "loss",
    "reward", "format", "entropy", "completion_length", "kl",
}  # fmt: skip


@dataclass(frozen=True)
class Headline:
    """The one number of a metric that stands for it where there is no room for all."""

    metric: str
    statistic: str
    label: str
    axis: str  # label of an axis
    layer: str  # "mean" over layers 1 … L, or "final"
    variants: tuple[str, ...] = ("",)  # the first one that the table has is read
    k: int | None = None


_EXCLUSIONS = ("sample", "self")
HEADLINES = (
    Headline("correlation", "mean", "Dimension-wise correlation", "mean correlation", "mean"),
    Headline("procrustes", "cos_heldout", "Procrustes, held out", "cosine", "mean"),
    Headline("procrustes", "h_inv", "Inverse row entropy of O*", "H_inv", "final"),
    Headline("cka", "cka", "Linear CKA", "CKA", "mean", ("sample_debiased", "song", "biased")),
    Headline("knn", "jaccard", "k-NN overlap, k = 10", "Jaccard index", "mean", _EXCLUSIONS, 10),
    Headline("probe", "accuracy", "Reference's probe on the candidate", "accuracy", "final"),
)

VARIANT_LABELS = {
    "biased": "biased estimator",
    "song": "debiased over tokens (Song)",
    "sample_debiased": "debiased over samples",
    "self": "neighbours: all other tokens",
    "sample": "neighbours: other samples",
    "type": "neighbours: other samples and types",
}


SIMILARITY = (
    "pair", "kind", "stage", "reference", "candidate", "seed", "step", "dataset", "metric",
    "statistic", "view", "variant", "k", "layer_reference", "layer_candidate", "value", "ci_low",
    "ci_high", "chance", "floor", "n_tokens", "n_samples",
)  # fmt: skip


def prepare(frame: pd.DataFrame, columns: Iterable[str], what: str) -> pd.DataFrame:
    """Return a copy with the asked columns in plain types: floats with NaN, texts with "".

    Parameters
    ----------
    frame : DataFrame
        A table as read from Parquet or CSV, or an empty DataFrame.
    columns : iterable of str
        Columns that the caller reads.
    what : str
        Name of the table, for the error.

    Raises
    ------
    ValueError
        If the table has rows and lacks a column.
    """
    wanted = list(columns)
    missing = [name for name in wanted if name not in frame.columns]
    if missing and len(frame):
        raise ValueError(f"{what} lacks the column(s) {', '.join(missing)}; has {list(frame)}")
    absent = pd.Series(dtype="object")  # of an empty table without columns
    plain = {name: _plain(frame.get(name, absent), number=name in _NUMBERS) for name in wanted}
    return pd.DataFrame(plain, columns=wanted)


def prepare_similarity(similarity: pd.DataFrame, *, dataset: str | None = None) -> pd.DataFrame:
    """Return the similarity table in plain types, untransformed view, of one data set or all.

    Floors are those of the table; where it has none yet (the results of one metric, before they
    are joined), they are taken from its own seed pairs in the same way.
    """
    frame = prepare(similarity, SIMILARITY, "the similarity table")
    floor = frame["floor"].to_numpy("float64")
    frame["floor"] = np.where(np.isnan(floor), seed_floors(frame).values, floor)
    frame = frame[frame["view"].isin(["", "raw"])]
    if dataset is not None:
        frame = frame[frame["dataset"] == dataset]
    # Sums of floats depend on their order: the order of the rows must not reach the pixels.
    return frame.sort_values(list(SIMILARITY), kind="stable", ignore_index=True)


def stages_of(frame: pd.DataFrame) -> list[str]:
    """Stages that a figure has a place for: those of its pairs, both where it has none."""
    present = [stage for stage in STAGES if (frame["stage"] == stage).any()]
    return present or list(STAGES)


def dataset_phrase(frame: pd.DataFrame) -> str:
    """Say which data sets a selection averages over."""
    names = sorted({name for name in frame["dataset"] if name})
    if not names:
        return "no data set"
    if len(names) == 1:
        return f"data set: {names[0]}"
    return f"mean over the data sets {', '.join(names[:-1])} and {names[-1]}"


def heatmap_cells(
    similarity: pd.DataFrame,
    *,
    metric: str,
    statistic: str,
    variant: str = "",
    dataset: str | None = None,
) -> pd.DataFrame:
    """Select what `layer_heatmaps` draws: one value per pair and pair of layers.

    Models at the end of training only; values are averaged over seeds, and over data sets unless
    one is named (`member_means`).

    Returns
    -------
    DataFrame
        Columns stage, kind, pair, layer_reference, layer_candidate, value, ci_low, ci_high, floor,
        chance.
    """
    frame = prepare_similarity(similarity, dataset=dataset)
    keep = (
        (frame["metric"] == metric)
        & (frame["statistic"] == statistic)
        & (frame["variant"] == variant)
        & frame["step"].isna()
        & (frame["layer_reference"] >= 0)
    )
    keys = ["stage", "kind", "pair", "layer_reference", "layer_candidate"]
    return member_means(frame[keep], keys).reset_index()


def member_means(rows: pd.DataFrame, keys: str | list[str]) -> pd.DataFrame:
    """Average rows over what `keys` leave open: seeds, data sets.

    Parameters
    ----------
    rows : DataFrame
        From `prepare_similarity`.
    keys : str or list of str
        Columns whose values stay apart.

    Returns
    -------
    DataFrame
        Columns value, ci_low, ci_high, floor, chance, by `keys` in order. The interval is the mean
        of the members' intervals, missing where one of them has none: a standard error of a mean
        is at most the mean of the standard errors, so that it is never too narrow, and about right
        where the members' errors move together, as those of seeds on the same texts do.
    """
    columns = ["value", "ci_low", "ci_high", "floor", "chance"]
    groups = rows.groupby(keys, sort=True)
    means = groups[columns].mean()
    whole = (groups[["ci_low", "ci_high"]].count().min(axis=1) == groups.size()).to_numpy()
    interval = ["ci_low", "ci_high"]
    return means.assign(**{name: means[name].where(whole) for name in interval})


def floor_note(frame: pd.DataFrame, drawn: str) -> str:
    """Say how the seed floor is drawn, or that there is none."""
    known = (frame["kind"] == SEED_KIND) | frame["floor"].notna()
    return f"Dashed grey: the seed floor, {drawn}" if known.any() else NO_FLOOR


def floor_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows whose column `floor` is the floor of a panel: all but those of seed pairs themselves."""
    return rows[(rows["kind"] != SEED_KIND) & rows["floor"].notna()]


def headline_rows(
    frame: pd.DataFrame, headline: Headline, *, layer: str | None = None
) -> pd.DataFrame:
    """Select the rows of a headline number: its variant, its k and its layer.

    Parameters
    ----------
    frame : DataFrame
        From `prepare_similarity`.
    headline : Headline
    layer : {"mean", "final"}, optional
        Another layer than the headline's own.

    Returns
    -------
    DataFrame
        Rows of the final layer, or of the mean over layers; empty when the table has none.
    """
    rows = headline_cells(frame, headline)
    return final_layer(rows) if (layer or headline.layer) == "final" else mean_layer(rows)


def headline_cells(frame: pd.DataFrame, headline: Headline) -> pd.DataFrame:
    """Select the rows of a headline number at every layer: its variant and its k."""
    rows = frame[(frame["metric"] == headline.metric) & (frame["statistic"] == headline.statistic)]
    if headline.k is not None:
        rows = rows[rows["k"] == headline.k]
    present = set(rows["variant"])
    variant = next((name for name in headline.variants if name in present), None)
    return rows if variant is None else rows[rows["variant"] == variant]


def mean_layer(rows: pd.DataFrame) -> pd.DataFrame:
    """Keep the rows that are means over layers."""
    return rows[(rows["layer_reference"] == MEAN_LAYER) & (rows["layer_candidate"] == MEAN_LAYER)]


def final_layer(rows: pd.DataFrame) -> pd.DataFrame:
    """Keep, for each pair, the rows that compare the last layer of both models."""
    layers = rows[rows["layer_reference"] >= 0]
    last = layers.groupby("pair")[["layer_reference", "layer_candidate"]].transform("max")
    here = (layers["layer_reference"] == last["layer_reference"]) & (
        layers["layer_candidate"] == last["layer_candidate"]
    )
    return layers[here]


def ordered_pairs(frame: pd.DataFrame, kinds: Sequence[str] = KIND_ORDER) -> list[tuple[str, str]]:
    """Return (pair, kind) of a table, by kind in the order given, then by name."""
    found = frame[["pair", "kind"]].drop_duplicates().itertuples(index=False)
    chosen = [(pair, kind) for pair, kind in found if kind in kinds]
    return sorted(chosen, key=lambda item: (list(kinds).index(item[1]), item[0]))


def instance_label(model: str, seed: float) -> str:
    """Name a trained model for a reader: `rlvr, seed 1`, or the bare name without a seed."""
    return model if pd.isna(seed) else f"{model}, seed {int(seed)}"


def _plain(column: pd.Series, *, number: bool) -> np.ndarray:
    """Return the values of a column: float64 with NaN, or objects with "" for what is missing."""
    if number:
        return pd.to_numeric(column).astype("Float64").to_numpy("float64", na_value=float("nan"))
    return column.astype("object").where(column.notna(), "").to_numpy()

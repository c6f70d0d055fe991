"""Orthogonal Procrustes: the rotation O* between two models, and how far it mixes dimensions."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from hrsa.figures import style
from hrsa.figures.drawn_table import ROW_HEIGHT, draw_table, table_height
from hrsa.figures.frames import (
    STAGES,
    final_layer,
    member_means,
    ordered_pairs,
    prepare_similarity,
)

MOST_PIXELS = 256  # a larger rotation is drawn by the maximum of each block of entries
_NORM = PowerNorm(0.5, vmin=0.0, vmax=1.0)  # square root, so that spread-out rotations show
_TABLE_TITLE = "How far the rotation between two models mixes their dimensions"
_TABLE_NOTES = (
    "H_inv depends on the number of tokens n: compare rows of equal n, and read n/2 and n/4 to see "
    "whether it has settled. Brackets: 95 % interval at this n. Seed floor: mean of pairs that "
    "differ only in a seed (of a seed pair, the others). Chance: a random rotation of that width. "
    "Means over seeds where a pair has several."
)
_STATISTICS = ("h_inv", "h_inv_half", "h_inv_quarter")
_HEADINGS = {
    "h_inv": "H_inv at n",
    "h_inv_half": "at n/2",
    "h_inv_quarter": "at n/4",
    "floor": "seed floor",
    "chance": "chance",
    "n_tokens": "n",
}
_ROTATION_SUBTITLE = (
    "|O*| for the final layer: row = dimension of the reference, column = dimension of the "
    "candidate. A bright diagonal means that dimensions kept their meaning; an even "
    "field means that they are mixed. Of a pair with several seeds, its first."
)


def h_inv_table(similarity: pd.DataFrame, *, dataset: str | None = None) -> Figure:
    """Draw the table of inverse row entropies of O* at the final layer.

    Parameters
    ----------
    similarity : DataFrame
        The similarity table; rows of procrustes with statistics h_inv, h_inv_half, h_inv_quarter.
    dataset : str, optional
        One data set; all of them, a row each, when left out.

    References
    ----------
    arXiv 2601.21192, inverse row entropy of the Procrustes rotation.
    """
    rows = _h_inv_rows(similarity, dataset)
    if rows.empty:
        return style.empty_figure(_TABLE_TITLE, "no inverse row entropies (metric procrustes)")
    fig = style.new_figure(
        7.6,
        table_height(len(rows)),
        title=_TABLE_TITLE,
        subtitle="Inverse row entropy H_inv of O*, final layer: 1 = dimensions keep their "
        "meaning (a signed permutation), low = mixed.",
        notes=_notes(rows),
    )
    _draw_h_inv(fig.subplots(), rows, with_dataset=True)
    return fig


def rotation_heatmaps(
    rotations: Mapping[str, np.ndarray],
    *,
    kinds: Mapping[str, str] | None = None,
    stages: Mapping[str, str] | None = None,
) -> Figure:
    """Draw |O*| of each pair, one colour scale for all.

    Parameters
    ----------
    rotations : mapping of pair name to (p × q) array
        Rotations of the final layer.
    kinds, stages : mapping of pair name to kind and to stage, optional
        Given both, panels stand in columns SFT | RLVR and rows backbone | embedding.

    Returns
    -------
    Figure
    """
    title = "Rotation O* that best carries the reference onto the candidate"
    if not rotations:
        return style.empty_figure(title, "no rotations (metric procrustes)")
    grid = _places(rotations, kinds or {}, stages or {})
    fig = style.new_figure(
        0.9 + 3.3 * len(grid[0]), 3.2 * len(grid), title=title, subtitle=_ROTATION_SUBTITLE
    )
    axes = fig.subplots(len(grid), len(grid[0]), squeeze=False)
    _draw_rotations(fig, axes, grid, rotations, kinds or {}, stages or {})
    return fig


def procrustes_figure(
    similarity: pd.DataFrame,
    rotations: Mapping[str, np.ndarray],
    *,
    dataset: str | None = None,
) -> Figure:
    """Draw the table of inverse row entropies beside the heat maps of |O*|.

    Parameters
    ----------
    similarity : DataFrame
        The similarity table, which also says the kind and stage of each pair.
    rotations : mapping of pair name to (p × q) array
        Rotations of the final layer on `dataset`.
    dataset : str, optional
        The data set of the table's rows.
    """
    rows = _h_inv_rows(similarity, dataset)
    frame = prepare_similarity(similarity)
    kinds = dict(zip(frame["pair"], frame["kind"], strict=True))
    stages = dict(zip(frame["pair"], frame["stage"], strict=True))
    grid = _places(rotations, kinds, stages)
    where = f", data set {dataset}" if dataset else ""
    several = len(set(rows["dataset"])) > 1
    height = max(2.9 * len(grid), table_height(len(rows)))
    fig = style.new_figure(
        14.2 if several else 12.4,
        height,
        title=f"{_TABLE_TITLE}{where}",
        subtitle="Left: inverse row entropy H_inv of O* at the final layer, 1 = dimensions keep "
        "their meaning, low = mixed. Right: " + _ROTATION_SUBTITLE,
        notes=_notes(rows),
    )
    outer = fig.add_gridspec(1, 2, width_ratios=[1.25 if several else 1.0, 1.2])
    table = fig.add_subplot(outer[0])
    if rows.empty:
        style.empty_panel(table, "no inverse row entropies (metric procrustes)")
    else:
        lines = height / (1.5 * ROW_HEIGHT)  # a short table keeps its rows together at the top
        _draw_h_inv(table, rows, with_dataset=several, least_lines=lines)
    axes = outer[1].subgridspec(len(grid), len(grid[0])).subplots(squeeze=False)
    _draw_rotations(fig, axes, grid, rotations, kinds, stages)
    return fig


def _h_inv_rows(similarity: pd.DataFrame, dataset: str | None) -> pd.DataFrame:
    """Return one row per pair and data set.

    Columns pair, kind, stage, dataset, h_inv, h_inv_half, h_inv_quarter; and of h_inv ci_low,
    ci_high, floor, chance, n_tokens.
    """
    frame = prepare_similarity(similarity, dataset=dataset)
    frame = frame[(frame["metric"] == "procrustes") & frame["step"].isna()]
    frame = final_layer(frame[frame["statistic"].isin(list(_STATISTICS))])
    keys = ["pair", "kind", "stage", "dataset"]
    values = frame.groupby([*keys, "statistic"])["value"].mean().unstack()
    values = values.reindex(columns=list(_STATISTICS))
    whole = frame[frame["statistic"] == "h_inv"]
    beside = member_means(whole, keys).drop(columns="value")
    n_tokens = whole.groupby(keys)["n_tokens"].mean()
    rows = values.join(beside).join(n_tokens).reset_index()
    order = {pair: i for i, (pair, _) in enumerate(ordered_pairs(rows))}
    rows["order"] = rows["pair"].map(order)
    rows = rows.sort_values(["stage", "order", "dataset"]).drop(columns="order")
    return rows.reset_index(drop=True)


def _draw_h_inv(
    ax: Axes, rows: pd.DataFrame, *, with_dataset: bool, least_lines: float = 0.0
) -> None:
    header = ["pair", "kind", "stage"] + (["data set"] if with_dataset else [])
    shown = [name for name in _HEADINGS if name not in _equal_columns(rows)]
    cells = [
        [row["pair"], style.kind_label(row["kind"]), row["stage"]]
        + ([row["dataset"]] if with_dataset else [])
        + [_cell(row, name) for name in shown]
        for _, row in rows.iterrows()
    ]
    draw_table(
        ax,
        [*header, *(_HEADINGS[name] for name in shown)],
        cells,
        colours=[style.kind_colour(kind) for kind in rows["kind"]],
        text_columns=len(header),
        least_lines=least_lines,
    )


def _equal_columns(rows: pd.DataFrame) -> list[str]:
    """Columns that are the same in every row: the notes tell them once."""
    return [name for name in ("chance", "n_tokens") if rows[name].nunique(dropna=False) == 1]


def _notes(rows: pd.DataFrame) -> str:
    equal = [
        f"{_HEADINGS[name]} = {_cell(rows.iloc[0], name)}"
        for name in _equal_columns(rows)
        if rows[name].notna().all()
    ]
    return f"{_TABLE_NOTES} In every row {', '.join(equal)}." if equal else _TABLE_NOTES


def _cell(row: pd.Series, name: str) -> str:
    value = row[name]
    if pd.isna(value):
        return "–"
    if name == "n_tokens":
        return f"{value:,.0f}"
    if name == "h_inv" and pd.notna(row["ci_low"]) and pd.notna(row["ci_high"]):
        return f"{value:.3f} [{row['ci_low']:.2f}, {row['ci_high']:.2f}]"
    return f"{value:.3f}"


def _places(
    rotations: Mapping[str, np.ndarray], kinds: Mapping[str, str], stages: Mapping[str, str]
) -> list[list[str | None]]:
    """Return the pair of each panel: SFT | RLVR by backbone | embedding, else in two columns."""
    known = [pair for pair in rotations if kinds.get(pair) in ("sft", "rlvr") and pair in stages]
    if not known:
        pairs: list[str | None] = list(rotations) or [None]
        pairs += [None] * (len(pairs) % 2 if len(pairs) > 1 else 0)
        return [pairs[i : i + 2] for i in range(0, len(pairs), 2)]
    grid: list[list[str | None]] = []
    for stage in STAGES:
        columns = [
            [pair for pair in known if kinds[pair] == kind and stages[pair] == stage]
            for kind in ("sft", "rlvr")
        ]
        for nth in range(max(1, *(len(column) for column in columns))):
            grid.append([column[nth] if nth < len(column) else None for column in columns])
    return grid


def _draw_rotations(
    fig: Figure,
    axes: np.ndarray,
    grid: list[list[str | None]],
    rotations: Mapping[str, np.ndarray],
    kinds: Mapping[str, str],
    stages: Mapping[str, str],
) -> None:
    for row_axes, names in zip(axes, grid, strict=True):
        for ax, pair in zip(row_axes, names, strict=True):
            if pair is None:
                style.empty_panel(ax, "no such pair" if rotations else "no rotations")
                ax.set_box_aspect(1)
            else:
                _draw_rotation(ax, np.asarray(rotations[pair]))
                kind, stage = kinds.get(pair, ""), stages.get(pair, "")
                place = f"{style.kind_label(kind)}, {stage}: " if kind and stage else ""
                ax.set_title(f"{place}{pair}", color=style.kind_colour(kind or "base"))
    scale = ScalarMappable(norm=_NORM, cmap=style.SEQUENTIAL)
    bar = fig.colorbar(
        scale,
        ax=axes.ravel().tolist(),
        shrink=0.7,
        aspect=28,
        pad=0.02,
        ticks=[0, 0.05, 0.2, 0.5, 1],
        format="%g",
    )
    bar.set_label("|entry of O*|, square-root scale")
    bar.outline.set_visible(False)  # type: ignore[operator]


def _draw_rotation(ax: Axes, rotation: np.ndarray) -> None:
    rows, columns = rotation.shape
    ax.imshow(
        block_maximum(np.abs(rotation), MOST_PIXELS),
        cmap=style.SEQUENTIAL,
        norm=_NORM,
        interpolation="nearest",
        extent=(0, columns, rows, 0),
    )
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set_xticks([0, columns])
    ax.set_yticks([0, rows])
    ax.set_xlabel("dimension of the candidate", labelpad=-6)
    ax.set_ylabel("dimension of the reference", labelpad=-8)


def block_maximum(values: np.ndarray, most: int) -> np.ndarray:
    """Shrink a matrix to at most `most` × `most` by the maximum of each block of entries.

    The maximum, not the mean: a thin bright diagonal would fade in a mean.
    """
    for axis in (0, 1):
        size = values.shape[axis]
        if size > most:
            starts = np.unique(np.arange(most) * size // most)
            values = np.maximum.reduceat(values, starts, axis=axis)
    return values

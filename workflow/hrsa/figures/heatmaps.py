"""Layer-by-layer heat maps: which layer of one model resembles which layer of the other."""

from collections.abc import Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from hrsa.figures import style
from hrsa.figures.frames import heatmap_cells, prepare, stages_of

CELL_COLUMNS = (
    "stage", "kind", "pair", "layer_reference", "layer_candidate", "value", "ci_low", "ci_high",
    "floor", "chance",
)  # fmt: skip
# Statistic and variant of each metric, the name of its values, and the limits of its colours.
SHOWN = {
    "correlation": ("mean", "", "dimension-wise correlation", -1.0, 1.0),
    "cka": ("cka", "sample_debiased", "linear CKA, debiased over samples", 0.0, 1.0),
}
MOST_ANNOTATED = 9  # layers on a side up to which each cell shows its value
_LAYER_NOTE = "Layer 0 is the token embeddings; the last layer is read after the final norm."


def draw_metric(
    similarity: pd.DataFrame,
    metric: str,
    *,
    kinds: Sequence[str] = ("sft", "rlvr"),
    averaged: str = "",
) -> Figure:
    """Draw the heat maps of a metric as `SHOWN` has it.

    Parameters
    ----------
    similarity : DataFrame
        The similarity table.
    metric : str
        One of `SHOWN`.
    kinds : sequence of str
        See `layer_heatmaps`.
    averaged : str
        What values are means over, for the subtitle.
    """
    statistic, variant, label, low, high = SHOWN[metric]
    cells = heatmap_cells(similarity, metric=metric, statistic=statistic, variant=variant)
    means = f" Means over {averaged}." if averaged else ""
    return layer_heatmaps(
        cells,
        title=f"{label[0].upper()}{label[1:]}, layer by layer",
        colour_label=label,
        low=low,
        high=high,
        subtitle=f"Rows: layers of the reference. Columns: layers of the candidate.{means}",
        kinds=kinds,
    )


def layer_heatmaps(
    cells: pd.DataFrame,
    *,
    title: str,
    colour_label: str,
    low: float,
    high: float,
    subtitle: str = "",
    kinds: Sequence[str] = ("sft", "rlvr"),
) -> Figure:
    """Draw a heat map per pair: columns by kind, rows by stage, one colour scale for all.

    Parameters
    ----------
    cells : DataFrame
        Columns CELL_COLUMNS; one row per cell (`hrsa.figures.frames.heatmap_cells` selects them
        from the similarity table).
    title, subtitle : str
        What is shown, and how to read it.
    colour_label : str
        Name of the value, beside the colour bar.
    low, high : float
        Limits of the colour scale. A negative `low` gives a scale with white in the middle.
    kinds : sequence of str
        Kinds of pairs, one column each.

    Returns
    -------
    Figure
        Cells whose interval reaches the seed floor of the same layers are framed. A place without
        a pair says so. Several pairs of one kind and stage share a column.
    """
    frame = prepare(cells, CELL_COLUMNS, "the table of heat map cells")
    frame = frame.assign(within_floor=frame["ci_high"] >= frame["floor"])
    rows = _rows(frame, kinds)
    drawn = frame[frame["kind"].isin(list(kinds))]
    fig = style.new_figure(
        1.1 + 3.1 * len(kinds),
        3.75 * len(rows),
        title=title,
        subtitle=f"{subtitle} {_marks(drawn)}".strip(),
        notes=f"{_intervals(drawn)} {_chance(drawn)} {_LAYER_NOTE}",
    )
    axes = fig.subplots(len(rows), len(kinds), squeeze=False)
    image = None
    for row_axes, (stage, nth) in zip(axes, rows, strict=True):
        for ax, kind in zip(row_axes, kinds, strict=True):
            pairs = _pairs(frame, stage, kind)
            place, colour = f"{style.kind_label(kind)}, {stage}", style.kind_colour(kind)
            if nth < len(pairs):
                panel = frame[(frame["pair"] == pairs[nth]) & (frame["stage"] == stage)]
                style.title_with_detail(ax, f"{place}: {pairs[nth]}", _diagonal(panel), colour)
                image = _draw(ax, panel, low, high)
            else:
                ax.set_title(place, color=colour)
                style.empty_panel(ax, _reason(frame, stage, kind, pairs))
                ax.set_box_aspect(1)
    if image is not None:
        bar = fig.colorbar(
            image,
            ax=axes.ravel().tolist(),
            shrink=0.7,
            aspect=28,
            pad=0.02,
            extend=_extend(frame["value"], low, high),
        )
        bar.set_label(colour_label)
        bar.outline.set_visible(False)  # type: ignore[operator]
    return fig


def _rows(frame: pd.DataFrame, kinds: Sequence[str]) -> list[tuple[str, int]]:
    """Return (stage, nth pair) for each row of panels; a stage with pairs has one row at least."""
    return [
        (stage, nth)
        for stage in stages_of(frame)
        for nth in range(max(1, *(len(_pairs(frame, stage, kind)) for kind in kinds)))
    ]


def _pairs(frame: pd.DataFrame, stage: str, kind: str) -> list[str]:
    return sorted(set(frame[(frame["stage"] == stage) & (frame["kind"] == kind)]["pair"]))


def _reason(frame: pd.DataFrame, stage: str, kind: str, pairs: list[str]) -> str:
    """Say why a panel is empty: nothing was computed, or the study has no such pair."""
    if frame.empty:
        return "no values: this metric was not computed for any pair"
    other = "other " if pairs else ""
    return f"no such pair: no {other}{style.kind_label(kind)} pair at the {stage} stage"


def _marks(drawn: pd.DataFrame) -> str:
    """Say what a frame around a cell means, or why there is none."""
    if drawn["floor"].isna().all():
        return ""
    if drawn["ci_high"].isna().all():
        return "The seed floor is what two runs give that differ only in a seed."
    mark = "Framed" if _is_annotated(drawn) else "Dotted"
    return (
        f"{mark}: as similar as two runs that differ only in a seed (the 95 % interval reaches the "
        "seed floor of the same two layers)."
    )


def _intervals(drawn: pd.DataFrame) -> str:
    half = ((drawn["ci_high"] - drawn["ci_low"]) / 2).dropna()
    if drawn.empty:
        return ""
    if half.empty:
        return "This estimator has no valid interval: read the debiased one in similarity.csv."
    return f"95 % intervals over texts: at most ± {half.max():.2g}."


def _chance(drawn: pd.DataFrame) -> str:
    chance = drawn["chance"].dropna()
    if chance.empty:
        return ""
    low, high = f"{chance.min():.2f}", f"{chance.max():.2f}"
    return f"Chance: {low}." if low == high else f"Chance: {low} to {high}, by layers."


def _diagonal(panel: pd.DataFrame) -> str:
    """Mean over the layers that stand opposite one another, layer 0 left out, and its floor."""
    same = panel[panel["layer_reference"] == panel["layer_candidate"]]
    same = same[same["layer_reference"] > 0]
    depths = panel[["layer_reference", "layer_candidate"]].max()
    if same.empty or depths.iloc[0] != depths.iloc[1]:
        return ""
    text = f"mean of the diagonal {same['value'].mean():.2f}"
    floor = same["floor"].mean(skipna=False)
    return text if np.isnan(floor) else f"{text}, seed floor {floor:.2f}"


def _is_annotated(frame: pd.DataFrame) -> bool:
    layers = frame[["layer_reference", "layer_candidate"]]
    return max(layers.nunique(), default=0) <= MOST_ANNOTATED


def _draw(ax: Axes, panel: pd.DataFrame, low: float, high: float) -> AxesImage:
    grid = panel.pivot_table(index="layer_reference", columns="layer_candidate", values="value")
    values = grid.to_numpy(dtype=float)
    colours = matplotlib.colormaps[style.DIVERGING if low < 0 else style.SEQUENTIAL]
    colours = colours.with_extremes(bad="#F2F2F2")
    image = ax.imshow(
        np.ma.masked_invalid(values),
        cmap=colours,
        vmin=low,
        vmax=high,
        origin="lower",
        aspect="equal",
        interpolation="nearest",
    )
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.tick_params(length=0)
    _number_layers(ax, grid.columns.to_numpy("float64"), grid.index.to_numpy("float64"))
    ax.set_xlabel("layer of the candidate")
    ax.set_ylabel("layer of the reference")
    within = panel.assign(mark=panel["within_floor"].astype(float)).pivot_table(
        index="layer_reference", columns="layer_candidate", values="mark"
    )
    marked = within.reindex_like(grid).to_numpy(dtype=float) > 0
    if max(values.shape) <= MOST_ANNOTATED:
        _annotate(ax, values, marked, image)
    else:
        rows, columns = np.nonzero(marked)
        ax.plot(columns, rows, ls="", marker="o", ms=1.6, mew=0, color=style.INK)
    return image


def _number_layers(ax: Axes, columns: np.ndarray, rows: np.ndarray) -> None:
    """Number the layers, every one when few, else about eight with the last one kept."""
    for axis, layers in ((ax.xaxis, columns), (ax.yaxis, rows)):
        stride = max(1, -(-len(layers) // 9))
        shown = [i for i in range(len(layers)) if i % stride == 0 or i == len(layers) - 1]
        if len(shown) > 1 and shown[-1] - shown[-2] < max(stride // 2, 1):
            del shown[-2]
        axis.set_ticks(shown, labels=[str(int(layers[i])) for i in shown])


def _annotate(ax: Axes, values: np.ndarray, marked: np.ndarray, image: AxesImage) -> None:
    """Write each value into its cell, and frame those that are marked."""
    size = 7.5 if max(values.shape) <= 7 else 6.5
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            red, green, blue, _ = image.cmap(image.norm(value))
            dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.55
            ink = "white" if dark else style.INK
            if marked[row, column]:
                corner = (column - 0.4, row - 0.4)
                ax.add_patch(Rectangle(corner, 0.8, 0.8, fill=False, ec=ink, lw=0.7))
            ax.text(
                column,
                row,
                f"{round(value, 2) + 0.0:.2f}".replace("-", "\N{MINUS SIGN}"),
                ha="center",
                va="center",
                size=size,
                color=ink,
            )


def _extend(values: pd.Series, low: float, high: float) -> str:
    """Say on the colour bar whether values lie beyond its ends."""
    under, over = bool((values < low).any()), bool((values > high).any())
    return {(False, False): "neither", (True, False): "min", (False, True): "max"}.get(
        (under, over), "both"
    )

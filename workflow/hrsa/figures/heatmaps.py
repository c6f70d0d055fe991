"""Layer-by-layer heat maps: which layer of one model resembles which layer of the other."""

from collections.abc import Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from hrsa.figures import style
from hrsa.figures.frames import prepare, stages_of

CELL_COLUMNS = ("stage", "kind", "pair", "layer_reference", "layer_candidate", "value")
MOST_ANNOTATED = 9  # layers on a side up to which each cell shows its value


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
        Columns stage, kind, pair, layer_reference, layer_candidate, value; one row per cell
        (`hrsa.figures.frames.heatmap_cells` selects them from the similarity table).
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
        A place without a pair says so. Several pairs of one kind and stage share a column.
    """
    frame = prepare(cells, CELL_COLUMNS, "the table of heat map cells")
    rows = _rows(frame, kinds)
    fig = style.new_figure(
        1.1 + 3.1 * len(kinds),
        3.5 * len(rows),
        title=title,
        subtitle=subtitle,
        notes="Layer 0 is the token embeddings; the last layer is read after the final norm.",
    )
    axes = fig.subplots(len(rows), len(kinds), squeeze=False)
    image = None
    for row_axes, (stage, nth) in zip(axes, rows, strict=True):
        for ax, kind in zip(row_axes, kinds, strict=True):
            pairs = _pairs(frame, stage, kind)
            ax.set_title(f"{style.kind_label(kind)}, {stage}", color=style.kind_colour(kind))
            if nth < len(pairs):
                panel = frame[(frame["pair"] == pairs[nth]) & (frame["stage"] == stage)]
                ax.set_title(
                    f"{style.kind_label(kind)}, {stage}: {pairs[nth]}",
                    color=style.kind_colour(kind),
                )
                image = _draw(ax, panel, low, high)
            else:
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
    if max(values.shape) <= MOST_ANNOTATED:
        _annotate(ax, values, image)
    return image


def _number_layers(ax: Axes, columns: np.ndarray, rows: np.ndarray) -> None:
    """Number the layers, every one when few, else about eight with the last one kept."""
    for axis, layers in ((ax.xaxis, columns), (ax.yaxis, rows)):
        stride = max(1, -(-len(layers) // 9))
        shown = [i for i in range(len(layers)) if i % stride == 0 or i == len(layers) - 1]
        if len(shown) > 1 and shown[-1] - shown[-2] < max(stride // 2, 1):
            del shown[-2]
        axis.set_ticks(shown, labels=[str(int(layers[i])) for i in shown])


def _annotate(ax: Axes, values: np.ndarray, image: AxesImage) -> None:
    size = 7.5 if max(values.shape) <= 7 else 6.5
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            red, green, blue, _ = image.cmap(image.norm(value))
            dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.55
            ax.text(
                column,
                row,
                f"{round(value, 2) + 0.0:.2f}".replace("-", "\N{MINUS SIGN}"),
                ha="center",
                va="center",
                size=size,
                color="white" if dark else style.INK,
            )


def _extend(values: pd.Series, low: float, high: float) -> str:
    """Say on the colour bar whether values lie beyond its ends."""
    under, over = bool((values < low).any()), bool((values > high).any())
    return {(False, False): "neither", (True, False): "min", (False, True): "max"}.get(
        (under, over), "both"
    )

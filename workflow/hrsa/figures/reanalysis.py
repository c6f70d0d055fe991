"""Published differences with their intervals, against the margins of equivalence."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hrsa.figures import style
from hrsa.figures.forest import draw_difference, listed, shade_margins, signed

COLUMNS = (
    "pair", "kind", "suite", "delta", "margin", "ci90_low", "ci90_high", "ci95_low", "ci95_high",
    "verdict",
)  # fmt: skip
TITLE = "Published differences, tested for equivalence"
_VIEW = 1.3  # the panel reaches this many times the widest margin
_ROW, _GAP = 0.24, 1.15  # inches of a row; rows that a pair's name takes above its own
_NUMBERS, _FIRST_VERDICT, _LAST = 0.0, 0.36, 1.0  # where columns of text start, and the last ends


def forest_plot(reanalysis: pd.DataFrame) -> Figure:
    """Draw each published difference with its 90 % and 95 % intervals, and its verdicts beside it.

    Parameters
    ----------
    reanalysis : DataFrame
        As `hrsa.reporting.reanalysis.reanalyse` returns it, with one margin or two. Pairs and
        suites stay in its order. A difference far outside the margins is an arrow at the edge, so
        that it does not press the others together.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If the table has rows and lacks a column.
    """
    if reanalysis.empty:
        return style.empty_figure(TITLE, "no published differences")
    missing = [name for name in COLUMNS if name not in reanalysis]
    if missing:
        raise ValueError(f"the re-analysis lacks the column(s) {', '.join(missing)}")
    table = reanalysis.astype(dict.fromkeys(("pair", "kind", "suite", "verdict"), "object"))
    margins = sorted(table["margin"].unique())
    rows = table[table["margin"] == margins[0]].reset_index(drop=True)
    starts = rows["pair"] != rows["pair"].shift()
    rows = rows.assign(y=rows.index + _GAP * starts.cumsum(), starts=starts)
    fig = style.new_figure(
        11.4,
        _ROW * (rows["y"].iloc[-1] + 1) + 1.1,
        title=TITLE,
        subtitle="Score of the embedding model from the reasoning model minus that from its base, "
        f"in points. Thick: 90 % interval, thin: 95 %. Shaded: margins of {listed(margins)} "
        "points. Equivalent: the 90 % interval lies inside the margin; different: the 95 % "
        "interval leaves out 0; both can hold.",
        notes="Intervals by t over training seeds, on the assumption that the published spread is "
        "the standard deviation over them. Arrow: outside the panel.",
        legend=[
            (style.kind_colour(kind), style.kind_label(kind)) for kind in rows["kind"].unique()
        ],
    )
    panel, words = fig.subplots(1, 2, width_ratios=[4.6, 5.2], sharey=True)
    _draw(panel, rows, margins)
    _write(words, rows, table, margins)
    return fig


def _draw(ax: Axes, rows: pd.DataFrame, margins: list[float]) -> None:
    limit = _VIEW * margins[-1]
    shade_margins(ax, margins)
    for row in _each(rows):
        draw_difference(ax, row, row.y, limit)
    ax.set_xlim(-limit, limit)
    ax.set_ylim(rows["y"].iloc[-1] + 0.7, -0.7)
    ax.set_yticks(rows["y"], labels=rows["suite"])
    ax.tick_params(axis="y", length=0)
    for row in _each(rows[rows["starts"]]):
        ax.annotate(row.pair, (0, row.y - 1), xycoords=("axes fraction", "data"), xytext=(-4, 0),
                    textcoords="offset points", ha="right", va="center", size=style.SMALL_SIZE,
                    weight="bold", color=style.kind_colour(row.kind))  # fmt: skip
    ax.grid(False)
    ax.spines["left"].set_visible(False)
    ax.set_xlabel("difference (points)")


def _write(ax: Axes, rows: pd.DataFrame, table: pd.DataFrame, margins: list[float]) -> None:
    """Write the numbers and a column of verdicts for each margin beside the panel."""
    ax.axis("off")
    ax.set_xlim(0, _LAST)
    step = (_LAST - _FIRST_VERDICT) / len(margins)
    lefts = [_FIRST_VERDICT + i * step for i in range(len(margins))]
    heads = ["difference [95 % interval]", *(f"at ±{margin:g} points" for margin in margins)]
    for left, head in zip([_NUMBERS, *lefts], heads, strict=True):
        ax.annotate(head, (left, 1.0), xycoords=("data", "axes fraction"), va="bottom",
                    size=style.SMALL_SIZE, weight="bold")  # fmt: skip
    verdicts = table.set_index(["pair", "suite", "margin"])["verdict"]
    for row in _each(rows):
        ends = [signed(end, 3) for end in (row.ci95_low, row.ci95_high)]
        numbers = f"{signed(row.delta)} [{ends[0]}, {ends[1]}]"
        _text(ax, _NUMBERS, row.y, numbers)
        for left, margin in zip(lefts, margins, strict=True):
            _text(ax, left, row.y, verdicts.loc[row.pair, row.suite, margin])


def _text(ax: Axes, x: float, y: float, text: str) -> None:
    ax.text(x, y, text, va="center", size=style.SMALL_SIZE, color=style.INK)


def _each(rows: pd.DataFrame) -> Iterator[Any]:
    """Rows with their columns as attributes, of whatever types those have."""
    yield from rows.itertuples()

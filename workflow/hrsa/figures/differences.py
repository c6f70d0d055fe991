"""Differences of benchmark scores with their intervals, pair by pair, against the margins."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hrsa.benchmarks.chance import NO_TASK_LEFT, remark_at_chance
from hrsa.benchmarks.differences import ITEMS, SEEDS, TASKS
from hrsa.figures import style
from hrsa.figures.forest import draw_difference, listed, shade_margins

COLUMNS = (
    "pair", "kind", "level", "suite", "task", "seed", "delta", "n", "ci90_low", "ci90_high",
    "ci95_low", "ci95_high", "margin", "verdict", "note",
)  # fmt: skip
TITLE = "Differences between models on the benchmarks, tested for equivalence"
MOST_TASKS = 12  # of a suite; with more only their mean is drawn
_TEXTS = ("pair", "kind", "level", "suite", "task", "verdict", "note")
_VIEW = 2.0  # a panel reaches this many times the widest margin
_ROW, _PANEL = 0.24, 0.85  # inches of a row with one test; of a panel beside its rows
_SEED = 0.06  # inches by which each further seed makes a row higher
_COLUMNS = 2
_SEEDS_APART = 0.6  # share of a row over which the seeds of a task lie
_UNITS = {SEEDS: "training seeds", TASKS: "tasks", ITEMS: "items"}


@dataclass(frozen=True)
class _Line:
    """A row of a panel: a task or a mean over tasks, and its tests (several: one per seed)."""

    label: str
    tests: pd.DataFrame
    is_mean: bool

    @property
    def is_at_chance(self) -> bool:
        return any(self.tests["note"].map(remark_at_chance))

    @property
    def verdicts(self) -> str:
        """The verdict, or how many seeds have which."""
        counts = self.tests["verdict"].value_counts(sort=False)
        if counts.empty:
            return "no task above chance"
        if len(self.tests) == 1:
            return str(counts.index[0])
        return ", ".join(f"{count} {verdict}" for verdict, count in counts.items())


def forest_of_pairs(differences: pd.DataFrame) -> Figure:
    """Draw a panel per pair: the mean over tasks and each task, with 90 % and 95 % intervals.

    Parameters
    ----------
    differences : DataFrame
        Of `hrsa.benchmarks.differences.differences_table`. The mean over tasks is that over
        training seeds where these were tested, else that over tasks; a task is tested over training
        seeds, else over its items for each seed. Pairs stay in the table's order. A difference far
        outside the margins is an arrow at the edge, so that it does not press the others together,
        beside the part of its interval that is inside.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If the table has rows and lacks a column.
    """
    missing = [name for name in COLUMNS if name not in differences]
    if missing and len(differences):
        raise ValueError(f"the table of differences lacks the column(s) {', '.join(missing)}")
    table = differences.reindex(columns=list(COLUMNS)).astype(dict.fromkeys(_TEXTS, "object"))
    margins = sorted(table["margin"].unique())
    narrowest = table[table["margin"] == margins[0]] if margins else table
    panels = {
        str(pair): lines
        for pair, rows in narrowest.groupby("pair", sort=False)
        if (lines := list(_lines(rows)))
    }
    if not panels:
        return style.empty_figure(TITLE, "no two models whose scores could be tested")
    columns = min(len(panels), _COLUMNS)
    beside = [list(panels.values())[i : i + columns] for i in range(0, len(panels), columns)]
    most = [max(map(len, lines)) for lines in beside]
    heights = [_height(lines) for lines in beside]
    fig = style.new_figure(
        5.7 * columns,
        sum(heights),
        title=TITLE,
        subtitle=_subtitle(margins, panels),
        notes="The scale is the same in all panels and ends at "
        f"±{_VIEW * margins[-1]:g}: intervals are cut there, and an arrow is a difference beyond "
        "it, with its value." + _of_many_tasks(narrowest),
        legend=[(style.kind_colour(kind), style.kind_label(kind)) for kind in _kinds(panels)],
    )
    grid = fig.add_gridspec(len(heights), columns, height_ratios=heights)
    for i, (pair, lines) in enumerate(panels.items()):
        row, column = divmod(i, columns)
        _draw(fig.add_subplot(grid[row, column]), pair, lines, margins, most[row])
    return fig


def _height(panels: list[list[_Line]]) -> float:
    """Inches of panels that lie beside one another."""
    seeds = max(len(line.tests) for lines in panels for line in lines)
    return (_ROW + _SEED * (seeds - 1)) * max(map(len, panels)) + _PANEL


def _subtitle(margins: list[float], panels: dict[str, list[_Line]]) -> str:
    at_chance = any(line.is_at_chance for lines in panels.values() for line in lines)
    return (
        "Score of the second model of a pair minus that of the first (scores run from 0 to 1). "
        f"Thick: 90 % interval, thin: 95 %. Shaded: margins of {listed(margins)}; in words: the "
        f"verdict at ±{margins[0]:g}. Equivalent: the 90 % interval lies inside the margin; "
        "different: the 95 % interval leaves out 0; both can hold."
        + (
            " Hollow: neither model is shown above chance on the task; equal scores say nothing "
            "there, and the mean is without it."
            if at_chance
            else ""
        )
    )


def _of_many_tasks(rows: pd.DataFrame) -> str:
    counts = rows.groupby("suite", sort=True)["task"].nunique()
    found = [f"{suite} ({count})" for suite, count in counts.items() if count > MOST_TASKS]
    if not found:
        return ""
    return f" Too many tasks to draw, and so only their mean: {', '.join(found)}."


def _kinds(panels: dict[str, list[_Line]]) -> list[str]:
    return list(dict.fromkeys(lines[0].tests["kind"].iloc[0] for lines in panels.values()))


def _lines(rows: pd.DataFrame) -> Iterator[_Line]:
    """Choose what is drawn of a pair, suite by suite."""
    tested = rows["verdict"].notna()
    refused = rows["note"].str.startswith(NO_TASK_LEFT, na=False)
    for suite, own in rows[tested | refused].groupby("suite", sort=True):
        means = own[own["task"].isna() & ((own["level"] == SEEDS) | own["seed"].isna())]
        means = means.sort_values("verdict", key=lambda found: found.isna(), kind="stable")
        best = means[means["level"] == SEEDS] if _has_verdict(means, SEEDS) else means.head(1)
        if len(best):
            several = rows["suite"].nunique() > 1
            yield _Line(f"mean of {suite}" if several else "mean over tasks", best.head(1), True)
        if own["task"].nunique() > MOST_TASKS:
            continue
        for task, found in own[own["task"].notna()].groupby("task", sort=True):
            over_seeds = found[found["level"] == SEEDS]
            yield _Line(str(task), found if over_seeds.empty else over_seeds, False)


def _has_verdict(means: pd.DataFrame, level: str) -> bool:
    return bool(means.loc[means["level"] == level, "verdict"].notna().any())


def _draw(ax: Axes, pair: str, lines: list[_Line], margins: list[float], room: int) -> None:
    limit = _VIEW * margins[-1]
    shade_margins(ax, margins)
    for y, line in enumerate(lines):
        size = 1.25 if line.is_mean else 1 / (1 + 0.25 * (len(line.tests) - 1))
        tests = line.tests[line.tests["verdict"].notna()]
        for place, test in zip(_places(len(tests)), _each(tests), strict=True):
            draw_difference(ax, test, y + place, limit, hollow=line.is_at_chance, size=size)
        ax.annotate(line.verdicts, (1.0, y), xycoords=("axes fraction", "data"), xytext=(6, 0),
                    textcoords="offset points", va="center", size=style.SMALL_SIZE,
                    color=style.QUIET if line.is_at_chance else style.INK)  # fmt: skip
    ax.set_xlim(-limit, limit)
    ax.locator_params(axis="x", nbins=4)
    ax.set_ylim(room - 0.4, -0.6)  # rows are as high in every panel beside it
    ax.set_yticks(range(len(lines)), labels=[line.label for line in lines])
    for label, line in zip(ax.get_yticklabels(), lines, strict=True):
        label.set_fontweight("bold" if line.is_mean else "normal")
        label.set_color(style.QUIET if line.is_at_chance else style.INK)
    ax.tick_params(axis="y", length=0)
    ax.grid(False)
    ax.spines["left"].set_visible(False)
    ax.set_xlabel("difference of the score")
    colour = style.kind_colour(lines[0].tests["kind"].iloc[0])
    style.title_with_detail(ax, pair, _detail(lines), colour)


def _places(n: int) -> list[float]:
    """Heights of the seeds of a task, about its row."""
    return [0.0] if n == 1 else [_SEEDS_APART * (i / (n - 1) - 0.5) for i in range(n)]


def _detail(lines: list[_Line]) -> str:
    """Say what is random in the tests of a panel."""
    said = []
    for what, own in (
        ("mean", [line for line in lines if line.is_mean]),
        ("tasks", [line for line in lines if not line.is_mean]),
    ):
        tests = pd.concat([line.tests for line in own]) if own else None
        if tests is None or not tests["verdict"].notna().any():
            continue
        level = str(tests["level"].iloc[0])
        count = "" if level == ITEMS else f"{int(tests['n'].max())} "
        several = ", seed by seed" if any(len(line.tests) > 1 for line in own) else ""
        said.append((what, f"over {count}{_UNITS[level]}{several}"))
    if len({over for _, over in said}) == 1:
        return said[0][1]
    return "; ".join(f"{what} {over}" for what, over in said)


def _each(rows: pd.DataFrame) -> Iterator[Any]:
    """Rows with their columns as attributes, of whatever types those have."""
    yield from rows.itertuples()

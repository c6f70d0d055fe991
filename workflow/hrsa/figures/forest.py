"""What forest plots share: differences with two intervals each, over bands for the margins."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from hrsa.figures import style

_SHADES = (0.72, 0.9)  # share of white of the narrowest margin's band and of the widest one's
_THICK, _THIN, _MARKER = 3.4, 1.1, 5.5
# Of an arrow, as shares of the half-width: where it begins, and where the intervals end under its
# head; between a value and what it stands before; where a value may end so that it has room.
_TAIL, _NECK, _GAP, _LEAST = 0.8, 0.94, 0.04, -0.6


def shade_margins(ax: Axes, margins: Sequence[float]) -> None:
    """Shade a band for each margin, the narrowest darkest, and draw the line of no difference.

    Parameters
    ----------
    ax : Axes
    margins : sequence of float
        Ascending, > 0.
    """
    shades = dict(zip((margins[0], margins[-1]), _SHADES, strict=True))
    for margin in reversed(margins):
        shade = style.paler(style.QUIET, shades.get(margin, sum(_SHADES) / 2))
        ax.axvspan(-margin, margin, color=shade, lw=0, zorder=0)
    ax.axvline(0, color=style.INK, lw=0.8, zorder=1)


def draw_difference(
    ax: Axes, row: Any, y: float, limit: float, *, hollow: bool = False, size: float = 1.0
) -> None:
    """Draw a difference with its 95 % interval (thin) and its 90 % interval (thick).

    Parameters
    ----------
    ax : Axes
    row : object
        With delta, ci90_low, ci90_high, ci95_low, ci95_high and kind.
    y : float
        Where it is drawn.
    limit : float
        Half the width of the panel. A difference farther from 0 is an arrow at the edge with its
        value, which ends the part of its intervals that is inside.
    hollow : bool
        Only the rim of the marker, or of the arrow's head.
    size : float
        Of marker and lines.
    """
    colour = style.kind_colour(row.kind)
    is_inside = abs(row.delta) <= limit
    _draw_intervals(ax, row, y, limit if is_inside else _NECK * limit, size)
    inside, rim = ("white", colour) if hollow else (colour, "white")
    if not is_inside:
        _draw_arrow(ax, row, y, limit, inside)
        return
    marker = style.KIND_MARKERS.get(row.kind, "o")
    ax.plot(row.delta, y, ls="", marker=marker, ms=_MARKER * size, mfc=inside, mec=rim,
            mew=1.2 if hollow else 0.8, gid="hollow" if hollow else "difference")  # fmt: skip


def _draw_intervals(ax: Axes, row: Any, y: float, limit: float, size: float) -> None:
    """Draw what lies inside the limits."""
    colour = style.kind_colour(row.kind)
    ends = ((row.ci95_low, row.ci95_high, _THIN), (row.ci90_low, row.ci90_high, _THICK))
    for low, high, width in ends:
        if low < limit and high > -limit:
            ax.plot([max(low, -limit), min(high, limit)], [y] * 2, lw=width * size, color=colour,
                    solid_capstyle="butt", gid="interval")  # fmt: skip


def _draw_arrow(ax: Axes, row: Any, y: float, limit: float, inside: str) -> None:
    """An arrow towards a difference that the panel has no room for, with its value."""
    colour = style.kind_colour(row.kind)
    side = 1 if row.delta > 0 else -1
    arrow = {"arrowstyle": "-|>", "fc": inside, "ec": colour, "lw": 1.4, "mutation_scale": 11}
    ax.annotate("", (side * limit, y), xytext=(side * _TAIL * limit, y), gid="arrow",
                arrowprops=arrow | {"shrinkA": 0, "shrinkB": 0})  # fmt: skip
    # the value stands before the arrow and its interval or, where that leaves no room, on it
    end = min(side * (row.ci95_low if side > 0 else row.ci95_high) / limit, _TAIL) - _GAP
    covered = end < _LEAST
    ax.text(side * (_TAIL - _GAP if covered else end) * limit, y, signed(row.delta),
            ha="right" if side > 0 else "left", va="center", size=style.SMALL_SIZE, color=colour,
            bbox={"fc": "white", "ec": "none", "pad": 0.6} if covered else None)  # fmt: skip


def signed(value: float, decimals: int = 2) -> str:
    """Write a number with its sign."""
    return f"{value:+.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def listed(margins: Sequence[float]) -> str:
    """Write margins as `±0.02 and ±0.05`."""
    return " and ".join(f"±{margin:g}" for margin in margins)

"""What forest plots share: differences with two intervals each, over bands for the margins."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from hrsa.figures import style

_SHADES = (0.72, 0.9)  # share of white of the narrowest margin's band and of the widest one's
_THICK, _THIN, _MARKER = 3.4, 1.1, 5.5


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
        A difference farther from 0 is an arrow at the edge with its value.
    hollow : bool
        Only the rim of the marker.
    size : float
        Of marker and lines.
    """
    if abs(row.delta) > limit:
        _draw_outside(ax, row, y, limit)
        return
    colour = style.kind_colour(row.kind)
    options: dict[str, Any] = {"color": colour, "solid_capstyle": "butt", "gid": "interval"}
    ax.plot([row.ci95_low, row.ci95_high], [y] * 2, lw=_THIN * size, **options)
    ax.plot([row.ci90_low, row.ci90_high], [y] * 2, lw=_THICK * size, **options)
    inside, rim = ("white", colour) if hollow else (colour, "white")
    marker = style.KIND_MARKERS.get(row.kind, "o")
    ax.plot(row.delta, y, ls="", marker=marker, ms=_MARKER * size, mfc=inside, mec=rim,
            mew=1.2 if hollow else 0.8, gid="hollow" if hollow else "difference")  # fmt: skip


def _draw_outside(ax: Axes, row: Any, y: float, limit: float) -> None:
    """An arrow towards a difference that the panel has no room for, with its value."""
    colour = style.kind_colour(row.kind)
    side = 1 if row.delta > 0 else -1
    ax.annotate(
        signed(row.delta),
        (side * limit, y),
        xytext=(side * limit * 0.8, y),
        ha="right" if side > 0 else "left",
        va="center",
        size=style.SMALL_SIZE,
        color=colour,
        arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 1.4, "shrinkA": 1, "shrinkB": 0},
    )


def signed(value: float, decimals: int = 2) -> str:
    """Write a number with its sign."""
    return f"{value:+.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def listed(margins: Sequence[float]) -> str:
    """Write margins as `±0.02 and ±0.05`."""
    return " and ".join(f"±{margin:g}" for margin in margins)

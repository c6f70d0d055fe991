"""House style of the figures: one font, one palette, one way to title, to label and to save."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle

# After Okabe and Ito: colours that stay apart for colour-blind readers; kinds differ by marker too.
KIND_COLOURS = {
    "sft": "#D55E00",
    "rlvr": "#0072B2",
    "control": "#B85C95",
    "contrastive": "#007F5F",
    "seed": "#767676",
    "base": "#333333",
    "other": "#4B5FA8",
}
KIND_MARKERS = {
    "sft": "o",
    "rlvr": "s",
    "control": "^",
    "contrastive": "D",
    "seed": "v",
    "base": "o",
    "other": "P",
}
KIND_LABELS = {
    "sft": "SFT",
    "rlvr": "RLVR",
    "control": "control",
    "contrastive": "contrastive",
    "seed": "seeds",
    "base": "base",
    "other": "pair",
}
RECIPE_KINDS = {
    "pretrain": "base",
    "reading": "base",
    "sft": "sft",
    "rlvr": "rlvr",
    "continued": "control",
    "contrastive": "contrastive",
}
INK = "#1F1F1F"
QUIET = "#5F5F5F"
RULE = "#D9D9D9"
ALERT = "#B00020"

TITLE_SIZE = 12.0
TEXT_SIZE = 9.0
SMALL_SIZE = 8.0
DPI = 160

SEQUENTIAL = "viridis"
DIVERGING = "RdBu_r"

SMOKE_WATERMARK = (
    "Smoke run: everything is cut short to test the machinery. These numbers mean nothing."
)

_MARGIN = 0.12  # inches, left and right of the text
_LEGEND_ROOM = 0.3  # inches under the subtitle
_WATERMARK_ROOM = 0.26  # inches below the notes, empty unless a watermark is drawn


def apply_style() -> None:
    """Set the matplotlib parameters of the house style (idempotent)."""
    matplotlib.rcParams.update(
        {
            "font.family": "DejaVu Sans",  # comes with matplotlib: the same on every machine
            "font.size": TEXT_SIZE,
            "text.color": INK,
            "axes.labelcolor": INK,
            "axes.labelsize": TEXT_SIZE,
            "axes.titlesize": TEXT_SIZE + 0.5,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.edgecolor": QUIET,
            "axes.linewidth": 0.7,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": RULE,
            "grid.linewidth": 0.5,
            "xtick.color": QUIET,
            "ytick.color": QUIET,
            "xtick.labelcolor": INK,
            "ytick.labelcolor": INK,
            "xtick.labelsize": SMALL_SIZE,
            "ytick.labelsize": SMALL_SIZE,
            "lines.linewidth": 1.6,
            "lines.markersize": 4.5,
            "legend.frameon": False,
            "legend.fontsize": SMALL_SIZE,
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "pdf.fonttype": 42,  # TrueType: text in the PDF can be searched and edited
            "axes.unicode_minus": True,
        }
    )


def kind_colour(kind: str | None) -> str:
    """Return the colour of a kind of pair (or of `base`); a quiet grey for any other name."""
    return KIND_COLOURS.get(kind or "", QUIET)


def kind_label(kind: str) -> str:
    """Return the name of a kind of pair as it is printed."""
    return KIND_LABELS.get(kind, kind)


def paler(colour: str, share: float = 0.6) -> str:
    """Mix a colour with white; `share` is the share of white."""
    red, green, blue = (part + (1.0 - part) * share for part in matplotlib.colors.to_rgb(colour))
    return matplotlib.colors.to_hex((red, green, blue))


def new_figure(
    width: float,
    body_height: float,
    *,
    title: str,
    subtitle: str = "",
    notes: str = "",
    legend: Sequence[tuple[str, str]] = (),
) -> Figure:
    """Start a figure whose title, subtitle, legend and notes have room of their own.

    Parameters
    ----------
    width, body_height : float
        Inches. The height of the whole figure is the body's plus that of the wrapped texts.
    title : str
        What is shown; bold, left.
    subtitle : str
        How to read it, one or two sentences under the title.
    notes : str
        Small print below the panels.
    legend : sequence of (colour, text)
        A row of swatches under the subtitle.

    Returns
    -------
    Figure
        With constrained layout confined to the body; add axes with `fig.subplots`.
    """
    apply_style()
    title_lines = _wrap(title, width, TITLE_SIZE, bold=True)
    subtitle_lines = _wrap(subtitle, width, TEXT_SIZE)
    note_lines = _wrap(notes, width, SMALL_SIZE)
    texts = 0.12 + _height(title_lines, TITLE_SIZE) + _height(subtitle_lines, TEXT_SIZE)
    header = texts + (_LEGEND_ROOM if legend else 0.0) + 0.1
    footer = 0.05 + _height(note_lines, SMALL_SIZE) + _WATERMARK_ROOM
    height = header + body_height + footer
    engine = ConstrainedLayoutEngine(
        rect=(0.0, footer / height, 1.0, body_height / height),
        w_pad=0.08,
        h_pad=0.08,
        wspace=0.03,
        hspace=0.05,
    )
    fig = Figure(figsize=(width, height), layout=engine)
    left = _MARGIN / width
    top = 1 - 0.12 / height
    fig.suptitle(
        "\n".join(title_lines), x=left, y=top, ha="left", va="top", size=TITLE_SIZE, weight="bold"
    ).set_in_layout(False)
    if subtitle_lines:
        below_title = top - _height(title_lines, TITLE_SIZE) / height
        _text(fig, left, below_title, subtitle_lines, TEXT_SIZE, va="top")
    _legend_row(fig, legend, 1 - (texts + 0.6 * _LEGEND_ROOM) / height)
    if note_lines:
        _text(fig, left, _WATERMARK_ROOM / height, note_lines, SMALL_SIZE, va="bottom")
    return fig


def save(fig: Figure, png: Path, pdf: Path, *, watermark: str | None = None) -> None:
    """Write a figure as PNG and PDF, byte for byte the same for the same figure.

    Parameters
    ----------
    fig : Figure
    png, pdf : Path
        Parent folders are made.
    watermark : str, optional
        A line in red at the foot, for instance `SMOKE_WATERMARK`.
    """
    png, pdf = Path(png), Path(pdf)
    if watermark:
        width, height = fig.get_size_inches()
        line = fig.text(
            0.5,
            0.07 / height,
            watermark,
            ha="center",
            va="bottom",
            size=min(TEXT_SIZE, width * 72 / (0.62 * len(watermark))),
            weight="bold",
            color=ALERT,
            gid="watermark",
        )
        line.set_in_layout(False)
    for path in (png, pdf):
        path.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(png, format="png", dpi=DPI, metadata={"Software": None})
    undated = {"CreationDate": None, "ModDate": None, "Producer": None, "Creator": None}
    fig.savefig(pdf, format="pdf", metadata=undated)


def empty_panel(ax: Axes, reason: str) -> None:
    """Leave a panel empty and say why."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(True)
        spine.set_color(RULE)
        spine.set_linestyle((0, (4, 3)))
    ax.text(
        0.5,
        0.5,
        textwrap.fill(reason, 34),
        transform=ax.transAxes,
        ha="center",
        va="center",
        size=TEXT_SIZE,
        style="italic",
        color=QUIET,
    )


def empty_figure(title: str, reason: str) -> Figure:
    """Return a figure that holds nothing but its title and the reason why it is empty."""
    fig = new_figure(7.0, 1.6, title=title)
    empty_panel(fig.subplots(), reason)
    return fig


def title_with_detail(ax: Axes, title: str, detail: str, colour: str = INK) -> None:
    """Title a panel, with a line of quiet small print below the title."""
    ax.set_title(title, pad=17 if detail else None, color=colour)
    if detail:
        ax.annotate(
            detail,
            (0, 1),
            xycoords="axes fraction",
            xytext=(0, 5),
            textcoords="offset points",
            size=SMALL_SIZE,
            color=QUIET,
        )


def mark_chance(ax: Axes, chance: float) -> None:
    """Draw the chance level across a panel, or say at the foot how far below the panel it is.

    Parameters
    ----------
    ax : Axes
        With its final limits.
    chance : float
        NaN draws nothing.
    """
    if chance != chance:
        return
    low, high = ax.get_ylim()
    if low <= chance <= high:
        ax.axhline(chance, ls=":", lw=1.2, color=INK)
        return
    ax.annotate(
        f"chance {chance:.2f} {'↓' if chance < low else '↑'}",
        (0.015, 0.05),
        xycoords="axes fraction",
        size=SMALL_SIZE - 0.5,
        color=INK,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5},
    )


def label_line_ends(ax: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Write the names of lines to the right of a panel, pushed apart where they would collide.

    Parameters
    ----------
    ax : Axes
        With its final limits and about its final size.
    ends : sequence of (x, y, text, colour)
        The right-hand end of each line, in data coordinates.
    """
    if not ends:
        return
    ordered = sorted(ends, key=lambda end: end[1])
    low, high = ax.get_ylim()
    panel = ax.get_position().height * ax.figure.get_figure(root=True).get_size_inches()[1]
    gap = (high - low) * (SMALL_SIZE * 1.25 / 72) / panel
    heights = spread([end[1] for end in ordered], gap, low, high)
    for (x, y, text, colour), height in zip(ordered, heights, strict=True):
        ax.annotate(
            text,
            xy=(x, y),
            xytext=(1.04, height),
            textcoords=("axes fraction", "data"),
            va="center",
            ha="left",
            size=SMALL_SIZE,
            color=colour,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": paler(colour, 0.4), "lw": 0.6, "shrinkB": 2},
        )


def spread(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Push ascending positions apart to at least `gap` with the least movement.

    Positions less than a gap apart form a group that is spread about its mean (isotonic
    regression of position − rank · gap by pooling neighbours), then kept within [low, high].
    """
    groups: list[list[float]] = []  # sum and count of position − rank · gap
    for rank, position in enumerate(positions):
        groups.append([position - rank * gap, 1])
        while len(groups) > 1 and groups[-2][0] / groups[-2][1] >= groups[-1][0] / groups[-1][1]:
            total, count = groups.pop()
            groups[-1][0] += total
            groups[-1][1] += count
    levels = [total / count for total, count in groups for _ in range(int(count))]
    highest = high - (len(levels) - 1) * gap
    levels = [max(min(level, highest), low) for level in levels]
    return [level + rank * gap for rank, level in enumerate(levels)]


def _wrap(text: str, width: float, size: float, *, bold: bool = False) -> list[str]:
    """Break a text into lines that fit a figure `width` inches wide."""
    character = size * (0.62 if bold else 0.54) / 72
    columns = max(int((width - 2 * _MARGIN) / character), 20)
    return [line for part in text.split("\n") for line in textwrap.wrap(part, columns)]


def _height(lines: Sequence[str], size: float) -> float:
    """Return the height in inches of lines of text."""
    return len(lines) * size * 1.32 / 72


def _legend_row(fig: Figure, entries: Sequence[tuple[str, str]], y: float) -> None:
    """Draw swatches with their texts from the left, centred at the height `y` of the figure."""
    width, height = fig.get_size_inches()
    x = _MARGIN
    for colour, text in entries:
        corner, swatch = (x / width, y - 0.06 / height), (0.2 / width, 0.12 / height)
        fig.add_artist(Rectangle(corner, *swatch, facecolor=colour, edgecolor="none"))
        label = fig.text((x + 0.27) / width, y, text, va="center", size=SMALL_SIZE)
        label.set_in_layout(False)
        x += 0.27 + len(text) * SMALL_SIZE * 0.58 / 72 + 0.2


def _text(fig: Figure, x: float, y: float, lines: list[str], size: float, *, va: str) -> None:
    text = fig.text(x, y, "\n".join(lines), ha="left", va=va, size=size, color=QUIET)
    text.set_in_layout(False)

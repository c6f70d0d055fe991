"""A table drawn into a panel, with thin rules and aligned columns."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from hrsa.figures import style

ROW_HEIGHT = 0.23  # inches


def table_height(n_rows: int) -> float:
    """Return the height in inches that a table of `n_rows` rows and a header needs."""
    return ROW_HEIGHT * (n_rows + 1.6)


def draw_table(
    ax: Axes,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    colours: Sequence[str] | None = None,
    text_columns: int = 1,
    least_lines: float = 0.0,
) -> None:
    """Draw a table that fills a panel.

    Parameters
    ----------
    ax : Axes
    header : sequence of str
        Names of the columns.
    rows : sequence of sequences of str
        Cells, as they are to be printed.
    colours : sequence of str, optional
        Colour of the first cell of each row.
    text_columns : int
        How many columns, from the left, are aligned left; the others are aligned right.
    least_lines : float
        Height of the panel in lines of the table, where the panel is higher than it needs.
    """
    ax.axis("off")
    widths = [
        max(len(str(cell)) for cell in column) + 2.5 for column in zip(header, *rows, strict=True)
    ]
    total = sum(widths)
    lefts = [sum(widths[:i]) / total for i in range(len(widths))]
    ax.set_xlim(0, 1)
    ax.set_ylim(max(len(rows) + 1, least_lines) + 0.1, -0.1)
    for line, cells in enumerate([header, *rows]):
        for i, cell in enumerate(cells):
            left = i < text_columns
            ax.text(
                lefts[i] + (0.004 if left else widths[i] / total - 0.004),
                line + 0.5,
                str(cell),
                ha="left" if left else "right",
                va="center",
                size=style.SMALL_SIZE,
                weight="bold" if line == 0 else "normal",
                color=colours[line - 1] if colours and line and i == 0 else style.INK,
            )
        ax.plot([0, 1], [line + 1] * 2, color=style.QUIET if line == 0 else style.RULE, lw=0.6)

"""Cross-model linear probes: does a classifier fitted on one model work on the other?"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from hrsa.figures import style
from hrsa.figures.frames import (
    dataset_phrase,
    final_layer,
    floor_note,
    floor_rows,
    member_means,
    ordered_pairs,
    prepare_similarity,
    stages_of,
)

# The three bars of a pair: prefixes of the statistic in the table, and what each means.
BARS = {
    "reference_": "reference under its own probe",
    "": "candidate under the reference's probe (full colour)",
    "own_": "candidate under its own probe (pale)",
}
_FLOOR = "how well a probe carries over between models that differ only in a seed."
_LABEL_ROOM = 0.36  # of the axis, that the name of a line takes
_ON_ANY_COLOUR = [withStroke(linewidth=2.2, foreground="white")]
_SCORES = {"accuracy": "accuracy", "macro_f1": "macro F1", "weighted_f1": "weighted F1"}


def probe_bars(
    similarity: pd.DataFrame, *, score: str = "accuracy", dataset: str | None = None
) -> Figure:
    """Draw, for each pair, the reference, the candidate under its probe, and the candidate's own.

    Parameters
    ----------
    similarity : DataFrame
        The similarity table; rows of probe at the final layer with the statistics `accuracy`
        (candidate under the reference's probe), `reference_accuracy` and `own_accuracy`.
    score : {"accuracy", "macro_f1", "weighted_f1"}
    dataset : str, optional
        One data set; the mean over all when left out.

    Returns
    -------
    Figure
        One panel per stage. Bars of a pair with several seeds are means over the seeds, a dot
        each; whiskers are 95 % intervals where there are any.
    """
    title = "Does a linear probe carry over from one model to the other?"
    frame = prepare_similarity(similarity, dataset=dataset)
    frame = frame[(frame["metric"] == "probe") & frame["step"].isna()]
    frame = final_layer(frame[frame["statistic"].isin([prefix + score for prefix in BARS])])
    frame = frame[frame["value"].notna()]
    if frame.empty:
        return style.empty_figure(title, f"no probe rows (metric probe, statistic {score})")
    stages = stages_of(frame)
    counts = [len(ordered_pairs(frame[frame["stage"] == stage])) for stage in stages]
    fig = style.new_figure(
        10.5,
        max(0.72 * max(counts) + 0.7, 1.8),
        title=title,
        subtitle="A classifier is fitted on the reference's sentence embeddings, frozen, and "
        f"scored on the candidate's; final layer; {dataset_phrase(frame)}.",
        notes="Where the pale bar is long and the full one short, the information is still there "
        "but lies elsewhere. Dotted line: chance, always guessing the largest class. "
        f"{floor_note(frame, _FLOOR)} Dots: single seeds; whiskers: 95 % interval over test "
        "samples, given the probe.",
        legend=list(zip(_fills("sft"), BARS.values(), strict=True)),
    )
    axes = fig.subplots(1, len(stages), squeeze=False, sharex=True)[0]
    for ax, stage in zip(axes, stages, strict=True):
        panel = frame[frame["stage"] == stage]
        ax.set_title(stage, pad=16)  # room for the label of the dotted line
        if panel.empty:
            style.empty_panel(ax, f"no probe results at the {stage} stage")
            continue
        _draw(ax, panel, score)
        ax.set_xlabel(f"{_SCORES.get(score, score)} on the test split (0 to 1)")
    return fig


def _draw(ax: Axes, panel: pd.DataFrame, score: str) -> None:
    pairs = ordered_pairs(panel)
    for i, (pair, kind) in enumerate(pairs):
        for j, (prefix, fill) in enumerate(zip(BARS, _fills(kind), strict=True)):
            rows = panel[(panel["pair"] == pair) & (panel["statistic"] == prefix + score)]
            if not rows.empty:
                _bar(ax, i + (j - 1) * 0.27, rows, fill)
    majority = panel["chance"].mean()
    floor = floor_rows(panel[panel["statistic"] == score])["floor"].mean()
    # Labels stand on the far sides of lines that are close.
    close, above = abs(floor - majority) < _LABEL_ROOM, bool(floor > majority)
    grey = style.kind_colour("seed")
    _mark(ax, majority, f"largest class {majority:.2f}", style.INK, ":", left=close and above)
    _mark(ax, floor, f"seed floor {floor:.2f}", grey, "--", left=close and not above)
    ax.set_yticks(range(len(pairs)), labels=[pair for pair, _ in pairs])
    ax.set_ylim(len(pairs) - 0.5, -0.6)
    ax.set_xlim(0, 1.12)
    ax.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    ax.grid(False, axis="y")
    ax.tick_params(axis="y", length=0)


def _mark(ax: Axes, x: float, text: str, colour: str, line: str, *, left: bool) -> None:
    """Draw a line across all bars, with its name above it, to its left or its right."""
    if pd.isna(x):
        return
    ax.axvline(x, ls=line, lw=1.3, color=colour)
    ax.annotate(
        text,
        (x, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(-3 if left else 3, 1),
        textcoords="offset points",
        size=style.SMALL_SIZE,
        color=colour,
        ha="right" if left else "left",
        va="bottom",
    )


def _fills(kind: str) -> tuple[str, str, str]:
    """Return the colours of the three bars of a pair."""
    colour = style.kind_colour(kind)
    return style.paler(style.kind_colour("base"), 0.1), colour, style.paler(colour, 0.65)


def _bar(ax: Axes, y: float, rows: pd.DataFrame, colour: str) -> None:
    """Draw a bar with its value, its interval or the dots of its seeds."""
    means = member_means(rows, "statistic").iloc[0]
    mean, low, high = float(means["value"]), means["ci_low"], means["ci_high"]
    ax.barh(y, mean, height=0.24, color=colour)
    end = mean
    if pd.notna(low) and pd.notna(high):
        ax.plot([low, high], [y, y], color=style.INK, lw=0.9, path_effects=_ON_ANY_COLOUR)
        end = max(end, float(high))
    if len(rows) > 1:
        ax.plot(
            rows["value"],
            [y] * len(rows),
            ls="",
            marker="o",
            ms=2.4,
            color=style.INK,
            path_effects=_ON_ANY_COLOUR,
        )
        end = max(end, float(rows["value"].max()))
    ax.annotate(
        f"{mean:.2f}",
        (end, y),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        size=style.SMALL_SIZE - 1,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
    )

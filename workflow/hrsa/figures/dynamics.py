"""Training dynamics: how similarity to the reference evolves along contrastive training."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hrsa.figures import style
from hrsa.figures.frames import (
    HEADLINES,
    VARIANT_LABELS,
    Headline,
    dataset_phrase,
    floor_note,
    floor_rows,
    headline_rows,
    member_means,
    ordered_pairs,
    prepare_similarity,
)

_COLUMNS = 3
_FLOOR = (
    "the mean of pairs that differ only in a seed, at the end of training; the grey band is their "
    "range."
)


def dynamics_curves(
    similarity: pd.DataFrame,
    *,
    dataset: str | None = None,
    final_step: int | None = None,
    stage: str = "embedding",
) -> Figure:
    """Draw one panel per metric against the training step, SFT and RLVR beside the seed floor.

    Parameters
    ----------
    similarity : DataFrame
        The similarity table; rows with a step are checkpoints, rows without are final models.
    dataset : str, optional
        One data set; the mean over all when left out.
    final_step : int, optional
        Step at which the final models stand; one interval after the last checkpoint when left
        out.
    stage : str
        Stage whose pairs are drawn.

    Returns
    -------
    Figure
        Lines are means over the seeds that have checkpoints, with their 95 % interval as a band;
        open marks at the end are the final models of the other seeds, with whiskers. A control
        without checkpoints is a line across.
    """
    title = "How similar do the models stay while both are trained into embedding models?"
    frame = prepare_similarity(similarity, dataset=dataset)
    frame = frame[frame["stage"] == stage]
    steps = sorted(frame["step"].dropna().unique())
    if not steps:
        return style.empty_figure(title, f"no checkpoints at the {stage} stage")
    end = float(final_step) if final_step is not None else _next_step(steps)
    n_rows = -(-len(HEADLINES) // _COLUMNS)
    fig = style.new_figure(
        11.2,
        2.6 * n_rows,
        title=title,
        subtitle="Reference and candidate at the same step of their contrastive training. "
        "Higher = more alike.",
        notes=f"{floor_note(frame, _FLOOR)} Coloured bands and whiskers: 95 % intervals over "
        "texts. Dotted: chance (an arrow where it lies below the panel). Open marks: final models "
        "of seeds without checkpoints. Each panel has its own scale. "
        f"{_data_sets(frame)}",
    )
    axes = fig.subplots(n_rows, _COLUMNS, squeeze=False).ravel()
    for ax, headline in zip(axes, HEADLINES, strict=False):
        rows = headline_rows(frame, headline)
        _title(ax, headline, rows)
        if rows["step"].notna().any():
            _draw(ax, rows, end, exact=final_step is not None)
            ax.set_ylabel(headline.axis)
        else:
            style.empty_panel(ax, f"no {headline.metric} rows with a step at the {stage} stage")
    for ax in axes[len(HEADLINES) :]:
        ax.remove()
    return fig


def _next_step(steps: list[float]) -> float:
    gap = steps[-1] - steps[-2] if len(steps) > 1 else max(steps[-1], 1.0)
    return steps[-1] + gap


def _data_sets(frame: pd.DataFrame) -> str:
    """Say which panels average over which data sets."""
    panels: dict[str, list[str]] = {}
    for headline in HEADLINES:
        rows = headline_rows(frame, headline)
        if not rows.empty:
            panels.setdefault(dataset_phrase(rows), []).append(headline.label)
    if not panels:
        return ""
    most = max(panels, key=lambda phrase: len(panels[phrase]))
    others = [f"{' and '.join(names)}: {p}" for p, names in panels.items() if p != most]
    return f"{'; '.join([most[0].upper() + most[1:], *others])}."


def _title(ax: Axes, headline: Headline, rows: pd.DataFrame) -> None:
    """Name the metric, and below it which layers and estimator the panel shows."""
    details = ["mean over layers" if headline.layer == "mean" else "final layer"]
    details += sorted({VARIANT_LABELS.get(name, name) for name in rows["variant"] if name})
    style.title_with_detail(ax, headline.label, ", ".join(details))


def _draw(ax: Axes, rows: pd.DataFrame, end: float, *, exact: bool) -> None:
    ends = _draw_floor(ax, rows, end)
    for pair, kind in ordered_pairs(rows, ("sft", "rlvr", "control")):
        line = _trajectory(ax, rows[rows["pair"] == pair], kind, end)
        if line is not None:
            ends.append((*line, style.kind_label(kind), style.kind_colour(kind)))
    checkpoints = sorted(rows["step"].dropna().unique())
    labels = [*(f"{step:.0f}" for step in checkpoints), f"{end:.0f}" if exact else "end"]
    ax.set_xticks([*checkpoints, end], labels=labels)
    ax.set_xlabel("training step")
    ax.margins(y=0.14)
    ax.set_ylim(*ax.get_ylim())
    style.mark_chance(ax, float(rows["chance"].mean()))
    style.label_line_ends(ax, ends)


def _draw_floor(ax: Axes, rows: pd.DataFrame, end: float) -> list[tuple[float, float, str, str]]:
    """Draw the seed floor at the end of training, and the range of its pairs, across the panel."""
    colour = style.kind_colour("seed")
    final = rows[rows["step"].isna()]
    pairs = final[final["kind"] == "seed"].groupby("pair")["value"].mean()
    if not pairs.empty:
        ax.axhspan(pairs.min(), pairs.max(), color=colour, alpha=0.18, lw=0)
    floors = floor_rows(final)["floor"]
    floor = floors.mean() if len(floors) else pairs.mean()
    if pd.isna(floor):
        return []
    ax.axhline(floor, color=colour, ls="--", lw=1.1)
    return [(end, float(floor), "seed floor", colour)]


def _trajectory(ax: Axes, rows: pd.DataFrame, kind: str, end: float) -> tuple[float, float] | None:
    """Draw the line of one pair; return its last point, or None when there is nothing to draw."""
    checkpoints, final = rows[rows["step"].notna()], rows[rows["step"].isna()]
    colour, marker = style.kind_colour(kind), style.KIND_MARKERS.get(kind, "o")
    if checkpoints.empty:
        if kind != "control" or final.empty:
            return None
        value = float(final["value"].mean())
        ax.axhline(value, color=colour, ls="-.", lw=1.1)
        return end, value
    followed = set(checkpoints["seed"].dropna())
    same = final["seed"].isin(followed) | final["seed"].isna()
    line = member_means(pd.concat([checkpoints, final[same].assign(step=end)]), "step")
    ax.fill_between(line.index, line["ci_low"], line["ci_high"], color=colour, alpha=0.15, lw=0)
    ax.plot(line.index, line["value"], color=colour, marker=marker)
    others = member_means(final[~same], "seed")
    ax.vlines([end] * len(others), others["ci_low"], others["ci_high"], color=colour, lw=0.8)
    ax.plot([end] * len(others), others["value"], ls="", marker=marker, mfc="white", color=colour)
    return float(line.index[-1]), float(line["value"].iloc[-1])

"""k-NN overlap: whether two models give a token the same neighbours, layer by layer."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hrsa.figures import style
from hrsa.figures.frames import (
    VARIANT_LABELS,
    dataset_phrase,
    floor_note,
    floor_rows,
    member_means,
    ordered_pairs,
    prepare_similarity,
    stages_of,
)

_FLOOR = (
    "the mean of pairs of models that differ only in a seed, with their range as a band; a real "
    "change falls below it."
)
_NAMES = {"jaccard": "Jaccard index", "overlap": "share in common"}


def knn_curves(
    similarity: pd.DataFrame,
    *,
    statistic: str = "jaccard",
    variant: str = "sample",
    dataset: str | None = None,
    kinds: Sequence[str] = ("sft", "rlvr", "control", "contrastive"),
) -> Figure:
    """Draw k-NN overlap over layers: one column per k, one row per stage.

    Parameters
    ----------
    similarity : DataFrame
        The similarity table; rows of knn.
    statistic : {"jaccard", "overlap"}
    variant : {"sample", "self", "type"}
        Which neighbours are left out.
    dataset : str, optional
        One data set; the mean over all when left out.
    kinds : sequence of str
        Kinds of pairs that get a line. Pairs of kind `seed` are the grey band.

    Returns
    -------
    Figure
        Bold lines are means over seeds, thin ones single seeds; pale bands are 95 % intervals
        (`hrsa.figures.frames.member_means`).
    """
    name = _NAMES.get(statistic, statistic)
    title = "Do two models give a token the same nearest neighbours? k-NN overlap by layer"
    frame = prepare_similarity(similarity, dataset=dataset)
    frame = frame[
        (frame["metric"] == "knn")
        & (frame["statistic"] == statistic)
        & (frame["variant"] == variant)
        & frame["step"].isna()
        & (frame["layer_reference"] >= 0)
    ]
    if frame.empty:
        return style.empty_figure(title, f"no k-NN rows (statistic {statistic}, variant {variant})")
    ks = sorted({int(k) for k in frame["k"].dropna()})
    stages = stages_of(frame)
    taken_from = VARIANT_LABELS.get(variant, variant).removeprefix("neighbours: ")
    fig = style.new_figure(
        1.9 + 2.75 * len(ks),
        2.75 * len(stages),
        title=title,
        subtitle=f"Mean over tokens of the {name} of the two sets of k neighbours by cosine, "
        f"taken from {taken_from}; {dataset_phrase(frame)}. "
        "1 = the same neighbours.",
        notes=f"{floor_note(frame, _FLOOR)} Dotted: chance. {_interval_note(frame)} Thin "
        "lines: single seeds. Layer 0 (hollow, token embeddings) does not count in means over "
        "layers.",
    )
    axes = fig.subplots(len(stages), len(ks), squeeze=False, sharey="row")
    top = min(1.02, 1.12 * float(frame["value"].max()))
    for row_axes, stage in zip(axes, stages, strict=True):
        for ax, k in zip(row_axes, ks, strict=True):
            panel = frame[(frame["stage"] == stage) & (frame["k"] == k)]
            ax.set_title(f"{stage}, k = {k}")
            if panel.empty:
                style.empty_panel(ax, f"no pairs at the {stage} stage")
                continue
            ax.set_ylim(0, top)
            ends = _draw(ax, panel, kinds)
            ax.set_xlabel("layer")
            if ax is row_axes[0]:
                ax.set_ylabel(f"{name} (0 to 1)")
            if ax is row_axes[-1]:
                style.label_line_ends(ax, ends)
    return fig


def _interval_note(frame: pd.DataFrame) -> str:
    if frame["ci_low"].isna().all():
        return "No interval was computed."
    return "Coloured bands: 95 % intervals over texts."


def _draw(
    ax: Axes, panel: pd.DataFrame, kinds: Sequence[str]
) -> list[tuple[float, float, str, str]]:
    """Draw one panel and return the right-hand ends of its lines with their names."""
    ends = _draw_floor(ax, panel)
    for pair, kind in ordered_pairs(panel, kinds):
        ends.append(_draw_pair(ax, panel[panel["pair"] == pair], pair, kind))
    chance = panel.groupby("layer_reference")["chance"].mean().dropna()
    if not chance.empty:
        ax.plot(chance.index, chance, ls=":", lw=1.2, color=style.INK)
        ends.append((float(chance.index[-1]), float(chance.iloc[-1]), "chance", style.INK))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
    return ends


def _draw_floor(ax: Axes, panel: pd.DataFrame) -> list[tuple[float, float, str, str]]:
    """Draw the seed floor as a line, and the range of the seed pairs behind it as a band."""
    colour = style.kind_colour("seed")
    seeds = panel[panel["kind"] == "seed"]
    pairs = seeds.groupby(["layer_reference", "pair"])["value"].mean().unstack()
    if not pairs.empty:
        ax.fill_between(
            pairs.index, pairs.min(axis=1), pairs.max(axis=1), color=colour, alpha=0.22, lw=0
        )
    floor = floor_rows(panel).groupby("layer_reference")["floor"].mean()
    if floor.empty:
        floor = pairs.mean(axis=1)
    if floor.empty:
        return []
    ax.plot(floor.index, floor, color=colour, lw=1.0, ls="--")
    return [(float(floor.index[-1]), float(floor.iloc[-1]), "seed floor", colour)]


def _draw_pair(ax: Axes, rows: pd.DataFrame, pair: str, kind: str) -> tuple[float, float, str, str]:
    colour, marker = style.kind_colour(kind), style.KIND_MARKERS.get(kind, "o")
    means = member_means(rows, "layer_reference")
    layers, mean = means.index.to_numpy(), means["value"].to_numpy()
    # An interval is NaN, and not drawn, where it is not known.
    ax.fill_between(layers, means["ci_low"], means["ci_high"], color=colour, alpha=0.15, lw=0)
    if rows["seed"].nunique() > 1:
        for _, one in rows.groupby("seed"):
            line = one.groupby("layer_reference")["value"].mean()
            ax.plot(line.index, line, color=colour, lw=0.6, alpha=0.6)
    counted = [i for i, layer in enumerate(layers) if layer > 0]
    ax.plot(layers, mean, color=colour, marker=marker, markevery=counted)
    ax.plot(layers[layers == 0], mean[layers == 0], marker=marker, mfc="white", color=colour, ls="")
    return float(layers[-1]), float(mean[-1]), pair, colour

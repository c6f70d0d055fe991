"""Accuracy on problems, before and after the reasoning training, greedy and sampled."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hrsa.figures import style
from hrsa.figures.frames import instance_label, prepare

COLUMNS = (
    "model", "recipe", "seed", "step", "split", "decoding", "accuracy", "ci_low", "ci_high", "n",
)  # fmt: skip
DECODINGS = ("greedy", "sampled")
# Models before any reasoning training: pretrained here, or from outside.
_BEFORE = ("pretrain", "hub", "path", "reading")
_RECIPE_ORDER = (*_BEFORE, "sft", "rlvr", "continued", "contrastive")
_SPLITS = {
    "train": "training problems",
    "test": "new problems, known templates",
    "test_templates": "new problems, new templates",
}


def accuracy_bars(accuracy: pd.DataFrame) -> Figure:
    """Draw accuracy with its 95 % interval, one panel per split, two bars per trained model.

    Parameters
    ----------
    accuracy : DataFrame
        The table of accuracies. Models that were pretrained here or come from outside are "before"
        and cast a dashed line per decoding.

    Returns
    -------
    Figure
    """
    title = "Accuracy on arithmetic problems, before and after reasoning training"
    frame = prepare(accuracy, COLUMNS, "the table of accuracies")
    frame = frame[frame["step"].isna() & frame["accuracy"].notna()]
    if frame.empty:
        return style.empty_figure(title, "no accuracies were measured")
    found = set(frame["split"])
    splits = [name for name in _SPLITS if name in found] + sorted(found - set(_SPLITS))
    instances = _instances(frame)
    found_before = any(recipe in _BEFORE for _, recipe, _ in instances)
    sizes = sorted({int(n) for n in frame["n"].dropna()})
    fig = style.new_figure(
        2.2 + 4.2 * len(splits),
        0.55 * len(instances) + 1.1,
        title=title,
        subtitle="Dashed lines: the base model, before any reasoning training."
        if found_before
        else "",
        notes="Whiskers: 95 % interval over problems"
        + (f" (n = {', '.join(map(str, sizes))})." if sizes else "."),
        legend=[
            (style.kind_colour("base"), "greedy decoding (full colour)"),
            (style.paler(style.kind_colour("base")), "sampled (pale)"),
        ],
    )
    axes = fig.subplots(1, len(splits), squeeze=False, sharex=True, sharey=True)[0]
    for ax, split in zip(axes, splits, strict=True):
        ax.set_title(_split_title(split, splits))
        _draw(ax, frame[frame["split"] == split], instances)
    axes[0].set_yticks(
        range(len(instances)), labels=[instance_label(model, seed) for model, _, seed in instances]
    )
    axes[0].set_ylim(len(instances) - 0.5, -0.5)
    return fig


def _split_title(split: str, splits: list[str]) -> str:
    """Known and new templates are told apart only where there are both."""
    if split == "test" and "test_templates" not in splits:
        return "new problems"
    return _SPLITS.get(split, split)


def _instances(frame: pd.DataFrame) -> list[tuple[str, str, float]]:
    """Return (model, recipe, seed) in the order base, SFT, RLVR, control, others."""
    found = frame[["model", "recipe", "seed"]].drop_duplicates().itertuples(index=False, name=None)

    def order(item: tuple[str, str, float]) -> tuple[int, str, float]:
        model, recipe, seed = item
        rank = _RECIPE_ORDER.index(recipe) if recipe in _RECIPE_ORDER else len(_RECIPE_ORDER)
        return rank, model, -1.0 if pd.isna(seed) else seed

    return sorted(found, key=order)


def _draw(ax: Axes, panel: pd.DataFrame, instances: list[tuple[str, str, float]]) -> None:
    for y, (model, recipe, seed) in enumerate(instances):
        same_seed = panel["seed"].isna() if pd.isna(seed) else panel["seed"] == seed
        rows = panel[(panel["model"] == model) & same_seed]
        colour = style.kind_colour(style.RECIPE_KINDS.get(recipe, "base"))
        for offset, decoding in zip((-0.19, 0.19), DECODINGS, strict=True):
            fill = colour if decoding == "greedy" else style.paler(colour)
            numbers = rows[rows["decoding"] == decoding][["accuracy", "ci_low", "ci_high"]]
            for value, low, high in numbers.to_numpy("float64"):
                _bar(ax, y + offset, value, low, high, fill)
                if recipe in _BEFORE:
                    ax.axvline(value, ls="--", lw=1.0, color=fill, zorder=0.5)
    ax.set_xlim(0, 1.12)
    ax.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    ax.set_xlabel("share of right answers (0 to 1)")
    ax.grid(False, axis="y")
    ax.tick_params(axis="y", length=0)


def _bar(ax: Axes, y: float, value: float, low: float, high: float, colour: str) -> None:
    ax.barh(y, value, height=0.34, color=colour)
    if pd.notna(low) and pd.notna(high):
        ax.plot([low, high], [y, y], color=style.INK, lw=0.9)
    ax.annotate(
        f"{value:.2f}",
        (value if pd.isna(high) else high, y),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        size=style.SMALL_SIZE,
    )

"""Training curves: the reward of RLVR, and the loss of every training."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hrsa.figures import style
from hrsa.figures.frames import instance_label, prepare

WINDOW = 5  # logged steps of the running mean
MOST_COLUMNS = 3  # panels beside one another
MOST_NAMED = 4  # lines of a panel up to which each is named; above, each model once
_DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
_REWARD_PANELS = {
    "reward": ("reward", "mean reward"),
    "accuracy": ("accuracy on training problems, sampled", "share of right answers"),
    "format": ("form of the answer", "share of well-formed answers"),
    "entropy": ("entropy of the next token", "nats"),
    "completion_length": ("length of a completion", "tokens"),
    "kl": ("divergence from the parent", "KL (nats per token)"),
}
_SHARES = ("reward", "accuracy", "format")  # drawn from 0 to 1
_RECIPE_TITLES = {
    "pretrain": "pretraining (base)",
    "sft": "SFT on reasoning traces",
    "rlvr": "RLVR",
    "continued": "continued pretraining (control)",
    "contrastive": "contrastive training (embedding models)",
}


def reward_curve(curves: pd.DataFrame) -> Figure:
    """Draw the reward of RLVR, and what is logged beside it, against its steps: a line per seed.

    Parameters
    ----------
    curves : DataFrame
        Columns model, seed, step, reward; one row per logged step. Rows without a reward (other
        trainings) are left out. Columns accuracy (where it is not the reward itself), format,
        entropy, completion_length and kl (to the parent) get a panel each if they are there.

    Returns
    -------
    Figure
    """
    title = "What reinforcement learning changes: reward, certainty and length during RLVR"
    columns = ["model", "seed", "step", "reward"]
    columns += [name for name in _REWARD_PANELS if name in curves and name not in columns]
    frame = prepare(curves, columns, "the table of training curves")
    frame = frame[frame["reward"].notna()]
    if frame.empty:
        return style.empty_figure(title, "no training with a reward (recipe rlvr)")
    panels = _reward_panels(frame)
    n_columns = 2 if len(panels) == 4 else min(len(panels), MOST_COLUMNS)
    n_rows = -(-len(panels) // n_columns)
    fig = style.new_figure(
        max(4.2 * n_columns, 8.4),
        2.9 * n_rows,
        title=title,
        subtitle="Means over the completions sampled at a step. Pale: each logged step. Bold: "
        f"running mean over {WINDOW} logged steps.",
    )
    axes = fig.subplots(n_rows, n_columns, squeeze=False).ravel()
    for ax, (column, (heading, label)) in zip(axes, panels.items(), strict=False):
        _panel(ax, frame, column, label)
        ax.set_title(heading)
    for ax in axes[len(panels) :]:
        ax.remove()
    return fig


def loss_curves(curves: pd.DataFrame, *, kinds: Mapping[str, str] | None = None) -> Figure:
    """Draw the loss of every training against its steps: one panel per recipe, a line per model.

    Parameters
    ----------
    curves : DataFrame
        Columns model, recipe, seed, step, loss; one row per logged step.
    kinds : mapping of model name to kind, optional
        Gives models of one panel the colours of `base`, `sft`, `rlvr`, …

    Returns
    -------
    Figure
    """
    title = "Loss of every training"
    columns = ("model", "recipe", "seed", "step", "loss")
    frame = prepare(curves, columns, "the table of training curves")
    frame = frame[frame["loss"].notna()]
    if frame.empty:
        return style.empty_figure(title, "no training in this study")
    found = set(frame["recipe"])
    recipes = [name for name in _RECIPE_TITLES if name in found]
    recipes += sorted(found - set(recipes))
    n_columns = min(len(recipes), 2)
    n_rows = -(-len(recipes) // n_columns)
    fig = style.new_figure(
        5.6 * n_columns,
        2.5 * n_rows,
        title=title,
        subtitle="Each panel has its own scale: losses of different recipes do not compare.",
        notes="Dashes tell seeds apart."
        + (
            " The loss of RLVR is a surrogate that stays near zero by construction and does not "
            "show progress: read its reward."
            if "rlvr" in found
            else ""
        ),
    )
    axes = fig.subplots(n_rows, n_columns, squeeze=False).ravel()
    for ax, recipe in zip(axes, recipes, strict=False):
        rows = frame[frame["recipe"] == recipe]
        ax.set_title(_RECIPE_TITLES.get(recipe, recipe or "recipe unknown"))
        _lines(ax, rows, "loss", smooth=False, kinds=kinds or {})
        ax.set_ylabel("loss (nats)" if recipe != "rlvr" else "surrogate loss")
    for ax in axes[len(recipes) :]:
        ax.remove()
    return fig


def _reward_panels(frame: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Title and axis label of each column that has something of its own to show."""
    logged = [name for name in _REWARD_PANELS if name in frame and frame[name].notna().any()]
    if "accuracy" in logged and np.allclose(frame["accuracy"], frame["reward"], equal_nan=True):
        # right or wrong is the whole reward: the same curve twice says nothing
        logged.remove("accuracy")
        reward = {"reward": ("reward: accuracy on training problems", "share of right answers")}
        return {name: _REWARD_PANELS[name] for name in logged} | reward
    return {name: _REWARD_PANELS[name] for name in logged}


def _panel(ax: Axes, frame: pd.DataFrame, column: str, label: str) -> None:
    rows = frame[frame[column].notna()]
    top = float(rows[column].max())
    if column in _SHARES:
        top = max(1.0, top)
    ax.set_ylim(min(0.0, float(rows[column].min())), top * 1.02)
    ax.set_ylabel(label)
    _lines(ax, rows.assign(recipe="rlvr"), column, smooth=True)


def _lines(
    ax: Axes,
    rows: pd.DataFrame,
    column: str,
    *,
    smooth: bool,
    kinds: Mapping[str, str] | None = None,
) -> None:
    """Draw a line per trained model, named at its end; models by colour, seeds by dash."""
    colours = _model_colours(rows, kinds or {})
    ends: dict[str, list[tuple[float, float, str, str]]] = {model: [] for model in colours}
    for model, seed, one in _trainings(rows):
        colour = colours[model]
        dash = _DASHES[0 if pd.isna(seed) else int(seed) % len(_DASHES)]
        values = one[column]
        if smooth:
            ax.plot(one["step"], values, color=style.paler(colour, 0.55), lw=0.8, ls=dash)
            values = values.rolling(WINDOW, min_periods=1, center=True).mean()
        ax.plot(one["step"], values, color=colour, ls=dash, lw=1.5)
        label = instance_label(model, seed)
        ends[model].append((float(one["step"].iloc[-1]), float(values.iloc[-1]), label, colour))
    ax.set_xlabel("training step")
    ax.set_ylim(*ax.get_ylim())
    style.label_line_ends(ax, _named(ends))


def _trainings(rows: pd.DataFrame) -> Iterator[tuple[str, float, pd.DataFrame]]:
    """Yield model, seed (NaN for none) and rows by step, of each training, in order."""
    for model in sorted(set(rows["model"])):
        of_model = rows[rows["model"] == model].sort_values("step")
        for seed in np.unique(of_model["seed"]):
            same = of_model["seed"].isna() if np.isnan(seed) else of_model["seed"] == seed
            yield model, float(seed), of_model[same]


def _model_colours(rows: pd.DataFrame, kinds: Mapping[str, str]) -> dict[str, str]:
    """Give each model the colour of its kind, or of its recipe when it is alone in the panel.

    Where some have a kind, the others are grey: no other colour than their own kind's is theirs.
    Where none has one, colours only tell models apart.
    """
    recipes = dict(zip(rows["model"], rows["recipe"], strict=True))
    palette = list(style.KIND_COLOURS.values())
    some_have_kinds = any(model in kinds for model in recipes)
    colours = {}
    for i, model in enumerate(sorted(recipes)):
        if some_have_kinds:
            colours[model] = style.kind_colour(kinds.get(model))
        elif len(recipes) == 1:
            colours[model] = style.kind_colour(style.RECIPE_KINDS.get(recipes[model], "base"))
        else:
            colours[model] = palette[i % len(palette)]
    return colours


def _named(
    ends: Mapping[str, list[tuple[float, float, str, str]]],
) -> list[tuple[float, float, str, str]]:
    """Name each line, or each model once where a panel has too many lines to name."""
    lines = [line for model in ends.values() for line in model]
    if len(lines) <= MOST_NAMED:
        return lines
    return [
        (model[0][0], sum(line[1] for line in model) / len(model), name, model[0][3])
        for name, model in ends.items()
    ]

"""Benchmark scores: a dot per training seed and the mean per task, beside reference lines."""

from collections.abc import Collection, Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hrsa.figures import style
from hrsa.figures.drawn_table import draw_table, table_height
from hrsa.figures.frames import prepare

COLUMNS = (
    "model", "recipe", "seed", "step", "suite", "task", "type", "metric", "value", "chance",
)  # fmt: skip
MOST_TASKS = 9  # with more, a panel is the mean over the tasks of one suite and type
_KIND_ORDER = ("base", "sft", "rlvr", "control")
_METRIC_LABELS = {
    "ndcg_at_10": "nDCG at 10",
    "f1": "F1",
    "max_f1": "best F1",
    "max_ap": "best average precision",
    "cosine_spearman": "Spearman's correlation",
    "v_measure": "V-measure",
}
_LEXICAL = "bm25"


def benchmark_table(
    benchmarks: pd.DataFrame,
    *,
    kinds: Mapping[str, str] | None = None,
    embedding: Collection[str] | None = None,
) -> Figure:
    """Draw scores per task above a table of means and spreads.

    Parameters
    ----------
    benchmarks : DataFrame
        The table of benchmarks. Other models than the embedding models (backbones, BM25) are drawn
        as reference lines; where no embedding model was scored only BM25 is a reference. A panel
        marks the chance level of its task where that is known.
    kinds : mapping of model name to kind, optional
        Gives models the colours of `base`, `sft`, `rlvr`, …
    embedding : collection of str, optional
        Names of the embedding models; None: those of the recipe `contrastive`.

    Returns
    -------
    Figure
    """
    title = "Benchmark scores of the embedding models"
    frame = prepare(benchmarks, COLUMNS, "the table of benchmarks")
    frame = frame[frame["step"].isna() & frame["value"].notna()]
    if frame.empty:
        return style.empty_figure(title, "no benchmark scores")
    frame, grouped = _panels(frame)
    models, references = _split(frame, kinds or {}, embedding)
    panels = sorted(set(frame["panel"]))
    columns = min(len(panels), 3)
    n_rows = -(-len(panels) // columns)
    n_models = len(models) + len(references)
    heights = [0.28 * n_models + 1.0] * n_rows
    fig = style.new_figure(
        4.0 + 2.6 * columns,
        sum(heights) + table_height(n_models) + 0.3,
        title=title,
        subtitle="Dot: one training seed. Bar: mean over seeds. Hollow dots and dashed lines: "
        "reference points without contrastive training."
        + (" Dotted, where in view: chance level." if frame["chance"].notna().any() else "")
        + (f" A panel is the mean over tasks: {grouped}." if grouped else ""),
        notes="Table: mean ± standard deviation over seeds. Scores run from 0 to 1; higher is "
        "better.",
    )
    grid = fig.add_gridspec(
        n_rows + 1, columns, height_ratios=[*heights, table_height(n_models) + 0.3]
    )
    for i, name in enumerate(panels):
        ax = fig.add_subplot(grid[i // columns, i % columns])
        _draw(ax, frame[frame["panel"] == name], models, references, kinds or {})
        ax.set_title(name)
        if i % columns:
            ax.set_yticklabels([])
    _draw_table(fig.add_subplot(grid[n_rows, :]), frame, models + references, panels, kinds or {})
    return fig


def _panels(frame: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Name the panel of each row and average over tasks where there are too many to draw."""
    names = frame["metric"].map(lambda name: _METRIC_LABELS.get(name, name.replace("_", " ")))
    metrics = names.groupby(frame["task"]).agg(lambda found: ", ".join(sorted(set(found))))
    if len(metrics) <= MOST_TASKS:
        labels = frame["task"] + "\n" + frame["task"].map(metrics)
        return frame.assign(panel=labels), ""
    frame = frame.assign(panel=frame["suite"] + ", " + frame["type"])
    counts = frame.groupby("panel")["task"].nunique()
    keys = ["model", "recipe", "seed", "panel"]
    groups = frame.groupby(keys, dropna=False)
    # The chance level of a mean over tasks is known where that of each task is.
    means = groups[["value", "chance"]].mean(skipna=False).reset_index()
    return means, "; ".join(f"{name} ({count} tasks)" for name, count in counts.items())


def _split(
    frame: pd.DataFrame, kinds: Mapping[str, str], embedding: Collection[str] | None
) -> tuple[list[str], list[str]]:
    """Return the models under study and the reference points, both in a fixed order."""
    if embedding is None:
        trained = frame[frame["recipe"] == "contrastive"]
    else:
        trained = frame[frame["model"].isin(list(embedding))]
    if trained.empty:
        trained = frame[frame["model"] != _LEXICAL]
    order = list(_KIND_ORDER)
    models = sorted(
        set(trained["model"]),
        key=lambda name: (order.index(kind) if (kind := kinds.get(name)) in order else 9, name),
    )
    others = set(frame["model"]) - set(models)
    return models, sorted(others - {_LEXICAL}) + sorted(others & {_LEXICAL})


def _draw(
    ax: Axes,
    panel: pd.DataFrame,
    models: list[str],
    references: list[str],
    kinds: Mapping[str, str],
) -> None:
    names = models + references
    for y, model in enumerate(names):
        values = panel[panel["model"] == model]["value"]
        if values.empty:
            ax.annotate("not scored", (0.02, y), xycoords=("axes fraction", "data"), va="center",
                        size=style.SMALL_SIZE, style="italic", color=style.QUIET,
                        bbox={"facecolor": "white", "edgecolor": "none", "pad": 2})  # fmt: skip
            continue
        mean = float(values.mean())
        if model in references:
            ax.axvline(mean, ls="--", lw=0.9, color=style.QUIET, zorder=1)
            ax.plot(mean, y, marker="o", mfc="white", color=style.QUIET, ms=6)
            continue
        colour = style.kind_colour(kinds.get(model, "base"))
        ax.plot([mean, mean], [y - 0.32, y + 0.32], color=colour, lw=2.6, solid_capstyle="butt")
        ax.plot(values, [y] * len(values), ls="", marker="o", ms=4.5, color=colour, alpha=0.7)
    ax.set_yticks(range(len(names)), labels=[_name(name) for name in names])
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.margins(x=0.12)
    ax.tick_params(axis="y", length=0)
    _mark_chance(ax, panel["chance"].dropna().round(9))


def _mark_chance(ax: Axes, levels: pd.Series) -> None:
    """Say the chance level where it is known, and draw it where the panel reaches it.

    The chance level of a clustering hangs on the clusters, and so on the model: then both ends.
    """
    if levels.empty:
        ax.set_xlabel("score (0 to 1)")
        return
    ends = (float(levels.min()), float(levels.max()))
    said = dict.fromkeys(f"{end:.2g}" for end in ends)
    ax.set_xlabel(f"score (0 to 1; chance {' to '.join(said)})")
    low, high = ax.get_xlim()
    for end in dict.fromkeys(ends):
        if low <= end <= high:
            ax.axvline(end, ls=":", lw=1.2, color=style.INK, zorder=1, gid="chance")


def _draw_table(
    ax: Axes,
    frame: pd.DataFrame,
    models: list[str],
    panels: list[str],
    kinds: Mapping[str, str],
) -> None:
    rows = []
    for model in models:
        own = frame[frame["model"] == model]
        values = [own.loc[own["panel"] == panel, "value"] for panel in panels]
        n_seeds = str(max(map(len, values)))
        rows.append([_name(model), n_seeds, *(_without_count(one) for one in values)])
    draw_table(
        ax,
        ["model", "seeds", *(panel.split("\n")[0] for panel in panels)],
        rows,
        colours=[style.kind_colour(kinds.get(model, "base")) for model in models],
    )


def _without_count(values: pd.Series) -> str:
    """As `mean_and_spread`; that each cell says how many seeds there are takes too much room."""
    return mean_and_spread(values).partition(" (")[0]


def mean_and_spread(values: pd.Series) -> str:
    """Write `0.812 ± 0.004 (3 seeds)`, `0.812` for one value, a dash for none."""
    if values.empty:
        return "–"
    if len(values) == 1:
        return f"{values.iloc[0]:.3f}"
    return f"{values.mean():.3f} ± {values.std(ddof=1):.3f} ({len(values)} seeds)"


def _name(model: str) -> str:
    return "BM25 (lexical)" if model == _LEXICAL else model

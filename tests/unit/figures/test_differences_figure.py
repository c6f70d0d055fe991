"""The forest plot of differences between benchmarked models: what it draws of which tests."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from hrsa.benchmarks.chance import AT_CHANCE, NO_TASK_LEFT, left_out
from hrsa.figures import style
from hrsa.figures.differences import forest_of_pairs

TASKS = {"Easy": 0.01, "Hard": -0.002}


def rows_of(level, delta, *, half=0.01, task=None, seed=None, n=3, **changes):
    """Rows of one test at two margins."""
    labels = {
        "pair": "a-b", "kind": "rlvr", "level": level, "suite": "local", "task": task,
        "seed": seed, "delta": delta, "n": n, "ci90_low": delta - half, "ci90_high": delta + half,
        "ci95_low": delta - 1.5 * half, "ci95_high": delta + 1.5 * half, "note": "t",
    }  # fmt: skip
    verdicts = {0.02: "inconclusive", 0.05: "equivalent"}
    rows = [labels | {"margin": one, "verdict": verdict} for one, verdict in verdicts.items()]
    return [row | changes for row in rows]


def table_of(pair="a-b", *, seeds=(0, 1, 2), kind="rlvr", **tasks):
    """The tests of a pair on two tasks: over items, seeds and tasks."""
    labels = {"pair": pair, "kind": kind}
    tasks = tasks or TASKS
    rows = [
        rows_of("items", delta + 0.03 * seed, task=task, seed=seed, n=300, **labels)
        for task, delta in tasks.items()
        for seed in seeds
    ]
    if len(seeds) >= 3:
        rows += [rows_of("seeds", delta, task=task, **labels) for task, delta in tasks.items()]
        rows += [rows_of("seeds", 0.004, **labels)]
    rows += [rows_of("tasks", 0.01 * seed, seed=seed, n=2, **labels) for seed in seeds]
    rows += [rows_of("tasks", 0.005, half=0.02, n=2, **labels)]
    return pd.DataFrame([row for one in rows for row in one])


def said(artist) -> list[str]:
    found = artist.findobj(lambda part: hasattr(part, "get_text"))
    return [" ".join(text.get_text().split()) for text in found if text.get_text()]


def intervals(ax) -> list[tuple[float, float]]:
    lines = [line for line in ax.lines if line.get_gid() == "interval"]
    return [tuple(np.round(line.get_xdata(), 6)) for line in lines]


def markers(ax, gid="difference") -> list[tuple[float, float]]:
    lines = [line for line in ax.lines if line.get_gid() == gid]
    return [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in lines]


def arrows(ax):
    return [text for text in ax.texts if text.get_gid() == "arrow"]


def test_over_training_seeds_the_mean_and_each_task_have_two_intervals():
    (ax,) = forest_of_pairs(table_of()).axes
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "mean over tasks",
        "Easy",
        "Hard",
    ]
    assert markers(ax) == [(0.004, 0), (0.01, 1), (-0.002, 2)]
    assert intervals(ax) == [
        (-0.011, 0.019), (-0.006, 0.014), (-0.005, 0.025), (0.0, 0.02), (-0.017, 0.013),
        (-0.012, 0.008),
    ]  # fmt: skip
    assert {line.get_color() for line in ax.lines if line.get_gid() == "interval"} == {
        style.kind_colour("rlvr")
    }
    assert "over 3 training seeds" in said(ax)


def test_with_two_seeds_tasks_are_drawn_over_their_items_seed_by_seed():
    table = table_of(seeds=(0, 1))
    certain = (table["task"] == "Easy") & (table["seed"] == 1) & (table["margin"] == 0.02)
    table.loc[certain, "verdict"] = "different"
    (ax,) = forest_of_pairs(table).axes
    assert [x for x, _ in markers(ax)] == pytest.approx([0.005, 0.01, 0.04, -0.002, 0.028])
    heights = [y for _, y in markers(ax)]
    assert heights == sorted(heights)
    assert {round(y) for y in heights} == {0, 1, 2}
    assert "mean over 2 tasks; tasks over items, seed by seed" in said(ax)
    assert {"1 inconclusive, 1 different", "2 inconclusive"} <= set(said(ax))


def test_words_give_the_verdict_at_the_smallest_margin_and_every_margin_is_shaded():
    fig = forest_of_pairs(table_of())
    (ax,) = fig.axes
    assert said(ax).count("inconclusive") == 3
    assert "equivalent" not in said(ax)
    spans = {
        (round(patch.get_x(), 6), round(patch.get_x() + patch.get_width(), 6))
        for patch in ax.patches
        if isinstance(patch, matplotlib.patches.Rectangle)
    }
    assert spans == {(-0.02, 0.02), (-0.05, 0.05)}
    assert "the verdict at ±0.02" in " ".join(said(fig))


def test_tasks_at_chance_are_hollow():
    table = table_of()
    solid = forest_of_pairs(table)
    assert "Hollow" not in " ".join(said(solid))
    of_task = table["task"] == "Hard"
    table.loc[of_task, "note"] = f"t over training seeds; {AT_CHANCE}"
    fig = forest_of_pairs(table)
    assert markers(fig.axes[0], "hollow") == [(-0.002, 2)]
    assert markers(fig.axes[0]) == [(0.004, 0), (0.01, 1)]
    assert "Hollow: neither model is shown above chance" in " ".join(said(fig))


def test_a_mean_that_is_without_a_task_at_chance_is_not_hollow_itself():
    table = table_of()
    means = table["task"].isna()
    table.loc[means, "note"] = "; ".join(["t over training seeds", *left_out([], ["Hard"])])
    fig = forest_of_pairs(table)
    assert markers(fig.axes[0], "hollow") == []
    assert markers(fig.axes[0])[0] == (0.004, 0)


def test_a_mean_without_any_task_left_says_so():
    table = table_of()
    means = table["task"].isna()
    numbers = ["delta", "ci90_low", "ci90_high", "ci95_low", "ci95_high", "verdict"]
    table.loc[means, numbers] = None
    table.loc[means, "note"] = "; ".join([NO_TASK_LEFT, *left_out([], ["Easy", "Hard"])])
    (ax,) = forest_of_pairs(table).axes
    assert [y for _, y in markers(ax)] == [1, 2]
    assert "no task above chance" in said(ax)
    assert "over 3 training seeds" in said(ax)


def test_a_panel_for_each_pair_in_the_tables_order_and_the_colour_of_its_kind():
    table = pd.concat([table_of("z", kind="sft"), table_of("m"), table_of("a", kind="seed")])
    fig = forest_of_pairs(table)
    assert [ax.get_title(loc="left") for ax in fig.axes] == ["z", "m", "a"]
    assert len({ax.get_xlim() for ax in fig.axes}) == 1
    assert {"SFT", "RLVR", "seeds"} <= set(said(fig))


def test_a_difference_far_outside_is_an_arrow_with_its_value():
    (ax,) = forest_of_pairs(table_of(Far=-0.4, Near=0.01)).axes
    assert ax.get_xlim() == pytest.approx((-0.1, 0.1))
    (value,) = [text for text in ax.texts if text.get_text() == "−0.40"]
    (arrow,) = arrows(ax)
    assert arrow.xy == (-0.1, value.get_position()[1])
    assert all(low > -0.1 for low, _ in intervals(ax))


@pytest.mark.parametrize("side", [1, -1])
def test_the_part_of_an_arrows_interval_that_is_inside_is_drawn(side):
    table = table_of(Far=side * 0.11, Near=0.01)
    far = table["task"] == "Far"
    for name, half in (("ci90", 0.08), ("ci95", 0.14)):
        table.loc[far, f"{name}_low"] = side * 0.11 - half
        table.loc[far, f"{name}_high"] = side * 0.11 + half
    (ax,) = forest_of_pairs(table).axes
    (arrow,) = arrows(ax)
    assert arrow.xy == (side * 0.1, 1)
    inner = [end for pair in intervals(ax)[2:4] for end in pair if abs(end) < 0.09]
    assert inner == pytest.approx([side * -0.03, side * 0.03])
    outer = [end for pair in intervals(ax)[2:4] for end in pair if abs(end) >= 0.09]
    assert outer == pytest.approx([side * 0.094] * 2)  # under the head of the arrow
    (value,) = [text for text in ax.texts if text.get_text() in ("+0.11", "−0.11")]
    assert side * value.get_position()[0] < -0.03  # before the interval, not on it


def test_an_arrow_for_a_task_at_chance_is_hollow():
    table = table_of(Far=0.4, Near=0.01)
    (solid,) = arrows(forest_of_pairs(table).axes[0])
    table.loc[table["task"] == "Far", "note"] = f"t over training seeds; {AT_CHANCE}"
    (hollow,) = arrows(forest_of_pairs(table).axes[0])
    white = matplotlib.colors.to_rgba("white")
    assert hollow.arrow_patch.get_facecolor() == white != solid.arrow_patch.get_facecolor()
    assert hollow.arrow_patch.get_edgecolor() == solid.arrow_patch.get_edgecolor() != white


def test_of_many_tasks_only_the_mean_is_drawn():
    many = table_of(**{f"Task{i:02}": 0.001 * i for i in range(13)})
    fig = forest_of_pairs(many)
    assert len(markers(fig.axes[0])) == 1
    assert "Too many tasks to draw, and so only their mean: local (13)." in " ".join(said(fig))


def test_several_suites_have_a_mean_each():
    table = pd.concat([table_of(), table_of().assign(suite="BRIGHT")])
    (ax,) = forest_of_pairs(table).axes
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == ["mean of BRIGHT", "Easy", "Hard", "mean of local", "Easy", "Hard"]


def test_no_text_runs_into_another_or_out_of_the_figure():
    few = [table_of(f"base-{name}-emb", seeds=(0, 1)) for name in ("sft", "rlvr")]
    far = table_of("other", VeryLongNameOfAReranking=0.3, Far=0.11, Farther=-0.12)
    wide = far["task"].isin(["Far", "Farther"])
    for name, half in (("ci90", 0.09), ("ci95", {"Far": 0.14, "Farther": 0.21})):
        half = far["task"].map(half) if isinstance(half, dict) else half
        far.loc[wide, f"{name}_low"] = far["delta"] - half
        far.loc[wide, f"{name}_high"] = far["delta"] + half
    fig = forest_of_pairs(pd.concat([*few, far]))
    canvas = FigureCanvasAgg(fig)
    canvas.draw()
    renderer = canvas.get_renderer()
    shown = [
        text.get_window_extent(renderer)
        for text in fig.findobj(matplotlib.text.Text)
        if text.get_text() and text.get_visible()
    ]
    assert all(box.x0 >= 0 and box.x1 <= fig.bbox.x1 for box in shown)
    ours = [
        text.get_window_extent(renderer)
        for ax in fig.axes
        for text in (*ax.texts, *ax.get_yticklabels(), *ax.get_xticklabels())
        if text.get_text()
    ]
    for i, one in enumerate(ours):
        assert not any(one.overlaps(other) for other in ours[:i])


def test_a_table_as_jobs_write_it_is_drawn_alike(tmp_path):
    from hrsa_workflow.tables import DIFFERENCES, typed

    whole = table_of().reindex(columns=list(DIFFERENCES))
    typed([whole], DIFFERENCES).to_parquet(tmp_path / "a.parquet")
    fig = forest_of_pairs(pd.read_parquet(tmp_path / "a.parquet"))
    assert said(fig) == said(forest_of_pairs(table_of()))


def test_without_tests_the_figure_says_so_and_a_missing_column_is_named():
    nothing = "no two models whose scores could be tested"
    assert nothing in said(forest_of_pairs(pd.DataFrame()))
    assert nothing in said(forest_of_pairs(table_of().assign(verdict=None)))
    with pytest.raises(ValueError, match="verdict"):
        forest_of_pairs(table_of().drop(columns="verdict"))

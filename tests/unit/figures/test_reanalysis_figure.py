"""The forest plot of published differences: what it draws, and what it does with an outlier."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from hrsa.figures import style
from hrsa.figures.reanalysis import forest_plot


def table() -> pd.DataFrame:
    """Two pairs with two suites each, at two margins; one difference is far outside."""
    differences = [
        ("far", "sft", "S", -12.0, 0.3), ("far", "sft", "T", 0.9, 0.1),
        ("near", "rlvr", "S", -0.2, 0.2), ("near", "rlvr", "T", 0.1, 0.05),
    ]  # fmt: skip
    rows = [
        {
            "pair": pair, "kind": kind, "suite": suite, "delta": delta, "margin": margin,
            "ci90_low": delta - half, "ci90_high": delta + half,
            "ci95_low": delta - 1.5 * half, "ci95_high": delta + 1.5 * half,
            "verdict": f"{pair} {suite} at {margin:g}",
        }
        for pair, kind, suite, delta, half in differences
        for margin in (0.5, 1.0)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def texts(fig) -> list[str]:
    found = fig.findobj(lambda part: hasattr(part, "get_text"))
    return [" ".join(text.get_text().split()) for text in found if text.get_text()]


def drawn_intervals(ax) -> list[tuple[float, float, str]]:
    lines = [line for line in ax.lines if line.get_gid() == "interval"]
    return [(*map(float, line.get_xdata()), line.get_color()) for line in lines]


def test_each_difference_has_its_two_intervals_in_the_colour_of_its_kind():
    ax = forest_plot(table()).axes[0]
    sft, rlvr = style.kind_colour("sft"), style.kind_colour("rlvr")
    expected = [
        (0.75, 1.05, sft), (0.8, 1.0, sft), (-0.5, 0.1, rlvr), (-0.4, 0.0, rlvr),
        (0.025, 0.175, rlvr), (0.05, 0.15, rlvr),
    ]  # fmt: skip
    found = drawn_intervals(ax)
    assert [colour for _, _, colour in found] == [colour for _, _, colour in expected]
    assert np.allclose([one[:2] for one in found], [one[:2] for one in expected])
    heights = {line.get_ydata()[0] for line in ax.lines if line.get_gid() == "interval"}
    assert heights <= set(ax.get_yticks())
    assert [label.get_text() for label in ax.get_yticklabels()] == ["S", "T", "S", "T"]


def test_an_outlier_is_an_arrow_with_its_value_and_leaves_the_scale_alone():
    ax = forest_plot(table()).axes[0]
    assert ax.get_xlim() == pytest.approx((-1.3, 1.3))
    (value,) = [text for text in ax.texts if text.get_text() == "−12.00"]
    (arrow,) = [text for text in ax.texts if text.get_gid() == "arrow"]
    assert arrow.arrow_patch is not None
    assert value.get_position()[1] == arrow.xy[1]
    assert arrow.xy[0] == pytest.approx(-1.3)
    assert not any(low < -1.3 for low, _, _ in drawn_intervals(ax))


def test_margins_are_shaded_and_each_has_a_column_of_verdicts():
    fig = forest_plot(table())
    spans = {
        tuple(round(float(x), 6) for x in (patch.get_x(), patch.get_x() + patch.get_width()))
        for patch in fig.axes[0].patches
        if isinstance(patch, matplotlib.patches.Rectangle)
    }
    assert spans == {(-0.5, 0.5), (-1.0, 1.0)}
    said = texts(fig)
    assert {"at ±0.5 points", "at ±1 points", "far", "near", "SFT", "RLVR"} <= set(said)
    assert set(table()["verdict"]) <= set(said)
    assert "−0.20 [−0.500, +0.100]" in said


def test_the_assumption_stands_in_the_figure():
    assert "on the assumption that the published spread" in " ".join(texts(forest_plot(table())))


def test_no_text_runs_into_another_or_out_of_the_figure():
    rows = table().assign(verdict="equivalent and different")
    rows["suite"] = rows["suite"].replace({"S": "MTEB(Multilingual, v2)"})
    fig = forest_plot(rows)
    canvas = FigureCanvasAgg(fig)
    canvas.draw()
    renderer = canvas.get_renderer()
    shown = [
        text.get_window_extent(renderer)
        for text in fig.findobj(matplotlib.text.Text)
        if text.get_text() and text.get_visible()
    ]
    panel, words = fig.axes
    ours = [text.get_window_extent(renderer) for text in (*panel.texts, *words.texts)]
    ours += [text.get_window_extent(renderer) for text in panel.get_yticklabels()]
    assert all(box.x0 >= 0 and box.x1 <= fig.bbox.x1 for box in shown)
    for i, one in enumerate(ours):
        assert not any(one.overlaps(other) for other in ours[:i])


def test_a_table_as_jobs_write_it_is_drawn_alike(tmp_path):
    columns = ("pair", "kind", "suite", "verdict")
    table().astype(dict.fromkeys(columns, "string")).to_parquet(tmp_path / "a.parquet")
    read = forest_plot(pd.read_parquet(tmp_path / "a.parquet"))
    assert texts(read) == texts(forest_plot(table()))


def test_without_differences_the_figure_says_so_and_a_missing_column_is_named():
    assert "no published differences" in texts(forest_plot(table().head(0)))
    with pytest.raises(ValueError, match="verdict"):
        forest_plot(table().drop(columns="verdict"))

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from hrsa.figures import style

DRAW = """
import sys
from pathlib import Path
from hrsa.figures import style
fig = style.new_figure(4, 2, title="A title", subtitle="how to read it", notes="small print")
fig.subplots().plot([0, 1], [0, 1])
style.save(fig, Path(sys.argv[1]) / "a.png", Path(sys.argv[1]) / "a.pdf")
"""


def all_texts(fig) -> str:
    found = fig.findobj(lambda artist: hasattr(artist, "get_text"))
    return " ".join(" ".join(text.get_text().split()) for text in found)


def a_figure():
    fig = style.new_figure(5, 2, title="Title", subtitle="Subtitle", notes="Notes")
    fig.subplots().plot([0, 1], [0, 1])
    return fig


def test_two_processes_write_the_same_bytes_without_dates(tmp_path):
    written = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        environment = {"PYTHONHASHSEED": seed, "MPLCONFIGDIR": str(tmp_path)}
        command = [sys.executable, "-c", DRAW, str(folder)]
        subprocess.run(command, check=True, env=environment)
        written.append([(folder / name).read_bytes() for name in ("a.png", "a.pdf")])
    assert written[0] == written[1]
    png, pdf = written[0]
    assert b"Date" not in pdf
    assert b"Software" not in png


def test_watermark_is_a_red_line_at_the_foot_of_the_image(tmp_path):
    def foot(watermark: str | None) -> np.ndarray:
        path = tmp_path / "figure.png"
        style.save(a_figure(), path, tmp_path / "figure.pdf", watermark=watermark)
        pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
        return pixels[-int(0.26 * style.DPI) :]

    def red(pixels: np.ndarray) -> int:
        return int(((pixels[..., 0] - pixels[..., 1]) > 100).sum())

    assert red(foot(None)) == 0
    assert red(foot(style.SMOKE_WATERMARK)) > 500


def test_title_subtitle_and_notes_stay_clear_of_the_panels():
    long = "A sentence that is long enough to need more than one line of the figure. " * 4
    fig = style.new_figure(6, 2, title=long, subtitle=long, notes=long)
    ax = fig.subplots()
    ax.set_title("panel")
    canvas = FigureCanvasAgg(fig)
    canvas.draw()
    renderer = canvas.get_renderer()
    panel = ax.get_tightbbox(renderer)
    subtitle, notes = sorted(
        (text for text in fig.texts if text is not fig._suptitle),
        key=lambda text: -text.get_position()[1],
    )
    assert subtitle.get_window_extent(renderer).y0 > panel.y1
    assert notes.get_window_extent(renderer).y1 < panel.y0
    for text in (fig._suptitle, subtitle, notes):
        assert text.get_window_extent(renderer).x1 <= fig.bbox.x1


def test_colours_of_kinds_differ():
    assert len(set(style.KIND_COLOURS.values())) == len(style.KIND_COLOURS)
    assert style.kind_colour("something else") == style.QUIET


@pytest.mark.parametrize(
    ("positions", "expected"),
    [
        ([0.2, 0.8], [0.2, 0.8]),
        ([0.5, 0.5], [0.45, 0.55]),
        ([0.0, 0.0, 0.0], [0.0, 0.1, 0.2]),
        ([1.0, 1.0], [0.9, 1.0]),
        ([], []),
    ],
)
def test_labels_are_pushed_apart_as_little_as_possible(positions, expected):
    assert style.spread(positions, 0.1, 0.0, 1.0) == pytest.approx(expected)


def test_an_empty_figure_says_why():
    fig = style.empty_figure("What would be shown", "the metric was not asked for")
    assert "the metric was not asked for" in all_texts(fig)


def test_save_makes_the_folders(tmp_path: Path):
    style.save(a_figure(), tmp_path / "a" / "b.png", tmp_path / "c" / "d.pdf")
    assert (tmp_path / "a" / "b.png").stat().st_size > 0
    assert (tmp_path / "c" / "d.pdf").read_bytes().startswith(b"%PDF")

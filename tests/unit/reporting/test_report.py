import base64
import re
from dataclasses import replace
from html.parser import HTMLParser

import pandas as pd
import pytest

from hrsa.errors import UserError
from hrsa.figures import style
from hrsa.reporting.report import MOST_ROWS, FigureEntry, shown_table, write_report
from hrsa.reporting.training import Remark

STUDY = {
    "name": "miniature",
    "scale": "full",
    "models": {
        "base": {"recipe": "pretrain"},
        "sft": {"recipe": "sft", "parent": "base", "seeds": [0, 1]},
        "mine": {"path": "elsewhere/checkpoints/mine"},
        "qwen": {"hub": "Qwen/Qwen2.5-1.5B", "revision": "abc123"},
    },
    "pairs": [{"name": "base-sft", "kind": "sft", "reference": "base", "candidate": "sft"}],
    "datasets": {"problems": {"generator": "problems", "split": "test", "samples": 150}},
    "benchmarks": ["TopicRetrieval"],
}
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """A page that was parsed, with the elements that were opened and those left open."""

    def __init__(self, html: str):
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict]] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def figure(tmp_path) -> FigureEntry:
    fig = style.new_figure(3, 1, title="A figure")
    fig.subplots()
    png, pdf = tmp_path / "figures" / "a.png", tmp_path / "figures" / "a.pdf"
    style.save(fig, png, pdf)
    return FigureEntry("Nearest neighbours", "Overlap by layer.", png, pdf)


def written(
    tmp_path, *, figures=(), tables=None, missing=(), rerun="snakemake", made=None, **study
) -> str:
    path = tmp_path / "report" / "index.html"
    parts = {"figures": figures, "tables": tables or {}, "missing": missing, "rerun": rerun}
    parts["made"] = made
    write_report(path, study=STUDY | study, **parts)
    return path.read_text(encoding="utf-8")


def test_every_figure_is_embedded_captioned_listed_and_linked(tmp_path, figure):
    html = written(tmp_path, figures=[figure])
    page = Page(html)
    (image,) = page.all("img")
    encoded = image["src"].removeprefix("data:image/png;base64,")
    assert base64.b64decode(encoded) == figure.png.read_bytes()
    assert "Overlap by layer." in image["alt"]
    links = [link["href"] for link in page.all("a")]
    assert "../figures/a.pdf" in links
    assert "#figure-1" in links


def test_the_page_is_whole_and_needs_nothing_from_outside(tmp_path, figure):
    table = {"Accuracy": pd.DataFrame({"model": ["base"], "accuracy": [0.5]})}
    html = written(tmp_path, figures=[figure], tables=table, missing=["x"])
    page = Page(html)
    assert not page.open
    assert not page.all("script")
    assert not page.all("link")
    assert "http" not in re.sub(r"base64,[^\"]*", "", html)
    targets = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    anchors = {a["href"][1:] for a in page.all("a") if a["href"].startswith("#")}
    assert anchors <= targets


def test_question_and_what_was_run_are_there(tmp_path):
    html = written(tmp_path)
    for text in (
        "change the embedding model", "recipe pretrain", "0, 1", "hub: Qwen/Qwen2.5-1.5B at abc123",
        "before and after SFT", "generator problems", "TopicRetrieval",
    ):  # fmt: skip
        assert text in html


def test_remarks_stand_below_their_figure_and_marked_ones_are_seen(tmp_path, figure):
    remarks = [Remark("rlvr.s0: reward rose."), Remark("rlvr.s1: <did not> rise.", marked=True)]
    html = written(tmp_path, figures=[replace(figure, remarks=remarks)])
    (calm, marked) = re.findall(r"<li( class=\"marked\")?>(.*rlvr.*)</li>", html)
    assert calm == ("", "rlvr.s0: reward rose.")
    assert marked[0]
    assert marked[1] == "<strong>Note.</strong> rlvr.s1: &lt;did not&gt; rise."
    assert html.index("</figure>") < html.index("rlvr.s0") < html.index('id="tables"')
    assert not Page(html).open
    assert 'class="remarks"' not in written(tmp_path, figures=[figure])


def test_how_the_models_were_made_is_listed_where_it_is_known(tmp_path):
    made = pd.DataFrame({"model": ["sft.s0"], "dropped": ["3 empty"]})
    html = written(tmp_path, made=made)
    assert "How the models were made" in html
    assert "3 empty" in html
    assert "How the models were made" not in written(tmp_path)
    assert "How the models were made" not in written(tmp_path, made=made.head(0))


def test_folders_of_the_machine_are_not_told(tmp_path):
    html = written(tmp_path)
    assert "folder mine" in html
    assert "elsewhere/checkpoints" not in html
    assert str(tmp_path) not in html


def test_the_banner_is_there_in_smoke_scale_only(tmp_path):
    assert 'role="alert"' not in written(tmp_path)
    assert "Smoke run" not in written(tmp_path)
    smoke = written(tmp_path, scale="smoke")
    assert 'role="alert"' in smoke
    assert "@top-center" in smoke  # on every printed page too
    assert "mean nothing" in smoke


def test_what_users_wrote_is_escaped(tmp_path, figure):
    evil = "<script>alert(1)</script>"
    hostile = FigureEntry(evil, evil, figure.png, figure.pdf)
    html = written(
        tmp_path,
        figures=[hostile],
        tables={evil: pd.DataFrame({evil: [evil]})},
        missing=[evil],
        rerun=evil,
        name=evil,
        question=evil,
        notes={"base": evil},
    )
    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= 8
    assert not Page(html).open


def test_missing_results_are_listed_or_said_to_be_none(tmp_path):
    assert "every result that the study asks for is here" in written(tmp_path)
    html = written(tmp_path, missing=["BM25 on TopicRetrieval: no documents"])
    assert "BM25 on TopicRetrieval: no documents" in html
    assert "every result that" not in html


def test_a_long_table_is_folded_and_a_very_long_one_is_cut_with_a_word(tmp_path):
    short = pd.DataFrame({"value": [0.5] * 3})
    assert "<details>" not in written(tmp_path, tables={"short": short})
    long = written(tmp_path, tables={"long": pd.DataFrame({"value": [0.5] * (MOST_ROWS + 1)})})
    assert f"<summary>{MOST_ROWS + 1} rows" in long
    assert f"The first {MOST_ROWS} of {MOST_ROWS + 1} rows" in long


def test_cells_are_readable():
    table = pd.DataFrame(
        {
            "layer_reference": pd.array([1, None], dtype="Int64"),
            "value": [-0.12345, float("nan")],
            "kl": [0.00001, 0.0],
            "note": ["text", None],
        }
    )
    shown = shown_table("t", table)
    assert shown.columns[0] == "layer reference"
    assert shown.rows == [["1", "−0.123", "1.0e−05", "text"], ["–", "–", "0.000", "–"]]
    assert shown.numeric == [True, True, True, False]


def test_sharpening_and_dequantised_weights_are_explained_where_they_apply(tmp_path):
    plain = written(tmp_path)
    assert "sharpening" not in plain
    assert "Dequantised" not in plain
    noted = {"sft.s0": "weights dequantised from Q4_1 (GGUF)"}
    assert "sharpening" not in written(tmp_path, wrong_share=0.5)  # no model was trained by RLVR
    models = STUDY["models"] | {"rlvr": {"recipe": "rlvr", "parent": "base"}}
    html = written(tmp_path, wrong_share=0.5, notes=noted, models=models)
    assert "50 % of the worked problems" in html
    assert "The weights of sft.s0" in html
    assert "sft.s0: weights dequantised from Q4_1 (GGUF)" in html


def test_the_seed_pairs_behind_the_floor_are_named(tmp_path):
    pairs = [*STUDY["pairs"], {"name": "sft-seeds", "kind": "seed", "reference": "sft.s0",
                               "candidate": "sft.s1"}]  # fmt: skip
    html = written(tmp_path, pairs=pairs)
    assert "The seed pairs here: sft-seeds (sft.s0 and sft.s1)." in html
    assert "no pair of kind" not in html
    assert "no pair of kind <em>seed</em>: there is no floor" in written(tmp_path)


def test_a_figure_that_was_not_drawn_is_named(tmp_path):
    absent = FigureEntry("Probes", "caption", tmp_path / "absent.png")
    with pytest.raises(UserError, match=r"absent\.png.*Probes"):
        written(tmp_path, figures=[absent])


def test_writing_twice_gives_the_same_bytes(tmp_path, figure):
    assert written(tmp_path, figures=[figure]) == written(tmp_path, figures=[figure])

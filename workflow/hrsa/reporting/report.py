"""The report: one self-contained HTML page that needs no network and no script."""

import base64
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from hrsa.errors import UserError
from hrsa.figures.style import DPI
from hrsa.reporting.training import Remark

QUESTION = (
    "Does making a language model reason, by supervised fine-tuning on reasoning traces (SFT) or "
    "by reinforcement learning with verifiable rewards (RLVR), change the embedding model that is "
    "trained from it, and where in the representation does it change?"
)
MOST_OPEN = 12  # rows up to which a table is shown open
MOST_ROWS = 400  # rows of a table that the page holds
_KIND_MEANINGS = {
    "sft": "before and after SFT",
    "rlvr": "before and after RLVR",
    "control": "before and after as much training on plain text",
    "seed": "two runs that differ only in a seed",
    "contrastive": "before and after contrastive training",
    "other": "two models",
}
_PIXELS_PER_INCH = 92  # CSS pixels that an inch of a figure gets at most
_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class FigureEntry:
    """A figure of the report.

    Attributes
    ----------
    title : str
        Heading of its section.
    caption : str
        What it shows and how to read it.
    png : Path
        Embedded in the page.
    pdf : Path or None
        Linked beside it.
    remarks : sequence of Remark
        Sentences below it.
    """

    title: str
    caption: str
    png: Path
    pdf: Path | None = None
    remarks: Sequence[Remark] = ()


@dataclass(frozen=True)
class ShownTable:
    """A table as the template prints it: cells are texts."""

    title: str
    columns: list[str]
    numeric: list[bool]
    rows: list[list[str]]
    n_rows: int
    always_open: bool = False

    @property
    def collapsed(self) -> bool:
        """Say whether the table starts closed."""
        return self.n_rows > MOST_OPEN and not self.always_open


def write_report(
    path: Path,
    *,
    study: Mapping[str, Any],
    figures: Sequence[FigureEntry],
    tables: Mapping[str, pd.DataFrame],
    missing: Sequence[str],
    rerun: str,
    made: pd.DataFrame | None = None,
    claims: pd.DataFrame | None = None,
) -> None:
    """Write the report of a study.

    Parameters
    ----------
    path : Path
        The HTML file; its folder is made.
    study : mapping
        `name` and `scale` ("full" or "smoke"); and, where known, `evaluation` ("test", or
        "validation", which the page then says), `question`, the parts `models`,
        `pairs` and `datasets` of the configuration, `benchmarks` (names of tasks), `notes`
        (model to a remark about it) and `wrong_share` (share of the base model's worked problems
        that end in a wrong number).
    figures : sequence of FigureEntry
        In the order of the page.
    tables : mapping of title to DataFrame
        In the order of the page.
    missing : sequence of str
        What could not be computed and why, a sentence each.
    rerun : str
        The commands that make this page again.
    made : DataFrame, optional
        How the models were made, as `hrsa.reporting.training.training_summary` lists it.
    claims : DataFrame, optional
        The verdicts, as `hrsa.reporting.claim_summaries.claims_summary` lists them.

    Raises
    ------
    UserError
        If the file of a figure is not there.
    """
    path = Path(path)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    notes = {str(model): str(note) for model, note in dict(study.get("notes") or {}).items()}
    page = environment.get_template("report.html.jinja").render(
        name=study["name"],
        scale=study["scale"],
        smoke=study["scale"] == "smoke",
        evaluation=study.get("evaluation"),
        question=study.get("question") or QUESTION,
        run=_run_tables(study, notes, made),
        benchmarks=list(study.get("benchmarks") or []),
        wrong_share=study.get("wrong_share"),
        seed_pairs=[
            f"{pair['name']} ({pair['reference']} and {pair['candidate']})"
            for pair in study.get("pairs") or []
            if pair["kind"] == "seed"
        ],
        has_rlvr=any(
            model.get("recipe") == "rlvr" for model in dict(study.get("models") or {}).values()
        ),
        dequantised=sorted(model for model, note in notes.items() if "dequantised" in note),
        claims=None if claims is None else replace(shown_table("Claims", claims), always_open=True),
        figures=[_shown_figure(entry, path.parent) for entry in figures],
        tables=[shown_table(title, table) for title, table in tables.items()],
        most_rows=MOST_ROWS,
        missing=list(missing),
        rerun=rerun.strip("\n"),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def shown_table(title: str, table: pd.DataFrame) -> ShownTable:
    """Turn a table into texts: numbers to three decimals, a dash for what is missing."""
    head = table.head(MOST_ROWS)
    return ShownTable(
        title=title,
        columns=[str(column).replace("_", " ") for column in table.columns],
        numeric=[bool(pd.api.types.is_numeric_dtype(dtype)) for dtype in table.dtypes],
        rows=[[_text(cell) for cell in row] for row in head.itertuples(index=False, name=None)],
        n_rows=len(table),
    )


def _text(cell: Any) -> str:
    if cell is None or cell is pd.NA or cell == "" or cell != cell:
        return "–"
    if isinstance(cell, float):
        small = cell != 0 and abs(cell) < 0.001
        return (f"{cell:.1e}" if small else f"{cell:.3f}").replace("-", "\N{MINUS SIGN}")
    return str(cell)


def _shown_figure(entry: FigureEntry, folder: Path) -> dict[str, Any]:
    png = Path(entry.png)
    if not png.is_file():
        raise UserError(
            f"{png}: the image of the figure “{entry.title}” is not there. Draw the figures before "
            "the report, or name the figure among what is missing."
        )
    pdf = None if entry.pdf is None else Path(os.path.relpath(entry.pdf, folder)).as_posix()
    content = png.read_bytes()
    return {
        "title": entry.title,
        "caption": entry.caption,
        "image": base64.b64encode(content).decode("ascii"),
        # The width in the header of a PNG: figures keep their letters the same size on the page.
        "width": round(int.from_bytes(content[16:20], "big") / DPI * _PIXELS_PER_INCH),
        "pdf": pdf,
        "remarks": list(entry.remarks),
    }


def _run_tables(
    study: Mapping[str, Any], notes: Mapping[str, str], made: pd.DataFrame | None
) -> list[ShownTable]:
    """Return the tables of what was run: models and how they were made, pairs, data sets."""
    parts = {
        "Models": pd.DataFrame(_model_rows(study.get("models") or {}, notes)),
        "How the models were made": pd.DataFrame() if made is None else made,
        "Pairs": pd.DataFrame(_pair_rows(study.get("pairs") or [])),
        "Data sets": pd.DataFrame(_dataset_rows(study.get("datasets") or {})),
    }
    return [shown_table(title, table) for title, table in parts.items() if len(table)]


def _model_rows(
    models: Mapping[str, Mapping[str, Any]], notes: Mapping[str, str]
) -> list[dict[str, str]]:
    rows = []
    for name, settings in models.items():
        remarks = [f"{model}: {note}" for model, note in notes.items() if _is_of(model, name)]
        rows.append(
            {
                "model": name,
                "source": _source(settings),
                "parent": str(settings.get("parent") or ""),
                "seeds": ", ".join(map(str, settings.get("seeds") or [])),
                "attention": str(settings.get("attention") or ""),
                "note": "; ".join(remarks),
            }
        )
    return _without_empty(rows)


def _is_of(instance: str, model: str) -> bool:
    """Say whether an instance (`model`, `model.s0`, `model.s0@20`) belongs to a model."""
    return instance == model or instance.startswith((f"{model}.s", f"{model}@"))


def _source(settings: Mapping[str, Any]) -> str:
    if settings.get("recipe"):
        return f"recipe {settings['recipe']}"
    if settings.get("hub"):
        revision = settings.get("revision")
        return f"hub: {settings['hub']}" + (f" at {revision}" if revision else "")
    # The last part of the path: a page that is passed on should not tell the folders of a machine.
    place = Path(str(settings.get("path", "")))
    return f"{'file' if place.suffix == '.gguf' else 'folder'} {place.name}"


def _pair_rows(pairs: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    return [
        {
            "pair": str(pair["name"]),
            "kind": str(pair["kind"]),
            "reference": str(pair["reference"]),
            "candidate": str(pair["candidate"]),
            "what it compares": _KIND_MEANINGS.get(str(pair["kind"]), ""),
        }
        for pair in pairs
    ]


def _dataset_rows(datasets: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    rows = []
    for name, settings in datasets.items():
        if settings.get("generator"):
            source = f"generator {settings['generator']}"
        else:
            source = _source(settings)
        split = str(settings.get("split") or "")
        samples = str(settings.get("samples") or "all")
        rows.append({"data set": name, "source": source, "split": split, "samples": samples})
    return _without_empty(rows)


def _without_empty(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Drop columns in which no row says anything."""
    used = {key for row in rows for key, text in row.items() if text}
    return [{key: text for key, text in row.items() if key in used} for row in rows]

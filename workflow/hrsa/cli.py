"""The `hrsa` command: compare two activation files, look into one, plan a study.

A thin front of the library: it reads arguments, calls, prints. What a user can mend is told in one
paragraph on standard error.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hrsa.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from hrsa.activations.store import Activations
    from hrsa.statistics.power import Plan

DAMAGED = 1
BAD_INPUT = 2


class Metric(StrEnum):
    """Metrics of `hrsa compare`."""

    correlation = "correlation"
    procrustes = "procrustes"
    cka = "cka"
    knn = "knn"


class Attention(StrEnum):
    """How `hrsa compare-models` reads."""

    causal = "causal"
    bidirectional = "bidirectional"


class View(StrEnum):
    """Views of `hrsa compare`, as in `hrsa.similarity.views`, which takes long to import."""

    raw = "raw"
    zscored = "zscored"
    massive_removed = "massive_removed"
    first_position = "first_position"
    half_a = "half_a"
    half_b = "half_b"


app = typer.Typer(
    help="How alike two models' hidden states are, with intervals and chance levels.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.command()
def compare(
    reference: Annotated[
        Path, typer.Argument(help="Activation file (.h5), or array (.npy, .safetensors).")
    ],
    candidate: Annotated[Path, typer.Argument(help="Another of the same kind, on the same texts.")],
    metric: Annotated[
        list[Metric] | None, typer.Option(help="Metric; may be repeated. Default: all.")
    ] = None,
    k: Annotated[
        list[int] | None,
        typer.Option(help="Size of neighbourhood of knn; may be repeated. Default: 10."),
    ] = None,
    layers: Annotated[
        str | None, typer.Option(help="Layers of the reference, such as 0,3,6. Default: all.")
    ] = None,
    permutations: Annotated[
        int, typer.Option(min=0, help="Permutations of samples for p; 0: no p.")
    ] = 199,
    view: Annotated[
        list[View] | None,
        typer.Option(
            help="Way to look at the files, with its own p; may be repeated. Default: raw."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="CSV file for all rows, columns as in similarity.csv.")
    ] = None,
    tensor: Annotated[
        str | None, typer.Option(help="Name of the array in a .safetensors file of several.")
    ] = None,
    samples: Annotated[
        Path | None, typer.Option(help="Sample (text) of each row of the arrays, .npy.")
    ] = None,
    tokens: Annotated[
        Path | None, typer.Option(help="Token id of each row of the arrays, .npy.")
    ] = None,
) -> None:
    """Compare two models by their activation files, or two arrays with matched rows.

    Prints the means over layers, and the first and last layer or those asked for; --out writes
    every row. Ends with 0, or 2 on bad input.
    """
    with _told(BAD_INPUT), _warnings_as_lines():
        from hrsa.similarity.files import open_pair
        from hrsa.similarity.pair_table import pair_table, summary

        with open_pair(
            reference,
            candidate,
            layers=_layer_numbers(layers),
            tensor=tensor,
            samples=samples,
            tokens=tokens,
        ) as pair:
            table = pair_table(
                pair,
                metric or None,
                ks=k or (10,),
                n_permutations=permutations,
                views=[one.value for one in view or [View.raw]],
            )
            if out is not None:
                _write(table, out)
            typer.echo(summary(pair, table))


@app.command("compare-models")
def compare_models(
    reference: Annotated[
        str, typer.Argument(help="Model folder, .gguf file, or owner/name[@revision] of the hub.")
    ],
    candidate: Annotated[str, typer.Argument(help="Another one.")],
    texts: Annotated[
        Path,
        typer.Option(help="Texts: .txt (one a line); .jsonl, .csv, .parquet (column text)."),
    ],
    metric: Annotated[
        list[Metric] | None, typer.Option(help="Metric; may be repeated. Default: all.")
    ] = None,
    k: Annotated[
        list[int] | None,
        typer.Option(help="Size of neighbourhood of knn; may be repeated. Default: 10."),
    ] = None,
    attention: Annotated[
        Attention | None, typer.Option(help="How both models read. Default: as they were saved.")
    ] = None,
    max_length: Annotated[
        int, typer.Option(min=2, help="Longest text in tokens; longer ones are cut at the end.")
    ] = 512,
    permutations: Annotated[
        int, typer.Option(min=0, help="Permutations of samples for p-values; 0: no p.")
    ] = 199,
    out: Annotated[
        Path | None, typer.Option(help="CSV file for all rows, columns as in similarity.csv.")
    ] = None,
    figures: Annotated[Path | None, typer.Option(help="Folder for the heat maps.")] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder for what is downloaded and extracted.")
    ] = None,
) -> None:
    """Compare two models on some texts: extract their hidden states, then compare.

    What was extracted once is not extracted again. Prints the means over layers, and the first and
    last layer; --out writes every row. Ends with 0, or 2 on bad input.
    """
    with _told(BAD_INPUT), _warnings_as_lines():
        from hrsa.similarity.pair_table import pair_table, summary
        from hrsa.two_models import Reading, activation_files, draw_heatmaps, open_models

        reading = Reading(attention=attention.value if attention else None, max_length=max_length)
        files = activation_files(reference, candidate, texts, reading=reading, cache=cache)
        with open_models(files, reference, candidate) as pair:
            table = pair_table(pair, metric or None, ks=k or (10,), n_permutations=permutations)
            if out is not None:
                _write(table, out)
            typer.echo(summary(pair, table))
        if figures is not None:
            for path in draw_heatmaps(table, figures):
                typer.echo(f"drawn: {path}")


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Activation file (.h5).")],
) -> None:
    """Print the header, layers and sizes of an activation file, and verify its checksums.

    Ends with 0, 1 when the file is damaged, or 2 when there is none.
    """
    with _told(DAMAGED if path.is_file() else BAD_INPUT):
        from hrsa.activations.store import open_activations

        with open_activations(path) as activations:
            typer.echo(_described(activations))
            activations.verify()
        typer.echo("checksums: all match")


@app.command()
def power(
    tasks: Annotated[int, typer.Option(help="Benchmark tasks.")],
    items: Annotated[int, typer.Option(help="Items (queries, pairs) of each task.")],
    margin: Annotated[
        float, typer.Option(help="Largest difference that would not matter, in points of score.")
    ],
    item_spread: Annotated[
        float, typer.Option(help="Standard deviation of the difference between items of a task.")
    ],
    task_spread: Annotated[
        float, typer.Option(help="The same between tasks, of their true differences.")
    ],
    seeds: Annotated[int, typer.Option(help="Training seeds of either model.")] = 1,
    seed_spread: Annotated[
        float | None,
        typer.Option(help="The same between training seeds, of the mean over all tasks."),
    ] = None,
) -> None:
    """Plan a study that wants to show that two models score the same.

    Prints how probably a true difference of zero is found equivalent (TOST at 0.05) over tasks,
    over training seeds and over the items of a task, and how many of them would do. Margin and
    spreads are in one unit. Ends with 0, or 2 on bad input.
    """
    with _told(BAD_INPUT):
        from hrsa.statistics.power import plan

        planned = plan(
            items,
            tasks,
            seeds,
            item_spread=item_spread,
            task_spread=task_spread,
            seed_spread=seed_spread,
            margin=margin,
        )
        typer.echo(_plan_table(planned))


@contextmanager
def _told(code: int) -> Iterator[None]:
    """End with ``code`` and one paragraph where the user gave something that cannot be used."""
    try:
        yield
    except (UserError, ValueError) as error:
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(code) from None


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Show warnings for the user as lines of their own, not as lines of source."""

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        typer.echo(f"warning: {message}", err=True)

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield


def _layer_numbers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise UserError(f"--layers {text!r}: layers are numbers from 0 with commas, such as 0,3,6.")
    return [int(part) for part in parts]


def _write(table: "pd.DataFrame", path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(path, index=False, float_format="%.10g", na_rep="", lineterminator="\n")
    except OSError as error:
        raise UserError(f"{path}: the table cannot be written here ({error.strerror}).") from None


def _plan_table(plan: "Plan") -> str:
    """One line for each test, aligned, and below it why a test is not there."""
    units = (plan.tasks, plan.seeds, plan.items)
    rows: list[tuple[str, ...]] = [
        ("over", "n", "spread", "power", "smallest margin", "detectable difference", "needed")
    ]
    for unit in units:
        scores = (unit.smallest_margin, unit.detectable_difference)
        shown = ["–" if number is None else f"{number:.3g}" for number in (unit.spread, *scores)]
        shown.insert(1, "–" if unit.power is None else f"{unit.power:.2f}")
        needed = "–" if unit.units_needed is None else str(unit.units_needed)
        name = "items of a task" if unit is plan.items else unit.unit
        rows.append((name, str(unit.n), *shown, needed))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        f"Power to find a true difference of 0 equivalent within ±{plan.margin:g}; "
        "the other columns are for a power of 0.8.",
        *(
            "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])])
            for row in rows
        ),
        *(f"No test over {unit.unit}: {unit.reason}." for unit in units if unit.reason),
    ]
    return "\n".join(lines)


def _described(activations: "Activations") -> str:
    """Header and sizes, a line each; nested entries of the header are indented."""
    lines = [
        f"file: {activations.path}",
        f"layers: {', '.join(map(str, activations.layers))}",
        f"width: {activations.width}",
        f"tokens: {activations.n_tokens}",
        f"samples: {activations.n_samples}",
        f"bytes: {activations.path.stat().st_size}",
        *(f"layers lie in: {source}" for source in activations.sources),
        "header:",
    ]
    for name, value in activations.attrs.items():
        if isinstance(value, dict):
            lines.append(f"  {name}:")
            lines += [f"    {inner}: {item}" for inner, item in value.items()]
        else:
            lines.append(f"  {name}: {'–' if value is None else value}")
    return "\n".join(lines)


if __name__ == "__main__":
    app()

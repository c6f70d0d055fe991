"""What a study takes, written for people before anything is run: `snakemake plan`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from hrsa_workflow.estimates import COUNTS, ROUGH, Estimate, as_estimate, duration, total
from hrsa_workflow.sizes import ModelSize, parents_of
from hrsa_workflow.study import Study
from hrsa_workflow.study_costs import Costs, estimate_costs

Row = Sequence[str]

# Operations in a second: two cores of a processor, a large GPU in bfloat16.
RATES = ((100e9, "100 GFLOP/s"), (400e12, "400 TFLOP/s"))
LEGEND = """\
How to read it
  ≤    at most: texts that are not here are taken to be as long as the study allows, and so are
       completions
  ~    roughly: a model's size is taken from its name and its shape from that, or a rule of thumb
  + ?  something in it is not known and not counted
  Only the column `to do` leaves out what is there already.
  FLOPs: for each token 2·N forward and 4·N backward (2·N where LoRA leaves the weights alone), and
  2·N more for checkpointed gradients, for cached ones, and for the KL of RLVR; completions are
  written at 2·N. N leaves the embeddings out, and counts the output head where text is written.
  Not counted: attention's products of tokens with tokens, padding, the search of mining, sorting.
  Times are those at the rate given; programs reach a tenth to a half of what a machine could.
  Tokens: a word is 1.1 and a digit or a mark 1, which is about 4 characters of prose a token; more
  in small vocabularies. That is good to about a third.
  Memory: 20 bytes for each weight that is trained (itself, its gradient, two moments, its start, in
  float32), activations by micro-batch (precision auto as float32), and Python; of one process, with
  what it has on a GPU.
"""


def write_plan(study: Study, every: Counter[str], left: Counter[str]) -> str:
    """Write what a study takes, as aligned columns.

    Parameters
    ----------
    study : Study
    every, left : Counter
        Jobs by rule (`hrsa_workflow.job_counts.count_jobs`).
    """
    costs = estimate_costs(study)
    title = f"Study {study.config['study']}, scale {study.config['scale']}: what it takes"
    in_all = total(costs.stages.values())
    sections = [
        title + "\n" + "=" * len(title),
        _section("Models", _models(study, costs)),
        _section("Jobs", _jobs(every, left)),
        _section("FLOPs by stage", _amounts("stage", costs.stages, "FLOP")),
        _times(in_all),
        _section("Memory of the largest job of a rule", _memory(costs)),
        _section("Disk", _amounts("what", costs.disk, "B")),
    ]
    if costs.resume.value or costs.resume.marks:
        resume = costs.resume.text("B")
        sections.append(f"  While a model trains, besides, to go on after a kill: up to {resume}.")
    return "\n\n".join([*sections, LEGEND])


def _models(study: Study, costs: Costs) -> list[Row]:
    head = ("model", "from", "parent", "parameters", "runs", "tokens a run", "FLOPs of all runs")
    rows: list[Row] = [head]
    for model in study.config["models"]:
        names = [name for name, one in study.instances.items() if one.model == model]
        first, cost = study.instances[names[0]], costs.trainings[names[0]]
        operations = total(one.operations for name in names if (one := costs.trainings[name]))
        rows.append(
            (
                model,
                first.source,
                " + ".join(parents_of(first)) or "–",
                _parameters(costs.sizes[names[0]]),
                str(len(names)),
                cost.tokens.text("", COUNTS) if cost else "–",
                operations.text("FLOP") if cost else "–",
            )
        )
    return rows


def _parameters(size: ModelSize | None) -> str:
    if size is None:
        return "unknown"
    count = as_estimate(size.parameters)
    if size.is_guess:
        return count.marked(ROUGH).text("", COUNTS) + " by its name"
    return count.text("", COUNTS)


def _jobs(every: Counter[str], left: Counter[str]) -> list[Row]:
    rows = [(rule, str(count), str(left[rule])) for rule, count in every.items()]
    return [("rule", "all", "to do"), *rows, ("total", str(every.total()), str(left.total()))]


def _amounts(head: str, estimates: dict[str, Estimate], unit: str) -> list[Row]:
    rows = [(name, one.text(unit)) for name, one in estimates.items()]
    title = "bytes" if unit == "B" else f"{unit}s"
    return [(head, title), *rows, ("total", total(estimates.values()).text(unit))]


def _times(operations: Estimate) -> str:
    """All operations as one line, with the time that they take."""
    times = "; ".join(
        f"at {rate} that is {duration(operations.value / speed)}" for speed, rate in RATES
    )
    return f"  In all {operations.text('FLOP')}: {times}."


def _memory(costs: Costs) -> list[Row]:
    rows = [(rule, one.text("B"), name) for rule, (one, name) in costs.memory.items()]
    return [("rule", "bytes", "job"), *rows]


def _section(title: str, rows: list[Row]) -> str:
    return title + "\n" + "\n".join(_aligned(rows))


def _aligned(rows: list[Row]) -> Iterable[str]:
    """Align columns, numbers to the right and words to the left, under a line below the head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    numeric = [_is_numeric(column) for column in zip(*rows[1:], strict=True)]
    for place, row in enumerate(rows):
        cells = [
            cell.rjust(width) if is_number else cell.ljust(width)
            for cell, width, is_number in zip(row, widths, numeric, strict=True)
        ]
        yield ("  " + "  ".join(cells)).rstrip()
        if place == 0:
            yield "  " + "  ".join("-" * width for width in widths)


def _is_numeric(cells: Iterable[str]) -> bool:
    return any(cell and (cell[0].isdigit() or cell[0] in "≤~") for cell in cells)

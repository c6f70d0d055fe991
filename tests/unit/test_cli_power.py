"""`hrsa power`: the table it prints, and how it ends."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hrsa.cli import app
from hrsa.statistics.power import plan

DOCS = Path(__file__).parents[2] / "docs" / "power.md"
STUDY = {
    "--tasks": 12,
    "--items": 1000,
    "--item-spread": 25,
    "--task-spread": 0.8,
    "--margin": 1,
}
WITH_SEEDS = STUDY | {"--seeds": 3, "--seed-spread": 0.3}


def run(options):
    arguments = [str(part) for option in options.items() for part in option]
    return CliRunner().invoke(app, ["power", *arguments])


def row(result, name):
    """Cells after the name."""
    (line,) = (line for line in result.stdout.splitlines() if line.startswith(f"{name}  "))
    return line.removeprefix(name).split()


def test_the_table_holds_the_plan():
    result = run(WITH_SEEDS)
    assert (result.exit_code, result.stderr) == (0, "")
    known = {"item_spread": 25.0, "task_spread": 0.8, "seed_spread": 0.3, "margin": 1.0}
    planned = plan(1000, 12, 3, **known)
    rows = {"tasks": planned.tasks, "seeds": planned.seeds, "items of a task": planned.items}
    for name, unit in rows.items():
        n, spread, power, margin, difference, needed = row(result, name)
        assert (int(n), int(needed)) == (unit.n, unit.units_needed)
        assert float(power) == pytest.approx(unit.power, abs=0.005)
        assert float(spread) == pytest.approx(unit.spread, rel=0.01)
        assert float(margin) == pytest.approx(unit.smallest_margin, rel=0.01)
        assert float(difference) == pytest.approx(unit.detectable_difference, rel=0.01)
    assert "No test" not in result.stdout


def test_columns_are_aligned():
    lines = run(WITH_SEEDS).stdout.splitlines()[1:]
    assert len(lines) == 4
    assert len({len(line) for line in lines}) == 1


@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_seeds_have_no_test_and_the_others_are_offered(seeds):
    result = run(WITH_SEEDS | {"--seeds": seeds})
    assert result.exit_code == 0
    assert row(result, "seeds") == [str(seeds), "0.3", "–", "–", "–", "3"]
    assert re.search(rf"^No test over seeds: it needs at least 3, .* {seeds};", result.stdout, re.M)
    assert "–" not in row(result, "tasks") + row(result, "items of a task")


def test_seeds_need_not_be_planned():
    result = run(STUDY)
    assert result.exit_code == 0
    assert row(result, "seeds") == ["1", "–", "–", "–", "–", "–"]
    assert "No test over seeds: it needs at least 3, and the study has 1" in result.stdout


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--margin": 0}, "margin .* is 0.0; it must be a number above 0"),
        ({"--margin": -1}, "margin .* is -1.0"),
        ({"--margin": "nan"}, "margin .* is nan"),
        ({"--tasks": 0}, "at least 1 of its tasks, not 0"),
        ({"--item-spread": 0}, "spread between items is 0.0"),
        ({"--task-spread": -2}, "spread between tasks is -2.0"),
        ({"--margin": 1e-12}, "more than .* units"),
    ],
)
def test_bad_numbers_are_told_in_one_line(change, message):
    result = run(WITH_SEEDS | change)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert re.match(rf"error: .*{message}", result.stderr)
    assert len(result.stderr.splitlines()) == 1


def test_what_is_left_out_is_named():
    result = run({"--tasks": 12})
    assert result.exit_code == 2
    assert "--items" in result.stderr


def test_the_documented_command_prints_what_is_documented():
    blocks = re.findall(r"^    \$ hrsa (power .*)\n((?:    .*\n)+)", DOCS.read_text("utf-8"), re.M)
    assert len(blocks) == 1
    command, printed = blocks[0]
    result = CliRunner().invoke(app, shlex.split(command))
    assert result.stdout.splitlines() == [line[4:] for line in printed.splitlines()]

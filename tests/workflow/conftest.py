"""Snakemake on a copy of the repository: the small study, run once and copied for each test."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALL = "tests/workflow/small.yaml"
LEFT_OUT = (".git", ".venv", ".snakemake", "results", "resources", "__pycache__", ".*_cache")


@dataclass(frozen=True)
class Plan:
    """What a dry run would do: jobs by rule, and the message of each job."""

    counts: dict[str, int]
    messages: set[str]

    @property
    def rules(self) -> set[str]:
        """Rules with a job, without the target rule that only names the end."""
        return set(self.counts) - {"all"}


@dataclass(frozen=True)
class Checkout:
    """A copy of the repository in which Snakemake runs on a study, the small one or another."""

    path: Path
    study: str = SMALL

    def snakemake(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PYTHONPATH": str(self.path / "workflow")}
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", *arguments, "--configfile", self.study],
            cwd=self.path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode:
            pytest.fail(f"snakemake {' '.join(arguments)} failed:\n{done.stdout}\n{done.stderr}")
        return done

    def plan(self, *arguments: str) -> Plan:
        """Read what a dry run says."""
        done = self.snakemake("--dry-run", *arguments)
        text = done.stdout + done.stderr
        table = re.search(
            r"^Job stats:\n.*?\n-+ +-+\n(.*?)\ntotal ", text, re.MULTILINE | re.DOTALL
        )
        rows = [line.split() for line in table[1].splitlines()] if table else []
        messages = re.findall(r"^Job \d+: (.*)$", text, re.M)
        return Plan({rule: int(count) for rule, count in rows}, set(messages))

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace a text that occurs once in a file."""
        path = self.path / file
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} occurs {text.count(old)} times in {file}"
        path.write_text(text.replace(old, new), encoding="utf-8")

    def tracked_files(self) -> list[Path]:
        """Files of the copy that are not results."""
        made = {"results", "resources", ".snakemake"}
        files = (path for path in self.path.rglob("*") if path.is_file())
        return [path for path in files if path.relative_to(self.path).parts[0] not in made]


def copy_repository(path: Path) -> Checkout:
    shutil.copytree(ROOT, path, ignore=shutil.ignore_patterns(*LEFT_OUT))
    return Checkout(path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Checkout:
    """The small study, run from nothing. No test may change it."""
    checkout = copy_repository(tmp_path_factory.mktemp("small") / "repository")
    checkout.snakemake()
    return checkout


@pytest.fixture
def checkout(finished, tmp_path) -> Checkout:
    """A copy of the finished small study that a test may change."""
    shutil.copytree(finished.path, tmp_path / "repository", symlinks=True)
    return Checkout(tmp_path / "repository")


@pytest.fixture
def fresh(tmp_path) -> Checkout:
    """A copy of the repository without results."""
    return copy_repository(tmp_path / "fresh")


@pytest.fixture(scope="module")
def fresh_for_all(tmp_path_factory) -> Checkout:
    """A copy of the repository without results, for all tests of a module."""
    return copy_repository(tmp_path_factory.mktemp("all") / "fresh")

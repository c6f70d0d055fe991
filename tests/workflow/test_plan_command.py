"""`snakemake plan` says what a study takes and leaves the study as it is."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

# Jobs of few kinds.
STUDY = """
study: tiny
corpus: {problems: 60, prose: 40, questions: 8, topics: {train: 24, validation: 8, test: 16}}
models:
  base: {recipe: pretrain}
  embedding:
    {recipe: contrastive, parent: base, seeds: [0, 1], checkpoints: {seeds: [0], steps: [2]}}
datasets:
  topics: {generator: topics}
pairs:
  - {name: seeds, kind: seed, reference: embedding.s0, candidate: embedding.s1}
metrics: {cka: {}}
"""


@pytest.fixture
def folder(fresh):
    """The repository with the study in it, of which one file of the corpus is there."""
    (fresh.path / "tiny.yaml").write_text(STUDY)
    corpus = fresh.path / "results/tiny-smoke/datasets/corpus"
    corpus.mkdir(parents=True)
    (corpus / "topics.parquet").write_bytes(b"made before")
    return fresh.path


def files_of(folder):
    made = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {str(path) for path in made if path.parts[0] in ("results", "resources")}


def test_the_plan_is_printed_and_only_its_log_is_written(folder):
    before = files_of(folder)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "snakemake", "plan"),
            *("--configfile", "tiny.yaml", "--config", "scale=smoke"),
        ],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder / "workflow"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    page = done.stdout
    assert page.startswith("Study tiny, scale smoke: what it takes\n")
    jobs = page[page.index("\nJobs\n") :].split("\n\n")[0]
    counts = {row[0]: tuple(row[1:]) for row in map(str.split, jobs.splitlines()[4:])}
    # one file of the corpus is there, at this scale; all else is still to do
    assert int(counts["corpus"][1]) == int(counts["corpus"][0]) - 1
    assert counts["contrastive"] == ("2", "2")
    assert counts["extract"] == ("2", "2")
    assert not {"plan", "all"} & counts.keys()
    assert int(counts["total"][1]) == int(counts["total"][0]) - 1
    log = "results/tiny-smoke/logs/plan.log"
    assert files_of(folder) - before == {log}
    assert (folder / log).read_text().strip() == page.strip()
    # without outputs it is never up to date
    assert "always executed" in done.stderr

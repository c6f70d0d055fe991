"""Every study of the repository can be planned, without a network and without running a job."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def plan(*arguments, folder, **environment):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "snakemake", "--dry-run", "--directory", str(folder)),
            *("--snakefile", str(ROOT / "Snakefile"), *arguments),
        ],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def n_jobs(text):
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("total "))


def link_repository(folder):
    """Give an empty working directory the repository's files where rules look for them."""
    for name in ("workflow", "config.yaml", "envs"):
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.fixture
def folder(tmp_path):
    return link_repository(tmp_path)


@pytest.fixture(scope="module")
def default(tmp_path_factory):
    """The plan of the default study."""
    code, text = plan(folder=link_repository(tmp_path_factory.mktemp("default")))
    assert code == 0, text
    return text


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The plan of two models of the hub, made without a network."""
    folder = link_repository(tmp_path_factory.mktemp("pair"))
    study = str(ROOT / "studies/pair.yaml")
    code, text = plan("--configfile", study, folder=folder, HF_HUB_OFFLINE="1")
    assert code == 0, text
    return text


def test_the_default_study_has_at_most_170_jobs(default):
    assert n_jobs(default) <= 170


def test_the_smoke_scale_has_the_same_jobs_in_another_folder(default, folder):
    code, text = plan("--config", "scale=smoke", folder=folder)
    assert code == 0, text
    assert n_jobs(text) == n_jobs(default)
    assert "results/miniature-smoke/" in text


def test_two_models_of_the_hub_are_planned_without_a_network(pair):
    assert "Downloading HuggingFaceTB--SmolLM2-135M at main" in pair


def test_another_study_replaces_the_default_one(pair):
    assert "pretrain" not in pair
    assert "results/miniature" not in pair


@pytest.mark.parametrize("metric", ["correlation", "procrustes", "cka", "knn"])
def test_a_study_of_one_metric_has_no_jobs_of_another(folder, metric):
    others = {"correlation", "procrustes", "cka", "knn", "neighbours"} - {metric, "neighbours"}
    study = folder / "one.yaml"
    study.write_text((ROOT / "studies/pair.yaml").read_text() + f"\nmetrics: {{{metric}: {{}}}}\n")
    code, text = plan("--configfile", str(study), folder=folder)
    assert code == 0, text
    table = text[text.index("Job stats:") :]
    assert not any(f"\n{other} " in table for other in others)


def test_a_data_set_in_shards_is_extracted_part_by_part_and_joined(default, folder):
    (folder / "config.yaml").unlink()
    text = (ROOT / "config.yaml").read_text(encoding="utf-8")
    sharded = text.replace("split: test, samples: 100}", "split: test, samples: 100, shards: 3}")
    assert sharded != text
    (folder / "config.yaml").write_text(sharded, encoding="utf-8")
    code, parts = plan("--configfile", str(folder / "config.yaml"), folder=folder)
    assert code == 0, parts
    gathered = next(line for line in parts.splitlines() if line.startswith("gather "))
    extracted = next(line for line in parts.splitlines() if line.startswith("extract_shard "))
    assert int(extracted.split()[1]) == 3 * int(gathered.split()[1])
    # the other data sets are extracted as before
    n_more = int(gathered.split()[1]) + int(extracted.split()[1])
    assert n_jobs(parts) == n_jobs(default) + n_more

"""A benchmark task that fails costs only itself: the rest is finished, a retry runs it alone."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from hrsa_workflow.code_version import code_version

sys.path.insert(0, str(Path(__file__).parents[1] / "hub"))
from local_hub import LocalHub

pytestmark = pytest.mark.slow

SUITE = "MTEB(eng, v2)"
STUDY = {
    "study": "suites",
    "corpus": {
        "problems": 60,
        "prose": 60,
        "topics": {"train": 32, "validation": 16, "test": 24},
        "pairs": 60,
        "retrieval": {"documents": 24, "queries": 8},
    },
    "recipes": {
        "pretrain": {
            "architecture": {
                **{"layers": 1, "width": 32, "heads": 2, "kv_heads": 1},
                **{"intermediate": 64, "vocabulary": 384},
            },
            "steps": 2,
            "batch_size": 8,
        },
        "contrastive": {"steps": 2, "batch_size": 8, "warmup_steps": 1},
    },
    "models": {
        "base": {"recipe": "pretrain"},
        "base-emb": {"recipe": "contrastive", "parent": "base"},
    },
    "datasets": {"topics": {"generator": "topics", "samples": 8}},
    "pairs": [
        {"name": "trained", "kind": "contrastive", "reference": "base", "candidate": "base-emb"}
    ],
    "metrics": {"correlation": {}},
    "accuracy": {"problems": 4},
    "benchmarks": {
        "tasks": ["TopicClassification", "TopicRetrieval"],
        "suites": [{"suite": SUITE, "tasks": ["STS12", "Banking77Classification"]}],
        "models": ["base-emb"],
    },
}
STS12 = "sts12-sts@a0d554a64d88156834ff5ae9920b964011b16384"
BANKING = "banking77@0fd18e25b25c072e09e0d92ab615fda904d66300"


def texts(n):
    rng = np.random.default_rng(len(str(n)))
    words = ("river", "stone", "cloud", "lamp", "paper", "train", "garden", "letter")
    return [" ".join(rng.choice(words, 6)) for _ in range(n)]


def serve(root, name, **splits):
    for split, columns in splits.items():
        folder = root / "datasets" / "mteb" / name.partition("@")[0]
        for place in (folder, folder.with_name(name)):
            place.mkdir(parents=True, exist_ok=True)
            pd.DataFrame(columns).to_parquet(place / f"{split}.parquet", index=False)


def serve_sts12(root):
    pairs = {"sentence1": texts(20), "sentence2": texts(20)[::-1]}
    serve(root, STS12, test=pairs | {"score": [float(i % 6) for i in range(20)]})


def serve_banking(root):
    labelled = {"text": texts(40), "label": [i % 4 for i in range(40)]}
    serve(root, BANKING, train=labelled, test=labelled)


def table(checkout, name):
    return pd.read_csv(checkout.path / f"results/suites/tables/{name}.csv")


def test_one_failing_task_leaves_all_others_finished_and_is_run_alone_later(
    fresh, tmp_path, monkeypatch
):
    served = tmp_path / "served"
    (fresh.path / "suites.yaml").write_text(yaml.safe_dump(STUDY))
    checkout = replace(fresh, study="suites.yaml")
    serve_sts12(served)
    with LocalHub(served) as hub:
        hub.set_environment(monkeypatch, tmp_path / "home")
        first = checkout.snakemake(check=False)
        said = first.stdout + first.stderr
        assert first.returncode == 1
        assert "Banking77Classification of base-emb: its data cannot be had" in said
        assert "retry_failed=true" in said
        assert "Traceback" not in said
        scores = table(checkout, "benchmarks").set_index(["model", "task"])["value"]
        assert scores.drop("Banking77Classification", level="task").notna().all()
        assert scores.xs("Banking77Classification", level="task").isna().all()
        assert len(scores) == 4
        means = table(checkout, "benchmark_means")
        whole = means[means["mean"] == "tasks"].set_index("suite").loc[SUITE]
        assert pd.isna(whole["value"])
        assert "without Banking77Classification" in whole["note"]
        page = (checkout.path / "results/suites/report/index.html").read_text()
        assert "Banking77Classification of base-emb" in page

        serve_banking(served)
        again = checkout.snakemake("--config", "retry_failed=true")
        done = re.findall(r"Running the benchmarks (\S+) on", again.stdout + again.stderr)
        assert set(done) == {"MTEB-eng-v2"}
        log = (checkout.path / "results/suites/logs/evaluate/base-emb/MTEB-eng-v2.log").read_text()
        assert "kept STS12" in log
        assert "kept Banking77Classification" not in log
        after = table(checkout, "benchmarks").set_index(["model", "task"])["value"]
        assert after.notna().all()
        assert after.drop("Banking77Classification", level="task").equals(
            scores.drop("Banking77Classification", level="task")
        )
        assert table(checkout, "benchmark_means")["complete"].all()
    folder = checkout.path / "results/suites/benchmarks/base-emb/MTEB-eng-v2"
    record = json.loads((folder / "STS12.record.json").read_text())
    assert record["key"]["revision"] == STS12.partition("@")[2]
    workflow = checkout.path / "workflow"
    makes_results = workflow / "hrsa_workflow" / "task_results.py"
    assert record["key"]["code"] == code_version(makes_results, workflow)
    kept = folder.with_name("MTEB-eng-v2.kept") / "STS12" / "STS12.items.parquet"
    assert kept.samefile(folder / "STS12.items.parquet")
    finished = checkout.plan()
    assert not finished.counts

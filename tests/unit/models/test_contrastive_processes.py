"""Contrastive training by two processes, as on two GPUs: the same batches, losses and tokens."""

import json

import numpy as np
import pandas as pd
import pytest
from test_contrastive import SETTINGS, pairs_frame

from hrsa.models.contrastive import train
from hrsa_workflow.launch import Training, launch

pytestmark = pytest.mark.slow


def test_two_processes_see_the_batches_of_one_and_learn_the_same(
    tmp_path, qwen_folder, monkeypatch
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    frame = pairs_frame(64).assign(kind=["text"] * 40 + ["word"] * 24)
    frame["negatives"] = frame["document"].shift(-1, fill_value="last").map(lambda text: [text])
    frame.to_parquet(tmp_path / "pairs.parquet")

    def training(name):
        (tmp_path / f"{name}-resume").mkdir()
        return Training(
            recipe="hrsa.models.contrastive",
            output=tmp_path / name,
            parent=qwen_folder,
            data={"pairs": tmp_path / "pairs.parquet"},
            seed=1,
            resume=tmp_path / f"{name}-resume",
            settings=SETTINGS
            | {
                "steps": 4,
                "micro_batch": 2,
                "negatives": 1,
                "shares": {"pairs-text": 0.6, "pairs-word": 0.4},
                "instruction": "Find it",
            },
        )

    training("one").run(train)
    launch(training("two"), 2)
    curves = [pd.read_csv(tmp_path / name / "curve.csv")["loss"] for name in ("one", "two")]
    assert len(curves[0]) == 4
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-4)
    records = [json.loads((tmp_path / n / "record.json").read_text()) for n in ("one", "two")]
    assert records[0]["train_tokens"] == records[1]["train_tokens"]
    assert records[0]["relative_weight_change"] == pytest.approx(
        records[1]["relative_weight_change"], rel=1e-3
    )

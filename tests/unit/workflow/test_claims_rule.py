"""What the rule of the claims reads and makes."""

import json

from hrsa.reporting.claims import CLAIM_COLUMNS
from hrsa_workflow import products
from hrsa_workflow.architectures import architecture
from hrsa_workflow.config import load_config
from hrsa_workflow.study import Study
from hrsa_workflow.tables import CLAIMS


def made(config):
    return Study(load_config(config), code=lambda script: script)


def test_every_study_has_a_table_of_claims_made_from_the_others(study):
    found = made(study)
    assert set(products.claims_files(found).values()) <= set(products.table_files(found).values())
    read = products.claimed_tables(found)
    assert "results/tiny/tables/similarity.parquet" in read
    assert "results/tiny/tables/reanalysis.parquet" in read
    assert not any("claims" in path for path in read)


def test_differences_are_read_where_the_study_has_them(study):
    assert not any("differences" in path for path in products.claimed_tables(made(study)))
    study["benchmarks"] = {"tasks": ["TopicRetrieval"], "models": ["base-emb", "sft-emb"]}
    study["pairs"].append(
        {"name": "emb", "kind": "sft", "reference": "base-emb", "candidate": "sft-emb"}
    )
    assert any("differences" in path for path in products.claimed_tables(made(study)))


def test_the_first_reference_tells_the_architecture_of_a_pair(study):
    study["pairs"].append(
        {"name": "emb", "kind": "sft", "reference": "base-emb", "candidate": "sft-emb"}
    )
    found = products.first_references(made(study))
    assert found == {"base-sft": "base", "emb": "base-emb.s0"}


def test_types_are_given_for_every_column():
    assert tuple(CLAIMS) == CLAIM_COLUMNS


def test_an_architecture_is_type_depth_and_width(tmp_path):
    folder = tmp_path / "models" / "base"
    folder.mkdir(parents=True)
    assert architecture(folder / "record.json") == "base"
    config = {"model_type": "qwen2", "num_hidden_layers": 6, "hidden_size": 128}
    (folder / "config.json").write_text(json.dumps(config))
    assert architecture(folder / "record.json") == "qwen2, 6 layers, width 128"

"""Rows that jobs add to the tables: doses, and training curves."""

import json

import pandas as pd
import pytest

from hrsa_workflow.tables import DOSE, LOGGED, dose_of_model, dose_rows, read_curves

LABELS = {"model": "sft", "recipe": "sft", "seed": 0, "step": None}


def test_a_trained_model_has_a_dose_with_its_divergence():
    record = {"relative_weight_change": 0.1, "train_tokens": 500}
    divergence = {None: {"kl_to_parent": 0.2, "n_tokens": 40}}
    dose = dose_of_model(record, labels=LABELS, parent="base", divergence=divergence)
    assert list(dose) == list(DOSE)
    (row,) = dose.to_dict("records")
    assert row["model"] == "sft"
    assert row["parent"] == "base"
    assert (row["relative_weight_change"], row["kl_to_parent"]) == (0.1, 0.2)
    assert (row["train_tokens"], row["n_tokens"]) == (500, 40)


def test_the_checkpoints_of_a_model_have_doses_of_their_own():
    record = {
        **{"relative_weight_change": 0.1, "train_tokens": 500},
        "checkpoints": {"10": {"relative_weight_change": 0.05, "train_tokens": 250}},
    }
    divergence = {None: {"kl_to_parent": 0.2}, 10: {"kl_to_parent": 0.02}}
    dose = dose_of_model(record, labels=LABELS, parent="base", divergence=divergence)
    assert dose["step"].tolist() == [10, pd.NA]
    assert dose["relative_weight_change"].tolist() == [0.05, 0.1]
    assert dose["kl_to_parent"].tolist() == [0.02, 0.2]
    assert dose["train_tokens"].tolist() == [250, 500]


def test_a_pretrained_base_has_its_tokens_and_no_divergence():
    record = {"relative_weight_change": None, "train_tokens": 500}
    dose = dose_of_model(record, labels=LABELS, parent=None, divergence={})
    assert dose["train_tokens"].tolist() == [500]
    assert dose["kl_to_parent"].isna().all()


@pytest.mark.parametrize("record", [{"train_tokens": None}, {}])
def test_a_model_from_outside_has_an_empty_table_of_the_same_types(record):
    empty = dose_of_model(record, labels=LABELS, parent=None, divergence={})
    full = dose_of_model({"train_tokens": 5}, labels=LABELS, parent=None, divergence={})
    assert len(empty) == 0
    assert empty.dtypes.equals(full.dtypes)


def test_a_record_that_says_little_still_has_a_row(tmp_path):
    path = tmp_path / "record.json"
    path.write_text('{"parent": "base"}')
    rows = dose_rows([path], {str(path): LABELS})
    assert rows["parent"].tolist() == ["base"]
    assert rows["relative_weight_change"].isna().all()


def test_the_checkpoints_of_an_embedding_model_have_rows(tmp_path):
    path = tmp_path / "record.json"
    steps = {"40": {"relative_weight_change": 0.2}, "5": {"relative_weight_change": 0.1}}
    record = {"parent": "base", "relative_weight_change": 0.3, "checkpoints": steps}
    path.write_text(json.dumps(record))
    rows = dose_rows([path], {str(path): LABELS})
    assert rows["step"].tolist() == [5, 40, pd.NA]
    assert rows["relative_weight_change"].tolist() == [0.1, 0.2, 0.3]
    assert set(rows["parent"]) == {"base"}


def test_curves_have_all_columns_whatever_a_recipe_logs(tmp_path):
    sft, rlvr, merge = (tmp_path / f"{name}.csv" for name in ("sft", "rlvr", "merge"))
    sft.write_text("step,loss\n1,2.0\n")
    rlvr.write_text("step,loss,reward,kl\n1,0.0,0.5,0.01\n2,0.0,0.6,0.02\n")
    merge.write_text("step\n")
    paths = [str(path) for path in (sft, rlvr, merge)]
    labels = [{"model": name, "recipe": name, "seed": None} for name in ("sft", "rlvr", "merge")]
    curves = read_curves(paths, labels)
    assert list(curves) == ["model", "recipe", "seed", "step", *LOGGED]
    assert curves["model"].tolist() == ["sft", "rlvr", "rlvr"]
    assert curves["kl"].tolist()[1:] == [0.01, 0.02]
    assert curves["reward"].isna().tolist() == [True, False, False]


def test_without_a_curve_there_is_an_empty_table(tmp_path):
    path = tmp_path / "curve.csv"
    path.write_text("step\n")
    for paths, labels in (([], []), ([str(path)], [LABELS])):
        curves = read_curves(paths, labels)
        assert curves.empty
        assert list(curves)[4:] == list(LOGGED)
    assert isinstance(curves, pd.DataFrame)

import numpy as np
import pytest

from hrsa.similarity import cka_layers, correlation_layers, knn_layers, procrustes_layers
from hrsa.similarity.results import METRIC_COLUMNS, SIMILARITY_COLUMNS, label_rows

METRICS = [cka_layers, correlation_layers, knn_layers, procrustes_layers]


@pytest.mark.parametrize("metric", METRICS)
def test_tables_have_the_columns_of_a_metric_and_are_typed(metric, two_models):
    table = metric(*two_models).table
    assert tuple(table.columns) == METRIC_COLUMNS
    assert (table["view"] == "raw").all()
    assert table["k"].dtype == "Int64"
    for column in ("value", "se", "ci_low", "ci_high", "chance", "p"):
        assert table[column].dtype == np.float64
    assert table["value"].notna().all()


@pytest.mark.parametrize("metric", METRICS)
def test_a_number_without_interval_chance_or_p_says_why(metric, two_models):
    table = metric(*two_models).table
    missing = table[["se", "chance", "p"]].isna().any(axis=1)
    assert (table.loc[missing, "note"] != "").all()


@pytest.mark.parametrize("metric", METRICS)
def test_two_runs_are_equal(metric, two_models):
    first, second = metric(*two_models), metric(*two_models)
    assert first.table.equals(second.table)
    for name, array in first.arrays.items():
        assert np.array_equal(array, second.arrays[name], equal_nan=True)


def test_labels_complete_the_rows_of_a_study(two_models, tmp_path):
    table = cka_layers(*two_models).table
    labels = {"pair": "sft", "kind": "sft", "reference": "base", "candidate": "sft", "seed": 0}
    labelled = label_rows(table, **labels, dataset="prose")
    assert tuple(labelled.columns) == SIMILARITY_COLUMNS
    assert (labelled["pair"] == "sft").all()
    assert labelled["seed"].dtype == "Int64"
    assert labelled["step"].isna().all()
    labelled.to_parquet(tmp_path / "rows.parquet")


def test_an_unknown_label_is_refused(two_models):
    with pytest.raises(ValueError, match="no column is named 'layer'; a label is one of pair"):
        label_rows(cka_layers(*two_models).table, layer=3)

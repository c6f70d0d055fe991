"""Floors and Holm's p in the similarity table."""

import numpy as np
import pandas as pd
import pytest

from hrsa.reporting.floors import (
    NO_OTHER_SEED_PAIR,
    NO_SEED_PAIR,
    ONE_SEED_PAIR,
    with_floors,
    with_holm,
)
from hrsa.reporting.tables import typed
from hrsa.similarity.results import SIMILARITY_COLUMNS


def table(*rows: dict) -> pd.DataFrame:
    """Rows of the similarity table, joined: CKA of layer 6 unless a row says otherwise."""
    common = {
        "stage": "backbone", "reference": "a", "candidate": "b", "dataset": "questions",
        "metric": "cka", "statistic": "cka", "view": "raw", "variant": "song",
        "layer_reference": 6, "layer_candidate": 6, "value": 0.5,
    }  # fmt: skip
    frame = pd.DataFrame([common | row for row in rows])
    frame = frame.reindex(columns=list(SIMILARITY_COLUMNS))
    return typed(frame.astype({"note": "str", "holm_family": "str"}))


def test_the_floor_is_filled_and_its_origin_noted():
    found = with_floors(
        table(
            {"pair": "base-sft", "kind": "sft", "note": "of the row"},
            {"pair": "s", "kind": "seed", "value": 0.9},
        )
    )
    assert found["floor"].iloc[0] == 0.9
    assert found["note"].tolist() == [f"of the row; {ONE_SEED_PAIR}", NO_OTHER_SEED_PAIR]


def test_several_seed_pairs_need_no_note_and_none_says_so():
    seeds = [{"pair": name, "kind": "seed", "value": 0.9} for name in "st"]
    found = with_floors(table({"pair": "base-sft", "kind": "sft"}, *seeds))
    assert found["note"].tolist() == ["", ONE_SEED_PAIR, ONE_SEED_PAIR]
    alone = with_floors(table({"pair": "base-sft", "kind": "sft"}))
    assert alone["note"].tolist() == [NO_SEED_PAIR]
    assert alone["floor"].isna().all()


def test_columns_keep_their_types():
    before = table({"pair": "base-sft", "kind": "sft", "p": 0.01}, {"pair": "s", "kind": "seed"})
    after = with_holm(with_floors(before))
    assert list(after.dtypes) == list(before.dtypes)
    assert list(after.columns) == list(before.columns)


def test_holm_runs_over_pairs_data_sets_and_both_headline_layers():
    mean = {"layer_reference": -1, "layer_candidate": -1}
    rows = [
        {"pair": "base-sft", "kind": "sft", "p": 0.005},
        {"pair": "base-sft", "kind": "sft", "p": 0.01} | mean,
        {"pair": "base-rlvr", "kind": "rlvr", "p": 0.04},
        {"pair": "base-rlvr", "kind": "rlvr", "p": 0.03, "dataset": "problems"},
    ]
    found = with_holm(table(*rows))
    assert found["p_holm"].tolist() == pytest.approx([0.02, 0.03, 0.06, 0.06])
    assert set(found["holm_family"]) == {"backbone, cka, cka, raw, song: 4 tests"}


@pytest.mark.parametrize(
    "change",
    [
        {"step": 20}, {"layer_reference": 5, "layer_candidate": 5}, {"layer_candidate": 5},
        {"p": None}, {"view": "massive_removed"},
    ],
)  # fmt: skip
def test_checkpoints_other_layers_views_and_untested_rows_are_in_no_family(change):
    tested = {"pair": "base-sft", "kind": "sft", "p": 0.01}
    found = with_holm(table(tested, tested | change))
    assert found["holm_family"].tolist()[0].endswith(": 1 test")
    assert found["p_holm"].iloc[0] == 0.01
    assert found[["holm_family", "p_holm"]].iloc[1].isna().all()


@pytest.mark.parametrize(
    "change",
    [{"stage": "embedding"}, {"statistic": "cka_max"}, {"variant": "biased"}, {"k": 10},
     {"metric": "knn"}],
)  # fmt: skip
def test_each_question_is_a_family_of_its_own(change):
    rows = [{"pair": "base-sft", "kind": "sft", "p": 0.01}, {"pair": "x", "kind": "sft", "p": 0.04}]
    found = with_holm(table(rows[0], rows[1] | change))
    assert found["p_holm"].tolist() == [0.01, 0.04]
    assert found["holm_family"].nunique() == 2


def test_a_table_without_p_values_or_rows_passes_through():
    untested = with_holm(with_floors(table({"pair": "base-sft", "kind": "sft"})))
    assert untested["p_holm"].isna().all()
    assert with_holm(with_floors(untested.iloc[:0])).empty


def test_the_order_of_rows_does_not_matter():
    rng = np.random.default_rng(0)
    rows = [
        {"pair": f"p{i}", "kind": kind, "p": round(rng.random(), 2), "value": rng.random()}
        for i, kind in enumerate(["seed"] * 5 + ["sft"] * 5)
    ]
    first = with_holm(with_floors(table(*rows))).set_index("pair")
    turned = with_holm(with_floors(table(*rows[::-1]))).set_index("pair").loc[first.index]
    pd.testing.assert_frame_equal(first, turned, check_exact=True)

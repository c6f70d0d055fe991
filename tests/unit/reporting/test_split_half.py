import numpy as np
import pandas as pd
import pytest

from hrsa.reporting.split_half import (
    DISAGREE,
    FEW_CELLS,
    NO_ERRORS,
    SPLIT_HALF_COLUMNS,
    split_half_summary,
    split_half_table,
)
from hrsa.reporting.tables import typed
from hrsa.similarity.results import SIMILARITY_COLUMNS

SE = 0.03


def rows(statistic="cka", *, n_pairs=20, n_layers=6, noise=SE, se=SE, **columns) -> list[dict]:
    """Halves of pairs whose values spread by 0.2 around 0.5, off by `noise`."""
    rng = np.random.default_rng(3)
    found = []
    for pair in range(n_pairs):
        for layer in range(n_layers + 1):
            true = 0.5 + 0.2 * rng.standard_normal()
            found += [
                {
                    "pair": f"pair-{pair}", "kind": "sft", "stage": "backbone", "reference": "a",
                    "candidate": "b", "dataset": "texts", "metric": "cka", "view": view,
                    "statistic": statistic, "layer_reference": layer, "layer_candidate": layer,
                    "value": true + noise * rng.standard_normal(), "se": se,
                }
                | columns
                for view in ("half_a", "half_b")
            ]  # fmt: skip
    return found


def table(*records: dict) -> pd.DataFrame:
    return typed(pd.DataFrame(records).reindex(columns=list(SIMILARITY_COLUMNS)))


def test_reliability_and_differences_are_those_that_the_halves_were_made_with():
    found = split_half_table(table(*rows())).iloc[0]
    assert found["n_cells"] == 120  # the embeddings at layer 0 are left out
    assert found["correlation"] == pytest.approx(0.2**2 / (0.2**2 + SE**2), abs=0.01)
    assert found["reliability"] == pytest.approx(0.2**2 / (0.2**2 + SE**2 / 2), abs=0.01)
    assert found["rms_expected"] == pytest.approx(np.sqrt(2) * SE)
    assert found["rms_difference"] == pytest.approx(np.sqrt(2) * SE, rel=0.2)
    assert abs(found["mean_difference"]) < 0.01


def test_intervals_that_are_too_narrow_show():
    found = split_half_table(table(*rows(noise=3 * SE))).iloc[0]
    assert found["rms_difference"] > 2 * found["rms_expected"]


def test_other_views_layers_steps_and_off_diagonal_cells_stay_out():
    others = [
        one | changed
        for one in rows(n_pairs=1)
        for changed in (
            {"view": "raw"},
            {"step": 20},
            {"layer_candidate": 3 if one["layer_reference"] != 3 else 4},
        )
    ]
    mean = [one | {"layer_reference": -1, "layer_candidate": -1} for one in rows(n_pairs=1)[:2]]
    pd.testing.assert_frame_equal(
        split_half_table(table(*rows(), *others, *mean)), split_half_table(table(*rows()))
    )


def test_what_cannot_be_computed_is_said():
    few = split_half_table(table(*rows(n_pairs=1, n_layers=2, se=np.nan))).iloc[0]
    assert np.isnan(few["correlation"])
    assert np.isnan(few["rms_expected"])
    assert few["note"] == f"{FEW_CELLS}; {NO_ERRORS}"


def test_statistics_and_sizes_of_neighbourhood_have_rows_of_their_own():
    found = split_half_table(table(*rows("jaccard", k=5), *rows("jaccard", k=10), *rows("cka")))
    assert list(found) == list(SPLIT_HALF_COLUMNS)
    assert list(zip(found["statistic"], found["k"].fillna(0), strict=True)) == [
        ("cka", 0), ("jaccard", 5), ("jaccard", 10),
    ]  # fmt: skip
    shown = split_half_summary(found)
    assert shown["statistic"].tolist() == ["cka", "jaccard k = 5", "jaccard k = 10"]
    assert shown["expected from their intervals"].iloc[0] == "0.0424"


def test_halves_that_disagree_are_said_to():
    found = split_half_table(
        table(
            *[
                rows(n_pairs=1, n_layers=0)[0]
                | {"view": view, "layer_reference": i, "layer_candidate": i, "value": value}
                for view, values in (("half_a", (0.1, 0.5, 0.9)), ("half_b", (0.9, 0.6, 0.1)))
                for i, value in enumerate(values, start=1)
            ]
        )
    ).iloc[0]
    assert found["correlation"] < -0.9
    assert np.isnan(found["reliability"])
    assert found["note"] == DISAGREE


def test_layers_of_models_of_unequal_depth_are_matched_by_their_share():
    """A model of 3 blocks against one of 6: layer 1 stands opposite layer 2."""
    cells = [
        one | {"layer_reference": i, "layer_candidate": j, "value": one["value"] + 0.01 * (i + j)}
        for one in rows(n_pairs=2, n_layers=0)
        for i in range(4)
        for j in range(7)
    ]
    assert split_half_table(table(*cells)).iloc[0]["n_cells"] == 2 * 3


def test_cells_without_an_interval_are_left_out_of_the_expected_difference():
    some = [one | {"se": np.nan} if one["pair"] == "pair-0" else one for one in rows()]
    found = split_half_table(table(*some)).iloc[0]
    assert found["rms_expected"] == pytest.approx(np.sqrt(2) * SE)
    assert "of 114 cells" in found["note"]


def test_without_halves_the_table_is_empty_and_so_is_what_a_reader_sees():
    empty = split_half_table(table(*[one | {"view": "raw"} for one in rows(n_pairs=1)]))
    assert empty.empty
    assert split_half_summary(typed(empty)).empty

"""The published numbers, tested again, against values that were worked out by hand."""

import hashlib
import math
from pathlib import Path

import pandas as pd
import pytest

import hrsa.reporting.reanalysis as module
from hrsa.errors import UserError
from hrsa.reporting.reanalysis import (
    ALIGNMENT_COLUMNS,
    REANALYSIS_COLUMNS,
    alignment_by_kind,
    neighbours_by_kind,
    reanalyse,
)
from hrsa.reporting.reanalysis_summaries import (
    alignment_remarks,
    reanalysis_remarks,
    reanalysis_summary,
)
from hrsa_workflow.products import published_numbers
from hrsa_workflow.tables import PUBLISHED_ALIGNMENT, REANALYSIS, typed

FOLDER = Path(module.__file__).parent / "published"
CHECKSUMS = {
    "table1.csv": "9efa3f4cc348bb520e5881c867579bbeabe83f6cf551461a95b1ef3eca4beff8",
    "inverse_row_entropy.csv": "78b25ac16f93d9d860a6187adc2e29f41d1737042ad8c3c5eec72c1f42a33cf4",
    "knn_overlap.csv": "6b46837879eec5601d01084313d243603fba22aa5e66b3ebcb3e4c4d4c18024e",
}
# Quantiles of t with 2 degrees of freedom at 0.95 and 0.975.
T_90, T_95 = 2.919985580, 4.302652730


@pytest.fixture
def table1() -> pd.DataFrame:
    return pd.read_csv(FOLDER / "table1.csv")


@pytest.fixture
def tested(table1) -> pd.DataFrame:
    return reanalyse(table1)


def row(tested, pair, suite, margin):
    chosen = (tested["pair"] == pair) & (tested["margin"] == margin)
    (found,) = tested[chosen & tested["suite"].str.startswith(suite)].to_dict("records")
    return found


def one_row(**changes) -> pd.DataFrame:
    fields = {"pair": "a", "kind": "rlvr", "suite": "S", "delta": 0.1, "delta_std": 0.2, "seeds": 3}
    return pd.DataFrame([fields | changes])


def h_inv(sft, rlvr) -> pd.DataFrame:
    kinds = ["sft"] * len(sft) + ["rlvr"] * len(rlvr)
    return pd.DataFrame({"kind": kinds, "texts_backbone": [*sft, *rlvr]})


def words(remarks) -> str:
    return " ".join(remark.text for remark in remarks)


def test_the_published_numbers_are_the_files_that_were_copied_in():
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in FOLDER.glob("*.csv")
    }
    assert found == CHECKSUMS
    root = Path(module.__file__).parents[3]
    assert {root / path for path in published_numbers().values()} == set(FOLDER.glob("*.csv"))


def test_published_differences_are_those_of_the_published_scores(table1):
    differences = table1["reasoning_score"] - table1["base_score"]
    assert differences.tolist() == pytest.approx(table1["delta"].tolist(), abs=1e-9)


def test_there_is_a_row_for_each_row_of_the_table_and_margin(table1, tested):
    assert list(tested) == list(REANALYSIS_COLUMNS) == list(REANALYSIS)
    assert len(tested) == 30
    keys = ["pair", "suite", "margin"]
    expected = [
        (pair, suite, margin)
        for pair, suite in zip(table1["pair"], table1["suite"], strict=True)
        for margin in (0.5, 1.0)
    ]
    assert list(tested[keys].itertuples(index=False, name=None)) == expected


def test_a_row_is_what_hand_calculation_gives(tested):
    found = row(tested, "ds-1.5b", "MTEB(Code", 0.5)
    se = 0.07 / math.sqrt(3)  # 0.0404
    assert found["ci90_low"] == pytest.approx(0.40 - T_90 * se, abs=1e-8)
    assert found["ci90_high"] == pytest.approx(0.40 + T_90 * se, abs=1e-8)
    assert found["ci95_low"] == pytest.approx(0.40 - T_95 * se, abs=1e-8)
    assert found["ci95_high"] == pytest.approx(0.40 + T_95 * se, abs=1e-8)
    # the upper margin is the nearer one; P(T > t) = 1/2 − t/(2√(t² + 2)) at 2 degrees of freedom
    t = (0.5 - 0.40) / se
    assert found["p_tost"] == pytest.approx(0.5 - t / (2 * math.sqrt(t * t + 2)), abs=1e-12)
    assert (found["delta"], found["std"], found["n_seeds"]) == (0.40, 0.07, 3)
    assert (found["kind"], found["verdict"]) == ("rlvr", "different")


@pytest.mark.parametrize(
    ("pair", "suite", "margin", "verdict"),
    [
        # half widths by hand, std · T/√3: 90 % interval against the margin, 95 % against 0
        ("qwen2.5-0.5b", "MTEB(Multi", 0.5, "equivalent"),  # 0.02 ± 0.152, ± 0.224
        ("qwen3-0.6b", "MTEB(Code", 1.0, "different"),  # 0.99 ± 0.084, ± 0.124
        ("ds-1.5b", "BRIGHT", 0.5, "equivalent and different"),  # 0.45 ± 0.034, ± 0.050
        ("ds-1.5b", "MTEB(Code", 0.5, "different"),  # 0.40 ± 0.118, ± 0.174
        ("ds-1.5b", "MTEB(Code", 1.0, "equivalent and different"),
        ("qwen3-0.6b", "MTEB(Multi", 1.0, "different"),  # −12.03 ± 0.236, ± 0.348
    ],
)
def test_verdicts_follow_from_the_intervals(tested, pair, suite, margin, verdict):
    assert row(tested, pair, suite, margin)["verdict"] == verdict


def test_each_verdict_but_inconclusive_occurs(tested):
    counts = tested.groupby("margin")["verdict"].value_counts().to_dict()
    assert counts == {
        (0.5, "equivalent"): 6,
        (0.5, "different"): 5,
        (0.5, "equivalent and different"): 4,
        (1.0, "equivalent"): 6,
        (1.0, "different"): 2,
        (1.0, "equivalent and different"): 7,
    }


def test_a_spread_as_wide_as_the_margin_is_inconclusive():
    (found,) = reanalyse(one_row(delta_std=0.5), margins=[0.5])["verdict"]
    assert found == "inconclusive"


@pytest.mark.parametrize("margin", [0, -0.5, math.nan])
def test_a_margin_of_zero_or_less_is_refused(table1, margin):
    with pytest.raises(UserError, match="margin"):
        reanalyse(table1, margins=[0.5, margin])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seeds": 2}, "`seeds` is 2"),
        ({"delta_std": -0.1}, "`delta_std` is -0.1"),
        ({"delta_std": math.nan}, "`delta_std` is nan"),
        ({"delta": math.inf}, "`delta` is inf"),
    ],
)
def test_a_row_that_cannot_be_tested_is_named(changes, named):
    with pytest.raises(UserError, match=f"pair a, suite S: .*{named}"):
        reanalyse(one_row(**changes))


def test_a_missing_column_is_named(table1):
    with pytest.raises(UserError, match=r"Table 1 lacks the column\(s\) delta_std"):
        reanalyse(table1.drop(columns="delta_std"))
    with pytest.raises(UserError, match="no column named <dataset>_backbone"):
        alignment_by_kind(table1)
    with pytest.raises(UserError, match=r"k-NN overlap lacks .* stage"):
        neighbours_by_kind(table1)


def test_sft_pairs_are_less_aligned_than_rlvr_pairs_in_each_published_column():
    found = alignment_by_kind(pd.read_csv(FOLDER / "inverse_row_entropy.csv"))
    assert list(found) == list(ALIGNMENT_COLUMNS) == list(PUBLISHED_ALIGNMENT)
    assert list(zip(found["stage"], found["dataset"], strict=True)) == [
        ("backbone", "cot"), ("backbone", "mmlu-pro"), ("embedding", "cot"),
        ("embedding", "mmlu-pro"),
    ]  # fmt: skip
    assert found["n_sft"].tolist() == [1, 1, 2, 2]
    assert found["n_rlvr"].tolist() == [7, 7, 4, 4]
    assert found["median_sft"].tolist() == pytest.approx([0.1076, 0.2229, 0.3172, 0.81345])
    assert found["median_rlvr"].tolist() == pytest.approx([0.6576, 0.9843, 0.87315, 0.98735])
    assert found["share_sft_higher"].tolist() == [0, 0, 0, 0]
    # the most extreme of 8 and of 15 ways to split the pairs, doubled
    assert found["p"].tolist() == pytest.approx([2 / 8, 2 / 8, 2 / 15, 2 / 15])
    assert found["least_p"].tolist() == found["p"].tolist()


def test_published_neighbours_of_sft_pairs_overlap_less():
    found = neighbours_by_kind(pd.read_csv(FOLDER / "knn_overlap.csv"))
    assert found["k"].tolist() == [5, 10, 50] * 2
    assert found["median_sft"].tolist() == [0.052, 0.068, 0.132, 0.069, 0.068, 0.091]
    assert found["median_rlvr"].tolist() == [0.455, 0.484, 0.577, 0.451, 0.474, 0.531]
    assert set(found["share_sft_higher"]) == {0}
    assert set(found["p"]) == set(found["least_p"]) == {1}


@pytest.mark.parametrize(
    ("sft", "rlvr", "share", "p"),
    [
        # U of 10 splits of five values in two and three: 0, 1, 2, 2, 3, 3, 4, 4, 5, 6
        ([1, 3], [2, 4, 5], 1 / 6, 4 / 10),
        ([4, 5], [1, 2, 3], 1.0, 2 / 10),
        ([2, 3], [1, 4, 5], 2 / 6, 8 / 10),
        # a tie counts one half: of 1, 1, 2, 3, 4 they are 0, 1.5, 1.5, 2.5, 2.5, 3.5, 3.5, 4, 5, 6
        ([1, 2], [1, 3, 4], 1.5 / 6, 6 / 10),
    ],
)
def test_ranks_are_compared_exactly(sft, rlvr, share, p):
    (found,) = alignment_by_kind(h_inv(sft, rlvr)).to_dict("records")
    assert found["share_sft_higher"] == pytest.approx(share)
    assert found["p"] == pytest.approx(p)


def test_ranks_agree_with_scipy():
    from scipy.stats import mannwhitneyu

    sft, rlvr = [0.3, 0.9, 0.35, 0.2], [0.8, 0.5, 0.7, 0.95, 0.6]
    expected = mannwhitneyu(sft, rlvr, method="exact")
    (found,) = alignment_by_kind(h_inv(sft, rlvr)).to_dict("records")
    assert found["share_sft_higher"] == pytest.approx(expected.statistic / 20)
    assert found["p"] == pytest.approx(expected.pvalue)


def test_a_column_without_a_pair_of_one_kind_is_refused():
    with pytest.raises(UserError, match="`texts_backbone`: there is no SFT pair"):
        alignment_by_kind(h_inv([math.nan], [0.5]))


def test_the_report_counts_what_the_table_says(tested):
    remarks = reanalysis_remarks(tested)
    assert [remark.marked for remark in remarks] == [True, False, False, False, False]
    said = words(remarks)
    assert "standard deviation over training seeds" in remarks[0].text
    assert "At a margin of 0.5 points the published table supports equivalence for 10 of 15" in said
    assert "(SFT 0 of 3, RLVR 10 of 12); it does not for qwen3-0.6b (every suite); ds-1.5b" in said
    assert "At a margin of 1 points the published table supports equivalence for 13 of 15" in said
    assert "are 9 of 15 differences (SFT 3 of 3, RLVR 6 of 12)" in said
    assert "scores higher in 6 of them" in said
    assert "4 at ±0.5, 7 at ±1." in said


def test_the_report_says_what_another_reading_of_the_spread_would_change(tested):
    """With std as the standard error, half widths by hand: 2.920 · std and 4.303 · std."""
    changed = {
        ("qwen2.5-1.5b", "MTEB(Multilingual, v2)"): 2,  # −0.19 ± 0.301 holds 0
        ("qwen2.5-1.5b", "MTEB(Code, v1)"): 2,  # −0.26 ± 0.344 holds 0; −0.26 ± 0.234 inside 0.5
        ("ds-1.5b", "BRIGHT"): 1,  # 0.45 ± 0.058 leaves the margin of 0.5
    }
    assert f"{sum(changed.values())} of 30 verdicts would be others" in words(
        reanalysis_remarks(tested)
    )
    assert "1.73 times as wide" in words(reanalysis_remarks(tested))


def test_the_report_says_how_many_verdicts_hang_on_rounding():
    """0.10 ± 0.099 (95 %, std 0.04) could have been 0.095 ± 0.112, with 0 in it; 0.50 could not."""
    near = reanalyse(one_row(delta=0.1, delta_std=0.04), margins=[1.0])
    clear = reanalyse(one_row(delta=0.5, delta_std=0.04), margins=[1.0])
    assert "up to 1 could be" in words(reanalysis_remarks(near))
    assert "up to 0 could be" in words(reanalysis_remarks(clear))


def test_with_many_tests_fewer_differences_remain():
    """p = 2 P(T > 5) = 0.0377 for one test; of two equal ones Holm doubles it."""
    one = one_row(delta=5 * 0.1, delta_std=0.1 * math.sqrt(3))
    two = pd.concat([one, one.assign(suite="T")])
    alone, both = (
        next(
            remark.text
            for remark in reanalysis_remarks(reanalyse(rows, margins=[9]))
            if remark.text.startswith("Larger than their spread")
        )
        for rows in (one, two)
    )
    assert "Holm's correction for 1 tests, 1 of these 1 remain" in alone
    assert "Holm's correction for 2 tests, 0 of these 2 remain" in both


def test_without_a_difference_the_report_says_so():
    said = words(reanalysis_remarks(reanalyse(one_row(delta=0.0))))
    assert "every 95 % interval holds 0" in said
    assert reanalysis_remarks(reanalyse(one_row().head(0))) == []


def test_the_report_calls_the_public_claim_the_opposite_of_the_tables():
    table = alignment_by_kind(pd.read_csv(FOLDER / "inverse_row_entropy.csv"))
    (remark,) = alignment_remarks(table)
    assert "below RLVR pairs in 4 of 4 comparisons and above them in 0" in remark.text
    assert "says the opposite of" in remark.text
    assert "SFT 1 to 2, RLVR 4 to 7" in remark.text
    assert "no exact p can be below 0.13" in remark.text
    (agrees,) = alignment_remarks(alignment_by_kind(h_inv([0.9, 0.8], [0.1, 0.2])))
    assert "agrees with" in agrees.text
    (split,) = alignment_remarks(alignment_by_kind(h_inv([0.1, 0.9], [0.3, 0.7])))
    assert "neither agrees with nor contradicts" in split.text
    (single,) = alignment_remarks(alignment_by_kind(h_inv([0.1], [0.3])))
    assert "nothing can be tested" in single.text


def test_a_reader_sees_one_row_for_each_difference(tested):
    shown = reanalysis_summary(tested)
    assert len(shown) == 15
    assert shown.iloc[0].to_dict() == {
        "pair": "qwen3-0.6b",
        "kind": "sft",
        "suite": "MTEB(Multilingual, v2)",
        "difference": "−12.03 ± 0.14",
        "90 % interval": "[−12.266, −11.794]",
        "95 % interval": "[−12.378, −11.682]",
        "at ±0.5 points": "different",
        "at ±1 points": "different",
    }
    assert shown["at ±1 points"].tolist() == tested[tested["margin"] == 1]["verdict"].tolist()


def test_tables_read_from_files_are_told_in_the_same_words(tested, tmp_path):
    typed([tested], REANALYSIS).to_parquet(tmp_path / "a.parquet")
    read = pd.read_parquet(tmp_path / "a.parquet")
    assert reanalysis_remarks(read) == reanalysis_remarks(tested)
    pd.testing.assert_frame_equal(
        reanalysis_summary(read), reanalysis_summary(tested), check_dtype=False
    )

"""A run whose reward did not rise says so, and each model says what it was made from."""

import numpy as np
import pandas as pd
import pytest

from hrsa.reporting.training import reward_remarks, training_summary
from hrsa.statistics.trend import rise

MINUS = "\N{MINUS SIGN}"


def curve(model, seed, reward, **columns):
    steps = range(1, len(reward) + 1)
    return pd.DataFrame({"model": model, "seed": seed, "step": steps, "reward": reward} | columns)


def noisy(start, end, n=60, spread=0.05, seed=0):
    noise = spread * np.random.default_rng(seed).standard_normal(n)
    return np.linspace(start, end, n) + noise


def only(curves):
    (remark,) = reward_remarks(curves)
    return remark


def test_a_reward_that_rose_is_told_with_its_interval_and_not_marked():
    values = noisy(0.3, 0.7)
    remark = only(curve("rlvr", 0, values))
    found = rise(values)
    assert remark.text == (
        f"rlvr.s0: reward rose from {found.first:.2f} to {found.last:.2f} "
        f"(+{found.difference:.2f}, 95 % interval {found.ci_low:.2f} to {found.ci_high:.2f})."
    )
    assert not remark.marked


def test_a_reward_that_did_not_rise_is_marked_with_what_it_means():
    remark = only(curve("rlvr", 1, noisy(0.4, 0.4, seed=3)))
    assert remark.marked
    assert remark.text.startswith("rlvr.s1: reward did not rise: from 0.39 to 0.40 (+0.0")
    assert "on which RLVR did nothing measurable" in remark.text
    zero = only(curve("rlvr", 1, np.zeros(30)))
    assert zero.marked
    assert "from 0.00 to 0.00" in zero.text


def test_a_reward_that_fell_is_not_called_nothing():
    remark = only(curve("rlvr", None, noisy(0.6, 0.2)))
    assert remark.marked
    assert remark.text.startswith("rlvr: reward did not rise, it fell: from 0.5")
    assert f"({MINUS}0." in remark.text
    assert "that RLVR made worse" in remark.text
    assert "nothing measurable" not in remark.text


def test_a_short_run_is_said_to_be_too_short():
    remark = only(curve("rlvr", 0, noisy(0, 1, n=6)))
    assert remark.text == "rlvr.s0: too short to tell whether the reward rose (6 steps)."
    assert "(1 step)" in only(curve("rlvr", 0, [0.5])).text
    assert only(curve("rlvr", 0, [np.nan] * 20)).text == "rlvr.s0: no reward was logged."


def test_a_reward_that_rose_by_the_form_alone_is_marked():
    right = noisy(0.4, 0.4, seed=5)
    by_form = only(curve("rlvr", 0, right + np.linspace(0, 0.5, 60), accuracy=right))
    assert by_form.marked
    assert "What rose is the form of the answers" in by_form.text
    better = noisy(0.2, 0.6, seed=6)
    both = only(curve("rlvr", 0, better + np.linspace(0, 0.5, 60), accuracy=better))
    assert not both.marked
    assert "the share of right answers rose from 0.2" in both.text


def test_each_model_has_a_remark_whatever_the_order_of_the_rows():
    curves = pd.concat(
        [
            curve("rlvr-b", 0, noisy(0.3, 0.7)),
            curve("rlvr", 1, noisy(0.4, 0.4, seed=3)),
            curve("rlvr", 0, noisy(0.3, 0.7)),
        ]
    )
    remarks = reward_remarks(curves)
    assert [one.text.split(":")[0] for one in remarks] == ["rlvr.s0", "rlvr.s1", "rlvr-b.s0"]
    assert [one.marked for one in remarks] == [False, True, False]
    assert reward_remarks(curves.sample(frac=1, random_state=0)) == remarks
    assert reward_remarks(curves.convert_dtypes()) == remarks


def test_without_reinforcement_learning_there_is_nothing_to_say():
    assert reward_remarks(pd.DataFrame(columns=["model", "seed", "step", "reward"])) == []


RECORD = {"recipe": "contrastive", "parent": "base", "steps": 100, "note": "", "train_tokens": 5}
COUNTS = {"examples": 90, "dropped_empty": 3, "dropped_duplicate": 2, "short_lists": 0}


def test_models_made_alike_share_a_row_and_counts_are_told():
    records = [
        {"model": "base", "recipe": "pretrain", "parent": None, "steps": 9, "note": ""},
        *({"model": f"emb.s{seed}", "data": COUNTS} | RECORD for seed in (0, 1)),
        {"model": "emb-b", "data": COUNTS | {"short_lists": 4, "filled_negatives": 7}} | RECORD,
        {"model": "sft", "data": {"examples": 5, "dropped_too_long": 1}}
        | RECORD
        | {"lora": {"rank": 16, "alpha": 32, "dropout": 0.1}, "note": "merged"},
    ]
    table = training_summary(records).set_index("model")
    assert table.index.tolist() == ["base", "emb.s0, .s1", "emb-b", "sft"]
    assert table.loc["emb.s0, .s1", "dropped"] == "3 empty, 2 duplicate"
    assert table.loc["emb-b", "hard negatives"] == (
        "4 queries with too few, 7 filled up with random documents"
    )
    assert table.loc["sft", ["dropped", "LoRA", "note"]].tolist() == [
        "1 too long",
        "rank 16, alpha 32, dropout 0.1",
        "merged",
    ]
    assert table.loc["base", ["examples", "dropped"]].tolist() == ["", ""]
    assert table.loc["emb-b", "examples"] == "90"


def test_columns_in_which_no_model_has_anything_are_left_out():
    table = training_summary([{"model": "base", "recipe": "pretrain", "steps": 9}])
    assert table.columns.tolist() == ["model", "recipe", "parent", "steps"]
    assert training_summary([]).empty


@pytest.mark.parametrize("data", [COUNTS, None])
def test_what_was_not_dropped_is_said_where_it_was_counted(data):
    counts = data and data | {"dropped_empty": 0, "dropped_duplicate": 0}
    table = training_summary([{"model": "emb", "data": counts} | RECORD])
    assert ("dropped" in table) == bool(data)
    if data:
        assert table["dropped"].tolist() == ["none"]

"""The difficulty filter on a tiny model: what is solved, what is kept, what is said."""

import pandas as pd
import pytest
from tiny_policy import SETTINGS, write_model, write_problems

from hrsa.errors import UserError
from hrsa.models import rlvr
from hrsa.models.difficulty import draw_problems, measure_difficulty

WANTED = {
    key: SETTINGS[key]
    for key in ("prompt_format", "temperature", "max_completion_tokens", "verifier")
} | {"samples": 16, "low": 0.1, "high": 0.9}


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("untrained") / "base")


@pytest.fixture(scope="module")
def sure(tmp_path_factory):
    """A model that says ####7 and nothing else."""
    return write_model(tmp_path_factory.mktemp("sure") / "base", favourite="####7")


@pytest.fixture
def mixed(tmp_path):
    """Problems that an untrained model solves now and then, and others that it never can."""
    return write_problems(
        tmp_path / "problems.parquet",
        [7, 99] * 6,
        split=["train"] * 10 + ["test"] * 2,
        note=list("abcdefghijkl"),
    )


def test_a_problem_is_kept_where_the_model_solves_it_at_times(untrained, mixed):
    table = measure_difficulty(untrained, mixed, seed=1, n_problems=50, settings=WANTED)
    columns = ["question", "answer", "split", "note", "solved", "kept", "n_samples"]
    assert table.columns.tolist() == columns
    assert table["note"].tolist() == list("abcdefghij")  # those of the training split
    assert (table["n_samples"] == 16).all()
    assert ((table["solved"] * 16) % 1 == 0).all()
    impossible = table["answer"] == 99
    assert (table.loc[impossible, "solved"] == 0).all()
    # five words of eleven: the last ####-word is 7 in about 3 of 8 completions
    assert table.loc[~impossible, "solved"].mean() == pytest.approx(0.35, abs=0.15)
    assert table["kept"].tolist() == table["solved"].between(0.1, 0.9).tolist()
    assert not table.loc[impossible, "kept"].any()


def test_what_is_always_solved_and_what_never_is_are_not_kept(sure, mixed):
    with pytest.raises(UserError) as error:
        measure_difficulty(sure, mixed, seed=1, n_problems=50, settings=WANTED)
    text = str(error.value)
    assert "keeps 0 of 10 problems" in text
    assert "prompts_per_step" not in text  # which the filter does not know
    assert "5 problems were never solved, 5 always, and 0 at times" in text
    assert "between 10% and 90%" in text


def test_the_bounds_themselves_are_kept(sure, mixed):
    wide = WANTED | {"samples": 4, "low": 0.0, "high": 1.0}
    table = measure_difficulty(sure, mixed, seed=1, n_problems=50, settings=wide)
    assert table["kept"].all()
    assert table["solved"].tolist() == [1.0, 0.0] * 5


def test_one_seed_gives_the_same_table_and_another_one_other_completions(untrained, mixed):
    one, same, other = (
        measure_difficulty(untrained, mixed, seed=seed, n_problems=50, settings=WANTED)
        for seed in (1, 1, 2)
    )
    pd.testing.assert_frame_equal(one, same)
    assert not one["solved"].equals(other["solved"])


def test_no_more_problems_are_drawn_than_asked_for(mixed):
    one, same, other = (draw_problems(mixed, seed=seed, n_problems=4) for seed in (1, 1, 3))
    assert len(one) == 4
    assert one["note"].tolist() == same["note"].tolist() != other["note"].tolist()
    assert set(one["note"]) <= set("abcdefghij")


def test_the_verifier_and_the_length_are_those_of_the_training(untrained, mixed):
    loose = WANTED | {"low": 0.0, "high": 1.0}
    boxed = loose | {"verifier": "boxed"}
    table = measure_difficulty(untrained, mixed, seed=1, n_problems=50, settings=boxed)
    assert (table["solved"] == 0).all()
    longer = [
        measure_difficulty(
            untrained,
            mixed,
            seed=1,
            n_problems=50,
            settings=loose | {"max_completion_tokens": n},
        )["solved"].sum()
        for n in (1, 8)
    ]
    assert longer[0] < longer[1]


def test_a_chat_without_a_template_is_refused(untrained, mixed):
    with pytest.raises(UserError, match="no chat template"):
        measure_difficulty(
            untrained, mixed, seed=1, n_problems=5, settings=WANTED | {"prompt_format": "chat"}
        )


def test_the_training_asks_what_was_kept(untrained, mixed, tmp_path):
    table = measure_difficulty(untrained, mixed, seed=1, n_problems=50, settings=WANTED)
    table.to_parquet(tmp_path / "difficulty.parquet", index=False)
    asked = rlvr.prompts(tmp_path / "difficulty.parquet", seed=0, settings=SETTINGS)
    assert set(asked["answer"]) == {7}
    assert set(asked["prompt"]) <= set(table.loc[table["kept"], "question"])

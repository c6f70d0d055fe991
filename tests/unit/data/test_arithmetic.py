"""Plain arithmetic: right, of every level, and never trained on where it is tested."""

import re

import numpy as np
import pandas as pd
import pytest

from hrsa.data.arithmetic import (
    COLUMNS,
    LEVELS,
    fact_of,
    generate_arithmetic,
    operands_for,
)
from hrsa.data.corpus import TRAINING_FILES, generate_part
from hrsa.data.problems import EVALUATIONS
from hrsa.data.verifiers import is_correct
from hrsa.errors import UserError

USES = ("train", *EVALUATIONS)


@pytest.fixture(scope="module")
def problems():
    return generate_arithmetic(1200, np.random.default_rng(3), held_out=False)


def operands(row):
    return (row.a, row.b) if pd.isna(row.c) else (row.a, row.b, int(row.c))


def test_there_are_equally_many_problems_of_every_level_in_turns(problems):
    names = [level.name for level in LEVELS]
    assert problems["level"].tolist() == names * 200
    some = generate_arithmetic(8, np.random.default_rng(0), held_out=True)
    assert some["level"].tolist() == [*names, *names[:2]]


def test_columns_are_those_of_problems_and_ids_and_questions_do_not_repeat(problems):
    assert problems.columns.tolist() == COLUMNS
    assert problems["id"].is_unique
    assert problems["question"].is_unique
    assert set(problems["split"]) == {"train"}
    assert problems["c"].notna().equals(problems["level"] == "three summands")


def test_answers_are_right_by_another_way_of_computing(problems):
    for row in problems.itertuples():
        expression = f" {row.operation} ".join(map(str, operands(row)))
        assert eval(expression) == row.answer
        assert row.solution == f"{expression} = {row.answer}. #### {row.answer}"


def test_every_equation_of_a_trace_holds_and_a_verifier_finds_the_answer(problems):
    equation = re.compile(r"(\d+(?: [-+*] \d+)+) = (\d+)")
    for row in problems.itertuples():
        found = equation.findall(row.trace)
        assert all(eval(left) == int(right) for left, right in found)
        assert found
        assert re.fullmatch(rf"<think> .+ </think> .+ #### {row.answer}", row.trace)
        assert is_correct(row.trace, row.answer)
        assert is_correct(row.solution, row.answer)
        assert not is_correct(row.trace, row.answer + 1)


def test_a_question_names_the_operands_and_begins_the_equation(problems):
    for row in problems.itertuples():
        wording, equation = row.question.split(" Answer in this form: ")
        assert equation == row.solution.split(" = ")[0] + " ="
        numbers = [int(text) for text in re.findall(r"\d+", wording)]
        in_order = list(operands(row))
        assert numbers in (in_order, in_order[::-1])
        if numbers != in_order:
            assert "Subtract" in wording or "take" in wording


def test_levels_are_what_their_names_say(problems):
    ones = problems["a"] % 10 + problems["b"] % 10
    tens = (problems["a"] >= 10) & (problems["b"] >= 10)
    of = problems["level"]
    assert problems[of == "one digit"][["a", "b"]].max().max() == 9
    assert (tens & (ones < 10))[of == "two digits"].all()
    assert (tens & (ones >= 10))[of == "two digits, carry"].all()
    assert problems[of == "difference"][["b", "answer"]].max().max() == 9
    assert (problems["answer"] > 0).all()
    assert problems[of == "product"][["a", "b"]].max().max() == 9
    assert (problems["answer"] < 100).all()


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
def test_no_fact_is_for_two_uses_and_each_use_has_its_share(level):
    facts = {
        use: {fact_of(level.operation, one) for one in operands_for(level, use)} for use in USES
    }
    for i, use in enumerate(USES):
        for other in USES[i + 1 :]:
            assert facts[use].isdisjoint(facts[other])
    total = sum(map(len, facts.values()))
    assert total == len({fact_of(level.operation, one) for one in level.operands()})
    for use in EVALUATIONS:
        assert len(facts[use]) / total == pytest.approx(0.15, abs=0.02)


def test_a_sum_with_its_summands_swapped_is_the_same_fact_and_a_difference_is_not():
    assert fact_of("+", (12, 35)) == fact_of("+", (35, 12))
    assert fact_of("*", (3, 7)) == fact_of("*", (7, 3))
    assert fact_of("-", (9, 4)) != fact_of("-", (4, 9))


def test_no_fact_of_the_corpus_is_both_trained_and_tested():
    settings = {"arithmetic": 1500, "test_arithmetic": 240}
    parts = [generate_part("arithmetic", seed=1, settings=settings)] + [
        generate_part("test-arithmetic", seed=1, settings=settings | {"evaluation": evaluation})
        for evaluation in EVALUATIONS
    ]
    facts = [
        {(row.operation, fact_of(row.operation, operands(row))) for row in part.itertuples()}
        for part in parts
    ]
    assert facts[0].isdisjoint(facts[1])
    assert facts[0].isdisjoint(facts[2])
    assert facts[1].isdisjoint(facts[2])
    assert [set(part["split"]) for part in parts] == [{"train"}, {"test"}, {"test"}]


def stated_facts(text):
    """Every equation of a text as its operation and its operands in order; products, sums apart."""
    facts = set()
    for left in re.findall(r"([\d\s*+-]*\d) = \d+", text):
        numbers, operations = re.findall(r"\d+", left), re.findall(r"[-+*]", left)
        assert len(numbers) == len(operations) + 1
        assert len(set(operations)) == 1
        own = [int(number) for number in numbers]
        facts.add((operations[0], tuple(own if operations[0] == "-" else sorted(own))))
    return facts


def test_no_text_of_the_training_states_a_held_out_fact():
    held_out = {
        (level.operation, fact_of(level.operation, one))
        for level in LEVELS
        for use in EVALUATIONS
        for one in operands_for(level, use)
    }
    assert ("+", (1, 9)) in stated_facts("First 9 + 1 = 10. Then 10 + 5 = 15.")
    part = generate_part("arithmetic", seed=1, settings={"arithmetic": 2160})
    for column in ("trace", "solution"):
        stated = set().union(*part[column].map(stated_facts))
        assert len(stated) > 500
        assert stated.isdisjoint(held_out)


def test_a_trace_still_has_its_steps_or_another_way_and_most_have_a_check(problems):
    for row in problems.itertuples():
        steps = row.trace.split("</think>")[0].removeprefix("<think> We need ")
        assert re.search(r"[Ff]irst|Count", steps)
        assert "  " not in steps
        (start, *check) = steps.split(" Check: ")
        # what was just added up the same way is no check
        assert not check or f"First {check[0].split(',')[0]}." not in start
    checked = problems["trace"].str.contains("Check: ").groupby(problems["level"]).mean()
    assert (checked.drop("product") > 0.5).all()


def test_arithmetic_has_a_stream_of_its_own():
    assert TRAINING_FILES[-1] == "arithmetic"
    first, again, other = (
        generate_part("arithmetic", seed=seed, settings={"arithmetic": 60}) for seed in (1, 1, 2)
    )
    pd.testing.assert_frame_equal(first, again)
    assert not first.equals(other)


def test_more_problems_than_there_are_is_refused_with_the_most_that_there_can_be():
    with pytest.raises(
        UserError, match=r"`corpus\.arithmetic` is 3000.*“product” has 360.*most 2160"
    ):
        generate_arithmetic(3000, np.random.default_rng(0), held_out=False)
    assert len(generate_arithmetic(2160, np.random.default_rng(0), held_out=False)) == 2160
    with pytest.raises(UserError, match=r"`corpus\.test_arithmetic`"):
        generate_arithmetic(3000, np.random.default_rng(0), held_out=True)

"""Right or wrong without a model: each verifier's form, by cases."""

from fractions import Fraction

import pytest

from hrsa.data.verifiers import VERIFIERS, has_format, is_correct, number


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("3 + 4 = 7. #### 7", 7),
        ("#### 3 and then #### 7", 7),  # the last one counts
        ("####7", 7),
        ("####\n7", 7),
        ("#### -12", -12),
        ("#### −12", -12),  # the minus sign of a typesetter
        ("#### 1,234", 1234),
        ("#### 12,345,678 apples", 12345678),
        ("#### 1234", "1,234"),
        ("#### 7.0", 7),
        ("#### 7.50", "7.5"),
        ("#### $18", 18),
        ("#### 7.", 7),
        ("#### 3/4", "0.75"),
        ("#### 007", 7),
        ("#### 7\n####", 7),  # broken off after the answer
    ],
)
def test_a_number_after_the_hash_is_right(text, answer):
    assert is_correct(text, answer)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("3 + 4 = 8. #### 8", 7),
        ("#### 7 and then #### 3", 7),
        ("seven", 7),
        ("The answer is 7", 7),
        ("### 7", 7),
        ("", 7),
        ("#### seven", 7),
        ("#### 7.5", 7),
        ("#### 7/8", 7),
        ("#### 12,5", 12),  # no number: neither 12 nor 12.5
        ("#### 1,2345", 1),
        ("#### 1.2.3", 1),
        ("#### -7", 7),
        ("#### 7/0", 7),
        ("#### " + "9" * 5000, 7),  # digits without end are no reason to stop a training
    ],
)
def test_anything_else_after_the_hash_is_wrong(text, answer):
    assert not is_correct(text, answer)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{7}.", 7),
        (r"first \boxed{3}, then \boxed{7}", 7),
        (r"\boxed{1{,}234}", 1234),
        (r"\boxed{\$18}", 18),
        (r"\boxed{50\%}", 50),
        (r"\boxed{7.0}", "7"),
        (r"\boxed{\frac{1}{2}}", "0.5"),
        (r"\boxed{\dfrac{x}{2}}", r"\frac{x}{2}"),
        (r"\boxed{-\tfrac{1}{2}}", "-1/2"),
        (r"\boxed{\left( 1, 2 \right)}", "(1,2)"),
        (r"\boxed{\{1, 2\}}", r"\{1,2\}"),
        (r"\boxed{\text{even}}", "even"),
        (r"\boxed{x^{2} + y^{2}}", "x^{2}+y^{2}"),
        (r"\boxed {7}", 7),
        (r"a } and { but \boxed{7}", 7),
        (r"\boxed{\boxed{7}}", 7),
        (r"\boxed{7} so \boxed{", 7),  # broken off after the answer
    ],
)
def test_a_boxed_answer_is_right(text, answer):
    assert is_correct(text, answer, "boxed")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("7", 7),
        (r"\boxed{8}", 7),
        (r"\boxed{7", 7),
        (r"\boxed{{7}", 7),
        (r"\boxed{7} or \boxed{8}", 7),
        (r"\boxed{}", 7),
        (r"\boxed{\leftarrow}", "arrow"),
        (r"\boxed{1 1/2}", "5.5"),
        (r"#### 7", 7),
    ],
)
def test_any_other_box_is_wrong(text, answer):
    assert not is_correct(text, answer, "boxed")


@pytest.mark.parametrize(
    "text",
    [
        "Answer: C",
        "Answer: C.",
        "answer is C because it is",
        "The correct answer is (C) 15 apples",
        "**Answer:** C",
        "Answer - C",
        "Final answer: option C",
        "it must be (C)",
        "it must be (C).",
        "(C)",
        "C",
        " C.",
        "Let us see.\n\nC",
        r"so \boxed{C}",
        r"so $\boxed{\text{C}}$",
        r"so \boxed{(C)}",
        r"so \boxed{\textbf{(C)}}",
        "Answer: A\nNo, wait. Answer: C",
        "(A) is wrong and (B) is wrong. Answer: C",
    ],
)
def test_a_chosen_letter_is_right(text):
    assert is_correct(text, "C", "choice")
    assert is_correct(text, 2, "choice")
    assert not is_correct(text, "D", "choice")


@pytest.mark.parametrize("answer", ["A", "(A)", "a", "A.", 0])
def test_the_right_letter_may_be_written_in_several_ways(answer):
    assert is_correct("Answer: A", answer, "choice")


@pytest.mark.parametrize(
    "text",
    [
        "A dog ran home.",
        "The answer is A dog.",
        "The answer is a dog",
        "Answer: A long story",
        "I have A.",
        "Options: (A) 3 (B) 4 (C) 5",
        "(A) is what they say.",
        "Answers: A",
        "Another A",
        "A. A dog ran home.",
        "",
    ],
)
def test_the_letter_a_is_no_answer_where_it_is_an_article_or_an_option(text):
    assert not is_correct(text, "A", "choice")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("12 + 35 = 47.", 47),
        ("12+35=47", 47),
        ("so it is 1,234.50 dollars", "1234.5"),
        ("#### 7", 7),
        (r"\boxed{\$18}", 18),
        ("2 - 5 = -3", -3),
        ("2-5", 5),  # a minus between two numbers is no sign
        ("it is ...5", 5),
        ("3 of 4: 3/4", "0.75"),
        ("x = .5", "0.5"),
    ],
)
def test_the_last_number_is_right_wherever_it_stands(text, answer):
    assert is_correct(text, answer, "number")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("12 + 35 = 50", 47),
        ("47 and then 50", 47),
        ("forty-seven", 47),
        ("version 1.4.7", 7),
        ("12,47", 47),
        ("47.5", 47),
        ("-47", 47),
        ("", 47),
    ],
)
def test_any_other_last_number_is_wrong(text, answer):
    assert not is_correct(text, answer, "number")


SOLUTION = "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\n48 + 24 = 72 altogether.\n#### {}"


@pytest.mark.parametrize("verifier", ["hash", "number", "boxed"])
def test_a_worked_solution_is_compared_by_its_last_mark(verifier):
    text = {"hash": "#### {}", "number": "it is {}.", "boxed": r"\boxed{{{}}}"}[verifier]
    assert is_correct(text.format("1072"), SOLUTION.format("1,072"), verifier)
    assert is_correct(text.format("72"), "#### 24 #### 72", verifier)
    assert not is_correct(text.format("24"), SOLUTION.format("72"), verifier)


def test_the_letters_end_at_j():
    assert is_correct("Answer: J", 9, "choice")
    assert not is_correct("Answer: K", "K", "choice")
    assert not is_correct("Answer: K", 10, "choice")
    assert not is_correct("Answer: J", -1, "choice")


@pytest.mark.parametrize(
    ("text", "verifier"),
    [
        ("3 + 4 = 8. #### 8", "hash"),
        ("#### 1,234.\n", "hash"),
        (r"so \boxed{8}", "boxed"),
        (r"so $\boxed{\frac{1}{2}}$.", "boxed"),
        ("so, Answer: C.", "choice"),
        ("so (C)", "choice"),
        (r"\boxed{C}", "choice"),
        ("It is 47.", "number"),
    ],
)
def test_the_form_is_kept_by_one_statement_at_the_end_right_or_wrong(text, verifier):
    assert has_format(text, verifier)


@pytest.mark.parametrize(
    ("text", "verifier"),
    [
        ("seven", "hash"),
        ("#### 7 #### 8", "hash"),
        ("#### #### 8", "hash"),
        ("#### 8 apples", "hash"),
        (r"\boxed{7} and \boxed{8}", "boxed"),
        (r"\boxed{7} and \boxed{", "boxed"),
        (r"\boxed{7} apples", "boxed"),
        ("Answer: C. Answer: D", "choice"),
        ("Answer: C because", "choice"),
        ("nothing", "choice"),
        ("12 + 35 = 47", "number"),
        ("47 apples", "number"),
    ],
)
def test_the_form_is_broken_by_none_by_two_and_by_a_tail(text, verifier):
    assert not has_format(text, verifier)


def test_every_verifier_says_what_it_looks_for():
    assert list(VERIFIERS) == ["hash", "boxed", "choice", "number"]
    assert all(form.looks_for for form in VERIFIERS.values())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1,234.5", Fraction(2469, 2)),
        (".5", Fraction(1, 2)),
        ("+3", Fraction(3)),
        ("-3/4", Fraction(-3, 4)),
        ("1,23", None),
        ("1e3", None),
        ("٣", None),  # digits of other scripts
        ("", None),
    ],
)
def test_numbers_are_read_exactly(text, value):
    assert number(text) == value


def test_long_completions_are_read_in_no_time():
    for text in (
        "answer " * 20_000,
        "#" * 50_000,
        r"\boxed{" * 2_000,
        "1,1" * 20_000,
        "(" * 50_000,
    ):
        for verifier in VERIFIERS:
            assert not is_correct(text, 7 if verifier != "choice" else "C", verifier)

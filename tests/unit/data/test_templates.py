"""Templates of texts: fields, nested entries, lists, and what is said of those that are wrong."""

import pytest

from hrsa.data.table import Table
from hrsa.data.templates import parse_template, render
from hrsa.errors import UserError

QUESTION = {
    "question": ["What is 2 + 2?"],
    "options": [["3", "4", "5"]],
    "score": [0.256],
    "answers": [{"text": ["four", "4"], "start": [0, 5]}],
    "messages": [[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]],
    "two words": ["x"],
    "grid": [[[1, 2], [3, 4]]],
    "raw": [b"x"],
}


def one(template, columns=QUESTION):
    return render(template, Table.from_columns("t.jsonl", columns))[0]


def complaint(template, columns=QUESTION):
    with pytest.raises(UserError) as error:
        one(template, columns)
    return str(error.value)


def test_a_question_is_followed_by_its_lettered_options():
    assert one("{question}\n{options:lettered}") == "What is 2 + 2?\nA. 3\nB. 4\nC. 5"


@pytest.mark.parametrize(
    ("field", "written"),
    [
        ("{options}", "3\n4\n5"),
        ("{options:lines}", "3\n4\n5"),
        ("{options:paragraphs}", "3\n\n4\n\n5"),
        ("{options:words}", "3 4 5"),
        ("{options:commas}", "3, 4, 5"),
        ("{options:numbered}", "1. 3\n2. 4\n3. 5"),
        ("{options[0]}", "3"),
        ("{options[-1]}", "5"),
        ("{answers[text]:commas}", "four, 4"),
        ("{answers[text][0]}", "four"),
        ("{messages[1][content]}", "Hello"),
        ("{messages[content]}", "Hi\nHello"),
        ("{score:.1f}", "0.3"),
        ("{two words}", "x"),
        ("{{literal}} {question}", "{literal} What is 2 + 2?"),
    ],
)
def test_a_field_is_written_as_it_says(field, written):
    assert one(field) == written


def test_a_name_without_braces_is_a_column():
    assert one("question") == "What is 2 + 2?"
    assert one("answers[text][0]") == "four"


def test_a_missing_field_leaves_no_text():
    columns = {"a": ["x", None, float("nan"), "y"], "b": [["1"], ["2"], ["3"], ["4", None]]}
    table = Table.from_columns("t.jsonl", columns)
    assert render("{a} {b}", table) == ["x 1", None, None, None]
    assert render("a", table) == ["x", None, None, "y"]


def test_a_row_that_lacks_an_entry_has_no_text_while_others_have_one():
    columns = {"m": [[{"content": "a"}], [], [{"content": "b"}, {"content": "c"}]]}
    assert render("{m[1][content]}", Table.from_columns("t", columns)) == [None, None, "c"]


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{question", "cannot be read"),
        ("question}", "doubled, {{ and }}"),
        ("{}", "a field without a name"),
        ("{question!r}", "the conversion `!r`"),
        ("{Question}", "has no column 'Question' (asked for by `text:`)"),
        ("{Question}", "Did you mean `question`?"),
        ("{answers.text}", "An entry of a nested column is written `answers[text]`."),
        ("{messages[0][contnet]}", "No row of t.jsonl has the entry 'messages[0][contnet]'"),
        ("{messages[0][contnet]}", "the keys role, content"),
        ("{messages[0][contnet]}", "Did you mean `content`?"),
        ("{options:letered}", "is written as one of lines, paragraphs, words"),
        ("{options:letered}", "Did you mean `lettered`?"),
        ("{question:lettered}", "is written as a list, but row 000000 of t.jsonl holds the text"),
        ("{question:.2f}", "which the format `.2f` cannot write"),
        ("{answers}", "holds the keys text, start in row 000000"),
        ("{messages}", "whose items are no single values"),
        ("{grid}", "one holds a list of 2"),
        ("{raw}", "holds bytes"),
        ("options", 'write the template `text: "{options:lines}"`'),
    ],
)
def test_a_wrong_template_says_what_is_wrong(template, said):
    assert said in complaint(template)


def test_there_are_no_more_letters_than_the_alphabet_has():
    many = {"options": [[str(i) for i in range(27)]]}
    assert "Use `numbered`." in complaint("{options:lettered}", many)
    assert one("{options:numbered}", many).endswith("27. 26")


def test_a_template_can_be_checked_without_data():
    assert [part.field for part in parse_template("{a} and {b[0]:commas}.")] == ["a", "b[0]", None]

r"""Checks that an answer is right without a model: the verifiable rewards of RLVR.

Each verifier knows one form in which a completion states its answer: after ``####`` (GSM8K),
in ``\boxed{}`` (MATH), as the letter of a choice, or as a number anywhere. The last statement
counts.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

LETTERS = "ABCDEFGHIJ"

_NUMBER = r"[-+]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?|[-+]?\.[0-9]+"
_WHOLE_NUMBER = re.compile(_NUMBER)
_FRACTION = re.compile(r"([-+]?)(?:\\frac\{([0-9]+)\}\{([0-9]+)\}|([0-9]+)/([0-9]+))")
# digits, commas and points without a gap: what is no number is then no answer, not a part of one
_HASH = re.compile(r"####\s*([-+−]?\\?\$?[0-9.,]*[0-9](?:/[0-9]+)?)")
# a minus between two numbers is no sign
_ANYWHERE = re.compile(
    r"(?:(?<![\w).])[-+−])?\\?\$?"
    r"(?:[0-9][0-9.,]*[0-9]|[0-9]|(?<!\.)\.[0-9]+)(?:/[0-9]+)?"
)
_BRACES = re.compile(r"\\boxed\s*\{|\\.|[{}]", flags=re.DOTALL)
_LETTER_ALONE = re.compile(r"[(\s]*([A-J])[).\s]*")
# "A" and "I" are words too: as an answer, a mark or the line's end follows them
_LETTER = r"(?:[B-HJ](?![\w'’])|[AI](?=\s*(?:[.,:;)*\]}$]|\n|\Z)))"
_CHOICE = re.compile(
    r"\\boxed\s*\{[{(\s]*(?:\\(?:text|textbf|mathrm)\s*\{[(\s]*)?(?P<boxed>[A-J])[).\s]*\}+"
    rf"|(?i:\banswer)(?:[\s:*=–-]|(?i:\b(?:is|the|option|choice)\b))+\(?(?P<said>{_LETTER})\)?"
    r"|(?:\A|(?<=[\s*]))\((?P<bracket>[A-J])\)(?=[\s.*]*\Z)"
    r"|(?:\A|(?<=\n))[ \t*]*(?P<alone>[A-J])(?=[\s.)*]*\Z)"
)
_REST = re.compile(r"[\s.*$\])]*")  # what may follow an answer at the end
_LONGEST_NUMBER = 100  # characters; a model may go on writing digits


@dataclass(frozen=True)
class Statement:
    """An answer as a completion states it, and where the statement ends."""

    answer: str
    end: int


@dataclass(frozen=True)
class Verifier:
    """One form of stating an answer.

    Attributes
    ----------
    looks_for : str
        The form, in words for a person.
    statements : callable
        Every answer that a text states in this form, in order.
    is_same : callable
        Whether a stated answer is the right one.
    mark : str
        Characters that begin a statement, whole or broken off; "" where there are none.
    """

    looks_for: str
    statements: Callable[[str], list[Statement]]
    is_same: Callable[[str, int | str], bool]
    mark: str = ""


def is_correct(completion: str, answer: int | str, verifier: str = "hash") -> bool:
    """Whether the last answer that a completion states is the right one.

    Parameters
    ----------
    completion : str
    answer : int or str
        A number (or its text), a formula, or a worked solution that ends in ``#### 72`` (the
        column `answer` of GSM8K), of which what follows the last ``####`` counts; for "choice", the
        letter or its position from 0.
    verifier : {"hash", "boxed", "choice", "number"}
        A key of `VERIFIERS`.
    """
    form = VERIFIERS[verifier]
    stated = form.statements(completion)
    return bool(stated) and form.is_same(stated[-1].answer, answer)


def has_format(completion: str, verifier: str = "hash") -> bool:
    """Whether a completion states an answer in the verifier's form once, and ends with it.

    Whether the answer is right does not matter; white space, points and closing marks may follow.
    """
    form = VERIFIERS[verifier]
    stated = form.statements(completion)
    if len(stated) != 1 or (form.mark and completion.count(form.mark) != 1):
        return False
    return _REST.fullmatch(completion, stated[0].end) is not None


def final_number(text: str) -> int | None:
    """The whole number after the last ``####`` of a worked solution, None where there is none."""
    stated = after_hash(text)
    value = number(stated[-1].answer) if stated else None
    return int(value) if value is not None and value.denominator == 1 else None


def after_hash(text: str) -> list[Statement]:
    """What follows each ``####`` that a number, or what looks like one, follows."""
    return [Statement(match[1], match.end()) for match in _HASH.finditer(text)]


def numbers(text: str) -> list[Statement]:
    """Every number of a text."""
    return [Statement(match[0], match.end()) for match in _ANYWHERE.finditer(text)]


def in_box(text: str) -> list[Statement]:
    r"""The content of each ``\boxed{}`` whose braces are balanced."""
    opened: list[int | None] = []  # where each box that is still open begins; None: another brace
    found = []
    for match in _BRACES.finditer(text):
        if match[0].endswith("{") and match[0] != r"\{":
            opened.append(match.end() if match[0] != "{" else None)
        elif match[0] == "}" and opened:
            start = opened.pop()
            if start is not None:
                found.append((start, Statement(text[start : match.start()], match.end())))
    return [statement for _, statement in sorted(found, key=lambda pair: pair[0])]


def chosen_letters(text: str) -> list[Statement]:
    r"""Each letter of a choice: "Answer: C", ``\boxed{C}``, and "(C)" or "C" at the very end."""
    return [Statement(match[match.lastgroup or 0], match.end()) for match in _CHOICE.finditer(text)]


def number(text: str) -> Fraction | None:
    """The exact value of a written number, None where a text is none.

    Signs, thousands separators (1,234), decimals (7.50), fractions (3/4) and a dollar sign are
    read.
    """
    text = text.strip().replace("−", "-").replace("\\$", "").replace("$", "")
    if len(text) > _LONGEST_NUMBER:
        return None
    if _WHOLE_NUMBER.fullmatch(text):
        return Fraction(text.replace(",", ""))
    match = _FRACTION.fullmatch(text)
    if match is None:
        return None
    over, under = int(match[2] or match[4]), int(match[3] or match[5])
    return Fraction(int(match[1] + str(over)), under) if under else None


def _same_number_or_text(stated: str, answer: int | str) -> bool:
    if isinstance(answer, str) and (said := after_hash(answer)):
        answer = said[-1].answer
    own, right = _plain(stated), _plain(str(answer))
    values = number(own), number(right)
    if None not in values:
        return values[0] == values[1]
    return re.sub(r"\s", "", own) == re.sub(r"\s", "", right)


def _same_letter(stated: str, answer: int | str) -> bool:
    if not isinstance(answer, str):
        return 0 <= int(answer) < len(LETTERS) and stated == LETTERS[int(answer)]
    match = _LETTER_ALONE.fullmatch(answer.strip().upper())
    return match is not None and stated == match[1]


def _plain(formula: str) -> str:
    """A formula without what only shapes it: thin spaces, sizes of brackets, text mode, units."""
    formula = formula.replace("−", "-").replace("{,}", ",")
    formula = re.sub(r"\\(?:(?:left|right)(?![a-zA-Z])|[!,;: ])|\\?[$%]", "", formula)
    formula = re.sub(r"\\[dt]frac", r"\\frac", formula)
    formula = re.sub(r"\\(?:text|mathrm|textbf)\{([^{}]*)\}", r"\1", formula)
    return formula.strip().rstrip(".")


VERIFIERS: dict[str, Verifier] = {
    "hash": Verifier(
        "a number after the last `####`", after_hash, _same_number_or_text, mark="####"
    ),
    "boxed": Verifier(
        r"an answer in the last `\boxed{}`", in_box, _same_number_or_text, mark=r"\boxed"
    ),
    "choice": Verifier(
        r"the letter of a choice, A to J, as `Answer: C`, `\boxed{C}`, or `(C)` at the end",
        chosen_letters,
        _same_letter,
    ),
    "number": Verifier("the last number", numbers, _same_number_or_text),
}

"""Arithmetic word problems with a worked solution that ends in ``#### n``.

Each problem is a template, a name, a thing and two numbers. Two held-out sets keep the test honest:
``test_templates`` uses templates that training never shows; ``test`` uses training's templates with
pairs (template, numbers) that training never shows, chosen by a hash, not by the draw. Both exist
twice, sharing no held-out template and no pair: for choosing settings (the evaluation
"validation") and for reporting (the evaluation "test").
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hrsa.data.lexicon import NAMES, THINGS
from hrsa.errors import UserError

LARGEST_OPERAND = 9  # of a sum; a difference undoes such a sum
LARGEST_SUM = 2 * LARGEST_OPERAND
# of the (template, numbers) pairs of training's templates, for each of the two evaluations
HELD_OUT_SHARE = 0.075
EVALUATIONS = ("validation", "test")

# the numbers come in the order in which the solution uses them
ADDITION = (
    "{name} has {a} {things} and buys {b} more. How many {things} does {name} have now?",
    "There are {a} {things} in a bag. {name} puts in {b} more. How many are in the bag?",
    "{name} finds {a} {things} at home and {b} at school. How many {things} is that?",
    "On one table lie {a} {things}, on another {b}. How many {things} lie on both?",
    "{name} packs {a} {things} today and {b} tomorrow. How many {things} are packed?",
    "A box holds {a} old {things} and {b} new ones. How many {things} does it hold?",
    "{name} sold {a} {things} before lunch and {b} after it. How many were sold?",
    "{name} made {a} {things} last week and {b} this week. How many were made?",
    "{name} needs {a} {things} for one room and {b} for another. How many in total?",
    "A shelf with {a} {things} gets {b} more from {name}. How many stand there?",
    "{name} carries {a} {things}, and a neighbour carries {b}. How many do both carry?",
    "First {name} counts {a} {things}, then {b} more. What is the full count?",
    "{name} keeps {a} {things} in a drawer and puts {b} with them. What does the drawer hold?",
    "At noon there were {a} {things}; by night {b} more came. How many were there at night?",
    "{name} borrows {a} {things} from one friend and {b} from another. How many is that?",
    "In a yard stand {a} {things}, and behind it {b}. How many stand in both places?",
)
SUBTRACTION = (
    "{name} has {a} {things} and loses {b}. How many {things} does {name} still have?",
    "There are {a} {things} in a bag. {name} takes out {b}. How many are left in the bag?",
    "{name} had {a} {things} and gave {b} to a friend. How many {things} remain?",
    "Of {a} {things}, {b} are broken. How many {things} are whole?",
    "A box of {a} {things} is opened and {b} are used. How many stay in the box?",
    "{name} must sort {a} {things} and has sorted {b}. How many must {name} still sort?",
    "{name} owns {a} {things} and sells {b} of them. How many does {name} keep?",
    "On a table lay {a} {things}; {name} took {b} away. How many lie there now?",
    "From {a} {things}, {b} roll under the bed. How many can {name} still see?",
    "{a} {things} stood on a shelf until {name} sold {b}. How many are still there?",
    "{name} wants {a} {things} and already has {b}. How many {things} are missing?",
    "{name} and a friend have {a} {things}; the friend has {b}. How many has {name}?",
    "{a} {things} were on a cart, but {b} fell off. How many stayed on the cart?",
    "{name} ordered {a} {things} and got {b} so far. How many have not come?",
    "Out of {a} {things}, {name} paints {b}. How many are not painted?",
    "A shop had {a} {things} and sent {b} back. How many does the shop have now?",
)
# the last templates of each operation are never trained on: first validation's, then the test's
HELD_OUT_TEMPLATES = {"validation": 2, "test": 4}

TRACES = {
    "+": (
        "<think> We start with {a}. Then {b} more come in, so this is a sum. {a} + {b} = {c}. "
        "Check: {c} - {b} = {a}, which fits. </think> So the answer is {c}. #### {c}"
    ),
    "-": (
        "<think> We start with {a}. Then {b} go away, so this is a difference. {a} - {b} = {c}. "
        "Check: {c} + {b} = {a}, which fits. </think> So the answer is {c}. #### {c}"
    ),
}
COLUMNS = [
    *("id", "template", "a", "b", "operation", "question", "answer", "solution", "trace", "split"),
]


@dataclass(frozen=True)
class Template:
    """A word problem's wording, its operation, and what it is for: train, validation or test."""

    name: str
    operation: str
    text: str
    use: str


def templates() -> list[Template]:
    """All templates, additions first."""
    return [
        Template(f"{kind}{i:02d}", operation, text, _use_of(i, len(texts)))
        for kind, operation, texts in (("add", "+", ADDITION), ("sub", "-", SUBTRACTION))
        for i, text in enumerate(texts)
    ]


def _use_of(i: int, n: int) -> str:
    from_end = n - i
    if from_end <= HELD_OUT_TEMPLATES["test"]:
        return "test"
    return "validation" if from_end <= sum(HELD_OUT_TEMPLATES.values()) else "train"


def number_pairs(operation: str) -> list[tuple[int, int]]:
    """Pairs (a, b) of a sum a + b of two digits, or of the difference that undoes such a sum."""
    digits = range(1, LARGEST_OPERAND + 1)
    if operation == "+":
        return [(a, b) for a in digits for b in digits]
    return [(a + b, b) for a in digits for b in digits]


def use_of_numbers(template: Template, a: int, b: int) -> str:
    """What (template, a, b) is for, of a training template: a hash decides, so all splits agree."""
    digest = hashlib.sha256(f"{template.name}:{a}:{b}".encode()).digest()
    place = int(int.from_bytes(digest[:4], "big") / 2**32 / HELD_OUT_SHARE)
    return EVALUATIONS[place] if place < len(EVALUATIONS) else "train"


def answer(operation: str, a: int, b: int) -> int:
    """Result of the operation."""
    return a + b if operation == "+" else a - b


def solution_text(operation: str, a: int, b: int, result: int) -> str:
    """The short worked solution; `result` may be wrong on purpose (see `hrsa.models.pretrain`)."""
    return f"{a} {operation} {b} = {result}. #### {result}"


def generate_problems(
    split: str, n: int, rng: np.random.Generator, *, evaluation: str = "test"
) -> pd.DataFrame:
    """Draw `n` distinct word problems of one split.

    Parameters
    ----------
    split : {"train", "test", "test_templates"}
    n : int
        Problems wanted; drawn without repeating a text.
    rng : numpy.random.Generator
    evaluation : {"validation", "test"}
        Whose held-out templates and numbers the two test splits use.

    Returns
    -------
    pandas.DataFrame
        Columns `COLUMNS`; `answer` is an integer, `solution` the short worked solution,
        `trace` the longer reasoning trace that SFT imitates.
    """
    # (use of the template, use of the numbers; the latter matters to training's templates alone)
    wanted = {
        "train": ("train", "train"),
        "test": ("train", evaluation),
        "test_templates": (evaluation, None),
    }[split]
    pool = [
        (template, a, b)
        for template in templates()
        if template.use == wanted[0]
        for a, b in number_pairs(template.operation)
        if wanted[1] in (None, use_of_numbers(template, a, b))
    ]
    most = len(pool) * len(NAMES) * len(THINGS) // 4
    if n > most:
        raise UserError(
            f"{n} problems of the split {split} were asked for, but the generator has no more than "
            f"{most} that differ enough; lower `corpus.problems` or `corpus.test_problems`."
        )
    rows: dict[str, dict] = {}
    while len(rows) < n:
        template, a, b = pool[rng.integers(len(pool))]
        name, things = NAMES[rng.integers(len(NAMES))], THINGS[rng.integers(len(THINGS))]
        question = template.text.format(name=name, things=things, a=a, b=b)
        rows.setdefault(question, _problem(template, a, b, question))
    frame = pd.DataFrame(list(rows.values()))
    frame["split"] = split
    frame["id"] = [f"{split}-{i:05d}" for i in range(n)]
    return frame[COLUMNS]


def _problem(template: Template, a: int, b: int, question: str) -> dict:
    c = answer(template.operation, a, b)
    return {
        "template": template.name,
        "a": a,
        "b": b,
        "operation": template.operation,
        "question": question,
        "answer": c,
        "solution": solution_text(template.operation, a, b, c),
        "trace": TRACES[template.operation].format(a=a, b=b, c=c),
    }

"""Plain arithmetic for a pretrained model: sums, differences and products in six levels.

A model that was trained on everything gets some of it right: which level it solves, and how often,
differs from model to model, so that a difficulty filter finds what reinforcement learning can use.
What is held out is a fact, that is an operation with its operands in any order in which they give
the same result, chosen by a hash: no fact is both trained on and tested, whatever its wording.
Nor does a step of a training trace, or a check, state a held-out fact: the trace goes another way.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
import pandas as pd

from hrsa.data.problems import EVALUATIONS
from hrsa.errors import UserError

# of all facts of a level, for each of the two evaluations
HELD_OUT_SHARE = 0.15
# Small pretrained models follow this form. SmolLM2-135M-Instruct wrote a right "#### n" in 1 of
# 2 600 completions, whatever it was told: its answers are to be read with the verifier "number".
FORM = "Answer in this form: {expression} ="
COLUMNS = [
    *("id", "level", "a", "b", "c", "operation"),
    *("question", "answer", "solution", "trace", "split"),
]

_EQUATION = re.compile(r"([0-9]+(?: [-+*] [0-9]+)+) =")

# each with its operands in the order in which the operation takes them
WORDINGS = {
    "+": (
        "What is {expression}?",
        "Calculate {expression}.",
        "How much is {expression}?",
        "Work out {expression}.",
        "What is the sum of {listed}?",
        "Add {listed}.",
        "What do you get when you add {listed}?",
        "Find the total of {listed}.",
    ),
    "-": (
        "What is {expression}?",
        "Calculate {expression}.",
        "How much is {expression}?",
        "Work out {expression}.",
        "What is the difference of {listed}?",
        "Subtract {b} from {a}.",
        "What do you get when you take {b} away from {a}?",
        "What is {a} minus {b}?",
    ),
    "*": (
        "What is {expression}?",
        "Calculate {expression}.",
        "How much is {expression}?",
        "Work out {expression}.",
        "What is the product of {listed}?",
        "Multiply {a} by {b}.",
        "What do you get when you multiply {listed}?",
        "What is {a} times {b}?",
    ),
}


@dataclass(frozen=True)
class Level:
    """A level of difficulty: its operation, and the operands that belong to it."""

    name: str
    operation: str
    operands: Callable[[], list[tuple[int, ...]]]


def generate_arithmetic(
    n: int, rng: np.random.Generator, *, held_out: bool, evaluation: str = "test"
) -> pd.DataFrame:
    """Draw `n` distinct problems, equally many of each level (the first ones get what is over).

    Parameters
    ----------
    n : int
    rng : numpy.random.Generator
    held_out : bool
        Of the facts that training never shows, or of training's.
    evaluation : {"validation", "test"}
        Whose held-out facts.

    Returns
    -------
    pandas.DataFrame
        Columns `COLUMNS`; `c` is the third summand, missing elsewhere; `answer` is an integer;
        `solution` the short worked solution, `trace` the longer reasoning trace; `split` is
        "train" or "test". Levels take turns, so that the first rows have all of them.

    Raises
    ------
    UserError
        A level has fewer problems than are wanted of it.
    """
    use = evaluation if held_out else "train"
    _check_number(n, use)
    rows = [
        _level_problems(level, n // len(LEVELS) + (place < n % len(LEVELS)), use, rng)
        for place, level in enumerate(LEVELS)
    ]
    turns = [row for turn in range(-(-n // len(LEVELS))) for row in _turn(rows, turn)]
    split = "test" if held_out else "train"
    frame = pd.DataFrame(turns, columns=COLUMNS).assign(split=split)
    frame["id"] = [f"arithmetic-{split}-{i:05d}" for i in range(n)]
    return frame.astype({"c": "Int64"})


def result(operation: str, operands: tuple[int, ...]) -> int:
    """The operation's result: a sum of all operands, or a difference or product of two."""
    match operation:
        case "+":
            return sum(operands)
        case "-":
            return operands[0] - operands[1]
        case _:
            return operands[0] * operands[1]


def fact_of(operation: str, operands: tuple[int, ...]) -> tuple[int, ...]:
    """The operands in one order for all orders that give the same result."""
    return operands if operation == "-" else tuple(sorted(operands))


def operands_for(level: Level, use: str) -> list[tuple[int, ...]]:
    """A level's operands whose facts are for one use: "train", "validation" or "test".

    The order of the facts' hashes decides, not a draw, so that all splits agree; and it gives even
    a level of few facts its share.
    """

    def digest(fact: tuple[int, ...]) -> str:
        return hashlib.sha256(f"{level.operation}:{fact}".encode()).hexdigest()

    everything = level.operands()
    facts = sorted({fact_of(level.operation, one) for one in everything}, key=digest)
    n = round(HELD_OUT_SHARE * len(facts))
    held_out = {name: set(facts[i * n : (i + 1) * n]) for i, name in enumerate(EVALUATIONS)}
    wanted = held_out.get(use) or set(facts[len(EVALUATIONS) * n :])
    return [one for one in everything if fact_of(level.operation, one) in wanted]


@cache
def held_out_facts() -> frozenset[tuple[str, tuple[int, ...]]]:
    """Every fact, of all levels, that either evaluation asks for: its operation and operands."""
    return frozenset(
        (level.operation, fact_of(level.operation, operands))
        for level in LEVELS
        for use in EVALUATIONS
        for operands in operands_for(level, use)
    )


def states_held_out(text: str) -> bool:
    """Whether an equation of a text is a held-out fact."""
    for expression in _EQUATION.findall(text):
        operation = expression.split()[1]
        operands = tuple(int(number) for number in expression.split()[::2])
        if (operation, fact_of(operation, operands)) in held_out_facts():
            return True
    return False


def _check_number(n: int, use: str) -> None:
    sizes = [len(operands_for(one, use)) * len(WORDINGS[one.operation]) for one in LEVELS]
    smallest = int(np.argmin(sizes))
    most = sizes[smallest] * len(LEVELS)
    if n > most:
        key = "arithmetic" if use == "train" else "test_arithmetic"
        raise UserError(
            f"`corpus.{key}` is {n}, but there are no more than {most} problems: the level "
            f"“{LEVELS[smallest].name}” has {sizes[smallest]}, and all {len(LEVELS)} levels get "
            f"equally many. Give at most {most}."
        )


def _level_problems(level: Level, n: int, use: str, rng: np.random.Generator) -> list[dict]:
    facts, wordings = operands_for(level, use), WORDINGS[level.operation]
    chosen = rng.choice(len(facts) * len(wordings), size=n, replace=False)
    return [
        _problem(level, facts[one // len(wordings)], wordings[one % len(wordings)])
        for one in chosen
    ]


def _turn(rows: list[list[dict]], turn: int) -> list[dict]:
    return [of_level[turn] for of_level in rows if turn < len(of_level)]


def _problem(level: Level, operands: tuple[int, ...], wording: str) -> dict:
    a, b, *rest = operands
    expression = f" {level.operation} ".join(map(str, operands))
    listed = ", ".join(map(str, operands[:-1])) + f" and {operands[-1]}"
    question = wording.format(expression=expression, listed=listed, a=a, b=b)
    answer = result(level.operation, operands)
    return {
        "level": level.name,
        "a": a,
        "b": b,
        "c": rest[0] if rest else None,
        "operation": level.operation,
        "question": f"{question} {FORM.format(expression=expression)}",
        "answer": answer,
        "solution": f"{expression} = {answer}. #### {answer}",
        "trace": (
            f"<think> We need {expression}. {_thoughts(level.operation, operands)} </think> "
            f"So {expression} = {answer}. #### {answer}"
        ),
    }


def _thoughts(operation: str, operands: tuple[int, ...]) -> str:
    """The steps of a reasoning trace, in words: tens and ones, and a check where there is one."""
    ways, checks = _WAYS[operation, len(operands)](*operands)
    way = _first_allowed(ways)
    # what was just done the same way is no check
    check = _first_allowed([one for one in checks if one.split(",")[0] not in way])
    return f"{way} Check: {check}, which fits." if check else way


def _first_allowed(texts: list[str]) -> str:
    """The first text that states no held-out fact; "" where there is none."""
    return next((text for text in texts if not states_held_out(text)), "")


def _sum(a: int, b: int) -> tuple[list[str], list[str]]:
    """Ways of adding two numbers, the best first and one without an equation last; and checks."""
    c = a + b
    checks = [f"{c} - {b} = {a}", f"{c} - {a} = {b}"]
    if max(a, b) < 10:
        return [f"Both numbers have one digit. Count on from {a} by {b}: that is {c}."], checks
    tens, ones = 10 * (a // 10) + 10 * (b // 10), a % 10 + b % 10
    both = (
        f"First the tens: {a // 10 * 10} + {b // 10 * 10} = {tens}. "
        f"Then the ones: {a % 10} + {b % 10} = {ones}. "
        + ("The ones make another ten. " if ones >= 10 else "")
        + f"Together: {tens} + {ones} = {c}."
    )
    apart = [
        f"Take {part} apart into {part // 10 * 10} and {part % 10}. "
        f"First {whole} + {first} = {whole + first}. Then {whole + first} + {part - first} = {c}."
        for whole, part in ((a, b), (b, a))
        for first in (part // 10 * 10, part % 10)
        if part % 10
    ]
    steps = " and then by ".join(str(step) for step in (b // 10 * 10, b % 10) if step)
    return [both, *apart, f"Count on from {a} by {steps}: that is {c}."], checks


def _difference(a: int, b: int) -> tuple[list[str], list[str]]:
    c = a - b
    ones = a % 10
    counted = f"Count back from {a} by {b}: that is {c}."
    over_ten = (
        f"Go back to ten first: {a} - {ones} = {a - ones}. "
        f"Of the {b} there are {b - ones} left: {a - ones} - {b - ones} = {c}."
    )
    is_direct = a <= 10 or ones == 0 or b <= ones
    return [*([] if is_direct else [over_ten]), counted], [f"{c} + {b} = {a}"]


def _sum_of_three(a: int, b: int, c: int) -> tuple[list[str], list[str]]:
    total = a + b + c
    orders = ((a, b, c), (b, c, a), (a, c, b))
    ways = [
        f"{'One after the other. ' if (x, y) == (a, b) else ''}"
        f"First {x} + {y} = {x + y}. Then {x + y} + {z} = {total}."
        for x, y, z in orders
    ]
    counted = f"Count on from {a} by {b} and then by {c}: that is {total}."
    checks = [f"{x} + {y} = {x + y}, and {z} + {x + y} = {total}" for x, y, z in orders[1:]]
    return [*ways, counted], checks


def _product(a: int, b: int) -> tuple[list[str], list[str]]:
    sums = ", ".join(str(a * times) for times in range(1, b + 1))
    return [f"That is {a} taken {b} times. Count by {a}: {sums}. So it is {a * b}."], []


# by the operation and the number of its operands
_WAYS: dict[tuple[str, int], Callable[..., tuple[list[str], list[str]]]] = {
    ("+", 2): _sum,
    ("+", 3): _sum_of_three,
    ("-", 2): _difference,
    ("*", 2): _product,
}


def _digits() -> range:
    return range(1, 10)


def _one_digit() -> list[tuple[int, ...]]:
    return list(product(_digits(), repeat=2))


def _two_digits(carry: bool) -> list[tuple[int, ...]]:
    """Pairs of two-digit numbers whose sum has two digits, with or without a carry."""
    return [
        (a, b)
        for a, b in product(range(10, 90), repeat=2)
        if a + b < 100 and (a % 10 + b % 10 >= 10) == carry
    ]


def _differences() -> list[tuple[int, ...]]:
    """The difference that undoes a sum of two digits."""
    return [(a + b, b) for a, b in product(_digits(), repeat=2)]


def _three_summands() -> list[tuple[int, ...]]:
    return list(product(_digits(), repeat=3))


def _factors() -> list[tuple[int, ...]]:
    return list(product(range(2, 10), repeat=2))


LEVELS = (
    Level("one digit", "+", _one_digit),
    Level("two digits", "+", lambda: _two_digits(carry=False)),
    Level("two digits, carry", "+", lambda: _two_digits(carry=True)),
    Level("difference", "-", _differences),
    Level("three summands", "+", _three_summands),
    Level("product", "*", _factors),
)

"""Retrieval that needs reasoning: which worked problem is solved in the same way as this one.

A query is an arithmetic word problem; relevant are the worked problems of the same solution method,
in other wordings and with a person, things, a place and numbers of their own. These are drawn
without regard to the method, so that they tell nothing; and for each query there are documents of
its own person, things, place and numbers that need another method. What looks alike is therefore
wrong, and a word counter ranks worse than chance (tests/unit/benchmarks/test_local_tasks.py).

References
----------
Su et al. (2025), BRIGHT: A Realistic and Challenging Benchmark for Reasoning-Intensive Retrieval,
arXiv:2407.12883: documents that share what solves a query, not its words.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from hrsa.data.lexicon import NAMES, THINGS
from hrsa.data.problems import EVALUATIONS
from hrsa.errors import UserError

# Each method's wordings; a, b and c are the numbers of `operands`. What tells a method is said
# in other words in each of its wordings.
METHODS: dict[str, tuple[str, ...]] = {
    "join": (
        "At the {place} {name} lays out {a} {things} in a {box}, where {b} were lying. "
        "How many {things} does the {box} hold?",
        "To the {place} {a} {things} come from the girls and {b} from the boys, in one {box}. "
        "How many {things} does {name} write down?",
        "{name} hides {a} {things} in a {box} at the {place} and, under the floor, {b}. "
        "How many {things} are hidden?",
        "At the {place} {name} counts {a} {things}, then another {b} from the {box}. "
        "How many {things} does {name} see?",
        "The {place} gets a {box} of {a} {things} by post and {b} {things} by boat. "
        "How many {things} must {name} set out?",
        "{name} receives {a} {things} from aunts and {b} from uncles, in a {box} at the {place}. "
        "How many {things} will {name} use?",
    ),
    "remove": (
        "The {box} at the {place} had {a} {things}, and by noon {name} sold {b}. "
        "How many {things} does the {box} hold?",
        "{name} needs {a} {things} for the {box} at the {place} and found {b} so far. "
        "How many {things} does {name} lack?",
        "Up to {a} {things} hung over a {box} at the {place} until a gust blew {b} down. "
        "How many {things} does {name} see?",
        "{name} carried {b} of {a} {things} out of the {place} in a {box}. "
        "How many {things} stayed there?",
        "The {place} sent {name} a {box} of {a} {things}, but {b} fell overboard. "
        "How many {things} will {name} get?",
        "In a {box} at the {place} lay {a} {things}, {b} of them broken, sighs {name}. "
        "How many {things} may {name} use?",
    ),
    "groups": (
        "At the {place} stand {a} {boxes} with {b} {things} in every one. "
        "How many {things} does {name} offer?",
        "Each of {a} {boxes} brings {name} {b} {things} from the {place}. "
        "How many {things} does {name} write down?",
        "Along a wall of the {place} run {a} {boxes}; a {box} takes {b} {things}. "
        "How many {things} must {name} set out?",
        "The {place} has {a} {boxes}, {b} {things} to a {box}. How many {things} does {name} see?",
        "{name} visits the {place} {a} times and always fills a {box} with {b} {things}. "
        "How many {things} will {name} get?",
        "The {place} sells {things} by the {box}, {b} in it; {name} orders {a} {boxes}. "
        "How many {things} may {name} use?",
    ),
    "share": (
        "{name} spreads {a} {things} evenly over {b} {boxes} at the {place}. "
        "How many {things} lie in one {box}?",
        "At the {place} {name} deals {a} {things} to {b} {boxes}, to all the same. "
        "How many {things} does a {box} get?",
        "{name} wants {a} {things} in {b} {boxes} of one size at the {place}. "
        "How many {things} does the {box} hold?",
        "{name} empties {a} {things} of the {place} into {b} {boxes}, no {box} fuller than "
        "another. How many {things} does {name} see in it?",
        "The {place} must stow {a} {things} in {b} {boxes}, alike in number. "
        "How many {things} may {name} set out in a {box}?",
        "Out of {a} {things} {name} makes {b} like piles at the {place}, a {box} for a pile. "
        "How many {things} will the {box} take?",
    ),
    "groups and more": (
        "{name} brings {a} {boxes} of {b} {things} to the {place}, where {c} {things} lie loose. "
        "How many {things} does {name} offer?",
        "The {place} owns {a} {boxes}, {b} {things} apiece, and {name} adds {c}. "
        "How many {things} may the {place} use?",
        "{name} filled {a} {boxes} with {b} {things} at the {place} and strewed {c} on the floor. "
        "How many {things} does the {place} hold?",
        "At the {place} {a} {boxes} hold {b} {things} respectively, while {c} sit on top of a "
        "{box}. How many {things} does {name} see?",
        "{name} stows {b} {things} in any of {a} {boxes} of the {place} and keeps {c} in hand. "
        "How many {things} does {name} write down?",
        "For the {place} {name} packs {a} {boxes} singly with {b} {things}, and {c} come by post. "
        "How many {things} will the {place} get?",
    ),
    "share the rest": (
        "Of {a} {things} at the {place} {b} are spoilt; {name} packs the good ones into {c} equal "
        "{boxes}. How many {things} lie in one {box}?",
        "{name} keeps {b} of {a} {things} and hands out the others to {c} {boxes} of the {place} "
        "fairly. How many {things} does a {box} get?",
        "Birds took {b} of the {a} {things} at the {place}; what they spared {name} sets out in "
        "{c} {boxes}, none longer. How many {things} does the {box} hold?",
        "{name} burns {b} of {a} {things} at the {place} and divides the remainder among {c} "
        "{boxes}. How many {things} does {name} see in a {box}?",
        "Customs holds {b} of {a} {things} for the {place}; {name} splits up what is allowed over "
        "{c} {boxes}. How many {things} will the {box} take?",
        "At the {place} {name} conceals {b} of {a} {things}, and {c} {boxes} take up the visible "
        "ones, no {box} more. How many {things} may a {box} offer?",
    ),
}
PLACES = (
    *("market", "school", "farm", "library", "theatre", "bakery", "office", "museum"),
    *("station", "church", "castle", "circus", "bridge", "lighthouse", "mill", "cinema"),
    *("depot", "embassy", "fountain", "gallery", "monastery", "prison", "tower", "quarry"),
)
BOXES = (
    *(("crate", "crates"), ("drawer", "drawers"), ("basket", "baskets"), ("tin", "tins")),
    *(("chest", "chests"), ("tray", "trays"), ("sack", "sacks"), ("bucket", "buckets")),
    *(("barrel", "barrels"), ("jar", "jars"), ("case", "cases"), ("bowl", "bowls")),
)
# Of three wordings of a method one asks, in each evaluation another, and two are documents.
WORDING_CLASSES = 3
LEAST_DOCUMENTS = 2 * len(METHODS)


@dataclass(frozen=True)
class Problem:
    """A wording of a method, told of a person, things, a place, a kind of box and numbers."""

    method: str
    wording: int
    name: str
    things: str
    place: str
    box: tuple[str, str]
    numbers: tuple[int, int, int]  # x, y, z of `operands`

    @property
    def question(self) -> str:
        """The problem in words."""
        a, b, c = operands(self.method, *self.numbers)
        told = {"name": self.name, "things": self.things, "place": self.place}
        box, boxes = self.box
        text = METHODS[self.method][self.wording]
        return text.format(**told, box=box, boxes=boxes, a=a, b=b, c=c)

    @property
    def worked(self) -> str:
        """The problem in words and its solution."""
        return f"{self.question} {worked_solution(self.method, *self.numbers)}"


def operands(method: str, x: int, y: int, z: int) -> tuple[int, int, int]:
    """What a wording of a method names as a, b and c, so that all results are whole numbers."""
    match method:
        case "remove":
            return x + y, y, z
        case "share":
            return x * y, y, z
        case "share the rest":
            return x * y + z, z, y
        case _:
            return x, y, z


def worked_solution(method: str, x: int, y: int, z: int) -> str:
    """The calculation of a method, ending in ``#### n``."""
    a, b, c = operands(method, x, y, z)
    match method:
        case "join":
            steps, result = f"{a} + {b} = {x + y}.", x + y
        case "remove":
            steps, result = f"{a} - {b} = {x}.", x
        case "groups":
            steps, result = f"{a} * {b} = {x * y}.", x * y
        case "share":
            steps, result = f"{a} / {b} = {x}.", x
        case "groups and more":
            result = x * y + z
            steps = f"{a} * {b} = {x * y}. {x * y} + {c} = {result}."
        case _:
            steps, result = f"{a} - {b} = {x * y}. {x * y} / {c} = {x}.", x
    return f"{steps} #### {result}"


def generate_solutions(
    n_documents: int, n_queries: int, rng: np.random.Generator, *, evaluation: str = "test"
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Documents, queries and relevance judgements of the retrieval by solution method.

    Parameters
    ----------
    n_documents : int
        At least `LEAST_DOCUMENTS`. Up to half of them are told of a query's own person, things,
        place and numbers, one for each query, and need another method.
    n_queries : int
    rng : numpy.random.Generator
    evaluation : {"validation", "test"}
        Whose wordings ask; the two share none.

    Returns
    -------
    tuple of three pandas.DataFrame
        Documents and queries (id, text, label: the method) and judgements (query, document,
        score): every document of a query's method is relevant, about one in six.

    Raises
    ------
    UserError
        Too few documents for every method to have one.
    """
    if n_documents < LEAST_DOCUMENTS:
        raise UserError(
            f"`corpus.solutions.documents` is {n_documents}, but each of the {len(METHODS)} "
            f"methods needs documents. Give at least {LEAST_DOCUMENTS}."
        )
    asks = EVALUATIONS.index(evaluation)
    asking = [cell for cell in _cells() if cell[0] % WORDING_CLASSES == asks]
    telling = [cell for cell in _cells() if cell[0] % WORDING_CLASSES != asks]
    queries: dict[str, Problem] = {}
    while len(queries) < n_queries:
        problem = _draw(*asking[len(queries) % len(asking)], rng)
        queries.setdefault(problem.question, problem)
    documents: dict[str, Problem] = {}
    for query in list(queries.values())[: n_documents // 2]:
        problem = _lookalike(query, telling, rng)
        documents.setdefault(problem.worked, problem)
    while len(documents) < n_documents:
        problem = _draw(*telling[len(documents) % len(telling)], rng)
        documents.setdefault(problem.worked, problem)
    told = [list(documents)[place] for place in rng.permutation(n_documents)]
    document_frame = _frame("solution", told, [documents[text] for text in told])
    query_frame = _frame("problem", list(queries), list(queries.values()))
    relevant = query_frame.merge(document_frame, on="label", suffixes=("", "_document"))
    relevance = pd.DataFrame(
        {"query": relevant["id"], "document": relevant["id_document"], "score": 1}
    )
    return document_frame, query_frame, relevance


def _cells() -> list[tuple[int, str]]:
    """Wordings and methods, the methods taking turns."""
    n_wordings = len(METHODS["join"])
    return [(wording, method) for wording in range(n_wordings) for method in METHODS]


def _draw(wording: int, method: str, rng: np.random.Generator) -> Problem:
    x, y, z = (int(number) for number in rng.integers(2, 10, size=3))
    return Problem(
        method,
        wording,
        NAMES[rng.integers(len(NAMES))],
        THINGS[rng.integers(len(THINGS))],
        PLACES[rng.integers(len(PLACES))],
        BOXES[rng.integers(len(BOXES))],
        (x, y, z),
    )


def _lookalike(query: Problem, telling: list[tuple[int, str]], rng: np.random.Generator) -> Problem:
    """A document that differs from a query in nothing but its method."""
    others = [cell for cell in telling if cell[1] != query.method]
    wording, method = others[rng.integers(len(others))]
    return replace(query, wording=wording, method=method)


def _frame(prefix: str, texts: list[str], problems: list[Problem]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": [f"{prefix}-{i:04d}" for i in range(len(texts))],
            "text": texts,
            "label": [problem.method for problem in problems],
        }
    )

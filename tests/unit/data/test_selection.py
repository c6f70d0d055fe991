"""Filters, strata and caps: the same seed and ids give the same samples, nested in each other."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hrsa.data.selection import capped, draw_order, fulfilling, priorities
from hrsa.data.table import Table
from hrsa.errors import UserError

COLUMNS = {
    "level": [1, 2, 3, 4, None, 5],
    "written": ["1", "2.0", "x", "4", "", "5"],
    "kind": ["math", "physics", "math", "law", "physics", None],
    "good": [True, False, True, False, True, True],
    "tags": [["a", "b"], ["b"], [], None, ["c"], ["a"]],
}


def rows(where):
    return np.flatnonzero(fulfilling(Table.from_columns("t.jsonl", COLUMNS), where)).tolist()


def complaint(where):
    with pytest.raises(UserError) as error:
        rows(where)
    return str(error.value)


@pytest.mark.parametrize(
    ("where", "left"),
    [
        ({"level": 4}, [3]),
        ({"level": [4, 5]}, [3, 5]),
        ({"level": "4"}, [3]),
        ({"level": {"min": 2}}, [1, 2, 3, 5]),
        ({"level": {"min": 2, "max": 3}}, [1, 2]),
        ({"level": {"not": [4, 5]}}, [0, 1, 2]),
        ({"written": 2}, [1]),
        ({"written": {"min": 2}}, [1, 3, 5]),
        ({"kind": "math"}, [0, 2]),
        ({"kind": {"not": "math"}}, [1, 3, 4]),
        ({"kind": ["math", "law"], "level": {"max": 3}}, [0, 2]),
        ({"good": True}, [0, 2, 4, 5]),
        ({"good": False}, [1, 3]),
        ({"tags": "a"}, [0, 5]),
    ],
)
def test_rows_that_fulfil_every_condition_are_left(where, left):
    assert rows(where) == left


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ({"kind": ["math", "phisics"]}, "names 'phisics', which no row of t.jsonl has"),
        ({"kind": ["math", "phisics"]}, "Did you mean `physics`?"),
        ({"level": 7}, "Values of level there: 1, 2, 3, 4, 5."),
        ({"kind": {"not": "biology"}}, "names 'biology'"),
        ({"kind": {"min": 3}}, "gives bounds, but no row of t.jsonl has a number there"),
        ({"level": {"min": 6}}, "`where: level` leaves none of 6 rows of t.jsonl"),
        ({"kind": "law", "level": 1}, "`where: level` leaves none of 1 rows"),
        ({"good": 1}, "names 1, which no row"),
    ],
)
def test_a_condition_that_nothing_fulfils_says_what_there_is(where, said):
    assert said in complaint(where)


def test_places_in_the_line_are_those_they_have_always_been():
    # stored samples were drawn by them: other values would be other samples
    assert priorities(["000000", "000001"], 42).tolist() == PLACES
    assert priorities(["é"], 2**70).shape == (1,)


PLACES = [6397877033676328075, 1611528659773392786]


@settings(max_examples=40, deadline=None)
@given(
    strata=st.lists(st.sampled_from("abc"), min_size=1, max_size=60),
    seed=st.integers(0, 5),
    allocation=st.sampled_from(["equal", "proportional"]),
)
def test_every_first_part_of_the_draw_is_balanced(strata, seed, allocation):
    line = priorities([str(i) for i in range(len(strata))], seed)
    order = draw_order(line, strata, allocation)
    assert sorted(order.tolist()) == list(range(len(strata)))
    sizes = Counter(strata)
    for n in range(1, len(strata) + 1):
        drawn = Counter(strata[i] for i in order[:n])
        for stratum, size in sizes.items():
            if allocation == "proportional":
                # of three strata, Webster's method gives each its share, rounded up or down
                assert abs(drawn[stratum] - n * size / len(strata)) < 1 + 1e-9
            else:
                most = max(drawn.values())
                assert drawn[stratum] >= min(size, most - 1)


def test_a_share_is_rounded_not_up_but_to_the_nearest():
    line = priorities([str(i) for i in range(10)], 0)
    strata = ["a"] * 9 + ["b"]
    first = [strata[i] for i in draw_order(line, strata, "proportional")[:4]]
    assert first == ["a"] * 4  # 4 of 10 are 0.4 of the only b


def test_within_a_stratum_the_line_decides():
    line = np.array([5, 1, 4, 2], dtype=np.uint64)
    assert draw_order(line, ["a", "a", "b", "b"]).tolist() == [1, 3, 2, 0]
    assert draw_order(line).tolist() == [1, 3, 2, 0]


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=30),
    caps=st.tuples(st.integers(1, 300), st.integers(1, 300)),
)
def test_a_cap_of_characters_takes_a_first_part(lengths, caps):
    small, large = sorted(caps)
    order = np.arange(len(lengths))
    taken = capped(order, np.array(lengths), small)
    assert sum(lengths[: len(taken)]) <= small
    assert len(taken) == len(lengths) or sum(lengths[: len(taken) + 1]) > small
    assert set(taken) <= set(capped(order, np.array(lengths), large))

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hrsa.similarity.draw_words import count_draws, filled_before, pack_draws, unpack_draws


def flags(seed, n_draws, n_places, n_columns, share=0.7):
    return np.random.default_rng(seed).random((n_draws, n_places, n_columns)) < share


def words_of(table):
    """Pack flags (n_draws × n_places × n_columns) into words (n_places × n_columns)."""
    n_draws, n_places, n_columns = table.shape
    return pack_draws(table.reshape(n_draws, -1)).reshape(n_places, n_columns)


@pytest.mark.parametrize("n_draws", [1, 40, 64])
def test_packed_draws_come_back(n_draws):
    table = flags(0, n_draws, 1, 30)[:, 0]
    assert np.array_equal(unpack_draws(pack_draws(table), n_draws), table.T)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.integers(1, 64), st.integers(0, 40))
def test_counts_are_sums_over_places(seed, n_draws, n_places):
    table = flags(seed, n_draws, n_places, 5)
    assert np.array_equal(count_draws(words_of(table), n_draws), table.sum(axis=1).T)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.integers(1, 64), st.integers(1, 20))
def test_lists_are_filled_where_the_running_count_reaches_k(seed, n_draws, k):
    table = flags(seed, n_draws, 40, 6)
    filled = filled_before(words_of(table), k, n_draws)
    running = np.concatenate([np.zeros((n_draws, 1, 6), int), table.cumsum(axis=1)], axis=1)
    expected = running >= k
    for place, words in enumerate(filled):
        assert np.array_equal(unpack_draws(words, n_draws), expected[:, place].T)
    # It stops no sooner than all are filled.
    assert len(filled) == 41 or expected[:, len(filled) - 1].all()


def test_reading_stops_once_all_lists_are_filled():
    every = np.full((100, 3), 2**40 - 1, dtype=np.uint64)
    assert len(filled_before(every, 7, 40)) == 8

"""The null that permutes whole samples on equally many rows of each."""

import numpy as np
import pytest

from hrsa.statistics.permutation import equal_rows, p_of_maximum, p_value, sample_permutations


def test_equal_rows_are_rows_of_their_sample_and_short_samples_are_counted():
    rng = np.random.default_rng(0)
    sizes = np.array([1, *rng.integers(6, 15, 29)])
    codes = rng.permutation(np.repeat(np.arange(30), sizes))
    found = equal_rows(codes)
    assert found.rows.shape == (29, np.quantile(sizes, 0.1, method="lower"))
    assert found.n_left_out == 1
    for rows in found.rows:
        assert len(set(codes[rows])) == 1
        assert (np.diff(rows) > 0).all()
    assert len(np.unique(found.rows)) == found.rows.size
    assert found.note.endswith("29 samples of 6 rows, 1 shorter samples left out")


def test_equal_rows_keep_to_a_limit_and_hang_on_the_seed_alone():
    codes = np.repeat(np.arange(40), 10)
    few = equal_rows(codes, most_rows=100)
    assert few.rows.shape == (10, 10)
    np.testing.assert_array_equal(few.rows, equal_rows(codes, most_rows=100).rows)
    assert not np.array_equal(few.rows, equal_rows(codes, most_rows=100, seed=1).rows)


def test_with_each_row_its_own_sample_all_rows_are_kept():
    found = equal_rows(np.arange(12))
    np.testing.assert_array_equal(found.rows[:, 0], np.arange(12))


def test_p_counts_the_observed_value_itself():
    null = np.arange(99.0)
    assert p_value(1000.0, null) == pytest.approx(1 / 100)
    assert p_value(98.0, null) == pytest.approx(2 / 100)
    assert p_value(-1.0, null) == 1.0
    assert p_value(None, null) is None
    assert p_value(1.0, np.array([])) is None
    assert p_value(1.0, np.array([np.nan, 0.0])) is None


def test_the_maximum_is_read_against_maxima():
    null = np.array([[0.0, 3.0], [2.0, 0.0], [0.0, 0.0]])
    assert p_of_maximum(np.array([1.0, 2.0]), null) == pytest.approx((1 + 2) / 4)


def test_permutations_are_orders_of_all_samples():
    orders = sample_permutations(20, 50, seed=2)
    assert orders.shape == (50, 20)
    np.testing.assert_array_equal(np.sort(orders, axis=1), np.tile(np.arange(20), (50, 1)))
    np.testing.assert_array_equal(orders, sample_permutations(20, 50, seed=2))
    assert sample_permutations(4, 50).shape == (0, 4)

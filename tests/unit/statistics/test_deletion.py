"""Deleting a fifth of the samples at random, for statistics that are not smooth."""

import numpy as np
import pytest

from hrsa.statistics.deletion import deletion_draws, deletion_interval, deletion_standard_error


def test_draws_delete_a_fifth_and_are_the_same_for_one_seed():
    draws = deletion_draws(50, seed=3)
    assert draws.shape == (40, 50)
    assert (draws.sum(axis=1) == 10).all()
    np.testing.assert_array_equal(draws, deletion_draws(50, seed=3))
    assert (draws != deletion_draws(50, seed=4)).any()
    assert len(np.unique(draws, axis=0)) == 40


def test_the_standard_error_of_a_mean_is_the_textbook_one():
    values = np.random.default_rng(0).standard_normal(200)
    deleted = deletion_draws(200, n_draws=4000)
    replicates = np.array([values[~draw].mean() for draw in deleted])
    expected = values.std(ddof=1) / np.sqrt(200)
    assert deletion_standard_error(replicates, deleted) == pytest.approx(expected, rel=0.05)


def test_the_interval_is_around_the_value_and_says_how_it_was_made():
    deleted = deletion_draws(20)
    found = deletion_interval(0.5, np.linspace(0.4, 0.6, 40), deleted)
    assert found.low < 0.5 < found.high
    assert found.high - 0.5 == pytest.approx(1.959964 * found.se)
    assert found.method == "deleting 4 of 20 samples at random, 40 draws"


@pytest.mark.parametrize("replicates", [np.array([0.1]), np.array([0.1, np.nan])])
def test_no_interval_without_draws(replicates):
    assert deletion_interval(0.1, replicates, deletion_draws(20)).se is None


def test_fewer_than_five_samples_have_no_draws():
    assert deletion_draws(4).shape == (0, 4)

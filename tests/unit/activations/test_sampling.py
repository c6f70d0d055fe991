"""The token cap chooses places by their hash alone."""

import numpy as np

from hrsa.activations.sampling import kept_places, sampling_rate


def test_rate_is_fixed_by_the_data_set():
    assert sampling_rate(None, 1000) == 1.0
    assert sampling_rate(1000, 1000) == 1.0
    assert sampling_rate(25, 1000) == 0.1


def test_the_kept_share_is_near_the_rate_and_grows_with_it():
    ends = np.arange(20000)
    low, high = (kept_places("a", ends, rate, 0) for rate in (0.1, 0.3))
    assert abs(low.mean() - 0.1) < 0.01
    assert abs(high.mean() - 0.3) < 0.015
    assert np.all(high[low])


def test_a_place_is_decided_without_its_neighbours():
    ends = np.arange(200)
    some = ends[::7]
    assert np.array_equal(kept_places("a", ends, 0.4, 0)[::7], kept_places("a", some, 0.4, 0))


def test_samples_and_seeds_choose_differently():
    ends = np.arange(200)
    first = kept_places("a", ends, 0.5, 0)
    assert not np.array_equal(first, kept_places("b", ends, 0.5, 0))
    assert not np.array_equal(first, kept_places("a", ends, 0.5, 1))

import numpy as np
import pytest

from hrsa.statistics.multiplicity import holm


def test_a_worked_example():
    # By hand, smallest first: 0.005 · 4, 0.01 · 3, 0.03 · 2, then 0.04 · 1, raised to 0.06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_no_adjusted_p_is_above_one():
    assert holm([0.6, 0.9, 0.5]) == pytest.approx([1.0, 1.0, 1.0])


def test_equal_p_values_stay_equal():
    assert holm([0.02, 0.02, 0.5]) == pytest.approx([0.06, 0.06, 0.5])


def test_one_test_needs_no_adjustment_and_none_gives_none():
    assert holm([0.04]) == pytest.approx([0.04])
    assert holm([]).shape == (0,)


def test_the_first_rejection_is_that_of_bonferroni():
    p = np.random.default_rng(0).random(20)
    assert holm(p).min() == pytest.approx(min(20 * p.min(), 1.0))

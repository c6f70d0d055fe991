import numpy as np
import pytest

from hrsa.statistics.resampling import Interval, jackknife_interval, jackknife_standard_error


def test_the_jackknife_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(0).standard_normal(25)
    without = (values.sum() - values) / 24
    assert jackknife_standard_error(without) == pytest.approx(values.std(ddof=1) / 5)


def test_the_interval_is_students():
    values = np.random.default_rng(0).standard_normal(25)
    without = (values.sum() - values) / 24
    found = jackknife_interval(values.mean(), without)
    # The 97.5 % point of Student's t with 24 degrees of freedom, from a printed table.
    assert found.high - values.mean() == pytest.approx(2.0639 * found.se, rel=1e-4)
    assert found.low + found.high == pytest.approx(2 * values.mean())
    assert found.method == "jackknife over 25 blocks of samples, t(24)"


@pytest.mark.parametrize("replicates", [[0.5], [0.1, np.nan, 0.3]])
def test_there_is_no_interval_without_two_defined_replicates(replicates):
    assert jackknife_interval(0.5, np.array(replicates)) == Interval()

"""Combinations of cells: the same as computing the combination with samples left out."""

import numpy as np
import pytest

from hrsa.statistics.deletion import deletion_draws, deletion_interval
from hrsa.statistics.paired_deletion import paired_interval
from hrsa.statistics.replicates import (
    Estimate,
    estimate,
    linear_combination,
    mean_of,
)
from hrsa.statistics.resampling import Interval, jackknife_interval, jackknife_standard_error

N_BLOCKS, N_EACH = 25, 8


def correlation(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.corrcoef(x, y)[0, 1])


def without_blocks(statistic, *columns: np.ndarray) -> np.ndarray:
    """Delete-one-block values, each computed from what is left."""
    blocks = np.repeat(np.arange(N_BLOCKS), N_EACH)
    return np.array(
        [statistic(*(column[blocks != b] for column in columns)) for b in range(N_BLOCKS)]
    )


@pytest.fixture
def data() -> np.ndarray:
    """A reference and three candidates, one more like it than the other: columns of one text."""
    rng = np.random.default_rng(0)
    reference = rng.standard_normal(N_BLOCKS * N_EACH)
    noise = rng.standard_normal((3, N_BLOCKS * N_EACH))
    return np.vstack([reference, reference + np.array([[0.3], [0.6], [0.9]]) * noise])


def estimates(data: np.ndarray) -> list[Estimate]:
    return [
        estimate(correlation(data[0], y), without_blocks(correlation, data[0], y)) for y in data[1:]
    ]


def test_one_cell_has_the_interval_of_the_jackknife(data):
    replicates = without_blocks(correlation, data[0], data[1])
    found = estimate(0.9, replicates).interval
    expected = jackknife_interval(0.9, replicates)
    assert (found.se, found.low, found.high) == (expected.se, expected.low, expected.high)
    assert found.method == "jackknife over 25 blocks of samples, joint, t(24)"


def test_a_difference_is_the_jackknife_of_the_difference(data):
    a, b, _ = estimates(data)

    def difference(x, y, z):
        return correlation(x, y) - correlation(x, z)

    direct = without_blocks(difference, *data[:3])
    found = a - b
    assert found.value == pytest.approx(difference(*data[:3]), abs=1e-14)
    assert found.interval.se == pytest.approx(jackknife_standard_error(direct), rel=1e-12)


def test_a_weighted_combination_is_the_jackknife_of_the_combination(data):
    weights = (0.5, 0.5, -1.0)

    def combination(x, *ys):
        return sum(w * correlation(x, y) for w, y in zip(weights, ys, strict=True))

    direct = jackknife_interval(combination(*data), without_blocks(combination, *data))
    found = linear_combination(zip(weights, estimates(data), strict=True))
    assert found.value == pytest.approx(combination(*data), abs=1e-14)
    assert found.interval.low == pytest.approx(direct.low, abs=1e-12)
    assert found.interval.high == pytest.approx(direct.high, abs=1e-12)


def test_a_mean_over_cells_is_the_jackknife_of_the_mean(data):
    direct = without_blocks(lambda x, *ys: np.mean([correlation(x, y) for y in ys]), *data)
    found = mean_of(estimates(data)).interval
    assert found.se == pytest.approx(jackknife_standard_error(direct), rel=1e-12)


def test_a_standard_error_of_a_mean_is_at_most_the_mean_of_the_standard_errors(data):
    cells = estimates(data)
    mean = np.mean([cell.interval.se for cell in cells])
    assert mean_of(cells).interval.se <= mean


def test_a_cell_minus_itself_is_exactly_nothing(data):
    a = estimates(data)[0]
    assert (a - a).interval.se == 0.0


def test_random_deletion_has_its_own_scale():
    rng = np.random.default_rng(1)
    draws = rng.standard_normal((2, 40))
    deletion = {"scheme": "deletion", "n_samples": 100}
    a, b = estimate(0.2, draws[0], **deletion), estimate(0.5, draws[1], **deletion)
    expected = deletion_interval(-0.3, draws[0] - draws[1], deletion_draws(100))
    found = (a - b).interval
    assert found.se == pytest.approx(expected.se, rel=1e-12)
    assert found.low == pytest.approx(expected.low, abs=1e-5)
    assert found.method == "deleting 20 of 100 samples at random, 40 draws, joint"


def test_pairs_of_deletions_have_their_own_scale():
    draws = np.random.default_rng(1).standard_normal((2, 63))
    pairs = {"scheme": "pairs", "n_samples": 100}
    a, b = estimate(0.2, draws[0], **pairs), estimate(0.5, draws[1], **pairs)
    expected = paired_interval(-0.3, draws[0] - draws[1], 100)
    found = (a - b).interval
    assert found.se == pytest.approx(expected.se, rel=1e-12)
    assert found.high == pytest.approx(expected.high, abs=1e-5)
    assert found.method == f"{expected.method}, joint"
    with pytest.raises(ValueError, match="leave out other samples"):
        a - estimate(0.5, draws[1], scheme="deletion", n_samples=100)


def test_bootstrap_draws_are_paired():
    rng = np.random.default_rng(1)
    right = rng.random((2, 300)) < 0.7
    times = rng.multinomial(300, np.full(300, 1 / 300), size=2000)
    draws = times @ right.T / 300
    a, b = (estimate(right[i].mean(), draws[:, i], scheme="bootstrap") for i in (0, 1))
    found = (a - b).interval
    assert found.se == pytest.approx(np.std(draws[:, 0] - draws[:, 1], ddof=1), rel=1e-12)
    # The standard error of a mean of paired differences, which the bootstrap estimates.
    paired = right[0].astype(float) - right[1]
    assert found.se == pytest.approx(paired.std() / np.sqrt(300), rel=0.06)
    assert found.method == "bootstrap of samples, 2000 draws, joint"


def test_data_sets_are_independent(data):
    a, b, c = estimates(data)
    elsewhere = Estimate(b.value, {"other": b.parts[""]})
    found = a - elsewhere
    squares = a.interval.se**2 + b.interval.se**2
    assert found.interval.se == pytest.approx(np.sqrt(squares))
    assert "data sets independent" in found.interval.method
    # within each data set the replicates stay joint
    both = (a - c) + 0.5 * elsewhere
    squares = (a - c).interval.se ** 2 + 0.25 * b.interval.se**2
    assert both.interval.se == pytest.approx(np.sqrt(squares))


def test_degrees_of_freedom_of_equal_variances_add_up():
    replicates = np.random.default_rng(2).standard_normal(25)
    parts = {name: estimate(0, replicates).parts[""] for name in ("a", "b")}
    found = Estimate(0.0, parts).interval
    # Satterthwaite: (2v)² / (2 v²/24) = 48; the 97.5 % point of t(48) from a printed table.
    assert found.high == pytest.approx(2.0106 * found.se, rel=1e-4)
    assert found.method.endswith("t(48)")


def test_replicates_of_other_rows_or_another_number_are_refused(data):
    replicates = without_blocks(correlation, data[0], data[1])
    a = estimate(0.9, replicates, rows=(200, 25))
    for other in (
        estimate(0.9, replicates, rows=(190, 25)),
        estimate(0.9, replicates[:20], rows=(200, 25)),
        estimate(0.9, replicates, scheme="deletion", n_samples=25, rows=(200, 25)),
    ):
        with pytest.raises(ValueError, match="leave out other samples"):
            a - other


def test_what_has_no_replicates_has_no_interval(data):
    a = estimates(data)[0]
    missing = estimate(0.5, None)
    assert (a - missing).interval == Interval()
    assert (a - missing).value == a.value - 0.5
    undefined = estimate(0.5, np.full(25, np.nan))
    assert (a - undefined).interval == Interval()
    for scheme in ("deletion", "pairs"):
        for too_few in (np.empty(0), np.ones(63)):
            found = estimate(0.5, too_few, scheme=scheme, n_samples=4)
            assert found.interval == Interval()


def test_a_combination_of_nothing_is_refused():
    with pytest.raises(ValueError, match="one estimate at least"):
        linear_combination([])


def test_the_joint_error_of_a_difference_is_the_true_one_and_far_below_the_marginals():
    """Two means that share their texts: 400 repetitions, spread against mean standard error."""
    rng = np.random.default_rng(3)
    n = N_BLOCKS * 4
    differences, joint, marginal = [], [], []
    for _ in range(400):
        shared = rng.standard_normal(n)
        cells = []
        for _ in range(2):
            sums = (shared + 0.3 * rng.standard_normal(n)).reshape(N_BLOCKS, -1).sum(axis=1)
            cells.append(estimate(sums.sum() / n, (sums.sum() - sums) / (n - 4)))
        difference = cells[0] - cells[1]
        differences.append(difference.value)
        joint.append(difference.interval.se)
        marginal.append(np.hypot(cells[0].interval.se, cells[1].interval.se))
    spread = np.std(differences)
    assert np.mean(joint) == pytest.approx(spread, rel=0.1)
    assert np.mean(marginal) > 3 * spread

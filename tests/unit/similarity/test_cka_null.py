"""The null of CKA: whole samples of the candidate permuted on equally many rows of each."""

import numpy as np
import pytest
from scipy.stats import kstest

from hrsa.similarity import cka_layers, dimension_correlation, linear_cka
from hrsa.similarity.cka_null import cka_null
from hrsa.statistics.permutation import sample_permutations


def grouped(seed, *, n_samples=30, m=4, width=5, membership=1.0, shared=0.0):
    """Two models (n_samples × m × width) that share membership of samples, and a signal or none."""
    rng = np.random.default_rng(seed)
    rows = [
        membership * rng.standard_normal((n_samples, 1, width))
        + rng.standard_normal((n_samples, m, width))
        for _ in range(2)
    ]
    return rows[0], rows[1] + shared * rows[0]


def flat(rows):
    return rows.reshape(-1, rows.shape[2])


@pytest.mark.parametrize("m", [1, 4])
def test_each_value_is_that_of_the_permuted_rows(m):
    X, Y = grouped(0, m=m, shared=0.5)
    orders = sample_permutations(len(X), 6)
    null = cka_null(X, Y, orders)
    samples = np.repeat(np.arange(len(X)), m)
    for order, biased, debiased in zip(
        [np.arange(len(X)), *orders],
        [null.biased.observed, *null.biased.permuted],
        [null.sample_debiased.observed, *null.sample_debiased.permuted],
        strict=True,
    ):
        x, y = flat(X), flat(Y[order])
        expected = linear_cka(x, y, n_permutations=0).value
        assert biased == pytest.approx(expected, abs=1e-5)
        expected = linear_cka(x, y, debiased=True, samples=samples, n_permutations=0).value
        assert debiased == pytest.approx(expected, abs=1e-5)


def test_a_shared_signal_is_significant_and_membership_alone_is_not():
    samples = np.repeat(np.arange(30), 4)
    for shared, significant in ((1.0, True), (0.0, False)):
        X, Y = grouped(1, shared=shared)
        for metric in (
            lambda x, y: linear_cka(x, y, debiased=True, samples=samples),
            lambda x, y: linear_cka(x, y, samples=samples),
            lambda x, y: dimension_correlation(x, y, samples=samples),
        ):
            p = metric(flat(X), flat(Y)).p
            assert (p == pytest.approx(1 / 200)) if significant else p > 0.02


def test_no_permutations_no_p():
    X, Y = grouped(2)
    found = linear_cka(flat(X), flat(Y), n_permutations=0)
    assert found.p is None
    assert "no p: no permutations were asked for" in found.note


def test_layers_have_a_p_each_one_of_their_mean_and_one_of_their_maximum(two_models):
    table = cka_layers(*two_models).table
    debiased = table[table["variant"] == "sample_debiased"]
    matched = debiased[debiased["layer_reference"] == debiased["layer_candidate"]]
    assert (matched["p"] == 1 / 200).all()
    assert set(matched["statistic"]) == {"cka", "cka_max"}
    other = debiased[debiased["layer_reference"] != debiased["layer_candidate"]]
    assert other["p"].isna().all()
    assert other["note"].str.contains("for matched layers alone").all()


@pytest.mark.slow
@pytest.mark.parametrize("m", [1, 6])
def test_p_is_uniform_when_models_share_only_which_sample_a_row_is_in(m):
    samples = np.repeat(np.arange(24), m)
    found = {"cka": [], "biased": [], "correlation": []}
    for seed in range(150):
        X, Y = grouped(100 + seed, n_samples=24, m=m, width=4)
        x, y = flat(X), flat(Y)
        found["cka"].append(linear_cka(x, y, debiased=True, samples=samples, seed=seed).p)
        found["biased"].append(linear_cka(x, y, samples=samples, seed=seed).p)
        found["correlation"].append(dimension_correlation(x, y, samples=samples, seed=seed).p)
    for values in found.values():
        assert kstest(values, "uniform").pvalue > 0.01

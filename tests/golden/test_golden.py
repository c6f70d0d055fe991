"""Every metric gives the values that other software, or a second derivation, gives."""

import json
from pathlib import Path

import numpy as np
import pytest

from hrsa.similarity import dimension_correlation, knn_overlap, linear_cka, procrustes

CASES = json.loads((Path(__file__).parent / "golden.json").read_text())


def build(case):
    """Run the recipe of a case: NumPy statements, the first ones only short names."""
    names = {
        "default_rng": np.random.default_rng,
        "qr": np.linalg.qr,
        "repeat": np.repeat,
    }
    steps = [step.strip() for step in case["recipe"].split(";")]
    exec("\n".join(step for step in steps if " = numpy." not in step), names)
    return names["X"], names["Y"], names.get("samples")


def debiased(X, Y, samples):
    return linear_cka(X, Y, debiased=True, blocks=25 * np.arange(len(X)) // len(X))


def debiased_over_samples(X, Y, samples):
    return linear_cka(X, Y, debiased=True, samples=samples, blocks=10 * samples // 40)


VALUES = {
    "cka": lambda X, Y, s, k: linear_cka(X, Y).value,
    "cka_perm_mean": lambda X, Y, s, k: linear_cka(X, Y).chance,
    "cka_deb": lambda X, Y, s, k: linear_cka(X, Y, debiased=True).value,
    "cka_deb_jackknife_se": lambda X, Y, s, k: debiased(X, Y, s).se,
    "cka_deb_samples": lambda X, Y, s, k: linear_cka(X, Y, debiased=True, samples=s).value,
    "cka_deb_samples_jackknife_se": lambda X, Y, s, k: debiased_over_samples(X, Y, s).se,
    "proc_cos": lambda X, Y, s, k: procrustes(X, Y).value,
    "proc_euc": lambda X, Y, s, k: procrustes(X, Y).euclidean,
    "h_inv": lambda X, Y, s, k: procrustes(X, Y).h_inv,
    "knn": lambda X, Y, s, k: knn_overlap(X, Y, k=k, score="overlap").value,
    "knn_jac": lambda X, Y, s, k: knn_overlap(X, Y, k=k).value,
    "knn_perm_mean": lambda X, Y, s, k: knn_overlap(X, Y, k=k, score="overlap").chance,
    "correlation_mean": lambda X, Y, s, k: dimension_correlation(X, Y).value,
}


@pytest.mark.parametrize(
    ("name", "key"), [(name, key) for name, case in CASES.items() for key in case["values"]]
)
def test_metric_gives_the_golden_value(name, key):
    case = CASES[name]
    found = VALUES[key](*build(case), case["k"])
    assert found == pytest.approx(case["values"][key]["value"], abs=1e-9)

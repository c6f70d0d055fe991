"""How often the 95 % intervals cover the truth, of rows independent or grouped in samples.

Two models are y = strength · z W + noise and x = z + noise, where z, and each noise, is a Gaussian
that has a part common to the tokens of a sample when rows are grouped. The truth of CKA and of the
correlation is the population's and follows from the covariances. The k-NN overlap and H_inv hang on
n, so that their truth is their mean over the runs.

`python tests/simulation/interval_coverage.py 400` prints the table of docs/metrics.md.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hrsa.similarity import dimension_correlation, knn_overlap, linear_cka, procrustes

WIDTH = 8
STRENGTHS = {"strong": 1.5, "weak": 0.35, "none": 0.0}
GROUPINGS = ("independent", "grouped")
N_SAMPLES = {"independent": 240, "grouped": 80}
COMMON = 0.6  # share of the variance that tokens of one sample have in common, when grouped


@dataclass(frozen=True)
class Setting:
    """Whether rows are grouped, and how alike the models are."""

    grouping: str
    strength: str


SETTINGS = [Setting(grouping, strength) for grouping in GROUPINGS for strength in STRENGTHS]


def weights() -> np.ndarray:
    """W: neither a rotation nor diagonal, with a spread of singular values."""
    rng = np.random.default_rng(12345)
    return 0.6 * np.eye(WIDTH) + 0.3 * rng.standard_normal((WIDTH, WIDTH))


def draw(setting: Setting, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw X, Y (n × WIDTH) and the sample of each row."""
    n = N_SAMPLES[setting.grouping]
    sizes = np.ones(n, int) if setting.grouping == "independent" else rng.integers(3, 9, n)
    samples = np.repeat(np.arange(n), sizes)
    common = COMMON if setting.grouping == "grouped" else 0.0

    def gaussian() -> np.ndarray:
        shared = rng.standard_normal((n, WIDTH))[samples]
        own = rng.standard_normal((len(samples), WIDTH))
        return np.sqrt(common) * shared + np.sqrt(1 - common) * own

    z = gaussian()
    y = STRENGTHS[setting.strength] * z @ weights() + gaussian()
    return z + 0.5 * gaussian(), y, samples


def true_values(setting: Setting) -> dict[str, float]:
    """Values of the population: from Σ_xx = 1.25 I, Σ_xy = s W, Σ_yy = s² WᵀW + I."""
    s, w = STRENGTHS[setting.strength], weights()
    xx, xy, yy = 1.25 * np.eye(WIDTH), s * w, s**2 * w.T @ w + np.eye(WIDTH)
    cka = np.linalg.norm(xy) ** 2 / (np.linalg.norm(xx) * np.linalg.norm(yy))
    rho = np.diag(xy) / np.sqrt(np.diag(xx) * np.diag(yy))
    return {"CKA, sample-debiased": float(cka), "correlation": float(rho.mean())}


Estimate = tuple[float, float, float, float]


def estimates(x: np.ndarray, y: np.ndarray, samples: np.ndarray) -> dict[str, Estimate]:
    """Value, standard error and interval of each statistic."""

    def of(result: object, prefix: str = "") -> Estimate:
        names = ("se", "ci_low", "ci_high")
        value = getattr(result, prefix or "value")
        stem = f"{prefix}_" if prefix else ""
        return (value, *(getattr(result, stem + name) for name in names))

    options = {"samples": samples, "n_permutations": 0}
    return {
        "CKA, sample-debiased": of(linear_cka(x, y, debiased=True, **options)),
        "correlation": of(dimension_correlation(x, y, **options)),
        "k-NN overlap, k = 10": of(
            knn_overlap(x, y, k=10, score="overlap", exclude="sample", **options)
        ),
        "H_inv at this n": of(procrustes(x, y, **options), "h_inv"),
    }


def simulate(setting: Setting, runs: int) -> pd.DataFrame:
    """Run one setting; a row per statistic: truth, coverage, SE over the true one, runs."""
    found: dict[str, list[Estimate]] = {}
    for run in range(runs):
        rng = np.random.default_rng([run, SETTINGS.index(setting)])
        for name, estimate in estimates(*draw(setting, rng)).items():
            found.setdefault(name, []).append(estimate)
    known = true_values(setting)
    rows = []
    for name, all_runs in found.items():
        value, se, low, high = np.array(all_runs, dtype=float).T
        truth = known.get(name, float(value.mean()))
        rows.append(
            {
                "rows": setting.grouping,
                "similarity": setting.strength,
                "statistic": name,
                "truth": truth,
                "bias": float(value.mean() - truth),
                "coverage": float(np.mean((low <= truth) & (truth <= high))),
                "SE / true SE": float(se.mean() / value.std(ddof=1)),
                "runs": runs,
            }
        )
    return pd.DataFrame(rows)


def main(runs: int, report: Callable[[str], None] = print) -> None:
    """Print the table as Markdown."""
    table = pd.concat([simulate(setting, runs) for setting in SETTINGS], ignore_index=True)
    report("| " + " | ".join(table.columns) + " |")
    report("|" + "---|" * len(table.columns))
    for row in table.itertuples(index=False):
        cells = [f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row]
        report("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400)

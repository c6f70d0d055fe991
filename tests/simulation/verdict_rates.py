"""How often each kind of claim gets which verdict, when the truth is known.

A data set is the differences of n units (tasks or seeds), normal, of standard deviation 1; the
margin is 1. Truths: "same" (0), "different but negligible" (0.4), "at the margin" (1) and
"different" (2.5). The strong design has 60 units, the weak one 4. Claims whose margin is estimated
too (a multiple of the seed floor) get replicates with joint errors, as similarities do: of 25
blocks of samples, of pairs of deletions (k-NN overlap) or of the bootstrap (probe).

`python tests/simulation/verdict_rates.py` prints the rates.
"""

from collections.abc import Callable
from functools import cache, partial

import numpy as np
import pandas as pd

from hrsa.reporting.claim_estimates import combined
from hrsa.reporting.claim_kinds import (
    ABOVE,
    VERDICTS,
    Difference,
    Estimated,
    Verdict,
    conjunction,
    differ,
    direction,
    equivalence,
    within_margin,
)
from hrsa.statistics.paired_deletion import paired_deletions
from hrsa.statistics.power import difference_power, equivalence_power
from hrsa.statistics.replicates import Estimate, Scheme, estimate

DATA_SETS = 2000
SPREAD, MARGIN, SEED_SPREAD = 1.0, 1.0, 2.0
BLOCKS, SAMPLES, DRAWS = 25, 100, 400
TRUTHS = {
    "same": 0.0,
    "different but negligible": 0.4,
    "at the margin": MARGIN,
    "different": 2.5,
}
UNITS = {"strong": 60, "weak": 4}
LAYERS = 4


def estimates(design: str, truth: float, seed: int, n: int = DATA_SETS) -> list[Estimated]:
    """The mean over units of each data set, with its standard error."""
    units = UNITS[design]
    data = np.random.default_rng([seed, units]).normal(truth, SPREAD, (n, units))
    errors = data.std(axis=1, ddof=1) / np.sqrt(units)
    return [
        Estimated(float(mean), float(se), units - 1)
        for mean, se in zip(data.mean(axis=1), errors, strict=True)
    ]


def _equivalence(design: str, truth: float) -> list[Verdict]:
    return [equivalence(one, MARGIN) for one in estimates(design, truth, 1)]


def _direction(design: str, truth: float) -> list[Verdict]:
    return [direction(one, ABOVE) for one in estimates(design, truth, 2)]


def _within_margin(design: str, truth: float) -> list[Verdict]:
    return [within_margin(one, MARGIN) for one in estimates(design, truth, 3)]


def _within_seed_spread(scheme: Scheme, design: str, truth: float) -> list[Verdict]:
    """The margin is 2 × the floor's distance, measured on the same texts as the pair's."""
    weights = _weights(scheme)
    n = weights.shape[1]
    spread = {"strong": 0.5, "weak": 8.0}[design] * np.sqrt(n / BLOCKS)
    floor, rng = MARGIN / SEED_SPREAD, np.random.default_rng([4, len(design)])
    shared = rng.normal(0, spread, (DATA_SETS, n))
    own = floor + truth + shared + rng.normal(0, spread, (DATA_SETS, n))
    seeds = floor + 0.5 * shared + rng.normal(0, 0.5 * spread, (DATA_SETS, n))
    both = [zip(data.mean(axis=1), data @ weights.T, strict=True) for data in (own, seeds)]
    return [
        _judged(*(estimate(*one, scheme=scheme, n_samples=n) for one in found))
        for found in zip(*both, strict=True)
    ]


@cache
def _weights(scheme: Scheme) -> np.ndarray:
    """What a sample (a block) weighs in the mean of each replicate, (n_replicates, n_samples)."""
    if scheme == "blocks":
        kept = 1.0 - np.eye(BLOCKS)
    elif scheme == "pairs":
        kept = 1.0 - paired_deletions(SAMPLES)
    else:
        rng = np.random.default_rng(8)
        kept = rng.multinomial(SAMPLES, np.full(SAMPLES, 1 / SAMPLES), DRAWS).astype(float)
    return kept / kept.sum(axis=1, keepdims=True)


def _judged(d_pair: Estimate, d_floor: Estimate) -> Verdict:
    effect = combined([(1.0, d_pair), (-1.0, d_floor)])
    excess = combined([(1.0, d_pair), (-1.0 - SEED_SPREAD, d_floor)])
    margin = max(SEED_SPREAD * d_floor.value, 1e-9)
    return within_margin(effect, margin, excess=excess)


def _conjunction(design: str, truth: float) -> list[Verdict]:
    """Global geometry within the margin and local geometry changed, as one claim."""
    changed = estimates(design, 2.5, 6)
    return [
        conjunction({"cka": within_margin(a, MARGIN), "knn": direction(b, ABOVE)})
        for a, b in zip(estimates(design, truth, 5), changed, strict=True)
    ]


def _differ(design: str, truth: float) -> list[Verdict]:
    """Of four layers one differs from the others by the truth."""
    units = UNITS[design]
    data = np.random.default_rng([7, units]).normal(0, SPREAD, (DATA_SETS, LAYERS, units))
    data[:, 0] += truth
    found = []
    for layers in data:
        pairs = {
            f"{a} − {b}": layers[a] - layers[b] for a in range(LAYERS) for b in range(a + 1, LAYERS)
        }
        judged = differ(
            {
                name: Estimated(row.mean(), row.std(ddof=1) / np.sqrt(units), units - 1)
                for name, row in pairs.items()
            }
        )
        found.append(judged.verdict if isinstance(judged, Difference) else judged)
    return found


KINDS: dict[str, Callable[[str, float], list[Verdict]]] = {
    "equivalence": _equivalence,
    "direction": _direction,
    "within margin": _within_margin,
    "within seed spread": partial(_within_seed_spread, "blocks"),
    "within seed spread, pairs of deletions": partial(_within_seed_spread, "pairs"),
    "within seed spread, bootstrap": partial(_within_seed_spread, "bootstrap"),
    "conjunction": _conjunction,
    "differ": _differ,
}


@cache
def rates(kind: str, design: str, truth: str) -> dict[str, float]:
    """Share of the data sets that get each verdict."""
    found = [one.verdict for one in KINDS[kind](design, TRUTHS[truth])]
    return {verdict: found.count(verdict) / len(found) for verdict in VERDICTS}


def power(kind: str, design: str, truth: str) -> float:
    """Computed probability that the right verdict is reached, of the tests over units."""
    n, difference = UNITS[design], TRUTHS[truth]
    if kind == "direction":
        return difference_power(n, SPREAD, difference)
    return equivalence_power(n, SPREAD, MARGIN, difference=difference)


def summary() -> pd.DataFrame:
    """The rates of all kinds, designs and truths."""
    keys = [(kind, design, truth) for kind in KINDS for design in UNITS for truth in TRUTHS]
    index = pd.MultiIndex.from_tuples(keys, names=["kind", "design", "truth"])
    return pd.DataFrame([rates(*key) for key in keys], index=index)


if __name__ == "__main__":
    print(summary().to_string())

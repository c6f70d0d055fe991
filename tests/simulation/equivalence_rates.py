"""How often the test over tasks says what, when the truth is known.

Two models are compared on tasks of 5000 items each. An item's score is 0 or 100 points; one in ten
differs between the models, in either direction, as often as the task's true difference asks for
(standard deviation between items about 32 points). The true differences of the tasks are normal
about the mean, with a small or a large spread, and the margin is 1 point.

`python tests/simulation/equivalence_rates.py` prints the table of docs/power.md.
"""

import math
import sys
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hrsa.statistics.equivalence import (
    BOTH,
    DIFFERENT,
    EQUIVALENT,
    INCONCLUSIVE,
    VERDICTS,
    paired_equivalence,
)
from hrsa.statistics.power import equivalence_power

MARGIN = 1.0
ITEMS, SHARE_DIFFERING, POINTS = 5000, 0.1, 100.0
ITEM_SPREAD = POINTS * math.sqrt(SHARE_DIFFERING)
TASKS = (4, 7, 12, 30)
TASK_SPREADS = {"small": 0.2, "large": 1.5}
TRUTHS = {"same": 0.0, "different but negligible": 0.5, "at the margin": 1.0, "different": 2.0}
DATA_SETS = 4000


@dataclass(frozen=True)
class Setting:
    """Number of tasks, and how unlike they are."""

    tasks: int
    spread: str

    @property
    def unit_spread(self) -> float:
        """Standard deviation of a task's mean difference: between tasks, and of its items."""
        return math.hypot(TASK_SPREADS[self.spread], ITEM_SPREAD / math.sqrt(ITEMS))

    @property
    def power(self) -> float:
        """Computed probability of calling a true difference of zero equivalent."""
        return equivalence_power(self.tasks, self.unit_spread, MARGIN)


SETTINGS = [Setting(tasks, spread) for spread in TASK_SPREADS for tasks in TASKS]


def task_differences(
    setting: Setting, truth: float, rng: np.random.Generator, n: int
) -> np.ndarray:
    """Mean difference over the items of each task, in points, shape (n data sets, tasks)."""
    true_means = rng.normal(truth, TASK_SPREADS[setting.spread], (n, setting.tasks))
    surplus = true_means / POINTS
    chances = [(SHARE_DIFFERING + surplus) / 2, (SHARE_DIFFERING - surplus) / 2]
    equal = np.full_like(surplus, 1 - SHARE_DIFFERING)
    better, worse, _ = np.moveaxis(rng.multinomial(ITEMS, np.stack([*chances, equal], -1)), -1, 0)
    return POINTS * (better - worse) / ITEMS


def verdict_rates(setting: Setting, truth: str, n: int = DATA_SETS) -> dict[str, float]:
    """Share of ``n`` data sets that get each verdict."""
    rng = np.random.default_rng([SETTINGS.index(setting), list(TRUTHS).index(truth)])
    data_sets = task_differences(setting, TRUTHS[truth], rng, n)
    found = [paired_equivalence(row, margin=MARGIN).verdict for row in data_sets]
    return {verdict: found.count(verdict) / n for verdict in VERDICTS}


def simulate(n: int = DATA_SETS) -> pd.DataFrame:
    """Rates of each verdict: a row per setting and truth."""
    keys = [(setting, truth) for setting in SETTINGS for truth in TRUTHS]
    rates = [verdict_rates(setting, truth, n) for setting, truth in keys]
    index = pd.MultiIndex.from_tuples(keys, names=["setting", "truth"])
    return pd.DataFrame(rates, index=index)


def called(rates: pd.DataFrame, verdict: str, truth: str) -> pd.Series:
    """Rate, by setting, of a verdict alone or together with the other one."""
    at_truth = rates.xs(truth, level="truth")
    return at_truth[[name for name in VERDICTS if verdict in name]].sum(axis=1)


def summary(rates: pd.DataFrame) -> pd.DataFrame:
    """The rates that matter, a row per setting."""
    wanted = [
        ("same", EQUIVALENT),
        ("same", DIFFERENT),
        ("same", INCONCLUSIVE),
        ("at the margin", EQUIVALENT),
        ("different but negligible", BOTH),
        ("different", EQUIVALENT),
        ("different", DIFFERENT),
    ]
    columns = {f"{truth}: {verdict}": called(rates, verdict, truth) for truth, verdict in wanted}
    known = {
        "tasks": [setting.tasks for setting in SETTINGS],
        "spread between tasks": [setting.spread for setting in SETTINGS],
        "power": [setting.power for setting in SETTINGS],
    }
    return pd.DataFrame(columns).reindex(SETTINGS).assign(**known)[[*known, *columns]]


def markdown(table: pd.DataFrame) -> list[str]:
    """Lines of the table."""
    rows = [
        [f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row]
        for row in table.itertuples(index=False)
    ]
    lines = ["| " + " | ".join(cells) + " |" for cells in [table.columns, *rows]]
    return [lines[0], "|" + "---|" * len(table.columns), *lines[1:]]


if __name__ == "__main__":
    n_data_sets = int(sys.argv[1]) if len(sys.argv) > 1 else DATA_SETS
    print("\n".join(markdown(summary(simulate(n_data_sets)))))

"""The floor of a similarity: what two runs of one recipe that differ only in a seed still share."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

SEED_KIND = "seed"
# What a row and its floor have in common.
CELL = (
    "stage",
    "dataset",
    "metric",
    "statistic",
    "view",
    "variant",
    "k",
    "layer_reference",
    "layer_candidate",
)


@dataclass(frozen=True, eq=False)
class Floors:
    """The floor of each row of a table.

    Attributes
    ----------
    values : numpy.ndarray, shape (n_rows,)
        NaN where there is none.
    n_pairs : numpy.ndarray of int, shape (n_rows,)
        Seed pairs that it is the mean of.
    """

    values: np.ndarray
    n_pairs: np.ndarray


def seed_floors(table: pd.DataFrame) -> Floors:
    """Give each row the mean similarity of the seed pairs at its stage.

    With d = 1 − value, 1 minus the mean of the seed pairs' d is the mean of their values: of the
    same data set, metric, statistic, view, variant, k and layers, at the end of training, each
    pair's mean over its seeds counting once. A row that is of a seed pair itself gets the mean of
    the other seed pairs.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of the similarity table: columns pair, kind, seed, step, value, and CELL.

    Returns
    -------
    Floors
    """
    is_seed = (table["kind"].astype("object") == SEED_KIND).to_numpy(dtype=bool)
    value = pd.to_numeric(table["value"]).astype("Float64").to_numpy("float64", na_value=np.nan)
    cell, pair = _cells(table), table["pair"].astype("object").to_numpy()
    counts = is_seed & table["step"].isna().to_numpy() & np.isfinite(value)
    if not counts.any():
        return Floors(np.full(len(table), np.nan), np.zeros(len(table), dtype=np.int64))
    # Sorted, so that sums do not depend on the order of the rows.
    seeds = pd.DataFrame({"cell": cell, "pair": pair, "value": value})[counts]
    means = seeds.sort_values(["cell", "pair", "value"]).groupby(["cell", "pair"])["value"].mean()
    by_pair = means.unstack()
    of_cell = np.full((cell.max() + 1, by_pair.shape[1]), np.nan)
    of_cell[by_pair.index.to_numpy()] = by_pair.to_numpy()
    own = is_seed[:, None] & (pair[:, None] == by_pair.columns.to_numpy()[None, :])
    found = np.where(own, np.nan, of_cell[cell])
    known = np.isfinite(found)
    n_pairs = known.sum(axis=1)
    total = np.where(known, found, 0.0).sum(axis=1)
    values = np.divide(total, n_pairs, out=np.full(len(table), np.nan), where=n_pairs > 0)
    return Floors(values, n_pairs)


def _cells(table: pd.DataFrame) -> np.ndarray:
    """Number the cells that rows belong to; what is missing equals what is missing."""
    keys = pd.DataFrame(
        {
            name: table[name].astype("object").where(table[name].notna().to_numpy(), "")
            for name in CELL
        }
    )
    return keys.groupby(list(CELL), sort=False).ngroup().to_numpy()

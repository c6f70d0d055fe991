"""Columns of the similarity table that a row cannot have alone: its floor, and Holm's p."""

from typing import Any

import numpy as np
import pandas as pd

from hrsa.figures.frames import final_layer, mean_layer
from hrsa.statistics.floors import seed_floors
from hrsa.statistics.multiplicity import holm

ONE_SEED_PAIR = "floor: of one seed pair"
NO_SEED_PAIR = "floor: none, no seed pair has this value"
NO_OTHER_SEED_PAIR = "floor: none, no other seed pair has this value"
_FAMILY = ("stage", "metric", "statistic", "view", "variant", "k")


def with_floors(similarity: pd.DataFrame) -> pd.DataFrame:
    """Fill the column `floor`, and say in `note` where it rests on one seed pair or on none.

    Parameters
    ----------
    similarity : DataFrame
        The similarity table of all pairs.

    Returns
    -------
    DataFrame
        See `hrsa.statistics.floors.seed_floors`. Rows with a step get the floor at the end of
        training.
    """
    floors = seed_floors(similarity)
    of_seeds = (similarity["kind"].astype("object") == "seed").to_numpy(dtype=bool)
    remarks = np.where(
        floors.n_pairs > 1,
        "",
        np.where(
            floors.n_pairs == 1,
            ONE_SEED_PAIR,
            np.where(of_seeds, NO_OTHER_SEED_PAIR, NO_SEED_PAIR),
        ),
    )
    notes = similarity["note"].astype("object").where(similarity["note"].notna(), "")
    joined = [
        "; ".join(part for part in parts if part) for parts in zip(notes, remarks, strict=True)
    ]
    note = pd.Series(joined, index=similarity.index, dtype="str")
    return similarity.assign(floor=floors.values, note=note)


def with_holm(similarity: pd.DataFrame) -> pd.DataFrame:
    """Adjust p-values for the number of comparisons that one question is asked of.

    A family is everything tested of one stage, metric, statistic, variant and k in the raw view:
    all pairs, seeds and data sets, at the final layer and as the mean over layers. Checkpoints,
    other layers and other views describe, and are in no family.

    Parameters
    ----------
    similarity : DataFrame
        The similarity table of all pairs.

    Returns
    -------
    DataFrame
        With `holm_family` (its name and number of tests) and `p_holm`.
    """
    final = similarity[similarity["step"].isna()]
    ends = final_layer(final[final["layer_reference"] >= 0]).index
    headline = ends.union(mean_layer(final).index)
    tested = similarity.loc[headline]
    tested = tested[tested["p"].notna() & (tested["view"].astype("object") == "raw")]
    family = pd.Series([None] * len(similarity), index=similarity.index, dtype="object")
    adjusted = pd.Series(np.nan, index=similarity.index)
    for key, rows in tested.groupby(list(_FAMILY), dropna=False, sort=True):
        name = _family_name(dict(zip(_FAMILY, key, strict=True)))
        family[rows.index] = f"{name}: {len(rows)} test{'s' * (len(rows) > 1)}"
        adjusted[rows.index] = holm(rows["p"].to_numpy("float64"))
    return similarity.assign(holm_family=family.astype("str"), p_holm=adjusted)


def _family_name(key: dict[str, Any]) -> str:
    """Write what a family has in common: `backbone, knn, jaccard, raw, self, k = 5`."""
    named = {name: part for name, part in key.items() if pd.notna(part) and part != ""}
    return ", ".join(f"k = {part}" if name == "k" else str(part) for name, part in named.items())

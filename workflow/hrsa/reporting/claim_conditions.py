"""What a verdict hangs on, in words: runs, seeds, floors, doses, margins, data sets."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hrsa.reporting.claim_contrasts import mean_chance
from hrsa.reporting.claim_estimates import ComparedModels
from hrsa.reporting.claim_kinds import INCONCLUSIVE, SUPPORTED, Verdict, signed
from hrsa.reporting.doses import RLVR, SFT, Doses, dose_text, matching
from hrsa.reporting.effects import GIVEN_PROBES

OVER_TEXTS = "the interval is over texts, these models held fixed"
OPPOSED = ", of opposite signs"
HANGS = ": the verdict hangs on which seed pairs are the floor"
READ_AT_ONE_DOSE = "both read at one dose"
_MINUS = "\N{MINUS SIGN}"
_MOST_NAMED = 6  # comparisons that are listed by name


@dataclass(frozen=True)
class Reach:
    """How far a margin of so many distances of the seed floor reaches.

    Attributes
    ----------
    margin, floor : float
        The margin; the similarity of the seed pairs.
    chance : float or None
    """

    margin: float
    floor: float
    chance: float | None

    @property
    def least_similarity(self) -> float:
        """Where the margin ends: 1 − d(floor) − margin."""
        return self.floor - self.margin

    @property
    def is_below_chance(self) -> bool:
        """Whether models that are alike by chance only would still lie within the margin."""
        return self.chance is not None and self.least_similarity <= self.chance

    def judge(self, verdict: Verdict) -> Verdict:
        """Take back "supported" where hardly anything could have exceeded the margin."""
        if verdict.verdict == SUPPORTED and self.is_below_chance:
            return Verdict(INCONCLUSIVE, verdict.reason, verdict.p_tost)
        return verdict

    def __str__(self) -> str:
        text = f"the margin lets the similarity fall to {self.least_similarity:.3f}"
        if self.is_below_chance:
            text += ", no higher than chance, so that hardly anything could exceed it"
        known = "" if self.chance is None else f" (chance {self.chance:.3f})"
        return f"{text}{known}".replace("-", _MINUS)


def conditions(
    compared: Sequence[ComparedModels],
    doses: Doses,
    metric: str,
    *,
    seeds: Sequence[ComparedModels] = (),
    dose: str | None = None,
) -> dict[str, Any]:
    """Columns of the table of claims that say what the number was made of.

    Parameters
    ----------
    compared : sequence of ComparedModels
        What the number is made of; at least one.
    doses : Doses
    metric : str
    seeds : sequence of ComparedModels
        The seed pairs that are its floor.
    dose : str, optional
        What the doses are, where both kinds are read at one; else those at the end of training.
    """
    pairs = sorted({one.pair for one in compared})
    n_seeds = min(len(_runs(one for one in compared if one.pair == pair)) for pair in pairs)
    by_kind = {
        kind: doses.mean(one.candidate for one in compared if one.kind == kind)
        for kind in (SFT, RLVR)
        if any(one.kind == kind for one in compared)
    }
    runs = _runs(compared)
    texts = [
        f"runs {_named(runs)} ({n_seeds} training seed{'' if n_seeds == 1 else 's'})",
        _origins([candidate for _, candidate in runs], doses),
        f"floor: {_named(_runs(seeds))}" if seeds else "",
        f"data sets {', '.join(sorted({one.dataset for one in compared}))}",
        OVER_TEXTS,
        GIVEN_PROBES if metric == "probe" else "",
        READ_AT_ONE_DOSE if dose else matching(by_kind),
    ]
    return {
        "pairs": ", ".join(pairs),
        "chance": mean_chance(compared),
        "conditional_on": "; ".join(filter(None, texts)),
        "n_seeds": n_seeds,
        "n_pairs": len(pairs),
        "dose": dose or dose_text(by_kind),
    }


def score_conditions(
    row: Mapping[str, Any], similarity: pd.DataFrame, doses: Doses, *, kind: str
) -> dict[str, Any]:
    """Columns of a row on scores that say which runs its pairs are, as far as that is known.

    Parameters
    ----------
    row : mapping
        Of `hrsa.reporting.claim_scores.score_rows`.
    similarity : DataFrame
        The similarity table, which names the runs; may be empty.
    doses : Doses
    kind : str
        Of the pairs.
    """
    if similarity.empty or not row.get("pairs"):
        return {}
    own = similarity["pair"].isin(str(row["pairs"]).split(", ")) & similarity["step"].isna()
    found = similarity.loc[own, ["reference", "candidate"]].drop_duplicates().sort_values
    runs = [(str(a), str(b)) for a, b in found(["reference", "candidate"]).to_numpy()]
    if not runs:
        return {}
    candidates = [candidate for _, candidate in runs]
    texts = [row.get("conditional_on"), f"runs {_named(runs)}", _origins(candidates, doses)]
    return {
        "conditional_on": "; ".join(filter(None, texts)),
        "dose": dose_text({kind: doses.mean(candidates)}),
    }


def by_dataset(numbers: Mapping[str, float]) -> str:
    """Name the number of each data set where there are several."""
    if len(numbers) < 2:
        return ""
    texts = [f"{name} {signed(value)}" for name, value in numbers.items()]
    sides = {np.sign(value) for value in numbers.values()}
    opposed = OPPOSED if {1.0, -1.0} <= sides else ""
    return f"mean of {' and '.join(texts)}{opposed}"


def hanging_on_floor(by_floor: Mapping[str, tuple[float, Verdict]]) -> str:
    """Say what comes out with each seed pair alone as the floor, where there are several.

    Parameters
    ----------
    by_floor : mapping of seed pair to (effect, Verdict)
    """
    if len(by_floor) < 2:
        return ""
    each = ", ".join(
        f"{pair} {signed(value)} {verdict.verdict}" for pair, (value, verdict) in by_floor.items()
    )
    verdicts = {verdict.verdict for _, verdict in by_floor.values()}
    hangs = HANGS if len(verdicts) > 1 else ""
    return f"with one seed pair alone as the floor {each}{hangs}"


def _runs(compared: Iterable[ComparedModels]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((one.reference, one.candidate) for one in compared))


def _named(runs: Sequence[tuple[str, str]]) -> str:
    named = ", ".join(f"{reference} ~ {candidate}" for reference, candidate in runs[:_MOST_NAMED])
    return named + (f" and {len(runs) - _MOST_NAMED} more" if len(runs) > _MOST_NAMED else "")


def _origins(candidates: Sequence[str], doses: Doses) -> str:
    """Say from which runs several models were trained: their seeds vary the last training alone."""
    known = [doses.parents[name] for name in candidates if name in doses.parents]
    if len(known) == len(set(known)):
        return ""
    counts = [f"{name} ({known.count(name)})" for name in dict.fromkeys(known)]
    return f"seeds vary the last training alone, from {', '.join(counts)}"

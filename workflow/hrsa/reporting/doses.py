"""How far reasoning training moved models, in weights and in what they say."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from hrsa.figures.frames import prepare

SFT, RLVR = "sft", "rlvr"
DOSE_MATCHED, DOSE_NOT_MATCHED = "dose matched", "dose not matched"
DOSE_UNKNOWN = "whether the doses match is not known"
MATCHINGS = (DOSE_MATCHED, DOSE_NOT_MATCHED, DOSE_UNKNOWN)
UNKNOWN = "unknown"
MATCHED_WITHIN = 1.5  # factor between two divergences that still count as one dose
LABELS = {SFT: "SFT", RLVR: "RLVR"}


@dataclass(frozen=True)
class Dose:
    """What training did to a model, or the mean over several.

    Attributes
    ----------
    weights : float
        ‖Δθ‖/‖θ‖; NaN where not known.
    kl : float
        Divergence from the parent, nats per token; NaN where not known.
    """

    weights: float
    kl: float

    def __str__(self) -> str:
        known = [
            f"{name} {value:.3g}"
            for name, value in (("weights", self.weights), ("KL", self.kl))
            if np.isfinite(value)
        ]
        return ", ".join(known) or UNKNOWN


@dataclass(frozen=True, eq=False)
class Doses:
    """The doses of a study's instances, and which instance was made from which.

    Attributes
    ----------
    own : mapping of instance to Dose
        At the end of training.
    parents : mapping of instance to instance
    checkpoints : mapping of (instance, step) to Dose
    """

    own: Mapping[str, Dose]
    parents: Mapping[str, str]
    checkpoints: Mapping[tuple[str, int], Dose] = field(default_factory=dict)

    def at(self, instance: str, step: int | None) -> Dose:
        """The instance's own dose at a step, or at its end (None)."""
        unknown = Dose(float("nan"), float("nan"))
        if step is None:
            return self.own.get(instance, unknown)
        return self.checkpoints.get((instance, step), unknown)

    def of(self, instance: str) -> tuple[str, Dose]:
        """The dose of the language model behind an instance: its own, else that of its parent.

        Returns
        -------
        tuple of str and Dose
            The instance whose divergence is known; else the instance itself.
        """
        one = instance
        while one in self.own:
            if np.isfinite(self.own[one].kl):
                return one, self.own[one]
            if one not in self.parents:
                break
            one = self.parents[one]
        return instance, Dose(float("nan"), float("nan"))

    def mean(self, instances: Iterable[str]) -> Dose:
        """Mean dose of the language models behind instances, each once."""
        behind = dict(self.of(one) for one in instances)
        known = [dose for dose in behind.values() if np.isfinite(dose.kl)]
        if not known:
            return Dose(float("nan"), float("nan"))
        return Dose(
            float(np.mean([dose.weights for dose in known])),
            float(np.mean([dose.kl for dose in known])),
        )


def doses(table: pd.DataFrame) -> Doses:
    """Read the table of doses.

    Parameters
    ----------
    table : DataFrame
        Columns model, seed, step, parent, relative_weight_change, kl_to_parent; may be empty.
    """
    numbers = ["relative_weight_change", "kl_to_parent"]
    columns = ["model", "seed", "step", "parent", *numbers]
    frame = prepare(table, columns, "the table of doses")
    own, parents, checkpoints = {}, {}, {}
    for row in frame.to_dict("records"):
        seed = row["seed"]
        instance = str(row["model"]) if pd.isna(seed) else f"{row['model']}.s{int(seed)}"
        weights, kl = (float(pd.to_numeric(row[name], errors="coerce")) for name in numbers)
        if pd.notna(row["step"]):
            checkpoints[instance, int(row["step"])] = Dose(weights, kl)
            continue
        own[instance] = Dose(weights, kl)
        if row["parent"]:
            parents[instance] = str(row["parent"])
    return Doses(own, parents, checkpoints)


def dose_text(by_kind: Mapping[str, Dose]) -> str:
    """Say the doses of SFT and RLVR and, of both, whether they are matched.

    Parameters
    ----------
    by_kind : mapping of {"sft", "rlvr"} to Dose
    """
    text = "; ".join(f"{LABELS[kind]}: {dose}" for kind, dose in by_kind.items())
    return "; ".join(filter(None, [text, matching(by_kind)]))


def matching(by_kind: Mapping[str, Dose]) -> str:
    """Say whether SFT and RLVR have like doses; empty where there are not both.

    Matched: the divergences differ by a factor of 1.5 at most. Where one is not known, nothing can
    be said.
    """
    if set(by_kind) != {SFT, RLVR}:
        return ""
    low, high = sorted(by_kind[kind].kl for kind in (SFT, RLVR))
    if not np.isfinite([low, high]).all():
        return DOSE_UNKNOWN
    return DOSE_MATCHED if high <= MATCHED_WITHIN * low else DOSE_NOT_MATCHED

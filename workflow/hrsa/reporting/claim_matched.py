"""SFT against RLVR at one dose: read where their checkpoints diverge as far from the parent."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from hrsa.reporting.claim_contrasts import (
    Contrast,
    Missing,
    at_end,
    both_kinds,
    difference,
    with_floor,
)
from hrsa.reporting.claim_estimates import ComparedModels
from hrsa.reporting.claim_kinds import INCONCLUSIVE, Estimated, Verdict, direction, signed
from hrsa.reporting.doses import LABELS, RLVR, SFT, Doses
from hrsa.statistics.floors import SEED_KIND
from hrsa.statistics.replicates import estimate, linear_combination


@dataclass(frozen=True, eq=False)
class Bracket:
    """Two comparisons of the same models, just below a dose and just above it.

    Attributes
    ----------
    below, above : ComparedModels
        At the checkpoint (or the end) before and after the dose is reached.
    kl : tuple of float
        Divergence of the candidate at both, nats per token.
    weights : tuple of float
        Relative change of its weights at both.
    share : float
        Weight of `above` in the interpolation, which is linear in the logarithm of the divergence.
    """

    below: ComparedModels
    above: ComparedModels
    kl: tuple[float, float]
    weights: tuple[float, float]
    share: float

    @property
    def between(self) -> ComparedModels:
        """The comparison at the dose, interpolated."""
        terms = [(1 - self.share, self.below.value), (self.share, self.above.value)]
        try:
            value = linear_combination(terms)
        except ValueError:  # compared on other rows, and so not joint
            number = sum(weight * one.value for weight, one in terms)
            value = estimate(number, None, dataset=self.above.dataset)
        return replace(self.above, value=value)


@dataclass(frozen=True, eq=False)
class MatchedChange:
    """Distance of the SFT pairs minus that of the RLVR pairs, at one divergence from the parent.

    Attributes
    ----------
    contrast : Contrast
        With the side that moved farther interpolated between its checkpoints.
    ends : tuple of Estimated
        The same number with that side at the checkpoints below and above.
    dose : str
        What the two doses are, in words.
    """

    contrast: Contrast
    ends: tuple[Estimated, Estimated]
    dose: str

    def judge(self, side: str) -> Verdict:
        """Judge the direction; where it hangs on the interpolation, it is inconclusive.

        That a distance grows with the dose is taken for granted between two neighbouring
        checkpoints, how it grows is not: the verdict is the one that holds at both.
        """
        verdict = direction(self.contrast.estimate, side)
        at_ends = {direction(end, side).verdict for end in self.ends}
        shown = " and ".join(signed(end.value) for end in self.ends)
        text = f"{verdict.reason}, interpolated; {shown} at the checkpoints below and above"
        if at_ends == {verdict.verdict}:
            return Verdict(verdict.verdict, text)
        return Verdict(INCONCLUSIVE, f"{text}, so that the verdict hangs on what lies between them")


def matched_change(
    compared: Sequence[ComparedModels], *, stage: str, doses: Doses
) -> MatchedChange:
    """`hrsa.reporting.claim_contrasts.change`, read at a like dose.

    The dose is the mean divergence at the end of the kind that diverged less. Each pair of the
    other kind is read where its own divergence reaches that, between two of its checkpoints.

    Parameters
    ----------
    compared : sequence of ComparedModels
        At the end of training and at checkpoints.
    stage : str
    doses : Doses

    Raises
    ------
    Missing
        Without pairs of both kinds; where a divergence is not known; or where the dose is not
        between two checkpoints of a model.
    """
    ends = dict(zip((SFT, RLVR), both_kinds(compared, stage), strict=True))
    reached = {kind: _mean_kl(found, doses) for kind, found in ends.items()}
    still, moved = sorted((SFT, RLVR), key=reached.__getitem__)
    followed = [one for one in ends[moved] if _checkpoints(one, compared)]
    if not followed:
        raise Missing(
            f"no checkpoint of the {LABELS[moved]} pairs at the {stage} stage is compared, and "
            f"they diverge farther (KL {reached[moved]:.3g}) than the {LABELS[still]} pairs "
            f"({reached[still]:.3g})"
        )
    brackets = [_bracket(one, compared, doses, reached[still]) for one in followed]

    def contrast(members: list[ComparedModels]) -> Contrast:
        sides = {still: ends[still], moved: members}
        return difference(sides[RLVR], sides[SFT], stage, [*sides[SFT], *sides[RLVR]])

    below, between, above = (
        contrast([getattr(bracket, name) for bracket in brackets])
        for name in ("below", "between", "above")
    )
    return MatchedChange(
        contrast=with_floor(between, at_end(compared, SEED_KIND, stage)),
        ends=(below.estimate, above.estimate),
        dose=_dose(still, moved, reached[still], brackets, ends[still], doses),
    )


def _mean_kl(members: Sequence[ComparedModels], doses: Doses) -> float:
    names = list(dict.fromkeys(one.candidate for one in members))
    unknown = [name for name in names if not np.isfinite(doses.at(name, None).kl)]
    if unknown:
        raise Missing(f"the divergence of {', '.join(unknown)} from its parent is not known")
    return float(np.mean([doses.at(name, None).kl for name in names]))


def _bracket(
    end: ComparedModels, compared: Sequence[ComparedModels], doses: Doses, target: float
) -> Bracket:
    """Where the candidate of a comparison first diverges as far as the target."""
    points = [*_checkpoints(end, compared), end]
    known = [(doses.at(one.candidate, one.step), one) for one in points]
    usable = [(dose, one) for dose, one in known if np.isfinite(dose.kl) and dose.kl > 0]
    for (dose, one), (next_dose, next_one) in pairwise(usable):
        if dose.kl <= target <= next_dose.kl:
            share = _share(dose.kl, next_dose.kl, target)
            kl, weights = (dose.kl, next_dose.kl), (dose.weights, next_dose.weights)
            return Bracket(one, next_one, kl, weights, share)
    steps = ", ".join(f"step {one.step}: {dose.kl:.3g}" for dose, one in usable if one.step)
    raise Missing(
        f"{end.candidate} diverges by {target:.3g} nats per token, the dose of the other kind, "
        f"between no two checkpoints that are compared ({steps or 'there are none'})"
    )


def _checkpoints(end: ComparedModels, compared: Sequence[ComparedModels]) -> list[ComparedModels]:
    """Comparisons of the same models at checkpoints, by step."""
    found = [one for one in compared if _same_models(one, end) and one.step is not None]
    return sorted(found, key=lambda one: one.step or 0)


def _share(low: float, high: float, target: float) -> float:
    return math.log(target / low) / math.log(high / low) if high > low else 1.0


def _same_models(one: ComparedModels, other: ComparedModels) -> bool:
    names = ("pair", "kind", "stage", "reference", "candidate", "dataset")
    return all(getattr(one, name) == getattr(other, name) for name in names)


def _dose(
    still: str,
    moved: str,
    target: float,
    brackets: Sequence[Bracket],
    at_its_end: Sequence[ComparedModels],
    doses: Doses,
) -> str:
    """Say at which divergence both are read, and between which checkpoints one of them is."""
    weights = np.mean([doses.at(one.candidate, None).weights for one in at_its_end])
    sides = []
    for side, name in enumerate(("below", "above")):
        steps = sorted({getattr(bracket, name).step or 0 for bracket in brackets})
        where = " and ".join(f"step {step}" if step else "the end" for step in steps)
        kl, change = (
            float(np.mean([values[side] for values in found]))
            for found in zip(*((one.kl, one.weights) for one in brackets), strict=True)
        )
        sides.append(f"KL {kl:.3g}, weights {change:.3g} ({where})")
    return (
        f"{LABELS[still]}: weights {weights:.3g}, KL {target:.3g}; {LABELS[moved]}: between "
        f"{' and '.join(sides)}, interpolated at this KL"
    )

"""The numbers that claims are about: differences of similarities, weighted for a joint error."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np

from hrsa.reporting.claim_estimates import ROUNDING, ComparedModels, Term, combined
from hrsa.reporting.claim_kinds import Estimated
from hrsa.reporting.doses import RLVR, SFT
from hrsa.statistics.floors import SEED_KIND
from hrsa.statistics.replicates import Estimate

EARLY = 0.5  # share of the steps, and of the realignment


class Missing(Exception):
    """The study has nothing to make the number of; the text says what is missing."""


@dataclass(frozen=True, eq=False)
class Contrast:
    """A number that a claim is about.

    Attributes
    ----------
    estimate : Estimated
        Mean over data sets.
    compared : sequence of ComparedModels
        Whose similarities it is made of, seed pairs apart.
    stage : str
    by_dataset : mapping of str to float
        The number on each data set.
    floor : float or None
        Similarity of the seed pairs at the stage, mean over data sets; None without seed pairs.
    floor_terms : sequence of Term
        What the floor is made of.
    seeds : sequence of ComparedModels
        The seed pairs behind it.
    terms : sequence of Term
        What the number is made of.
    remark : str
    """

    estimate: Estimated
    compared: Sequence[ComparedModels]
    stage: str
    by_dataset: Mapping[str, float] = field(default_factory=dict)
    floor: float | None = None
    floor_terms: Sequence[Term] = ()
    seeds: Sequence[ComparedModels] = ()
    terms: Sequence[Term] = ()
    remark: str = ""

    def beyond_floor(self, seed_spread: float) -> tuple[float, Estimated]:
        """The margin seed_spread · d(floor), and the number minus it with their joint error.

        Raises
        ------
        Missing
            Without a floor, or where the seed pairs do not differ at all.
        """
        if self.floor is None:
            raise Missing(no_seed_pair(self.stage))
        margin = seed_spread * (1 - self.floor)
        if margin <= ROUNDING * seed_spread:
            raise Missing(f"the seed pairs at the {self.stage} stage do not differ: no margin")
        # number − spread · (1 − floor)
        added = [(seed_spread * weight, one) for weight, one in self.floor_terms]
        return margin, combined([*self.terms, *added], -seed_spread)


def no_seed_pair(stage: str) -> str:
    """Say that there is no floor."""
    return f"no pair of kind seed at the {stage} stage, and so no floor"


def effect(compared: Sequence[ComparedModels], *, kind: str, stage: str) -> Contrast:
    """Distance of the pairs of a kind beyond that of the seed pairs, d(pair) − d(floor).

    Raises
    ------
    Missing
        Without such a pair or without a seed pair on the same data set.
    """
    own, seeds = (at_end(compared, one, stage) for one in (kind, SEED_KIND))
    if not own:
        raise Missing(_no_pair(kind, stage))
    if not seeds:
        raise Missing(no_seed_pair(stage))
    return with_floor(difference(seeds, own, stage, own), seeds)


def effects_by_floor(
    compared: Sequence[ComparedModels], *, kind: str, stage: str
) -> dict[str, Contrast]:
    """`effect` with each seed pair alone as the floor, by the names of the seed pairs."""
    seeds = at_end(compared, SEED_KIND, stage)
    others = [one for one in compared if one.kind != SEED_KIND]
    return {
        pair: effect([*others, *(one for one in seeds if one.pair == pair)], kind=kind, stage=stage)
        for pair in sorted({one.pair for one in seeds})
    }


def change(compared: Sequence[ComparedModels], *, stage: str) -> Contrast:
    """Distance of the SFT pairs minus that of the RLVR pairs; the floor cancels.

    Raises
    ------
    Missing
        Without pairs of both kinds on one data set.
    """
    sft, rlvr = both_kinds(compared, stage)
    found = difference(rlvr, sft, stage, [*sft, *rlvr])
    return with_floor(found, at_end(compared, SEED_KIND, stage))


def alignment(compared: Sequence[ComparedModels], *, stage: str) -> Contrast:
    """Similarity of the SFT pairs minus that of the RLVR pairs: `change` with the other sign."""
    sft, rlvr = both_kinds(compared, stage)
    found = difference(sft, rlvr, stage, [*sft, *rlvr])
    return with_floor(found, at_end(compared, SEED_KIND, stage))


def realignment(
    compared: Sequence[ComparedModels], *, kind: str, parents: Mapping[str, str]
) -> Contrast:
    """Similarity of two embedding models minus that of the two backbones that they are made from.

    Parameters
    ----------
    compared : sequence of ComparedModels
    kind : str
        Of the embedding pairs.
    parents : mapping of instance to instance

    Raises
    ------
    Missing
        Without an embedding pair of the kind whose two backbones are compared too.
    """
    later, earlier = _with_backbones(compared, kind, parents)
    found = difference(later, earlier, "embedding − backbone", [*later, *earlier])
    return with_floor(found, at_end(compared, SEED_KIND, "embedding"))


def early(
    compared: Sequence[ComparedModels],
    *,
    kind: str,
    parents: Mapping[str, str],
    final_step: int | None,
) -> tuple[Contrast, Contrast]:
    """The whole realignment, and what of it is reached by half of the steps beyond one half of it.

    The latter is s(h) − s(0) − ½ (s(T) − s(0)): s(0) the similarity of the two backbones, s(T) that
    at the end, s(h) that at the last checkpoint of the first half of the steps.

    Parameters
    ----------
    compared : sequence of ComparedModels
    kind, parents
        As in `realignment`.
    final_step : int or None
        Steps of the training; None: not known, or not the same for all.

    Returns
    -------
    tuple of Contrast
        The realignment of the models that have checkpoints; the part reached early.

    Raises
    ------
    Missing
        As `realignment`; or without checkpoints in the first half.
    """
    if final_step is None:
        raise Missing("no checkpoints of contrastive training are compared, or of unequal lengths")
    later, earlier = _with_backbones(compared, kind, parents)
    steps = [
        one.step
        for one in compared
        if one.kind == kind and one.stage == "embedding" and one.step is not None
    ]
    first_half = [step for step in steps if step is not None and step <= EARLY * final_step]
    if not first_half:
        raise Missing(f"no {kind} pair is compared at a checkpoint by step {EARLY * final_step:g}")
    step = max(first_half)
    at_step = {_models(one): one for one in compared if one.step == step and one.kind == kind}
    followed = [i for i, one in enumerate(later) if _models(one) in at_step]
    if not followed:
        raise Missing(f"no {kind} pair with known backbones is compared at step {step}")
    later, earlier = ([side[i] for i in followed] for side in (later, earlier))
    half = [at_step[_models(one)] for one in later]
    stage = "embedding − backbone"
    whole = difference(later, earlier, stage, [*later, *earlier])
    reached = difference(half, earlier, stage, half)
    terms = [*reached.terms, *((-EARLY * weight, one) for weight, one in whole.terms)]
    by_dataset = {
        name: reached.by_dataset[name] - EARLY * whole.by_dataset[name] for name in whole.by_dataset
    }
    share = reached.estimate.value / whole.estimate.value if whole.estimate.value else float("nan")
    remark = f"{share:.2f} of the realignment by step {step} of {final_step}"
    beyond = replace(
        whole, estimate=combined(terms), terms=terms, by_dataset=by_dataset, remark=remark
    )
    seeds = at_end(compared, SEED_KIND, "embedding")
    return whole, with_floor(beyond, seeds)


def layers(
    compared: Sequence[ComparedModels], *, stage: str
) -> tuple[dict[str, Estimated], list[ComparedModels]]:
    """Differences of the similarity between any two layers, mean over the SFT and the RLVR pairs.

    Returns
    -------
    tuple
        Differences by the names of the layers; whose similarities they are.

    Raises
    ------
    Missing
        Without such pairs, or with fewer than two layers in common.
    """
    own = [one for kind in (SFT, RLVR) for one in at_end(compared, kind, stage)]
    if not own:
        raise Missing(_no_pair(f"{SFT} or {RLVR}", stage))
    shared = sorted(set.intersection(*(set(one.layers) for one in own)))
    if len(shared) < 2:
        raise Missing("fewer than two layers are compared in all pairs")
    at = {layer: [replace(one, value=one.layers[layer]) for one in own] for layer in shared}
    return {
        f"layer {a} − layer {b}": difference(at[a], at[b], stage, own).estimate
        for a, b in combinations(shared, 2)
    }, own


def architectures(
    compared: Sequence[ComparedModels], *, stage: str, names: Mapping[str, str]
) -> tuple[dict[str, Estimated], list[ComparedModels]]:
    """Differences of the similarity between any two architectures, within the SFT or RLVR pairs.

    Parameters
    ----------
    compared : sequence of ComparedModels
    stage : str
    names : mapping of pair to str
        Its architecture.

    Returns
    -------
    tuple
        As `layers`.

    Raises
    ------
    Missing
        Where all pairs of a kind are of one architecture.
    """
    found, own = {}, []
    for kind in (SFT, RLVR):
        by_name: dict[str, list[ComparedModels]] = {}
        for one in at_end(compared, kind, stage):
            if one.pair in names:
                by_name.setdefault(names[one.pair], []).append(one)
        for a, b in combinations(sorted(by_name), 2):
            members = [*by_name[a], *by_name[b]]
            found[f"{kind}, {a} − {b}"] = difference(
                by_name[a], by_name[b], stage, members
            ).estimate
            own += [one for one in members if one not in own]
    if not found:
        raise Missing(f"the pairs of each kind at the {stage} stage are of one architecture")
    return found, own


def both_kinds(
    compared: Sequence[ComparedModels], stage: str
) -> tuple[list[ComparedModels], list[ComparedModels]]:
    """The SFT pairs and the RLVR pairs at a stage, at the end of training.

    Raises
    ------
    Missing
        Without pairs of one of the kinds.
    """
    sft, rlvr = (at_end(compared, kind, stage) for kind in (SFT, RLVR))
    for kind, found in ((SFT, sft), (RLVR, rlvr)):
        if not found:
            raise Missing(_no_pair(kind, stage))
    return sft, rlvr


def _with_backbones(
    compared: Sequence[ComparedModels], kind: str, parents: Mapping[str, str]
) -> tuple[list[ComparedModels], list[ComparedModels]]:
    """Embedding pairs of a kind, each with the comparison of the two backbones behind it."""
    backbones = {_models(one): one for one in at_end(compared, kind, "backbone")}
    found = [
        (one, backbones[parents.get(one.reference), parents.get(one.candidate), one.dataset])
        for one in at_end(compared, kind, "embedding")
        if (parents.get(one.reference), parents.get(one.candidate), one.dataset) in backbones
    ]
    if not found:
        raise Missing(f"no {kind} pair of embedding models whose two backbones are compared too")
    return [one for one, _ in found], [one for _, one in found]


def _models(one: ComparedModels) -> tuple[str | None, str | None, str]:
    return one.reference, one.candidate, one.dataset


def at_end(compared: Iterable[ComparedModels], kind: str, stage: str) -> list[ComparedModels]:
    """The pairs of a kind at a stage, at the end of training."""
    return [one for one in compared if one.kind == kind and one.stage == stage and one.step is None]


def difference(
    plus: Sequence[ComparedModels],
    minus: Sequence[ComparedModels],
    stage: str,
    compared: Sequence[ComparedModels],
) -> Contrast:
    """Mean similarity of some minus that of others, a mean over the data sets that both have."""
    datasets = sorted({one.dataset for one in plus} & {one.dataset for one in minus})
    if not datasets:
        raise Missing("the pairs are not compared on one data set")
    terms: list[Term] = []
    by_dataset = {}
    for name in datasets:
        own = [*_mean(plus, name), *_scaled(_mean(minus, name), -1.0)]
        by_dataset[name] = float(sum(weight * one.value for weight, one in own))
        terms += _scaled(own, 1 / len(datasets))
    kept = [one for one in compared if one.dataset in datasets]
    return Contrast(combined(terms), kept, stage, by_dataset, terms=terms)


def with_floor(contrast: Contrast, seeds: Sequence[ComparedModels]) -> Contrast:
    """The contrast with the similarity of seed pairs, where they have all of its data sets."""
    names = [name for name in contrast.by_dataset if any(one.dataset == name for one in seeds)]
    if len(names) < len(contrast.by_dataset):
        return contrast
    terms = [term for name in names for term in _scaled(_mean(seeds, name), 1 / len(names))]
    floor = float(sum(weight * one.value for weight, one in terms))
    return replace(contrast, floor=floor, floor_terms=terms, seeds=seeds)


def _mean(members: Iterable[ComparedModels], dataset: str) -> list[Term]:
    """Terms of the mean over pairs, each its mean over seeds, on one data set."""
    by_pair: dict[str, list[Estimate]] = {}
    for one in members:
        if one.dataset == dataset:
            by_pair.setdefault(one.pair, []).append(one.value)
    return [(1 / len(by_pair) / len(found), value) for found in by_pair.values() for value in found]


def _scaled(terms: Iterable[Term], factor: float) -> list[Term]:
    return [(factor * weight, one) for weight, one in terms]


def _no_pair(kind: str, stage: str) -> str:
    return f"no pair of kind {kind} at the {stage} stage has this number"


def mean_chance(compared: Sequence[ComparedModels]) -> float | None:
    """Mean chance level of some comparisons; None where none is known."""
    known = [one.chance for one in compared if np.isfinite(one.chance)]
    return float(np.mean(known)) if known else None

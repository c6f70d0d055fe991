"""One part of a claim: the number that it is about, the verdict on it, and what that hangs on."""

from collections.abc import Mapping, Sequence
from typing import Any

from hrsa.reporting import claim_contrasts as contrasts
from hrsa.reporting.claim_conditions import (
    HANGS,
    OPPOSED,
    Reach,
    by_dataset,
    conditions,
    hanging_on_floor,
)
from hrsa.reporting.claim_contrasts import Contrast, Missing
from hrsa.reporting.claim_estimates import ComparedModels
from hrsa.reporting.claim_evidence import Evidence
from hrsa.reporting.claim_kinds import (
    ABOVE,
    CONTRADICTED,
    INCONCLUSIVE,
    Difference,
    Verdict,
    differ,
    direction,
    not_applicable,
    within_margin,
)
from hrsa.reporting.claim_list import MATCHED
from hrsa.reporting.claim_matched import matched_change
from hrsa.reporting.claim_scores import estimate_columns, verdict_columns


def tested(part: Mapping[str, str], evidence: Evidence) -> dict[str, Any]:
    """Test a part of a claim.

    Parameters
    ----------
    part : mapping
        Of `claims.yaml`, the keys of its entry included.
    evidence : Evidence

    Returns
    -------
    dict
        Columns of the table of claims: the number, its verdict, and what that hangs on; and, where
        it has a number, `caveats`, a list of what a summary of several parts has to repeat of it.
    """
    labels = {
        "metric": part["metric"],
        "statistic": part["statistic"],
        "stage": part.get("stage", "embedding − backbone"),
        "direction": part.get("direction", part["test"].replace("_", " ")),
    }
    compared = evidence.compared(part["metric"], part["statistic"])
    try:
        if not compared:
            raise Missing(f"the study does not compute {part['metric']} ({part['statistic']})")
        if part["test"] == "differ":
            return {**labels, **_differing(part, compared, evidence)}
        return {**labels, **_judged(part, compared, evidence)}
    except Missing as missing:
        return {**labels, **verdict_columns(not_applicable(str(missing)))}


def _judged(
    part: Mapping[str, str], compared: list[ComparedModels], evidence: Evidence
) -> dict[str, Any]:
    if part["contrast"] == "early":
        contrast, verdict = _early(part, compared, evidence)
        return _columns(contrast, verdict, _conditions(contrast, part, evidence))
    if part.get("dose") == MATCHED:
        found = matched_change(compared, stage=part["stage"], doses=evidence.doses)
        about = _conditions(found.contrast, part, evidence, dose=found.dose)
        return _columns(found.contrast, found.judge(part["direction"]), about)
    contrast = _contrast(part, compared, evidence)
    about = _conditions(contrast, part, evidence)
    if part["test"] != "within_margin":
        verdict = direction(contrast.estimate, part["direction"])
        return _columns(contrast, verdict, about, by_floor=_by_floor(part, compared, evidence))
    margin, excess = contrast.beyond_floor(evidence.seed_spread)
    reach = Reach(margin, float(contrast.floor or 0.0), about["chance"])
    verdict = reach.judge(within_margin(contrast.estimate, margin, excess=excess))
    of_seeds = f"{evidence.seed_spread:g} times the distance of the seed pairs"
    row = _columns(
        contrast,
        verdict,
        about,
        remarks=[f"margin: {of_seeds}, 1 − {contrast.floor:.3f}; {reach}"],
        caveats=[str(reach)] if reach.is_below_chance else [],
        by_floor=_by_floor(part, compared, evidence),
    )
    return row | {"margin": margin}


def _conditions(
    contrast: Contrast, part: Mapping[str, str], evidence: Evidence, *, dose: str | None = None
) -> dict[str, Any]:
    metric, seeds = part["metric"], contrast.seeds if part["contrast"] == "effect" else ()
    return conditions(contrast.compared, evidence.doses, metric, seeds=seeds, dose=dose)


def _columns(
    contrast: Contrast,
    verdict: Verdict,
    about: Mapping[str, Any],
    *,
    remarks: Sequence[str] = (),
    caveats: Sequence[str] = (),
    by_floor: Mapping[str, tuple[float, Verdict]] | None = None,
) -> dict[str, Any]:
    """The columns of a part, and what a summary of several parts has to repeat of it."""
    numbers = by_dataset(contrast.by_dataset)
    hanging = hanging_on_floor(by_floor or {})
    texts = [verdict.reason, contrast.remark, numbers, *remarks, hanging]
    repeated = [text for text in (numbers, hanging) if OPPOSED in text or HANGS in text]
    return {
        **estimate_columns(contrast.estimate),
        **verdict_columns(verdict),
        "reason": "; ".join(filter(None, texts)),
        "floor": contrast.floor,
        **about,
        "caveats": [*caveats, *repeated],
    }


def _by_floor(
    part: Mapping[str, str], compared: list[ComparedModels], evidence: Evidence
) -> dict[str, tuple[float, Verdict]]:
    """The effect and its verdict with each seed pair alone as the floor; else empty."""
    if part["contrast"] != "effect":
        return {}
    found = {}
    alone = contrasts.effects_by_floor(compared, kind=part["kind"], stage=part["stage"])
    for pair, contrast in alone.items():
        try:
            if part["test"] == "within_margin":
                margin, excess = contrast.beyond_floor(evidence.seed_spread)
                verdict = within_margin(contrast.estimate, margin, excess=excess)
            else:
                verdict = direction(contrast.estimate, part["direction"])
        except Missing:
            continue
        found[pair] = contrast.estimate.value, verdict
    return found


def _contrast(
    part: Mapping[str, str], compared: list[ComparedModels], evidence: Evidence
) -> Contrast:
    kind, stage = part.get("kind", ""), part.get("stage", "")
    if part["contrast"] == "effect":
        return contrasts.effect(compared, kind=kind, stage=stage)
    if part["contrast"] == "change":
        return contrasts.change(compared, stage=stage)
    if part["contrast"] == "alignment":
        return contrasts.alignment(compared, stage=stage)
    return contrasts.realignment(compared, kind=kind, parents=evidence.doses.parents)


def _early(
    part: Mapping[str, str], compared: list[ComparedModels], evidence: Evidence
) -> tuple[Contrast, Verdict]:
    whole, beyond = contrasts.early(
        compared,
        kind=part["kind"],
        parents=evidence.doses.parents,
        final_step=evidence.final_step,
    )
    rise = direction(whole.estimate, ABOVE)
    if rise.verdict == CONTRADICTED:
        raise Missing(f"there is no realignment to be early or late: {rise.reason}")
    if rise.verdict == INCONCLUSIVE:
        text = f"whether there is a realignment at all is inconclusive: {rise.reason}"
        return beyond, Verdict(INCONCLUSIVE, text)
    return beyond, direction(beyond.estimate, part["direction"])


def _differing(
    part: Mapping[str, str], compared: list[ComparedModels], evidence: Evidence
) -> dict[str, Any]:
    stage = part["stage"]
    if part["contrast"] == "layers":
        found, own = contrasts.layers(compared, stage=stage)
    else:
        names = evidence.architectures
        found, own = contrasts.architectures(compared, stage=stage, names=names)
    about = conditions(own, evidence.doses, part["metric"])
    result = differ(found)
    if isinstance(result, Verdict):
        return {**verdict_columns(result), **about}
    return {**_of_difference(result), **verdict_columns(result.verdict), **about}


def _of_difference(found: Difference) -> dict[str, Any]:
    (low, high), (low90, high90) = found.ci95, found.ci90
    return {
        "effect": found.estimate.value,
        "se": found.estimate.se,
        "ci_low": low,
        "ci_high": high,
        "ci90_low": low90,
        "ci90_high": high90,
        "p": found.p,
    }

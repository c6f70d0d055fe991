"""The claims of the paper, each tested on the models of a study and on the published numbers.

What is claimed and how it is tested stands in `claims.yaml`, the rules of the verdicts in
`hrsa.reporting.claim_kinds`, the numbers behind them in `hrsa.reporting.claim_contrasts`. A verdict
of a similarity holds for the trained models at hand: its interval is over texts.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from hrsa.reporting import claim_contrasts as contrasts
from hrsa.reporting.claim_conditions import (
    HANGS,
    OPPOSED,
    Reach,
    by_dataset,
    conditions,
    hanging_on_floor,
    score_conditions,
)
from hrsa.reporting.claim_contrasts import Contrast, Missing
from hrsa.reporting.claim_estimates import Arrays, ComparedModels, compared_models, headline
from hrsa.reporting.claim_kinds import (
    ABOVE,
    CONTRADICTED,
    INCONCLUSIVE,
    Difference,
    Verdict,
    conjunction,
    differ,
    direction,
    not_applicable,
    within_margin,
)
from hrsa.reporting.claim_list import MATCHED, Claim, read_claims
from hrsa.reporting.claim_matched import matched_change
from hrsa.reporting.claim_scores import (
    estimate_columns,
    published_alignment,
    published_scores,
    score_rows,
    verdict_columns,
)
from hrsa.reporting.doses import Doses, doses
from hrsa.reporting.effects import Neighbours
from hrsa.reporting.replicates import Comparison

CLAIM_COLUMNS = (
    "id", "claim", "level", "metric", "statistic", "source", "stage", "pairs", "direction",
    "effect", "se", "ci_low", "ci_high", "ci90_low", "ci90_high", "chance", "floor", "margin", "p",
    "p_tost", "verdict", "reason", "conditional_on", "n_seeds", "n_pairs", "dose",
)  # fmt: skip
ALL_PARTS = "all parts hold"


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a study has for its claims; tables may be empty.

    Attributes
    ----------
    similarity, dose, differences : DataFrame
        Tables of the study.
    reanalysis, published_alignment : DataFrame
        Tables of the published numbers.
    replicates, checkpoints : mapping
        Of `read_replicates` and `read_checkpoints`.
    neighbours : Neighbours or None
        How neighbours were asked for.
    final_step : int or None
        Steps of contrastive training, where checkpoints are compared.
    architectures : mapping of pair to str
    seed_spread : float
        Margin of similarities, in distances of the seed floor.
    """

    similarity: pd.DataFrame = field(default_factory=pd.DataFrame)
    dose: pd.DataFrame = field(default_factory=pd.DataFrame)
    differences: pd.DataFrame = field(default_factory=pd.DataFrame)
    reanalysis: pd.DataFrame = field(default_factory=pd.DataFrame)
    published_alignment: pd.DataFrame = field(default_factory=pd.DataFrame)
    replicates: Mapping[Comparison, Arrays] = field(default_factory=dict)
    checkpoints: Mapping[tuple[Comparison, int], Arrays] = field(default_factory=dict)
    neighbours: Neighbours | None = None
    final_step: int | None = None
    architectures: Mapping[str, str] = field(default_factory=dict)
    seed_spread: float = 2.0

    @cached_property
    def doses(self) -> Doses:
        """Doses and parents of the instances."""
        return doses(self.dose)

    @cached_property
    def _found(self) -> dict[tuple[str, str], list[ComparedModels]]:
        return {}

    def compared(self, metric: str, statistic: str) -> list[ComparedModels]:
        """Every two models by a headline number."""
        key = metric, statistic
        if key not in self._found:
            self._found[key] = compared_models(
                self.similarity,
                self.replicates,
                headline(metric, statistic),
                checkpoints=self.checkpoints,
                neighbours=self.neighbours,
            )
        return self._found[key]


def claims_table(evidence: Evidence, claims: Iterable[Claim] | None = None) -> pd.DataFrame:
    """Test every claim.

    Parameters
    ----------
    evidence : Evidence
    claims : iterable of Claim, optional
        Those of `claims.yaml`.

    Returns
    -------
    DataFrame
        Columns CLAIM_COLUMNS. A claim has a row for each entry of `each` (`<id>.<entry>`) and, of
        several parts, a row for each part below it (`<id>.<entry>.<part>`). `verdict` is supported,
        contradicted, inconclusive or not applicable. `effect` is the number of
        `claims.yaml`'s contrast in the unit of its statistic (scores: 0 to 1).
    """
    rows: list[dict[str, Any]] = []
    for claim in read_claims() if claims is None else claims:
        for entry in claim.each:
            name = ".".join(filter(None, [claim.id, "-".join(entry.values())]))
            parts = [{**part, **entry} for part in claim.parts]
            rows += _entry_rows(claim, name, parts, evidence)
        if claim.published:
            rows += _published_rows(claim, evidence)
    return pd.DataFrame(rows, columns=list(CLAIM_COLUMNS))


def _entry_rows(
    claim: Claim, name: str, parts: Sequence[Mapping[str, str]], evidence: Evidence
) -> list[dict[str, Any]]:
    if any(part["contrast"] == "scores" for part in parts):
        (part,) = parts
        found = score_rows(_of_embeddings(evidence), part["kind"])
        of_models = [
            score_conditions(row, evidence.similarity, evidence.doses, kind=part["kind"])
            for row in found
        ]
        return [
            _row(claim, {"source": "study", **row, **more, "id": f"{name}{row['id']}"})
            for row, more in zip(found, of_models, strict=True)
        ]
    tested = [_tested(part, evidence) for part in parts]
    rows = [_row(claim, {"id": name, "source": "study", **one}) for one in tested]
    if len(rows) == 1:
        return rows
    names = _part_names(parts)
    whole = conjunction(
        {
            f"{part}{_shown_effect(row)}": Verdict(row["verdict"], row["reason"])
            for part, row in zip(names, rows, strict=True)
        }
    )
    caveats = [
        f"{part}: {caveat}"
        for part, one in zip(names, tested, strict=True)
        for caveat in one.get("caveats", ())
    ]
    summary = {
        "id": name,
        "source": "study",
        "direction": ALL_PARTS,
        "verdict": whole.verdict,
        "reason": "; ".join([whole.reason, *caveats]),
        **{key: _shared(rows, key) for key in ("stage", "pairs", "conditional_on", "dose")},
        **{key: _least(rows, key) for key in ("n_seeds", "n_pairs")},
    }
    below = [{**row, "id": f"{name}.{part}"} for part, row in zip(names, rows, strict=True)]
    return [_row(claim, summary), *below]


def _shown_effect(row: Mapping[str, Any]) -> str:
    if row["effect"] is None:
        return ""
    margin = "" if row["margin"] is None else f" (margin {row['margin']:.3f})"
    return f" {row['effect']:+.3f}{margin}".replace("-", "\N{MINUS SIGN}")


def _part_names(parts: Sequence[Mapping[str, str]]) -> list[str]:
    """Name parts by their statistic or metric, and by their contrast where that is not enough."""
    names = ["h_inv" if part["statistic"] == "h_inv" else part["metric"] for part in parts]
    if len(set(names)) < len(names):
        return [f"{name}-{part['contrast']}" for name, part in zip(names, parts, strict=True)]
    return names


def _tested(part: Mapping[str, str], evidence: Evidence) -> dict[str, Any]:
    """The columns of a part: its number, its verdict, and what that hangs on."""
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


def _published_rows(claim: Claim, evidence: Evidence) -> list[dict[str, Any]]:
    asked = dict(claim.published)
    if asked["table"] == "scores":
        found = published_scores(evidence.reanalysis, asked["kind"])
    else:
        side = asked["side"]
        found = [published_alignment(evidence.published_alignment, asked["table"], side)]
    named = [{**row, "id": f"{claim.id}.published{row.get('id', '')}"} for row in found]
    return [_row(claim, {"source": "published", **row}) for row in named]


def _row(claim: Claim, values: Mapping[str, Any]) -> dict[str, Any]:
    row = dict.fromkeys(CLAIM_COLUMNS) | {"claim": claim.claim, "level": claim.level}
    return row | {key: value for key, value in values.items() if key in row}


def _of_embeddings(evidence: Evidence) -> pd.DataFrame:
    """Differences of scores without those of two backbones, as far as that is known."""
    similarity, differences = evidence.similarity, evidence.differences
    if similarity.empty or differences.empty:
        return differences
    backbones = set(similarity.loc[similarity["stage"] == "backbone", "pair"])
    return differences[~differences["pair"].isin(backbones)]


def _shared(rows: Sequence[Mapping[str, Any]], key: str) -> str | None:
    """What the rows say of something, each different saying once."""
    return " | ".join(dict.fromkeys(str(row[key]) for row in rows if row[key])) or None


def _least(rows: Sequence[Mapping[str, Any]], key: str) -> int | None:
    known = [row[key] for row in rows if row[key] is not None]
    return min(known) if known else None


def headline_claims(table: pd.DataFrame) -> pd.DataFrame:
    """Keep the rows that judge a whole claim, without those of its parts."""
    rows = list(zip(table["source"], table["id"], strict=True))
    is_part = [
        any(source == whose and one.startswith(f"{other}.") for whose, other in rows)
        for source, one in rows
    ]
    return table[~np.array(is_part, dtype=bool)]

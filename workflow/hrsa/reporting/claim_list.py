"""The claims as data: what is claimed, and which numbers and tests decide on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from hrsa.errors import UserError
from hrsa.reporting.claim_estimates import headline
from hrsa.reporting.claim_kinds import ABOVE, BELOW

CONTRASTS = (
    "effect", "change", "alignment", "realignment", "early", "layers", "architectures", "scores",
)  # fmt: skip
MATCHED = "matched"
TESTS = ("direction", "within_margin", "equivalence", "differ")
_PATH = Path(__file__).with_name("claims.yaml")


@dataclass(frozen=True)
class Claim:
    """A claim as data.

    Attributes
    ----------
    id, claim, level : str
    parts : sequence of mapping
        Numbers and tests that all have to agree with it.
    each : sequence of mapping
        Keys that go into all parts; a verdict for each.
    published : mapping
        How the published numbers are asked; empty: they are not.
    """

    id: str
    claim: str
    level: str
    parts: Sequence[Mapping[str, str]]
    each: Sequence[Mapping[str, str]] = ({},)
    published: Mapping[str, str] = field(default_factory=dict)


def read_claims(path: Path = _PATH) -> list[Claim]:
    """Read the claims.

    Raises
    ------
    UserError
        If a claim lacks or has an unknown key, or names an unknown contrast, test or number.
    """
    found = []
    for entry in yaml.safe_load(Path(path).read_text(encoding="utf-8")):
        try:
            claim = Claim(**entry)
        except TypeError as error:
            raise UserError(
                f"{path}: a claim has a wrong set of keys ({error}). Allowed are id, claim, level, "
                "parts, each and published; the first four are needed."
            ) from error
        for part in claim.parts:
            for given in claim.each:
                _check_part({**part, **given}, f"{path}, claim {claim.id}")
        found.append(claim)
    return found


def _check_part(part: Mapping[str, str], where: str) -> None:
    for key, allowed in (("contrast", CONTRASTS), ("test", TESTS)):
        if part.get(key) not in allowed:
            raise UserError(
                f"{where}: `{key}` is {part.get(key)!r}; allowed are {', '.join(allowed)}."
            )
    if "dose" in part and (part["dose"], part["contrast"]) != (MATCHED, "change"):
        raise UserError(
            f"{where}: `dose` is {part['dose']!r} and `contrast` {part['contrast']!r}; allowed is "
            f"`dose: {MATCHED}` with the contrast change."
        )
    if part["test"] == "direction" and part.get("direction") not in (ABOVE, BELOW):
        raise UserError(
            f"{where}: `direction` is {part.get('direction')!r}; allowed are {ABOVE} and {BELOW}."
        )
    if part["contrast"] != "scores":
        try:
            headline(part.get("metric", ""), part.get("statistic", ""))
        except KeyError as error:
            raise UserError(
                f"{where}: `metric` and `statistic` are {error}, which is no headline number of "
                "the similarity table."
            ) from error

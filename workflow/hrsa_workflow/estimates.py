"""Estimates that say how sure they are, and how they are written: 1.2 TFLOP, ≤ 3.4 GB, ~7.6 B."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

BOUND = "bound"  # no more than this
ROUGH = "rough"  # from a rule of thumb, such as a model's size by its name
OPEN = "open"  # something in it is not known
PREFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
COUNTS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))
SECONDS = ((365 * 86400, "years"), (86400, "days"), (3600, "h"), (60, "min"))


@dataclass(frozen=True)
class Estimate:
    """A number of any unit, and in what sense it is meant.

    Attributes
    ----------
    value : float
        What is known of it; 0 where nothing is.
    marks : frozenset of str
        Of `BOUND`, `ROUGH` and `OPEN`; sums and products keep the marks of all their parts.
    """

    value: float = 0.0
    marks: frozenset[str] = frozenset()

    def __add__(self, other: Estimate | float) -> Estimate:
        other = as_estimate(other)
        return Estimate(self.value + other.value, self.marks | other.marks)

    def __mul__(self, other: Estimate | float) -> Estimate:
        other = as_estimate(other)
        return Estimate(self.value * other.value, self.marks | other.marks)

    __radd__, __rmul__ = __add__, __mul__

    def marked(self, *marks: str) -> Estimate:
        """The same number, meant in these senses too."""
        return Estimate(self.value, self.marks | set(marks))

    @property
    def is_unknown(self) -> bool:
        """Whether nothing of it is known."""
        return OPEN in self.marks and not self.value

    def text(self, unit: str, scales: Iterable[tuple[float, str]] = PREFIXES) -> str:
        """Write it with its unit: ``≤`` a bound, ``~`` roughly, ``+ ?`` and something unknown."""
        if self.is_unknown:
            return "unknown"
        before = ("≤ " if BOUND in self.marks else "") + ("~" if ROUGH in self.marks else "")
        return before + scaled(self.value, unit, scales) + (" + ?" if OPEN in self.marks else "")


UNKNOWN = Estimate(0.0, frozenset({OPEN}))


def as_estimate(value: Estimate | float) -> Estimate:
    """Take a plain number for an exact one."""
    return value if isinstance(value, Estimate) else Estimate(float(value))


def total(estimates: Iterable[Estimate]) -> Estimate:
    """Sum of estimates, with the marks of all of them."""
    result = Estimate()
    for estimate in estimates:
        result = result + estimate
    return result


def scaled(value: float, unit: str, scales: Iterable[tuple[float, str]] = PREFIXES) -> str:
    """Write a number with three digits and the prefix that suits it."""
    # 999.9 k is written 1.00 M
    size, prefix = next(((s, p) for s, p in scales if abs(value) >= 0.9995 * s), (1, ""))
    number = value / size
    digits = 0 if number >= 99.95 or (size == 1 and number == int(number)) else 1
    return f"{number:.{2 if digits and number < 9.995 else digits}f} {prefix}{unit}".rstrip()


def duration(seconds: float) -> str:
    """Write a time, roughly, in the unit that suits it."""
    size, unit = next(((s, u) for s, u in SECONDS if seconds >= 0.95 * s), (1, "s"))
    number = seconds / size
    if number < 0.1:
        return f"under 0.1 {unit}"
    return f"about {number:.{0 if number >= 10 else 1}f} {unit}"

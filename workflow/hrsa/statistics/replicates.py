"""Standard errors of sums, means and differences of statistics of the same texts.

Every cell of a data set (two models, two layers, one metric) loses the same samples in the same
replicate, so that the errors of two cells move together. The standard error of a combination is
that of the combined replicates; from the marginal standard errors alone it cannot be had. Cells of
different data sets share no text and are independent.
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from typing import Literal

import numpy as np
import numpy.typing as npt

from hrsa.statistics.deletion import deletion_draws
from hrsa.statistics.paired_deletion import paired_method, paired_standard_error
from hrsa.statistics.resampling import Interval, jackknife_standard_error

Scheme = Literal["blocks", "deletion", "pairs", "bootstrap"]


@dataclass(frozen=True, eq=False)
class Replicates:
    """A statistic on one data set, each time on other samples.

    Attributes
    ----------
    values : numpy.ndarray, shape (n_replicates,)
        NaN where undefined.
    scheme : {"blocks", "deletion", "pairs", "bootstrap"}
        Each without one block of samples; without a random part of them (`deletion_draws`); without
        the sets of `hrsa.statistics.paired_deletion`; or on samples drawn with replacement.
    n_samples : int
        Samples in all; needed for "deletion" and "pairs".
    rows : hashable
        Tells the rows apart that the samples are of: replicates are joint where it is equal.
    """

    values: np.ndarray
    scheme: Scheme = "blocks"
    n_samples: int = 0
    rows: Hashable = None

    @property
    def is_defined(self) -> bool:
        """Whether there are two replicates at least, and none is undefined."""
        if self.scheme in ("deletion", "pairs") and not self.n_deleted:  # too few samples for draws
            return False
        return len(self.values) > 1 and bool(np.isfinite(self.values).all())

    @property
    def n_deleted(self) -> int:
        """Samples that a draw of "deletion" leaves out."""
        return int(deletion_draws(self.n_samples, n_draws=1).sum())

    @property
    def standard_error(self) -> float:
        """Jackknife over blocks, (S − d)/d · var over deletions, var over bootstrap draws.

        "pairs": see `hrsa.statistics.paired_deletion.paired_standard_error`.
        """
        if self.scheme == "blocks":
            return jackknife_standard_error(self.values)
        if self.scheme == "pairs":
            return paired_standard_error(self.values, self.n_samples)
        variance = np.var(self.values, ddof=1)
        if self.scheme == "deletion":
            variance *= (self.n_samples - self.n_deleted) / self.n_deleted
        return float(np.sqrt(variance))

    @property
    def degrees_of_freedom(self) -> float:
        """Of Student's t for the interval: B − 1 for blocks, infinite for draws."""
        return len(self.values) - 1.0 if self.scheme == "blocks" else np.inf

    @property
    def method(self) -> str:
        """How the replicates were made."""
        n = len(self.values)
        if self.scheme == "blocks":
            return f"jackknife over {n} blocks of samples"
        if self.scheme == "bootstrap":
            return f"bootstrap of samples, {n} draws"
        if self.scheme == "pairs":
            return paired_method(self.n_samples)
        return f"deleting {self.n_deleted} of {self.n_samples} samples at random, {n} draws"

    def is_joint_with(self, other: "Replicates") -> bool:
        """Whether replicate i is on the same samples in both."""
        return (len(self.values), self.scheme, self.n_samples, self.rows) == (
            len(other.values),
            other.scheme,
            other.n_samples,
            other.rows,
        )


@dataclass(frozen=True, eq=False)
class Estimate:
    """A statistic, or a linear combination of several, with what its standard error is made of.

    Estimates are added, subtracted and multiplied by numbers; replicates of one data set are
    combined one by one, data sets stay apart.

    Attributes
    ----------
    value : float
    parts : mapping of data set to Replicates or None
        Weighted replicates of the cells on each data set; None where a cell has none.
    """

    value: float
    parts: Mapping[str, Replicates | None]

    def __add__(self, other: "Estimate") -> "Estimate":
        parts = dict(self.parts)
        for dataset, replicates in other.parts.items():
            parts[dataset] = (
                _sum(dataset, parts[dataset], replicates) if dataset in parts else replicates
            )
        return Estimate(self.value + other.value, parts)

    def __mul__(self, weight: float) -> "Estimate":
        parts = {
            dataset: None if part is None else replace(part, values=weight * part.values)
            for dataset, part in self.parts.items()
        }
        return Estimate(weight * self.value, parts)

    __rmul__ = __mul__

    def __sub__(self, other: "Estimate") -> "Estimate":
        return self + -1.0 * other

    @property
    def error(self) -> tuple[float, float] | None:
        """Joint standard error and its degrees of freedom; None where replicates are missing.

        Squared standard errors of several data sets add up; their degrees of freedom are
        Satterthwaite's.

        References
        ----------
        Efron and Stein (1981), The jackknife estimate of variance.
        Satterthwaite (1946), An approximate distribution of estimates of variance components.
        """
        parts = [part for _, part in sorted(self.parts.items())]
        known = [part for part in parts if part is not None and part.is_defined]
        if not parts or len(known) < len(parts) or not np.isfinite(self.value):
            return None
        variances = np.array([part.standard_error**2 for part in known])
        freedoms = np.array([part.degrees_of_freedom for part in known])
        return float(np.sqrt(variances.sum())), _satterthwaite(variances, freedoms)

    @property
    def interval(self) -> Interval:
        """95 % interval of the combination, over texts.

        Within a data set value ± t(B − 1) · SE of blocks, or ± 1.96 SE of draws (see `error`). All
        None where replicates are missing or undefined.
        """
        if self.error is None:
            return Interval()
        se, freedom = self.error
        known = [part for _, part in sorted(self.parts.items()) if part is not None]
        reach = _t_quantile(freedom) * se
        method = "; ".join(dict.fromkeys(part.method for part in known))
        method += ", joint" + (", data sets independent" if len(known) > 1 else "")
        method += f", t({freedom:.4g})" if np.isfinite(freedom) else ""
        return Interval(se, self.value - reach, self.value + reach, method)


def estimate(
    value: float,
    replicates: npt.ArrayLike | None,
    *,
    scheme: Scheme = "blocks",
    n_samples: int = 0,
    dataset: str = "",
    rows: Hashable = None,
) -> Estimate:
    """An estimate from its value on all samples and its replicates.

    Parameters
    ----------
    value : float
        On all samples.
    replicates : array-like of shape (n_replicates,), or None
        On other samples; None where there are none, which leaves any combination with it without
        an interval.
    scheme : {"blocks", "deletion", "pairs", "bootstrap"}
        How they were made (see `Replicates`).
    n_samples : int
        Samples in all; needed for "deletion" and "pairs".
    dataset : str
        Estimates of one data set are joint, of different ones independent.
    rows : hashable
        See `Replicates`.
    """
    if replicates is None:
        return Estimate(float(value), {dataset: None})
    values = np.asarray(replicates, dtype=np.float64)
    return Estimate(float(value), {dataset: Replicates(values, scheme, n_samples, rows)})


def linear_combination(terms: Iterable[tuple[float, Estimate]]) -> Estimate:
    """Σ weight · estimate, such as a difference of two pairs' means over seeds and layers.

    Raises
    ------
    ValueError
        Without terms, or when replicates of one data set do not leave out the same samples.
    """
    weighted = [weight * estimate for weight, estimate in terms]
    if not weighted:
        raise ValueError("a combination needs one estimate at least, got none")
    return reduce(Estimate.__add__, weighted)


def mean_of(estimates: Iterable[Estimate]) -> Estimate:
    """The mean of several estimates, such as layers or seeds.

    Raises
    ------
    ValueError
        As `linear_combination`.
    """
    members = list(estimates)
    return linear_combination((1 / len(members), member) for member in members)


def _sum(dataset: str, a: Replicates | None, b: Replicates | None) -> Replicates | None:
    if a is None or b is None:
        return None
    if not a.is_joint_with(b):
        raise ValueError(
            f"replicates of data set {dataset!r} are not joint, they leave out other samples: "
            f"{a.method} (rows {a.rows}) and {b.method} (rows {b.rows})"
        )
    return replace(a, values=a.values + b.values)


def _satterthwaite(variances: np.ndarray, freedoms: np.ndarray) -> float:
    if len(variances) == 1:
        return float(freedoms[0])
    uncertain = float(np.sum(variances**2 / freedoms))
    return float(variances.sum() ** 2) / uncertain if uncertain > 0 else np.inf


def _t_quantile(freedom: float) -> float:
    from scipy.special import ndtri, stdtrit  # scipy.stats would cost half a second to import

    return float(stdtrit(freedom, 0.975) if np.isfinite(freedom) else ndtri(0.975))

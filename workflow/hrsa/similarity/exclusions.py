"""Which rows may be a neighbour of a row: all but itself, its sample, its token."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from hrsa.statistics.blocks import sample_codes

Exclusion = Literal["self", "sample", "type"]
EXCLUSIONS: tuple[Exclusion, ...] = ("self", "sample", "type")


@dataclass(frozen=True, eq=False)
class AllowedRows:
    """Rows that may be neighbours of each row under some exclusions.

    Attributes
    ----------
    labels : dict
        Per exclusion, in the order of `EXCLUSIONS`: int32 arrays (n_rows,) that must differ between
        neighbours, beyond those of the exclusion before it. A row is never its own neighbour.
    n_allowed : dict of numpy.ndarray of int64, shape (n_rows,)
        Per exclusion, rows that may be a neighbour of each row.
    """

    labels: dict[Exclusion, list[np.ndarray]]
    n_allowed: dict[Exclusion, np.ndarray]

    @property
    def fewest(self) -> int:
        """Rows allowed to the row and under the exclusion that has fewest."""
        return min(int(counts.min()) for counts in self.n_allowed.values())

    def check(self, n_neighbours: int) -> None:
        """Refuse a number of neighbours that some row has not.

        Raises
        ------
        ValueError
            Names exclusion and row.
        """
        if n_neighbours < 1:
            raise ValueError(f"the number of neighbours must be at least 1, got {n_neighbours}")
        for exclude, allowed in self.n_allowed.items():
            if allowed.min() < n_neighbours:
                row = int(np.argmin(allowed))
                raise ValueError(
                    f"{n_neighbours} neighbours are wanted, but with exclusion {exclude!r} only "
                    f"{allowed[row]} of {len(allowed)} rows may be a neighbour of row {row}"
                )


def allowed_rows(
    exclude: Sequence[Exclusion],
    n_rows: int,
    samples: npt.ArrayLike | None,
    tokens: npt.ArrayLike | None,
) -> AllowedRows:
    """Label rows by what excludes them, and count those that are left.

    Parameters
    ----------
    exclude : sequence of {"self", "sample", "type"}
        Exclusions wanted.
    n_rows : int
        Rows in all.
    samples, tokens : array-like of length n_rows, or None
        As for `hrsa.similarity.neighbours.nearest_neighbours`.

    Raises
    ------
    ValueError
        For an unknown exclusion, or labels that one needs and that are missing or malformed.
    """
    for name in exclude:
        if name not in EXCLUSIONS:
            raise ValueError(f"exclude must be one of {', '.join(EXCLUSIONS)}, got {name!r}")
    if "sample" in exclude and samples is None:
        raise ValueError("exclude='sample' needs samples: the sample of each row")
    if "type" in exclude and tokens is None:
        raise ValueError("exclude='type' needs tokens: the token id of each row")
    by_sample: list[np.ndarray] = []
    if samples is not None:
        by_sample = [sample_codes(samples, n_rows).astype(np.int32)]
    by_token = [] if tokens is None else [_token_codes(tokens, n_rows)]
    together: dict[Exclusion, list[np.ndarray]] = {
        "self": [],
        "sample": by_sample,
        "type": [*by_sample, *by_token],
    }
    names = [name for name in EXCLUSIONS if name in exclude]
    return AllowedRows(
        {name: together[name] for name in names},
        {name: n_rows - _n_excluded(together[name], n_rows) for name in names},
    )


def _token_codes(tokens: npt.ArrayLike, n_rows: int) -> np.ndarray:
    if np.shape(tokens) != (n_rows,):
        raise ValueError(
            f"tokens must name the token of each of the {n_rows} rows, got shape {np.shape(tokens)}"
        )
    return np.unique(np.asarray(tokens), return_inverse=True)[1].astype(np.int32)


def _n_excluded(labels: list[np.ndarray], n_rows: int) -> np.ndarray:
    """Rows that share a label with each row, itself among them."""
    if not labels:
        return np.ones(n_rows, dtype=np.int64)
    excluded = _group_sizes(labels[0])
    if len(labels) == 2:
        sample, token = labels
        excluded += _group_sizes(token)
        # Rows of the same sample and the same token were counted twice.
        excluded -= _group_sizes(sample * (np.int64(token.max()) + 1) + token)
    return excluded


def _group_sizes(labels: np.ndarray) -> np.ndarray:
    """Rows that share each row's label."""
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return counts[inverse]

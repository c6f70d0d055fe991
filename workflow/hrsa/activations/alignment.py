"""Which rows of two activation files are the same place in the same text."""

import hashlib
from dataclasses import dataclass

import numpy as np

from hrsa.activations.store import Activations
from hrsa.errors import UserError


@dataclass(frozen=True)
class PairedRows:
    """Rows of two files that match, one entry for each pair, in the reference's order.

    Attributes
    ----------
    reference, candidate : int64 (n_pairs)
        Row of each file.
    samples : int64 (n_pairs)
        Index of the sample in the reference's list of samples.
    tokens : int32 (n_pairs)
        Token id in the reference's vocabulary.
    share : float
        Pairs as a share of the rows of the file that has more of them.
    row_set : str
        Name of these places (see `row_set`).
    n_samples : int
        Number of different samples in `samples`.
    """

    reference: np.ndarray
    candidate: np.ndarray
    samples: np.ndarray
    tokens: np.ndarray
    share: float
    row_set: str
    n_samples: int


def paired_rows(
    reference: Activations,
    candidate: Activations,
    *,
    skip_first_position: bool = True,
    min_share: float = 0.2,
) -> PairedRows:
    """Match the rows of two files by (sample id, character end).

    One tokenizer gives the identity; two give the places where both end a token.

    Parameters
    ----------
    reference, candidate
        Open files of two models on one data set.
    skip_first_position
        Leave out rows that are at position 0 in either file (the attention sink).
    min_share
        Smallest share of the rows of the larger file that must be matched.

    Raises
    ------
    UserError
        The files are of different data sets, or too few rows match; the text gives the share.
    """
    _check_same_data(reference, candidate)
    numbering = {sample: number for number, sample in enumerate(reference.samples.ids.tolist())}
    of_reference = _kept_rows(reference, skip_first_position)
    of_candidate = _kept_rows(candidate, skip_first_position)
    _, left, right = np.intersect1d(
        _keys(reference, of_reference, numbering),
        _keys(candidate, of_candidate, numbering),
        assume_unique=True,
        return_indices=True,
    )
    order = np.argsort(left, kind="stable")
    rows, matches = of_reference[left[order]], of_candidate[right[order]]
    share = len(rows) / max(len(of_reference), len(of_candidate), 1)
    if len(rows) == 0 or share < min_share:
        n_rows = (len(of_reference), len(of_candidate))
        raise _too_few(reference, candidate, len(rows), n_rows, min_share)
    samples = reference.sample_of_row[rows].astype(np.int64)
    return PairedRows(
        reference=rows,
        candidate=matches,
        samples=samples,
        tokens=reference.tokens.id[rows],
        share=share,
        row_set=row_set(reference, rows),
        n_samples=len(np.unique(samples)),
    )


def row_set(activations: Activations, rows: np.ndarray) -> str:
    """Name of a list of rows by its places: SHA-256 over their (sample id, character end).

    Equal for two files exactly when the rows are the same places in the same order, so that
    results which depend on the row set (neighbours) can be kept per file and checked per pair.
    """
    ends = activations.tokens.char_end[rows].astype("<i4")
    samples = activations.sample_of_row[rows]
    starts = np.flatnonzero(np.diff(samples, prepend=-1))
    digest = hashlib.sha256()
    for start, stop in zip(starts, [*starts[1:], len(samples)], strict=True):
        name = str(activations.samples.ids[samples[start]]).encode()
        digest.update(len(name).to_bytes(8, "little") + name)
        digest.update(int(stop - start).to_bytes(8, "little") + ends[start:stop].tobytes())
    return digest.hexdigest()


def _kept_rows(activations: Activations, skip_first_position: bool) -> np.ndarray:
    if skip_first_position:
        return np.flatnonzero(activations.tokens.position > 0)
    return np.arange(activations.n_tokens, dtype=np.int64)


def _keys(activations: Activations, rows: np.ndarray, numbering: dict[str, int]) -> np.ndarray:
    """One int64 for each place; samples that the reference lacks get negative, unmatched keys."""
    ids = activations.samples.ids.tolist()
    numbers = np.array([numbering.get(s, -1 - i) for i, s in enumerate(ids)], dtype=np.int64)
    return (numbers[activations.sample_of_row[rows]] << 32) + activations.tokens.char_end[rows]


def _check_same_data(reference: Activations, candidate: Activations) -> None:
    hashes = [file.attrs.get("dataset_sha256") for file in (reference, candidate)]
    if None not in hashes and hashes[0] != hashes[1]:
        raise UserError(
            f"{reference.path} and {candidate.path} were extracted on different data sets "
            f"({reference.attrs.get('dataset')} and {candidate.attrs.get('dataset')}, or two "
            "states of one), so their rows cannot be matched. Extract both on the same data set."
        )


def _too_few(
    reference: Activations,
    candidate: Activations,
    n_pairs: int,
    n_rows: tuple[int, int],
    minimum: float,
) -> UserError:
    shares = [n_pairs / n if n else 0.0 for n in n_rows]
    return UserError(
        f"{reference.path} and {candidate.path} have too few places in common: {n_pairs} tokens "
        f"end at the same character of the same sample, {shares[0]:.1%} of the {n_rows[0]} rows of "
        f"the reference and {shares[1]:.1%} of the {n_rows[1]} rows of the candidate; at least "
        f"{minimum:.0%} of each is needed. Compare models with more similar tokenizers, extract "
        "both with the same length and token cap, or lower the least share."
    )

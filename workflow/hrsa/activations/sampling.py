"""A token cap that keeps the same places for every model, whatever its tokenizer."""

import hashlib

import numpy as np

# English text in common vocabularies: about four characters to a token.
CHARACTERS_PER_TOKEN = 4


def sampling_rate(max_tokens: int | None, n_characters: int) -> float:
    """Share of tokens to keep, fixed by the data set alone: min(1, 4 · cap / characters)."""
    if max_tokens is None or n_characters == 0:
        return 1.0
    return min(1.0, max_tokens * CHARACTERS_PER_TOKEN / n_characters)


def kept_places(sample_id: str, char_end: np.ndarray, rate: float, seed: int) -> np.ndarray:
    """Which tokens of a sample are kept: those whose hash of (sample id, char_end) is below `rate`.

    Two models decide alike on each place without knowing of each other, so that what they keep
    can still be matched.

    Parameters
    ----------
    char_end : int array (n)

    Returns
    -------
    bool array (n).
    """
    if rate >= 1.0:
        return np.ones(len(char_end), dtype=bool)
    sample = hashlib.blake2b(f"{seed}/{sample_id}/".encode(), digest_size=8)
    limit = int(rate * 2**64)
    return np.array([_place_hash(sample, int(end)) < limit for end in char_end], dtype=bool)


def _place_hash(sample, char_end: int) -> int:
    place = sample.copy()
    place.update(char_end.to_bytes(8, "little"))
    return int.from_bytes(place.digest(), "little")

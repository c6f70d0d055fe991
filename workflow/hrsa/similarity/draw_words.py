"""Deletion draws side by side: bit b of a 64-bit word tells of draw b, so that one pass serves all.

Tables of words have one row per place in a list of neighbours and one column per token.
"""

import numpy as np

WORD_DRAWS = 64


def pack_draws(flags: np.ndarray) -> np.ndarray:
    """Gather up to 64 draws of yes or no in one word for each column.

    Parameters
    ----------
    flags : numpy.ndarray of bool, shape (n_draws, n_columns)

    Returns
    -------
    numpy.ndarray of uint64, shape (n_columns,)
    """
    bits = np.uint64(1) << np.arange(len(flags), dtype=np.uint64)
    return np.bitwise_or.reduce(np.where(flags, bits[:, None], np.uint64(0)), axis=0)


def unpack_draws(words: np.ndarray, n_draws: int) -> np.ndarray:
    """Undo `pack_draws`, draws last.

    Parameters
    ----------
    words : numpy.ndarray of uint64, shape (n_columns,)
    n_draws : int
        At most 64.

    Returns
    -------
    numpy.ndarray of uint8 (0 or 1), shape (n_columns, n_draws)
    """
    octets = words.astype("<u8", copy=False).view(np.uint8).reshape(len(words), 8)
    return np.unpackbits(octets, axis=1, count=n_draws, bitorder="little")


def filled_before(alive: np.ndarray, k: int, n_draws: int) -> np.ndarray:
    """Tell after how many places of a list ``k`` survivors have been met.

    Parameters
    ----------
    alive : numpy.ndarray of uint64, shape (n_places, n_columns)
        Draws in which each entry of the lists survives.
    k : int
        At least 1.
    n_draws : int
        Draws in a word.

    Returns
    -------
    numpy.ndarray of uint64, shape (n_read + 1, n_columns)
        Row p: draws in which the first p places hold ``k`` survivors. It ends as soon as all
        columns have them in all draws.
    """
    every = np.uint64(2**n_draws - 1)
    # A counter of single bits that starts k short of overflowing: the k-th survivor carries over.
    n_digits = k.bit_length()
    start = 2**n_digits - k
    digits = [
        np.full(alive.shape[1], every if start >> digit & 1 else 0, dtype=np.uint64)
        for digit in range(n_digits)
    ]
    filled = np.zeros((len(alive) + 1, alive.shape[1]), dtype=np.uint64)
    for place, entry in enumerate(alive):
        carry = _add(digits, entry)
        np.bitwise_or(filled[place], carry, out=filled[place + 1])
        if place + 1 >= k and (filled[place + 1] == every).all():
            return filled[: place + 2]
    return filled


def count_draws(words: np.ndarray, n_draws: int) -> np.ndarray:
    """Count over places, draw by draw.

    Parameters
    ----------
    words : numpy.ndarray of uint64, shape (n_places, n_columns)
    n_draws : int
        Draws in a word.

    Returns
    -------
    numpy.ndarray of int32, shape (n_columns, n_draws)
    """
    total = np.zeros((words.shape[1], n_draws), dtype=np.int32)
    digit = 0
    while len(words):
        words, carried = _sum_bits(words)
        total += unpack_draws(words, n_draws).astype(np.int32) << digit
        words, digit = carried, digit + 1
    return total


def _sum_bits(words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Add bits over places: the last digit of each sum, and the words that the next digit sums.

    Three words become two by a full adder, many at once, until one is left.
    """
    carried = [words[:0]]
    while len(words) > 1:
        third = max(1, len(words) // 3)
        a, b, c = words[:third], words[third : 2 * third], words[2 * third : 3 * third]
        half = a ^ b
        if len(c):
            carried.append((a & b) | (half & c))
            words = np.concatenate([half ^ c, words[3 * third :]])
        else:
            carried.append(a & b)
            words = half
    return words[0], np.concatenate(carried)


def _add(digits: list[np.ndarray], entry: np.ndarray) -> np.ndarray:
    """Add one bit per draw to counters in place, lowest digit first; return what carries over."""
    carry = entry
    for digit in digits:
        over = digit & carry
        np.bitwise_xor(digit, carry, out=digit)
        carry = over
    return carry

"""How numbers are written: float16, float32, float64, or bfloat16 as its 16 bits in a uint16."""

import numpy as np

STORED_TYPES: dict[str, np.dtype] = {
    "float32": np.dtype("<f4"),
    "float64": np.dtype("<f8"),
    "bfloat16": np.dtype("<u2"),
    "float16": np.dtype("<f2"),
}


def read_type(dtype: str) -> np.dtype:
    """Type that values of a stored `dtype` are given back in.

    float32 for the narrower ones: numpy has no bfloat16, and computes with float16 slowly and
    with too few digits for a sum.
    """
    return np.dtype(np.float64 if dtype == "float64" else np.float32)


def encode(values: np.ndarray, dtype: str) -> np.ndarray:
    """Values as they are stored; bfloat16 rounds to nearest even, exact for bfloat16 values.

    A finite value that the type cannot hold becomes infinite, which the writer refuses.
    """
    if dtype != "bfloat16":
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(values, dtype=STORED_TYPES[dtype])
    with np.errstate(over="ignore"):
        bits = np.ascontiguousarray(values, dtype="<f4").view("<u4")
    # Half of the last kept bit, one less when that bit is 0, so that ties go to even.
    rounded = bits >> 16
    rounded &= 1
    rounded += np.uint32(0x7FFF)
    rounded += bits
    rounded >>= 16
    return rounded.astype("<u2")


def decode(stored: np.ndarray, dtype: str) -> np.ndarray:
    """Values of stored numbers, in `read_type(dtype)`."""
    if dtype != "bfloat16":
        return stored.astype(read_type(dtype), copy=False)
    bits = stored.astype(np.uint32)
    bits <<= 16
    return bits.view(np.float32)

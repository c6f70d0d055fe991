"""How fast the store is, beside plain files on the same disk in the same run.

Every time stands beside one of a plain file, taken in turn with it, since machines differ and are
noisy. Files are in the page cache: what is compared is the way to the bytes, not the disk.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from hrsa.activations.rows import row_blocks
from hrsa.activations.store import Activations, open_activations
from hrsa.activations.writer import ActivationWriter

LAYERS, WIDTH, ROWS = (0, 1, 2, 3), 576, 65536
SAMPLE = 128
BLOCK_ROWS = 16384
REPEATS = 7
Row = dict[str, Any]


def reading(
    folder: Path, *, n_rows: int = ROWS, width: int = WIDTH, repeats: int = REPEATS
) -> list[Row]:
    """Time the sequential reading of layers, and of a plain file with the bytes of one.

    Parameters
    ----------
    folder
        Where the files are written; about 5 · n_rows · width · 4 bytes.
    n_rows, width
        Size of a layer.
    repeats
        Rounds; in each, every way reads the bytes of one layer once, in turn. A rate is the
        median over the rounds, a share that of the shares in each.

    Returns
    -------
    Rows with `what`, `bytes per second`, and `share of the plain file's rate`, which is that of the
    faster way in the same round; of the file's size, `what` and `size over the values' size`.
    """
    path, plain = folder / "activations.h5", folder / "plain.bin"
    write_file(path, n_rows, width)
    size = n_rows * width * 4
    with open_activations(path, verify=True) as activations:
        activations.layer(0)[:].tofile(plain)
        ways: dict[str, Callable[[int], float]] = {
            "a plain file by readinto": lambda _: read_plain(plain, n_rows, width, into_new),
            "a plain file by np.fromfile": lambda _: read_plain(plain, n_rows, width, from_file),
            "a layer by row blocks": lambda turn: read_layer(activations, turn % len(LAYERS)),
        }
        seconds = np.array(
            [[_seconds(way, turn) for way in ways.values()] for turn in range(repeats + 1)]
        )[1:]
    shares = np.median(seconds[:, :2].min(axis=1, keepdims=True) / seconds, axis=0)
    rates = size / np.median(seconds, axis=0)
    what = f"sequential reading, {n_rows} × {width}, float32, blocks of {BLOCK_ROWS} rows: "
    return [
        {
            "what": what + name,
            "bytes per second": rate,
            "share of the plain file's rate": share,
        }
        for name, rate, share in zip(ways, rates, shares, strict=True)
    ] + [
        {
            "what": f"size of a file of {len(LAYERS)} layers, {n_rows} × {width}, float32",
            "size over the values' size": path.stat().st_size / (size * len(LAYERS)),
        }
    ]


def write_file(path: Path, n_rows: int, width: int) -> None:
    """Write an activation file of LAYERS, samples of SAMPLE tokens."""
    position = np.arange(n_rows) % SAMPLE
    offsets = [*range(0, n_rows, SAMPLE), n_rows]
    with ActivationWriter(
        path,
        header={"model": "random", "dataset": "random"},
        samples=[f"sample-{number}" for number in range(len(offsets) - 1)],
        sample_offsets=offsets,
        tokens={
            "id": position,
            "position": position,
            "char_start": position,
            "char_end": position + 1,
        },
        layers=LAYERS,
        width=width,
        dtype="float32",
    ) as writer:
        for layer in LAYERS:
            rng = np.random.default_rng(layer)
            for rows in row_blocks(n_rows, BLOCK_ROWS):
                shape = (rows.stop - rows.start, width)
                writer.write(layer, rows, rng.standard_normal(shape, dtype=np.float32))


def read_layer(activations: Activations, layer: int) -> float:
    """Read a layer by row blocks; returns a number that each block is part of."""
    states = activations.layer(layer)
    return sum(float(states[rows][-1, -1]) for rows in activations.blocks(BLOCK_ROWS))


def read_plain(
    path: Path, n_rows: int, width: int, read: Callable[[BinaryIO, int], np.ndarray]
) -> float:
    """Read a plain file of as many float32 numbers by blocks of as many rows."""
    total = 0.0
    with path.open("rb", buffering=0) as file:
        for rows in row_blocks(n_rows, BLOCK_ROWS):
            # No name for the block, as for a layer's: its memory is free for the next one.
            total += float(read(file, (rows.stop - rows.start) * width)[-1])
    return total


def into_new(file: BinaryIO, count: int) -> np.ndarray:
    """Read float32 numbers into a new array by one call of the system."""
    values = np.empty(count, np.float32)
    file.readinto(values)  # type: ignore[attr-defined]
    return values


def from_file(file: BinaryIO, count: int) -> np.ndarray:
    """Read float32 numbers as NumPy does."""
    return np.fromfile(file, np.float32, count)


def store_benchmark() -> list[Row]:
    """All measurements, on files in the folder for temporary ones, removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="hrsa-") as folder:
        return reading(Path(folder))


def _seconds(way: Callable[[int], float], turn: int) -> float:
    begin = time.perf_counter()
    way(turn)
    return time.perf_counter() - begin


if __name__ == "__main__":
    for row in store_benchmark():
        print(", ".join(f"{name}: {value}" for name, value in row.items()))

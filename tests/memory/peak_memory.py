"""Peak resident memory of the streamed metrics, each in a process of its own.

    python tests/memory/peak_memory.py FOLDER [METRIC …]

measures width 896, 10 000 and 200 000 rows, and a budget of 64 MiB, on files that it writes to
FOLDER (1.5 GB) and removes again. All metrics when none is named. The time of neighbours goes with
the square of the rows: `--rows` and `--memory-mb` set another large number of rows and a budget, of
which the file must be at least ten times. Linux only: the peak is that of the process alone, while
`resource.getrusage` would count that of the one that started it.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hrsa.activations.alignment import paired_rows
from hrsa.activations.store import ActivationWriter, open_activations

STREAMED = ("cka", "correlation", "procrustes")
METRICS = (*STREAMED, "neighbours")
MODELS = ("reference", "candidate")
ONE = "--one"  # measure this process, instead of starting others
STATUS = Path("/proc/self/status")
LAYER = 1
SAMPLE_ROWS = 20
WRITTEN_ROWS = 4000


@dataclass(frozen=True)
class Sizes:
    """Width, a small and a large number of rows, the budget in bytes, and size of neighbourhood."""

    width: int
    small: int
    large: int
    memory: int
    k: int = 50


FULL = Sizes(width=896, small=10_000, large=200_000, memory=64 * 2**20)
SHORT = Sizes(width=128, small=3_000, large=60_000, memory=2_900_000)
# The time of neighbours goes with the square of the rows.
SHORT_NEIGHBOURS = Sizes(width=1024, small=500, large=5_000, memory=2_000_000, k=5)


def write_pair(folder: Path, n_rows: int, width: int) -> list[Path]:
    """Write two models that share half of their variance, a few thousand rows at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{model}.h5" for model in MODELS]
    for seed, path in enumerate(paths, start=1):
        with _writer(path, n_rows, width) as writer:
            for start in range(0, n_rows, WRITTEN_ROWS):
                stop = min(start + WRITTEN_ROWS, n_rows)
                shared, own = (
                    np.random.default_rng([part, start]).standard_normal((stop - start, width))
                    for part in (0, seed)
                )
                writer.write(LAYER, slice(start, stop), (shared + own).astype(np.float32))
    return paths


def _writer(path: Path, n_rows: int, width: int) -> ActivationWriter:
    position = np.arange(n_rows) % SAMPLE_ROWS
    return ActivationWriter(
        path,
        header={
            "model": path.stem,
            "model_sha256": "0" * 64,
            "dataset": "texts",
            "dataset_sha256": "1" * 64,
            "tokenizer_sha256": "2" * 64,
            "attention": "causal",
            "template": "",
            "library_versions": "{}",
            "seed": 0,
        },
        samples=[f"text-{number}" for number in range(n_rows // SAMPLE_ROWS)],
        sample_offsets=np.arange(0, n_rows + 1, SAMPLE_ROWS),
        tokens={
            "id": np.arange(n_rows) % 17,
            "position": position,
            "char_start": position,
            "char_end": position + 1,
        },
        layers=[LAYER],
        width=width,
        dtype="float32",
    )


def peak_of(metric: str, paths: list[Path], sizes: Sizes) -> int:
    """Peak resident kilobytes of a process that computes one metric."""
    options = [sizes.memory, sizes.k]
    command = [sys.executable, __file__, ONE, metric, *map(str, [*paths, *options])]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(done.stdout)


def growth(folder: Path, sizes: Sizes, metrics: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Peak of each metric in kilobytes, at the small and at the large number of rows."""
    peaks: dict[str, list[int]] = {metric: [] for metric in metrics}
    for n_rows in (sizes.small, sizes.large):
        paths = write_pair(folder / str(n_rows), n_rows, sizes.width)
        for metric in metrics:
            peaks[metric].append(peak_of(metric, paths, sizes))
        if n_rows == sizes.large:
            assert min(path.stat().st_size for path in paths) >= 10 * sizes.memory
        for path in paths:
            path.unlink()
    return {metric: (small, large) for metric, (small, large) in peaks.items()}


def _compute(metric: str, paths: list[str], memory: int, k: int) -> None:
    if metric == "neighbours":
        _find_neighbours(Path(paths[0]), memory, k)
        return
    with open_activations(paths[0]) as reference, open_activations(paths[1]) as candidate:
        rows = paired_rows(reference, candidate)
        if metric == "cka":
            from hrsa.similarity.cka import cka_layers

            cka_layers(reference, candidate, rows, n_permutations=3, memory=memory)
        elif metric == "correlation":
            from hrsa.similarity.correlation import correlation_layers

            correlation_layers(reference, candidate, rows, n_permutations=3, memory=memory)
        else:
            from hrsa.similarity.orthogonal_procrustes import procrustes_layers

            few = {"n_permutations": 3, "n_draws": 3}
            procrustes_layers(reference, candidate, rows, memory=memory, **few)


def _find_neighbours(path: Path, memory: int, k: int) -> None:
    from hrsa.similarity.neighbour_store import compute_neighbours

    target = path.with_suffix(".neighbours")
    with open_activations(path) as activations:
        compute_neighbours(activations, target, ks=(k,), memory=memory)
    target.unlink()


def own_peak() -> int:
    """Peak resident kilobytes of this process."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1])


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("metrics", nargs="*", choices=METRICS, default=METRICS, metavar="METRIC")
    parser.add_argument("--rows", type=int, default=FULL.large)
    parser.add_argument("--memory-mb", type=int, default=FULL.memory // 2**20)
    options = parser.parse_args()
    sizes = replace(FULL, large=options.rows, memory=options.memory_mb * 2**20)
    for name, (small, large) in growth(options.folder, sizes, options.metrics).items():
        print(f"{name}: {small} kB, {large} kB, {large / small - 1:+.1%}", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == ONE:
        _compute(sys.argv[2], sys.argv[3:5], *map(int, sys.argv[5:]))
        print(own_peak())
    else:
        _main()

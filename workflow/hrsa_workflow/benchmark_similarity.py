"""How fast the similarity engine is, beside the machine's own rate and other ways.

Run by `make benchmark`. Every time stands beside one of the same run, since machines differ and are
noisy: a rate as a share of this machine's own matrix products, a method as a ratio to another.
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hrsa.similarity.cka import linear_cka
from hrsa.similarity.cka_cells import Route, cka_cells
from hrsa.similarity.correlation import dimension_correlation
from hrsa.similarity.knn import knn_overlap
from hrsa.similarity.layer_stack import LayerStack, array_reader
from hrsa.similarity.neighbours import nearest_neighbours
from hrsa.similarity.orthogonal_procrustes import procrustes
from hrsa.similarity.pair_sums import operations
from hrsa.statistics.blocks import block_order

LAYERS, WIDTH, SAMPLE = 25, 896, 12
ROWS = (4096, 12000)
OUT = Path("results/benchmark")
Row = dict[str, Any]


def gemm_rate(size: int = 3072, repeats: int = 3) -> float:
    """Operations per second of a float32 matrix product of this machine, the best of a few."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, size, size), dtype=np.float32)
    best = min(_seconds(lambda: a @ b) for _ in range(repeats))
    return 2 * size**3 / best


def drifting_layers(n: int, seed: int, *, depth: int = LAYERS, width: int = WIDTH) -> np.ndarray:
    """Layers (depth × n × width, float32) that drift, as a residual stream does."""
    rng = np.random.default_rng(seed)
    layers = np.empty((depth, n, width), dtype=np.float32)
    layers[0] = rng.standard_normal((n, width), dtype=np.float32)
    for layer in range(1, depth):
        step = rng.standard_normal((n, width), dtype=np.float32)
        layers[layer] = 0.9 * layers[layer - 1] + 0.44 * step
    return layers


def stacks_of(*models: np.ndarray) -> list[LayerStack]:
    """Stacks that are kept in memory, of models (depth × n × width)."""
    n = models[0].shape[1]
    order = block_order(np.arange(n) // SAMPLE, n)
    return [
        LayerStack([array_reader(one) for one in layers], order, dtype=np.float32, memory=2**34)
        for layers in models
    ]


def layer_matrix(n: int, rate: float) -> list[Row]:
    """Time L × L CKA with replicates, and the loop over d × d products without any."""
    x, y = drifting_layers(n, 0), drifting_layers(n, 1)
    stacks = stacks_of(x, y)
    ours = _seconds(partial(cka_cells, *stacks, route="grams", device="cpu"))
    loop = _seconds(partial(product_loop, x, y))
    timed = [
        (
            f"L × L CKA, three estimators with replicates, n = {n}",
            ours,
            operations(n, (WIDTH, WIDTH), (LAYERS, LAYERS))["grams"],
        ),
        (
            f"loop over d × d products, biased, no replicates, n = {n}",
            loop,
            2.0 * n * WIDTH**2 * (LAYERS**2 + 2 * LAYERS),
        ),
    ]
    return [
        {
            "what": what,
            "seconds": seconds,
            "operations": count,
            "share of GEMM rate": count / seconds / rate,
            "times faster than the loop": loop / seconds,
        }
        for what, seconds, count in timed
    ]


def crossover(_: float) -> list[Row]:
    """Time both routes of L × L CKA at a small width, from few rows to many."""
    rows: list[Row] = []
    for n in (1000, 2000, 4000, 8000):
        stacks = stacks_of(*(drifting_layers(n, s, depth=7, width=128) for s in (0, 1)))
        routes: tuple[Route, ...] = ("grams", "products")
        rows += [
            {
                "what": f"L × L CKA with replicates, L = 7, D = 128, n = {n}, route {route}",
                "seconds": _seconds(partial(cka_cells, *stacks, route=route, device="cpu")),
            }
            for route in routes
        ]
    return rows


def product_loop(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Biased CKA of all pairs of layers by the straightforward loop; values alone."""
    for layers in (x, y):
        layers -= layers.mean(axis=1, keepdims=True)
    own = [[np.linalg.norm(one.T @ one) for one in layers] for layers in (x, y)]
    found = np.empty((LAYERS, LAYERS))
    for i in range(LAYERS):
        for j in range(LAYERS):
            found[i, j] = np.linalg.norm(x[i].T @ y[j]) ** 2 / (own[0][i] * own[1][j])
    return found


def one_pair(n: int, _: float) -> list[Row]:
    """Time one pair of layers against plain NumPy, and rsatoolbox where it is installed."""
    x, y = drifting_layers(n, 0)[-1], drifting_layers(n, 1)[-1]
    samples = np.arange(n) // SAMPLE
    options: dict[str, Any] = {"samples": samples}
    calls: dict[str, Callable[[], object]] = {
        "linear_cka, sample-debiased, with its interval": partial(
            linear_cka, x, y, debiased=True, n_permutations=0, **options
        ),
        "linear_cka, the same and p of 199 permutations": partial(
            linear_cka, x, y, debiased=True, **options
        ),
        "plain NumPy CKA, float64, biased, value alone": partial(plain_cka, x, y),
        "dimension_correlation, interval and p": partial(dimension_correlation, x, y, **options),
        "procrustes, held out, H_inv draws and refits": partial(procrustes, x, y, **options),
        "knn_overlap, k = 10, interval and p": partial(
            knn_overlap, x, y, k=10, exclude="sample", **options
        ),
    }
    if find_spec("rsatoolbox"):
        calls["rsatoolbox, biased CKA, at n = 2000 (its RDMs hold n²/2 numbers)"] = partial(
            rsatoolbox_cka, x[:2000], y[:2000]
        )
    return [{"what": f"{name}, n = {n}", "seconds": _seconds(call)} for name, call in calls.items()]


def rsatoolbox_cka(x: np.ndarray, y: np.ndarray) -> float:
    """The same value by rsatoolbox: cosine of whitened dissimilarities."""
    from rsatoolbox.data import Dataset
    from rsatoolbox.rdm import calc_rdm, compare

    rdms: list[Any] = [
        calc_rdm(Dataset(one.astype(np.float64)), method="euclidean") for one in (x, y)
    ]
    return float(compare(rdms[0], rdms[1], method="cosine_cov")[0, 0])


def plain_cka(x: np.ndarray, y: np.ndarray) -> float:
    """Biased CKA as one would write it."""
    a, b = (one.astype(np.float64) - one.mean(axis=0, dtype=np.float64) for one in (x, y))
    return float(np.linalg.norm(a.T @ b) ** 2 / (np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b)))


def neighbours(n: int, k: int, _: float) -> list[Row]:
    """Time exact top-k against scikit-learn's brute force and a plain product with partition."""
    from sklearn.neighbors import NearestNeighbors

    x = drifting_layers(n, 0)[-1]

    def plain() -> np.ndarray:
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        cosines = unit @ unit.T
        np.fill_diagonal(cosines, -np.inf)
        return np.argpartition(-cosines, k, axis=1)[:, :k]

    def sklearn() -> np.ndarray:
        found = NearestNeighbors(n_neighbors=k + 1, algorithm="brute", metric="cosine").fit(x)
        return found.kneighbors(x, return_distance=False)

    calls: dict[str, Callable[[], object]] = {
        "exact top-k, ties and float64 order": lambda: nearest_neighbours(x, k),
        "scikit-learn, brute force, cosine": sklearn,
        "plain product and partition, float32": plain,
    }
    return [
        {"what": f"{name}, n = {n}, k = {k}", "seconds": _seconds(call)}
        for name, call in calls.items()
    ]


PARTS: dict[str, Callable[[float], list[Row]]] = {
    **{f"matrix-{n}": partial(layer_matrix, n) for n in ROWS},
    "crossover": crossover,
    "pair": partial(one_pair, 12000),
    "neighbours": partial(neighbours, 8000, 132),
}


def main() -> None:
    """Run the part that is named, or all, each in a process of its own, and write the table."""
    if len(sys.argv) > 1:
        rate = gemm_rate()
        rows = PARTS[sys.argv[1]](rate)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        for row in rows:
            row |= {"GEMM rate (GFLOP/s)": rate / 1e9, "peak memory (MiB)": peak}
        print(json.dumps(rows))
        return
    tables = []
    for name in PARTS:
        done = subprocess.run(
            [sys.executable, "-m", "hrsa_workflow.benchmark_similarity", name],
            check=True,
            capture_output=True,
            text=True,
        )
        tables.append(pd.DataFrame(json.loads(done.stdout.splitlines()[-1])))
        print(tables[-1].to_string(index=False, float_format="%.3g"), flush=True)
    OUT.mkdir(parents=True, exist_ok=True)
    pd.concat(tables).to_csv(OUT / "similarity.csv", index=False)
    print(f"\nWritten to {OUT / 'similarity.csv'}")


def _seconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()

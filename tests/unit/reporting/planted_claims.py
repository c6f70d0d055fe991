"""A study with planted similarities: two stages, SFT, RLVR and seed pairs, checkpoints, doses."""

from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from hrsa.reporting.claim_evidence import Evidence
from hrsa.reporting.replicates import read_checkpoints, read_replicates
from hrsa.similarity.results import SIMILARITY_COLUMNS

LAYERS = (0, 1, 2, 3)
N_BLOCKS = 10
METRICS = {  # statistic and variant
    "correlation": ("mean", ""),
    "procrustes": ("h_inv", ""),
    "cka": ("cka", "song"),
    "knn": ("jaccard", "sample"),
    "probe": ("accuracy", ""),
}
# Pair: kind, stage, models of each seed.
PAIRS = {
    "base-sft": ("sft", "backbone", [("base", "sft.s0"), ("base", "sft.s1")]),
    "base-rlvr": ("rlvr", "backbone", [("base", "rlvr.s0"), ("base", "rlvr.s1")]),
    "rlvr-seeds": ("seed", "backbone", [("rlvr.s0", "rlvr.s1")]),
    "base-sft-emb": ("sft", "embedding", [("base-emb.s0", "sft-emb.s0")]),
    "base-rlvr-emb": ("rlvr", "embedding", [("base-emb.s0", "rlvr-emb.s0")]),
    "emb-seeds": ("seed", "embedding", [("base-emb.s0", "base-emb.s1")]),
}
SEED_PAIRS = {"sft-seeds": ("seed", "backbone", [("sft.s0", "sft.s1")])}
# What every metric of a pair is about; tests plant others.
VALUES = {
    "base-sft": 0.70,
    "base-rlvr": 0.95,
    "rlvr-seeds": 0.96,
    "base-sft-emb": 0.80,
    "base-rlvr-emb": 0.97,
    "emb-seeds": 0.94,
}
DOSE = [
    # model, seed, parent, weights, KL
    ("sft", 0, "base", 0.10, 2.0),
    ("sft", 1, "base", 0.12, 3.0),
    ("rlvr", 0, "base", 0.01, 0.02),
    ("rlvr", 1, "base", 0.01, 0.02),
    ("base-emb", 0, "base", 0.09, None),
    ("base-emb", 1, "base", 0.09, None),
    ("sft-emb", 0, "sft.s0", 0.09, None),
    ("rlvr-emb", 0, "rlvr.s0", 0.09, None),
]


class PlantedStudy:
    """Similarities as rows, and their replicates in files, as the metrics' jobs leave them.

    ``values`` overrides `VALUES` by (metric, pair) or pair; ``steps`` are values of checkpoints by
    (pair, step); ``slope`` is added with each layer; ``more_seeds`` are values of further seed
    pairs (`SEED_PAIRS`).
    """

    def __init__(
        self,
        values: Mapping[object, float] | None = None,
        *,
        steps: Mapping[tuple[str, int], float] | None = None,
        slope: float = 0.0,
        noise: float = 1e-4,
        datasets: tuple[str, ...] = ("questions",),
        seed: int = 0,
        more_seeds: Mapping[str, float] | None = None,
    ):
        self.rng = np.random.default_rng(seed)
        self.noise, self.slope = noise, slope
        self.rows: list[dict] = []
        self.files: dict[tuple[str, str], dict[str, dict[str, np.ndarray]]] = {}
        planted = values or {}
        base = VALUES | dict(more_seeds or {})
        for metric in METRICS:
            for pair, (_, _, models) in (PAIRS | SEED_PAIRS).items():
                if pair not in base:
                    continue
                value = planted.get((metric, pair), planted.get(pair, base[pair]))
                for dataset in datasets:
                    for one in models:
                        self._add(metric, pair, one, dataset, value)
            for (pair, step), value in (steps or {}).items():
                for dataset in datasets:
                    self._add(metric, pair, PAIRS[pair][2][0], dataset, value, step)

    def _add(self, metric, pair, models, dataset, value, step=None):
        kind, stage, _ = (PAIRS | SEED_PAIRS)[pair]
        statistic, variant = METRICS[metric]
        labels = {
            "pair": pair, "kind": kind, "stage": stage, "reference": models[0],
            "candidate": models[1], "seed": None, "step": step, "dataset": dataset,
            "metric": metric, "statistic": statistic, "view": "raw", "variant": variant,
            "k": 10 if metric == "knn" else None, "n_tokens": 900, "n_samples": 60, "ci_low": 0.0,
            "chance": 0.1,
        }  # fmt: skip
        at = {layer: value + self.slope * (layer - 2) for layer in LAYERS}
        for layer, here in at.items():
            both = {"layer_reference": layer, "layer_candidate": layer}
            self.rows.append(labels | both | {"value": here})
        mean = float(np.mean([at[layer] for layer in LAYERS[1:]]))
        ends = {"layer_reference": -1, "layer_candidate": -1, "value": mean}
        self.rows.append(labels | ends)
        noise = self.noise * self.rng.standard_normal((len(LAYERS), N_BLOCKS))
        replicates = np.array(list(at.values()))[:, None] + noise
        names = [model if step is None else f"{model}@{step}" for model in models]
        axes = {f"layers_{side}": np.array(LAYERS) for side in ("reference", "candidate")}
        group = f"{names[0]}~{names[1]}/{dataset}"
        arrays = axes | {f"{variant or statistic}_replicates": replicates}
        self.files.setdefault((metric, pair), {})[group] = arrays

    def write(self, folder: Path) -> list[Path]:
        paths = []
        for (metric, pair), groups in self.files.items():
            path = folder / metric / f"{pair}.h5"
            path.parent.mkdir(exist_ok=True)
            with h5py.File(path, "w") as file:
                for group, arrays in groups.items():
                    for name, values in arrays.items():
                        file[f"{group}/{name}"] = values
            paths.append(path)
        return paths

    def table(self) -> pd.DataFrame:
        return pd.DataFrame(self.rows).reindex(columns=list(SIMILARITY_COLUMNS))

    def evidence(self, folder: Path, **changes) -> Evidence:
        paths = self.write(folder)
        found = {
            "similarity": self.table(),
            "dose": dose_table(),
            "replicates": read_replicates(paths),
            "checkpoints": read_checkpoints(paths),
        }
        return Evidence(**(found | changes))


def dose_table(rows=DOSE, *, steps=()) -> pd.DataFrame:
    """Doses at the end; ``steps`` are rows (model, seed, step, weights, KL) of checkpoints."""
    columns = ["model", "seed", "parent", "relative_weight_change", "kl_to_parent"]
    table = pd.DataFrame(rows, columns=columns).assign(step=None)
    at = ["model", "seed", "step", "relative_weight_change", "kl_to_parent"]
    return pd.concat([table, pd.DataFrame(steps, columns=at)]) if steps else table


def differences_table(rows) -> pd.DataFrame:
    """Rows: level, seed, delta, se, df, n, margin, of the suite's mean of one RLVR pair."""
    columns = ["level", "seed", "delta", "se", "df", "n", "margin"]
    labels = {"pair": "base-rlvr-emb", "kind": "rlvr", "suite": "local", "task": None}
    return pd.DataFrame(rows, columns=columns).assign(**labels)

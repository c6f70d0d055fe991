"""Tidy tables of an invented study: the shape of real results, with numbers from formulas.

Six layers, backbones compared over two seeds, embedding models over three, checkpoints of seed 0.
Values fall smoothly with depth; nothing here was measured. Beside what figures show stand rows
that none of them may read: maxima over layers and the probe the other way round.
"""

import numpy as np
import pandas as pd

N_LAYERS = 6
PAIRS = [
    # pair, kind, stage, seeds, how far the models lie apart
    ("base-sft", "sft", "backbone", [0, 1], 0.5),
    ("base-rlvr", "rlvr", "backbone", [0, 1], 0.08),
    ("base-control", "control", "backbone", [None], 0.42),
    ("sft-seeds", "seed", "backbone", [None], 0.15),
    ("rlvr-seeds", "seed", "backbone", [None], 0.05),
    ("base-sft-emb", "sft", "embedding", [0, 1, 2], 0.35),
    ("base-rlvr-emb", "rlvr", "embedding", [0, 1, 2], 0.25),
    ("base-emb-seeds", "seed", "embedding", [None], 0.2),
    ("sft-emb-parents", "seed", "embedding", [None], 0.26),
    ("rlvr-emb-parents", "seed", "embedding", [None], 0.22),
    ("base-contrastive", "contrastive", "embedding", [0, 1, 2], 0.7),
]
HALF_WIDTH = 0.02  # of every interval
CHECKPOINTS = {"base-sft-emb": [20, 40, 80, 120], "base-rlvr-emb": [20, 40, 80, 120]}
SETTINGS = [
    # metric, statistic, variant, k, chance
    ("correlation", "mean", "", None, 0.0),
    ("procrustes", "cos_heldout", "", None, 0.0),
    ("cka", "cka", "biased", None, 0.1),
    ("cka", "cka", "sample_debiased", None, 0.0),
    ("knn", "jaccard", "sample", 5, 0.002),
    ("knn", "jaccard", "sample", 10, 0.004),
    ("knn", "jaccard", "sample", 50, 0.018),
    ("probe", "accuracy", "", None, 0.25),
]


def similarity_table(datasets=("questions",)) -> pd.DataFrame:
    """Return the similarity table of the invented study."""
    rows = []
    for dataset in datasets:
        for pair, kind, stage, seeds, distance in PAIRS:
            for seed in seeds:
                moments = [(None, 1.0)]
                if seed == 0:
                    steps = CHECKPOINTS.get(pair, [])
                    moments += [(step, 0.3 + 0.7 * step / 160) for step in steps]
                for step, progress in moments:
                    labels = {
                        "pair": pair, "kind": kind, "stage": stage, "reference": "reference",
                        "candidate": "candidate", "seed": seed, "step": step, "dataset": dataset,
                    }  # fmt: skip
                    shift = distance * progress * (1 + 0.06 * (seed or 0))
                    rows += [{**labels, **row} for row in _rows(shift)]
    frame = pd.DataFrame(rows)
    frame["view"] = "raw"
    for column in ("se", "p", "p_holm", "floor"):  # floors are filled in when the parts are joined
        frame[column] = np.nan
    for column in ("interval_method", "holm_family", "note"):
        frame[column] = None
    frame["n_tokens"], frame["n_samples"] = 4000, 150
    return frame


def _rows(shift: float) -> list[dict]:
    """Return the rows of all metrics for two models `shift` apart."""
    rows = []
    for metric, statistic, variant, k, chance in SETTINGS:
        values = {}
        for layer in range(N_LAYERS + 1):
            value = chance + (1 - chance) * np.exp(-shift * (0.3 + layer / N_LAYERS) * 1.4)
            values[layer] = value
            rows.append(_row(metric, statistic, variant, k, layer, layer, value, chance))
            if metric == "cka":
                for other in range(N_LAYERS + 1):
                    if other != layer:
                        cell = value * np.exp(-0.25 * abs(layer - other))
                        rows.append(_row(metric, statistic, variant, k, layer, other, cell, chance))
        mean = float(np.mean([values[layer] for layer in range(1, N_LAYERS + 1)]))
        rows.append(_row(metric, statistic, variant, k, -1, -1, mean, chance))
        rows.append(_row(metric, f"{statistic}_max", variant, k, -1, -1, 7.0, chance))
        if metric == "probe":
            last = N_LAYERS
            rows.append(_row(metric, "reference_accuracy", "", None, last, last, 0.93, chance))
            rows.append(_row(metric, "own_accuracy", "", None, last, last, 0.91, chance))
            rows.append(_row(metric, "reverse_accuracy", "", None, last, last, 7.0, chance))
    for statistic, share in (("h_inv", 1.0), ("h_inv_half", 0.9), ("h_inv_quarter", 0.75)):
        value = 0.149 + 0.851 * np.exp(-4 * shift) * share
        rows.append(_row("procrustes", statistic, "", None, N_LAYERS, N_LAYERS, value, 0.149))
    return rows


def _row(metric, statistic, variant, k, reference, candidate, value, chance) -> dict:
    half = np.nan if variant == "biased" else HALF_WIDTH
    return {
        "metric": metric, "statistic": statistic, "variant": variant, "k": k,
        "layer_reference": reference, "layer_candidate": candidate, "value": value,
        "ci_low": value - half, "ci_high": value + half, "chance": chance,
    }  # fmt: skip


def rotations(width: int = 64) -> dict[str, np.ndarray]:
    """Return a rotation per pair of SFT and RLVR: nearly the identity, or well mixed."""
    random = np.random.default_rng(0)
    found = {}
    for pair, kind, _, _, distance in PAIRS:
        if kind in ("sft", "rlvr"):
            noise = random.standard_normal((width, width)) / np.sqrt(width)
            left, _, right = np.linalg.svd(np.eye(width) + 3 * distance * noise)
            found[pair] = left @ right
    return found


def benchmarks_table() -> pd.DataFrame:
    """Return benchmark scores: two tasks, embedding models of several seeds, references."""
    models = [
        ("base-emb", "contrastive", [0, 1, 2], 0.86), ("sft-emb", "contrastive", [0, 1, 2], 0.84),
        ("rlvr-emb", "contrastive", [0, 1, 2], 0.862), ("sft-emb-b", "contrastive", [0], 0.83),
        ("base", "pretrain", [None], 0.52), ("base-bidirectional", "reading", [None], 0.47),
        ("bm25", None, [None], 0.6),
    ]  # fmt: skip
    tasks = [
        ("TopicClassification", "Classification", "accuracy", 0.0, 0.125),
        ("TopicRetrieval", "Retrieval", "ndcg_at_10", -0.12, None),
    ]
    rows = [
        {
            "model": model, "recipe": recipe, "seed": seed, "step": None, "suite": "local",
            "task": task, "type": kind, "metric": metric,
            "value": score + shift + 0.008 * (seed or 0), "ci_low": None, "ci_high": None,
            "chance": chance, "n_items": 480, "note": None,
        }
        for model, recipe, seeds, score in models
        for seed in seeds
        for task, kind, metric, shift, chance in tasks
        if not (model == "bm25" and kind == "Classification")
    ]  # fmt: skip
    return pd.DataFrame(rows)


def curves_table() -> pd.DataFrame:
    """Return the training curves of every recipe; only RLVR has a reward."""
    trainings = [
        ("base", "pretrain", [None], 600, 4.0), ("sft", "sft", [0, 1], 150, 1.5),
        ("rlvr", "rlvr", [0, 1], 40, 0.01), ("control", "continued", [None], 150, 1.7),
        ("base-emb", "contrastive", [0, 1, 2], 160, 2.2),
        ("sft-emb", "contrastive", [0, 1, 2], 160, 2.3),
    ]  # fmt: skip
    random = np.random.default_rng(1)
    rows = []
    for model, recipe, seeds, steps, start in trainings:
        for seed in seeds:
            for step in range(1, steps + 1, max(1, steps // 60)):
                row = {"model": model, "recipe": recipe, "seed": seed, "step": step}
                row["loss"] = start * (0.2 + 0.8 * np.exp(-4 * step / steps))
                row["loss"] *= 1 + 0.05 * random.standard_normal()
                if recipe == "rlvr":
                    gain = 0.35 + 0.4 * (1 - np.exp(-3 * step / steps))
                    row["accuracy"] = gain + 0.05 * random.standard_normal()
                    row["reward"] = row["accuracy"] + 0.05
                rows.append(row)
    return pd.DataFrame(rows)


def accuracy_table() -> pd.DataFrame:
    """Return accuracies by split and decoding of base, SFT, RLVR and the control."""
    models = [
        ("base", "pretrain", [None], 0.62, 0.41), ("sft", "sft", [0, 1], 0.9, 0.85),
        ("rlvr", "rlvr", [0, 1], 0.78, 0.75), ("control", "continued", [None], 0.6, 0.4),
    ]  # fmt: skip
    return pd.DataFrame(
        {
            "model": model, "recipe": recipe, "seed": seed, "step": None, "split": split,
            "decoding": decoding, "accuracy": value - shift, "ci_low": value - shift - 0.04,
            "ci_high": value - shift + 0.04, "n": 600,
        }
        for model, recipe, seeds, greedy, sampled in models
        for seed in seeds
        for split, shift in (("test", 0.0), ("test_templates", 0.15))
        for decoding, value in (("greedy", greedy), ("sampled", sampled))
    )  # fmt: skip

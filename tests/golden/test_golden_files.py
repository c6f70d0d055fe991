"""The golden values again, through activation files: exact as float64, to rounding as float32."""

import numpy as np
import pytest
from test_golden import CASES, build

from hrsa.activations.alignment import paired_rows
from hrsa.activations.store import ActivationWriter, open_activations
from hrsa.similarity import cka_layers, correlation_layers, knn_layers, procrustes_layers

LAYER = 1
# Golden key, metric, statistic, variant, and the column of the table that holds it.
READ = {
    "cka": ("cka", "cka", "biased", "value"),
    "cka_perm_mean": ("cka", "cka", "biased", "chance"),
    "cka_deb": ("cka", "cka", "song", "value"),
    "cka_deb_samples": ("cka", "cka", "sample_debiased", "value"),
    "proc_cos": ("procrustes", "cos", "", "value"),
    "h_inv": ("procrustes", "h_inv", "", "value"),
    "knn": ("knn", "overlap", "self", "value"),
    "knn_jac": ("knn", "jaccard", "self", "value"),
    "knn_perm_mean": ("knn", "overlap", "self", "chance"),
    "correlation_mean": ("correlation", "mean", "", "value"),
}
KEYS = [(name, key) for name, case in CASES.items() for key in case["values"] if key in READ]


def store(path, values, samples, dtype):
    """Write one layer; rows of a sample lie together, as a model reads them."""
    order = np.argsort(samples, kind="stable")
    sizes = np.bincount(samples)
    position = np.concatenate([1 + np.arange(size) for size in sizes])
    header = {
        "model": path.stem,
        "model_sha256": "0" * 64,
        "dataset": "golden",
        "dataset_sha256": "1" * 64,
        "tokenizer_sha256": "2" * 64,
        "attention": "causal",
        "template": "",
        "seed": 0,
    }
    with ActivationWriter(
        path,
        header=header,
        samples=[f"text-{number}" for number in range(len(sizes))],
        sample_offsets=np.concatenate([[0], np.cumsum(sizes)]),
        tokens={
            "id": np.zeros(len(values)),
            "position": position,
            "char_start": position,
            "char_end": position + 1,
        },
        layers=[LAYER],
        width=values.shape[1],
        dtype=dtype,
    ) as writer:
        writer.write(LAYER, slice(0, len(values)), values[order].astype(dtype))


def measured(case, metric, dtype, folder):
    X, Y, samples = build(case)
    samples = np.arange(len(X)) if samples is None else np.asarray(samples)
    for name, values in (("reference", X), ("candidate", Y)):
        store(folder / f"{name}.h5", values, samples, dtype)
    with (
        open_activations(folder / "reference.h5") as reference,
        open_activations(folder / "candidate.h5") as candidate,
    ):
        rows = paired_rows(reference, candidate)
        assert len(rows.reference) == len(X)
        layers = {
            "cka": cka_layers,
            "correlation": correlation_layers,
            "procrustes": procrustes_layers,
        }
        if metric == "knn":
            return knn_layers(
                reference, candidate, rows, ks=[case["k"]], exclude=["self"], n_permutations=0
            ).table
        return layers[metric](reference, candidate, rows, n_permutations=0).table


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-9), ("float32", 1e-6)])
@pytest.mark.parametrize(("name", "key"), KEYS)
def test_metric_gives_the_golden_value_from_files(name, key, dtype, tolerance, tmp_path):
    metric, statistic, variant, column = READ[key]
    case = CASES[name]
    table = measured(case, metric, dtype, tmp_path)
    row = table[
        (table["statistic"] == statistic)
        & (table["variant"] == variant)
        & (table["layer_reference"] == LAYER)
    ]
    expected = case["values"][key]["value"]
    assert row[column].item() == pytest.approx(expected, rel=tolerance, abs=tolerance)

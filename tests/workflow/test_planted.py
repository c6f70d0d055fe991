"""Planted truth: copies of one model's activations with a known change, through the workflow."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import ortho_group

from hrsa.activations.store import ActivationWriter, open_activations
from hrsa.activations.writer import TOKEN_COLUMNS

pytestmark = pytest.mark.slow

WIDTH, LAYERS, FIRST_NOISY = 128, 4, 3
TABLE = "results/small/tables/similarity.csv"
COPIES = ("same", "permuted", "rotated", "late", "isotropic")
STUDY = {
    "study": "small",
    "corpus": {
        "problems": 300,
        "test_problems": 100,
        "prose": 200,
        "topics": {"train": 96, "validation": 16, "test": 88},
        "questions": 8,
        "pairs": 20,
        "retrieval": {"documents": 24, "queries": 8},
    },
    "recipes": {
        "pretrain": {
            "architecture": {
                "layers": LAYERS,
                "width": WIDTH,
                "heads": 4,
                "kv_heads": 2,
                "intermediate": 256,
                "vocabulary": 384,
            },
            "steps": 60,
            "batch_size": 16,
        }
    },
    "models": {
        "base": {"recipe": "pretrain"},
        **{name: {"recipe": "reading", "parent": "base", "attention": "causal"} for name in COPIES},
    },
    "datasets": {"problems": {"generator": "problems", "split": "test", "samples": 100}},
    "pairs": [
        {
            "name": f"base-{name}",
            "kind": "seed" if name == "same" else "other",
            "reference": "base",
            "candidate": name,
        }
        for name in COPIES
    ],
    "metrics": {"correlation": {}, "procrustes": {}, "cka": {}, "knn": {"k": [10]}},
    "accuracy": {"problems": 4},
    "statistics": {"permutations": 19},
}


def rewrite(path, change: Callable[[int, np.ndarray], np.ndarray]) -> None:
    """Replace every layer of an activation file by what `change` makes of it."""
    with open_activations(path) as old:
        header = {k: v for k, v in old.attrs.items() if k not in ("n_layers", "dtype")}
        tables = old.samples, old.tokens
        layers = {layer: change(layer, old.layer(layer)[:].astype(float)) for layer in old.layers}
    samples, tokens = tables
    with ActivationWriter(
        path,
        header=header,
        samples=samples.ids.tolist(),
        sample_offsets=samples.offsets,
        tokens={name: getattr(tokens, name) for name in TOKEN_COLUMNS},
        layers=list(layers),
        width=WIDTH,
        dtype="float32",
    ) as new:
        for layer, values in layers.items():
            new.write(layer, slice(0, len(values)), values.astype(np.float32))


def changes() -> dict[str, Callable[[int, np.ndarray], np.ndarray]]:
    rng = np.random.default_rng(0)
    order = rng.permutation(WIDTH)
    rotation = ortho_group.rvs(WIDTH, random_state=0)

    def noisy(values: np.ndarray, share: float) -> np.ndarray:
        rms = np.sqrt(np.mean(values**2))
        return values + share * rms * rng.standard_normal(values.shape)

    return {
        "same": lambda _, values: values,
        "permuted": lambda _, values: values[:, order],
        "rotated": lambda _, values: values @ rotation,
        "late": lambda layer, values: noisy(values, 1.0) if layer >= FIRST_NOISY else values,
        "isotropic": lambda _, values: noisy(values, 0.2),
    }


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> pd.DataFrame:
    """The similarity table of the study after its activation files were changed."""
    from conftest import SMALL, copy_repository

    checkout = copy_repository(tmp_path_factory.mktemp("planted") / "repository")
    (checkout.path / SMALL).write_text(yaml.safe_dump(STUDY))
    files = {name: f"results/small/activations/{name}/problems.h5" for name in ("base", *COPIES)}
    checkout.snakemake(*files.values())
    for name, change in changes().items():
        rewrite(checkout.path / files[name], change)
    checkout.snakemake(TABLE)
    return pd.read_csv(checkout.path / TABLE)


def of(table, pair, metric, statistic, variant=None):
    """Rows of matched layers past the embeddings, by layer."""
    rows = table[
        (table["pair"] == f"base-{pair}")
        & (table["metric"] == metric)
        & (table["statistic"] == statistic)
        & (table["layer_reference"] == table["layer_candidate"])
        & (table["layer_reference"] > 0)
    ]
    if variant is not None:
        rows = rows[rows["variant"] == variant]
    assert len(rows) == LAYERS
    return rows.set_index("layer_reference").sort_index()


def final(table, pair, metric, statistic, variant=None):
    return of(table, pair, metric, statistic, variant)["value"].iloc[-1]


def test_a_copy_is_the_same_at_every_level(table):
    assert of(table, "same", "correlation", "mean")["value"].min() == pytest.approx(1)
    assert of(table, "same", "cka", "cka", "sample_debiased")["value"].min() == pytest.approx(1)
    assert of(table, "same", "knn", "jaccard", "sample")["value"].min() == pytest.approx(1)
    assert final(table, "same", "procrustes", "h_inv") == pytest.approx(1, abs=1e-3)


def test_permuted_units_are_found_in_the_coordinates_alone(table):
    assert final(table, "permuted", "procrustes", "h_inv") == pytest.approx(1, abs=1e-3)
    for variant in ("biased", "song", "sample_debiased"):
        cka = of(table, "permuted", "cka", "cka", variant)["value"]
        assert cka.min() == pytest.approx(1, abs=1e-5)
    for statistic in ("jaccard", "overlap"):
        knn = of(table, "permuted", "knn", statistic, "sample")["value"]
        assert knn.min() == pytest.approx(1, abs=1e-3)
    assert of(table, "permuted", "correlation", "mean")["value"].abs().max() < 0.4


def test_a_rotation_leaves_geometry_alone_and_mixes_all_dimensions(table):
    cka = of(table, "rotated", "cka", "cka", "sample_debiased")["value"]
    assert cka.min() == pytest.approx(1, abs=1e-5)
    assert of(table, "rotated", "knn", "jaccard", "sample")["value"].min() > 0.99
    assert final(table, "rotated", "procrustes", "cos") == pytest.approx(1, abs=1e-5)
    row = of(table, "rotated", "procrustes", "h_inv").iloc[-1]
    assert row["value"] == pytest.approx(row["chance"], abs=0.05)


def test_noise_is_first_seen_at_the_layer_where_it_starts(table):
    for metric, statistic, variant in (
        ("correlation", "mean", None),
        ("procrustes", "cos_heldout", None),
        ("cka", "cka", "sample_debiased"),
        ("knn", "jaccard", "sample"),
    ):
        late = of(table, "late", metric, statistic, variant)
        floor = of(table, "same", metric, statistic, variant)
        leaves = late["ci_high"] < floor["value"] - 1e-9
        assert leaves.idxmax() == FIRST_NOISY, (metric, late, floor)
        assert leaves.sum() == LAYERS - FIRST_NOISY + 1


def test_isotropic_noise_hides_from_cka_and_not_from_neighbours(table):
    assert of(table, "isotropic", "cka", "cka", "sample_debiased")["value"].min() >= 0.99
    assert of(table, "isotropic", "knn", "jaccard", "sample")["value"].max() < 0.9

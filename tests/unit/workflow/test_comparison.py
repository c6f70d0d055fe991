"""What a metric's job computes of final models, and of checkpoints on the way to them."""

from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pandas as pd
import pytest

from hrsa.activations.store import ActivationWriter
from hrsa.similarity.cka import cka_layers
from hrsa_workflow.comparison import AT_THE_END, compare_pair

N_SAMPLES, LENGTH, WIDTH = 24, 5, 6


def write_states(path: Path, seed: int) -> str:
    n_rows = N_SAMPLES * LENGTH
    shared = np.random.default_rng(0).standard_normal((n_rows, WIDTH))
    position = np.tile(np.arange(LENGTH), N_SAMPLES)
    header = {"model": path.stem, "dataset": "texts", "attention": "causal"}
    tokens = {"id": np.arange(n_rows) % 7, "position": position}
    with ActivationWriter(
        path,
        header=header | {"dataset_sha256": "1" * 64},
        samples=[f"text-{number}" for number in range(N_SAMPLES)],
        sample_offsets=np.arange(N_SAMPLES + 1) * LENGTH,
        tokens=tokens | {"char_start": position * 2, "char_end": position * 2 + 1},
        layers=[0, 1],
        width=WIDTH,
        dtype="float32",
    ) as writer:
        for layer in (0, 1):
            noise = np.random.default_rng((seed, layer)).standard_normal(shared.shape)
            writer.write(layer, slice(0, n_rows), (shared + noise).astype(np.float32))
    return str(path)


@pytest.fixture
def compare(tmp_path):
    files = [write_states(tmp_path / f"{name}.h5", seed) for seed, name in enumerate("abc")]

    def run(*steps) -> pd.DataFrame:
        """The table of one pair, compared at these steps."""
        comparisons = [
            {
                "reference": "a" if step is None else f"a@{step}",
                "candidate": "b" if step is None else f"b@{step}",
                "seed": None,
                "step": step,
            }
            for step in steps
        ]
        pair = {"name": "a-b", "kind": "sft", "stage": "backbone", "comparisons": comparisons}
        params = {
            "pair": pair,
            "datasets": ["texts"],
            "views": ["raw", "zscored", "half_a", "half_b"],
            "statistics": {"n_permutations": 19, "n_blocks": 5, "seed": 1},
            "attempt": 0,
        }
        job = SimpleNamespace(
            rule="cka",
            input=SimpleNamespace(
                reference=files[:1] * len(steps), candidate=files[1 : 1 + len(steps)]
            ),
            output=SimpleNamespace(
                table=str(tmp_path / "t.parquet"),
                arrays=str(tmp_path / "t.h5"),
                status=str(tmp_path / "t.json"),
            ),
            params=Params(params),
        )
        compare_pair(
            job, lambda one: cka_layers(one.reference, one.candidate, one.rows, **one.statistics)
        )
        return pd.read_parquet(tmp_path / "t.parquet")

    run.arrays = tmp_path / "t.h5"
    return run


class Params(dict):
    __getattr__ = dict.__getitem__


def test_checkpoints_on_the_way_have_intervals_and_chance_but_no_p_and_no_halves(compare):
    table = compare(None, 20)
    final, on_the_way = (table[table["step"].isna()], table[table["step"] == 20])
    assert set(final["view"]) == {"raw", "zscored", "half_a", "half_b"}
    assert final[final["view"] == "raw"]["p"].notna().any()
    assert set(on_the_way["view"]) == {"raw", "zscored"}
    assert on_the_way["p"].isna().all()
    assert on_the_way["note"].str.endswith(AT_THE_END).all()
    assert not final["note"].str.contains(AT_THE_END).any()
    debiased = (on_the_way["variant"] == "sample_debiased") & (on_the_way["statistic"] == "cka")
    assert on_the_way[debiased]["ci_low"].notna().all()
    assert on_the_way[debiased]["chance"].notna().all()
    with h5py.File(compare.arrays) as arrays:
        assert "half_a" in arrays["a~b/texts"]
        assert "half_a" not in arrays["a@20~b@20/texts"]
        assert "sample_debiased_replicates" in arrays["a@20~b@20/texts"]


def test_values_of_a_checkpoint_do_not_hang_on_what_is_left_out(compare):
    alone, among = compare(20), compare(20, None)
    keys = ["view", "variant", "statistic", "layer_reference", "layer_candidate"]
    kept = alone[alone["view"].isin(["raw", "zscored"])].set_index(keys)
    again = among[among["step"] == 20].set_index(keys)
    for column in ("value", "se", "ci_low", "chance"):
        pd.testing.assert_series_equal(kept[column], again[column])


def test_a_pair_of_checkpoints_alone_has_all(compare):
    table = compare(20)
    assert set(table["view"]) == {"raw", "zscored", "half_a", "half_b"}
    assert table[table["view"] == "raw"]["p"].notna().any()
    assert not table["note"].str.contains(AT_THE_END).any()

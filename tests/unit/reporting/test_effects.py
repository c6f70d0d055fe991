"""Effects beyond the seed floor, from the files that the metrics' jobs leave."""

import h5py
import numpy as np
import pandas as pd
import pytest

from hrsa.reporting.doses import Dose, Doses
from hrsa.reporting.effects import (
    EFFECT_COLUMNS,
    GIVEN_PROBES,
    NO_FLOOR,
    NO_REPLICATES,
    NOT_JOINT,
    OF_KINDS,
    ONE_SEED_PAIR,
    UNDEFINED,
    Neighbours,
    effects_table,
)
from hrsa.reporting.replicates import (
    cell_replicates,
    matched_cells,
    read_checkpoints,
    read_replicates,
)
from hrsa.similarity.results import SIMILARITY_COLUMNS
from hrsa.statistics.paired_deletion import paired_method, paired_standard_error
from hrsa.statistics.resampling import jackknife_standard_error

LAYERS = (0, 1, 2, 3)
N_BLOCKS = 10
PAIRS = {
    "base-sft": ("sft", [0, 1]),
    "base-rlvr": ("rlvr", [0]),
    "s-seeds": ("seed", [None]),
    "t-seeds": ("seed", [None]),
}


class Study:
    """Correlations of all layers of four pairs, as rows and as replicates of the same numbers."""

    def __init__(self, seed: int = 0):
        rng = np.random.default_rng(seed)
        self.rows: list[dict] = []
        self.files: dict[tuple[str, str], dict[str, dict[str, np.ndarray]]] = {}
        self.replicates: dict[tuple[str, int | None], np.ndarray] = {}
        for pair, (kind, seeds) in PAIRS.items():
            for one in seeds:
                values = rng.uniform(0.4, 0.9, (len(LAYERS), len(LAYERS)))
                noise = rng.standard_normal((*values.shape, N_BLOCKS))
                replicates = values[..., None] + 0.01 * noise
                self.replicates[pair, one] = replicates
                candidate = pair if one is None else f"{pair}.s{one}"
                self.add(pair, kind, one, candidate, values, {"replicates": replicates})

    def add(self, pair, kind, seed, candidate, values, arrays, **changes):
        labels = {
            "pair": pair, "kind": kind, "stage": "backbone", "reference": "base",
            "candidate": candidate, "seed": seed, "dataset": "questions", "metric": "correlation",
            "statistic": "mean", "view": "raw", "variant": "", "n_tokens": 900, "n_samples": 60,
            "ci_low": 0.0,
        } | changes  # fmt: skip
        for (a, b), value in np.ndenumerate(values):
            layers = {"layer_reference": LAYERS[a], "layer_candidate": LAYERS[b]}
            self.rows.append(labels | layers | {"value": value})
        mean = np.mean(np.diagonal(values)[1:])
        self.rows.append(labels | {"layer_reference": -1, "layer_candidate": -1, "value": mean})
        axes = {f"layers_{side}": np.array(LAYERS) for side in ("reference", "candidate")}
        file = self.files.setdefault((labels["metric"], pair), {})
        file[f"base~{candidate}/{labels['dataset']}"] = axes | arrays

    def write(self, folder) -> list:
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

    def effects(self, folder, **options) -> pd.DataFrame:
        return effects_table(self.table(), read_replicates(self.write(folder)), **options)


def one(effects: pd.DataFrame, pair: str, layer: int) -> pd.Series:
    rows = effects[(effects["pair"] == pair) & (effects["layer"] == layer)]
    assert len(rows) == 1
    return rows.iloc[0]


@pytest.fixture
def study() -> Study:
    return Study()


def test_an_effect_is_the_distance_of_the_pair_beyond_that_of_the_seeds(study, tmp_path):
    found = one(study.effects(tmp_path), "base-sft", 2)
    table = study.table().set_index(["pair", "layer_reference", "layer_candidate"])["value"]
    sft = table["base-sft", 2, 2].mean()
    seeds = (table["s-seeds", 2, 2].item() + table["t-seeds", 2, 2].item()) / 2
    assert found["value"] == pytest.approx(sft)
    assert found["floor"] == pytest.approx(seeds)
    assert found["effect"] == pytest.approx((1 - sft) - (1 - seeds))
    assert (found["n_seeds"], found["kind"], found["stage"]) == (2, "sft", "backbone")


def test_the_standard_error_is_that_of_the_effect_with_each_block_left_out(study, tmp_path):
    effects = study.effects(tmp_path)
    by_pair = {
        pair: np.mean([study.replicates[pair, seed] for seed in seeds], axis=0)
        for pair, (_, seeds) in PAIRS.items()
    }
    direct = (by_pair["s-seeds"] + by_pair["t-seeds"]) / 2 - by_pair["base-sft"]
    assert one(effects, "base-sft", 2)["se"] == pytest.approx(
        jackknife_standard_error(direct[2, 2]), rel=1e-10
    )
    over_layers = direct[[1, 2, 3], [1, 2, 3]].mean(axis=0)
    assert one(effects, "base-sft", -1)["se"] == pytest.approx(
        jackknife_standard_error(over_layers), rel=1e-10
    )


def test_sft_minus_rlvr_is_joint_and_needs_no_floor(study, tmp_path):
    study.rows = [row for row in study.rows if row["kind"] != "seed"]
    found = one(study.effects(tmp_path), "base-sft − base-rlvr", 3)
    sft = np.mean([study.replicates["base-sft", seed] for seed in (0, 1)], axis=0)
    direct = study.replicates["base-rlvr", 0] - sft
    table = study.table().set_index(["pair", "layer_reference", "layer_candidate"])["value"]
    expected = table["base-rlvr", 3, 3].item() - table["base-sft", 3, 3].mean()
    assert found["effect"] == pytest.approx(expected)
    assert found["value"] == pytest.approx(-expected)
    assert found["se"] == pytest.approx(jackknife_standard_error(direct[3, 3]), rel=1e-10)
    assert (found["note"], found["n_seeds"]) == (OF_KINDS, 1)
    assert pd.isna(found["floor"])


def test_how_far_the_models_moved_stands_beside_each_effect(study, tmp_path):
    moved = Doses(
        own={
            "base-sft.s0": Dose(0.1, 2.0),
            "base-sft.s1": Dose(0.1, 3.0),
            "base-rlvr.s0": Dose(0.01, 0.02),
        },
        parents={},
    )
    effects = study.effects(tmp_path, doses=moved)
    assert one(effects, "base-sft", 2)["dose"] == "weights 0.1, KL 2.5"
    both = "SFT: weights 0.1, KL 2.5; RLVR: weights 0.01, KL 0.02; dose not matched"
    assert one(effects, "base-sft − base-rlvr", 2)["dose"] == both
    without = study.effects(tmp_path)
    assert pd.isna(one(without, "base-sft", 2)["dose"])
    assert one(without, "base-sft − base-rlvr", 2)["dose"].endswith("is not known")


def test_rows_are_of_matched_layers_and_their_mean_at_the_end_of_training(study, tmp_path):
    study.add("base-sft", "sft", 0, "base-sft.s0@20", np.ones((4, 4)), {}, step=20)
    effects = study.effects(tmp_path)
    assert list(effects) == list(EFFECT_COLUMNS)
    assert sorted(effects[effects["pair"] == "base-sft"]["layer"]) == [-1, *LAYERS]
    assert not effects["pair"].isin(["s-seeds", "t-seeds"]).any()
    assert one(effects, "base-sft", 1)["value"] < 1


def test_without_a_seed_pair_there_is_a_value_and_a_reason(study, tmp_path):
    study.rows = [row for row in study.rows if row["kind"] != "seed"]
    found = one(study.effects(tmp_path), "base-sft", 2)
    assert found["note"] == NO_FLOOR
    assert found[["floor", "effect", "se", "ci_low"]].isna().all()
    assert found["value"] > 0


def test_one_seed_pair_is_said(study, tmp_path):
    study.rows = [row for row in study.rows if row["pair"] != "t-seeds"]
    found = one(study.effects(tmp_path), "base-sft", 2)
    assert found["note"] == ONE_SEED_PAIR
    assert found["se"] > 0


def test_missing_and_undefined_replicates_and_other_rows_give_no_interval_but_a_reason(
    study, tmp_path
):
    groups = study.files["correlation", "base-sft"]
    del groups["base~base-sft.s1/questions"]["replicates"]
    groups = study.files["correlation", "base-rlvr"]
    groups["base~base-rlvr.s0/questions"]["replicates"][2, 2, 4] = np.nan
    effects = study.effects(tmp_path)
    assert one(effects, "base-sft", 2)["note"] == NO_REPLICATES
    assert one(effects, "base-rlvr", 2)["note"] == UNDEFINED
    assert one(effects, "base-rlvr", 1)["se"] > 0
    assert effects[effects["note"] != ""]["se"].isna().all()
    assert effects["effect"].notna().all()


def test_replicates_of_other_rows_are_not_joint(study, tmp_path):
    for row in study.rows:
        if row["pair"] == "base-rlvr":
            row["n_tokens"] = 800
    effects = study.effects(tmp_path)
    assert one(effects, "base-rlvr", 2)["note"] == NOT_JOINT
    assert np.isnan(one(effects, "base-rlvr", 2)["se"].astype(float))
    assert one(effects, "base-sft", 2)["se"] > 0


def test_a_mean_over_other_layers_than_the_tables_gets_no_interval(study, tmp_path):
    for row in study.rows:
        if row["layer_reference"] == -1 and row["pair"] == "base-sft":
            row["value"] += 0.01
    assert one(study.effects(tmp_path), "base-sft", -1)["note"] == NO_REPLICATES


def test_neighbours_are_found_by_exclusion_and_k_and_scaled_as_pairs_of_deletions(tmp_path):
    study = Study()
    rng = np.random.default_rng(5)
    draws = {}
    for pair, kind in (("base-sft", "sft"), ("s-seeds", "seed")):
        values = rng.uniform(0.4, 0.9, (4, 4))
        draws[pair] = rng.standard_normal((2, 3, 4, 63))
        labels = {"metric": "knn", "statistic": "jaccard", "variant": "sample", "k": 10}
        study.add(pair, kind, None, pair, values, {"jaccard_draws": draws[pair]}, **labels)
    study.rows = [
        row for row in study.rows
        if row["metric"] == "knn" and row["layer_reference"] == row["layer_candidate"]
    ]  # fmt: skip
    asked = Neighbours(ks=(5, 10, 50), exclusions=("self", "sample"))
    found = one(study.effects(tmp_path, neighbours=asked), "base-sft", 2)
    direct = (draws["s-seeds"] - draws["base-sft"])[1, 1, 2]
    assert found["se"] == pytest.approx(paired_standard_error(direct, 60), rel=1e-10)
    assert found["interval_method"] == f"{paired_method(60)}, joint"
    assert (found["k"], found["variant"]) == (10, "sample")
    unknown = one(study.effects(tmp_path), "base-sft", 2)
    assert unknown["note"] == f"{ONE_SEED_PAIR}; {NO_REPLICATES}"


def test_probes_are_bootstrapped_on_the_same_test_samples(tmp_path):
    study = Study()
    draws = {}
    for pair, kind in (("base-sft", "sft"), ("s-seeds", "seed")):
        draws[pair] = np.random.default_rng(len(pair)).random((4, 2000))
        labels = {"metric": "probe", "statistic": "accuracy"}
        arrays = {"accuracy_draws": draws[pair]}
        study.add(pair, kind, None, pair, np.full((4, 4), 0.7), arrays, **labels)
    study.rows = [
        row for row in study.rows
        if row["metric"] == "probe" and row["layer_reference"] == row["layer_candidate"]
    ]  # fmt: skip
    found = one(study.effects(tmp_path), "base-sft", 2)
    direct = (draws["s-seeds"] - draws["base-sft"])[2]
    assert found["se"] == pytest.approx(direct.std(ddof=1), rel=1e-10)
    assert found["note"] == f"{ONE_SEED_PAIR}; {GIVEN_PROBES}"


def test_replicates_of_a_row_without_an_interval_are_not_used(study, tmp_path):
    for row in study.rows:
        if row["pair"] == "s-seeds" and row["layer_reference"] == 2:
            row["ci_low"] = None
    effects = study.effects(tmp_path)
    assert one(effects, "base-sft", 2)["note"] == NO_REPLICATES
    assert one(effects, "base-sft", 3)["se"] > 0


def test_the_order_of_rows_does_not_matter(study, tmp_path):
    replicates = read_replicates(study.write(tmp_path))
    first = effects_table(study.table(), replicates)
    for seed in range(3):
        shuffled = study.table().sample(frac=1, random_state=seed)
        pd.testing.assert_frame_equal(effects_table(shuffled, replicates), first, check_exact=True)


def test_an_empty_table_has_no_effects():
    assert effects_table(pd.DataFrame(columns=list(SIMILARITY_COLUMNS)), {}).empty


class TestReplicates:
    def test_files_are_read_without_checkpoints_and_other_arrays(self, tmp_path):
        path = tmp_path / "cka" / "base-sft.h5"
        path.parent.mkdir()
        with h5py.File(path, "w") as file:
            for group in ("base~sft.s0/q", "base~sft.s0@20/q"):
                for name in ("biased", "song_replicates", "jaccard_draws", "layers_reference"):
                    file[f"{group}/{name}"] = np.zeros(3)
        (key,) = found = read_replicates([path])
        assert key == ("cka", "base-sft", "base", "sft.s0", "q")
        assert set(found[key]) == {"song_replicates", "jaccard_draws", "layers_reference"}
        (checkpoint,) = at_steps = read_checkpoints([path])
        assert checkpoint == (key, 20)
        assert set(at_steps[checkpoint]) == set(found[key])

    def test_an_array_over_matched_layers_or_over_all_pairs_gives_the_same_cell(self):
        axes = {"layers_reference": np.arange(3), "layers_candidate": np.arange(3)}
        every = np.random.default_rng(0).standard_normal((3, 3, 5))
        matched = every[range(3), range(3)]
        both = [
            cell_replicates(axes | {"song_replicates": values}, "cka", "cka", variant="song")
            for values in (every, matched)
        ]
        for layer in range(3):
            assert (both[0].cells[layer, layer] == both[1].cells[layer, layer]).all()
        assert (both[0].cells[0, 2] == every[0, 2]).all()
        assert (0, 2) not in both[1].cells

    def test_another_variant_or_shape_has_no_cells(self):
        axes = {"layers_reference": np.arange(3), "layers_candidate": np.arange(3)}
        arrays = axes | {"song_replicates": np.zeros((4, 5))}
        assert not cell_replicates(arrays, "cka", "cka", variant="song").cells
        assert not cell_replicates(arrays, "cka", "cka", variant="biased").cells
        four = axes | {"jaccard_draws": np.zeros((1, 2, 3, 40))}
        options = {"variant": "self", "k": 5, "exclusions": ("self",)}
        assert len(cell_replicates(four, "knn", "jaccard", ks=(5, 10), **options).cells) == 3
        assert not cell_replicates(four, "knn", "jaccard", ks=(5, 10, 50), **options).cells
        assert not cell_replicates(four, "knn", "jaccard", ks=(10, 50), **options).cells

    def test_layers_that_were_not_computed_have_no_replicates(self):
        axes = {"layers_reference": np.arange(3), "layers_candidate": np.arange(3)}
        draws = np.full((3, 40), np.nan)
        draws[2] = 1.0
        found = cell_replicates(axes | {"h_inv_draws": draws}, "procrustes", "h_inv")
        assert list(found.cells) == [(2, 2)]
        assert found.scheme == "deletion"
        assert found.mean_over([(1, 1), (2, 2)]) is None

    def test_layers_of_unequal_depths_are_matched_by_their_share(self):
        assert matched_cells([0, 1, 2], [0, 1, 2]) == [(0, 0), (1, 1), (2, 2)]
        deeper = matched_cells([0, 1, 2, 3], range(7))
        assert deeper == [(0, 0), (1, 2), (2, 4), (3, 6)]
        assert matched_cells([], []) == []

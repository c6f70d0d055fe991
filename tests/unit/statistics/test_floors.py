import numpy as np
import pandas as pd
import pytest

from hrsa.statistics.floors import seed_floors


def row(pair: str, kind: str, value: float | None, **changes) -> dict:
    """One row of the similarity table: CKA at layer 3 of a backbone pair."""
    return {
        "pair": pair, "kind": kind, "stage": "backbone", "seed": None, "step": None,
        "dataset": "questions", "metric": "cka", "statistic": "cka", "view": "raw",
        "variant": "biased", "k": None, "layer_reference": 3, "layer_candidate": 3, "value": value,
    } | changes  # fmt: skip


def floors(*rows: dict) -> tuple[list, list]:
    found = seed_floors(pd.DataFrame(rows))
    return found.values.tolist(), found.n_pairs.tolist()


SEEDS = (row("a-seeds", "seed", 0.9), row("b-seeds", "seed", 0.8), row("c-seeds", "seed", 0.4))


def test_the_floor_is_one_minus_the_mean_distance_of_the_seed_pairs():
    values, n_pairs = floors(row("base-sft", "sft", 0.5), *SEEDS)
    assert values[0] == pytest.approx(1 - np.mean([0.1, 0.2, 0.6]))
    assert n_pairs[0] == 3


def test_a_seed_pair_is_read_against_the_others():
    values, n_pairs = floors(*SEEDS)
    assert values == pytest.approx([0.6, 0.65, 0.85])
    assert n_pairs == [2, 2, 2]


def test_a_single_seed_pair_is_the_floor_of_others_and_has_none_itself():
    values, n_pairs = floors(row("base-sft", "sft", 0.5), SEEDS[0])
    assert values[0] == 0.9
    assert np.isnan(values[1])
    assert n_pairs == [1, 0]


def test_a_pair_of_several_seeds_counts_once():
    seeds = [row("b-seeds", "seed", 0.7, seed=s) for s in (0, 1, 2)]
    values, _ = floors(row("base-sft", "sft", 0.5), SEEDS[0], *seeds)
    assert values[0] == pytest.approx(0.8)


@pytest.mark.parametrize(
    "change",
    [
        {"stage": "embedding"}, {"dataset": "problems"}, {"metric": "knn"},
        {"statistic": "cka_max"}, {"view": "zscored"}, {"variant": "song"}, {"k": 10},
        {"layer_reference": 2}, {"layer_candidate": 2},
    ],
)  # fmt: skip
def test_only_the_same_cell_counts(change):
    values, n_pairs = floors(row("base-sft", "sft", 0.5, **change), *SEEDS)
    assert np.isnan(values[0])
    assert n_pairs[0] == 0


def test_checkpoints_get_the_floor_at_the_end_of_training_and_give_none():
    values, _ = floors(
        row("base-sft", "sft", 0.5, step=20), SEEDS[0], row("a-seeds", "seed", 0.1, step=20)
    )
    assert values[0] == 0.9


def test_an_undefined_seed_pair_does_not_count():
    values, n_pairs = floors(row("base-sft", "sft", 0.5), SEEDS[0], row("b-seeds", "seed", None))
    assert values[0] == 0.9
    assert n_pairs[0] == 1


def test_a_control_is_no_floor():
    values, _ = floors(row("base-sft", "sft", 0.5), row("base-control", "control", 0.7))
    assert np.isnan(values).all()


def test_missing_values_of_any_type_are_one_cell():
    table = pd.DataFrame([row("base-sft", "sft", 0.5), SEEDS[0]])
    typed = table.astype({"k": "Int64", "step": "Int64", "pair": "string", "kind": "string"})
    plain = table.assign(k=np.nan, step=np.nan)
    assert seed_floors(typed).values[0] == seed_floors(plain).values[0] == 0.9
    mixed = table.assign(k=[10, 10]).astype({"k": "Int64"})
    assert seed_floors(mixed).values[0] == 0.9


def test_the_order_of_rows_does_not_matter():
    rng = np.random.default_rng(0)
    seeds = [row(f"p{i}", "seed", rng.random(), seed=s) for i in range(7) for s in range(3)]
    table = pd.DataFrame([row("base-sft", "sft", 0.5), *seeds])
    first = seed_floors(table).values[0]
    for seed in range(5):
        shuffled = table.sample(frac=1, random_state=seed)
        found = seed_floors(shuffled).values[(shuffled["pair"] == "base-sft").to_numpy()]
        assert found.item() == first


def test_an_empty_table_has_no_floors():
    assert seed_floors(pd.DataFrame([SEEDS[0]]).iloc[:0]).values.shape == (0,)

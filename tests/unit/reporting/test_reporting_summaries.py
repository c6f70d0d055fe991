import pandas as pd

from hrsa.reporting.effects import EFFECT_COLUMNS
from hrsa.reporting.summaries import (
    accuracy_summary,
    benchmark_summary,
    effects_summary,
    similarity_summary,
)


def similarity_row(**changes) -> dict:
    """Return a row of the similarity table: CKA of the final layer of a backbone pair."""
    return {
        "pair": "base-sft", "kind": "sft", "stage": "backbone", "reference": "base",
        "candidate": "sft", "seed": None, "step": None, "dataset": "questions", "metric": "cka",
        "statistic": "cka", "view": "raw", "variant": "sample_debiased", "k": None,
        "layer_reference": 6, "layer_candidate": 6, "value": 0.5, "ci_low": 0.4, "ci_high": 0.6,
        "chance": 0.0, "floor": None, "n_tokens": 1000, "n_samples": 100,
    } | changes  # fmt: skip


def summarised(*rows: dict) -> pd.DataFrame:
    """The lines of pairs; what stands below them is tested for itself."""
    summary = similarity_summary(pd.DataFrame(list(rows)))
    return summary[~summary["pair"].isin(["seed floor", "chance"])]


def test_one_model_shows_its_interval():
    summary = summarised(similarity_row())
    assert summary["Linear CKA"].item() == "0.500 [0.400, 0.600]"
    assert summary["seeds"].item() == 1


def test_seed_floor_and_chance_stand_below_the_pairs_of_a_stage_and_data_set():
    seeds = [
        similarity_row(pair=name, kind="seed", value=v) for name, v in (("s", 0.9), ("t", 0.8))
    ]
    others = [{"stage": "embedding", "pair": "e"}, {"dataset": "problems"}]
    rows = [similarity_row(), *seeds, *(similarity_row(**change) for change in others)]
    summary = similarity_summary(pd.DataFrame(rows))
    lines = summary.set_index(["stage", "data set", "pair"])["Linear CKA"]
    assert lines["backbone", "questions", "seed floor"] == "0.850"
    assert lines["backbone", "questions", "chance"] == "0.000"
    assert lines["embedding", "questions", "seed floor"] == ""
    assert lines["backbone", "problems", "seed floor"] == ""
    assert len(summary) == 5 + 2 * 3


def test_chance_that_varies_is_a_range():
    rows = [similarity_row(pair=f"p{i}", chance=chance) for i, chance in enumerate((0.1, 0.3, 0.2))]
    lines = similarity_summary(pd.DataFrame(rows)).set_index("pair")["Linear CKA"]
    assert lines["chance"] == "0.100 to 0.300"


def test_several_seeds_show_their_range():
    rows = [similarity_row(seed=0, value=0.5), similarity_row(seed=1, value=0.7)]
    assert summarised(*rows)["Linear CKA"].item() == "0.600 (0.500 to 0.700)"


def test_only_the_final_layer_of_final_models_in_the_raw_view_counts():
    others = [
        {"layer_reference": 5, "layer_candidate": 5}, {"step": 20}, {"view": "zscored"},
        {"variant": "biased"}, {"layer_reference": -1, "layer_candidate": -1},
        {"statistic": "cka_max"},
    ]  # fmt: skip
    rows = [similarity_row(), *(similarity_row(value=0.9, **change) for change in others)]
    assert summarised(*rows)["Linear CKA"].item().startswith("0.500")


def test_a_metric_that_was_not_computed_is_empty():
    assert summarised(similarity_row())["Inverse row entropy of O*"].item() == ""
    assert similarity_summary(pd.DataFrame()).empty


def effect_row(**changes) -> dict:
    """Return a row of the table of effects: CKA of a backbone pair, the mean over layers."""
    return dict.fromkeys(EFFECT_COLUMNS) | {
        "pair": "base-sft", "kind": "sft", "stage": "backbone", "dataset": "questions",
        "metric": "cka", "statistic": "cka", "layer": -1, "effect": 0.125, "ci_low": 0.1,
        "ci_high": 0.15, "n_seeds": 2,
    } | changes  # fmt: skip


def test_effects_show_their_interval_at_the_layer_of_the_headline():
    h_inv = {"metric": "procrustes", "statistic": "h_inv", "ci_low": None, "ci_high": None}
    rows = [
        effect_row(),
        effect_row(layer=6, effect=0.9),
        effect_row(**h_inv, layer=6, effect=-0.25),
        effect_row(**h_inv, layer=5, effect=0.9),
        effect_row(**h_inv, layer=-1, effect=0.9),
    ]
    summary = effects_summary(pd.DataFrame(rows))
    assert summary["Linear CKA, mean over layers"].item() == "+0.125 [+0.100, +0.150]"
    assert summary["Inverse row entropy of O*, final layer"].item() == "−0.250"
    assert summary["Procrustes, held out, mean over layers"].item() == ""
    assert summary["seeds"].item() == 2


def test_effects_come_by_stage_kind_and_pair_and_the_difference_of_kinds_last():
    kinds = ("sft − rlvr", "control", "sft", "rlvr")
    rows = [effect_row(pair=kind, kind=kind) for kind in kinds]
    assert effects_summary(pd.DataFrame(rows))["kind"].tolist() == [
        "sft", "rlvr", "control", "sft − rlvr",
    ]  # fmt: skip
    assert effects_summary(pd.DataFrame(columns=list(EFFECT_COLUMNS))).empty


def test_accuracy_has_a_column_per_split_and_decoding():
    cell = {"model": "rlvr", "seed": 1, "step": None, "split": "test"}
    cell |= {"ci_low": 0.7, "ci_high": 0.8}
    table = pd.DataFrame(
        [
            cell | {"decoding": "greedy", "accuracy": 0.75},
            cell | {"decoding": "sampled", "accuracy": 0.72},
        ]
    )
    summary = accuracy_summary(table)
    assert list(summary.columns) == ["model", "test, greedy", "test, sampled"]
    assert summary.iloc[0].tolist() == [
        "rlvr, seed 1", "0.750 [0.700, 0.800]", "0.720 [0.700, 0.800]",
    ]  # fmt: skip
    assert accuracy_summary(pd.DataFrame()).empty


def test_benchmarks_give_mean_and_spread_over_seeds():
    rows = [
        {"model": "sft-emb", "seed": seed, "step": None, "task": task, "value": value}
        for seed, value in ((0, 0.5), (1, 0.6))
        for task in ("TopicRetrieval", "Other")
    ]
    table = pd.DataFrame(rows).assign(chance=None)
    summary = benchmark_summary(table)
    assert summary["TopicRetrieval"].item() == "0.550 ± 0.071 (2 seeds)"
    assert benchmark_summary(pd.DataFrame()).empty
    with_chance = table.assign(chance=table["task"].map({"TopicRetrieval": 0.02}))
    last = benchmark_summary(with_chance).to_dict("records")[-1]
    assert last == {"model": "chance", "TopicRetrieval": "0.020", "Other": ""}
    with_chance.loc[0, "chance"] = 0.01
    assert benchmark_summary(with_chance).iloc[-1]["TopicRetrieval"] == "0.010 to 0.020"

import pandas as pd

from hrsa.reporting.summaries import accuracy_summary, benchmark_summary, similarity_summary


def similarity_row(**changes) -> dict:
    """Return a row of the similarity table: CKA of the final layer of a backbone pair."""
    return {
        "pair": "base-sft", "kind": "sft", "stage": "backbone", "reference": "base",
        "candidate": "sft", "seed": None, "step": None, "dataset": "questions", "metric": "cka",
        "statistic": "cka", "view": "raw", "variant": "sample_debiased", "k": None,
        "layer_reference": 6, "layer_candidate": 6, "value": 0.5, "ci_low": 0.4, "ci_high": 0.6,
        "chance": 0.0, "n_tokens": 1000,
    } | changes  # fmt: skip


def test_one_model_shows_its_interval():
    summary = similarity_summary(pd.DataFrame([similarity_row()]))
    assert summary["Linear CKA"].item() == "0.500 [0.400, 0.600]"
    assert summary["seeds"].item() == 1


def test_several_seeds_show_their_range():
    rows = [similarity_row(seed=0, value=0.5), similarity_row(seed=1, value=0.7)]
    assert similarity_summary(pd.DataFrame(rows))["Linear CKA"].item() == "0.600 (0.500 to 0.700)"


def test_only_the_final_layer_of_final_models_in_the_raw_view_counts():
    others = [
        {"layer_reference": 5, "layer_candidate": 5}, {"step": 20}, {"view": "zscored"},
        {"variant": "biased"}, {"layer_reference": -1, "layer_candidate": -1},
    ]  # fmt: skip
    rows = [similarity_row(), *(similarity_row(value=0.9, **change) for change in others)]
    assert similarity_summary(pd.DataFrame(rows))["Linear CKA"].item().startswith("0.500")


def test_a_metric_that_was_not_computed_is_empty():
    summary = similarity_summary(pd.DataFrame([similarity_row()]))
    assert summary["Inverse row entropy of O*"].item() == ""
    assert similarity_summary(pd.DataFrame()).empty


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
        {"model": "sft-emb", "seed": seed, "step": None, "task": "TopicRetrieval", "value": value}
        for seed, value in ((0, 0.5), (1, 0.6))
    ]
    summary = benchmark_summary(pd.DataFrame(rows))
    assert summary["TopicRetrieval"].item() == "0.550 ± 0.071 (2 seeds)"
    assert benchmark_summary(pd.DataFrame()).empty

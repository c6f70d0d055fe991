"""Both directions of a probe, what it may see, real-valued labels, other widths, and its tests."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, ortho_group
from sklearn.linear_model import Ridge
from sklearn.metrics import f1_score, r2_score
from sklearn.preprocessing import StandardScaler

import hrsa.similarity.probe_measure as probe_measure
from hrsa.activations.pooling import pooled_samples, sample_means
from hrsa.errors import UserError
from hrsa.similarity import cross_model_probe, probe_layers
from hrsa.similarity.probe_fit import PENALTIES, fit_probe
from hrsa.similarity.probe_scores import N_BOOTSTRAP, bootstrap_sums, score_classes
from hrsa.similarity.probe_significance import flipped_means, permuted_r2, sign_flip_p
from hrsa.statistics.permutation import equal_rows, sample_permutations

SPLITS = {"train": slice(0, 60), "val": slice(60, 90), "test": slice(90, 150)}


def arguments_of(X, Y, labels):
    """Arguments of the probe from all samples' features and labels."""
    found = {f"X_{name}": X[rows] for name, rows in SPLITS.items()}
    found |= {f"Y_{name}": Y[rows] for name, rows in SPLITS.items()}
    return found | {f"y_{name}": labels[rows] for name, rows in SPLITS.items()}


def problem(seed=0, n=150, width=6, noise=0.5):
    """Three classes; the candidate's features are the reference's with noise."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 3, n)
    centres = 1.2 * rng.standard_normal((3, width))
    X = centres[classes] + rng.standard_normal((n, width))
    Y = X + noise * rng.standard_normal(X.shape)
    return arguments_of(X, Y, np.array(["maths", "music", "sport"])[classes])


def real_problem(seed=0, n=150, width=6, noise=0.3):
    """Real values that are linear in the reference's features, with noise."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, width))
    labels = X @ rng.standard_normal(width) + 0.5 * rng.standard_normal(n) + 7
    return arguments_of(X, X + noise * rng.standard_normal(X.shape), labels)


def exchanged(arguments):
    """The two models in each other's place."""
    other = {"X": "Y", "Y": "X", "y": "y"}
    return {f"{other[name[0]]}{name[1:]}": value for name, value in arguments.items()}


# Both ways


@pytest.mark.parametrize("build", [problem, real_problem])
def test_the_way_back_is_the_way_there_with_the_models_exchanged(build):
    kind = "logistic" if build is problem else "ridge"
    there = cross_model_probe(**build(), kind=kind)
    back = cross_model_probe(**exchanged(build()), kind=kind)
    assert (there.value, there.reference) == (back.reverse, back.own)
    assert there.difference == back.reverse_difference
    assert there.difference_ci_high == pytest.approx(back.reverse_difference_ci_high)
    reverse = back.intervals[f"reverse_{back.score}"]
    assert (there.ci_low, there.ci_high) == pytest.approx((reverse.low, reverse.high))
    assert there.p_values[there.score] == back.p_values[f"reverse_{there.score}"]
    assert there.regularisation == back.own_regularisation


# What a fit may see


@pytest.fixture
def fitted(monkeypatch):
    """Probes in the order in which they were fitted."""
    found = []

    def remember(*arguments, **options):
        found.append(fit_probe(*arguments, **options))
        return found[-1]

    monkeypatch.setattr(probe_measure, "fit_probe", remember)
    return found


@pytest.mark.parametrize("build", [problem, real_problem])
def test_other_test_data_leave_the_fit_as_it_is(build, fitted):
    arguments = build()
    rng = np.random.default_rng(1)
    changed = arguments | {
        "X_test": 50 + 9 * rng.standard_normal((40, 6)),
        "Y_test": rng.standard_normal((40, 6)),
        "y_test": rng.permutation(arguments["y_test"])[:40],
    }
    for given in (arguments, changed):
        cross_model_probe(**given, kind="logistic" if build is problem else "ridge")
    for before, after in zip(fitted[:2], fitted[2:], strict=True):
        assert np.array_equal(before.model.coef_, after.model.coef_)
        assert np.array_equal(before.model.intercept_, after.model.intercept_)
        assert np.array_equal([before.mean, before.scale], [after.mean, after.scale])
        assert before.penalty == after.penalty


def test_only_the_training_split_standardises_and_only_the_validation_split_chooses(fitted):
    arguments = problem()
    cross_model_probe(**arguments)
    cross_model_probe(**(arguments | {"X_val": arguments["X_val"] * 1000 - 3}))
    scaler = StandardScaler().fit(arguments["X_train"])
    for probe in (fitted[0], fitted[2]):
        assert probe.mean == pytest.approx(scaler.mean_)
        assert probe.scale == pytest.approx(scaler.scale_)
    assert np.array_equal(fitted[1].model.coef_, fitted[3].model.coef_)


def test_without_a_validation_split_of_its_own_the_candidates_probe_says_so():
    arguments = problem()
    del arguments["Y_val"]
    found = cross_model_probe(**arguments)
    assert found.own_regularisation == 1
    assert "candidate's own probe without a validation split: C = 1" in found.note


def test_a_dimension_that_is_constant_up_to_rounding_cannot_drown_the_others():
    arguments = problem()
    plain = cross_model_probe(**arguments)
    for model, constant in (("X", 0.1), ("Y", 0.3)):
        for split in SPLITS:
            name = f"{model}_{split}"
            column = np.full(len(arguments[name]), constant)
            arguments[name] = np.column_stack([arguments[name], column])
    assert cross_model_probe(**arguments).value == pytest.approx(plain.value, abs=0.02)


# Intervals


def test_draws_are_whole_samples_with_replacement():
    sums = np.random.default_rng(0).standard_normal((30, 4))
    times = np.random.default_rng(7).multinomial(30, np.full(30, 1 / 30), size=N_BOOTSTRAP)
    assert bootstrap_sums(sums, 7) == pytest.approx(times @ sums)


def test_every_score_of_every_draw_is_that_of_the_drawn_rows():
    rng = np.random.default_rng(0)
    labels, guesses = rng.integers(0, 4, 50), rng.integers(0, 5, 50)
    codes = np.arange(50) // 2
    found = score_classes(labels, {"": guesses}, codes, n_classes=6, majority=1, seed=3)
    times = np.random.default_rng(3).multinomial(25, np.full(25, 1 / 25), size=N_BOOTSTRAP)
    for draw in range(25):
        rows = np.repeat(np.arange(50), times[draw][codes])
        drawn = labels[rows], guesses[rows]
        assert found.draws["accuracy"][draw] == pytest.approx(np.mean(drawn[0] == drawn[1]))
        for average in ("macro", "weighted"):
            expected = f1_score(*drawn, average=average, zero_division=0)
            assert found.draws[f"{average}_f1"][draw] == pytest.approx(expected)
    for average in ("macro", "weighted"):
        always = f1_score(labels, np.ones(50), average=average, zero_division=0)
        assert found.chance[f"{average}_f1"] == pytest.approx(always)


def test_intervals_of_f1_are_percentiles_around_it():
    found = cross_model_probe(**problem())
    for name in ("macro_f1", "weighted_f1", "reference_macro_f1", "own_weighted_f1"):
        interval = found.intervals[name]
        assert interval.low < getattr(found, name) < interval.high
        assert "bootstrap of test samples" in interval.method


# Tests against chance


@pytest.mark.parametrize(("better", "worse"), [(12, 3), (5, 5), (2, 9), (0, 0), (400, 350)])
def test_with_one_row_per_sample_p_is_the_sign_tests(better, worse):
    differences = np.array([1] * better + [-1] * worse + [0] * 7)
    n = better + worse
    one = binomtest(better, n, alternative="greater").pvalue if n else 1
    two = binomtest(better, n).pvalue if n else 1
    assert sign_flip_p(differences) == pytest.approx(one)
    assert sign_flip_p(differences, two_sided=True) == pytest.approx(two)


def test_with_several_rows_per_sample_p_counts_all_signs():
    differences = np.array([3, -1, 2, 2, 0, -3, 1])
    sums = np.array([np.dot(signs, differences) for signs in product((-1, 1), repeat=7)])
    assert sign_flip_p(differences) == pytest.approx(np.mean(sums >= 4))
    assert sign_flip_p(differences, two_sided=True) == pytest.approx(np.mean(np.abs(sums) >= 4))


def test_drawn_signs_agree_with_all_signs():
    differences = np.array([3, -1, 2, 2, 0, -3, 1, 1, 1, 2])
    null = flipped_means(differences, 40, n_permutations=20000, seed=0)
    assert null.mean() == pytest.approx(0, abs=0.002)
    assert np.mean(null >= 8 / 40 - 1e-12) == pytest.approx(sign_flip_p(differences), abs=0.01)


def test_p_is_against_the_majority_line():
    arguments = problem()
    found = cross_model_probe(**arguments)
    assert found.p < 1e-6
    assert "against the majority line" in found.note
    assert found.p_values["reference_accuracy"] < 1e-6
    assert found.p_values["difference"] > 0.01


def test_features_without_a_relation_to_the_labels_are_rarely_better_than_the_majority_line():
    found = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        arguments = problem(seed) | {f"X_{name}": rng.standard_normal((60, 6)) for name in SPLITS}
        del arguments["X_val"], arguments["Y_val"], arguments["y_val"]
        found.append(cross_model_probe(**arguments).p_values["reference_accuracy"])
    assert np.mean(np.array(found) <= 0.05) <= 0.1


def test_without_permutations_there_is_no_p():
    found = cross_model_probe(**problem(), n_permutations=0)
    assert found.p is None
    assert found.p_values == {}
    assert "p: no permutations were asked for" in found.note


# Real-valued labels


def test_real_values_are_predicted_by_ridge_regression():
    arguments = real_problem()
    found = cross_model_probe(**arguments, kind="ridge")
    scaler = StandardScaler().fit(arguments["X_train"])
    probes = [
        Ridge(alpha=1 / C).fit(scaler.transform(arguments["X_train"]), arguments["y_train"])
        for C in PENALTIES
    ]
    losses = [
        np.mean((probe.predict(scaler.transform(arguments["X_val"])) - arguments["y_val"]) ** 2)
        for probe in probes
    ]
    best = probes[int(np.argmin(losses))]
    guesses = best.predict(scaler.transform(arguments["Y_test"]))
    assert found.score == "r2"
    assert found.value == pytest.approx(r2_score(arguments["y_test"], guesses))
    assert found.regularisation == PENALTIES[int(np.argmin(losses))]
    assert found.ci_low < found.value < found.ci_high
    assert found.value <= found.reference < 1
    assert found.chance == 0
    assert found.p == 1 / 200
    assert found.macro_f1 is None


def test_p_of_r2_permutes_whole_test_samples():
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(12), rng.integers(2, 5, 12))
    labels = rng.standard_normal(len(codes))
    guesses = labels + 2 * rng.standard_normal(len(codes))
    rows = equal_rows(codes)
    observed, null = permuted_r2(labels, guesses, rows, n_permutations=25, seed=0)
    kept = labels[rows.rows].ravel()
    assert observed == pytest.approx(r2_score(kept, guesses[rows.rows].ravel()))
    expected = [
        r2_score(kept, guesses[rows.rows[order]].ravel())
        for order in sample_permutations(len(rows.rows), 25)
    ]
    assert null == pytest.approx(np.array(expected))


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("logistic", {}, 'logistic regression needs classes: use kind="ridge"'),
        ("ridge", {"y_train": np.full(60, 2.5)}, "y_train holds one value, 2.5"),
        ("ridge", {"y_test": np.full(60, 2.5)}, "y_test holds one value, 2.5"),
        ("ridge", {"y_val": np.full(30, np.inf)}, "y_val holds inf at row 0"),
        ("ridge", {"y_test": np.full(60, "a")}, "y_test must hold real numbers like y_train"),
    ],
)
def test_labels_that_cannot_be_learnt_are_refused(kind, change, message):
    with pytest.raises(ValueError, match=message):
        cross_model_probe(**(real_problem() | change), kind=kind)


def test_whole_numbers_are_classes():
    arguments = problem()
    numbered = {"maths": 4, "music": 0, "sport": 2}
    for split in SPLITS:
        arguments[f"y_{split}"] = np.array([numbered[name] for name in arguments[f"y_{split}"]])
    assert cross_model_probe(**arguments).value == cross_model_probe(**problem()).value
    assert cross_model_probe(**arguments, kind="ridge").score == "accuracy"


# Other widths


def test_a_wider_turned_copy_is_read_through_the_rotation_of_the_training_split():
    arguments = problem()
    turn = ortho_group.rvs(9, random_state=0)[:6]
    for split in SPLITS:
        arguments[f"Y_{split}"] = arguments[f"X_{split}"] @ turn + 5
    with pytest.raises(ValueError, match=r'Y_test has width 9.*align="procrustes"'):
        cross_model_probe(**arguments)
    found = cross_model_probe(**arguments, align="procrustes")
    assert found.value == found.reference
    assert found.reverse == found.own
    assert "carried over by the Procrustes rotation of the training split" in found.note


def test_the_rotation_sees_no_test_data(monkeypatch):
    arguments, fits = problem(), []
    original = probe_measure.TrainingMap.fit
    monkeypatch.setattr(
        probe_measure.TrainingMap, "fit", lambda *given: fits.append(given) or original(*given)
    )
    cross_model_probe(**arguments, align="procrustes")
    assert np.array_equal(fits[0][0], arguments["X_train"])
    assert np.array_equal(fits[0][1], arguments["Y_train"])


# Layers


@pytest.fixture
def labels(two_models):
    ids = two_models[0].samples.ids
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "id": ids,
            "label": np.array(["a", "b"])[rng.integers(0, 2, len(ids))],
            "split": np.array(["train", "validation", "test"])[np.arange(len(ids)) % 3],
        }
    )


def rows_of(found, layer):
    return found.table[found.table["layer_reference"] == layer].set_index("statistic")


def test_the_embedding_is_the_final_layers_mean_at_unit_length(two_models, labels):
    reference, candidate, _ = two_models
    found = rows_of(probe_layers(reference, candidate, labels), 2)
    unit = {}
    for name, model in (("X", reference), ("Y", candidate)):
        means = sample_means(model, 2)
        unit[name] = means / np.linalg.norm(means, axis=1, keepdims=True)
    split, y = labels["split"].to_numpy(), labels["label"].to_numpy()
    places = {"train": split == "train", "val": split == "validation", "test": split == "test"}
    direct = cross_model_probe(
        **{f"{model}_{name}": unit[model][rows] for model in unit for name, rows in places.items()},
        **{f"y_{name}": y[rows] for name, rows in places.items()},
    )
    assert found.loc["embedding_accuracy", "value"] == direct.value
    assert found.loc["embedding_reverse_macro_f1", "value"] == direct.reverse_macro_f1
    assert found.loc["embedding_difference", "ci_low"] == direct.difference_ci_low
    assert "embedding_accuracy" not in rows_of(probe_layers(*two_models[:2], labels), 1).index


def test_each_model_is_pooled_as_its_own_file_says_on_every_layer(two_models, labels):
    reference, candidate, _ = two_models
    reference.attrs["pooling"], candidate.attrs["pooling"] = "cls", "max"
    found = probe_layers(reference, candidate, labels)
    split, y = labels["split"].to_numpy(), labels["label"].to_numpy()
    places = {"train": split == "train", "val": split == "validation", "test": split == "test"}
    for layer in (1, 2):
        X, Y = pooled_samples(reference, layer, "cls"), pooled_samples(candidate, layer, "max")
        direct = cross_model_probe(
            **{f"X_{name}": X[rows] for name, rows in places.items()},
            **{f"Y_{name}": Y[rows] for name, rows in places.items()},
            **{f"y_{name}": y[rows] for name, rows in places.items()},
        )
        rows = rows_of(found, layer)
        assert rows.loc["reference_accuracy", "value"] == direct.reference
        assert rows.loc["own_accuracy", "value"] == direct.own
        assert rows.loc["difference", "ci_high"] == direct.difference_ci_high
    assert found.table["note"].str.contains("pooling: reference cls, candidate max").all()


def test_a_recorded_mean_changes_nothing(two_models, labels):
    reference, candidate, _ = two_models
    plain = probe_layers(reference, candidate, labels)
    candidate.attrs["pooling"] = "mean"
    pd.testing.assert_frame_equal(probe_layers(reference, candidate, labels).table, plain.table)


def test_the_mean_in_place_of_a_token_that_is_not_stored_is_told(two_models, labels):
    reference, candidate, _ = two_models
    plain = probe_layers(reference, candidate, labels).table
    candidate.attrs.update(pooling="lasttoken", pooling_end_mark=True)
    with pytest.warns(UserWarning, match=r"candidate\.h5: pooled by mean \(the file says last"):
        found = probe_layers(reference, candidate, labels).table
    told = "pooling: reference mean, candidate mean (the file says lasttoken"
    assert found["note"].str.contains(told, regex=False).all()
    pd.testing.assert_frame_equal(found.drop(columns="note"), plain.drop(columns="note"))


def test_embeddings_of_unequal_width_are_probed_when_aligned(two_models, labels):
    reference, candidate, _ = two_models
    candidate.attrs["pooling"] = "cls+mean"
    with pytest.raises(UserError, match=r"got 12 and 24 \(pooling: reference mean, candidate cls"):
        probe_layers(reference, candidate, labels)
    found = probe_layers(reference, candidate, labels, align="procrustes", layers=[2]).table
    assert "embedding_accuracy" in set(found["statistic"])


def test_means_over_layers_have_the_interval_and_the_p_of_the_joint_draws(two_models, labels):
    found = probe_layers(*two_models[:2], labels)
    mean = rows_of(found, -1)
    draws = found.arrays["accuracy_draws"]
    assert draws.shape == (3, N_BOOTSTRAP)
    joint = draws[1:].mean(axis=0)
    assert mean.loc["accuracy", "se"] == pytest.approx(joint.std(ddof=1))
    assert mean.loc["accuracy", "ci_low"] == pytest.approx(np.percentile(joint, 2.5))
    values = [rows_of(found, layer).loc["accuracy", "value"] for layer in (1, 2)]
    assert mean.loc["accuracy", "value"] == pytest.approx(np.mean(values))
    assert mean.loc["accuracy_max", "value"] == max(values)
    assert 1 / 200 <= mean.loc["accuracy_max", "p"] <= 1
    assert "signs of test samples flipped 199 times" in mean.loc["accuracy", "note"]
    assert "p: given for accuracy" in mean.loc["macro_f1", "note"]


def test_p_of_the_mean_and_of_the_best_layer_flip_all_layers_alike(two_models, labels):
    """Two layers that are the same have the same p as each of them alone."""
    found = probe_layers(*two_models[:2], labels, layers=[2])
    mean = rows_of(found, -1)
    assert mean.loc["accuracy", "p"] == mean.loc["accuracy_max", "p"]
    exact = rows_of(found, 2).loc["accuracy", "p"]
    assert mean.loc["accuracy", "p"] == pytest.approx(exact, abs=0.1)


def test_real_valued_labels_of_a_data_set_are_probed_by_ridge(two_models, labels):
    reference, candidate, _ = two_models
    means = sample_means(reference, 2)
    labels["label"] = means @ np.random.default_rng(0).standard_normal(12)
    found = probe_layers(reference, candidate, labels, kind="ridge")
    final = rows_of(found, 2)
    assert final.loc["reference_r2", "value"] > 0.8
    assert final.loc["reference_r2", "p"] == 1 / 200
    assert (final.loc["r2", "chance"], rows_of(found, -1).loc["r2", "chance"]) == (0, 0)
    assert "accuracy" not in final.index
    assert rows_of(found, -1).loc["r2_max", "p"] >= 1 / 200
    with pytest.raises(UserError, match="needs classes"):
        probe_layers(reference, candidate, labels)


def test_models_of_unequal_width_are_compared_when_aligned(store_model, two_models, labels):
    reference, _, _ = two_models
    sizes = np.diff(reference.samples.offsets)
    turn = ortho_group.rvs(20, random_state=0)[:12]
    turned = {layer: reference.layer(layer)[:] @ turn for layer in range(3)}
    other = store_model("wide", turned, sizes)
    with pytest.raises(UserError, match="align: procrustes"):
        probe_layers(reference, other, labels)
    found = probe_layers(reference, other, labels, align="procrustes").table
    assert (found["variant"] == "procrustes").all()
    final = found[found["layer_reference"] == 2].set_index("statistic")
    assert final.loc["accuracy", "value"] == final.loc["reference_accuracy", "value"]


def test_rows_say_what_they_lack(two_models, labels):
    table = probe_layers(*two_models[:2], labels).table
    for column, word in (("ci_low", "interval"), ("p", "p:")):
        missing = table[table[column].isna()]
        assert missing["note"].str.contains(word).all(), (column, missing["note"].tolist())
    untested = probe_layers(*two_models[:2], labels, n_permutations=0).table
    assert untested["p"].isna().all()
    assert untested["note"].str.contains("p: ").all()

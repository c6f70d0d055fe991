import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.preprocessing import StandardScaler

from hrsa.errors import UserError
from hrsa.similarity import cross_model_probe, probe_layers


def problem(seed=0, n=150, width=6, noise=0.3):
    """Three classes; the candidate's features are the reference's with noise."""
    rng = np.random.default_rng(seed)
    labels = np.array(["maths", "music", "sport"])[rng.integers(0, 3, n)]
    centres = {name: 1.2 * rng.standard_normal(width) for name in ("maths", "music", "sport")}
    X = np.array([centres[label] for label in labels]) + rng.standard_normal((n, width))
    Y = X + noise * rng.standard_normal(X.shape)
    train, validation, test = slice(0, 60), slice(60, 90), slice(90, n)
    return {
        "X_train": X[train],
        "y_train": labels[train],
        "X_test": X[test],
        "Y_test": Y[test],
        "y_test": labels[test],
        "Y_train": Y[train],
        "X_val": X[validation],
        "Y_val": Y[validation],
        "y_val": labels[validation],
    }


def without(arguments, *names):
    return {name: value for name, value in arguments.items() if name not in names}


def test_it_is_scikit_learns_classifier_on_standardised_features():
    arguments = problem()
    found = cross_model_probe(**without(arguments, "X_val", "Y_val", "y_val"))
    scaler = StandardScaler().fit(arguments["X_train"])
    classifier = LogisticRegression(C=1, max_iter=1000).fit(
        scaler.transform(arguments["X_train"]), arguments["y_train"]
    )
    guesses = classifier.predict(scaler.transform(arguments["Y_test"]))
    assert found.value == pytest.approx(np.mean(guesses == arguments["y_test"]))
    for average, value in (("macro", found.macro_f1), ("weighted", found.weighted_f1)):
        assert value == pytest.approx(f1_score(arguments["y_test"], guesses, average=average))
    assert found.regularisation == 1
    assert "no validation split: C = 1" in found.note


def test_a_model_carries_over_to_itself_without_a_difference():
    arguments = problem()
    same = arguments | {f"Y_{split}": arguments[f"X_{split}"] for split in ("train", "val", "test")}
    found = cross_model_probe(**same)
    assert found.value == found.reference == found.own == found.reverse
    assert (found.difference, found.difference_ci_low, found.difference_ci_high) == (0, 0, 0)
    assert (found.reverse_difference, found.reverse_difference_se) == (0, 0)
    assert found.p_values["difference"] == 1
    assert found.intervals["own_macro_f1"] == found.intervals["macro_f1"]


def test_an_unrelated_candidate_is_at_chance_under_the_reference_and_not_under_its_own():
    arguments = problem(n=400)
    turned = {f"Y_{split}": -arguments[f"X_{split}"][:, ::-1] for split in ("train", "val", "test")}
    found = cross_model_probe(**(arguments | turned))
    assert found.own == pytest.approx(found.reference, abs=0.03)
    assert found.difference_ci_low > 0
    assert found.reference - found.value == found.difference
    assert found.chance < 0.5 < found.reference


def test_chance_is_the_most_frequent_training_class():
    arguments = problem()
    most = pd.Series(arguments["y_train"]).mode()[0]
    expected = np.mean(arguments["y_test"] == most)
    assert cross_model_probe(**arguments).chance == pytest.approx(expected)


def test_the_candidates_features_are_standardised_by_the_reference():
    arguments = problem()
    shifted = arguments | {"Y_test": arguments["X_test"] + 100}
    assert cross_model_probe(**shifted).value < cross_model_probe(**arguments).value


def test_the_penalty_is_chosen_on_the_validation_split():
    arguments = problem(noise=0.1)
    wrong = np.random.default_rng(0).permutation(arguments["y_val"])
    chosen = {
        cross_model_probe(**(arguments | {"y_val": labels})).regularisation
        for labels in (arguments["y_val"], wrong)
    }
    assert len(chosen) == 2


@pytest.mark.parametrize("kind", ["logistic", "ridge"])
def test_it_is_the_same_every_time(kind):
    arguments = problem()
    first, second = (cross_model_probe(**arguments, kind=kind, seed=3) for _ in range(2))
    assert (first.value, first.ci_low, first.difference_ci_high) == (
        second.value,
        second.ci_low,
        second.difference_ci_high,
    )


def test_the_interval_says_what_it_is_conditional_on():
    found = cross_model_probe(**problem())
    assert found.ci_low <= found.value <= found.ci_high
    assert "conditional on the fitted probe" in found.note
    assert "bootstrap of test samples" in found.interval_method


def test_rows_of_one_sample_are_drawn_together():
    arguments = problem()
    twice = arguments | {
        name: np.repeat(arguments[name], 4, axis=0) for name in ("X_test", "Y_test", "y_test")
    }
    samples = np.repeat(np.arange(len(arguments["y_test"])), 4)
    once = cross_model_probe(**arguments)
    together = cross_model_probe(**twice, samples=samples)
    assert together.se == pytest.approx(once.se)
    assert cross_model_probe(**twice).se < 0.7 * once.se


def test_without_the_candidates_training_split_there_is_no_own_probe():
    found = cross_model_probe(**without(problem(), "Y_train"))
    assert found.own is None
    assert found.own_macro_f1 is None
    assert found.reverse is None
    assert found.reverse_difference_ci_low is None
    assert "no probe of the candidate's own" in found.note


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: {"kind": "svm"}, "kind must be one of logistic, ridge, got 'svm'"),
        (lambda a: {"align": "cca"}, "align must be one of none, procrustes, got 'cca'"),
        (lambda a: {"align": "procrustes", "Y_train": None}, "needs X_train and Y_train"),
        (lambda a: {"y_test": a["y_test"][:, None]}, r"y_test must hold one label per row"),
        (lambda a: {"y_train": [None, *a["y_train"][1:]]}, "y_train has no label at row 0"),
        (lambda a: {"Y_test": a["Y_test"][:, :4]}, "Y_test has width 4.*width 6"),
        (lambda a: {"y_train": a["y_train"][:-1]}, "X_train has 60 rows, its labels have 59"),
        (lambda a: {"y_train": np.full(60, "maths")}, "y_train holds one class"),
        (lambda a: {"y_val": None}, "X_val is given without its labels"),
        (lambda a: {"X_test": np.full_like(a["X_test"], np.nan)}, "X_test holds nan at row 0"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    arguments = problem()
    with pytest.raises(ValueError, match=message):
        cross_model_probe(**(arguments | change(arguments)))


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


def test_layers_probe_the_means_of_samples(two_models, labels):
    from hrsa.activations.pooling import sample_means

    reference, candidate, _ = two_models
    found = probe_layers(reference, candidate, labels)
    X, Y = sample_means(reference, 2), sample_means(candidate, 2)
    split, y = labels["split"].to_numpy(), labels["label"].to_numpy()
    places = {"train": split == "train", "val": split == "validation", "test": split == "test"}
    direct = cross_model_probe(
        **{f"X_{name}": X[chosen] for name, chosen in places.items()},
        **{f"Y_{name}": Y[chosen] for name, chosen in places.items()},
        **{f"y_{name}": y[chosen] for name, chosen in places.items()},
    )
    final = found.table[found.table["layer_reference"] == 2].set_index("statistic")
    assert final.loc["accuracy", "value"] == direct.value
    assert final.loc["accuracy", "p"] == direct.p
    assert final.loc["macro_f1", "ci_low"] == direct.intervals["macro_f1"].low
    assert final.loc["reverse_accuracy", "value"] == direct.reverse
    assert final.loc["reverse_difference", "ci_low"] == direct.reverse_difference_ci_low
    assert final.loc["reference_accuracy", "value"] == direct.reference
    assert final.loc["own_macro_f1", "value"] == direct.own_macro_f1
    assert final.loc["difference", "ci_high"] == direct.difference_ci_high
    assert (found.table["n_samples"] == 20).all()


def test_layers_can_be_chosen(two_models, labels):
    reference, candidate, _ = two_models
    found = probe_layers(reference, candidate, labels, layers=[2], kind="ridge")
    assert set(found.table["layer_reference"]) == {2, -1}
    with pytest.raises(UserError, match="layer 9 is not in the file"):
        probe_layers(reference, candidate, labels, layers=[9])


def test_samples_without_a_label_are_left_out(two_models, labels):
    labels.loc[labels["split"] == "test", "label"] = None
    with pytest.raises(UserError, match="no sample of split 'test'"):
        probe_layers(*two_models[:2], labels)


def test_unequal_widths_are_the_users_mistake(two_models, labels, store_model):
    reference, _, _ = two_models
    sizes = np.diff(reference.samples.offsets)
    other = store_model("narrow", {0: np.ones((sizes.sum(), 5))}, sizes)
    with pytest.raises(UserError, match="equal width, got 12 and 5"):
        probe_layers(reference, other, labels)

"""Cross-model linear probe: does a classifier fitted on one model's features work on another's?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from hrsa.activations.pooling import sample_means
from hrsa.activations.store import Activations
from hrsa.errors import UserError
from hrsa.similarity.arrays import check_matrix
from hrsa.similarity.layers import MatchedLayers, MetricTable, join_notes, matched_layers
from hrsa.similarity.results import LayerComparison, ProbeResult
from hrsa.statistics.blocks import sample_codes

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression, RidgeClassifier

Kind = Literal["logistic", "ridge"]
KINDS: tuple[Kind, ...] = ("logistic", "ridge")
# Inverse penalties that are tried on the validation split, strongest penalty first.
PENALTIES = (0.001, 0.01, 0.1, 1.0, 10.0)
DEFAULT_PENALTY = 1.0
N_BOOTSTRAP = 2000
CONDITIONAL = "intervals are conditional on the fitted probe"
NO_P = "p: not computed, read the interval of the difference"
NO_VALIDATION = f"no validation split: C = {DEFAULT_PENALTY:g}"


@dataclass(frozen=True, eq=False)
class _Probe:
    """A linear classifier with the standardisation and the penalty that it was fitted with."""

    mean: np.ndarray
    scale: np.ndarray
    classifier: "LogisticRegression | RidgeClassifier"
    penalty: float

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Predict the label of each row of features (n × width)."""
        return self.classifier.predict((features - self.mean) / self.scale)


@dataclass(frozen=True, eq=False)
class _Split:
    """Features (n × width) and labels (n,) of one split; labels are codes from 0."""

    features: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class _Scores:
    """Accuracy and F1 of one probe on one model."""

    accuracy: float
    macro_f1: float
    weighted_f1: float


def cross_model_probe(
    X_train: npt.ArrayLike,
    y_train: npt.ArrayLike,
    X_test: npt.ArrayLike,
    Y_test: npt.ArrayLike,
    y_test: npt.ArrayLike,
    *,
    Y_train: npt.ArrayLike | None = None,
    X_val: npt.ArrayLike | None = None,
    Y_val: npt.ArrayLike | None = None,
    y_val: npt.ArrayLike | None = None,
    samples: npt.ArrayLike | None = None,
    kind: Kind = "logistic",
    seed: int = 0,
) -> ProbeResult:
    """Fit a linear classifier on the reference, freeze it, and score it on the candidate.

    Features are standardised by the mean and standard deviation of the reference's training split,
    the candidate's too.

    Parameters
    ----------
    X_train, X_val, X_test : array-like, shapes (n_train, width), (n_val, width), (n_test, width)
        Sentence embeddings of the reference.
    Y_train, Y_val, Y_test : array-like, shapes as of the reference's
        Sentence embeddings of the candidate, rows matched. ``Y_train`` is for its own probe.
    y_train, y_val, y_test : array-like of labels
        Classes.
    samples : array-like of length n_test, or None
        Unit that the bootstrap draws, for several test rows of one text; None: each row.
    kind : {"logistic", "ridge"}
        Multinomial logistic regression, or a ridge classifier with penalty 1/C.
    seed : int
        Of the bootstrap.

    Returns
    -------
    ProbeResult
        ``value`` is the candidate's accuracy under the reference's probe; chance is the accuracy
        of always saying the most frequent training class. C is the strongest of 0.001 … 10 that
        does best on the validation split, 1 without one. Intervals are percentiles of 2000
        bootstrap draws of test samples, conditional on the fitted probe; ``difference`` is
        ``reference − value``, paired.

    Raises
    ------
    ValueError
        When shapes do not fit, widths differ, or there are fewer than two classes.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    n_classes, (train_codes, val_codes, test_codes) = _label_codes(y_train, y_val, y_test)
    train = _split("X_train", X_train, train_codes)
    _check_classes(train.labels, y_train)
    validation = None if X_val is None else _split("X_val", X_val, val_codes)
    test_x = _split("X_test", X_test, test_codes)
    test_y = _split("Y_test", Y_test, test_codes)
    _check_widths(train, {"X_val": validation, "X_test": test_x, "Y_test": test_y})
    test = test_x.labels
    probe = _fit(train, validation, kind)
    guess_x, guess_y = probe.predict(test_x.features), probe.predict(test_y.features)
    own, own_penalty = None, None
    if Y_train is not None:
        own_train = _split("Y_train", Y_train, train_codes)
        own_validation = None if Y_val is None else _split("Y_val", Y_val, val_codes)
        _check_widths(own_train, {"Y_val": own_validation, "Y_test": test_y})
        own_probe = _fit(own_train, own_validation, kind)
        own = _scores(test, own_probe.predict(test_y.features), n_classes)
        own_penalty = own_probe.penalty
    return _result(
        reference=_scores(test, guess_x, n_classes),
        candidate=_scores(test, guess_y, n_classes),
        own=own,
        draws=_bootstrap(
            sample_codes(samples, len(test)),
            np.column_stack([guess_x == test, guess_y == test]),
            seed,
        ),
        majority=float((test == np.bincount(train.labels).argmax()).mean()),
        penalties=(probe.penalty, own_penalty),
        note=join_notes(CONDITIONAL, NO_VALIDATION if validation is None else "", NO_P),
    )


def probe_layers(
    reference: Activations,
    candidate: Activations,
    labels: pd.DataFrame,
    *,
    kind: Kind = "logistic",
    seed: int = 0,
    layers: Sequence[int] | None = None,
) -> LayerComparison:
    """Cross-model probe of matched layers, on the means of each sample's tokens.

    Parameters
    ----------
    reference, candidate : Activations
        Open activation files of equal width.
    labels : pandas.DataFrame
        Columns id, label (rows without one are left out), split (train, validation, test).
    kind : {"logistic", "ridge"}
        Kind of classifier.
    seed : int
        Of the bootstrap.
    layers : sequence of int, or None
        Layers of the reference; None: all.

    Returns
    -------
    LayerComparison
        Table: statistics ``accuracy``, ``macro_f1`` and ``weighted_f1`` of the candidate under the
        reference's probe; ``reference_…`` of the reference under it; ``own_…`` of the candidate
        under its own; ``difference`` (reference − candidate, accuracy). Rows count test samples.
        No arrays.

    Raises
    ------
    UserError
        When widths differ, a split is empty, fewer than two classes are left, or a layer is not
        stored.
    """
    if reference.width != candidate.width:
        raise UserError(
            f"the probe needs models of equal width, got {reference.width} and {candidate.width}: "
            "a classifier of one model's dimensions cannot read another number of them"
        )
    samples = _labelled_samples(reference, candidate, labels)
    matched = _wanted_layers(matched_layers(reference, candidate), layers, reference)
    n_test = int((samples["split"] == "test").sum())
    table = MetricTable("probe", matched, n_tokens=n_test, n_samples=n_test)
    for i, j in matched.pairs:
        features = {
            "X": sample_means(reference, i)[samples["in_reference"]],
            "Y": sample_means(candidate, j)[samples["in_candidate"]],
        }
        try:
            found = cross_model_probe(**_arguments(features, samples), kind=kind, seed=seed)
        except ValueError as error:
            raise UserError(f"no probe at layer {i}: {error}") from error
        _add_layer(table, (i, j), found)
    for statistic in _STATISTICS:
        table.add_layer_mean(statistic, note="no interval is computed for the mean over layers")
    return table.build({})


_STATISTICS = (
    "accuracy",
    "macro_f1",
    "weighted_f1",
    "reference_accuracy",
    "reference_macro_f1",
    "reference_weighted_f1",
    "own_accuracy",
    "own_macro_f1",
    "own_weighted_f1",
    "difference",
)


def _label_codes(
    *splits: npt.ArrayLike | None,
) -> tuple[int, list[np.ndarray | None]]:
    """Count the classes of the splits' labels, and number the labels by class; None stays None."""
    given = [np.asarray(labels) for labels in splits if labels is not None]
    classes = np.unique(np.concatenate(given))
    codes = [None if labels is None else np.searchsorted(classes, labels) for labels in splits]
    return len(classes), codes


def _split(name: str, features: npt.ArrayLike, labels: np.ndarray | None) -> _Split:
    matrix = check_matrix(features, name, min_rows=1)
    if labels is None:
        raise ValueError(f"{name} is given without its labels")
    if len(matrix) != len(labels):
        raise ValueError(f"{name} has {len(matrix)} rows, its labels have {len(labels)}")
    return _Split(matrix, labels)


def _check_classes(codes: np.ndarray, labels: npt.ArrayLike) -> None:
    if len(np.unique(codes)) < 2:
        raise ValueError(
            f"y_train holds one class, {np.asarray(labels)[0]!r}: a probe needs two at least"
        )


def _check_widths(train: _Split, others: dict[str, _Split | None]) -> None:
    width = train.features.shape[1]
    for name, split in others.items():
        if split is not None and split.features.shape[1] != width:
            raise ValueError(
                f"{name} has width {split.features.shape[1]}, the probe was fitted at width "
                f"{width}: a probe applies to models of equal width only"
            )


def _fit(train: _Split, validation: _Split | None, kind: Kind) -> _Probe:
    mean, scale = train.features.mean(axis=0), train.features.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    standardised = (train.features - mean) / scale
    if validation is None:
        classifier = _classifier(kind, DEFAULT_PENALTY).fit(standardised, train.labels)
        return _Probe(mean, scale, classifier, DEFAULT_PENALTY)
    tried = []
    start: Any = None
    for penalty in PENALTIES:
        classifier = _classifier(kind, penalty)
        if start is not None and kind == "logistic":
            # Going on from the stronger penalty's solution takes a fraction of the steps.
            classifier.coef_, classifier.intercept_ = start
        classifier.fit(standardised, train.labels)
        if kind == "logistic":
            start = classifier.coef_.copy(), classifier.intercept_.copy()
        tried.append(_Probe(mean, scale, classifier, penalty))
    accuracies = [
        (probe.predict(validation.features) == validation.labels).mean() for probe in tried
    ]
    return tried[int(np.argmax(accuracies))]


def _classifier(kind: Kind, penalty: float) -> Any:
    # Imported here: it takes a second, which those who use no probe should not wait.
    from sklearn.linear_model import LogisticRegression, RidgeClassifier

    if kind == "ridge":
        return RidgeClassifier(alpha=1 / penalty)
    return LogisticRegression(C=penalty, max_iter=1000, warm_start=True)


def _scores(labels: np.ndarray, guesses: np.ndarray, n_classes: int) -> _Scores:
    """Accuracy and F1; classes that are neither among the labels nor guessed do not count."""
    counts = np.zeros((n_classes, n_classes))
    np.add.at(counts, (labels, guesses), 1)
    support, guessed, right = counts.sum(axis=1), counts.sum(axis=0), np.diagonal(counts)
    present = support + guessed > 0
    f1 = 2 * right[present] / (support + guessed)[present]
    return _Scores(
        accuracy=float((labels == guesses).mean()),
        macro_f1=float(f1.mean()),
        weighted_f1=float(np.average(f1, weights=support[present])),
    )


def _bootstrap(codes: np.ndarray, right: np.ndarray, seed: int) -> np.ndarray:
    """Accuracies (N_BOOTSTRAP × 2) over samples drawn with replacement, both models alike."""
    sizes = np.bincount(codes)
    sums = np.column_stack([np.bincount(codes, weights=column) for column in right.T])
    rng = np.random.default_rng(seed)
    times = rng.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), size=N_BOOTSTRAP)
    return (times @ sums) / (times @ sizes)[:, None]


def _result(
    *,
    reference: _Scores,
    candidate: _Scores,
    own: _Scores | None,
    draws: np.ndarray,
    majority: float,
    penalties: tuple[float, float | None],
    note: str,
) -> ProbeResult:
    differences = draws[:, 0] - draws[:, 1]
    low, high = np.percentile(draws[:, 1], [2.5, 97.5])
    difference_low, difference_high = np.percentile(differences, [2.5, 97.5])
    return ProbeResult(
        value=candidate.accuracy,
        se=float(draws[:, 1].std(ddof=1)),
        ci_low=float(low),
        ci_high=float(high),
        interval_method=f"bootstrap of test samples, {N_BOOTSTRAP} draws, given the fitted probe",
        chance=majority,
        note=note,
        reference=reference.accuracy,
        own=None if own is None else own.accuracy,
        difference=reference.accuracy - candidate.accuracy,
        difference_se=float(differences.std(ddof=1)),
        difference_ci_low=float(difference_low),
        difference_ci_high=float(difference_high),
        macro_f1=candidate.macro_f1,
        weighted_f1=candidate.weighted_f1,
        reference_macro_f1=reference.macro_f1,
        reference_weighted_f1=reference.weighted_f1,
        own_macro_f1=None if own is None else own.macro_f1,
        own_weighted_f1=None if own is None else own.weighted_f1,
        regularisation=penalties[0],
        own_regularisation=penalties[1],
    )


def _labelled_samples(
    reference: Activations, candidate: Activations, labels: pd.DataFrame
) -> pd.DataFrame:
    """Samples with a label and stored tokens in both files, and their places in the two."""
    known = labels.dropna(subset=["label", "split"])
    places = []
    for name, activations in (("in_reference", reference), ("in_candidate", candidate)):
        stored = np.diff(activations.samples.offsets) > 0
        numbers = {"id": activations.samples.ids, name: np.arange(activations.n_samples)}
        places.append(pd.DataFrame(numbers)[stored])
    found = known.astype({"id": str})
    for place in places:
        found = found.merge(place.astype({"id": str}), on="id", how="inner")
    for split in ("train", "test"):
        if not (found["split"] == split).any():
            raise UserError(
                f"the probe finds no sample of split {split!r} that has a label and tokens in both "
                f"models ({len(known)} rows have a label): the data set needs columns label and "
                "split, with train and test, better validation too"
            )
    return found


def _wanted_layers(
    matched: MatchedLayers, layers: Sequence[int] | None, reference: Activations
) -> MatchedLayers:
    if layers is None:
        return matched
    missing = sorted(set(layers) - set(reference.layers))
    if missing:
        raise UserError(
            f"{reference.path}: layer {missing[0]} is not in the file, which stores "
            f"{', '.join(map(str, reference.layers))}"
        )
    return MatchedLayers([pair for pair in matched.pairs if pair[0] in layers], matched.note)


def _arguments(features: dict[str, np.ndarray], samples: pd.DataFrame) -> dict[str, np.ndarray]:
    """Arguments of `cross_model_probe` from all samples' features and their splits."""
    arguments: dict[str, np.ndarray] = {}
    for split, suffix in (("train", "train"), ("validation", "val"), ("test", "test")):
        chosen = (samples["split"] == split).to_numpy()
        if chosen.any():
            arguments |= {f"{name}_{suffix}": rows[chosen] for name, rows in features.items()}
            arguments[f"y_{suffix}"] = samples["label"].to_numpy(dtype=str)[chosen]
    return arguments


def _add_layer(table: MetricTable, layers: tuple[int, int], found: ProbeResult) -> None:
    bare = join_notes("no interval is computed for this statistic", found.note)
    no_chance = join_notes("chance: given for accuracy only", bare)
    table.add(
        "accuracy",
        layers,
        found.value,
        se=found.se,
        ci_low=found.ci_low,
        ci_high=found.ci_high,
        interval_method=found.interval_method,
        chance=found.chance,
        note=found.note,
    )
    table.add(
        "difference",
        layers,
        found.difference,
        se=found.difference_se,
        ci_low=found.difference_ci_low,
        ci_high=found.difference_ci_high,
        interval_method=found.interval_method,
        note=join_notes("reference − candidate, paired; 0 when the probe carries over", found.note),
    )
    table.add("reference_accuracy", layers, found.reference, chance=found.chance, note=bare)
    table.add("own_accuracy", layers, found.own, chance=found.chance, note=bare)
    for statistic in ("macro_f1", "weighted_f1"):
        for prefix in ("", "reference_", "own_"):
            name = f"{prefix}{statistic}"
            table.add(name, layers, getattr(found, name), note=no_chance)

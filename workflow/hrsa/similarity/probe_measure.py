"""One cross-model probe: fitted on one model, scored on both, in both directions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from hrsa.similarity.arrays import check_matrix
from hrsa.similarity.layers import join_notes
from hrsa.similarity.probe_fit import (
    DEFAULT_PENALTY,
    Kind,
    Labels,
    Probe,
    Split,
    TrainingMap,
    fit_probe,
)
from hrsa.similarity.probe_scores import (
    Scores,
    percentile_interval,
    score_classes,
    score_values,
)
from hrsa.similarity.probe_significance import (
    flipped_means,
    permuted_r2,
    sample_differences,
    sign_flip_p,
)
from hrsa.similarity.results import ProbeResult
from hrsa.statistics.permutation import equal_rows, p_value
from hrsa.statistics.resampling import Interval

Align = Literal["none", "procrustes"]
ALIGNMENTS: tuple[Align, ...] = ("none", "procrustes")
# A difference, what is subtracted from what: the owner of a probe, and the model it is carried to.
DIFFERENCES = {"difference": ("reference_", ""), "reverse_difference": ("own_", "reverse_")}
CONDITIONAL = "intervals and p are conditional on the fitted probe"
NO_VALIDATION = f"no validation split: C = {DEFAULT_PENALTY:g}"
NO_OWN_VALIDATION = f"candidate's own probe without a validation split: C = {DEFAULT_PENALTY:g}"
ALIGNED = "features carried over by the Procrustes rotation of the training split"
EXACT = (
    "p: exact sign-flip test of test samples (McNemar), against the majority line one-sided, of "
    "a difference two-sided"
)
FLIPPED = (
    "p: signs of test samples flipped {} times, alike for all layers, against the majority line"
)
NO_PERMUTATIONS = "p: no permutations were asked for"


@dataclass(frozen=True, eq=False)
class Features:
    """One model's features: splits to fit on, where there are any, and test rows (n × width)."""

    train: Split | None
    validation: Split | None
    test: np.ndarray

    @property
    def width(self) -> int:
        """Number of dimensions."""
        return self.test.shape[1]


@dataclass(frozen=True)
class Settings:
    """How to fit, to align, to draw and to test."""

    kind: Kind
    align: Align
    seed: int
    n_permutations: int


@dataclass(frozen=True, eq=False)
class Significance:
    """Tests of the scores against chance, and of the differences against 0.

    Attributes
    ----------
    p_values : dict of str to float or None
        By statistic.
    observed : dict of str to float
        By prefix: the main score above chance, on the rows that are permuted.
    null : dict of str to numpy.ndarray of shape (n_permutations,)
        The same of each permutation, shared by all layers.
    note, joint_note : str
        What the p-values are; and those that are made of several layers' ``null``.
    """

    p_values: dict[str, float | None]
    note: str
    joint_note: str = ""
    observed: dict[str, float] = field(default_factory=dict)
    null: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Outcome:
    """A result with the draws and the permutations behind it, which layers share.

    ``note`` is the result's without what it says of p.
    """

    result: ProbeResult
    scores: Scores
    tests: Significance
    note: str


def read_features(
    name: str,
    train: npt.ArrayLike | None,
    validation: npt.ArrayLike | None,
    test: npt.ArrayLike,
    labels: Labels,
) -> Features:
    """Check the features of one model, which messages call ``name``.

    Raises
    ------
    ValueError
        When shapes do not fit.
    """
    test_matrix = check_matrix(test, f"{name}_test", min_rows=1)
    _check_length(f"{name}_test", test_matrix, labels.test)
    splits: list[Split | None] = []
    given = ((train, labels.train, "train"), (validation, labels.validation, "val"))
    for features, known, suffix in given:
        if features is None:
            splits.append(None)
            continue
        if known is None:
            raise ValueError(f"{name}_{suffix} is given without its labels")
        matrix = check_matrix(features, f"{name}_{suffix}", min_rows=1)
        _check_length(f"{name}_{suffix}", matrix, known)
        splits.append(Split(matrix, known))
    found = Features(splits[0], splits[1], test_matrix)
    if found.train is not None:
        width = found.train.features.shape[1]
        _check_width(f"{name}_test", found.width, width)
        if found.validation is not None:
            _check_width(f"{name}_val", found.validation.features.shape[1], width)
    return found


def _check_length(name: str, features: np.ndarray, labels: np.ndarray) -> None:
    if len(features) != len(labels):
        raise ValueError(f"{name} has {len(features)} rows, its labels have {len(labels)}")


def _check_width(name: str, width: int, fitted: int) -> None:
    """Refuse features of another width than a probe was fitted at.

    Raises
    ------
    ValueError
        With both widths.
    """
    if width != fitted:
        raise ValueError(
            f"{name} has width {width}, the probe was fitted at width {fitted}: a probe applies "
            'to models of equal width only, or with align="procrustes" through a rotation'
        )


def measure(
    reference: Features, candidate: Features, labels: Labels, codes: np.ndarray, settings: Settings
) -> Outcome:
    """Fit the probes and score them.

    Parameters
    ----------
    reference, candidate : Features
        The reference has a training split.
    labels : Labels
    codes : numpy.ndarray of int64, shape (n_test,)
        Sample of each test row.
    settings : Settings

    Raises
    ------
    ValueError
        When widths differ without alignment, or alignment lacks the candidate's training split.
    """
    mapped = _training_map(reference, candidate, settings.align)
    probe, own = (
        None
        if model.train is None
        else fit_probe(model.train, model.validation, kind=settings.kind, real=labels.real)
        for model in (reference, candidate)
    )
    if probe is None:
        raise ValueError("the reference has no training split to fit a probe on")
    guesses = _guesses(reference, candidate, probe, own, mapped)
    if labels.real:
        main = "r2"
        scores = score_values(labels.test, guesses, codes, seed=settings.seed)
        tests = _test_values(labels.test, guesses, codes, settings)
    else:
        main = "accuracy"
        majority = int(np.bincount(labels.train).argmax())
        scores = score_classes(
            labels.test,
            guesses,
            codes,
            n_classes=labels.n_classes,
            majority=majority,
            seed=settings.seed,
        )
        tests = _test_classes(labels.test, guesses, codes, majority, settings)
    note = join_notes(
        CONDITIONAL,
        NO_VALIDATION if reference.validation is None else "",
        _own_note(reference, candidate),
        ALIGNED if mapped is not None else "",
    )
    scores = _with_differences(scores, main)
    penalties = probe.penalty, None if own is None else own.penalty
    result = _result(scores, tests, penalties, main, join_notes(note, tests.note))
    return Outcome(result, scores, tests, note)


def _with_differences(scores: Scores, main: str) -> Scores:
    """Add the main score's differences between the two models under one probe, paired."""
    values, draws = dict(scores.values), dict(scores.draws)
    for name, (owner, other) in DIFFERENCES.items():
        if owner + main in values:
            values[name] = values[owner + main] - values[other + main]
            draws[name] = draws[owner + main] - draws[other + main]
    return Scores(values, draws, scores.chance)


def _training_map(reference: Features, candidate: Features, align: Align) -> TrainingMap | None:
    if align == "none":
        _check_width("Y_test", candidate.width, reference.width)
        return None
    if reference.train is None or candidate.train is None:
        raise ValueError('align="procrustes" needs X_train and Y_train, to fit the rotation on')
    return TrainingMap.fit(reference.train.features, candidate.train.features)


def _guesses(
    reference: Features,
    candidate: Features,
    probe: Probe,
    own: Probe | None,
    mapped: TrainingMap | None,
) -> dict[str, np.ndarray]:
    """Predictions on the test rows, by prefix of their statistics."""
    x, y = reference.test, candidate.test
    found = {
        "": probe.predict(y if mapped is None else mapped.to_reference(y)),
        "reference_": probe.predict(x),
    }
    if own is not None:
        found["own_"] = own.predict(y)
        found["reverse_"] = own.predict(x if mapped is None else mapped.to_candidate(x))
    return found


def _test_classes(
    labels: np.ndarray,
    guesses: Mapping[str, np.ndarray],
    codes: np.ndarray,
    majority: int,
    settings: Settings,
) -> Significance:
    right = {prefix: guess == labels for prefix, guess in guesses.items()}
    if not settings.n_permutations:
        return Significance({}, NO_PERMUTATIONS, NO_PERMUTATIONS)
    tests = Significance({}, EXACT, FLIPPED.format(settings.n_permutations))
    for prefix, correct in right.items():
        gains = sample_differences(correct, labels == majority, codes)
        tests.p_values[f"{prefix}accuracy"] = sign_flip_p(gains)
        tests.observed[prefix] = float(gains.sum() / len(labels))
        tests.null[prefix] = flipped_means(
            gains, len(labels), n_permutations=settings.n_permutations, seed=settings.seed
        )
    for name, (owner, other) in DIFFERENCES.items():
        if owner in right:
            gains = sample_differences(right[owner], right[other], codes)
            tests.p_values[name] = sign_flip_p(gains, two_sided=True)
    return tests


def _test_values(
    labels: np.ndarray, guesses: Mapping[str, np.ndarray], codes: np.ndarray, settings: Settings
) -> Significance:
    if not settings.n_permutations:
        return Significance({}, NO_PERMUTATIONS, NO_PERMUTATIONS)
    rows = equal_rows(codes, seed=settings.seed)
    note = f"{rows.note}; it tests for any relation of predictions and labels"
    tests = Significance({}, note, note)
    for prefix, guess in guesses.items():
        tests.observed[prefix], tests.null[prefix] = permuted_r2(
            labels, guess, rows, n_permutations=settings.n_permutations, seed=settings.seed
        )
        tests.p_values[f"{prefix}r2"] = p_value(tests.observed[prefix], tests.null[prefix])
    return tests


def _own_note(reference: Features, candidate: Features) -> str:
    if candidate.train is None:
        return "no Y_train: no probe of the candidate's own, none carried back"
    missing = reference.validation is not None and candidate.validation is None
    return NO_OWN_VALIDATION if missing else ""


def _result(
    scores: Scores,
    tests: Significance,
    penalties: tuple[float, float | None],
    main: str,
    note: str,
) -> ProbeResult:
    intervals = {name: percentile_interval(draws) for name, draws in scores.draws.items()}
    whole, gap = intervals[main], intervals["difference"]
    back = intervals.get("reverse_difference", Interval())
    values = scores.values
    return ProbeResult(
        value=values[main],
        se=whole.se,
        ci_low=whole.low,
        ci_high=whole.high,
        interval_method=whole.method,
        chance=scores.chance[main],
        p=tests.p_values.get(main),
        note=note,
        score=main,
        reference=values[f"reference_{main}"],
        own=values.get(f"own_{main}"),
        reverse=values.get(f"reverse_{main}"),
        difference=values["difference"],
        difference_se=gap.se,
        difference_ci_low=gap.low,
        difference_ci_high=gap.high,
        reverse_difference=values.get("reverse_difference"),
        reverse_difference_se=back.se,
        reverse_difference_ci_low=back.low,
        reverse_difference_ci_high=back.high,
        macro_f1=values.get("macro_f1"),
        weighted_f1=values.get("weighted_f1"),
        reference_macro_f1=values.get("reference_macro_f1"),
        reference_weighted_f1=values.get("reference_weighted_f1"),
        own_macro_f1=values.get("own_macro_f1"),
        own_weighted_f1=values.get("own_weighted_f1"),
        reverse_macro_f1=values.get("reverse_macro_f1"),
        reverse_weighted_f1=values.get("reverse_weighted_f1"),
        intervals=intervals,
        p_values=dict(tests.p_values),
        regularisation=penalties[0],
        own_regularisation=penalties[1],
    )

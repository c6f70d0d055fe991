"""Cross-model linear probe: does a classifier fitted on one model's features work on another's?"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from hrsa.activations.pooling import pooled_samples
from hrsa.activations.store import Activations
from hrsa.errors import NotApplicable, UserError
from hrsa.similarity.layers import (
    MEAN_OVER_LAYERS,
    MatchedLayers,
    MetricTable,
    interval_columns,
    join_notes,
    matched_layers,
)
from hrsa.similarity.probe_fit import KINDS, Kind, Labels, read_labels
from hrsa.similarity.probe_measure import (
    ALIGNMENTS,
    Align,
    Outcome,
    Settings,
    measure,
    read_features,
)
from hrsa.similarity.probe_pooling import PairPooling, pair_pooling
from hrsa.similarity.probe_scores import percentile_interval
from hrsa.similarity.results import LayerComparison, ProbeResult
from hrsa.statistics.blocks import sample_codes
from hrsa.statistics.permutation import N_PERMUTATIONS, p_of_maximum, p_value

SPLITS = ("train", "validation", "test")
EMBEDDING = "embedding_"
DIFFERENCE_NOTES = {
    "difference": "reference − candidate, paired; 0 when the probe carries over",
    "reverse_difference": "candidate − reference under the candidate's probe, paired",
}
NO_INTERVAL = "no interval: the test labels of a bootstrap draw do not vary"
BEST_LAYER = (
    "the best of layers 1 … L: no interval, and p is against the best of each permutation, which "
    "stands for the chance level"
)


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
    align: Align = "none",
    n_permutations: int = N_PERMUTATIONS,
) -> ProbeResult:
    """Fit a linear probe on the reference, freeze it, and score it on the candidate.

    Features are standardised by the mean and standard deviation of the reference's training split,
    the candidate's too. With ``Y_train`` the same is done the other way round.

    Parameters
    ----------
    X_train, X_val, X_test : array-like, shapes (n_train, p), (n_val, p), (n_test, p)
        Sentence embeddings of the reference.
    Y_train, Y_val, Y_test : array-like, shapes (n_train, q), (n_val, q), (n_test, q)
        Sentence embeddings of the candidate, rows matched. ``Y_train`` is for its own probe.
    y_train, y_val, y_test : array-like of labels
        Classes; or real values with ``kind="ridge"`` and labels of floating-point type.
    samples : array-like of length n_test, or None
        Unit that is drawn and permuted, for several test rows of one text; None: each row.
    kind : {"logistic", "ridge"}
        Multinomial logistic regression, or least squares with penalty 1/C: a ridge classifier of
        classes, ridge regression of real values.
    seed : int
        Of the bootstrap and the permutations.
    align : {"none", "procrustes"}
        Whether features of one model are carried to the other's dimensions by the Procrustes
        rotation of the centred training features (no scale) before a probe reads them; needed when
        widths differ.
    n_permutations : int
        Permutations of test samples for the p of R²; that of accuracy is exact. 0: no p.

    Returns
    -------
    ProbeResult
        ``value`` is the candidate's score under the reference's probe: accuracy, or R² for real
        values. Chance is the accuracy of always saying the most frequent training class, or 0. C
        is the strongest of 0.001 … 10 that does best on the validation split, 1 without one.
        Intervals are percentiles of 2000 bootstrap draws of test samples, conditional on the
        fitted probe; ``difference`` is ``reference − value``, paired. ``p`` is that of a sign-flip
        test of test samples against the majority line; for R², of permuting test samples.

    Raises
    ------
    ValueError
        When shapes do not fit, widths differ and are not aligned, or there is one class only.

    References
    ----------
    Alain and Bengio (2017), Understanding intermediate layers using linear classifier probes.
    "Do Reasoning Models Enhance Embedding Models?" (arXiv 2601.21192): function level.
    """
    labels = read_labels(y_train, y_val, y_test, kind=_one_of("kind", kind, KINDS))
    settings = Settings(kind, _one_of("align", align, ALIGNMENTS), seed, n_permutations)
    reference = read_features("X", X_train, X_val, X_test, labels)
    candidate = read_features("Y", Y_train, Y_val, Y_test, labels)
    codes = sample_codes(samples, len(labels.test))
    return measure(reference, candidate, labels, codes, settings).result


def probe_layers(
    reference: Activations,
    candidate: Activations,
    labels: pd.DataFrame,
    *,
    kind: Kind = "logistic",
    seed: int = 0,
    layers: Sequence[int] | None = None,
    align: Align = "none",
    n_permutations: int = N_PERMUTATIONS,
) -> LayerComparison:
    """Cross-model probe of matched layers, on one vector of each sample.

    The vector is pooled of a sample's tokens as the model's own folder says, on every layer alike
    so that layers differ in nothing else: an embedding model by its pooling, a plain language model
    by the mean.

    Parameters
    ----------
    reference, candidate : Activations
        Open activation files; of equal width, unless aligned.
    labels : pandas.DataFrame
        Columns id, label (rows without one are left out), split (train, validation, test).
    kind : {"logistic", "ridge"}
        Kind of probe; "ridge" takes labels of floating-point type as real values.
    seed : int
        Of the bootstrap and the permutations.
    layers : sequence of int, or None
        Layers of the reference; None: all.
    align, n_permutations
        See `cross_model_probe`; rows of aligned features have ``variant`` "procrustes".

    Returns
    -------
    LayerComparison
        Table: statistics ``accuracy``, ``macro_f1`` and ``weighted_f1`` (``r2`` for real values) of
        the candidate under the reference's probe; ``reference_…`` of the reference under it;
        ``own_…`` of the candidate under its own and ``reverse_…`` of the reference under that;
        ``difference`` and ``reverse_difference`` of accuracy; their means, layer 0 left out, and
        ``accuracy_max``. The same with ``embedding_`` before it for the embedding: the final
        layer's vectors at unit length. Rows count test samples; their note names the poolings
        where they are not both the mean, and why one is not that of the model's folder. Arrays:
        ``accuracy_draws`` (or ``r2_draws``) and ``difference_draws`` (layers × bootstrap draws,
        which models tested on the same samples share), ``layers_reference`` and
        ``layers_candidate``.

    Warns
    -----
    UserWarning
        For a model that is not pooled as its folder says, since its file has not the tokens that
        it pools (a special token, rows that a cap left out).

    Raises
    ------
    UserError
        When widths differ and are not aligned, a split is empty, fewer than two classes are left,
        or a layer is not stored.
    """
    settings = Settings(
        _one_of("kind", kind, KINDS), _one_of("align", align, ALIGNMENTS), seed, n_permutations
    )
    pooling = pair_pooling(reference, candidate)
    _check_widths(reference, candidate, pooling, align)
    samples = _labelled_samples(reference, candidate, labels)
    matched = _wanted_layers(matched_layers(reference, candidate), layers, reference)
    matched = replace(matched, note=join_notes(pooling.note, matched.note))
    n_test = int((samples["split"] == "test").sum())
    table = MetricTable("probe", matched, n_tokens=n_test, n_samples=n_test)
    variant = "" if align == "none" else align
    final = matched_layers(reference, candidate).pairs[-1]
    outcomes = {}
    for i, j in matched.pairs:
        x = pooled_samples(reference, i, pooling.reference.modes)[samples["in_reference"]]
        y = pooled_samples(candidate, j, pooling.candidate.modes)[samples["in_candidate"]]
        try:
            outcomes[i, j] = _measure_samples(x, y, samples, settings)
            _add_layer(table, (i, j), outcomes[i, j], variant=variant)
            if (i, j) == final:
                embedding = _measure_samples(_unit(x), _unit(y), samples, settings)
                _add_layer(table, (i, j), embedding, variant=variant, prefix=EMBEDDING)
        except ValueError as error:
            raise UserError(f"no probe at layer {i}: {error}") from error
    _add_means(table, [found for (i, _), found in outcomes.items() if i > 0], variant)
    return table.build(_arrays(outcomes))


def _one_of(name: str, value: Any, allowed: Sequence[Any]) -> Any:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
    return value


def _check_widths(
    reference: Activations, candidate: Activations, pooling: PairPooling, align: Align
) -> None:
    widths = (
        reference.width * len(pooling.reference.modes),
        candidate.width * len(pooling.candidate.modes),
    )
    if align == "none" and widths[0] != widths[1]:
        pooled = f" ({pooling.note})" if pooling.note else ""
        raise NotApplicable(
            f"the probe needs models of equal width, got {widths[0]} and {widths[1]}{pooled}: "
            "a classifier of one model's dimensions cannot read another number of them, unless a "
            "rotation carries them over (align: procrustes)"
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


def _measure_samples(
    x: np.ndarray, y: np.ndarray, samples: pd.DataFrame, settings: Settings
) -> Outcome:
    """Probe features of all labelled samples (n × p, n × q), by their splits."""
    rows = {name: (samples["split"] == name).to_numpy() for name in SPLITS}
    real = pd.api.types.is_float_dtype(samples["label"])
    known = samples["label"].to_numpy(dtype=np.float64 if real else str)
    has_validation = bool(rows["validation"].any())
    labels: Labels = read_labels(
        known[rows["train"]],
        known[rows["validation"]] if has_validation else None,
        known[rows["test"]],
        kind=settings.kind,
    )
    reference, candidate = (
        read_features(
            name,
            features[rows["train"]],
            features[rows["validation"]] if has_validation else None,
            features[rows["test"]],
            labels,
        )
        for name, features in (("X", x), ("Y", y))
    )
    return measure(reference, candidate, labels, np.arange(len(labels.test)), settings)


def _unit(features: np.ndarray) -> np.ndarray:
    """Scale each row (n × width) to unit length, as embeddings are compared by their cosine."""
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    if not norms.all():
        raise ValueError(f"the embedding of labelled sample {int(np.argmin(norms))} has norm 0")
    return features / norms


def _add_layer(
    table: MetricTable,
    layers: tuple[int, int],
    found: Outcome,
    *,
    variant: str,
    prefix: str = "",
) -> None:
    result = found.result
    for statistic, value in found.scores.values.items():
        interval, p = result.intervals[statistic], result.p_values.get(statistic)
        known = [level for name, level in found.scores.chance.items() if statistic.endswith(name)]
        table.add(
            prefix + statistic,
            layers,
            value,
            **interval_columns(interval),
            chance=known[0] if known else None,
            p=p,
            variant=variant,
            note=join_notes(
                DIFFERENCE_NOTES.get(statistic, ""),
                NO_INTERVAL if interval.se is None else "",
                found.note,
                _p_note(result, statistic, found.tests.note),
            ),
        )


def _p_note(result: ProbeResult, statistic: str, tested: str) -> str:
    if not result.p_values or statistic in result.p_values:
        return tested
    return f"p: given for {result.score}, read the interval"


def _add_means(table: MetricTable, inner: list[Outcome], variant: str) -> None:
    """Add means over layers 1 … L with intervals from the joint draws, and the best layer."""
    if not inner:
        return
    first = inner[0]
    main = first.result.score
    for statistic in first.scores.values:
        draws = np.mean([found.scores.draws[statistic] for found in inner], axis=0)
        p, note = None, f"p: given for {main}, read the interval"
        owner = statistic.removesuffix(main)
        if statistic.endswith(main):
            observed, null = _over_layers(inner, owner)
            p, note = p_value(float(observed.mean()), null.mean(axis=1)), first.tests.joint_note
        table.add_layer_mean(
            statistic,
            interval=percentile_interval(draws),
            p=p,
            variant=variant,
            note=join_notes(DIFFERENCE_NOTES.get(statistic, ""), first.note, note),
        )
    table.add(
        f"{main}_max",
        (MEAN_OVER_LAYERS, MEAN_OVER_LAYERS),
        max(found.scores.values[main] for found in inner),
        p=p_of_maximum(*_over_layers(inner, "")),
        variant=variant,
        note=join_notes(BEST_LAYER, first.tests.joint_note),
    )


def _over_layers(outcomes: list[Outcome], prefix: str) -> tuple[np.ndarray, np.ndarray]:
    """The main score above chance (n_layers,), and in each permutation (n_permutations × layers).

    No permutations where none were asked for.
    """
    nothing = np.nan, np.empty(0)
    pairs = [
        (found.tests.observed.get(prefix, nothing[0]), found.tests.null.get(prefix, nothing[1]))
        for found in outcomes
    ]
    return np.array([pair[0] for pair in pairs]), np.column_stack([pair[1] for pair in pairs])


def _arrays(outcomes: dict[tuple[int, int], Outcome]) -> dict[str, np.ndarray]:
    main = next(iter(outcomes.values())).result.score
    arrays = {
        f"{name}_draws": np.array([found.scores.draws[name] for found in outcomes.values()])
        for name in (main, "difference")
    }
    arrays["layers_reference"] = np.array([i for i, _ in outcomes])
    arrays["layers_candidate"] = np.array([j for _, j in outcomes])
    return arrays

"""Linear probes: labels, standardisation by the training split, and the penalty by validation.

Nothing here sees a test split: a probe is fitted, its penalty chosen, and then only applied.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from hrsa.similarity.arrays import REAL_KINDS, as_array
from hrsa.similarity.rotation import fit_rotation

Kind = Literal["logistic", "ridge"]
KINDS: tuple[Kind, ...] = ("logistic", "ridge")
# Inverse penalties that are tried on the validation split, strongest penalty first.
PENALTIES = (0.001, 0.01, 0.1, 1.0, 10.0)
DEFAULT_PENALTY = 1.0
# A standard deviation that is this small a part of the values is rounding of a constant.
_NO_VARIANCE = 1e-10


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels of the three splits: class numbers from 0, or real values.

    Attributes
    ----------
    train, test : numpy.ndarray, shapes (n_train,) and (n_test,)
    validation : numpy.ndarray of shape (n_val,), or None
    n_classes : int
        0 where labels are real values.
    """

    train: np.ndarray
    validation: np.ndarray | None
    test: np.ndarray
    n_classes: int

    @property
    def real(self) -> bool:
        """Whether the labels are real values, not classes."""
        return self.n_classes == 0


@dataclass(frozen=True, eq=False)
class Split:
    """Features (n × width) and labels (n,) of one split."""

    features: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True, eq=False)
class Probe:
    """A linear model with the standardisation and the penalty that it was fitted with.

    Attributes
    ----------
    mean, scale : numpy.ndarray, shape (width,)
        Of the training split.
    model : LogisticRegression, RidgeClassifier or Ridge
    penalty : float
        Inverse penalty C.
    """

    mean: np.ndarray
    scale: np.ndarray
    model: Any
    penalty: float

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Predict the label of each row of features (n × width), of whichever model."""
        return self.model.predict((features - self.mean) / self.scale)


@dataclass(frozen=True, eq=False)
class TrainingMap:
    """Orthogonal Procrustes between two models' features, fitted on the training split alone.

    Attributes
    ----------
    rotation : numpy.ndarray, shape (p, q)
        O* of the centred training features.
    mean_reference, mean_candidate : numpy.ndarray, shapes (p,) and (q,)
        Means of the training features.
    """

    rotation: np.ndarray
    mean_reference: np.ndarray
    mean_candidate: np.ndarray

    @classmethod
    def fit(cls, reference: np.ndarray, candidate: np.ndarray) -> "TrainingMap":
        """Fit on features (n_train × p) and (n_train × q) of the same texts."""
        means = reference.mean(axis=0), candidate.mean(axis=0)
        rotation = fit_rotation((reference - means[0]).T @ (candidate - means[1])).matrix
        return cls(rotation, *means)

    def to_reference(self, candidate: np.ndarray) -> np.ndarray:
        """Carry features of the candidate (n × q) to the reference's dimensions (n × p)."""
        return (candidate - self.mean_candidate) @ self.rotation.T + self.mean_reference

    def to_candidate(self, reference: np.ndarray) -> np.ndarray:
        """Carry features of the reference (n × p) to the candidate's dimensions (n × q)."""
        return (reference - self.mean_reference) @ self.rotation + self.mean_candidate


def read_labels(
    y_train: npt.ArrayLike, y_val: npt.ArrayLike | None, y_test: npt.ArrayLike, *, kind: Kind
) -> Labels:
    """Number the classes of the labels, or take them as real values.

    With ``ridge``, training labels of floating-point type are real values; all others are classes.

    Raises
    ------
    ValueError
        When labels are not one-dimensional or missing, one value is all that there is to learn, or
        real values are to be classified.
    """
    train = _read("y_train", y_train)
    validation = None if y_val is None else _read("y_val", y_val)
    test = _read("y_test", y_test)
    if train.dtype.kind == "f":
        if kind == "ridge":
            return _real_labels(train, validation, test)
        _check_whole_numbers(train)
    given = [labels for labels in (train, validation, test) if labels is not None]
    classes, codes = np.unique(np.concatenate(given), return_inverse=True)
    parts = np.split(codes, np.cumsum([len(labels) for labels in given])[:-1])
    if len(np.unique(parts[0])) < 2:
        raise ValueError(
            f"y_train holds one class, {train.tolist()[0]!r}: a probe needs two at least"
        )
    return Labels(parts[0], parts[1] if validation is not None else None, parts[-1], len(classes))


def fit_probe(train: Split, validation: Split | None, *, kind: Kind, real: bool) -> Probe:
    """Fit a probe on the training split; choose C by the validation split.

    Parameters
    ----------
    train, validation : Split
        Without a validation split C is 1.
    kind : {"logistic", "ridge"}
        Multinomial logistic regression, or least squares with penalty 1/C.
    real : bool
        Labels are real values (ridge only).

    Returns
    -------
    Probe
        Of the C that does best on the validation split, the strongest penalty among equals.
    """
    mean, scale = _standardisation(train.features)
    standardised = (train.features - mean) / scale
    if validation is None:
        model = _model(kind, DEFAULT_PENALTY, real).fit(standardised, train.labels)
        return Probe(mean, scale, model, DEFAULT_PENALTY)
    tried = []
    start: Any = None
    for penalty in PENALTIES:
        model = _model(kind, penalty, real)
        if start is not None and kind == "logistic":
            # Going on from the stronger penalty's solution takes a fraction of the steps.
            model.coef_, model.intercept_ = start
        model.fit(standardised, train.labels)
        if kind == "logistic":
            start = model.coef_.copy(), model.intercept_.copy()
        tried.append(Probe(mean, scale, model, penalty))
    losses = [_loss(probe, validation, real) for probe in tried]
    return tried[int(np.argmin(losses))]


def _read(name: str, labels: npt.ArrayLike) -> np.ndarray:
    values = as_array(labels, name)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"{name} must hold one label per row, got shape {values.shape}")
    missing = np.asarray(pd.isna(values))
    if missing.any():
        raise ValueError(f"{name} has no label at row {int(np.argmax(missing))}")
    return values


def _real_labels(train: np.ndarray, validation: np.ndarray | None, test: np.ndarray) -> Labels:
    found = Labels(
        train=_real("y_train", train),
        validation=None if validation is None else _real("y_val", validation),
        test=_real("y_test", test),
        n_classes=0,
    )
    for name, values in (("y_train", found.train), ("y_test", found.test)):
        if (values == values[0]).all():
            raise ValueError(f"{name} holds one value, {values[0]:g}: there is nothing to predict")
    return found


def _real(name: str, labels: np.ndarray) -> np.ndarray:
    if labels.dtype.kind not in REAL_KINDS:
        raise ValueError(f"{name} must hold real numbers like y_train, got dtype {labels.dtype}")
    values = labels.astype(np.float64)
    finite = np.isfinite(values)
    if not finite.all():
        row = int(np.argmin(finite))
        raise ValueError(f"{name} holds {values[row]} at row {row}")
    return values


def _check_whole_numbers(labels: np.ndarray) -> None:
    broken = labels != np.round(labels)
    if broken.any():
        raise ValueError(
            f"y_train holds real values such as {labels[np.argmax(broken)]:g}, logistic regression "
            'needs classes: use kind="ridge"'
        )


def _standardisation(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each dimension; 1 in place of that of a constant."""
    mean, scale = features.mean(axis=0), features.std(axis=0)
    varies = scale > _NO_VARIANCE * np.abs(features).max(axis=0)
    return mean, np.where(varies, scale, 1.0)


def _model(kind: Kind, penalty: float, real: bool) -> Any:
    # Imported here: it takes a second, which those who use no probe should not wait.
    from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier

    if kind == "logistic":
        return LogisticRegression(C=penalty, max_iter=1000, warm_start=True)
    return Ridge(alpha=1 / penalty) if real else RidgeClassifier(alpha=1 / penalty)


def _loss(probe: Probe, validation: Split, real: bool) -> float:
    """Mean squared error, or share of wrong guesses, on the validation split."""
    guesses = probe.predict(validation.features)
    if real:
        return float(np.mean((guesses - validation.labels) ** 2))
    return float(np.mean(guesses != validation.labels))

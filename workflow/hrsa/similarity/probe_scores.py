"""Scores of probes on one test split, with bootstrap draws of whole samples that all share.

Every score is a function of sums over samples, so that a draw of samples with replacement is a
product of counts with those sums, and the draws of two scores are paired.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hrsa.statistics.resampling import Interval

N_BOOTSTRAP = 2000
# Draws of one multiplication: bounds the memory of the counts.
_DRAWS_AT_ONCE = 250


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores by statistic: a name such as ``accuracy`` with the prefix of its predictions.

    Attributes
    ----------
    values : dict of str to float
    draws : dict of str to numpy.ndarray of shape (n_draws,)
        The same in bootstrap draws of test samples, paired over statistics.
    chance : dict of str to float
        By score, without prefix: that of the best constant prediction.
    """

    values: dict[str, float]
    draws: dict[str, np.ndarray]
    chance: dict[str, float]


def score_classes(
    labels: np.ndarray,
    guesses: Mapping[str, np.ndarray],
    codes: np.ndarray,
    *,
    n_classes: int,
    majority: int,
    seed: int,
) -> Scores:
    """Accuracy, macro and weighted F1 of each model's guesses.

    Parameters
    ----------
    labels : numpy.ndarray of int, shape (n_test,)
        Classes numbered from 0.
    guesses : mapping of str to numpy.ndarray of int, shape (n_test,)
        By prefix.
    codes : numpy.ndarray of int64, shape (n_test,)
        Sample of each row, numbered from 0.
    n_classes, majority : int
        Number of classes, and the most frequent one of the training split.
    seed : int
        Of the bootstrap.
    """
    n_samples = int(codes.max()) + 1

    def by_class(classes: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """Rows of each class in each sample (n_samples × n_classes)."""
        cells = codes * n_classes + classes
        counts = np.bincount(cells, weights=weights, minlength=n_samples * n_classes)
        return counts.reshape(n_samples, n_classes).astype(np.float64)

    parts = [by_class(labels)]
    for guess in guesses.values():
        parts += [by_class(labels, weights=(guess == labels).astype(np.float64)), by_class(guess)]
    sums = np.hstack(parts)
    whole = np.split(sums.sum(axis=0), len(parts), axis=-1)
    drawn = np.split(bootstrap_sums(sums, seed), len(parts), axis=-1)
    values: dict[str, np.ndarray] = {}
    draws: dict[str, np.ndarray] = {}
    for place, prefix in enumerate(guesses):
        for found, source in ((values, whole), (draws, drawn)):
            scores = _class_scores(source[0], source[1 + 2 * place], source[2 + 2 * place])
            found.update({f"{prefix}{name}": score for name, score in scores.items()})
    always = np.zeros(n_classes)
    always[majority] = 1.0
    chance = _class_scores(whole[0], whole[0] * always, always * len(labels))
    return Scores(_floats(values), draws, _floats(chance))


def score_values(
    labels: np.ndarray, guesses: Mapping[str, np.ndarray], codes: np.ndarray, *, seed: int
) -> Scores:
    """R² = 1 − Σ(y − ŷ)²/Σ(y − ȳ)² of each model's guesses, ȳ the mean of the test labels.

    Parameters
    ----------
    labels : numpy.ndarray, shape (n_test,)
        Real values.
    guesses : mapping of str to numpy.ndarray, shape (n_test,)
        By prefix.
    codes : numpy.ndarray of int64, shape (n_test,)
        Sample of each row, numbered from 0.
    seed : int
        Of the bootstrap.
    """
    centred = labels - labels.mean()
    columns = [np.ones(len(labels)), centred, centred**2]
    columns += [(labels - guess) ** 2 for guess in guesses.values()]
    sums = np.column_stack([np.bincount(codes, weights=column) for column in columns])
    values: dict[str, np.ndarray] = {}
    draws: dict[str, np.ndarray] = {}
    for found, source in ((values, sums.sum(axis=0)), (draws, bootstrap_sums(sums, seed))):
        n, total, squares = np.moveaxis(source[..., :3], -1, 0)
        variation = squares - total**2 / n
        for place, prefix in enumerate(guesses):
            with np.errstate(divide="ignore", invalid="ignore"):
                found[f"{prefix}r2"] = 1 - source[..., 3 + place] / variation
    return Scores(_floats(values), draws, {"r2": 0.0})


def bootstrap_sums(sums: np.ndarray, seed: int) -> np.ndarray:
    """Sums over samples drawn with replacement.

    Parameters
    ----------
    sums : numpy.ndarray, shape (n_samples, n_columns)
        Sums over the rows of each sample.
    seed : int
        With the number of samples it fixes the draws, so that all models and layers share them.

    Returns
    -------
    numpy.ndarray, shape (N_BOOTSTRAP, n_columns)
    """
    n_samples = len(sums)
    rng = np.random.default_rng(seed)
    share = np.full(n_samples, 1 / n_samples)
    found = np.empty((N_BOOTSTRAP, sums.shape[1]))
    for start in range(0, N_BOOTSTRAP, _DRAWS_AT_ONCE):
        part = found[start : start + _DRAWS_AT_ONCE]
        part[:] = rng.multinomial(n_samples, share, size=len(part)).astype(np.float64) @ sums
    return found


def percentile_interval(draws: np.ndarray) -> Interval:
    """95 % percentile interval of bootstrap draws (n_draws,); all None where one is undefined."""
    if not np.isfinite(draws).all():
        return Interval()
    low, high = np.percentile(draws, [2.5, 97.5])
    method = f"bootstrap of test samples, {len(draws)} draws, given the fitted probe"
    return Interval(float(draws.std(ddof=1)), float(low), float(high), method)


def _class_scores(
    support: np.ndarray, right: np.ndarray, guessed: np.ndarray
) -> dict[str, np.ndarray]:
    """Scores from counts by class (… × n_classes).

    Classes that are neither among the labels nor guessed do not count.
    """
    rows = support.sum(axis=-1)
    either = support + guessed
    f1 = np.divide(2 * right, either, out=np.zeros_like(either), where=either > 0)
    return {
        "accuracy": right.sum(axis=-1) / rows,
        "macro_f1": f1.sum(axis=-1) / (either > 0).sum(axis=-1),
        "weighted_f1": (f1 * support).sum(axis=-1) / rows,
    }


def _floats(scores: Mapping[str, np.ndarray]) -> dict[str, float]:
    return {name: float(score) for name, score in scores.items()}

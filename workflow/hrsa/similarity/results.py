"""What the metrics return: a number with its interval, its chance level and what is beside it."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from hrsa.statistics.resampling import Interval

METRIC_COLUMNS = (
    "metric",
    "statistic",
    "view",
    "variant",
    "k",
    "layer_reference",
    "layer_candidate",
    "value",
    "se",
    "ci_low",
    "ci_high",
    "interval_method",
    "chance",
    "p",
    "n_tokens",
    "n_samples",
    "note",
)

SIMILARITY_COLUMNS = (
    "pair",
    "kind",
    "stage",
    "reference",
    "candidate",
    "seed",
    "step",
    "dataset",
    *METRIC_COLUMNS[:14],
    "holm_family",
    "p_holm",
    "floor",
    *METRIC_COLUMNS[14:],
)

NO_P = "p: no permutation test is computed yet"


@dataclass(frozen=True, kw_only=True, eq=False)
class SimilarityResult:
    """A similarity of two representations; see each metric for what ``value`` is.

    Attributes
    ----------
    value : float or None
        The similarity; None where it is undefined, and ``note`` says why.
    ci_low, ci_high, se : float or None
        95 % interval and standard error of ``value``.
    chance : float or None
        Expected ``value`` for unrelated representations.
    p : float or None
        Permutation p of ``value`` against chance.
    interval_method : str or None
        How the interval was computed.
    note : str
        Why something is missing, what to read instead, and what the numbers are conditional on.
    replicates : numpy.ndarray of shape (n_blocks,), or None
        ``value`` with each block of samples left out.
    """

    value: float | None
    ci_low: float | None = None
    ci_high: float | None = None
    se: float | None = None
    chance: float | None = None
    p: float | None = None
    interval_method: str | None = None
    note: str = ""
    replicates: np.ndarray | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class CorrelationResult(SimilarityResult):
    """Dimension-wise correlation; ``value`` is the signed mean over dimensions.

    Attributes
    ----------
    per_dimension : numpy.ndarray, shape (width,)
        Pearson correlation of each dimension; NaN where one has no variance.
    mean_abs, share_positive : float or None
        Mean absolute correlation, and share of dimensions whose correlation is above zero.
    n_constant : int
        Dimensions left out because they have no variance in one of the models.
    """

    per_dimension: np.ndarray = field(repr=False)
    mean_abs: float | None
    share_positive: float | None
    n_constant: int


@dataclass(frozen=True, kw_only=True, eq=False)
class ProcrustesResult(SimilarityResult):
    """Orthogonal Procrustes; ``value`` is the cosine in sample.

    ``chance`` and ``p`` are from refits after permuting whole samples of the candidate. A cosine in
    sample falls with n, so that ``chance`` is given only where all rows could be permuted (samples
    of one length); ``p`` compares like with like.

    Attributes
    ----------
    cos_heldout, cos_heldout_se, cos_heldout_ci_low, cos_heldout_ci_high : float or None
        Cosine on samples that the rotation was not fitted on, with its standard error and interval.
    cos_heldout_chance : float or None
        Its expected value for unrelated representations.
    cos_heldout_method : str or None
        How its interval was computed.
    cos_heldout_replicates : numpy.ndarray of shape (n_blocks,), or None
        ``cos_heldout`` with each block of samples left out, the rotations held fixed.
    cos_permutation_chance : float or None
        Mean cosine in sample after permuting samples, at the n of the rows that were permuted.
    h_inv, h_inv_half, h_inv_quarter : float or None
        Inverse row entropy of the rotation fitted on all, half and a quarter of the rows.
    h_inv_se, h_inv_ci_low, h_inv_ci_high : float or None
        Standard error and 95 % interval of ``h_inv``: conservative, at this n.
    h_inv_method : str or None
        How that interval was computed.
    h_inv_draws : numpy.ndarray of shape (n_draws,), or None
        ``h_inv`` refitted without the samples that each draw deletes.
    h_inv_rows, h_inv_half_rows, h_inv_quarter_rows : numpy.ndarray of shape (width,), or None
        Inverse entropy of each row of the three rotations.
    h_inv_chance : float or None
        Mean of ``h_inv`` for a Haar-random rotation.
    h_inv_permutation_chance : float or None
        Mean of ``h_inv`` after permuting samples, at the n of the rows that were permuted.
    distance : float or None
        arccos of ``value``, in radians: a metric.
    euclidean, residual : float or None
        ‖X_cO − Y_c‖_F, and its square over ‖Y_c‖².
    rotation : numpy.ndarray of shape (width of X, width of Y), or None
        O* = UVᵀ.
    """

    cos_heldout: float | None
    cos_heldout_se: float | None
    cos_heldout_ci_low: float | None
    cos_heldout_ci_high: float | None
    cos_heldout_chance: float | None
    cos_heldout_method: str | None
    cos_heldout_replicates: np.ndarray | None = field(repr=False)
    cos_permutation_chance: float | None
    h_inv: float | None
    h_inv_half: float | None
    h_inv_quarter: float | None
    h_inv_se: float | None
    h_inv_ci_low: float | None
    h_inv_ci_high: float | None
    h_inv_method: str | None
    h_inv_draws: np.ndarray | None = field(repr=False)
    h_inv_rows: np.ndarray | None = field(repr=False)
    h_inv_half_rows: np.ndarray | None = field(repr=False)
    h_inv_quarter_rows: np.ndarray | None = field(repr=False)
    h_inv_chance: float | None
    h_inv_permutation_chance: float | None
    distance: float
    euclidean: float
    residual: float
    rotation: np.ndarray = field(repr=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class CkaResult(SimilarityResult):
    """Linear centred kernel alignment; ``value`` is the estimator that was asked for.

    Attributes
    ----------
    variant : str
        ``biased``, ``song`` or ``sample_debiased``.
    """

    variant: str


@dataclass(frozen=True, kw_only=True, eq=False)
class NeighbourOverlapResult(SimilarityResult):
    """Overlap of nearest neighbours; ``value`` is the mean over tokens.

    Attributes
    ----------
    per_token : numpy.ndarray, shape (n_tokens,)
        Overlap or Jaccard of each token.
    draws : numpy.ndarray of shape (n_draws,), or None
        ``value`` without random parts of the samples, which gives the interval (see
        `hrsa.statistics.paired_deletion`).
    """

    per_token: np.ndarray = field(repr=False)
    draws: np.ndarray | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbeResult(SimilarityResult):
    """Cross-model probe; ``value`` is the candidate's score under the reference's probe.

    ``chance`` is the score of the best constant answer: the majority line, or 0 for R².

    Attributes
    ----------
    score : {"accuracy", "r2"}
        What is scored: accuracy for classes, R² for real-valued labels.
    reference, own : float or None
        Score of the reference under its probe, and of the candidate under its own probe.
    reverse : float or None
        Score of the reference under the candidate's probe.
    difference, difference_se, difference_ci_low, difference_ci_high : float or None
        ``reference − value`` with its paired bootstrap standard error and 95 % interval.
    reverse_difference, reverse_difference_se, … : float or None
        ``own − reverse``, likewise.
    macro_f1, weighted_f1 : float or None
        Of the candidate under the reference's probe; None for real-valued labels.
    reference_macro_f1, …, own_…, reverse_… : float or None
        The same of the other three.
    intervals : dict of str to Interval
        95 % intervals by name: ``accuracy`` or ``r2``, ``macro_f1``, ``weighted_f1``, also with
        ``reference_``, ``own_``, ``reverse_`` before them; ``difference``, ``reverse_difference``.
    p_values : dict of str to float or None
        By name, likewise; of the scores against chance, and of the differences against 0.
    regularisation, own_regularisation : float or None
        The inverse penalty C that the probe, and the candidate's own, were fitted with.
    """

    score: str
    reference: float
    own: float | None
    reverse: float | None
    difference: float
    difference_se: float | None
    difference_ci_low: float | None
    difference_ci_high: float | None
    reverse_difference: float | None
    reverse_difference_se: float | None
    reverse_difference_ci_low: float | None
    reverse_difference_ci_high: float | None
    macro_f1: float | None
    weighted_f1: float | None
    reference_macro_f1: float | None
    reference_weighted_f1: float | None
    own_macro_f1: float | None
    own_weighted_f1: float | None
    reverse_macro_f1: float | None
    reverse_weighted_f1: float | None
    intervals: dict[str, Interval] = field(repr=False)
    p_values: dict[str, float | None] = field(repr=False)
    regularisation: float
    own_regularisation: float | None


@dataclass(frozen=True, eq=False)
class LayerComparison:
    """One metric over the layers of two models.

    Attributes
    ----------
    table : pandas.DataFrame
        One row per value, columns METRIC_COLUMNS. Layer −1 is the mean over layers.
    arrays : dict of str to numpy.ndarray
        Matrices and replicates that do not fit a table; each metric names its own.
    """

    table: pd.DataFrame
    arrays: dict[str, np.ndarray]


def label_rows(table: pd.DataFrame, **labels: str | int | float | None) -> pd.DataFrame:
    """Give rows of a metric their pair, models, seed, step and data set.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows with METRIC_COLUMNS.
    **labels
        Values of the columns that SIMILARITY_COLUMNS adds; those not given stay empty.

    Returns
    -------
    pandas.DataFrame
        The rows with SIMILARITY_COLUMNS, in that order.

    Raises
    ------
    ValueError
        When a label is not one of the added columns.
    """
    added = [column for column in SIMILARITY_COLUMNS if column not in METRIC_COLUMNS]
    unknown = sorted(set(labels) - set(added))
    if unknown:
        raise ValueError(f"no column is named {unknown[0]!r}; a label is one of {', '.join(added)}")
    labelled = table.copy()
    for column in added:
        labelled[column] = labels.get(column)
    typed = labelled.astype({"p_holm": "float64", "floor": "float64"})
    return typed.astype({"seed": "Int64", "step": "Int64"})[list(SIMILARITY_COLUMNS)]

"""Orthogonal Procrustes: the rotation that takes one representation closest to another."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.linalg
from scipy.special import digamma, xlogy

from hrsa.activations.alignment import PairedRows
from hrsa.activations.store import Activations
from hrsa.similarity.arrays import check_pair, check_varies, is_constant
from hrsa.similarity.layers import MetricTable, check_rows, join_notes, matched_layers, read_layer
from hrsa.similarity.results import NO_P, LayerComparison, ProcrustesResult
from hrsa.statistics.blocks import (
    N_BLOCKS,
    BlockOrder,
    block_order,
    sample_codes,
    subset_of_samples,
)
from hrsa.statistics.resampling import Interval, jackknife_interval

MIN_ROWS = 3
N_FOLDS = 5
NO_COS_INTERVAL = (
    "cos in sample is inflated and has no valid interval nor closed chance level: read cos_heldout"
)
H_INV_STATISTICS = ("h_inv", "h_inv_half", "h_inv_quarter")


@dataclass(frozen=True, eq=False)
class _Fit:
    """O* = UVᵀ (p × q) of a cross-product S, with ‖S‖_* and the rank of S."""

    rotation: np.ndarray
    nuclear_norm: float
    rank: int


@dataclass(frozen=True, eq=False)
class _Entropy:
    """H_inv of each row of O*, the rows of data that it was fitted on, and what to know of it."""

    n_tokens: int
    n_samples: int
    note: str
    rows: np.ndarray | None = None

    @property
    def value(self) -> float | None:
        """H_inv: the mean over rows of O*."""
        return None if self.rows is None else float(self.rows.mean())

    @property
    def chance(self) -> float | None:
        """H_inv of a Haar-random rotation."""
        return None if self.rows is None else haar_entropy(len(self.rows))


@dataclass(frozen=True, eq=False)
class _HeldOut:
    """Cosine on held-out samples, and with each block left out (n_blocks,)."""

    value: float | None
    replicates: np.ndarray | None
    interval: Interval
    note: str


@dataclass(frozen=True, eq=False)
class _Comparison:
    """The result, with H_inv by statistic and the note of cos_heldout for a table."""

    result: ProcrustesResult
    entropies: dict[str, _Entropy]
    heldout_note: str


def procrustes(
    X: npt.ArrayLike,
    Y: npt.ArrayLike,
    *,
    samples: npt.ArrayLike | None = None,
    blocks: npt.ArrayLike | None = None,
) -> ProcrustesResult:
    """Fit O* = argmin ‖X_cO − Y_c‖_F over orthogonal O, and say how close and how local it is.

    Parameters
    ----------
    X, Y : array-like, shapes (n_tokens, p) and (n_tokens, q)
        Hidden states of the reference and the candidate, rows matched. With p ≠ q the narrower is
        padded with zero columns.
    samples : array-like of length n_tokens, or None
        The sample (text) of each row, in any order; None: each row is its own.
    blocks : array-like of length n_tokens, or None
        Blocks of samples for the folds and the interval; None: 25 balanced ones.

    Returns
    -------
    ProcrustesResult
        ``value`` = ‖S‖_*/(‖X_c‖‖Y_c‖) is inflated in sample (0.94 for independent data at 64 rows
        and width 256). ``cos_heldout`` is a 5-fold cross-fit over whole samples: an estimate of the
        cosine on new samples with 80 % of n to fit on; near 0 its interval is too narrow. ``h_inv``
        is 1 for a signed permutation, depends on n, and is None where the rank of S is below the
        width, or p ≠ q.

    Raises
    ------
    ValueError
        When a matrix is malformed or constant.

    References
    ----------
    Schönemann (1966), A generalized solution of the orthogonal Procrustes problem.
    Williams et al. (2021), Generalized shape metrics on neural representations: arccos is a metric.
    "Do Reasoning Models Enhance Embedding Models?" (arXiv 2601.21192): inverse row entropy.
    """
    reference, candidate = check_pair(X, Y, min_rows=MIN_ROWS)
    check_varies(reference, "X")
    check_varies(candidate, "Y")
    codes = sample_codes(samples, len(reference))
    order = block_order(codes, len(codes), blocks=blocks)
    return _compare(reference, candidate, codes, order).result


def procrustes_layers(
    reference: Activations,
    candidate: Activations,
    rows: PairedRows,
    *,
    n_blocks: int = N_BLOCKS,
    seed: int = 0,
) -> LayerComparison:
    """Procrustes of matched layers.

    Parameters
    ----------
    reference, candidate : Activations
        Open activation files.
    rows : PairedRows
        Matched rows.
    n_blocks, seed : int
        Blocks of samples for the folds and the intervals.

    Returns
    -------
    LayerComparison
        Table: statistics ``cos``, ``cos_heldout``, ``residual``, ``h_inv``, ``h_inv_half`` and
        ``h_inv_quarter`` for matched layers, and their means, layer 0 left out. Arrays:
        ``rotation`` (p × q) of the final layer, ``cos_heldout_replicates`` (matched layers ×
        n_blocks), ``h_inv_rows`` (matched layers × width; only with equal widths),
        ``layers_reference`` and ``layers_candidate`` of the matched layers.

    Raises
    ------
    UserError
        When too few rows match.
    """
    check_rows(rows, least=MIN_ROWS)
    order = block_order(rows.samples, len(rows.reference), n_blocks=n_blocks, seed=seed)
    codes = sample_codes(rows.samples, len(rows.reference))
    matched = matched_layers(reference, candidate)
    table = MetricTable.of_rows("procrustes", matched, rows)
    replicates = np.full((len(matched.pairs), order.n_blocks), np.nan)
    entropies = np.full((len(matched.pairs), reference.width), np.nan)
    arrays = {}
    for place, (i, j) in enumerate(matched.pairs):
        x = read_layer(reference, i, rows.reference)
        y = read_layer(candidate, j, rows.candidate)
        if is_constant(x) or is_constant(y):
            _add_undefined(table, (i, j))
            continue
        comparison = _compare(x, y, codes, order)
        _add_layer(table, (i, j), comparison)
        found = comparison.result
        if found.cos_heldout_replicates is not None:
            replicates[place] = found.cos_heldout_replicates
        if found.h_inv_rows is not None:
            entropies[place] = found.h_inv_rows
        arrays["rotation"] = found.rotation
    inner = [place for place, (i, _) in enumerate(matched.pairs) if i > 0]
    _add_means(table, replicates[inner])
    arrays["cos_heldout_replicates"] = replicates
    if reference.width == candidate.width:
        arrays["h_inv_rows"] = entropies
    arrays["layers_reference"] = np.array([i for i, _ in matched.pairs])
    arrays["layers_candidate"] = np.array([j for _, j in matched.pairs])
    return table.build(arrays)


def row_entropies(rotation: np.ndarray) -> np.ndarray:
    r"""Inverse entropy of each row: :math:`1 + Σ_j O_{ij}² \log O_{ij}² / \log D`.

    Parameters
    ----------
    rotation : numpy.ndarray, shape (D, D)
        Orthogonal, D at least 2.

    Returns
    -------
    numpy.ndarray, shape (D,)
        In [0, 1]; 1 where the row has a single entry. Their mean is H_inv.
    """
    squares = rotation**2
    return 1 + xlogy(squares, squares).sum(axis=1) / np.log(len(rotation))


def haar_entropy(width: int) -> float:
    """Mean H_inv of a Haar-random rotation of ``width`` dimensions, about 0.73 / log width.

    The squares of a row are Dirichlet(½, …, ½), whose mean entropy is
    ψ(D/2 + 1) − ψ(3/2).
    """
    log_width = np.log(width)
    return float((log_width - digamma(width / 2 + 1) + digamma(1.5)) / log_width)


def _fit(cross: np.ndarray) -> _Fit:
    u, singular, vt = _svd(cross)
    smallest = singular[0] * max(cross.shape) * np.finfo(np.float64).eps
    return _Fit(u @ vt, float(singular.sum()), int((singular > smallest).sum()))


def _svd(cross: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Singular value decomposition, by the slower algorithm where the fast one gives up.

    LAPACK's divide and conquer (gesdd) fails now and then on matrices of low rank.
    """
    try:
        return np.linalg.svd(cross, full_matrices=False)
    except np.linalg.LinAlgError:
        return scipy.linalg.svd(cross, full_matrices=False, lapack_driver="gesvd")


def _compare(X: np.ndarray, Y: np.ndarray, codes: np.ndarray, order: BlockOrder) -> _Comparison:
    x, y = X - X.mean(axis=0), Y - Y.mean(axis=0)
    squares_x, squares_y = float(np.sum(x**2)), float(np.sum(y**2))
    fit = _fit(x.T @ y)
    cos = fit.nuclear_norm / np.sqrt(squares_x * squares_y)
    # Differences of large sums: rounding may leave a little less than nothing.
    gap = max(squares_x + squares_y - 2 * fit.nuclear_norm, 0.0)
    heldout = _held_out(x[order.order], y[order.order], order)
    entropies = {
        "h_inv": _h_inv(fit, codes),
        "h_inv_half": _subset_h_inv(x, y, codes, 2),
        "h_inv_quarter": _subset_h_inv(x, y, codes, 4),
    }
    notes = [f"{name} {found.note}" for name, found in entropies.items()]
    whole = entropies["h_inv"]
    result = ProcrustesResult(
        value=float(cos),
        note=join_notes(NO_COS_INTERVAL, heldout.note, *notes, NO_P),
        cos_heldout=heldout.value,
        cos_heldout_se=heldout.interval.se,
        cos_heldout_ci_low=heldout.interval.low,
        cos_heldout_ci_high=heldout.interval.high,
        cos_heldout_method=heldout.interval.method,
        cos_heldout_chance=None if heldout.value is None else 0.0,
        cos_heldout_replicates=heldout.replicates,
        h_inv=whole.value,
        h_inv_half=entropies["h_inv_half"].value,
        h_inv_quarter=entropies["h_inv_quarter"].value,
        h_inv_rows=whole.rows,
        h_inv_chance=whole.chance,
        distance=float(np.arccos(min(cos, 1.0))),
        euclidean=float(np.sqrt(gap)),
        residual=float(gap / squares_y),
        rotation=fit.rotation,
    )
    return _Comparison(result, entropies, heldout.note)


def _h_inv(fit: _Fit, codes: np.ndarray) -> _Entropy:
    p, q = fit.rotation.shape
    rows = None
    if p != q:
        note = f"undefined: widths {p} and {q} differ"
    elif p == 1:
        note = "undefined: width 1"
    elif fit.rank < p:
        note = f"undefined: the rank of S is {fit.rank}, below width {p}"
    else:
        note = f"holds at n = {len(codes)}: compare at equal n only, no interval is computed yet"
        rows = row_entropies(fit.rotation)
    return _Entropy(len(codes), len(np.unique(codes)), note, rows)


def _subset_h_inv(X: np.ndarray, Y: np.ndarray, codes: np.ndarray, divisor: int) -> _Entropy:
    """H_inv of the rotation fitted on whole samples that hold one ``divisor``-th of the rows."""
    chosen = subset_of_samples(codes, len(codes) // divisor)
    x, y = X[chosen], Y[chosen]
    return _h_inv(_fit((x - x.mean(axis=0)).T @ (y - y.mean(axis=0))), codes[chosen])


def _held_out(x: np.ndarray, y: np.ndarray, order: BlockOrder) -> _HeldOut:
    """Cross-fit over folds of whole blocks; the matrices are centred and in block order."""
    n_folds = min(N_FOLDS, order.n_blocks)
    if n_folds < 2:
        note = "cos_heldout needs two samples at least, there is one"
        return _HeldOut(None, None, Interval(), note)
    fold_of_row = np.repeat(np.arange(order.n_blocks) % n_folds, order.block_sizes)
    products = np.empty(len(x))
    squares_x, squares_y = np.empty(len(x)), np.empty(len(x))
    cross = x.T @ y
    for fold in range(n_folds):
        held = fold_of_row == fold
        x_held, y_held = x[held], y[held]
        n_fit = len(x) - len(x_held)
        mean_x, mean_y = -x_held.sum(axis=0) / n_fit, -y_held.sum(axis=0) / n_fit
        rotation = _fit(cross - x_held.T @ y_held - n_fit * np.outer(mean_x, mean_y)).rotation
        x_held, y_held = x_held - mean_x, y_held - mean_y
        products[held] = np.einsum("ij,ij->i", x_held @ rotation, y_held)
        squares_x[held] = np.einsum("ij,ij->i", x_held, x_held)
        squares_y[held] = np.einsum("ij,ij->i", y_held, y_held)
    sums = np.add.reduceat([products, squares_x, squares_y], order.block_starts, axis=1)
    whole = sums.sum(axis=1, keepdims=True)
    value = float(_cosine(whole)[0])
    replicates = _cosine(whole - sums)
    note = "cos_heldout: maps held fixed in the interval, which is too narrow near 0"
    return _HeldOut(value, replicates, jackknife_interval(value, replicates), note)


def _cosine(sums: np.ndarray) -> np.ndarray:
    """Σ⟨xO, y⟩ / √(Σ‖x‖² Σ‖y‖²) from the three sums (3 × n)."""
    scale = np.sqrt(sums[1] * sums[2])
    return np.divide(sums[0], scale, out=np.full_like(scale, np.nan), where=scale > 0)


def _add_layer(table: MetricTable, layers: tuple[int, int], comparison: _Comparison) -> None:
    found = comparison.result
    table.add("cos", layers, found.value, note=NO_COS_INTERVAL)
    table.add(
        "cos_heldout",
        layers,
        found.cos_heldout,
        se=found.cos_heldout_se,
        ci_low=found.cos_heldout_ci_low,
        ci_high=found.cos_heldout_ci_high,
        interval_method=found.cos_heldout_method,
        chance=found.cos_heldout_chance,
        note=join_notes(comparison.heldout_note, NO_P),
    )
    table.add("residual", layers, found.residual, note=NO_COS_INTERVAL)
    for statistic, entropy in comparison.entropies.items():
        table.add(
            statistic,
            layers,
            entropy.value,
            chance=entropy.chance,
            n_tokens=entropy.n_tokens,
            n_samples=entropy.n_samples,
            note=entropy.note,
        )


def _add_undefined(table: MetricTable, layers: tuple[int, int]) -> None:
    for statistic in ("cos", "cos_heldout", "residual", *H_INV_STATISTICS):
        table.add(statistic, layers, None, note="undefined: a model is constant at this layer")


def _add_means(table: MetricTable, replicates: np.ndarray) -> None:
    table.add_layer_mean("cos_heldout", replicates=replicates, note=NO_P)
    for statistic in ("cos", "residual"):
        table.add_layer_mean(statistic, note=NO_COS_INTERVAL)
    for statistic in H_INV_STATISTICS:
        table.add_layer_mean(statistic, note="compare at equal n only, no interval is computed yet")

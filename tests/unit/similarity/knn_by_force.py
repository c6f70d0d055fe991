"""k-NN overlap from full tables of distances, row by row: what the tests compare with."""

import numpy as np

TOLERANCE = 1e-6


def forbidden_pairs(n_rows, exclude="self", samples=None, tokens=None):
    """Table (n_rows × n_rows) of pairs that are no neighbours."""
    found = np.eye(n_rows, dtype=bool)
    if exclude in ("sample", "type") and samples is not None:
        found |= np.equal.outer(samples, samples)
    if exclude == "type":
        found |= np.equal.outer(tokens, tokens)
    return found


def weights_by_force(X, k, forbidden):
    """w(i, j): 1 within the k nearest, the places left shared equally among those tied."""
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    distance = np.sqrt(np.maximum(2 - 2 * unit @ unit.T, 0)).astype(np.float32).astype(float)
    weights = np.zeros(distance.shape)
    for row, (distances, out) in enumerate(zip(distance, forbidden, strict=True)):
        allowed = np.flatnonzero(~out)
        gap = np.sort(distances[allowed])[k - 1] - distances[allowed]
        nearer, tied = gap > TOLERANCE, np.abs(gap) <= TOLERANCE
        weights[row, allowed[nearer]] = 1
        weights[row, allowed[tied]] = (k - nearer.sum()) / tied.sum()
    return weights


def shared_by_force(X, Y, k, forbidden, forbidden_y=None):
    """Σ_j min(w_A, w_B) of each row."""
    other = forbidden if forbidden_y is None else forbidden_y
    return np.minimum(weights_by_force(X, k, forbidden), weights_by_force(Y, k, other)).sum(axis=1)


def score_of(shared, k, score):
    return (shared / k if score == "overlap" else shared / (2 * k - shared)).mean()

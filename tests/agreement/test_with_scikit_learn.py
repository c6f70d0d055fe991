"""Values agree with what scikit-learn's primitives give."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import accuracy_score, f1_score
from sklearn.metrics.pairwise import cosine_similarity, linear_kernel
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KernelCenterer, StandardScaler

from hrsa.similarity import cross_model_probe, knn_overlap, linear_cka


def related(seed, n=120, p=8, q=11, noise=1.0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) + 3 * rng.standard_normal(p)
    return X, X @ rng.standard_normal((p, q)) + noise * rng.standard_normal((n, q))


@pytest.mark.parametrize("seed", range(3))
def test_biased_cka_is_the_cosine_of_centred_kernels(seed):
    X, Y = related(seed)
    kernels = [KernelCenterer().fit_transform(linear_kernel(Z)).reshape(1, -1) for Z in (X, Y)]
    wanted = cosine_similarity(*kernels).item()
    assert linear_cka(X, Y).value == pytest.approx(wanted, abs=1e-12)


def neighbours(X, k, exclude=None):
    """Sets of the k nearest rows by cosine, without the row itself or rows of its sample."""
    found = NearestNeighbors(metric="cosine", algorithm="brute").fit(X)
    order = found.kneighbors(X, n_neighbors=len(X), return_distance=False)
    labels = np.arange(len(X)) if exclude is None else exclude
    return [set(row[labels[row] != labels[i]][:k].tolist()) for i, row in enumerate(order)]


@pytest.mark.parametrize("k", [1, 5, 10])
@pytest.mark.parametrize("by_sample", [False, True])
def test_neighbour_overlap_counts_scikit_learns_neighbours(k, by_sample):
    X, Y = related(4)
    samples = np.random.default_rng(0).permutation(np.arange(120) // 4)
    options = {"exclude": "sample", "samples": samples} if by_sample else {}
    sets = zip(*(neighbours(Z, k, samples if by_sample else None) for Z in (X, Y)), strict=True)
    shared = [(len(a & b) / k, len(a & b) / len(a | b)) for a, b in sets]
    for place, score in enumerate(("overlap", "jaccard")):
        found = knn_overlap(X, Y, k=k, score=score, **options)
        assert found.per_token == pytest.approx([each[place] for each in shared], abs=1e-12)


def labelled(seed, n_classes=3, n_train=150, n_test=90):
    """Features of a reference and a candidate, and labels, for training and test."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n_train + n_test)
    centres = rng.standard_normal((n_classes, 7))
    X = centres[labels] + rng.standard_normal((len(labels), 7))
    Y = X + 0.7 * rng.standard_normal(X.shape)
    parts = (slice(0, n_train), slice(n_train, None))
    return [Z[part] for Z in (X, Y, labels) for part in parts]


PROBES = {
    "logistic": lambda: LogisticRegression(C=1.0, max_iter=1000),
    "ridge": lambda: RidgeClassifier(alpha=1.0),
}


@pytest.mark.parametrize("kind", PROBES)
@pytest.mark.parametrize("seed", range(3))
def test_the_probe_scores_as_a_pipeline_fitted_on_the_reference(kind, seed):
    X_train, X_test, Y_train, Y_test, y_train, y_test = labelled(seed)
    found = cross_model_probe(X_train, y_train, X_test, Y_test, y_test, Y_train=Y_train, kind=kind)
    probe = make_pipeline(StandardScaler(), PROBES[kind]()).fit(X_train, y_train)
    own = make_pipeline(StandardScaler(), PROBES[kind]()).fit(Y_train, y_train)
    guesses = {
        "": probe.predict(Y_test),
        "reference_": probe.predict(X_test),
        "own_": own.predict(Y_test),
    }
    accuracies = {"": found.value, "reference_": found.reference, "own_": found.own}
    for side, guessed in guesses.items():
        assert accuracies[side] == pytest.approx(accuracy_score(y_test, guessed))
        for average in ("macro", "weighted"):
            wanted = f1_score(y_test, guessed, average=average)
            assert getattr(found, f"{side}{average}_f1") == pytest.approx(wanted)

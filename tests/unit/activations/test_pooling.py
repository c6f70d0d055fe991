"""Sample means over stored rows."""

import numpy as np

from hrsa.activations.pooling import sample_means
from hrsa.activations.store import open_activations


def test_each_sample_is_the_mean_of_its_rows_whatever_the_block_size(write_file, monkeypatch):
    path, values = write_file(dtype="float64")
    with open_activations(path) as activations:
        for rows in (1, 3, 100):
            monkeypatch.setattr("hrsa.activations.pooling._BLOCK_ROWS", rows)
            means = sample_means(activations, 1)
            assert means.dtype == np.float64
            assert means.shape == (3, 5)
            assert np.allclose(means[0], values[1][:4].mean(axis=0), atol=1e-14)
            assert np.allclose(means[2], values[1][4:].mean(axis=0), atol=1e-14)


def test_a_sample_without_rows_has_no_mean(write_file):
    path, _ = write_file()
    with open_activations(path) as activations:
        assert np.isnan(sample_means(activations, 0)[1]).all()

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hrsa.activations.store import Activations, ActivationWriter, open_activations

StoreModel = Callable[..., Activations]


def write_model(
    path: Path, layers: dict[int, np.ndarray], sizes: np.ndarray, tokens: np.ndarray
) -> None:
    """Write an activation file whose samples have ``sizes`` tokens each."""
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    position = np.concatenate([np.arange(size) for size in sizes])
    header = {
        "model": path.stem,
        "model_sha256": "0" * 64,
        "dataset": "texts",
        "dataset_sha256": "1" * 64,
        "tokenizer_sha256": "2" * 64,
        "attention": "causal",
        "template": "",
        "library_versions": "{}",
        "seed": 0,
    }
    table = {
        "id": tokens,
        "position": position,
        "char_start": position * 2,
        "char_end": position * 2 + 1,
    }
    with ActivationWriter(
        path,
        header=header,
        samples=[f"text-{number}" for number in range(len(sizes))],
        sample_offsets=offsets,
        tokens=table,
        layers=list(layers),
        width=next(iter(layers.values())).shape[1],
        dtype="float32",
    ) as writer:
        for layer, values in layers.items():
            writer.write(layer, slice(0, len(values)), values.astype(np.float32))


@pytest.fixture
def store_model(tmp_path: Path):
    """Write hidden states to a file and open it: store_model(name, layers, sizes, tokens=None)."""
    opened: list[Activations] = []

    def store(name, layers, sizes, tokens=None) -> Activations:
        if tokens is None:
            tokens = np.arange(sum(sizes)) % 17
        write_model(tmp_path / f"{name}.h5", layers, np.asarray(sizes), tokens)
        opened.append(open_activations(tmp_path / f"{name}.h5"))
        return opened[-1]

    yield store
    for activations in opened:
        activations.close()


def related_layers(seed: int, n_layers: int, n_rows: int, width: int, noise: float):
    """Hidden states of a reference and a candidate that share a signal at every layer."""
    rng = np.random.default_rng(seed)
    reference, candidate = {}, {}
    for layer in range(n_layers):
        signal = rng.standard_normal((n_rows, width))
        reference[layer] = signal + noise * rng.standard_normal(signal.shape)
        candidate[layer] = signal + noise * rng.standard_normal(signal.shape)
    return reference, candidate


@pytest.fixture
def two_models(store_model):
    """A pair of stored models with three layers of width 12, and their paired rows."""
    from hrsa.activations.alignment import paired_rows

    sizes = np.random.default_rng(5).integers(4, 12, 60)
    layers = related_layers(3, 3, int(sizes.sum()), 12, 0.5)
    reference, candidate = (
        store_model(name, states, sizes)
        for name, states in zip(("reference", "candidate"), layers, strict=True)
    )
    return reference, candidate, paired_rows(reference, candidate)

"""Extraction on a GPU: the states of the CPU, written while the next batch is computed."""

import time

import numpy as np
import pandas as pd
import pytest
import torch

from hrsa.activations import extraction
from hrsa.activations.background import WAITING_BYTES, BackgroundWriter
from hrsa.activations.store import open_activations

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU on this machine"),
]
GPU = "cuda"


# As large as the rounding of the type, times what two blocks and a norm make of it.
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("bfloat16", 3e-2)])
@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
def test_a_file_from_a_gpu_has_the_states_of_the_cpu(
    extracted, make_model, tokenizer, attention, dtype, tolerance
):
    files = [
        extracted(
            make_model(attention=attention).to(device, getattr(torch, dtype)),
            tokenizer,
            attention=attention,
            dtype=dtype,
            token_budget=64,
        )
        for device in ("cpu", GPU)
    ]
    for layer in files[0].layers:
        cpu, gpu = (file.layer(layer)[:] for file in files)
        assert np.abs(cpu - gpu).max() <= tolerance * np.abs(cpu).max()


def test_the_writer_keeps_up(tokenizer, header, tmp_path, monkeypatch):
    """The model waits for the disk for less than half of the time: 25 layers of width 256."""
    from transformers import Qwen2Config, Qwen2Model

    model = Qwen2Model(
        Qwen2Config(
            vocab_size=512,
            hidden_size=256,
            intermediate_size=512,
            num_hidden_layers=24,
            num_attention_heads=4,
            num_key_value_heads=4,
        )
    )
    waited = []

    class Timed(BackgroundWriter):
        def put(self, *arguments):
            begin = time.perf_counter()
            super().put(*arguments)
            waited.append(time.perf_counter() - begin)

    monkeypatch.setattr(extraction, "BackgroundWriter", Timed)
    texts = pd.DataFrame({"id": [f"t{i}" for i in range(80)], "text": ["one two three " * 40] * 80})
    begin = time.perf_counter()
    extraction.extract_activations(
        model.eval().to(GPU),
        tokenizer,
        texts,
        tmp_path / "a.h5",
        header=header,
        token_budget=4096,
    )
    assert sum(waited) < 0.5 * (time.perf_counter() - begin)
    with open_activations(tmp_path / "a.h5", verify=True) as activations:
        # More than may wait, so that a writer that falls behind is waited for.
        assert activations.layer(0).shape[0] * 25 * 256 * 4 > 2 * WAITING_BYTES

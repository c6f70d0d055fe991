"""Benchmarks on a GPU: models are read there, in bfloat16 where asked, and score the same."""

import pytest
import torch

from hrsa.benchmarks.encoders import load_encoder
from hrsa.benchmarks.evaluate import evaluate, load_reader

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU on this machine"),
]
TASKS = ["TopicClassification", "TopicRetrieval"]


@pytest.mark.parametrize("kind", ["embedding_folder", "backbone_folder"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_model_scores_on_the_gpu_as_on_the_cpu(kind, dtype, request, corpus, tmp_path):
    folder = request.getfixturevalue(kind)
    here = evaluate(folder, TASKS, corpus=corpus, output=tmp_path / "cpu")
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.max_memory_allocated()
    reader = load_reader(folder, device="auto", dtype=dtype, max_length=8192)
    there = evaluate(reader, TASKS, corpus=corpus, output=tmp_path / "gpu")
    assert torch.cuda.max_memory_allocated() > before
    # 12 queries and 30 texts: in bfloat16 some near ties change places
    bound = 1e-3 if dtype == "float32" else 0.15
    assert (here["value"] - there["value"]).abs().max() < bound


def test_a_whole_model_goes_to_the_gpu_that_is_named(embedding_folder):
    encoder = load_encoder(embedding_folder, device="cuda:0", dtype="bfloat16")
    assert encoder.device == torch.device("cuda:0")
    assert {weight.dtype for weight in encoder.parameters()} == {torch.bfloat16}

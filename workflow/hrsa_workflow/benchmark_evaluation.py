"""What evaluating a model on all local tasks costs beside embedding their texts.

Run by `make benchmark`. A model of the default study's size (its weights do not matter for its
speed) goes through every local task at the default study's sizes; then the very texts that it was
given are embedded in one go, turn by turn.
"""

import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import pandas as pd
import yaml

from hrsa.benchmarks.encoders import MeanPooledBackbone
from hrsa.benchmarks.evaluate import evaluate
from hrsa.benchmarks.tasks import LOCAL_TASKS
from hrsa.data.corpus import generate_part
from hrsa_workflow.benchmark_extraction import miniature
from hrsa_workflow.config import load_config
from hrsa_workflow.study import TASK_CORPUS

OUT = Path("results/benchmark")
REPEATS = 3
BATCH_SIZE = 64
FACTOR, SECONDS = 1.3, 15.0  # what an evaluation may cost: so many times the embedding, and more


def write_corpus(folder: Path) -> None:
    """Write the files of all local tasks."""
    config = load_config(yaml.safe_load(Path("config.yaml").read_text(encoding="utf-8")))
    for part in {file for task in LOCAL_TASKS for file in TASK_CORPUS[task]}:
        frame = generate_part(part, seed=config["seed"], settings=config["corpus"])
        frame.to_parquet(folder / f"{part}.parquet", index=False)


def write_model(folder: Path) -> None:
    """Save a backbone with random weights."""
    case = miniature()
    case.model.save_pretrained(folder)
    case.tokenizer.save_pretrained(folder)


def evaluation_seconds(model: Path, corpus: Path, output: Path) -> tuple[float, list[str]]:
    """Seconds of a whole evaluation, loading included, and the texts that it embedded."""
    texts: list[str] = []
    embed = MeanPooledBackbone.embed

    def noting(self: MeanPooledBackbone, batch: list[str], *sizes: int, prompt: str) -> object:
        texts.extend(batch)
        return embed(self, batch, *sizes, prompt=prompt)

    begin = time.perf_counter()
    with patch.object(MeanPooledBackbone, "embed", noting):
        evaluate(model, LOCAL_TASKS, corpus=corpus, output=output, batch_size=BATCH_SIZE)
    return time.perf_counter() - begin, texts


def embedding_seconds(model: Path, texts: list[str]) -> float:
    """Seconds of embedding texts, loading left out."""
    backbone = MeanPooledBackbone(model)
    begin = time.perf_counter()
    backbone.embed(texts, BATCH_SIZE)
    return time.perf_counter() - begin


def main() -> None:
    """Measure, write the table, and say whether an evaluation costs more than it may."""
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=OUT) as place:
        model, corpus, output = (Path(place) / name for name in ("model", "corpus", "output"))
        corpus.mkdir()
        write_corpus(corpus)
        write_model(model)
        turns = []
        for _ in range(REPEATS):
            evaluation, texts = evaluation_seconds(model, corpus, output)
            turns.append((evaluation, embedding_seconds(model, texts)))
    evaluation, embedding = (min(times) for times in zip(*turns, strict=True))
    row = {
        "tasks": len(LOCAL_TASKS),
        "texts": len(texts),
        "texts embedded twice": len(texts) - len(set(texts)),
        "embedding (s)": embedding,
        "evaluation (s)": evaluation,
        "allowed (s)": FACTOR * embedding + SECONDS,
    }
    table = pd.DataFrame([row])
    print(table.to_string(index=False, float_format="%.3g"))
    table.to_csv(OUT / "evaluation.csv", index=False)
    print(f"\nWritten to {OUT / 'evaluation.csv'}")


if __name__ == "__main__":
    main()

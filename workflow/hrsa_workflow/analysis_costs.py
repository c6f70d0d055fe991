"""What the analysis of a study takes: extraction, similarity, accuracy, benchmarks, mining.

Operations of matrix products alone, by the sizes that the modules of `hrsa.similarity` say of
themselves (docs/metrics.md has the mathematics); what is looked up, sorted or drawn is not counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from hrsa.similarity.pair_sums import ROWS_OF_SUMS, operations
from hrsa_workflow.benchmark_groups import entry_sizes
from hrsa_workflow.estimates import BOUND, ROUGH, UNKNOWN, Estimate, as_estimate, total
from hrsa_workflow.sizes import ModelSize
from hrsa_workflow.study import Study
from hrsa_workflow.text_sizes import (
    Texts,
    dataset_texts,
    generated,
    task_texts,
    training_texts,
)
from hrsa_workflow.training_costs import FLOAT32, FORWARD, LONGEST, PROCESS_BYTES, with_chat
from hrsa_workflow.training_data import mined_sets

BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}
# As in hrsa.models.accuracy and hrsa.models.dose, which import torch.
MAX_NEW_TOKENS = {"solution": 32, "trace": 128}
TEST_SPLITS, DECODINGS = 2, 2
DOSE_BATCH, DOSE_BYTES, DOSE_AT_MOST = 50, 4 * 8 + 4, 2**30
# As in hrsa.similarity: rows that a null permutes, refits by width, draws, folds, penalties.
NULL_ROWS = 2000
MODERATE_WIDTH, FEW_REFITS = 256, 20
DRAWS, FOLDS, SUBSAMPLES = 40, 5, 2
PENALTIES, ITERATIONS, CLASSES = 5, 100, 10
# Golub and Van Loan, Matrix Computations, §8.6: singular values and vectors of a square matrix.
SVD = 21
# Neighbours that are kept for the largest k: their index (4 bytes) and distance (4).
SPARE_NEIGHBOURS, NEIGHBOUR_BYTES = 32, 8
METRIC_PROCESS_BYTES = 0.25e9
# English text, by the tokenizers of current models: a rule of thumb, as the texts are not here.
CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True)
class Comparison:
    """Two instances on one data set: rows in common, widths and numbers of layers."""

    rows: Estimate
    widths: tuple[int, int]
    layers: tuple[int, int]


class AnalysisCosts:
    """What each part of the analysis takes, in operations and bytes.

    Parameters
    ----------
    study
    sizes
        Of all instances (`hrsa_workflow.sizes.model_sizes`).
    """

    def __init__(self, study: Study, sizes: Mapping[str, ModelSize | None]) -> None:
        self.study, self.sizes = study, sizes

    @cached_property
    def _datasets(self) -> dict[str, Texts]:
        return {name: dataset_texts(self.study, name) for name in self.study.datasets}

    # -- extraction ------------------------------------------------------------------------------

    def tokens_read(self, name: str, dataset: str) -> Estimate:
        """Tokens of a data set, as an instance's tokenizer cuts it."""
        size = self.sizes[name]
        return self._datasets[dataset].tokens(size.vocabulary if size else None)

    def tokens_kept(self, name: str, dataset: str) -> Estimate:
        """Rows of an activation file: all tokens, or about as many as the cap."""
        read, cap = self.tokens_read(name, dataset), self.study.config["extraction"]["max_tokens"]
        if cap is None or (not read.is_unknown and read.value <= cap):
            return read
        # places are kept by a rate of characters, so that the cap is met roughly
        return Estimate(float(cap)).marked(ROUGH)

    def stored_layers(self, size: ModelSize) -> int:
        """Layers of an activation file, the embeddings (layer 0) included."""
        asked = self.study.config["extraction"]["layers"]
        return size.layers + 1 if asked == "all" else len(asked)

    def extraction(self, name: str) -> tuple[Estimate, Estimate]:
        """Operations, and bytes on disk, of an instance and its checkpoints on all data sets."""
        size = self.sizes[name]
        if size is None:
            return UNKNOWN, UNKNOWN
        versions = 1 + len(self.study.instances[name].checkpoints)
        read = total(self.tokens_read(name, one) for one in self.study.datasets)
        kept = total(self.tokens_kept(name, one) for one in self.study.datasets)
        number = BYTES[self.study.config["extraction"]["dtype"]]
        row = self.stored_layers(size) * size.width * number
        return (
            _guess(read * versions * FORWARD * size.blocks, size),
            _guess(kept * versions * row, size),
        )

    def extraction_memory(self, name: str) -> Estimate:
        """Bytes of the weights and of a batch's hidden states."""
        size = self.sizes[name]
        if size is None:
            return UNKNOWN
        settings = self.study.config["extraction"]
        number = BYTES[settings["dtype"]]
        states = settings["token_budget"] * (size.layers + 1) * size.width * number
        return _guess(Estimate(PROCESS_BYTES + number * size.parameters + 2 * states), size)

    # -- similarity ------------------------------------------------------------------------------

    def similarity(self, metric: str) -> Estimate:
        """Operations of a metric on all pairs; of "neighbours" on all instances."""
        if metric == "neighbours":
            return total(map(self._neighbours, self.study.instances))
        views = self.study.metric_settings(metric).get("views") or ["raw"]
        found = (
            _METRICS[metric](one, self.study.config["statistics"]) * len(views)
            for one in self._comparisons(metric)
        )
        return total(self._marked(one, metric) for one in found)

    def _marked(self, estimate: Estimate, metric: str) -> Estimate:
        return estimate.marked(ROUGH) if metric == "probe" else estimate

    def _comparisons(self, metric: str) -> Iterator[Comparison]:
        for pair in self.study.pairs.values():
            for comparison in pair.comparisons:
                names = [
                    side.partition("@")[0] for side in (comparison.reference, comparison.candidate)
                ]
                sizes = [self.sizes[name] for name in names]
                for dataset in self.study.datasets_for(metric):
                    left, right = sizes
                    if left is None or right is None:
                        yield Comparison(UNKNOWN, (0, 0), (0, 0))
                        continue
                    rows = min(
                        (self._rows(name, dataset, metric) for name in names),
                        key=lambda one: one.value,
                    )
                    yield Comparison(
                        _guess(_guess(rows, left), right),
                        (left.width, right.width),
                        (self.stored_layers(left), self.stored_layers(right)),
                    )

    def _rows(self, name: str, dataset: str, metric: str) -> Estimate:
        """Rows of a comparison: tokens, or of the probe texts."""
        return (
            self._datasets[dataset].count if metric == "probe" else self.tokens_kept(name, dataset)
        )

    def _neighbours(self, name: str) -> Estimate:
        """Cosines of all tokens of a layer with each other: 2 · n² · D."""
        size = self.sizes[name]
        if "knn" not in self.study.metrics:
            return Estimate()
        if size is None:
            return UNKNOWN
        versions = 1 + len(self.study.instances[name].checkpoints)
        rows = [self.tokens_kept(name, one) for one in self.study.datasets_for("knn")]
        per_square = versions * self.stored_layers(size) * 2 * size.width
        return _guess(total(one * one for one in rows) * per_square, size)

    def neighbour_bytes(self, name: str) -> Estimate:
        """Bytes of the lists of neighbours of an instance and its checkpoints."""
        size = self.sizes[name]
        if "knn" not in self.study.metrics:
            return Estimate()
        if size is None:
            return UNKNOWN
        versions = 1 + len(self.study.instances[name].checkpoints)
        kept = 2 * max(self.study.metric_settings("knn")["k"]) + SPARE_NEIGHBOURS
        lists = len(self.study.metric_settings("neighbours").get("exclude") or ["self"])
        rows = total(self.tokens_kept(name, one) for one in self.study.datasets_for("knn"))
        per_row = versions * self.stored_layers(size) * kept * lists * NEIGHBOUR_BYTES
        return _guess(rows * per_row, size)

    def metric_memory(self) -> Estimate:
        """Bytes that one metric may hold, as the study says, and Python."""
        return Estimate(METRIC_PROCESS_BYTES + 1e6 * self.study.config["memory_mb"]).marked(BOUND)

    # -- accuracy and benchmarks -----------------------------------------------------------------

    def accuracy(self, name: str) -> Estimate:
        """Operations of answering held-out problems, greedily and sampled, and of the KL."""
        size = self.sizes[name]
        if size is None:
            return UNKNOWN
        problems, prompt, worked = self._problems(size)
        settings = self.study.config["accuracy"]
        prompt = with_chat(prompt, settings)
        usual = MAX_NEW_TOKENS["trace" if self.study.writes_traces(name) else "solution"]
        answer = Estimate(settings.get("max_new_tokens") or usual, frozenset({BOUND}))
        read = problems * self._n_splits() * DECODINGS * (prompt + answer)
        if self.study.instances[name].parent:
            read += problems * 2 * worked
        return _guess(read * FORWARD * size.writing, size)

    def accuracy_memory(self, name: str) -> Estimate:
        """Bytes of the model, its parent, and the logits of both."""
        size = self.sizes[name]
        if size is None:
            return UNKNOWN
        models = 2 if self.study.instances[name].parent else 1
        tokens = self._problems(size)[2].value
        logits = min(DOSE_BATCH * tokens * size.vocabulary * DOSE_BYTES, DOSE_AT_MOST)
        return _guess(Estimate(PROCESS_BYTES + models * FLOAT32 * size.parameters + logits), size)

    def _n_splits(self) -> int:
        return TEST_SPLITS if self.study.config["accuracy"]["data"] == "problems" else 1

    def _problems(self, size: ModelSize) -> tuple[Estimate, Estimate, Estimate]:
        """Problems of a split; tokens of a question, without and with its solution."""
        name = self.study.config["accuracy"]["data"]
        most = Estimate(self.study.config["accuracy"]["problems"])
        if name in self.study.config["training_sets"]:
            texts = training_texts(self.study, name, ("question",), LONGEST)
            prompt = texts.tokens_each(size.vocabulary)
            return most.marked(BOUND), prompt, prompt
        there = self.study.config["corpus"][f"test_{name}"]
        prompt, worked = (
            Estimate(generated(name, columns, self.study.config["seed"]).tokens(size.vocabulary))
            for columns in (("question",), ("question", "solution"))
        )
        return Estimate(min(there, most.value)), prompt, worked

    def benchmark(self, name: str) -> Estimate:
        """Operations of embedding all texts of the tasks."""
        if name == "bm25":
            return Estimate()
        size = self.sizes[name]
        if size is None:
            return UNKNOWN
        corpus, seed = self.study.config["corpus"], self.study.config["seed"]
        tokens = self._suite_tokens
        for task in self.study.config["benchmarks"]["tasks"]:
            texts = task_texts(task, corpus)
            if not texts:
                tokens += UNKNOWN
            for part, columns, count in texts:
                tokens += count * generated(part, columns, seed).tokens(size.vocabulary)
        return _guess(tokens * FORWARD * size.blocks, size)

    @cached_property
    def _suite_tokens(self) -> Estimate:
        """Tokens of the tasks of `mteb`, by the characters that it knows of."""
        tokens = Estimate()
        for entry in self.study.config["benchmarks"]["suites"]:
            sizes = entry_sizes(entry)
            tokens += Estimate(sum(size or 0 for size in sizes) / CHARACTERS_PER_TOKEN)
            tokens += UNKNOWN if None in sizes else Estimate()
            # Bitext counts each pair of languages; mteb embeds each language once.
            tokens = tokens.marked(ROUGH, BOUND)
        return tokens

    # -- mining ----------------------------------------------------------------------------------

    def mining(self) -> tuple[Estimate, Estimate]:
        """Operations of embedding the pairs that negatives are mined for; bytes at the peak."""
        names = mined_sets(self.study)
        if not names or self.study.miner is None:
            return Estimate(), Estimate()
        size = self.sizes[self.study.miner]
        if size is None:
            return UNKNOWN, UNKNOWN
        read = Estimate()
        for name in names:
            for column in ("query", "document"):
                texts = training_texts(self.study, name, (column,), LONGEST)
                read += texts.tokens(size.vocabulary)
        memory = as_estimate(PROCESS_BYTES + FLOAT32 * size.parameters)
        return _guess(read * FORWARD * size.blocks, size), _guess(memory, size)


def _guess(estimate: Estimate, size: ModelSize) -> Estimate:
    return estimate.marked(ROUGH) if size.is_guess else estimate


# -- operations of one comparison ------------------------------------------------------------------


def _cka(one: Comparison, statistics: Mapping[str, int]) -> Estimate:
    """The cheaper of the two ways that `hrsa.similarity.pair_sums` has, and the null's Grams."""
    n = round(one.rows.value)
    grams = operations(n, one.widths, one.layers)["grams"]
    sums = operations(n + ROWS_OF_SUMS * statistics["blocks"], one.widths, one.layers)["products"]
    null = 2 * min(n, NULL_ROWS) ** 2 * sum(one.widths) * one.layers[0]
    return _sized(one, min(grams, sums) + (null if statistics["permutations"] else 0))


def _correlation(one: Comparison, statistics: Mapping[str, int]) -> Estimate:
    """Products of dimension j with dimension j, for all pairs of layers; none of unequal widths."""
    if one.widths[0] != one.widths[1]:
        return _sized(one, 0)
    return _sized(one, 2 * one.rows.value * one.widths[0] * one.layers[0] * one.layers[1])


def _procrustes(one: Comparison, statistics: Mapping[str, int]) -> Estimate:
    """For each matched layer the products and its fits; refits at the final one."""
    width = max(one.widths)
    refits = statistics["permutations"]
    refits = min(refits, refits if width <= MODERATE_WIDTH else FEW_REFITS)
    products = 2 * one.rows.value * (one.widths[0] + one.widths[1] + width) * width
    fits = one.layers[0] * (1 + FOLDS + SUBSAMPLES) + (DRAWS * (1 + SUBSAMPLES) + refits)
    refitted = 2 * min(one.rows.value, NULL_ROWS) * width**2 * refits
    return _sized(one, one.layers[0] * products + fits * SVD * width**3 + refitted)


def _knn(one: Comparison, statistics: Mapping[str, int]) -> Estimate:
    """Lists are compared, nothing is multiplied."""
    return _sized(one, 0)


def _probe(one: Comparison, statistics: Mapping[str, int]) -> Estimate:
    """Fits of both models' probes: features times classes, forth and back, until it settles."""
    per_fit = 4 * one.rows.value * max(one.widths) * CLASSES * ITERATIONS
    return _sized(one, 2 * one.layers[0] * PENALTIES * per_fit)


def _sized(one: Comparison, value: float) -> Estimate:
    return Estimate(float(value), one.rows.marks)


_METRICS = {
    "cka": _cka,
    "correlation": _correlation,
    "procrustes": _procrustes,
    "knn": _knn,
    "probe": _probe,
}

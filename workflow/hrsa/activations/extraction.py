"""Hidden states of a model on the texts of a data set, written to an activation file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from hrsa.activations.background import BackgroundWriter
from hrsa.activations.batches import length_sorted_batches, padded, rows_of_batch
from hrsa.activations.header import extraction_header
from hrsa.activations.heap import freed_memory_kept
from hrsa.activations.hidden_states import HiddenStates
from hrsa.activations.progress import Progress
from hrsa.activations.rows import runs
from hrsa.activations.texts import (
    EncodedSample,
    Truncation,
    check_dataset,
    encode_texts,
    token_table,
)
from hrsa.activations.writer import ActivationWriter
from hrsa.errors import UserError


def extract_activations(
    model: Any,
    tokenizer: Any,
    dataset: pd.DataFrame,
    path: str | Path,
    *,
    header: Mapping[str, Any],
    layers: str | Sequence[int] = "all",
    dtype: str = "float32",
    max_length: int = 512,
    truncation: Truncation = "end",
    token_budget: int = 4096,
    max_tokens: int | None = None,
    sampling_seed: int = 0,
    n_characters: int | None = None,
) -> None:
    """Write the hidden states of a model on every text of a data set.

    Rows are the tokens of the texts in the data set's order: special tokens and tokens with an
    empty span are left out; of several tokens that end at one character (the bytes of one
    character) the last is kept. Offsets are characters of the text as given. Texts of fewer than
    two tokens have no rows and are counted in the attribute `n_short`.

    What was written before a kill or an error is kept in `<path>.partial`; the same call goes on
    after the last batch that was committed there.

    Parameters
    ----------
    model
        A transformers model in evaluation mode; a language-model head is not run.
    tokenizer
        Its fast tokenizer.
    dataset
        Columns id (str, unique) and text (str).
    path
        The file to write.
    header
        Attributes that the caller knows (see `extraction_header`). `attention`, when given, is
        checked against what the model does, and recorded from it when not.
    layers
        "all", or the hidden states to keep (0 = embeddings … number of blocks).
    dtype
        Stored type: "float32", "float64", "float16" or "bfloat16" (lossless for a model in it).
    max_length
        Longest sequence in tokens, special tokens included; longer texts are cut and counted in
        the attribute `n_truncated`.
    truncation
        Where they are cut: "end" or "start"; "refuse" makes them an error.
    token_budget
        Most tokens in a batch, padding included (one long text may exceed it alone). A batch that
        does not fit in memory is halved.
    max_tokens
        About how many tokens to keep over all samples; which ones is decided by a hash of their
        places, so that every tokenizer keeps the same places. None keeps all.
    sampling_seed
        Seed of that hash; it must be equal for all models that are to be compared.
    n_characters
        Characters of the whole data set where `dataset` is a part of it: the cap is on the whole.

    Raises
    ------
    UserError
        The data set is empty or malformed, the tokenizer has no offsets, a layer does not exist,
        the attention is not the wanted one, a text alone does not fit in memory, the disk is full,
        or a hidden state is NaN or infinite.
    """
    check_dataset(dataset)
    name = str(header.get("model", type(model).__name__))
    states = HiddenStates(model.base_model.eval(), name)
    _check_attention(states.attention, header.get("attention"), name)
    kept_layers = _resolve_layers(layers, states.n_layers, name)
    samples = encode_texts(
        tokenizer,
        dataset,
        max_length=max_length,
        truncation=truncation,
        max_tokens=max_tokens,
        seed=sampling_seed,
        n_characters=n_characters,
    )
    _check_lengths(model.base_model, samples, max_length)
    offsets = np.concatenate([[0], np.cumsum([len(sample.position) for sample in samples])])
    if offsets[-1] == 0:
        part = f", shard {header['shard']} of {header['n_shards']}" if "shard" in header else ""
        remedy = "Ask for fewer shards" if part else "Give texts with words in them"
        raise UserError(
            f"data set {header.get('dataset', 'of unknown name')}{part}: no token is left to store "
            f"(max_length={max_length}, max_tokens={max_tokens}). {remedy}, or raise these limits."
        )
    file_header = extraction_header(
        {
            **header,
            "attention": states.attention,
            "n_layers": states.n_layers,
            "truncation": truncation,
        },
        layers=layers,
        dtype=dtype,
        max_length=max_length,
        max_tokens=max_tokens,
        sampling_seed=sampling_seed,
    )
    counts = {
        "n_truncated": sum(sample.truncated for sample in samples),
        "n_short": sum(sample.is_short for sample in samples),
    }
    writer = ActivationWriter(
        path,
        header={**file_header, **counts},
        samples=dataset["id"].tolist(),
        sample_offsets=offsets,
        tokens=token_table(samples),
        layers=kept_layers,
        width=states.width,
        dtype=dtype,
        resume=True,
    )
    work = _Work(states, samples, offsets, kept_layers, dtype, dataset["id"].tolist(), name)
    with writer, freed_memory_kept():
        if writer.origin:
            print(f"{path}: {writer.origin}", flush=True)
        _extract(work, writer, token_budget)
    _report_counts(counts, len(samples), max_length, truncation)


@dataclass(frozen=True, eq=False)
class _Work:
    """What is read, and what of it is kept."""

    states: HiddenStates
    samples: list[EncodedSample]
    offsets: np.ndarray
    layers: list[int]
    dtype: str
    ids: list[str]
    name: str


def _extract(work: _Work, writer: ActivationWriter, token_budget: int) -> None:
    """Read all batches but those that an earlier run committed."""
    lengths = [len(sample.ids) if len(sample.position) else 0 for sample in work.samples]
    done = int(writer.resumed.sum())
    with (
        Progress(len(writer.resumed), n_done=done, what=work.name) as progress,
        BackgroundWriter() as background,
    ):
        # The batches are those of an undisturbed run: what stands beside a text in a batch moves
        # its last digits.
        for batch in length_sorted_batches(lengths, token_budget):
            rows, _ = rows_of_batch(work.samples, work.offsets, batch)
            if not writer.resumed[rows].all():
                _read_or_halve(work, batch, writer, background, progress)


def _read_or_halve(
    work: _Work,
    batch: list[int],
    writer: ActivationWriter,
    background: BackgroundWriter,
    progress: Progress,
) -> None:
    """Read a batch, in halves where it does not fit in memory.

    Raises
    ------
    UserError
        A text alone does not fit.
    """
    try:
        _read_batch(work, batch, writer, background, progress)
        return
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if len(batch) == 1:
        length = len(work.samples[batch[0]].ids)
        raise UserError(
            f"model {work.name}: the memory does not suffice for sample {work.ids[batch[0]]!r} "
            f"alone ({length} tokens). Set max_length below that, load the model with a narrower "
            "dtype, or use a machine with more memory; what was written is kept."
        )
    print(f"a batch of {len(batch)} texts does not fit in memory: going on with halves", flush=True)
    for half in (batch[: len(batch) // 2], batch[len(batch) // 2 :]):
        _read_or_halve(work, half, writer, background, progress)


def _is_out_of_memory(error: BaseException) -> bool:
    """On a GPU torch has a class for it; on the CPU it has a sentence."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return "not enough memory" in str(error) or "can't allocate memory" in str(error)


def _read_batch(
    work: _Work,
    batch: list[int],
    writer: ActivationWriter,
    background: BackgroundWriter,
    progress: Progress,
) -> None:
    rows, places = rows_of_batch(work.samples, work.offsets, batch)
    read_dtype = torch.float64 if work.dtype == "float64" else torch.float32
    # Mostly each text's rows lie one after the other in the state: the writer takes them from it.
    is_whole = sum(1 for _ in runs(rows, places)) <= 2 * len(batch)
    chosen: dict[torch.device, torch.Tensor] = {}

    def take(layer: int, state: torch.Tensor) -> None:
        state = state.flatten(0, 1)
        if is_whole and state.device.type == "cpu":
            values = state.to(read_dtype).numpy()
            background.put(values.nbytes, writer.write, layer, rows, values, places)
            return
        where = chosen.get(state.device)
        if where is None:  # layers may lie on several devices
            where = chosen[state.device] = torch.from_numpy(places).to(state.device)
        # Indexing by a tensor does the same and takes eight times as long.
        values = state.index_select(0, where).to(read_dtype).cpu().numpy()
        background.put(values.nbytes, writer.write, layer, rows, values)

    ids, mask = padded([work.samples[i].ids for i in batch], work.states.device)
    work.states.read(ids, mask, work.layers, take)

    def commit() -> None:
        writer.commit(rows)
        progress.add(len(rows))

    background.put(0, commit)


def _report_counts(
    counts: Mapping[str, int], n_samples: int, max_length: int, truncation: str
) -> None:
    if counts["n_truncated"]:
        print(
            f"{counts['n_truncated']} of {n_samples} texts cut at the {truncation}: longer than "
            f"{max_length} tokens"
        )
    if counts["n_short"]:
        print(f"{counts['n_short']} of {n_samples} texts left out: fewer than two tokens")


def _check_lengths(backbone: Any, samples: list[EncodedSample], max_length: int) -> None:
    allowed = getattr(backbone.config.get_text_config(), "max_position_embeddings", None)
    for name, module in backbone.named_modules():
        # RoBERTa and its kin count positions from beyond that of the padding.
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            reserved = 0 if module.padding_idx is None else module.padding_idx + 1
            allowed = module.num_embeddings - reserved
    longest = max(len(sample.ids) for sample in samples)
    if allowed is not None and longest > allowed:
        raise UserError(
            f"max_length={max_length}: a text has {longest} tokens, and the model has positions "
            f"for {allowed}. Set max_length to {allowed} or less."
        )


def _check_attention(found: str, wanted: str | None, name: str) -> None:
    if wanted not in (None, found):
        raise UserError(
            f"model {name}: attention {wanted!r} is wanted, but the model's attention is {found} "
            f"(a change in the last token "
            f"{'changes' if found == 'bidirectional' else 'does not change'} the first one's "
            f"state). Set attention to {found!r}, or load the model in the wanted mode; some "
            "architectures have only one."
        )


def _resolve_layers(layers: str | Sequence[int], n_layers: int, name: str) -> list[int]:
    if isinstance(layers, str):
        if layers != "all":
            raise UserError(f'layers={layers!r}; allowed are "all" or a list of numbers.')
        return list(range(n_layers + 1))
    wrong = [layer for layer in layers if not 0 <= layer <= n_layers]
    if wrong or not layers:
        raise UserError(
            f"layers={list(layers)}: model {name} has hidden states 0 (embeddings) to {n_layers} "
            '(after the final norm). Give one or more of these, or "all".'
        )
    return sorted(set(layers))

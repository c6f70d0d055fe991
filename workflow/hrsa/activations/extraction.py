"""Hidden states of a model on the texts of a data set, written to an activation file.

The states are those of `output_hidden_states` in transformers: 0 = embeddings, l = after block l,
the last one after the final norm; of the backbone, without the language-model head.
"""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from hrsa.activations.header import extraction_header
from hrsa.activations.sampling import kept_places, sampling_rate
from hrsa.activations.writer import ActivationWriter
from hrsa.errors import UserError

_TEXTS_AT_ONCE = 1024


@dataclass(frozen=True)
class _EncodedSample:
    """Token ids of a sample as the model sees them, and the rows that are kept of them."""

    ids: np.ndarray
    position: np.ndarray
    char_start: np.ndarray
    char_end: np.ndarray
    truncated: bool


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
    token_budget: int = 4096,
    max_tokens: int | None = None,
    sampling_seed: int = 0,
) -> None:
    """Write the hidden states of a model on every text of a data set.

    Rows are the tokens of the texts in the data set's order: special tokens and tokens with an
    empty span are left out; of several tokens that end at one character (the bytes of one
    character) the last is kept. Offsets are characters of the text as given.

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
        Stored type: "float32", "float64", "bfloat16" (lossless for a model in bfloat16).
    max_length
        Longest sequence in tokens, special tokens included; longer texts are cut at the end and
        counted in the attribute `n_truncated`.
    token_budget
        Most tokens in a batch, padding included (one long text may exceed it alone).
    max_tokens
        About how many tokens to keep over all samples; which ones is decided by a hash of their
        places, so that every tokenizer keeps the same places. None keeps all.
    sampling_seed
        Seed of that hash; it must be equal for all models that are to be compared.

    Raises
    ------
    UserError
        The data set is empty or malformed, the tokenizer has no offsets, a layer does not exist,
        the attention is not the wanted one, or a hidden state is NaN or infinite.
    """
    _check_dataset(dataset)
    backbone = model.base_model.eval()
    device = next(backbone.parameters()).device
    probe = _probe(backbone, device, header)
    kept_layers = _resolve_layers(layers, probe.n_layers, header)
    samples = _encode(tokenizer, dataset, max_length, max_tokens, sampling_seed)
    _check_lengths(backbone, samples, max_length)
    offsets = np.concatenate([[0], np.cumsum([len(sample.position) for sample in samples])])
    if offsets[-1] == 0:
        raise UserError(
            f"data set {header.get('dataset', 'of unknown name')}: no token is left to store "
            f"(max_length={max_length}, max_tokens={max_tokens}). Give texts with words in them, "
            "or raise these limits."
        )
    file_header = extraction_header(
        {**header, "attention": probe.attention, "n_layers": probe.n_layers},
        layers=layers,
        dtype=dtype,
        max_length=max_length,
        max_tokens=max_tokens,
        sampling_seed=sampling_seed,
    )
    writer = ActivationWriter(
        path,
        header={**file_header, "n_truncated": sum(sample.truncated for sample in samples)},
        samples=dataset["id"].tolist(),
        sample_offsets=offsets,
        tokens=_token_table(samples),
        layers=kept_layers,
        width=probe.width,
        dtype=dtype,
    )
    read_dtype = torch.float64 if dtype == "float64" else torch.float32
    with writer, torch.no_grad(), ThreadPoolExecutor(max_workers=1) as pool:
        pending: Future[None] | None = None
        for batch in _batches([len(sample.ids) for sample in samples], token_budget):
            ids, mask = _padded([samples[i].ids for i in batch], device)
            hidden = _hidden_states(backbone, ids, mask)
            rows, places = _rows_of_batch(samples, offsets, batch, ids.shape[1])
            where = torch.from_numpy(places).to(device)
            values = {
                layer: hidden[layer].flatten(0, 1)[where].to(read_dtype).cpu().numpy()
                for layer in kept_layers
            }
            # One batch is written while the next one computes; never more than one waits.
            if pending is not None:
                pending.result()
            pending = pool.submit(_write_batch, writer, rows, values)
        if pending is not None:
            pending.result()


def _write_batch(writer: ActivationWriter, rows: np.ndarray, values: dict[int, np.ndarray]) -> None:
    for layer, states in values.items():
        writer.write(layer, rows, states)


def _check_dataset(dataset: pd.DataFrame) -> None:
    missing = [column for column in ("id", "text") if column not in dataset.columns]
    if missing:
        raise UserError(
            f"the data set lacks the column(s) {', '.join(missing)}; it has "
            f"{', '.join(map(str, dataset.columns))}. Columns id and text are needed."
        )
    if len(dataset) == 0:
        raise UserError("the data set has no rows; at least one text is needed.")
    for column in ("id", "text"):
        wrong = [not isinstance(value, str) for value in dataset[column]]
        if any(wrong):
            at = wrong.index(True)
            raise UserError(
                f"data set row {at}: {column} is {dataset[column].iloc[at]!r}; it must be text. "
                "Fill in or remove such rows."
            )
    repeated = dataset["id"][dataset["id"].duplicated()]
    if len(repeated):
        raise UserError(
            f"the data set has the id {repeated.iloc[0]!r} more than once; ids must be unique."
        )


def _encode(
    tokenizer: Any, dataset: pd.DataFrame, max_length: int, max_tokens: int | None, seed: int
) -> list[_EncodedSample]:
    """Tokenise all texts and decide which of their tokens become rows."""
    if not tokenizer.is_fast:
        raise UserError(
            f"the tokenizer {type(tokenizer).__name__} gives no character offsets; a fast "
            "tokenizer (a tokenizer.json in the model folder) is needed."
        )
    ids, texts = dataset["id"].tolist(), dataset["text"].tolist()
    rate = sampling_rate(max_tokens, sum(map(len, texts)))
    # An unknown word is a place in the text, unlike the other special tokens.
    special = sorted(set(tokenizer.all_special_ids) - {tokenizer.unk_token_id})
    samples = []
    for start in range(0, len(texts), _TEXTS_AT_ONCE):
        encoded = tokenizer(
            texts[start : start + _TEXTS_AT_ONCE], truncation=True, max_length=max_length
        )
        for sample_id, encoding in zip(ids[start:], encoded.encodings, strict=False):
            samples.append(_encoded_sample(sample_id, encoding, special, rate, seed))
    return samples


def _encoded_sample(
    sample_id: str, encoding: Any, special: list[int], rate: float, seed: int
) -> _EncodedSample:
    ids = np.array(encoding.ids, dtype=np.int64)
    spans = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
    added = np.array(encoding.special_tokens_mask, dtype=bool)
    text = np.flatnonzero(~added & ~np.isin(ids, special) & (spans[:, 1] > spans[:, 0]))
    position = text[_last_at_each_end(spans[text, 1])]
    position = position[kept_places(sample_id, spans[position, 1], rate, seed)]
    return _EncodedSample(
        ids=ids,
        position=position,
        char_start=spans[position, 0],
        char_end=spans[position, 1],
        truncated=len(encoding.overflowing) > 0,
    )


def _last_at_each_end(ends: np.ndarray) -> np.ndarray:
    """Indices, ascending, of the last token that ends at each character."""
    _, from_the_back = np.unique(ends[::-1], return_index=True)
    return np.sort(len(ends) - 1 - from_the_back)


def _token_table(samples: list[_EncodedSample]) -> dict[str, np.ndarray]:
    return {
        "id": np.concatenate([sample.ids[sample.position] for sample in samples]),
        "position": np.concatenate([sample.position for sample in samples]),
        "char_start": np.concatenate([sample.char_start for sample in samples]),
        "char_end": np.concatenate([sample.char_end for sample in samples]),
    }


def _check_lengths(backbone: Any, samples: list[_EncodedSample], max_length: int) -> None:
    allowed = getattr(backbone.config.get_text_config(), "max_position_embeddings", None)
    longest = max(len(sample.ids) for sample in samples)
    if allowed is not None and longest > allowed:
        raise UserError(
            f"max_length={max_length}: a text has {longest} tokens, and the model has positions "
            f"for {allowed}. Set max_length to {allowed} or less."
        )


def _batches(lengths: Sequence[int], token_budget: int) -> Iterator[list[int]]:
    """Samples of like length together, longest first, each batch within the padded budget.

    The longest first, so that a budget too large for the machine fails at once. Samples without
    a token need no forward pass.
    """
    batch: list[int] = []
    longest = 0
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if lengths[index] == 0:
            break
        if batch and (len(batch) + 1) * longest > token_budget:
            yield sorted(batch)
            batch = []
        longest = longest if batch else lengths[index]
        batch.append(index)
    if batch:
        yield sorted(batch)


def _padded(sequences: list[np.ndarray], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask (n_samples × longest), padded on the right.

    What the padding holds does not matter under the mask; id 0 exists in every vocabulary.
    """
    shape = (len(sequences), max(map(len, sequences)))
    ids, mask = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.from_numpy(sequence)
        mask[row, : len(sequence)] = 1
    return ids.to(device), mask.to(device)


def _rows_of_batch(
    samples: list[_EncodedSample], offsets: np.ndarray, batch: list[int], length: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the file, and for each its place in the flattened (n_samples · length) batch."""
    rows = [np.arange(offsets[i], offsets[i + 1]) for i in batch]
    places = [slot * length + samples[i].position for slot, i in enumerate(batch)]
    return np.concatenate(rows), np.concatenate(places)


def _hidden_states(
    backbone: Any, ids: torch.Tensor, mask: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """All hidden states of a batch, each (n_samples × length × width)."""
    takes_cache = "use_cache" in inspect.signature(backbone.forward).parameters
    return backbone(
        input_ids=ids,
        attention_mask=mask,
        output_hidden_states=True,
        **({"use_cache": False} if takes_cache else {}),
    ).hidden_states


@dataclass(frozen=True)
class _Probe:
    n_layers: int
    width: int
    attention: str


def _probe(backbone: Any, device: torch.device, header: Mapping[str, Any]) -> _Probe:
    """Depth, width and attention of a model, from two short sequences that differ in the end.

    Attention is bidirectional when the last token changes what the first ones become. The
    model's configuration is not asked: an architecture may ignore what it says.
    """
    size = backbone.get_input_embeddings().num_embeddings
    ids = torch.tensor(
        [[size // 4, size // 4, size // 3], [size // 4, size // 4, size // 2]], device=device
    )
    with torch.no_grad():
        hidden = _hidden_states(backbone, ids, torch.ones_like(ids))
    widths = sorted({state.shape[-1] for state in hidden})
    if len(widths) > 1:
        raise UserError(
            f"model {header.get('model', type(backbone).__name__)}: its layers have different "
            f"widths ({', '.join(map(str, widths))}); only models of one width can be stored."
        )
    first = hidden[-1][:, :2].double()
    change = (first[0] - first[1]).abs().max() / first.abs().max()
    attention = "bidirectional" if change > 1e-4 else "causal"
    _check_attention(attention, header)
    return _Probe(n_layers=len(hidden) - 1, width=widths[0], attention=attention)


def _check_attention(found: str, header: Mapping[str, Any]) -> None:
    wanted = header.get("attention")
    if wanted not in (None, found):
        raise UserError(
            f"model {header.get('model', 'of unknown name')}: attention {wanted!r} is wanted, but "
            f"the model's attention is {found} (a change in the last token "
            f"{'changes' if found == 'bidirectional' else 'does not change'} the first one's "
            f"state). Set attention to {found!r}, or load the model in the wanted mode; some "
            "architectures have only one."
        )


def _resolve_layers(
    layers: str | Sequence[int], n_layers: int, header: Mapping[str, Any]
) -> list[int]:
    if isinstance(layers, str):
        if layers != "all":
            raise UserError(f'layers={layers!r}; allowed are "all" or a list of numbers.')
        return list(range(n_layers + 1))
    wrong = [layer for layer in layers if not 0 <= layer <= n_layers]
    if wrong or not layers:
        raise UserError(
            f"layers={list(layers)}: model {header.get('model', 'of unknown name')} has hidden "
            f"states 0 (embeddings) to {n_layers} (after the final norm). Give one or more of "
            'these, or "all".'
        )
    return sorted(set(layers))

"""Texts as a model sees them: token ids, and which tokens become rows of an activation file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from hrsa.activations.sampling import kept_places, sampling_rate
from hrsa.errors import UserError

Truncation = Literal["end", "start", "refuse"]
TRUNCATIONS: tuple[Truncation, ...] = get_args(Truncation)
# Fewer tokens, special ones included, and nothing in a text could attend to anything else.
LEAST_TOKENS = 2
_TEXTS_AT_ONCE = 64
_CHARACTERS_AT_ONCE = 500_000


@dataclass(frozen=True)
class EncodedSample:
    """Token ids of a sample as the model sees them, and the rows that are kept of them; int32.

    Attributes
    ----------
    ids : numpy.ndarray, shape (n_ids,)
    position, char_start, char_end : numpy.ndarray, shape (n_rows,)
        Places of the rows in `ids`, and their characters in the text as given.
    truncated : bool
        Whether the text was cut to the greatest length.
    """

    ids: np.ndarray
    position: np.ndarray
    char_start: np.ndarray
    char_end: np.ndarray
    truncated: bool

    @property
    def is_short(self) -> bool:
        """Whether it has too few tokens to be kept."""
        return len(self.ids) < LEAST_TOKENS


def check_dataset(dataset: pd.DataFrame) -> None:
    """Refuse a data set without texts, or with ids that are missing or not unique.

    Raises
    ------
    UserError
        Naming the column, the row or the id.
    """
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


def encode_texts(
    tokenizer: Any,
    dataset: pd.DataFrame,
    *,
    max_length: int,
    truncation: Truncation = "end",
    max_tokens: int | None = None,
    seed: int = 0,
    n_characters: int | None = None,
) -> list[EncodedSample]:
    """Tokenise all texts and decide which of their tokens become rows.

    Parameters
    ----------
    tokenizer
        A fast tokenizer of transformers.
    dataset : DataFrame
        Columns id and text.
    max_length : int
        Longest sequence in tokens, special tokens included.
    truncation : {"end", "start", "refuse"}
        What of a longer text is cut off, or that there must be none.
    max_tokens, seed
        See `hrsa.activations.sampling`.
    n_characters : int, optional
        Characters of the whole data set, where this is a part of it.

    Returns
    -------
    list of EncodedSample
        In the data set's order. Samples of fewer than two tokens have no rows.

    Raises
    ------
    UserError
        The tokenizer gives no character offsets, or a text is too long and may not be cut.
    """
    if not tokenizer.is_fast:
        raise UserError(
            f"the tokenizer {type(tokenizer).__name__} gives no character offsets; a fast "
            "tokenizer (a tokenizer.json in the model folder) is needed."
        )
    if truncation not in TRUNCATIONS:
        raise UserError(f"truncation={truncation!r}; allowed are {', '.join(TRUNCATIONS)}.")
    ids, texts = dataset["id"].tolist(), dataset["text"].tolist()
    rate = sampling_rate(max_tokens, n_characters or sum(map(len, texts)))
    # An unknown word is a place in the text, unlike the other special tokens.
    # Ids may have gaps: there are fewer tokens than the greatest id says.
    special = np.zeros(max(tokenizer.get_vocab().values()) + 1, dtype=bool)
    special[sorted(set(tokenizer.all_special_ids) - {tokenizer.unk_token_id})] = True
    samples: list[EncodedSample] = []
    for part in _parts(texts):
        encoded = _tokenised(tokenizer, texts[part], max_length, truncation)
        for sample_id, encoding in zip(ids[part], encoded, strict=True):
            samples.append(_encoded_sample(sample_id, encoding, special, rate, seed))
    if truncation == "refuse":
        _refuse_long(ids, samples, max_length)
    return samples


def token_table(samples: Sequence[EncodedSample]) -> dict[str, np.ndarray]:
    """Columns id, position, char_start and char_end of all rows, int32 (n_rows,) each."""
    return {
        "id": np.concatenate([sample.ids[sample.position] for sample in samples]),
        "position": np.concatenate([sample.position for sample in samples]),
        "char_start": np.concatenate([sample.char_start for sample in samples]),
        "char_end": np.concatenate([sample.char_end for sample in samples]),
    }


def _parts(texts: Sequence[str]) -> Iterator[slice]:
    """Texts to tokenise at once: what is cut off takes memory too until the next ones come."""
    start = size = 0
    for stop, text in enumerate(texts):
        is_full = stop - start == _TEXTS_AT_ONCE or size + len(text) > _CHARACTERS_AT_ONCE
        if stop > start and is_full:
            yield slice(start, stop)
            start, size = stop, 0
        size += len(text)
    yield slice(start, len(texts))


def _tokenised(
    tokenizer: Any, texts: list[str], max_length: int, truncation: Truncation
) -> list[Any]:
    side = tokenizer.truncation_side
    tokenizer.truncation_side = "left" if truncation == "start" else "right"
    try:
        return tokenizer(texts, truncation=True, max_length=max_length).encodings
    finally:
        tokenizer.truncation_side = side


def _encoded_sample(
    sample_id: str, encoding: Any, special: np.ndarray, rate: float, seed: int
) -> EncodedSample:
    ids = np.array(encoding.ids, dtype=np.int32)
    spans = np.array(encoding.offsets, dtype=np.int32).reshape(-1, 2)
    added = np.array(encoding.special_tokens_mask, dtype=bool)
    text = np.flatnonzero(~added & ~special[ids] & (spans[:, 1] > spans[:, 0]))
    position = text[_last_at_each_end(spans[text, 1])] if len(ids) >= LEAST_TOKENS else text[:0]
    position = position[kept_places(sample_id, spans[position, 1], rate, seed)]
    return EncodedSample(
        ids=ids,
        position=position.astype(np.int32),
        char_start=spans[position, 0],
        char_end=spans[position, 1],
        truncated=len(encoding.overflowing) > 0,
    )


def _last_at_each_end(ends: np.ndarray) -> np.ndarray:
    """Indices, ascending, of the last token that ends at each character."""
    if np.all(ends[1:] > ends[:-1]):  # mostly; and a sort takes long
        return np.arange(len(ends))
    _, from_the_back = np.unique(ends[::-1], return_index=True)
    return np.sort(len(ends) - 1 - from_the_back)


def _refuse_long(ids: list[str], samples: list[EncodedSample], max_length: int) -> None:
    cut = [sample_id for sample_id, one in zip(ids, samples, strict=True) if one.truncated]
    if cut:
        raise UserError(
            f"{len(cut)} of {len(samples)} texts are longer than max_length={max_length} tokens, "
            f"the first is {cut[0]!r}, and truncation: refuse allows no cut. Raise max_length, or "
            "set truncation to end or start."
        )

"""An encoder that embeds each text once, however many tasks of a job have it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from mteb.models.cache_wrappers import CachedEmbeddingWrapper
from mteb.models.sentence_transformer_wrapper import SentenceTransformerEncoderWrapper
from sentence_transformers import SentenceTransformer

# What `mteb` makes a text of; other columns of a data set (ids, labels) are not read by a model.
READ = ("text", "title", "query", "instruction")


class EmbeddingsInMemory:
    """A backend of `mteb`'s cache that keeps embeddings as long as the process runs.

    Parameters
    ----------
    directory : Path, optional
        Not used: `mteb` gives each backend one.
    """

    def __init__(self, directory: Path | None = None, **kwargs: Any) -> None:
        self.vectors: dict[tuple[Any, ...], np.ndarray] = {}

    def add(self, item: list[dict[str, Any]], vectors: Any) -> None:
        """Keep the embeddings of some rows."""
        for row, vector in zip(item, vectors, strict=True):
            self.vectors[_key(row)] = np.asarray(vector)

    def get_vector(self, item: dict[str, Any]) -> np.ndarray | None:
        """Embedding of a row, None where it is new."""
        return self.vectors.get(_key(item))

    def __contains__(self, item: dict[str, Any]) -> bool:
        """Whether a row's embedding is kept."""
        return _key(item) in self.vectors

    def save(self) -> None:
        """Nothing: the embeddings end with the process."""

    def load(self) -> None:
        """Nothing to load."""

    def close(self) -> None:
        """Forget the embeddings."""
        self.vectors.clear()


class SharedEmbeddings(CachedEmbeddingWrapper):
    """`mteb`'s cached encoder with one cache for all tasks, in memory.

    `mteb` keeps a cache for each task, since a prompt may depend on it. A model that has prompts is
    left at that; one that has none reads a text alike in every task.

    Parameters
    ----------
    model : SentenceTransformer or `mteb` encoder
    """

    def __init__(self, model: Any) -> None:
        if isinstance(model, SentenceTransformer):
            model = SentenceTransformerEncoderWrapper(model)
        self._place = TemporaryDirectory()  # `mteb` wants a folder; nothing is written there
        super().__init__(model, self._place.name, cache_backend=EmbeddingsInMemory)
        self._has_prompts = any((getattr(model, "model_prompts", None) or {}).values())

    def _get_or_create_cache(
        self, task_name: str, prompt_type: Any, encode_kwargs: dict[str, Any] | None = None
    ) -> Any:
        if not self._has_prompts:
            task_name, prompt_type = "all", None
        return super()._get_or_create_cache(task_name, prompt_type, encode_kwargs)


def _key(item: dict[str, Any]) -> tuple[Any, ...]:
    return tuple((name, str(item[name])) for name in READ if item.get(name) is not None)

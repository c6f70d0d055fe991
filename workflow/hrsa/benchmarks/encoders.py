"""How a model folder is read as an embedding model.

Three readers, all known to `mteb`: an embedding model (a sentence-transformers folder) as it was
trained, a backbone by the mean of its last states, and BM25, which knows only words.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_implementations.bm25 import BM25Search
from mteb.models.model_meta import ModelMeta, ScoringFunction
from sentence_transformers import SentenceTransformer

from hrsa.models.loading import (
    Attention,
    attention_mode,
    check_model_folder,
    load_backbone,
    set_attention,
)

MAX_LENGTH = 512


def load_encoder(
    folder: Path, *, attention: Attention | None = None, device: str = "cpu"
) -> SentenceTransformer | MeanPooledBackbone:
    """Read a model folder as an embedding model.

    Parameters
    ----------
    folder
        A sentence-transformers folder (with a ``modules.json``), which says itself how it pools, or
        a backbone, whose last states are averaged.
    attention
        "causal", "bidirectional", or None: as the folder's configuration says.
    device
        Where torch computes.

    Raises
    ------
    UserError
        The folder cannot be loaded, or its architecture cannot read with `attention`.
    """
    if (Path(folder) / "modules.json").exists():
        return load_embedding_model(folder, attention=attention, device=device)
    return MeanPooledBackbone(folder, attention=attention, device=device)


def load_embedding_model(
    folder: Path, *, attention: Attention | None = None, device: str = "cpu"
) -> SentenceTransformer:
    """Load a sentence-transformers folder in float32, with the attention that it was saved with.

    sentence-transformers passes no attention mode on, so it is set here and then observed.

    Raises
    ------
    UserError
        The folder cannot be loaded, or its architecture cannot read with `attention`.
    """
    check_model_folder(folder)
    model = SentenceTransformer(
        str(folder),
        device=device,
        local_files_only=True,
        trust_remote_code=False,
        model_kwargs={"dtype": torch.float32, "use_safetensors": True},
    ).eval()
    saved = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    if attention is None and "is_causal" in saved:
        attention = attention_mode(saved)
    backbone: Any = model[0].auto_model
    set_attention(backbone, attention)
    model.tokenizer.padding_side = "right"
    return model


class MeanPooledBackbone(AbsEncoder):
    """Embeds a text as the mean of a backbone's last states over the text's own tokens.

    Special tokens (a beginning-of-text mark, say) are left out, unless the text has no others.
    """

    def __init__(
        self, folder: Path, *, attention: Attention | None = None, device: str = "cpu"
    ) -> None:
        backbone, self.tokenizer = load_backbone(folder, attention=attention)
        self.backbone = backbone.to(torch.device(device))  # type: ignore[arg-type]
        limits = (self.tokenizer.model_max_length, backbone.config.max_position_embeddings)
        self.max_length = min(MAX_LENGTH, *limits)
        self.mteb_model_meta = ModelMeta.create_empty(
            {
                "name": f"backbone/{Path(folder).name}",
                "revision": attention_mode(backbone.config),
                "similarity_fn_name": ScoringFunction.COSINE,
            }
        )

    def encode(self, inputs: Any, *, batch_size: int = 32, **kwargs: Any) -> np.ndarray:
        """Embed the texts of an `mteb` data loader, shape (n_texts, width)."""
        return self.embed([text for batch in inputs for text in batch["text"]], batch_size)

    @torch.no_grad()
    def embed(self, texts: list[str], batch_size: int = 32) -> np.ndarray:
        """Embed texts, those of similar length together.

        Returns
        -------
        numpy.ndarray of float32, shape (n_texts, width)
        """
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        embeddings = np.empty((len(texts), self.backbone.config.hidden_size), dtype=np.float32)
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            embeddings[rows] = self._embed_batch([texts[row] for row in rows])
        return embeddings

    def _embed_batch(self, texts: list[str]) -> np.ndarray:
        tokens = self.tokenizer(
            texts,
            padding=True,
            truncation=True,
            max_length=self.max_length,
            return_special_tokens_mask=True,
            return_tensors="pt",
        ).to(self.backbone.device)
        mask = tokens["attention_mask"]
        states = self.backbone(input_ids=tokens["input_ids"], attention_mask=mask)
        own = mask * (1 - tokens["special_tokens_mask"])
        weights = torch.where(own.any(dim=1, keepdim=True), own, mask).float().unsqueeze(-1)
        summed = (states.last_hidden_state * weights).sum(dim=1)
        return (summed / weights.sum(dim=1).clamp(min=1)).cpu().numpy()


class LexicalSearch(BM25Search):
    """BM25 (k1 = 1.5, b = 0.75, Lucene's variant) over lower-cased words, all words kept.

    No stemming and no list of stop words: nothing that depends on the language.

    References
    ----------
    Robertson & Zaragoza (2009), The Probabilistic Relevance Framework: BM25 and Beyond; Lù (2024),
    BM25S, arXiv:2407.03618.
    """

    def __init__(self) -> None:
        super().__init__(tokenizer=words, freq_threshold=0)
        self.mteb_model_meta = ModelMeta.create_empty({"name": "baseline/bm25", "revision": "1"})


def words(text: str) -> list[str]:
    """Split a text into lower-cased words and numbers."""
    return re.findall(r"\w+", text.lower())

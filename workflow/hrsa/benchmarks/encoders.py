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

from hrsa.errors import UserError
from hrsa.models.instructions import SPLIT_POINT
from hrsa.models.loading import (
    Attention,
    attention_mode,
    check_model_folder,
    load_backbone,
    set_attention,
)
from hrsa.models.model_files import weight_count
from hrsa.models.placement import BYTES_OF_DTYPE, SEVERAL, resolve_device

MAX_LENGTH = 512
# Architectures like RoBERTa whose names do not say so.
SHIFTED_POSITIONS = ("camembert", "mpnet", "longformer")


def load_encoder(
    folder: Path,
    *,
    attention: Attention | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    max_length: int | None = None,
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
        "cpu", "cuda", "cuda:<number>", or "auto": a GPU where there is one
        (`hrsa.models.placement.resolve_device`). A model that does not fit one GPU is refused.
    dtype
        Of weights and states; embeddings are float32.
    max_length
        Longest text in tokens, longer ones are cut; at most what the architecture reads. None: what
        an embedding model was trained with, and 512 for a backbone.

    Raises
    ------
    UserError
        The folder cannot be loaded, its architecture cannot read with `attention`, or there is no
        such device.
    """
    is_embedding_model = (Path(folder) / "modules.json").exists()
    read = load_embedding_model if is_embedding_model else MeanPooledBackbone
    return read(folder, attention=attention, device=device, dtype=dtype, max_length=max_length)


def load_embedding_model(
    folder: Path,
    *,
    attention: Attention | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    max_length: int | None = None,
) -> SentenceTransformer:
    """Load a sentence-transformers folder with the attention that it was saved with.

    sentence-transformers passes no attention mode on, so it is set here and then observed.

    Parameters
    ----------
    folder, attention, device, dtype, max_length
        As in `load_encoder`.

    Raises
    ------
    UserError
        The folder cannot be loaded, its architecture cannot read with `attention`, or there is no
        such device.
    """
    check_model_folder(folder)
    model = SentenceTransformer(
        str(folder),
        device=_one_device(folder, device, dtype),
        local_files_only=True,
        trust_remote_code=False,
        model_kwargs={"dtype": getattr(torch, dtype), "use_safetensors": True},
    ).eval()
    saved = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    if attention is None and "is_causal" in saved:
        attention = attention_mode(saved)
    backbone: Any = model[0].auto_model
    set_attention(backbone, attention)
    model.tokenizer.padding_side = "right"
    if max_length is not None:
        model.max_seq_length = min(max_length, _positions(backbone.config, max_length))
    return model


def _positions(config: Any, otherwise: int) -> int:
    """Longest text that an architecture reads; `otherwise` where it says nothing of it."""
    positions = getattr(config, "max_position_embeddings", None)
    if not positions:
        return otherwise
    # these count positions from behind that of the padding
    is_shifted = "roberta" in config.model_type or config.model_type in SHIFTED_POSITIONS
    return int(positions) - (config.pad_token_id + 1 if is_shifted else 0)


def _one_device(folder: Path, device: str, dtype: str) -> str:
    found = resolve_device(device, weight_count(folder) * BYTES_OF_DTYPE[dtype])
    if found == SEVERAL:
        raise UserError(
            f"The model {folder} does not fit one GPU, and benchmarks read a model on one. Give "
            "`benchmarks.device: cpu`, `benchmarks.dtype: bfloat16`, or a larger GPU."
        )
    return found


class MeanPooledBackbone(AbsEncoder):
    """Embeds a text as the mean of a backbone's last states over the text's own tokens.

    Special tokens (a beginning-of-text mark, say) are left out, unless the text has no others.
    """

    def __init__(
        self,
        folder: Path,
        *,
        attention: Attention | None = None,
        device: str = "cpu",
        dtype: str = "float32",
        max_length: int | None = None,
    ) -> None:
        device = _one_device(folder, device, dtype)
        backbone, self.tokenizer = load_backbone(
            folder, attention=attention, dtype=dtype, device=device
        )
        self.backbone = backbone
        wanted = max_length or MAX_LENGTH
        limits = (self.tokenizer.model_max_length, _positions(backbone.config, wanted))
        self.max_length = min(wanted, *limits)
        self.mteb_model_meta = ModelMeta.create_empty(
            {
                "name": f"backbone/{Path(folder).name}",
                "revision": attention_mode(backbone.config),
                "similarity_fn_name": ScoringFunction.COSINE,
            }
        )

    def encode(
        self, inputs: Any, *, batch_size: int = 32, prompt: str = "", **kwargs: Any
    ) -> np.ndarray:
        """Embed the texts of an `mteb` data loader, shape (n_texts, width)."""
        texts = [text for batch in inputs for text in batch["text"]]
        return self.embed(texts, batch_size, prompt=prompt)

    @torch.no_grad()
    def embed(self, texts: list[str], batch_size: int = 32, *, prompt: str = "") -> np.ndarray:
        """Embed texts, those of similar length together.

        Parameters
        ----------
        texts
        batch_size
            Texts per forward pass.
        prompt
            Is read before each text, after which comes a space, and left out of the mean
            (`hrsa.models.instructions`).

        Returns
        -------
        numpy.ndarray of float32, shape (n_texts, width)
        """
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        embeddings = np.empty((len(texts), self.backbone.config.hidden_size), dtype=np.float32)
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            embeddings[rows] = self._embed_batch([texts[row] for row in rows], prompt)
        return embeddings

    def _embed_batch(self, texts: list[str], prompt: str) -> np.ndarray:
        tokens = self.tokenizer(
            [prompt + SPLIT_POINT + text for text in texts] if prompt else texts,
            padding=True,
            truncation=True,
            max_length=self.max_length,
            return_special_tokens_mask=True,
            return_offsets_mapping=True,
            return_tensors="pt",
        ).to(self.backbone.device)
        mask = tokens["attention_mask"]
        states = self.backbone(input_ids=tokens["input_ids"], attention_mask=mask)
        of_text = tokens["offset_mapping"][..., 0] >= len(prompt)
        own = mask * (1 - tokens["special_tokens_mask"]) * of_text
        weights = torch.where(own.any(dim=1, keepdim=True), own, mask).float().unsqueeze(-1)
        summed = (states.last_hidden_state.float() * weights).sum(dim=1)
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

"""Sentence embeddings as a sentence-transformers folder says: pooling, and what comes after it.

A folder is a list of modules (``modules.json``). The first, a Transformer, gives the states of a
text's tokens: these are what is extracted into activation files, and no later module touches them.
Pooling makes one vector of them. Dense (a projection), LayerNorm and Normalize (length 1) work on
that vector: they are applied to embeddings here, and are not part of any layer's states. The
modules themselves are those of sentence-transformers.

Prompts ("query: " and the like) are put before a text only when they are asked for by name, a
folder's default prompt included: pairs of models are compared on the same characters.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hrsa.errors import UserError
from hrsa.models.model_files import class_name, read_json, read_sentence_modules

if TYPE_CHECKING:
    import numpy as np
    import torch

    from hrsa.models.attention import Attention

# Keys of a pooling module's configuration before sentence-transformers 5.
_OLD_MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_AFTER_POOLING = ("Dense", "LayerNorm", "Normalize", "Dropout")


@dataclass(frozen=True)
class EmbeddingSettings:
    """How a sentence-transformers folder makes an embedding of a text's token states.

    Attributes
    ----------
    pooling : tuple of str
        "mean", "cls" (the first token), "lasttoken", "max", "weightedmean" or
        "mean_sqrt_len_tokens"; the vectors of several are put one behind the other.
    modules : tuple of (str, str)
        Class and subfolder of the pooling module and of those after it.
    max_length : int or None
        Longest text in tokens; None: as its tokenizer and its model say.
    lowers_case : bool
        Whether texts are put in lower case first.
    prompts : dict
        Name -> text that goes before a text on request.
    """

    pooling: tuple[str, ...]
    modules: tuple[tuple[str, str], ...]
    max_length: int | None
    lowers_case: bool
    prompts: dict[str, str]


def embedding_settings(folder: str | Path) -> EmbeddingSettings | None:
    """Read how a folder makes embeddings, from its JSON files alone.

    Returns
    -------
    The settings, or None for a folder that is not one of sentence-transformers.

    Raises
    ------
    UserError
        Its list of modules is not Transformer, Pooling and any of Dense, LayerNorm and Normalize;
        a module has pickled weights; its pooling's configuration is missing; or texts go through a
        chat template.
    """
    folder = Path(folder)
    if not (folder / "modules.json").exists():
        return None
    entries = read_sentence_modules(folder)
    modules = tuple((class_name(one), str(one.get("path", ""))) for one in entries)
    names = [name for name, _ in modules]
    if names[:2] != ["Transformer", "Pooling"] or not set(names[2:]) <= set(_AFTER_POOLING):
        raise UserError(
            f"{folder / 'modules.json'} lists the modules {', '.join(names) or 'none'}; allowed "
            f"are Transformer, Pooling, and then any of {', '.join(_AFTER_POOLING)}. Its hidden "
            "states can be extracted, but not its embeddings."
        )
    for name, place in modules[1:]:
        _check_module(folder / place, name)
    transformer = _optional_json(folder / "sentence_bert_config.json")
    if "message" in transformer.get("modality_config", {}):
        raise UserError(
            f"{folder / 'sentence_bert_config.json'} sends texts through a chat template "
            "(modality_config: message), which changes the characters that the model reads. Its "
            "hidden states can be extracted, but not its embeddings."
        )
    pooling = folder / modules[1][1] / "config.json"
    if not pooling.exists():
        raise UserError(
            f"{pooling} is missing, which says how the model pools. Copy the folder again. Its "
            "hidden states can be extracted, but not its embeddings."
        )
    return EmbeddingSettings(
        pooling=_pooling_modes(read_json(pooling)),
        modules=modules[1:],
        max_length=transformer.get("max_seq_length"),
        lowers_case=bool(transformer.get("do_lower_case", False)),
        prompts=_optional_json(folder / "config_sentence_transformers.json").get("prompts") or {},
    )


def pooling_of(model: str | Path) -> str | None:
    """Name how a model pools, for the header of its activation files (entry `pooling`).

    Read from the JSON files alone, and never a reason to refuse a model whose hidden states can be
    read.

    Parameters
    ----------
    model
        Model folder or ``.gguf`` file.

    Returns
    -------
    The modes of a sentence-transformers folder (see `EmbeddingSettings`), joined by "+"; where
    another module than Pooling follows its Transformer that one's class; "unknown" where its
    configuration is missing; None for a model that does not pool.

    Raises
    ------
    UserError
        A configuration is not valid JSON.
    """
    folder = Path(model)
    if not (folder / "modules.json").exists():
        return None
    after = read_sentence_modules(folder)[1:]
    if not after:
        return None
    if class_name(after[0]) != "Pooling":
        return class_name(after[0])
    config = folder / str(after[0].get("path", "")) / "config.json"
    return "+".join(_pooling_modes(read_json(config))) if config.exists() else "unknown"


def end_mark(pooling: str | None, tokenizer: Any) -> dict[str, bool]:
    """Header entry `pooling_end_mark`: whether a special token follows a text's last token.

    It is then what a model that pools by its last token means, and not in an activation file.

    Parameters
    ----------
    pooling
        Of `pooling_of`.
    tokenizer
        A fast tokenizer, as the model is read with.

    Returns
    -------
    dict with that entry; empty where the pooling does not ask for it, or it cannot be told.
    """
    if pooling is None or "lasttoken" not in pooling.split("+"):
        return {}
    try:
        start, stop = tokenizer("a").encodings[0].offsets[-1]
    except Exception:  # no text for this tokenizer; the library raises nothing narrower
        return {}
    return {"pooling_end_mark": bool(stop <= start)}


class EmbeddingModel:
    """A backbone with the pooling of its sentence-transformers folder.

    Parameters
    ----------
    folder
        With a ``modules.json``.
    attention, dtype, device
        As in `hrsa.models.loading.load_backbone`.

    Raises
    ------
    UserError
        The folder is not one of sentence-transformers, or see `embedding_settings` and
        `load_backbone`.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        attention: Attention | None = None,
        dtype: str = "float32",
        device: str = "cpu",
    ) -> None:
        from hrsa.models.loading import load_backbone

        settings = embedding_settings(folder)
        if settings is None:
            raise UserError(
                f"The model folder {folder} has no modules.json, which would say how it makes "
                "embeddings. Give a folder that sentence-transformers saved."
            )
        self.settings = settings
        self.backbone, self.tokenizer = load_backbone(
            folder, attention=attention, dtype=dtype, device=device
        )
        if settings.lowers_case:
            _lower_case(self.tokenizer)
        self._modules = [
            _load_module(Path(folder), name, place).to(self.backbone.dtype).eval()
            for name, place in settings.modules
        ]
        positions = getattr(self.backbone.config, "max_position_embeddings", None)
        limits = (self.tokenizer.model_max_length, positions)
        self._max_length = settings.max_length or min(limit for limit in limits if limit)

    def embed(
        self, texts: Sequence[str], *, prompt: str | None = None, batch_size: int = 32
    ) -> np.ndarray:
        """Embed texts, those of similar length together.

        Parameters
        ----------
        texts : sequence of str
        prompt
            Name of one of the folder's prompts, to go before each text; None: nothing does.
        batch_size : int

        Returns
        -------
        numpy.ndarray of float32 (float64 for a model in it), shape (n_texts, embedding width)

        Raises
        ------
        UserError
            The folder has no such prompt.
        """
        import numpy as np

        before = self._prompt(prompt)
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        rows: dict[int, np.ndarray] = {}
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            embedded = self._embed_batch([before + texts[index] for index in batch], before)
            rows.update(zip(batch, embedded, strict=True))
        return np.stack([rows[index] for index in range(len(texts))])

    def pool(
        self, states: torch.Tensor, mask: torch.Tensor, n_prompt_tokens: int = 0
    ) -> torch.Tensor:
        """Make embeddings of last hidden states.

        Parameters
        ----------
        states : torch.Tensor, shape (n_texts, length, width)
        mask : torch.Tensor of int, shape (n_texts, length)
            1 for tokens, 0 for padding.
        n_prompt_tokens : int
            Tokens at the start that are a prompt: pooling leaves them out where the folder says so.

        Returns
        -------
        torch.Tensor, shape (n_texts, embedding width)
        """
        features: dict[str, Any] = {"token_embeddings": states, "attention_mask": mask}
        if n_prompt_tokens:
            features["prompt_length"] = n_prompt_tokens
        for module in self._modules:
            features = module.to(states.device)(features)
        return features["sentence_embedding"]

    def _embed_batch(self, texts: list[str], prompt: str) -> np.ndarray:
        import torch

        tokens = self._tokens(texts).to(self.backbone.device)
        known = inspect.signature(self.backbone.forward).parameters
        inputs = {name: value for name, value in tokens.items() if name in known}
        with torch.inference_mode():
            states = self.backbone(**inputs).last_hidden_state
            mask = tokens["attention_mask"].to(states.device)
            pooled = self.pool(states, mask, self._prompt_length(prompt))
        read = torch.float64 if pooled.dtype == torch.float64 else torch.float32
        return pooled.to(read).cpu().numpy()

    def _tokens(self, texts: list[str]) -> Any:
        return self.tokenizer(
            texts,
            padding=True,
            truncation=True,
            max_length=self._max_length,
            return_tensors="pt",
        )

    def _prompt(self, name: str | None) -> str:
        prompts = self.settings.prompts
        if name is not None and name not in prompts:
            raise UserError(
                f"prompt {name!r} is not one of the model's; allowed: "
                f"{', '.join(prompts) or 'none, as its folder names no prompts'}."
            )
        return "" if name is None else prompts[name]

    def _prompt_length(self, prompt: str) -> int:
        """Tokens of a prompt, without the special token that may end a text."""
        if not prompt:
            return 0
        ids = self._tokens([prompt])["input_ids"][0].tolist()
        return len(ids) - (ids[-1] in self.tokenizer.all_special_ids)


def _check_module(folder: Path, name: str) -> None:
    """Refuse what sentence-transformers would unpickle, or replace with a warning."""
    if name in ("Dense", "LayerNorm") and not (folder / "model.safetensors").exists():
        raise UserError(
            f"The module {folder} ({name}) has no model.safetensors; pickled weights are never "
            "loaded here. Load the model with sentence-transformers where you trust it, and call "
            "`save_pretrained`."
        )
    if name == "Dense":
        activation = str(read_json(folder / "config.json").get("activation_function", "torch."))
        if not activation.startswith("torch."):
            raise UserError(
                f"{folder / 'config.json'} names the activation {activation}, code from outside "
                "torch, which is not run. Its hidden states can be extracted, but not its "
                "embeddings."
            )


def _pooling_modes(config: dict[str, Any]) -> tuple[str, ...]:
    if "pooling_mode" in config:
        modes = config["pooling_mode"]
        return tuple(map(str, modes)) if isinstance(modes, list) else (str(modes),)
    return tuple(mode for key, mode in _OLD_MODES.items() if config.get(key)) or ("mean",)


def _optional_json(file: Path) -> dict[str, Any]:
    return read_json(file) if file.exists() else {}


def _load_module(folder: Path, name: str, place: str) -> Any:
    from sentence_transformers.sentence_transformer import modules

    try:
        return getattr(modules, name).load(str(folder), subfolder=place, local_files_only=True)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise UserError(
            f"sentence-transformers cannot load the module {folder / place} ({name}): {error}. "
            "Copy the folder again, or save the model again with `save_pretrained`."
        ) from error


def _lower_case(tokenizer: Any) -> None:
    """Put texts in lower case before all else that a tokenizer does to them."""
    from tokenizers import normalizers

    backend = tokenizer.backend_tokenizer
    before = [backend.normalizer] if backend.normalizer else []
    backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *before])

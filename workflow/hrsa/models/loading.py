"""Loading models: where their weights may come from and how they are read.

A model is a folder (``*.safetensors``, ``config.json``, tokenizer files) or a ``.gguf`` file.
Nothing that would have to be unpickled, and no code that a model folder brings along, is loaded.

torch and transformers are imported inside the functions that need them. What is known of a model
without loading it is in `model_files`, how it attends in `attention`, and where it is put in
`placement`; their names can be imported from here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from hrsa.errors import UserError
from hrsa.models.attention import (
    Attention,
    attention_implementation,
    attention_mode,
    observed_attention,
    set_attention,
    set_attention_and_kernels,
)
from hrsa.models.model_files import (
    PICKLED_WEIGHTS,
    TOKENIZER_FILES,
    check_model_folder,
    gguf_quantisation,
    is_adapter,
    is_gguf,
    weight_count,
    weights_sha256,
)
from hrsa.models.placement import BYTES_OF_DTYPE, placement_arguments, resolve_device

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

__all__ = [
    "DTYPES",
    "PICKLED_WEIGHTS",
    "TOKENIZER_FILES",
    "Attention",
    "attention_implementation",
    "attention_mode",
    "check_model_folder",
    "gguf_quantisation",
    "is_adapter",
    "is_gguf",
    "load_backbone",
    "load_config",
    "load_language_model",
    "load_tokenizer",
    "load_weights",
    "observed_attention",
    "set_attention",
    "weights_sha256",
]

DTYPES = tuple(BYTES_OF_DTYPE)


def load_backbone(
    path: str | Path,
    *,
    attention: Attention | None = None,
    dtype: str = "float32",
    device: str = "cpu",
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a model without its language-model head, to read its hidden states.

    Parameters
    ----------
    path
        Model folder or ``.gguf`` file.
    attention
        "causal", "bidirectional", or None: what the folder's own configuration says.
    dtype
        One of `DTYPES`.
    device
        "cpu", "cuda", "cuda:<number>", or "auto" (see `resolve_device`): a GPU where the model
        fits one, several where it does not.

    Returns
    -------
    model, tokenizer
        The model in evaluation mode, and its fast tokenizer, padding on the right. That the
        attention is what was asked for has been observed on a forward pass, not assumed, and
        ``model.config.is_causal`` says which it is. Its kernels are what
        `attention_implementation` chooses.

    Raises
    ------
    UserError
        The model cannot be loaded, lacks weights, its architecture ignores `attention`, or there
        is no such device.
    """
    if attention is not None and attention not in get_args(Attention):
        raise ValueError(f"attention={attention!r}; allowed are {get_args(Attention)} and None.")
    check_model_folder(path)
    from transformers import AutoModel

    model = load_weights(AutoModel, Path(path), dtype, device)
    if model.config.is_encoder_decoder:
        raise UserError(
            f"The model {path} is of an architecture ({model.config.model_type}) with an encoder "
            "and a decoder, which reads no text by itself. Give a decoder (such as Qwen2, Qwen3, "
            "Llama) or an encoder (such as BERT, RoBERTa, ModernBERT)."
        )
    set_attention_and_kernels(model, attention)
    return model, load_tokenizer(Path(path), model, padding_side="right")


def load_language_model(
    path: str | Path, *, dtype: str = "float32", device: str = "cpu"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a causal model with its language-model head, to generate text or go on training it.

    Parameters
    ----------
    path
        Model folder or ``.gguf`` file.
    dtype, device
        As in `load_backbone`.

    Returns
    -------
    model, tokenizer
        The model in evaluation mode, and its fast tokenizer, padding on the left, as
        generation in batches needs.

    Raises
    ------
    UserError
        The model cannot be loaded, lacks weights (a backbone saved without its head does), or is
        read bidirectionally and so cannot generate.
    """
    check_model_folder(path)
    from transformers import AutoModelForCausalLM

    model = load_weights(AutoModelForCausalLM, Path(path), dtype, device)
    if attention_mode(model.config) != "causal":
        raise UserError(
            f"The model {path} is configured to read bidirectionally (config.json: is_causal is "
            "false), so it cannot generate text. Give the causal model that it was trained from."
        )
    return model, load_tokenizer(Path(path), model, padding_side="left")


def _source(path: Path) -> tuple[str, dict[str, Any]]:
    """Give transformers' name for where to load from, and the arguments that every load has."""
    arguments: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    if is_gguf(path):
        return str(path.parent), {**arguments, "gguf_file": path.name}
    return str(path), arguments


def load_config(path: Path) -> PreTrainedConfig:
    """Load the configuration of a model folder or ``.gguf`` file, checked before.

    Raises
    ------
    UserError
        transformers does not know the architecture.
    """
    from transformers import AutoConfig

    source, arguments = _source(path)
    return _or_user_error(path, lambda: AutoConfig.from_pretrained(source, **arguments))


def load_weights(loader: Any, path: Path, dtype: str, device: str = "cpu") -> PreTrainedModel:
    """Load a model through one of transformers' Auto classes, and make sure that it is whole.

    Parameters
    ----------
    loader
        Such as ``transformers.AutoModel``.
    path
        Model folder or ``.gguf`` file, checked before.
    dtype, device
        As in `load_backbone`.

    Returns
    -------
    The model in evaluation mode.

    Raises
    ------
    UserError
        transformers cannot load it, or weights are missing or of another shape.
    """
    source, arguments = _source(path)
    arguments |= {
        "dtype": _torch_dtype(dtype),
        "output_loading_info": True,
        "ignore_mismatched_sizes": True,  # they are in the loading info, and refused below
    }
    if device != "cpu":
        n_bytes = weight_count(path) * BYTES_OF_DTYPE[dtype]
        arguments |= placement_arguments(resolve_device(device, n_bytes))
    if is_gguf(path):
        from transformers import GgufConfig

        # Said outright: by default transformers looks for kernels that keep the weights packed.
        arguments["quantization_config"] = GgufConfig(dequantize=True)
    else:
        arguments["use_safetensors"] = True
    model, loaded = _or_user_error(path, lambda: loader.from_pretrained(source, **arguments))
    # transformers fills missing weights with random numbers, and only warns. The hidden states do
    # not pass through an encoder's pooler, which language models are saved without.
    missing = [key for key in loaded["missing_keys"] if not key.startswith("pooler.")]
    _refuse_incomplete(path, type(model).__name__, "are missing", missing)
    mismatched = [key[0] if isinstance(key, tuple) else key for key in loaded["mismatched_keys"]]
    _refuse_incomplete(path, type(model).__name__, "have another shape", mismatched)
    if is_gguf(path):
        _forget_quantisation(model)
    return model.eval()


def _refuse_incomplete(path: Path, architecture: str, fault: str, keys: Iterable[str]) -> None:
    names = sorted(keys)
    if names:
        raise UserError(
            f"The model {path} cannot be read as a {architecture}: {len(names)} of its weights "
            f"{fault} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''}). Check that it was "
            "saved whole, its config.json beside it, and with the language-model head where one "
            "is needed."
        )


def _forget_quantisation(model: PreTrainedModel) -> None:
    """Clear what marks a dequantised model as quantised, which would forbid saving it."""
    for flag in ("hf_quantizer", "is_quantized", "quantization_method"):
        if flag in vars(model):
            delattr(model, flag)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config


def load_tokenizer(
    path: Path, model: PreTrainedModel, *, padding_side: str
) -> PreTrainedTokenizerBase:
    """Load the fast tokenizer of a model, with a padding token that the model knows.

    Parameters
    ----------
    path
        Folder with the tokenizer's files, or ``.gguf`` file.
    model
        The model that it is for.
    padding_side
        "left" or "right".

    Raises
    ------
    UserError
        There is no fast tokenizer, or its files are incomplete.
    """
    from transformers import AutoTokenizer

    source, arguments = _source(path)
    tokenizer = _or_user_error(path, lambda: AutoTokenizer.from_pretrained(source, **arguments))
    if not tokenizer.is_fast:
        raise UserError(
            f"The tokenizer of {path} has no fast version, the only kind that tells which "
            "characters a token stands for. Save it with a tokenizer.json "
            "(`PreTrainedTokenizerFast`)."
        )
    if not tokenizer("a")["input_ids"]:
        raise UserError(
            f"The tokenizer of {path} reads the text 'a' as no token at all; its files are "
            "incomplete. Save the tokenizer into the folder again."
        )
    tokenizer.padding_side = padding_side
    # Padding is masked everywhere, so that any token that the model has an embedding for will do;
    # where a tokenizer names none, transformers may add one that the model does not know.
    embeddings: Any = model.get_input_embeddings()
    known = range(embeddings.num_embeddings)
    if tokenizer.pad_token_id not in known:
        end = tokenizer.eos_token_id
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(end if end in known else 0)
    return tokenizer


def _or_user_error(path: Path, load: Callable[[], Any]) -> Any:
    """Run a load of transformers and turn its complaint about the files into one for a person."""
    try:
        return load()
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UserError(
            f"transformers cannot load the model {path}: {reason}. Models whose code is not part "
            "of transformers are not run; otherwise save the model again with `save_pretrained`."
        ) from error


def _torch_dtype(name: str) -> torch.dtype:
    import torch

    if name not in DTYPES:
        raise ValueError(f"dtype={name!r}; allowed are {', '.join(DTYPES)}.")
    return getattr(torch, name)

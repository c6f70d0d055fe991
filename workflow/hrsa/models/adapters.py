"""LoRA adapters: merged onto the model that they were trained on, in memory, by `peft`.

An adapter is a folder with ``adapter_config.json`` and ``adapter_model.safetensors``. Its base is
what the user names. What the adapter itself records is followed only where it is a folder on this
machine: nothing is fetched that no one asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hrsa.errors import UserError
from hrsa.models.loading import check_model_folder, load_config, load_tokenizer, load_weights
from hrsa.models.model_files import (
    ADAPTER_CONFIG,
    has_tokenizer,
    is_adapter,
    read_json,
    safetensors_header,
    weights_sha256,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ADAPTER_WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."


def check_adapter_folder(adapter: str | Path) -> None:
    """Check, without loading anything, that a folder holds a LoRA adapter that can be merged.

    Raises
    ------
    UserError
        It is no adapter, one of another kind than LoRA, or its weights are missing, pickled or cut
        short; the message says what to do.
    """
    folder = Path(adapter)
    if not is_adapter(folder):
        raise UserError(
            f"There is no adapter at {folder} ({ADAPTER_CONFIG} is not there). `base:` is for "
            "adapters: give the folder that peft's `save_pretrained` wrote, or leave `base:` out."
        )
    kind = read_json(folder / ADAPTER_CONFIG).get("peft_type")
    if kind != "LORA":
        raise UserError(
            f"The adapter {folder} is of the kind {kind}; allowed is LORA. Merge it with peft "
            "where its kind can be merged (`merge_and_unload`), save that, and give that folder."
        )
    weights = folder / ADAPTER_WEIGHTS
    if not weights.exists():
        raise UserError(
            f"The adapter {folder} has no {ADAPTER_WEIGHTS}; pickled weights (adapter_model.bin) "
            "are never loaded here. Load it with peft where you trust it, and call "
            "`save_pretrained`."
        )
    safetensors_header(weights)


def adapter_base(adapter: str | Path, base: str | Path | None = None) -> Path:
    """Find the model that an adapter is merged onto.

    Parameters
    ----------
    adapter
        Its folder.
    base
        The model folder or ``.gguf`` file that the user names; None: what the adapter records, if
        that is a folder on this machine.

    Raises
    ------
    UserError
        No base is named and the recorded one is not here.
    """
    if base is not None:
        return Path(base)
    recorded = read_json(Path(adapter) / ADAPTER_CONFIG).get("base_model_name_or_path")
    if recorded and Path(recorded).is_dir():
        return Path(recorded)
    raise UserError(
        f"The adapter {adapter} was trained on {recorded or 'a model that it does not name'}, "
        "which is not a folder on this machine. Name its base: `base:` beside `path:`, a folder "
        "or `{hub: owner/name}`."
    )


def merge_adapter(
    adapter: str | Path, base: str | Path | None = None, *, dtype: str = "float32"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a base model and add a LoRA adapter to its weights.

    Parameters
    ----------
    adapter
        Folder of the adapter.
    base
        Model folder or ``.gguf`` file; see `adapter_base` for None.
    dtype
        Type of the sum, one of `hrsa.models.loading.DTYPES`: in half precision much of a small
        change is lost.

    Returns
    -------
    model, tokenizer
        On the CPU, in evaluation mode. The model has a language-model head where the adapter was
        trained with one. The tokenizer is the adapter's where it has one, else the base's.

    Raises
    ------
    UserError
        The adapter or the base cannot be read, or they do not fit each other.
    """
    adapter, source = Path(adapter), adapter_base(adapter, base)
    check_adapter_folder(adapter)
    check_model_folder(source)
    model = load_weights(_loader(adapter, source), source, dtype)
    merged = _merged(model, adapter, source)
    with_tokenizer = adapter if has_tokenizer(adapter) else source
    return merged, load_tokenizer(with_tokenizer, merged, padding_side="right")


def save_merged_adapter(
    adapter: str | Path, folder: str | Path, base: str | Path | None = None
) -> str:
    """Write an adapter merged onto its base as a model folder in float32.

    Parameters
    ----------
    adapter, base
        As in `merge_adapter`.
    folder
        Where it goes.

    Returns
    -------
    What was merged, for the record of the model: hashes, and no place on this machine.

    Raises
    ------
    UserError
        As in `merge_adapter`.
    """
    model, tokenizer = merge_adapter(adapter, base)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    of_adapter = weights_sha256(Path(adapter) / ADAPTER_WEIGHTS)
    of_base = weights_sha256(adapter_base(adapter, base))
    return (
        f"adapter (LoRA, weights of sha256 {of_adapter[:16]}) merged onto the model with weights "
        f"of sha256 {of_base[:16]}"
    )


def _loader(adapter: Path, source: Path) -> Any:
    """Choose how to load the base: with the head that the adapter's weights were trained beside.

    The names of an adapter's weights start from the outermost module of the model in training.
    """
    from transformers import AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM

    names, config = _adapted_modules(adapter), load_config(source)
    kinds: tuple[Any, ...] = (AutoModelForMaskedLM, AutoModelForCausalLM, AutoModel)
    absent = {kind: sorted(names - _module_names(kind, config)) for kind in kinds}
    nearest = min(kinds, key=lambda kind: len(absent[kind]))
    missing = absent[nearest]
    if not missing:
        return nearest
    raise UserError(
        f"The adapter {adapter} does not fit the base {source} ({config.model_type}): it changes "
        f"{len(missing)} modules that the base does not have ({', '.join(missing[:3])}). "
        "Name the model that it was trained on."
    )


def _adapted_modules(adapter: Path) -> set[str]:
    keys = safetensors_header(adapter / ADAPTER_WEIGHTS)
    return {key.split(".lora_")[0].removeprefix(_PREFIX) for key in keys if ".lora_" in key}


def _module_names(kind: Any, config: Any) -> set[str]:
    """Names of a model's modules; it is built without memory for its weights."""
    import torch

    try:
        with torch.device("meta"):
            model = kind.from_config(config)
    except ValueError:  # this family has no model of that kind
        return set()
    return {name for name, _ in model.named_modules()}


def _merged(model: PreTrainedModel, adapter: Path, source: Path) -> PreTrainedModel:
    from peft import PeftConfig, PeftModel

    try:
        config = PeftConfig.from_pretrained(str(adapter))
        config.inference_mode = True
        _untie_if_adapted(model, _adapted_modules(adapter))
        wrapped = PeftModel(model, config)
        loaded = wrapped.load_adapter(str(adapter), "default", torch_device="cpu")
        unread = [*loaded.missing_keys, *loaded.unexpected_keys]
        if unread:
            raise ValueError(f"{len(unread)} weights have no counterpart ({unread[0]})")
        merged: Any = wrapped.merge_and_unload(safe_merge=True)
    except (ValueError, RuntimeError, KeyError, TypeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
        raise UserError(
            f"The adapter {adapter} cannot be merged onto the base {source}: "
            f"{reason.rstrip('.')}. Name the model that it was trained on, or merge it with peft "
            "yourself and give the folder that you saved."
        ) from error
    return merged.eval()


def _untie_if_adapted(model: PreTrainedModel, names: set[str]) -> None:
    """Give the head weights of its own where an adapter changes it or the embeddings.

    Tied, they are one matrix, and a change of one would be merged into both.
    """
    embeddings: Any = model.get_input_embeddings()
    head: Any = model.get_output_embeddings()
    if head is None or head.weight is not embeddings.weight:
        return
    if any(module in (embeddings, head) for name, module in model.named_modules() if name in names):
        import torch

        head.weight = torch.nn.Parameter(head.weight.detach().clone())
        model.config.tie_word_embeddings = False

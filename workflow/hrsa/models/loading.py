"""Loading models: where their weights may come from and how their attention reads a text.

A model is a folder (``*.safetensors``, ``config.json``, tokenizer files) or a ``.gguf`` file.
Nothing that would have to be unpickled, and no code that a model folder brings along, is loaded.

torch and transformers are imported inside the functions that need them: the checks of a folder and
its hash belong to jobs that should start in a fraction of a second.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from hrsa.errors import UserError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

Attention = Literal["causal", "bidirectional"]
DTYPES = ("float32", "float64", "bfloat16", "float16")
PICKLED_WEIGHTS = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")
# Any one of these sets is a tokenizer that transformers can read.
TOKENIZER_FILES = (
    ("tokenizer.json",),
    ("tokenizer.model",),
    ("vocab.json", "merges.txt"),
    ("vocab.txt",),
    ("spiece.model",),
    ("sentencepiece.bpe.model",),
    ("tekken.json",),
)


def load_backbone(
    path: str | Path, *, attention: Attention | None = None, dtype: str = "float32"
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

    Returns
    -------
    model, tokenizer
        The model in evaluation mode on the CPU, and its fast tokenizer, padding on the right. That
        the attention is what was asked for has been observed on a forward pass, not assumed, and
        ``model.config.is_causal`` says which it is.

    Raises
    ------
    UserError
        The model cannot be loaded, lacks weights, or its architecture ignores `attention`.
    """
    if attention is not None and attention not in get_args(Attention):
        raise ValueError(f"attention={attention!r}; allowed are {get_args(Attention)} and None.")
    check_model_folder(path)
    from transformers import AutoModel

    model = _load_weights(AutoModel, Path(path), dtype)
    set_attention(model, attention)
    return model, _load_tokenizer(Path(path), model, padding_side="right")


def load_language_model(
    path: str | Path, *, dtype: str = "float32"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a causal model with its language-model head, to generate text or go on training it.

    Parameters
    ----------
    path
        Model folder or ``.gguf`` file.
    dtype
        One of `DTYPES`.

    Returns
    -------
    model, tokenizer
        The model in evaluation mode on the CPU, and its fast tokenizer, padding on the left, as
        generation in batches needs.

    Raises
    ------
    UserError
        The model cannot be loaded, lacks weights (a backbone saved without its head does), or is
        read bidirectionally and so cannot generate.
    """
    check_model_folder(path)
    from transformers import AutoModelForCausalLM

    model = _load_weights(AutoModelForCausalLM, Path(path), dtype)
    if attention_mode(model.config) != "causal":
        raise UserError(
            f"The model {path} is configured to read bidirectionally (config.json: is_causal is "
            "false), so it cannot generate text. Give the causal model that it was trained from."
        )
    return model, _load_tokenizer(Path(path), model, padding_side="left")


def attention_mode(config: PreTrainedConfig | dict[str, Any]) -> Attention:
    """Read off a configuration (an object or the content of a config.json) how a model attends."""
    if isinstance(config, dict):
        is_causal = config.get("is_causal", True)
    else:
        is_causal = getattr(config, "is_causal", True)
    return "causal" if is_causal else "bidirectional"


def set_attention(backbone: PreTrainedModel, attention: Attention | None) -> Attention:
    """Set how a loaded backbone attends, and make sure that it does.

    transformers refuses ``is_causal`` as an argument of ``from_pretrained``, and
    sentence-transformers drops it silently: it can only be set on the loaded model, and not every
    architecture obeys.

    Parameters
    ----------
    backbone
        A model without head; afterwards ``backbone.config.is_causal`` says how it attends.
    attention
        "causal", "bidirectional", or None to keep what its configuration says.

    Returns
    -------
    The attention that was observed.

    Raises
    ------
    UserError
        The architecture does not attend as asked.
    """
    name, kind = backbone.config.name_or_path, backbone.config.model_type
    # Where nothing is said, nothing is set: told to be causal, an encoder such as BERT obeys for
    # texts without padding only.
    if attention is not None:
        backbone.config.is_causal = attention == "causal"
    observed = observed_attention(backbone)
    if observed is None or (attention is not None and observed != attention):
        raise UserError(
            f"The model {name} was asked to read with {attention} attention, but its architecture "
            f"({kind}) cannot: it "
            + (f"reads with {observed} attention" if observed else "obeys for some texts only")
            + ". Leave `attention:` out for this model, or set what it was trained with."
        )
    backbone.config.is_causal = observed == "causal"
    return observed


def observed_attention(model: PreTrainedModel) -> Attention | None:
    """Find out how a model attends: does another end of a text move the states before it?

    The forward pass is over eight tokens, alone and beside a padded text, since attention kernels
    may treat the two cases differently: then it is neither, and None. For backbones; with a head,
    give ``model.base_model``.
    """
    import torch

    texts = torch.tensor([[1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 3, 4, 9, 10, 11, 12]])
    texts = (texts % model.config.vocab_size).to(model.device)
    longer = torch.nn.functional.pad(torch.cat([texts, texts[:1]]), (0, 1))
    mask = torch.ones_like(longer)
    mask[:2, -1] = 0
    with torch.no_grad():
        alone = model(input_ids=texts).last_hidden_state[:2, :4]
        beside = model(input_ids=longer, attention_mask=mask).last_hidden_state[:2, :4]
    # Two rows of one batch may differ by rounding; what attention brings is far above it. Each
    # position has its own scale, since the first token's state is often a hundred times the rest.
    rounding = max(1e-5, 4 * torch.finfo(alone.dtype).eps)
    moved = {
        bool(((one - other).abs().amax(-1) > rounding * one.abs().amax(-1)).any())
        for one, other in (alone, beside)
    }
    if len(moved) > 1:
        return None
    return "bidirectional" if moved.pop() else "causal"


def weights_sha256(path: str | Path) -> str:
    """Hash a model's weights: the model*.safetensors of a folder in the order of their names.

    For a folder with one file, and for a ``.gguf`` file, it is what ``sha256sum`` prints.

    Raises
    ------
    UserError
        The folder holds no safetensors file.
    """
    path = Path(path)
    files = [path] if path.is_file() else _weight_files(path)
    if not files:
        raise UserError(f"The model folder {path} holds no weights (model.safetensors) to hash.")
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def check_model_folder(path: str | Path) -> None:
    """Check, without loading anything, that a model can be loaded from here.

    Parameters
    ----------
    path
        Model folder or ``.gguf`` file.

    Raises
    ------
    UserError
        Nothing is there, or it lacks weights, has weights that would have to be unpickled, has
        truncated weights, or lacks its configuration or tokenizer; the message says what to do.
    """
    path = Path(path)
    if is_gguf(path):
        _check_gguf(path)
        return
    if not path.exists():
        raise UserError(
            f"There is no model at {path}. Give a folder that holds *.safetensors, config.json and "
            "the tokenizer's files, or a .gguf file."
        )
    if not path.is_dir():
        raise UserError(
            f"{path} is neither a model folder nor a .gguf file. Give the folder that holds "
            "*.safetensors, config.json and the tokenizer's files."
        )
    _check_weights(path)
    _check_config(path)
    _check_tokenizer(path)


def is_gguf(path: str | Path) -> bool:
    """Tell whether a path names a GGUF file."""
    return Path(path).suffix.lower() == ".gguf"


def gguf_quantisation(path: str | Path) -> str:
    """Name the format that most weights of a GGUF file are stored in, such as "Q4_1" or "F32"."""
    from gguf import GGUFReader

    weights: Counter[str] = Counter()
    for tensor in GGUFReader(path).tensors:
        weights[tensor.tensor_type.name] += int(tensor.n_elements)
    return weights.most_common(1)[0][0]


def _check_gguf(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"There is no GGUF file at {path}. Correct the path, or give a folder.")
    with path.open("rb") as stream:
        if stream.read(4) != b"GGUF":
            raise UserError(
                f"{path} does not start as a GGUF file does; it may be a download that failed or a "
                "Git LFS pointer. Fetch the file again."
            )


def _check_weights(folder: Path) -> None:
    if (folder / "adapter_config.json").exists():
        raise UserError(
            f"The model folder {folder} holds an adapter (adapter_config.json), not a whole model. "
            "Merge it into its base model (peft: `merge_and_unload`), save that, and give that "
            "folder."
        )
    files = _weight_files(folder)
    index = folder / "model.safetensors.index.json"
    if not (folder / "model.safetensors").exists() and not index.exists():
        pickled = sorted(file.name for glob in PICKLED_WEIGHTS for file in folder.glob(glob))
        if pickled:
            raise UserError(
                f"The model folder {folder} holds only pickled weights ({', '.join(pickled)}), "
                "which can run code when they are read and are never loaded here. Convert them to "
                "safetensors on a machine where you trust them: load the model with transformers "
                "and call `save_pretrained`, which writes model.safetensors."
            )
        raise UserError(
            f"The model folder {folder} holds no weights (model.safetensors, or the parts that a "
            "model.safetensors.index.json names). Give the folder that `save_pretrained` wrote the "
            "model into."
        )
    if index.exists():
        named = set(_read_json(index).get("weight_map", {}).values())
        if missing := sorted(named - {file.name for file in files}):
            raise UserError(
                f"The model folder {folder} lacks {', '.join(missing)}, which its {index.name} "
                "names. Copy the missing files there."
            )
    for file in files:
        _check_safetensors(file)


def _check_safetensors(file: Path) -> None:
    """Compare a safetensors file's size with the one its header states; no weight is read.

    The file starts with the header's length (8 bytes, little-endian) and the header (JSON).
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = stream.read(length) if length <= size - 8 else b""
    try:
        entries = json.loads(header)
        ends = [value["data_offsets"][1] for key, value in entries.items() if key != "__metadata__"]
    except (ValueError, KeyError, TypeError, AttributeError):
        ends = [-1]
    if 8 + length + max(ends, default=0) != size:
        raise UserError(
            f"The weights {file} are not a complete safetensors file ({size} bytes); it may be a "
            "copy that was cut short or a Git LFS pointer. Copy or fetch the file again."
        )


def _check_config(folder: Path) -> None:
    if not (folder / "config.json").exists():
        raise UserError(
            f"The model folder {folder} has no config.json, which says what the model's "
            "architecture is. Copy it from where the weights came from."
        )
    if "model_type" not in _read_json(folder / "config.json"):
        raise UserError(
            f"{folder / 'config.json'} names no model_type, so transformers cannot tell the "
            "architecture. Save the model with transformers' `save_pretrained`."
        )


def _check_tokenizer(folder: Path) -> None:
    if not any(all((folder / name).exists() for name in names) for names in TOKENIZER_FILES):
        raise UserError(
            f"The model folder {folder} has no tokenizer (tokenizer.json, or one of "
            f"{', '.join(' + '.join(names) for names in TOKENIZER_FILES[1:])}). Without it every "
            "text would be read as nothing: save the tokenizer into the same folder."
        )


def _weight_files(folder: Path) -> list[Path]:
    """List the weights that transformers reads; repositories may hold other copies beside them."""
    return sorted(folder.glob("model*.safetensors"))


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{file} is not valid JSON ({error}). Copy the file again.") from None
    if not isinstance(content, dict):
        raise UserError(f"{file} holds a JSON {type(content).__name__}, not an object.")
    return content


def _source(path: Path) -> tuple[str, dict[str, Any]]:
    """Give transformers' name for where to load from, and the arguments that every load has."""
    arguments: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    if is_gguf(path):
        return str(path.parent), {**arguments, "gguf_file": path.name}
    return str(path), arguments


def _load_weights(loader: Any, path: Path, dtype: str) -> PreTrainedModel:
    source, arguments = _source(path)
    arguments |= {
        "dtype": _torch_dtype(dtype),
        "output_loading_info": True,
        "ignore_mismatched_sizes": True,  # they are in the loading info, and refused below
    }
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


def _load_tokenizer(
    path: Path, model: PreTrainedModel, *, padding_side: str
) -> PreTrainedTokenizerBase:
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

"""The files of a model: what has to be there, whether it is whole, its hash and its size.

A model is a folder (``*.safetensors``, ``config.json``, tokenizer files) or a ``.gguf`` file. All
of it is told from names and headers; no weight is read but to hash it, and nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

from hrsa.errors import UserError

PICKLED_WEIGHTS = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")
ADAPTER_CONFIG = "adapter_config.json"
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
    _check_place(path)
    _check_weights(path)
    _check_config(path)
    _check_tokenizer(path)


def is_gguf(path: str | Path) -> bool:
    """Tell whether a path names a GGUF file."""
    return Path(path).suffix.lower() == ".gguf"


def is_adapter(path: str | Path) -> bool:
    """Tell whether a path is a folder with an adapter of `peft`, such as LoRA."""
    return (Path(path) / ADAPTER_CONFIG).exists()


def gguf_quantisation(path: str | Path) -> str:
    """Name the format that most weights of a GGUF file are stored in, such as "Q4_1" or "F32"."""
    from gguf import GGUFReader

    weights: Counter[str] = Counter()
    for tensor in GGUFReader(path).tensors:
        weights[tensor.tensor_type.name] += int(tensor.n_elements)
    return weights.most_common(1)[0][0]


def weight_count(path: str | Path) -> int:
    """Count the weights of a model folder or GGUF file, from the headers of its files."""
    path = Path(path)
    if is_gguf(path):
        from gguf import GGUFReader

        return sum(int(tensor.n_elements) for tensor in GGUFReader(path).tensors)
    headers = map(safetensors_header, _weight_files(path))
    return sum(math.prod(one["shape"]) for header in headers for one in header.values())


def _check_gguf(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"There is no GGUF file at {path}. Correct the path, or give a folder.")
    with path.open("rb") as stream:
        if stream.read(4) != b"GGUF":
            raise UserError(
                f"{path} does not start as a GGUF file does; it may be a download that failed or a "
                "Git LFS pointer. Fetch the file again."
            )


def _check_place(folder: Path) -> None:
    """Refuse a sentence-transformers folder whose model lies deeper, or that has none."""
    if not (folder / "modules.json").exists() or (folder / "config.json").exists():
        return
    first = next(iter(read_sentence_modules(folder)), {})
    kind, place = class_name(first), first.get("path")
    if kind == "Transformer" and place and (folder / place).is_dir():
        raise UserError(
            f"The model folder {folder} keeps its transformer in {place}, as old versions of "
            "sentence-transformers did. Load it with a current one (`SentenceTransformer`), call "
            f"`save_pretrained`, and give that folder; or give {folder / place} to read hidden "
            "states alone."
        )
    if kind != "Transformer":
        raise UserError(
            f"The sentence-transformers folder {folder} starts with a module {kind}, not with a "
            "Transformer: there are no hidden states of tokens in it to read. Give a folder whose "
            "modules.json starts with a Transformer."
        )


def _check_weights(folder: Path) -> None:
    if is_adapter(folder):
        raise UserError(
            f"The model folder {folder} holds an adapter ({ADAPTER_CONFIG}), not a whole model. "
            "Name the model that it was trained on (`base:` beside its `path:` in a study), or "
            "merge it (peft: `merge_and_unload`), save that, and give that folder."
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
        named = set(read_json(index).get("weight_map", {}).values())
        if missing := sorted(named - {file.name for file in files}):
            raise UserError(
                f"The model folder {folder} lacks {', '.join(missing)}, which its {index.name} "
                "names. Copy the missing files there."
            )
    for file in files:
        safetensors_header(file)


def safetensors_header(file: Path) -> dict[str, Any]:
    """Read the header of a safetensors file, and compare the file's size with what it states.

    The file starts with the header's length (8 bytes, little-endian) and the header (JSON); no
    weight is read.

    Returns
    -------
    dict: name of a tensor -> "dtype", "shape" and "data_offsets".

    Raises
    ------
    UserError
        The file is cut short, or is none.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = stream.read(length) if length <= size - 8 else b""
    try:
        entries = {name: one for name, one in json.loads(header).items() if name != "__metadata__"}
        end = max((one["data_offsets"][1] for one in entries.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError):
        entries, end = {}, -1
    if 8 + length + end != size:
        raise UserError(
            f"The weights {file} are not a complete safetensors file ({size} bytes); it may be a "
            "copy that was cut short or a Git LFS pointer. Copy or fetch the file again."
        )
    return entries


def _check_config(folder: Path) -> None:
    if not (folder / "config.json").exists():
        raise UserError(
            f"The model folder {folder} has no config.json, which says what the model's "
            "architecture is. Copy it from where the weights came from."
        )
    if "model_type" not in read_json(folder / "config.json"):
        raise UserError(
            f"{folder / 'config.json'} names no model_type, so transformers cannot tell the "
            "architecture. Save the model with transformers' `save_pretrained`."
        )


def has_tokenizer(folder: str | Path) -> bool:
    """Tell whether a folder holds the files of a tokenizer."""
    return any(all((Path(folder) / name).exists() for name in names) for names in TOKENIZER_FILES)


def _check_tokenizer(folder: Path) -> None:
    if not has_tokenizer(folder):
        raise UserError(
            f"The model folder {folder} has no tokenizer (tokenizer.json, or one of "
            f"{', '.join(' + '.join(names) for names in TOKENIZER_FILES[1:])}). Without it every "
            "text would be read as nothing: save the tokenizer into the same folder."
        )


def _weight_files(folder: Path) -> list[Path]:
    """List the weights that transformers reads; repositories may hold other copies beside them."""
    return sorted(folder.glob("model*.safetensors"))


def read_sentence_modules(folder: Path) -> list[dict[str, Any]]:
    """Read the modules.json of a sentence-transformers folder: one entry per module, in order."""
    return [one for one in _read(folder / "modules.json", list) if isinstance(one, dict)]


def class_name(module: dict[str, Any]) -> str:
    """Name of a module's class in modules.json, whatever package of which version it was in."""
    return str(module.get("type")).rpartition(".")[2]


def read_json(file: Path) -> dict[str, Any]:
    """Read a file that holds a JSON object.

    Raises
    ------
    UserError
        It is no JSON, or not an object.
    """
    return _read(file, dict)


def _read(file: Path, kind: type) -> Any:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{file} is not valid JSON ({error}). Copy the file again.") from None
    if not isinstance(content, kind):
        name = "an object" if kind is dict else "a list"
        raise UserError(f"{file} holds a JSON {type(content).__name__}, not {name}.")
    return content

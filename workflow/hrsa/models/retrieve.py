"""Models that come from outside: a repository on the Hugging Face Hub, a folder, a GGUF file.

`retrieve` fetches what a repository holds into a folder that studies share; `materialise_path`
makes of it, or of a user's own folder (a LoRA adapter's too) or GGUF file, a model folder of the
study.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from hrsa.errors import UserError
from hrsa.models.adapters import (
    ADAPTER_WEIGHTS,
    adapter_base,
    check_adapter_folder,
    save_merged_adapter,
)
from hrsa.models.attention import Attention, attention_mode
from hrsa.models.hub import fetch, list_repository
from hrsa.models.loading import load_backbone, load_language_model
from hrsa.models.model_files import (
    ADAPTER_CONFIG,
    check_model_folder,
    gguf_quantisation,
    is_adapter,
    is_gguf,
    weights_sha256,
)

WEIGHTS = ("model.safetensors", "model-*-of-*.safetensors", "model.safetensors.index.json")
CONFIGURATION = ("config.json", "generation_config.json")
TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tekken.json",
    "chat_template.jinja",
    "chat_template.json",
)
# How a sentence-transformers model pools: its list of modules, and each module's configuration.
POOLING = (
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "[0-9]_*/config.json",
    "[0-9]_*/model.safetensors",
)
# Read where there are no weights of a whole model.
ADAPTER = (ADAPTER_CONFIG, ADAPTER_WEIGHTS)
RETRIEVED = "retrieved.json"


def wanted_files(names: Iterable[str]) -> list[str]:
    """Pick, of a model's files, those that are read here: safetensors, configuration, tokenizer.

    Nothing pickled, no code, and no second copy of the weights in another format or folder. Of a
    repository without weights but with a LoRA adapter, the adapter's.
    """
    names = list(names)
    is_whole = any(_matches(name, WEIGHTS) for name in names)
    patterns = (*WEIGHTS, *CONFIGURATION, *TOKENIZER, *POOLING, *(() if is_whole else ADAPTER))
    return sorted(name for name in names if _matches(name, patterns))


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(name, glob) and name.count("/") == glob.count("/") for glob in patterns)


def configuration_sha256(folder: Path) -> str:
    """Hash of the small files that decide how a model reads: configuration, tokenizer, pooling."""
    names = (str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
    digest = hashlib.sha256()
    for name in wanted_files(names):
        if "/" in name or not name.endswith(".safetensors"):
            digest.update(f"{name}\n".encode() + (folder / name).read_bytes())
    return digest.hexdigest()


def retrieve(repository: str, revision: str, folder: Path) -> dict[str, Any]:
    """Fetch a model from the Hugging Face Hub.

    Parameters
    ----------
    repository
        "owner/name".
    revision
        Branch, tag or commit.
    folder
        Where the files go. Files arrive in ``<folder>.partial`` first, so that a folder is whole or
        absent, and a fetch that was cut off goes on where it stopped. A folder that already holds
        this revision is left as it is and nothing is asked of the hub, though a branch may have
        moved on since: remove the folder to fetch it anew. Files of an earlier fetch that are still
        what the hub states are not fetched again.

    Returns
    -------
    record
        "repository", "revision", "commit" (what the revision resolved to), "sha256" (of the
        weights, or of the adapter's where that is all) and "files" (their sizes in bytes); also
        written to ``<folder>/retrieved.json``.

    Raises
    ------
    UserError
        The repository, the revision, the permission or disk space is missing, the hub cannot be
        reached or serves something else than it states, or the repository holds nothing that can
        be loaded safely.
    """
    from huggingface_hub.utils import WeakFileLock

    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Who comes second finds the folder whole.
    with WeakFileLock(folder.with_name(folder.name + ".lock")):
        return _read_record(folder, repository, revision) or _retrieve(repository, revision, folder)


def _retrieve(repository: str, revision: str, folder: Path) -> dict[str, Any]:
    partial = folder.with_name(folder.name + ".partial")
    listing = list_repository(repository, revision, folders=(folder, partial))
    names = wanted_files(listing.files)
    _refuse_without_weights(repository, revision, names, listing.files)
    _take_over(folder, partial, names)
    fetch(listing, names, partial)
    if is_adapter(partial):
        check_adapter_folder(partial)
    else:
        check_model_folder(partial)
    record = {
        "repository": repository,
        "revision": revision,
        "commit": listing.commit,
        "sha256": weights_sha256(partial / ADAPTER_WEIGHTS if is_adapter(partial) else partial),
        "files": {name: listing.files[name].size for name in names},
    }
    _write_json(partial / RETRIEVED, record)
    if folder.exists():
        shutil.rmtree(folder)
    partial.rename(folder)
    return record


def materialise_path(
    path: str | Path,
    folder: Path,
    *,
    attention: Attention | None = None,
    source: str = "path",
    base: str | Path | None = None,
) -> dict[str, Any]:
    """Make a model folder of the study from a model that was not trained in it.

    A GGUF file is dequantised to float32 and saved as safetensors, and so is a LoRA adapter merged
    onto its base. Of a safetensors folder, the weights are linked and the small files are copied,
    with `attention` written into the copied configuration. The model is loaded once, so that one
    that cannot be read fails here and not in every later step.

    Parameters
    ----------
    path
        Model folder (a retrieved one too), folder of a LoRA adapter, or ``.gguf`` file.
    folder
        The folder to fill, such as ``results/<study>/models/<instance>``.
    attention
        How the study reads the model; None keeps what the model says.
    source
        What the record calls the source: "path" or "hub".
    base
        Of an adapter, the model folder or ``.gguf`` file that it is merged onto; see
        `hrsa.models.adapters.adapter_base` for None.

    Returns
    -------
    record
        What is written to ``<folder>/record.json``.

    Raises
    ------
    UserError
        The model cannot be loaded, or cannot be read with `attention`.
    """
    path, folder = Path(path), Path(folder)
    with_adapter = base is not None or is_adapter(path)
    if with_adapter:
        check_adapter_folder(path)
        check_model_folder(adapter_base(path, base))
    else:
        check_model_folder(path)
    _clear(path, folder)
    if with_adapter:
        made = save_merged_adapter(path, folder, base)
    elif is_gguf(path):
        made = _dequantise(path, folder)
    else:
        made = ""
        _link(path, folder)
    note = "; ".join(filter(None, (made, _origin(path))))
    # Half precision halves the memory, and is enough to see that it loads and how it attends.
    backbone, _ = load_backbone(folder, attention=attention, dtype="bfloat16")
    _write_attention(folder / "config.json", attention_mode(backbone.config))
    record: dict[str, Any] = {
        "model": folder.name,
        "recipe": source,
        "seed": None,
        "parent": None,
        "sha256": weights_sha256(folder),
        "configuration_sha256": configuration_sha256(folder),
        "attention": attention_mode(backbone.config),
        "train_tokens": None,
        "steps": None,
        "relative_weight_change": None,
        "checkpoints": {},
        "note": note,
    }
    _write_json(folder / "record.json", record)
    return record


def _read_record(folder: Path, repository: str, revision: str) -> dict[str, Any] | None:
    """Read the record of a folder that holds this revision whole; None where it does not."""
    try:
        record = json.loads((folder / RETRIEVED).read_text(encoding="utf-8"))
        whole = all((folder / name).stat().st_size == n for name, n in record["files"].items())
        same = (record["repository"], record["revision"]) == (repository, revision)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return record if whole and same else None


def _take_over(folder: Path, partial: Path, names: list[str]) -> None:
    """Link files of an earlier fetch beside those that arrive; they are checked as those are."""
    for name in names:
        source, target = folder / name, partial / name
        if source.is_file() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(source, target)
            except OSError:  # not every file system has hard links
                shutil.copyfile(source, target)


def _refuse_without_weights(
    repository: str, revision: str, names: list[str], offered: Iterable[str]
) -> None:
    if any(name.endswith(".safetensors") and "/" not in name for name in names):
        return
    offered = sorted(offered)
    pickled = [name for name in offered if name.endswith((".bin", ".pt", ".pth", ".ckpt"))]
    if gguf := [name for name in offered if is_gguf(name)]:
        raise UserError(
            f"The repository {repository} at revision {revision} holds no weights as safetensors, "
            f"only GGUF files, of which a study names one ({', '.join(gguf)}). Download that one "
            f"(`hf download {repository} {gguf[0]} --revision {revision} --local-dir FOLDER`) and "
            "give the file as `path:` instead of `hub:`."
        )
    only = f", only pickled ones ({', '.join(pickled)}), which are never loaded here"
    raise UserError(
        f"The repository {repository} at revision {revision} holds no weights as safetensors"
        f"{only if pickled else ''}. Look for a revision or a repository with model.safetensors, "
        "or convert the weights yourself (transformers' `save_pretrained`) and give the folder as "
        "`path:`."
    )


def _clear(path: Path, folder: Path) -> None:
    """Make the folder, without the files of an earlier source.

    Weights may be links into the user's own folder, which a later save would write through.
    """
    if path.resolve() == folder.resolve():
        raise UserError(
            f"The model {path} lies where the study would put its own copy. Move it out of the "
            "results folder and correct its `path:`."
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name in wanted_files(file.relative_to(folder).as_posix() for file in folder.rglob("*")):
        (folder / name).unlink()


def _dequantise(file: Path, folder: Path) -> str:
    model, tokenizer = load_language_model(file)
    tokenizer.padding_side = "right"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    quantisation = gguf_quantisation(file)
    stored_whole = quantisation in ("F32", "F64")
    return f"weights {'read' if stored_whole else 'dequantised'} from {quantisation} (GGUF)"


def _link(source: Path, folder: Path) -> None:
    """Link the weights (relatively, so that a project can move) and copy the small files."""
    names = wanted_files(file.relative_to(source).as_posix() for file in source.rglob("*"))
    for name in names:
        target = folder / name
        target.parent.mkdir(exist_ok=True)
        if name.endswith(".safetensors"):
            target.symlink_to(os.path.relpath((source / name).resolve(), target.parent.resolve()))
        else:
            shutil.copyfile(source / name, target)


def _origin(source: Path) -> str:
    """Say which repository a folder was retrieved from; nothing for a user's own."""
    if not (source / RETRIEVED).exists():
        return ""
    origin = json.loads((source / RETRIEVED).read_text())
    return f"weights from {origin['repository']} at commit {origin['commit']}"


def _write_attention(config: Path, attention: Attention) -> None:
    content = json.loads(config.read_text(encoding="utf-8"))
    if attention_mode(content) != attention:
        content["is_causal"] = attention == "causal"
        _write_json(config, content)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")

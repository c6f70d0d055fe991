"""Models that come from outside: a repository on the Hugging Face Hub, a folder, a GGUF file.

`retrieve` fetches what a repository holds into a folder that studies share; `materialise_path`
makes of it, or of a user's own folder or GGUF file, a model folder of the study.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from fnmatch import fnmatch
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hrsa.errors import UserError
from hrsa.models.loading import (
    Attention,
    attention_mode,
    check_model_folder,
    gguf_quantisation,
    is_gguf,
    load_backbone,
    load_language_model,
    weights_sha256,
)

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

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
RETRIEVED = "retrieved.json"


def wanted_files(names: Iterable[str]) -> list[str]:
    """Pick, of a model's files, those that are read here: safetensors, configuration, tokenizer.

    Nothing pickled, no code, and no second copy of the weights in another format or folder.
    """
    patterns = (*WEIGHTS, *CONFIGURATION, *TOKENIZER, *POOLING)
    return sorted(
        name
        for name in names
        if any(fnmatch(name, glob) and name.count("/") == glob.count("/") for glob in patterns)
    )


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
        absent, and a fetch that was cut off goes on where it stopped.

    Returns
    -------
    record
        "repository", "revision", "commit" (what the revision resolved to), "sha256" (of the
        weights) and "files" (their sizes in bytes); also written to ``<folder>/retrieved.json``.

    Raises
    ------
    UserError
        The repository, the revision or the permission is missing, the hub cannot be reached, or
        the repository holds nothing that can be loaded safely.
    """
    folder = Path(folder)
    partial = folder.with_name(folder.name + ".partial")
    information = _ask_hub(repository, revision)
    offered = [file.rfilename for file in information.siblings or []]
    names = wanted_files(offered)
    _refuse_without_weights(repository, revision, names, offered)
    _download(repository, revision, str(information.sha), names, partial)
    check_model_folder(partial)
    record = {
        "repository": repository,
        "revision": revision,
        "commit": information.sha,
        "sha256": weights_sha256(partial),
        "files": {name: (partial / name).stat().st_size for name in names},
    }
    _write_json(partial / RETRIEVED, record)
    shutil.rmtree(partial / ".cache", ignore_errors=True)
    if folder.exists():
        shutil.rmtree(folder)
    partial.rename(folder)
    return record


def materialise_path(
    path: str | Path, folder: Path, *, attention: Attention | None = None, source: str = "path"
) -> dict[str, Any]:
    """Make a model folder of the study from a model that was not trained in it.

    A GGUF file is dequantised to float32 and saved as safetensors. Of a safetensors folder, the
    weights are linked and the small files are copied, with `attention` written into the copied
    configuration. The model is loaded once, so that one that cannot be read fails here and not in
    every later step.

    Parameters
    ----------
    path
        Model folder (a retrieved one too) or ``.gguf`` file.
    folder
        The folder to fill, such as ``results/<study>/models/<instance>``.
    attention
        How the study reads the model; None keeps what the model says.
    source
        What the record calls the source: "path" or "hub".

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
    check_model_folder(path)
    _clear(path, folder)
    note = _dequantise(path, folder) if is_gguf(path) else _link(path, folder)
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


def _ask_hub(repository: str, revision: str) -> ModelInfo:
    """Resolve a revision to a commit and list its files."""
    from huggingface_hub import HfApi

    try:
        return HfApi().model_info(repository, revision=revision)
    except Exception as error:
        raise _explain(error, repository, revision) from error


def _download(repository: str, revision: str, commit: str, names: list[str], folder: Path) -> None:
    from huggingface_hub import snapshot_download

    try:
        snapshot_download(
            repository,
            revision=commit,
            local_dir=folder,
            allow_patterns=[escape(name) for name in names],
        )
    except Exception as error:
        raise _explain(error, repository, revision) from error
    # snapshot_download gives back a folder that it could not complete when the hub is out of reach.
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise UserError(
            f"Of {repository} at {revision}, {', '.join(missing)} could not be fetched: the hub "
            "went out of reach. Run again when the network is back; it goes on where it stopped."
        )


def _explain(error: Exception, repository: str, revision: str) -> Exception:
    """Turn an error of the hub into a sentence; an error of another kind is given back as it is."""
    import httpx2
    from huggingface_hub import constants, errors

    what = f"The model {repository} at revision {revision} cannot be fetched: "
    remedy = (
        "Check the network, or fetch it on another machine and give its folder as `path:` "
        "instead of `hub:`."
    )
    match error:
        case errors.OfflineModeIsEnabled():
            reason = f"HF_HUB_OFFLINE is set, which forbids the network. Unset it. {remedy}"
        case errors.GatedRepoError():
            reason = (
                "its owner grants access on request. Ask for it on the model's page at "
                f"{constants.ENDPOINT}/{repository}, then set the environment variable HF_TOKEN."
            )
        case errors.RevisionNotFoundError():
            reason = (
                "the repository has no such revision. Give a branch, a tag or a full commit hash "
                "from its page."
            )
        case errors.RepositoryNotFoundError():
            reason = (
                f"there is no such repository at {constants.ENDPOINT}, or it is private. Correct "
                "`hub:` (owner/name), or set the environment variable HF_TOKEN."
            )
        case errors.HFValidationError():
            reason = "that is no name of a repository. Write `hub:` as owner/name."
        case httpx2.TransportError() | errors.LocalEntryNotFoundError():
            reason = f"{constants.ENDPOINT} cannot be reached. {remedy}"
        case errors.HfHubHTTPError():
            status = error.response.status_code
            reason = f"{constants.ENDPOINT} answered with HTTP status {status}. Try again later."
        case _:
            return error
    return UserError(what + reason)


def _refuse_without_weights(
    repository: str, revision: str, names: list[str], offered: Iterable[str]
) -> None:
    if any(name.endswith(".safetensors") for name in names):
        return
    pickled = sorted(name for name in offered if name.endswith((".bin", ".pt", ".pth", ".ckpt")))
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


def _link(source: Path, folder: Path) -> str:
    """Link the weights (relatively, so that a project can move) and copy the small files."""
    names = wanted_files(file.relative_to(source).as_posix() for file in source.rglob("*"))
    for name in names:
        target = folder / name
        target.parent.mkdir(exist_ok=True)
        if name.endswith(".safetensors"):
            target.symlink_to(os.path.relpath((source / name).resolve(), target.parent.resolve()))
        else:
            shutil.copyfile(source / name, target)
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

"""Files of a repository on the Hugging Face Hub: which there are, and fetching them whole.

The requests are huggingface_hub's, and with them the environment variables HF_ENDPOINT, HF_HOME,
HF_TOKEN and HF_HUB_OFFLINE. Its own download is not used for what it leaves out where files have
gigabytes: here a file that was cut off goes on at its last byte in a later process too, every file
has the size and the hash that the hub states, and no wait is unbounded.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hrsa.data.hub_file import HubFile
from hrsa.errors import UserError
from hrsa.models.hub_errors import endpoint, in_sentences, patiently, refuse_unusable_token

if TYPE_CHECKING:
    import httpx2
    from tqdm import tqdm

LISTING = ".hub.json"
INCOMPLETE = ".incomplete"
COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Listing:
    """The files of a repository at the commit that a revision resolved to."""

    repository: str
    revision: str
    commit: str
    files: dict[str, HubFile]

    def write(self, folder: Path) -> None:
        """Keep the listing beside the files, to check them against where there is no network."""
        text = json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"
        (folder / LISTING).write_text(text, encoding="utf-8")

    @classmethod
    def read(cls, folder: Path, repository: str, revision: str) -> Listing | None:
        """Read what `write` kept; None where that is nothing, or of another repository."""
        try:
            content = json.loads((folder / LISTING).read_text(encoding="utf-8"))
            files = {name: HubFile(**entry) for name, entry in content.pop("files").items()}
            listing = cls(**content, files=files)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        same = (listing.repository, listing.revision) == (repository, revision)
        return listing if same else None


def list_repository(repository: str, revision: str, *, folders: Iterable[Path] = ()) -> Listing:
    """Resolve a revision to a commit, and list its files with their sizes and hashes.

    Parameters
    ----------
    repository
        "owner/name" of a model.
    revision
        Branch, tag or commit.
    folders
        Where an earlier `fetch` may have left its listing. It is taken where the revision is a
        commit, whose files never change, and in offline mode, where the cache of HF_HOME is the
        next place.

    Returns
    -------
    listing

    Raises
    ------
    UserError
        The repository, the revision or the permission is missing, or the hub cannot be reached.
    """
    from huggingface_hub import HfApi, constants

    kept = [Listing.read(Path(folder), repository, revision) for folder in folders]
    listing = next((listing for listing in kept if listing is not None), None)
    with in_sentences(repository, revision):
        if constants.is_offline_mode():
            listing = listing or _cached_listing(repository, revision)
        if listing is not None and (constants.is_offline_mode() or listing.commit == revision):
            return listing
        refuse_unusable_token()
        information = patiently(
            lambda: HfApi().model_info(
                repository,
                revision=revision,
                files_metadata=True,
                timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT,
            )
        )
    files = {}
    for file in information.siblings or []:
        if file.size is None:
            raise UserError(
                f"The model {repository} at revision {revision} cannot be fetched: {endpoint()} "
                "does not state the sizes of its files, so that none can be checked. Set "
                "HF_ENDPOINT to the hub itself or to a full mirror."
            )
        large = file.lfs.sha256 if file.lfs else None
        files[file.rfilename] = HubFile(
            file.size, sha256=large, git_oid=None if large else file.blob_id
        )
    return Listing(repository, revision, str(information.sha), files)


def fetch(listing: Listing, names: Iterable[str], folder: Path) -> None:
    """Fetch files of a repository into a folder, where some may be already, whole or in part.

    Parameters
    ----------
    listing
        From `list_repository`.
    names
        Which of its files.
    folder
        Ends up with these files, each as the hub states it, and with the listing. Other files in it
        are removed. A file that is still on its way ends in ``.incomplete``.

    Raises
    ------
    UserError
        The disk has too little space, the permission is missing, the hub went out of reach, or it
        serves something else than it states. What has arrived stays for the next call.
    """
    from tqdm import tqdm

    names = sorted(names, key=lambda name: (listing.files[name].size, name))
    _remove_others(folder, {LISTING, *names, *(name + INCOMPLETE for name in names)})
    _refuse_without_space(listing, names, folder)
    folder.mkdir(parents=True, exist_ok=True)
    listing.write(folder)
    total = sum(listing.files[name].size for name in names)
    with (
        in_sentences(listing.repository, listing.revision),
        tqdm(
            total=total,
            desc=listing.repository,
            unit="B",
            unit_scale=True,
            disable=None,  # silent where no one looks
        ) as bar,
    ):
        done = 0
        for name in names:
            _fetch_file(listing, name, folder, bar)
            done += listing.files[name].size
            bar.update(done - bar.n)


class _Changed(Exception):
    """The hub serves something else than it states."""


def _fetch_file(listing: Listing, name: str, folder: Path, bar: tqdm) -> None:
    from huggingface_hub import hf_hub_url

    file, target, part = listing.files[name], folder / name, folder / (name + INCOMPLETE)
    if file.fits(target):
        return
    target.unlink(missing_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    if not part.exists():
        _copy_cached(listing, name, part)
    url = hf_hub_url(listing.repository, name, revision=listing.commit)
    found = ""
    # Once more from the start, and what came from elsewhere or before does not count.
    for _ in range(3 if part.exists() else 2):
        try:
            if _size(part) < file.size or not part.exists():
                patiently(lambda: _stream(url, file, part, bar), progress=lambda: _size(part))
            if file.fits(part):
                os.replace(part, target)
                return
            found = f"{_size(part)} bytes with another hash arrived"
        except _Changed as change:
            found = str(change)
        part.unlink(missing_ok=True)
    raise UserError(
        f"The file {name} of {listing.repository} at revision {listing.revision} (commit "
        f"{listing.commit}) is not what the hub states ({file}): {found}, and again when asked "
        "anew. Either its content was changed under one revision, or something on the way alters "
        "it. It was deleted; the other files are kept. Run again later, or from another network."
    )


def _stream(url: str, file: HubFile, part: Path, bar: tqdm) -> None:
    """Append to `part` what it lacks of the file."""
    import httpx2
    from huggingface_hub import constants
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    # Redirects to where large files lie are followed without the token.
    headers = build_hf_headers() | {"Accept-Encoding": "identity"}
    if start := _size(part):
        headers["Range"] = f"bytes={start}-"
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
    with get_session().stream("GET", url, headers=headers, timeout=timeout) as answer:
        if answer.status_code == 416:
            raise _Changed(f"there is nothing after byte {start}")
        hf_raise_for_status(answer)
        _refuse_changed(answer, file)
        with part.open("ab" if answer.status_code == 206 else "wb") as stream:
            for block in answer.iter_bytes():
                stream.write(block)
                bar.update(len(block))
                if stream.tell() > file.size:
                    raise _Changed(f"more than {file.size} bytes arrived")
    if _size(part) < file.size:
        raise httpx2.RemoteProtocolError("The answer ended early.")


def _refuse_changed(answer: httpx2.Response, file: HubFile) -> None:
    """Compare the hash that comes with an answer, before its content is read."""
    first = answer.history[0] if answer.history else answer
    if file.sha256 is not None:
        header, expected = "X-Linked-Etag", file.sha256
    else:
        header, expected = "ETag", file.git_oid or ""
    served = first.headers.get(header, "").removeprefix("W/").strip('"')
    is_hash = re.fullmatch(r"[0-9a-f]+", served) and len(served) == len(expected)
    if is_hash and served != expected:
        raise _Changed(f"it serves a file with the hash {served}")


def _copy_cached(listing: Listing, name: str, part: Path) -> None:
    """Take a file from the cache of HF_HOME, where other programs may have fetched it."""
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(listing.repository, name, revision=listing.commit)
    if isinstance(cached, str):
        shutil.copyfile(cached, part)


def _cached_listing(repository: str, revision: str) -> Listing | None:
    """List what the cache of HF_HOME holds of a repository.

    Its files are links to blobs whose names are their hashes.
    """
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import RevisionResolutionError

    try:
        resolved = HfApi().resolve_revision(repository, revision=revision, local_files_only=True)
    except RevisionResolutionError:
        return None
    config = try_to_load_from_cache(repository, "config.json", revision=resolved.resolved)
    if not isinstance(config, str):
        return None
    files, snapshot = {}, Path(config).parent
    for path in snapshot.rglob("*"):
        if path.is_file():
            blob = path.resolve().name if path.is_symlink() else ""
            files[path.relative_to(snapshot).as_posix()] = HubFile(
                path.stat().st_size,
                sha256=blob if re.fullmatch(r"[0-9a-f]{64}", blob) else None,
                git_oid=blob if COMMIT.fullmatch(blob) else None,
            )
    return Listing(repository, revision, resolved.resolved, files)


def _remove_others(folder: Path, wanted: set[str]) -> None:
    """Remove files of another commit or another download."""
    for file in folder.rglob("*"):
        if file.is_file() and file.relative_to(folder).as_posix() not in wanted:
            file.unlink()


def _refuse_without_space(listing: Listing, names: list[str], folder: Path) -> None:
    total = sum(listing.files[name].size for name in names)
    here = sum(
        min(
            max(_size(folder / name), _size(folder / (name + INCOMPLETE))), listing.files[name].size
        )
        for name in names
    )
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if total - here > free:
        raise UserError(
            f"The model {listing.repository} at revision {listing.revision} needs "
            f"{in_words(total - here)} of disk ({in_words(total)} in {len(names)} files, of which "
            f"{in_words(here)} are here), and {in_words(free)} are free where {folder.parent} "
            "lies. Free some space, or make the folder `resources` a link to a larger disk."
        )


def in_words(size: int) -> str:
    """Write a number of bytes for a person, such as "3.1 GB"."""
    for unit, bytes_per_unit in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= bytes_per_unit:
            return f"{size / bytes_per_unit:.1f} {unit}"
    return f"{size} bytes"


def _size(path: Path) -> int:
    """Size of a file in bytes, 0 where there is none."""
    return path.stat().st_size if path.is_file() else 0

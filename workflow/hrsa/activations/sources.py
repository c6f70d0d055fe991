"""Which files the layers of a joined activation file lie in, and whether they are there.

HDF5 fills what it does not find with zeros and says nothing, so every source is looked at when a
joined file is opened. Nor does it survive all damage to what describes such layers: the file, which
is small, has a seal, the SHA-256 of all of its bytes, that is checked before they are touched.
"""

import hashlib
import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hrsa.activations.header import fixed_text, plain, replace_text, write_header
from hrsa.errors import UserError

# Stands where the seal will be; of its length.
_NO_SEAL = "not sealed yet".ljust(64, ".")


@dataclass(frozen=True)
class Sources:
    """Files whose rows a joined file holds one after the other.

    `names` (n) are paths from the joined file's folder, `headers` (n) the digests of their
    headers, `edges` (n + 1) the first row of each and the number of rows.
    """

    names: list[str]
    headers: list[str]
    edges: np.ndarray


def write_sources(
    file: h5py.File, sources: Sources, shapes: Mapping[int, tuple[int, int]], stored: np.dtype
) -> None:
    """Write where the rows lie, and the layers as views of them.

    Parameters
    ----------
    file
        An open file with an empty group `layers`.
    sources
    shapes
        Shape of each layer.
    stored
        Type that the layers are stored in.
    """
    group = file.create_group("sources")
    group.create_dataset("name", data=fixed_text(sources.names))
    group.create_dataset("header", data=fixed_text(sources.headers))
    group.create_dataset("edge", data=sources.edges.astype("<i8"))
    write_header(group.attrs, {"seal": _NO_SEAL})
    for layer, shape in shapes.items():
        layout = h5py.VirtualLayout(shape, stored)
        for name, (start, stop) in zip(sources.names, pairwise(sources.edges), strict=True):
            layout[start:stop] = h5py.VirtualSource(
                name, f"layers/{layer:02d}", (int(stop - start), shape[1])
            )
        file["layers"].create_virtual_dataset(f"{layer:02d}", layout)


def seal(path: Path) -> None:
    """Write the seal of a complete joined file, which is closed."""
    digest = _sealed_digest(path, _NO_SEAL)
    with h5py.File(path, "r+", locking=False) as file:
        replace_text(file["sources"].attrs, "seal", digest)


def check_seal(path: Path, file: h5py.File) -> None:
    """Check that all bytes of a joined file are as they were written; others have no seal.

    Raises
    ------
    ValueError
        A byte has changed.
    """
    if "sources" in file:
        digest = plain(file["sources"].attrs["seal"])
        if _sealed_digest(path, digest) != digest:
            raise ValueError("its bytes do not match its seal")


def read_sources(file: h5py.File) -> Sources:
    """Sources of a file, in which `check_seal` found no fault; none for one with its own layers."""
    if "sources" not in file:
        return Sources([], [], np.zeros(1, np.int64))
    group = file["sources"]
    return Sources(
        group["name"].asstr()[:].tolist(),
        group["header"].asstr()[:].tolist(),
        group["edge"][:].astype(np.int64),
    )


def check_sources(path: Path, file: h5py.File) -> None:
    """Check that every source of a file is there and is the one that was joined.

    Raises
    ------
    UserError
        Naming the source.
    ValueError
        A layer is a view of other files than the list of sources names.
    """
    sources = read_sources(file)
    places = {f"layers/{name}": stored for name, stored in file["layers"].items()}
    for place, stored in places.items():
        seen = [(one.file_name, one.dset_name) for one in _views(stored)]
        if seen != [(name, place) for name in sources.names]:
            raise ValueError(f"{place} is not made of the sources that it should be")
    for name, header, rows in zip(
        sources.names, sources.headers, np.diff(sources.edges), strict=True
    ):
        reason = _fault(path.parent / name, header, int(rows), places)
        if reason:
            raise UserError(
                f"{path}: its hidden states lie in {len(sources.names)} files that it joins, and "
                f"{path.parent / name} {reason}. Put that file back or extract it again, and join "
                "them again; or join with a copy, which needs no other file."
            )


def _fault(source: Path, header: str, rows: int, places: Mapping[str, h5py.Dataset]) -> str:
    """What is wrong with a source, "" if nothing."""
    if not source.is_file():
        return "is not there"
    try:
        with h5py.File(source, "r") as file:
            if plain(file["checksums"].attrs["header"]) != header:
                return "is another file than the one that was joined (its header differs)"
            for place, joined in places.items():
                if (file[place].shape, file[place].dtype) != (
                    (rows, joined.shape[1]),
                    joined.dtype,
                ):
                    return f"has another shape or type of {place}"
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        return f"cannot be read ({error})"
    return ""


def _sealed_digest(path: Path, now: str) -> str:
    """SHA-256 of a file in which the seal is not yet written, whatever it is `now`."""
    digest = hashlib.sha256()
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        memoryview(content) as view,
    ):
        at = content.find(now.encode())
        if at < 0:
            return ""
        digest.update(view[:at])
        digest.update(_NO_SEAL.encode())
        digest.update(view[at + len(now) :])
    return digest.hexdigest()


def _views(stored: h5py.Dataset) -> list[Any]:
    return stored.virtual_sources() if stored.is_virtual else []

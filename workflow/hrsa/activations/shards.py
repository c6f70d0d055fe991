"""Joining the activation files of the parts of a data set to one of the whole."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hrsa.activations.checksums import BLOCK_ROWS, layer_digest
from hrsa.activations.disk import bring_to_disk, full_disk_told
from hrsa.activations.encoding import STORED_TYPES
from hrsa.activations.header import Header, first_difference, flat_header, header_digest
from hrsa.activations.journal import Journal
from hrsa.activations.layout import finish_header, write_digests, write_tables
from hrsa.activations.rows import TOKEN_COLUMNS, check_tables
from hrsa.activations.sources import Sources, seal, write_sources
from hrsa.activations.store import Activations, open_activations
from hrsa.activations.writer import ActivationWriter
from hrsa.errors import UserError

_COPIED_ROWS = 16384


def join_shards(paths: Sequence[str | Path], path: str | Path, *, copy: bool = False) -> None:
    """Join the files of all parts of a data set to one activation file of the whole.

    Parts are consecutive: those of shard 0 come first, then those of shard 1, and so on. The
    joined file has their header but for `shard` and `n_shards`; counts, which are the entries
    named `n_…` other than `n_layers`, are summed. So it is what an extraction of the whole gives.

    Parameters
    ----------
    paths
        Files with the header entries `shard` (from 0) and `n_shards`, all of them, in any order.
    path
        The file to write.
    copy
        Copy all layers, after the files' checksums were verified; the joined file then needs no
        other. Without, its layers are views of the files (HDF5 virtual data sets, by their paths
        from its folder), which must stay where they are; it is made in no time, and its checksums
        are theirs.

    Raises
    ------
    UserError
        A file is missing, damaged or no part of the same extraction; or the disk is full.
    """
    path = Path(path)
    with ExitStack() as stack:
        shards = [
            stack.enter_context(open_activations(one, verify=copy)) for one in map(Path, paths)
        ]
        shards = _in_order(path, shards)
        header = _joined_header(path, shards)
        tables = _joined_tables(path, shards)
        edges = np.concatenate([[0], np.cumsum([shard.n_tokens for shard in shards])])
        if copy:
            _copy(path, shards, header, tables, edges)
        else:
            _view(path, shards, header, tables, edges)


def _in_order(path: Path, shards: list[Activations]) -> list[Activations]:
    """Shards by their numbers, each once and all of them."""
    if not shards:
        raise UserError(f"{path}: no files are given to join.")
    for shard in shards:
        if not all(isinstance(shard.attrs.get(name), int) for name in ("shard", "n_shards")):
            raise UserError(
                f"{shard.path}: this file is no part of a divided data set (its header has no "
                "shard and n_shards). Give the files that the extraction of shards wrote."
            )
        if shard.path.resolve() == path.resolve():
            raise UserError(f"{path}: this file is one of those to join. Choose another name.")
    n_shards = shards[0].attrs["n_shards"]
    found: dict[int, Activations] = {}
    for shard in shards:
        number = shard.attrs["shard"]
        if number in found:
            raise UserError(
                f"{shard.path} and {found[number].path}: both are shard {number}. Give each once."
            )
        found[number] = shard
    missing = sorted(set(range(n_shards)) - found.keys())
    if missing:
        raise UserError(
            f"{path}: shard {missing[0]} of 0 to {n_shards - 1} is not among the {len(shards)} "
            "files given. All are needed to join them."
        )
    return [found[number] for number in sorted(found)]


def _joined_header(path: Path, shards: list[Activations]) -> Header:
    first, *others = shards
    wanted = _compared(first)
    for other in others:
        found = _compared(other)
        name = first_difference(found, wanted)
        if name is not None:
            raise UserError(
                f"{other.path}: {name} is {found.get(name, 'not there')}, and in {first.path} "
                f"it is {wanted.get(name, 'not there')}. Only parts of one extraction can be "
                "joined; extract one of them again."
            )
    header = {name: value for name, value in first.attrs.items() if not _is_own(name)}
    counts = {
        name: sum(shard.attrs[name] for shard in shards) for name in first.attrs if _is_count(name)
    }
    return header | counts


def _compared(shard: Activations) -> dict[str, Any]:
    """What shards of one extraction have in common; of counts, that they are there."""
    flat = flat_header(shard.attrs).items()
    return {
        name: "a number" if _is_count(name) else value for name, value in flat if name != "shard"
    } | {"width": shard.width, "set of layers": shard.layers}


def _is_count(name: str) -> bool:
    return name.startswith("n_") and name not in ("n_layers", "n_shards")


def _is_own(name: str) -> bool:
    return name in ("shard", "n_shards")


def _joined_tables(path: Path, shards: list[Activations]) -> dict[str, Any]:
    parts = [shard.samples for shard in shards]
    ids = [str(one) for part in parts for one in part.ids]
    if len(set(ids)) < len(ids):
        again = next(one for one, times in Counter(ids).items() if times > 1)
        raise UserError(
            f"{path}: sample {again!r} is in more than one of the files to join. Each sample "
            "belongs to one shard; divide the data set anew and extract the shards again."
        )
    sizes = np.concatenate([np.diff(part.offsets) for part in parts])
    columns = [shard.tokens for shard in shards]
    tables: dict[str, Any] = {
        "samples": ids,
        "offsets": np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        "tokens": {
            name: np.concatenate([getattr(part, name) for part in columns])
            for name in TOKEN_COLUMNS
        },
    }
    check_tables(tables["samples"], tables["offsets"], tables["tokens"])
    return tables


def _copy(
    path: Path,
    shards: list[Activations],
    header: Header,
    tables: dict[str, Any],
    edges: np.ndarray,
) -> None:
    with ActivationWriter(
        path,
        header=header,
        samples=tables["samples"],
        sample_offsets=tables["offsets"],
        tokens=tables["tokens"],
        layers=shards[0].layers,
        width=shards[0].width,
        dtype=header["dtype"],
    ) as writer:
        for layer in shards[0].layers:
            for shard, first in zip(shards, edges[:-1], strict=True):
                for rows in shard.blocks(_COPIED_ROWS):
                    there = slice(first + rows.start, first + rows.stop)
                    writer.write(layer, there, shard.layer(layer)[rows])


def _view(
    path: Path,
    shards: list[Activations],
    header: Header,
    tables: dict[str, Any],
    edges: np.ndarray,
) -> None:
    sources = Sources(
        [_relative(shard.path, path.parent) for shard in shards],
        [header_digest(shard.attrs) for shard in shards],
        edges.astype(np.int64),
    )
    shape = (int(edges[-1]), shards[0].width)
    with _made_whole(path, size=64 * shape[0]) as file:
        write_tables(file, header, tables["samples"], tables["offsets"], tables["tokens"])
        shapes = dict.fromkeys(shards[0].layers, shape)
        write_sources(file, sources, shapes, STORED_TYPES[header["dtype"]])
        for layer in shards[0].layers:
            digests = np.concatenate([shard.block_digests(layer) for shard in shards])
            write_digests(file, layer, digests, layer_digest(digests), BLOCK_ROWS)
        finish_header(file)


@contextmanager
def _made_whole(path: Path, size: int) -> Iterator[h5py.File]:
    """A new joined file, of about `size` bytes, that appears at `path` when it is complete."""
    partial = Path(f"{path}.partial")
    journal = Journal(path)
    try:
        with full_disk_told(path, partial, size=size, kept=False):
            journal.clear()
            with h5py.File(partial, "w", locking=False) as file:
                yield file
            seal(partial)
            bring_to_disk(partial)
            os.replace(partial, path)
            bring_to_disk(path.parent)
    finally:
        partial.unlink(missing_ok=True)
        journal.remove()


def _relative(source: Path, folder: Path) -> str:
    name = os.path.relpath(source.resolve(), folder.resolve())
    if "%" in name:
        raise UserError(
            f"{source}: HDF5 cannot refer to a file with % in its path. Rename it, or join with a "
            "copy."
        )
    return name

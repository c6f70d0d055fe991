"""What HDF5 makes of an activation file: its groups, data sets and attributes, in their places."""

from collections.abc import Mapping, Sequence
from typing import Any

import h5py
import numpy as np

from hrsa.activations.checksums import table_digest
from hrsa.activations.header import (
    NO_DIGEST,
    Header,
    fixed_text,
    header_digest,
    plain,
    read_header,
    replace_text,
    write_header,
)
from hrsa.activations.rows import row_blocks


def write_tables(
    file: h5py.File,
    header: Mapping[str, Any],
    samples: Sequence[str],
    offsets: np.ndarray,
    tokens: Mapping[str, np.ndarray],
) -> None:
    """Write everything of an activation file but its layers; no reader takes it for whole yet."""
    write_header(file.attrs, header)
    table = file.create_group("samples")
    table.create_dataset("id", data=fixed_text(samples))
    table.create_dataset("offset", data=offsets.astype("<i8"))
    write_header(table.attrs, {"sha256": table_digest([offsets], samples)})
    table = file.create_group("tokens")
    for name, column in tokens.items():
        table.create_dataset(name, data=column.astype("<i4"))
    write_header(table.attrs, {"sha256": table_digest(tokens.values())})
    file.create_group("layers")
    write_header(file.create_group("checksums").attrs, {"header": NO_DIGEST})


def make_layers(
    file: h5py.File, layers: Sequence[int], shape: tuple[int, int], stored: np.dtype, rows: int
) -> None:
    """Make the layers, with their places in the file and nothing in them, and their checksums.

    Parameters
    ----------
    file
        An open file with its tables.
    layers
    shape
        Of each layer (n_tokens × width).
    stored
        Type that they are stored in.
    rows
        Rows of a block that has a checksum.
    """
    nothing = np.zeros((len(row_blocks(shape[0], rows)), 32), np.uint8)
    for layer in layers:
        file["layers"].create_dataset(
            f"{layer:02d}",
            shape=shape,
            dtype=stored,
            dcpl=_allocated_at_once(),
            fill_time="never",
        )
        write_digests(file, layer, nothing, NO_DIGEST, rows)


def write_digests(file: h5py.File, layer: int, digests: np.ndarray, sha256: str, rows: int) -> None:
    """Write the digests of a layer's blocks of rows (n_blocks × 32), and the hash over them."""
    checksums = file["checksums"].create_dataset(f"{layer:02d}", data=digests)
    write_header(checksums.attrs, {"rows": rows, "sha256": sha256})


def replace_digests(file: h5py.File, layer: int, digests: np.ndarray, sha256: str) -> None:
    """Write digests over those that `make_layers` wrote, in their place."""
    checksums = file["checksums"][f"{layer:02d}"]
    checksums[:] = digests
    replace_text(checksums.attrs, "sha256", sha256)


def finish_header(file: h5py.File) -> None:
    """Write the digest of the header, by which a reader knows that the file is finished."""
    replace_text(file["checksums"].attrs, "header", header_digest(read_header(file.attrs)))


def identity_of(file: h5py.File) -> Header:
    """What makes two unfinished files the same but for the rows that they have; of one that is."""
    layers = file["layers"]
    widths = {layer.shape[1] for layer in layers.values()}
    return {name: plain(value) for name, value in sorted(file.attrs.items())} | {
        "table of samples": plain(file["samples"].attrs["sha256"]),
        "table of tokens": plain(file["tokens"].attrs["sha256"]),
        "set of layers": sorted(int(name) for name in layers),
        "width": widths.pop(),
    }


def _allocated_at_once() -> h5py.h5p.PropDCID:
    """Data sets get their place in the file when made: same bytes whatever is written first."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    return properties

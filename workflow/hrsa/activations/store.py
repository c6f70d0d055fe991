"""The activation file (HDF5): hidden states of one model on one data set, token by token.

Layout: `/samples/{id, offset}`, `/tokens/{id, position, char_start, char_end}`, `/layers/00 …`
(n_tokens × width, contiguous and uncompressed), `/checksums/00 …` (n_blocks × 32), and the header
as attributes of the file. Rows are in the data set's own order of samples. A file that was joined
of others (see `hrsa.activations.shards`) has virtual layers, and `/sources` says where they lie.

Reading needs this package alone, and neither a model nor a workflow; only the rows that are asked
for are brought into memory.

Examples
--------
>>> from hrsa.activations import open_activations
>>> activations = open_activations("base/questions.h5", verify=True)
>>> activations.attrs["model"], activations.attrs["dtype"], activations.layers
('tiny', 'float32', [0, 1, 2])
>>> activations.n_samples, activations.n_tokens, activations.width
(3, 10, 5)

A layer is an array in the file; rows come as slices, numbers in any order, or a mask.

>>> states = activations.layer(activations.attrs["n_layers"])
>>> states.shape, states[2:4].shape, states[[7, 0, 7]].shape
((10, 5), (2, 5), (3, 5))

All rows, in blocks of a size that fits the memory:

>>> total = sum(states[rows].sum(axis=0, dtype="f8") for rows in activations.blocks(4))
>>> total.shape
(5,)

Which token a row is, and of which sample; here the last token of each sample that has one:

>>> samples, tokens = activations.samples, activations.tokens
>>> last = [stop - 1 for start, stop in zip(samples.offsets, samples.offsets[1:]) if stop > start]
>>> [(str(samples.ids[activations.sample_of_row[row]]), int(tokens.char_end[row])) for row in last]
[('b', 8), ('a', 6)]
>>> states[last].shape
(2, 5)
>>> activations.close()
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hrsa.activations.checksums import block_digests, layer_digest, table_digest
from hrsa.activations.header import (
    NO_DIGEST,
    SCHEMA_VERSION,
    Header,
    extraction_header,
    header_digest,
    plain,
    read_header,
)
from hrsa.activations.layer_rows import LayerRows
from hrsa.activations.rows import TOKEN_COLUMNS, part_blocks, row_blocks
from hrsa.activations.sources import check_seal, check_sources, read_sources
from hrsa.activations.writer import ActivationWriter
from hrsa.errors import UserError

__all__ = [
    "SCHEMA_VERSION",
    "ActivationWriter",
    "Activations",
    "LayerRows",
    "SampleTable",
    "TokenTable",
    "extraction_header",
    "header_matches",
    "open_activations",
]

# What h5py raises on damaged files.
_DAMAGE = (
    AttributeError,
    KeyError,
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True)
class SampleTable:
    """Samples of a file: `ids` (n_samples) and `offsets` (n_samples + 1), first row of each."""

    ids: np.ndarray
    offsets: np.ndarray


@dataclass(frozen=True)
class TokenTable:
    """Which token each row is; int32 (n_tokens) each.

    `position` counts from 0 in the sequence that the model saw, special tokens included;
    `char_start` and `char_end` are characters of the sample's text as given.
    """

    id: np.ndarray
    position: np.ndarray
    char_start: np.ndarray
    char_end: np.ndarray


class Activations:
    """An open activation file; get one from `open_activations`, use it in a `with` block.

    Attributes
    ----------
    path : Path
    attrs : dict, the header (model, model_sha256, dataset, dataset_sha256, tokenizer_sha256,
        attention, template, dtype, n_layers, library_versions, seed, schema_version, …).
        `n_layers` is the number of blocks of the model, hence the index of its final layer.
    layers : list of int, the stored layers (0 = embeddings, n_layers = after the final norm).
    width, n_tokens, n_samples : int
    sources : list of Path, the files that hold the layers of a joined file (see `join_shards`);
        empty for a file that holds its own.
    """

    def __init__(self, path: Path, file: h5py.File):
        self.path = path
        self._file = file
        self.attrs: Header = read_header(file.attrs)
        self.layers: list[int] = sorted(int(name) for name in file["layers"])
        shapes = {layer.shape for layer in file["layers"].values()}
        if len(shapes) != 1:
            raise ValueError("its layers differ in shape")
        self.n_tokens, self.width = shapes.pop()
        self.n_samples: int = file["samples/id"].shape[0]
        sources = read_sources(file)
        self.sources: list[Path] = [path.parent / name for name in sources.names]
        # Blocks of rows that have a checksum begin anew where a source begins.
        self._edges = sources.edges if sources.names else np.array([0, self.n_tokens])

    def __enter__(self) -> "Activations":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; layers can no longer be read, tables that were read stay."""
        self._file.close()

    def layer(self, index: int) -> LayerRows:
        """Hidden states after block `index` (n_tokens × width), read lazily.

        Raises
        ------
        UserError
            The file does not store that layer.
        """
        if index not in self.layers:
            raise UserError(
                f"{self.path}: layer {index} is not in the file; it stores layers "
                f"{_list_of(self.layers)}. Ask for one of those, or extract again with that layer."
            )
        return LayerRows(self._file["layers"][f"{index:02d}"], self.attrs["dtype"])

    @cached_property
    def samples(self) -> SampleTable:
        """Ids (n_samples) and row offsets (n_samples + 1), checked against their checksum."""
        with _named_damage(self.path):
            ids = self._file["samples/id"].asstr()[:]
            offsets = self._file["samples/offset"][:].astype(np.int64)
            wanted = plain(self._file["samples"].attrs["sha256"])
        if table_digest([offsets], ids) != wanted:
            raise _corrupt(self.path, "the table of samples does not match its checksum")
        return SampleTable(ids.astype(str), offsets)

    @property
    def tokens(self) -> TokenTable:
        """Token ids, positions and character spans, checked against their checksum.

        Read anew at each use: kept, they would grow with the rows of whatever streams over them.
        """
        with _named_damage(self.path):
            columns = [self._file["tokens"][name][:].astype(np.int32) for name in TOKEN_COLUMNS]
            wanted = plain(self._file["tokens"].attrs["sha256"])
        if table_digest(columns) != wanted:
            raise _corrupt(self.path, "the table of tokens does not match its checksum")
        return TokenTable(*columns)

    @cached_property
    def sample_of_row(self) -> np.ndarray:
        """Index of the sample of each row, int32 (n_tokens)."""
        return np.repeat(np.arange(self.n_samples, dtype=np.int32), np.diff(self.samples.offsets))

    def blocks(self, rows: int) -> Iterator[slice]:
        """Consecutive slices of at most `rows` rows over all tokens."""
        return iter(row_blocks(self.n_tokens, rows))

    def verify(self) -> None:
        """Read the whole file and compare it with its checksums.

        Raises
        ------
        UserError
            Naming the file, the layer and the first block of rows that differs.
        """
        _ = self.samples, self.tokens
        for index in self.layers:
            self._verify_layer(index)

    def block_digests(self, index: int) -> np.ndarray:
        """Checksums of a layer's blocks of rows as the file has them, uint8 (n_blocks × 32)."""
        with _named_damage(self.path, f"checksums of layer {index}"):
            return self._file["checksums"][f"{index:02d}"][:]

    def _verify_layer(self, index: int) -> None:
        with _named_damage(self.path, f"layer {index}"):
            checksums = self._file["checksums"][f"{index:02d}"]
            wanted, rows = checksums[:], int(checksums.attrs["rows"])
            blocks = part_blocks(self._edges, rows)
            found = block_digests(self._file["layers"][f"{index:02d}"], blocks)
            hash_of_layer = plain(checksums.attrs["sha256"])
            matches = (wanted == found).all(axis=1)
        for block, match in zip(blocks, matches, strict=True):
            if not match:
                raise _corrupt(
                    self.path,
                    f"layer {index}, rows {block.start} to {block.stop - 1} do not match their "
                    "checksum",
                )
        if layer_digest(wanted) != hash_of_layer:
            raise _corrupt(
                self.path,
                f"layer {index}, rows 0 to {self.n_tokens - 1}: the checksums of the blocks do "
                "not match the layer's hash",
            )


def open_activations(path: str | Path, *, verify: bool = False) -> Activations:
    """Open an activation file for reading.

    Parameters
    ----------
    path
        A file that `extract_activations`, `ActivationWriter` or `join_shards` finished.
    verify
        Also compare every byte with the checksums; reads the whole file once.

    Raises
    ------
    UserError
        The file is missing, unfinished, cut short, no activation file, of another schema version,
        or (with `verify`) does not match its checksums; or a file that it was joined of is missing
        or another one.
    """
    path = Path(path)
    file = _open(path)
    try:
        with _named_damage(path):
            _check_schema(path, file)
            check_seal(path, file)
            activations = Activations(path, file)
            digest = plain(file["checksums"].attrs["header"])
            if digest == NO_DIGEST:
                raise _unfinished(path)
            if header_digest(activations.attrs) != digest:
                raise _corrupt(path, "its header does not match its checksum")
            check_sources(path, file)
        if verify:
            activations.verify()
    except BaseException:
        file.close()
        raise
    return activations


def header_matches(path: str | Path, header: Mapping[str, Any]) -> bool:
    """Whether a finished, readable file at `path` has every entry of `header`.

    Compare with `extraction_header(…)` to know that an extraction would give the same file.
    Entries that only the file has (such as `n_layers`) are not compared; checksums neither.
    """
    try:
        with open_activations(path) as activations:
            attrs = activations.attrs
    except UserError:
        return False
    return all(name in attrs and attrs[name] == value for name, value in header.items())


def _open(path: Path) -> h5py.File:
    if not path.is_file():
        unfinished = Path(f"{path}.partial").exists()
        remedy = (
            f"An unfinished {path.name}.partial is beside it: its extraction was stopped; run it "
            "again, and it goes on where it can."
            if unfinished
            else "Check the path, or run the extraction that writes it."
        )
        raise UserError(f"{path}: there is no activation file here. {remedy}")
    try:
        return h5py.File(path, "r")
    except PermissionError:
        raise UserError(f"{path}: no permission to read this activation file.") from None
    except OSError as error:
        if "truncated" in str(error):
            raise _corrupt(path, "the file is cut short") from None
        raise UserError(
            f"{path}: this is not a readable HDF5 file ({error}). Give an activation file, or "
            "delete it and run its extraction again."
        ) from None


def _check_schema(path: Path, file: h5py.File) -> None:
    found = file.attrs.get("schema_version")
    if found is None or "layers" not in file:
        raise UserError(
            f"{path}: this HDF5 file is not an activation file (it has no schema_version or no "
            "layers). Give a file that the extraction wrote."
        )
    if int(found) != SCHEMA_VERSION:
        raise UserError(
            f"{path}: the file has schema version {found}, this version of hrsa reads version "
            f"{SCHEMA_VERSION}. Delete it and run its extraction again."
        )


@contextmanager
def _named_damage(path: Path, part: str = "a part of it") -> Iterator[None]:
    """What h5py raises on a damaged file, in the words of a person."""
    try:
        yield
    except _DAMAGE as error:
        raise _corrupt(path, f"{part} is missing or unreadable ({error})") from None


def _corrupt(path: Path, what: str) -> UserError:
    return UserError(
        f"{path}: the activation file is damaged: {what}. Delete it and run its extraction again."
    )


def _unfinished(path: Path) -> UserError:
    return UserError(
        f"{path}: the activation file is unfinished: its extraction was stopped. Run it again, and "
        "read the file that it finishes."
    )


def _list_of(layers: Sequence[int]) -> str:
    return ", ".join(str(layer) for layer in layers)

"""The activation file (HDF5): hidden states of one model on one data set, token by token.

Layout: `/samples/{id, offset}`, `/tokens/{id, position, char_start, char_end}`, `/layers/00 …`
(n_tokens × width, contiguous and uncompressed), `/checksums/00 …` (n_blocks × 32), and the header
as attributes of the file. Rows are in the data set's own order of samples.
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
from hrsa.activations.encoding import decode, read_type
from hrsa.activations.header import (
    SCHEMA_VERSION,
    Header,
    extraction_header,
    header_digest,
    plain,
    read_header,
)
from hrsa.activations.rows import TOKEN_COLUMNS, row_blocks, row_numbers
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

# Rows that a read of scattered rows brings in at once: bounds its memory, keeps reads sequential.
_GATHER_ROWS = 16384


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


class LayerRows:
    """Hidden states of one layer (n_tokens × width), read from the file row by row as asked.

    `layer[a:b]`, `layer[rows]` (integers in any order, or a boolean mask) and `layer[i]` read
    only those rows; `numpy.asarray(layer)` reads all. bfloat16 comes as float32.
    """

    def __init__(self, stored: h5py.Dataset, dtype: str):
        self._stored = stored
        self._dtype = dtype
        self.shape: tuple[int, int] = stored.shape
        self.dtype = read_type(dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: int | slice | Sequence[int] | np.ndarray) -> np.ndarray:
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1:
                return decode(self._stored[start : max(start, stop)], self._dtype)
            return self._gather(np.arange(start, stop, step))
        if isinstance(rows, int | np.integer):
            return self._gather(row_numbers([rows], len(self)))[0]
        return self._gather(row_numbers(rows, len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("a layer is read from disk; it cannot be an array without a copy")
        return self[:].astype(dtype or self.dtype, copy=False)

    def _gather(self, rows: np.ndarray) -> np.ndarray:
        order = np.argsort(rows, kind="stable")
        ascending = rows[order]
        values = np.empty((len(rows), self.shape[1]), dtype=self.dtype)
        start = 0
        while start < len(rows):
            first = ascending[start]
            stop = int(np.searchsorted(ascending, first + _GATHER_ROWS))
            span = self._stored[first : ascending[stop - 1] + 1]
            values[order[start:stop]] = decode(span[ascending[start:stop] - first], self._dtype)
            start = stop
        return values


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
    """

    def __init__(self, path: Path, file: h5py.File):
        self.path = path
        self._file = file
        self.attrs: Header = read_header(file.attrs)
        self.layers: list[int] = sorted(int(name) for name in file["layers"])
        self.n_tokens, self.width = file["layers"][f"{self.layers[0]:02d}"].shape
        self.n_samples: int = file["samples/id"].shape[0]

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

    def _verify_layer(self, index: int) -> None:
        with _named_damage(self.path, f"layer {index}"):
            checksums = self._file["checksums"][f"{index:02d}"]
            wanted, rows = checksums[:], int(checksums.attrs["rows"])
            found = block_digests(self._file["layers"][f"{index:02d}"], rows)
            hash_of_layer = plain(checksums.attrs["sha256"])
        for block, ok in zip(
            row_blocks(self.n_tokens, rows), (wanted == found).all(axis=1), strict=True
        ):
            if not ok:
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
        A file that `extract_activations` or `ActivationWriter` finished.
    verify
        Also compare every byte with the checksums; reads the whole file once.

    Raises
    ------
    UserError
        The file is missing, cut short, no activation file, of another schema version, or (with
        `verify`) does not match its checksums.
    """
    path = Path(path)
    file = _open(path)
    try:
        with _named_damage(path):
            _check_schema(path, file)
            activations = Activations(path, file)
            if header_digest(activations.attrs) != plain(file["checksums"].attrs["header"]):
                raise _corrupt(path, "its header does not match its checksum")
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
            "again."
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
    except (KeyError, OSError, RuntimeError, TypeError, ValueError, OverflowError) as error:
        raise _corrupt(path, f"{part} is missing or unreadable ({error})") from None


def _corrupt(path: Path, what: str) -> UserError:
    return UserError(
        f"{path}: the activation file is damaged: {what}. Delete it and run its extraction again."
    )


def _list_of(layers: Sequence[int]) -> str:
    return ", ".join(str(layer) for layer in layers)

"""Writing an activation file: complete or not there."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hrsa.activations.checksums import BLOCK_ROWS, block_digests, layer_digest, table_digest
from hrsa.activations.encoding import STORED_TYPES, decode, encode
from hrsa.activations.header import (
    SCHEMA_VERSION,
    fixed_text,
    header_digest,
    read_header,
    write_header,
)
from hrsa.activations.rows import TOKEN_COLUMNS, row_numbers, runs
from hrsa.errors import UserError


class ActivationWriter:
    """Writes an activation file: the tables at once, layers by rows in any order.

    Everything goes to `<path>.partial`; `close` adds the checksums and renames it to `path`, so
    that a file at `path` is always complete. When a `with` block ends in an exception the partial
    file is removed and `path` is left as it was.

    Parameters
    ----------
    path
        Where the finished file goes; its folder is made.
    header
        Attributes of the file (see `extraction_header`). `n_layers` is the last of `layers`
        unless it is given.
    samples
        Ids of the samples (n_samples), unique, in the data set's own order.
    sample_offsets
        First row of each sample, and the number of rows: int (n_samples + 1).
    tokens
        Columns id, position, char_start, char_end: int (n_tokens); one row at most for each
        sample and char_end.
    layers
        Layers to be written (0 = embeddings).
    width
        Width of the hidden states.
    dtype
        "float32", "float64" or "bfloat16".

    Raises
    ------
    ValueError
        The tables contradict each other.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        header: Mapping[str, Any],
        samples: Sequence[str],
        sample_offsets: Sequence[int] | np.ndarray,
        tokens: Mapping[str, Any],
        layers: Sequence[int],
        width: int,
        dtype: str,
    ):
        if dtype not in STORED_TYPES:
            raise ValueError(f"dtype={dtype!r}; allowed are {', '.join(STORED_TYPES)}")
        self.path = Path(path)
        self._partial = Path(f"{path}.partial")
        self._header = {
            "n_layers": max(layers, default=0),
            **header,
            "schema_version": SCHEMA_VERSION,
            "dtype": dtype,
        }
        self._samples = list(samples)
        self._offsets = np.asarray(sample_offsets, dtype=np.int64)
        self._tokens = {name: np.asarray(tokens[name], np.int32) for name in TOKEN_COLUMNS}
        self._layers = sorted(layers)
        self._dtype = dtype
        self._shape = (len(self._tokens["id"]), int(width))
        self._check_tables()
        self._written = {layer: np.zeros(self._shape[0], dtype=bool) for layer in self._layers}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = h5py.File(self._partial, "w")
        try:
            self._write_tables()
        except BaseException:
            self.abort()
            raise

    def __enter__(self) -> "ActivationWriter":
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is None:
            self.close()
        else:
            self.abort()

    def write(self, layer: int, rows: slice | np.ndarray, values: np.ndarray) -> None:
        """Write hidden states of some rows of one layer.

        Parameters
        ----------
        layer
            One of the layers that the file was made with.
        rows
            Rows of the finished file: a slice or integers (n), in any order.
        values : array (n × width)

        Raises
        ------
        UserError
            A value is NaN or infinite (also after rounding to the stored type); the text names
            the model, the sample and the layer.
        ValueError
            The shape or the rows do not fit.
        """
        if isinstance(rows, slice):
            rows = np.arange(self._shape[0])[rows]
        rows = row_numbers(rows, self._shape[0])
        if layer not in self._written:
            raise ValueError(f"layer {layer}; this file has layers {self._layers}")
        if values.shape != (len(rows), self._shape[1]):
            raise ValueError(
                f"layer {layer}: values of shape {values.shape} for {len(rows)} rows of width "
                f"{self._shape[1]}"
            )
        order = np.argsort(rows, kind="stable")
        rows, values = rows[order], values[order]
        # Before encoding too: rounding the bits of a NaN could make a number of it.
        self._refuse_non_finite(layer, rows, values)
        stored = encode(values, self._dtype)
        if stored.dtype != values.dtype:
            self._refuse_non_finite(layer, rows, decode(stored, self._dtype))
        self._write_runs(self._file["layers"][f"{layer:02d}"].id, rows, stored)
        self._written[layer][rows] = True

    def close(self) -> None:
        """Add the checksums and give the file its final name.

        Raises
        ------
        ValueError
            Some rows of a layer were never written.
        """
        try:
            self._check_all_written()
            for layer in self._layers:
                self._write_checksums(layer)
            self._file.close()
            _flush_to_disk(self._partial)
            os.replace(self._partial, self.path)
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Close and remove the partial file."""
        self._file.close()
        self._partial.unlink(missing_ok=True)

    def _check_tables(self) -> None:
        n_tokens = self._shape[0]
        if not self._layers or len(set(self._layers)) < len(self._layers) or self._layers[0] < 0:
            raise ValueError(f"layers={self._layers}; one or more different numbers from 0 up")
        if n_tokens == 0:
            raise ValueError("there are no tokens to write")
        if any(len(column) != n_tokens for column in self._tokens.values()):
            lengths = {name: len(column) for name, column in self._tokens.items()}
            raise ValueError(f"columns of tokens differ in length: {lengths}")
        offsets = self._offsets
        if (
            len(offsets) != len(self._samples) + 1
            or offsets[0] != 0
            or offsets[-1] != n_tokens
            or np.any(np.diff(offsets) < 0)
        ):
            raise ValueError(
                f"sample_offsets must rise from 0 to {n_tokens} in {len(self._samples) + 1} steps"
            )
        if len(set(self._samples)) < len(self._samples):
            raise ValueError("ids of samples must be unique")
        sample = np.repeat(np.arange(len(self._samples)), np.diff(offsets))
        if len(np.unique((sample << 32) + self._tokens["char_end"])) < n_tokens:
            raise ValueError("two rows of one sample end at the same character")

    def _write_tables(self) -> None:
        file = self._file
        write_header(file.attrs, self._header)
        samples = file.create_group("samples")
        samples.create_dataset("id", data=fixed_text(self._samples))
        samples.create_dataset("offset", data=self._offsets.astype("<i8"))
        write_header(samples.attrs, {"sha256": table_digest([self._offsets], self._samples)})
        tokens = file.create_group("tokens")
        for name, column in self._tokens.items():
            tokens.create_dataset(name, data=column.astype("<i4"))
        write_header(tokens.attrs, {"sha256": table_digest(self._tokens.values())})
        layers = file.create_group("layers")
        for layer in self._layers:
            layers.create_dataset(
                f"{layer:02d}",
                shape=self._shape,
                dtype=STORED_TYPES[self._dtype],
                dcpl=_allocated_at_once(),
                fill_time="never",
            )
        checksums = file.create_group("checksums")
        write_header(checksums.attrs, {"header": header_digest(read_header(file.attrs))})

    def _write_runs(
        self, dataset: h5py.h5d.DatasetID, rows: np.ndarray, stored: np.ndarray
    ) -> None:
        """Write ascending rows by their runs; h5py's low level, as runs are many and short."""
        width = self._shape[1]
        in_file = dataset.get_space()
        for start, stop in runs(rows):
            in_file.select_hyperslab((int(rows[start]), 0), (stop - start, width))
            in_memory = h5py.h5s.create_simple((stop - start, width))
            dataset.write(in_memory, in_file, stored[start:stop])

    def _write_checksums(self, layer: int) -> None:
        digests = block_digests(self._file["layers"][f"{layer:02d}"], BLOCK_ROWS)
        checksums = self._file["checksums"].create_dataset(f"{layer:02d}", data=digests)
        write_header(checksums.attrs, {"rows": BLOCK_ROWS, "sha256": layer_digest(digests)})

    def _check_all_written(self) -> None:
        for layer, written in self._written.items():
            if not written.all():
                raise ValueError(
                    f"{self.path}: layer {layer} was not written in full: "
                    f"{np.count_nonzero(~written)} of {len(written)} rows are missing, the first "
                    f"is row {np.argmin(written)}"
                )

    def _refuse_non_finite(self, layer: int, rows: np.ndarray, values: np.ndarray) -> None:
        finite = np.isfinite(values).all(axis=1)
        if finite.all():
            return
        row = int(rows[np.argmin(finite)])
        sample = self._samples[int(np.searchsorted(self._offsets, row, side="right")) - 1]
        raise UserError(
            f"model {self._header.get('model', 'of unknown name')}, data set "
            f"{self._header.get('dataset', 'of unknown name')}: the hidden states of layer {layer} "
            f"have NaN or infinite values in sample {sample!r} (token position "
            f"{self._tokens['position'][row]}), stored as {self._dtype}. Only finite values are "
            "kept. Check the model's weights, or load it and store it with a wider dtype (float32)."
        )


def _allocated_at_once() -> h5py.h5p.PropDCID:
    """Data sets get their place in the file when made: same bytes whatever is written first."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    return properties


def _flush_to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())

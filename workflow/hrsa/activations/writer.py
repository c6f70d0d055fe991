"""Writing an activation file: complete or not there, and going on after a kill where it stopped.

HDF5 makes the unfinished file, with every group, data set and attribute that the finished one will
have, and is closed before the first hidden state comes. Layers lie in it contiguously, so their
rows are written by the system's own calls at their places: nothing of HDF5 is ever half done when a
kill comes, and no error of the disk passes through it.
"""

import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hrsa.activations import journal
from hrsa.activations.checksums import BLOCK_ROWS, block_digests, layer_digest, table_digest
from hrsa.activations.disk import (
    bring_to_disk,
    bytes_held,
    check_free,
    full_disk_told,
    write_all,
)
from hrsa.activations.encoding import STORED_TYPES, decode, encode
from hrsa.activations.header import (
    SCHEMA_VERSION,
    Header,
    first_difference,
    flat_header,
    header_digest,
    plain,
)
from hrsa.activations.layout import (
    finish_header,
    identity_of,
    make_layers,
    replace_digests,
    write_tables,
)
from hrsa.activations.rows import (
    TOKEN_COLUMNS,
    Run,
    check_tables,
    grouped_runs,
    row_blocks,
    row_numbers,
)
from hrsa.errors import UserError

_PIECE_VALUES = 2**18


class ActivationWriter:
    """Writes an activation file: the tables at once, layers by rows in any order.

    Everything goes to `<path>.partial`; `close` adds the checksums and renames it to `path`, so
    that a file at `path` is always complete. When a `with` block ends in an exception, the partial
    file is removed, or with `resume` kept, and `path` is left as it was.

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
        "float32", "float64", "bfloat16" or "float16".
    resume
        Go on with an unfinished file that was made with the same header, tables, layers, width and
        dtype; where there is another one or none, start afresh. What `commit` was told outlasts a
        kill and a loss of power.

    Attributes
    ----------
    resumed : bool array (n_tokens)
        Rows that the unfinished file has already, in all layers; the others are to be written.
    origin : str
        One sentence for a log on what became of an unfinished file; "" where there was none.

    Raises
    ------
    UserError
        The disk has too little space, or another process is writing this file.
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
        resume: bool = False,
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
        self._resume = resume
        self._check_layers()
        check_tables(self._samples, self._offsets, self._tokens)
        self._row_bytes = self._shape[1] * STORED_TYPES[dtype].itemsize
        self._size = self._shape[0] * (len(self._layers) * self._row_bytes + 16)
        identity = self._identity()
        self._file = -1
        self._pending: list[np.ndarray] = []
        self._synced_at = time.monotonic()
        with self._full_disk_told(kept=False):
            self._journal = journal.Journal(self.path)
            self._begin(identity)
        self._written = {layer: self.resumed.copy() for layer in self._layers}

    def __enter__(self) -> "ActivationWriter":
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is None:
            self.close()
        else:
            self._leave()

    def write(
        self,
        layer: int,
        rows: slice | np.ndarray,
        values: np.ndarray,
        places: np.ndarray | None = None,
    ) -> None:
        """Write hidden states of some rows of one layer.

        Parameters
        ----------
        layer
            One of the layers that the file was made with.
        rows
            Rows of the finished file: a slice or integers (n), in any order.
        values : array (n × width), or with `places` of any number of rows
        places : int array (n), optional
            Which rows of `values` they are. Consecutive ones are written without being copied.

        Raises
        ------
        UserError
            A value is NaN or infinite (also after rounding to the stored type); the text names
            the model, the sample and the layer. Or the disk is full.
        ValueError
            The shape or the rows do not fit.
        """
        if isinstance(rows, slice):
            rows = np.arange(self._shape[0])[rows]
        rows = row_numbers(rows, self._shape[0])
        if layer not in self._written:
            raise ValueError(f"layer {layer}; this file has layers {self._layers}")
        n_given = len(values if places is None else places)
        if values.shape[1:] != self._shape[1:] or n_given != len(rows):
            raise ValueError(
                f"layer {layer}: values of shape {values.shape} for {len(rows)} rows of width "
                f"{self._shape[1]}"
            )
        places = np.arange(len(rows)) if places is None else row_numbers(places, len(values))
        if np.any(rows[1:] < rows[:-1]):
            order = np.argsort(rows, kind="stable")
            rows, places = rows[order], places[order]
        # A few rows at a time stay in the processor's cache from one step to the next.
        most = max(1, _PIECE_VALUES // self._shape[1])
        with self._full_disk_told():
            for piece in grouped_runs(rows, places, most):
                self._write_piece(layer, piece, values)
        self._written[layer][rows] = True

    def commit(self, rows: slice | np.ndarray) -> None:
        """Say that all layers of some rows are written, so that a later run may skip them.

        They are brought to disk and noted in the journal, together with those of other calls, once
        every `hrsa.activations.journal.SYNC_SECONDS`. Nothing is done without `resume`.

        Raises
        ------
        UserError
            The disk is full.
        ValueError
            A layer of these rows was not written.
        """
        if isinstance(rows, slice):
            rows = np.arange(self._shape[0])[rows]
        rows = row_numbers(rows, self._shape[0])
        missing = [layer for layer, written in self._written.items() if not written[rows].all()]
        if missing:
            raise ValueError(f"rows are committed that were not written in layers {missing}")
        if not self._resume:
            return
        self._pending.append(rows)
        if time.monotonic() - self._synced_at >= journal.SYNC_SECONDS:
            self._commit_pending()

    def close(self) -> None:
        """Add the checksums and give the file its final name.

        Raises
        ------
        UserError
            The disk is full.
        ValueError
            Some rows of a layer were never written.
        """
        try:
            self._check_all_written()
            with self._full_disk_told():
                self._finish()
        except BaseException:
            self._leave()
            raise

    def abort(self) -> None:
        """Close and remove the partial file and its journal."""
        self._close_partial()
        self._partial.unlink(missing_ok=True)
        self._journal.remove()

    def _leave(self) -> None:
        """After a failure: keep what was written for a later run, if there may be one."""
        if not self._resume:
            self.abort()
            return
        with suppress(OSError, UserError):
            self._commit_pending()
        self._close_partial()
        self._journal.close()

    def _write_piece(self, layer: int, piece: Sequence[Run], values: np.ndarray) -> None:
        """Write runs of rows that lie near each other in `values`."""
        low = piece[0].place
        near = values[low : piece[-1].place + piece[-1].length]  # what lies between them, too
        stored = encode(near, self._dtype)
        # Before encoding too: rounding the bits of a NaN could make a number of it.
        checks = [(near, "NaN or infinite values")]
        if stored.dtype != near.dtype:
            checks.append((decode(stored, self._dtype), f"values too large for {self._dtype}"))
        for found, what in checks:
            if not _is_finite(found):
                for run in piece:
                    part = found[run.place - low : run.place - low + run.length]
                    self._refuse_non_finite(layer, run.row, part, what)
        for run in piece:
            part = stored[run.place - low : run.place - low + run.length]
            place = self._places[layer] + run.row * self._row_bytes
            write_all(self._file, part.view(np.uint8), place)

    def _check_layers(self) -> None:
        if not self._layers or len(set(self._layers)) < len(self._layers) or self._layers[0] < 0:
            raise ValueError(f"layers={self._layers}; one or more different numbers from 0 up")

    def _identity(self) -> Header:
        """What makes two unfinished files the same but for the rows that they have."""
        return {name: plain(value) for name, value in flat_header(self._header).items()} | {
            "table of samples": table_digest([self._offsets], self._samples),
            "table of tokens": table_digest(self._tokens.values()),
            "set of layers": self._layers,
            "width": self._shape[1],
        }

    def _begin(self, identity: Header) -> None:
        """Open the unfinished file that goes on, or make a new one."""
        try:
            committed, self.origin = self._unfinished(identity)
            afresh = committed is None
            self.resumed = np.zeros(self._shape[0], dtype=bool) if committed is None else committed
            committed_bytes = np.count_nonzero(self.resumed) * len(self._layers) * self._row_bytes
            # Not every file system knows how much of a file with holes it holds.
            held = max(bytes_held(self._partial), int(committed_bytes))
            check_free(self.path, self._size, held)
        except BaseException:
            # Nothing was changed yet; a journal without a file was made just now.
            if self._partial.exists():
                self._journal.close()
            else:
                self._journal.remove()
            raise
        try:
            if afresh:
                self._start_afresh(identity)
            with h5py.File(self._partial, "r", locking=False) as file:
                self._places = {
                    layer: file["layers"][f"{layer:02d}"].id.get_offset() for layer in self._layers
                }
            self._file = os.open(self._partial, os.O_WRONLY | os.O_CLOEXEC)
        except BaseException:
            if afresh:
                self.abort()
            else:
                self._leave()
            raise

    def _unfinished(self, identity: Header) -> tuple[np.ndarray | None, str]:
        """Rows that an unfinished file has, None if it cannot go on; and what to say of it."""
        if not self._resume or not self._partial.exists():
            return None, ""
        digest, committed = self._journal.read(self._shape[0])
        if not digest:
            return None, "starting afresh: the unfinished file has no journal"
        try:
            with h5py.File(self._partial, "r", locking=False) as file:
                found = identity_of(file)
        except (OSError, KeyError, RuntimeError, TypeError, ValueError):
            return None, "starting afresh: the unfinished file cannot be read"
        other = first_difference(found, identity)
        if other is not None:
            return None, f"starting afresh: the unfinished file was made with another {other}"
        if digest != header_digest(identity):
            return None, "starting afresh: the journal is not the unfinished file's"
        done = int(np.count_nonzero(committed))
        return committed, f"going on after {done} of {self._shape[0]} tokens"

    def _start_afresh(self, identity: Header) -> None:
        self._journal.clear()
        with h5py.File(self._partial, "w", locking=False) as file:
            write_tables(file, self._header, self._samples, self._offsets, self._tokens)
            stored = STORED_TYPES[self._dtype]
            make_layers(file, self._layers, self._shape, stored, BLOCK_ROWS)
        if self._resume:
            bring_to_disk(self._partial)
            bring_to_disk(self._partial.parent)
            self._journal.start(header_digest(identity))

    def _commit_pending(self) -> None:
        """Bring rows to disk, and then say so in the journal; never the other way round.

        Rows whose bytes could not be brought there are forgotten: after one failure the system
        may report success although they are lost.
        """
        pending, self._pending = self._pending, []
        if not pending:
            return
        with self._full_disk_told():
            os.fsync(self._file)
            self._journal.commit(np.unique(np.concatenate(pending)))
        self._synced_at = time.monotonic()

    def _finish(self) -> None:
        with ThreadPoolExecutor(max_workers=1) as pool:
            # Bytes go to the disk, which takes waiting, beside their checksums, which take work.
            committing = pool.submit(self._commit_pending)
            digests = self._block_digests()
            committing.result()
        self._close_partial()
        with h5py.File(self._partial, "r+", locking=False) as file:
            for layer, of_layer in digests.items():
                replace_digests(file, layer, of_layer, layer_digest(of_layer))
            finish_header(file)
        bring_to_disk(self._partial)
        os.replace(self._partial, self.path)
        bring_to_disk(self.path.parent)
        self._journal.remove()

    def _block_digests(self) -> dict[int, np.ndarray]:
        blocks = row_blocks(self._shape[0], BLOCK_ROWS)
        with h5py.File(self._partial, "r", locking=False) as file:
            return {
                layer: block_digests(file["layers"][f"{layer:02d}"], blocks)
                for layer in self._layers
            }

    def _close_partial(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _full_disk_told(self, *, kept: bool | None = None) -> AbstractContextManager[None]:
        kept = self._resume if kept is None else kept
        return full_disk_told(self.path, self._partial, size=self._size, kept=kept)

    def _check_all_written(self) -> None:
        for layer, written in self._written.items():
            if not written.all():
                raise ValueError(
                    f"{self.path}: layer {layer} was not written in full: "
                    f"{np.count_nonzero(~written)} of {len(written)} rows are missing, the first "
                    f"is row {np.argmin(written)}"
                )

    def _refuse_non_finite(self, layer: int, first: int, values: np.ndarray, what: str) -> None:
        finite = np.isfinite(values).all(axis=1)
        if finite.all():
            return
        row = first + int(np.argmin(finite))
        sample = self._samples[int(np.searchsorted(self._offsets, row, side="right")) - 1]
        raise UserError(
            f"model {self._header.get('model', 'of unknown name')}, data set "
            f"{self._header.get('dataset', 'of unknown name')}: the hidden states of layer {layer} "
            f"have {what} in sample {sample!r} (token position {self._tokens['position'][row]}), "
            f"stored as {self._dtype}. Only finite values are kept. Check the model's weights, or "
            "load it and store it with a dtype of wider range (bfloat16, float32)."
        )


def _is_finite(values: np.ndarray) -> bool:
    """Whether all values are finite; False now and then where they are and their sum is not."""
    with np.errstate(invalid="ignore", over="ignore"):
        return bool(np.isfinite(values.sum()))  # a NaN or an infinity stays one in every sum

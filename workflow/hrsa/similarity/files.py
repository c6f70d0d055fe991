"""Two files to compare: activation files as they are, or plain arrays made into such files.

A `.npy` or `.safetensors` array becomes an activation file of a single layer in a temporary folder,
so that every metric reads it as it reads any other, from disk and a part at a time.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hrsa.activations.alignment import PairedRows, paired_rows
from hrsa.activations.encoding import decode
from hrsa.activations.rows import row_blocks
from hrsa.activations.store import Activations, open_activations
from hrsa.activations.writer import ActivationWriter
from hrsa.errors import UserError
from hrsa.similarity.arrays import (
    check_form,
    check_same_length,
    non_finite,
    warn_if_transposed,
)
from hrsa.similarity.layers import join_notes, matched_layers
from hrsa.similarity.neighbours import Exclusion
from hrsa.statistics.blocks import sample_codes

ACTIVATIONS = (".h5", ".hdf5")
ARRAYS = (".npy", ".safetensors")
# Rows of an array that are in memory at once.
_BLOCK_ROWS = 4096


@dataclass(frozen=True, eq=False)
class OpenPair:
    """Two open files with their common rows: what the metrics over layers take.

    Attributes
    ----------
    reference, candidate : Activations
        Open files.
    rows : PairedRows
        Matched rows.
    exclude : tuple of {"self", "sample", "type"}
        Exclusions of neighbours that the files can tell.
    has_layers : bool
        Whether layer numbers mean something: not with arrays, which are a single layer.
    labels : dict of str to str
        Values of the columns pair, reference, candidate and dataset.
    shown : list of (int, int)
        Matched layers to show beside the means: those asked for, else the first and the last.
    note : str
        What is to be known of every number, else empty.
    """

    reference: Activations
    candidate: Activations
    rows: PairedRows
    exclude: tuple[Exclusion, ...]
    has_layers: bool
    labels: dict[str, str]
    shown: list[tuple[int, int]]
    note: str


@contextmanager
def open_pair(
    reference: Path,
    candidate: Path,
    *,
    layers: Sequence[int] | None = None,
    tensor: str | None = None,
    samples: Path | None = None,
    tokens: Path | None = None,
) -> Iterator[OpenPair]:
    """Open two activation files, or two arrays, for comparison.

    Parameters
    ----------
    reference, candidate : Path
        Two activation files (`.h5`), or two arrays (`.npy`, `.safetensors`) with matched rows.
    layers : sequence of int, or None
        Layers of the reference, each with the candidate's that matches it; None: all.
    tensor : str, or None
        Name of the array in a `.safetensors` file that holds several.
    samples, tokens : Path, or None
        `.npy` files with the sample and the token of each row of the arrays, any labels. Without
        `samples` each row counts as its own.

    Yields
    ------
    OpenPair

    Warns
    -----
    UserWarning
        When an array has fewer rows than columns.

    Raises
    ------
    UserError
        When a file cannot be read, does not match its checksums or the other file, holds NaN or
        infinity, or an option does not fit the kind of file.
    ValueError
        When an array is no matrix of real numbers, or the numbers of rows differ.
    """
    kinds = [_kind(path) for path in (reference, candidate)]
    options = {"--tensor": tensor, "--samples": samples, "--tokens": tokens}
    with ExitStack() as stack:
        if kinds == [ACTIVATIONS, ACTIVATIONS]:
            _refuse(options, "is for arrays: an activation file has its own samples and tokens")
            left, right = (
                stack.enter_context(open_activations(path, verify=True))
                for path in (reference, candidate)
            )
            if layers is not None:
                _keep_layers(left, right, layers)
        elif kinds == [ARRAYS, ARRAYS]:
            _refuse({"--layers": layers}, "is for activation files: an array is a single layer")
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hrsa-")))
            written = _write_arrays((reference, candidate), folder, tensor, samples, tokens)
            left, right = (stack.enter_context(open_activations(path)) for path in written)
            left.path, right.path = reference, candidate  # what messages name
        else:
            raise UserError(
                f"{reference} and {candidate}: one is an activation file and one an array, whose "
                "rows have no ids to match by. Give two of a kind."
            )
        yield OpenPair(
            reference=left,
            candidate=right,
            rows=paired_rows(left, right),
            exclude=_exclusions(kinds[0] is ACTIVATIONS, samples, tokens),
            has_layers=kinds[0] is ACTIVATIONS,
            labels=_labels(left, right),
            shown=_shown_layers(left, right, layers),
            note=join_notes(_attention_note(left, right), _layers_note(layers)),
        )


def _kind(path: Path) -> tuple[str, ...]:
    for kind in (ACTIVATIONS, ARRAYS):
        if path.suffix.lower() in kind:
            return kind
    raise UserError(
        f"{path}: a file to compare is an activation file ({', '.join(ACTIVATIONS)}) or an array "
        f"({', '.join(ARRAYS)}), by its ending; this one ends in {path.suffix or 'nothing'!r}."
    )


def _refuse(options: Mapping[str, object], reason: str) -> None:
    for name, value in options.items():
        if value is not None:
            raise UserError(f"{name} {reason}. Leave it out.")


def _keep_layers(reference: Activations, candidate: Activations, layers: Sequence[int]) -> None:
    """Leave only the layers that were asked for in what the metrics see of two files."""
    unknown = sorted(set(layers) - set(reference.layers))
    if unknown or not layers:
        raise UserError(
            f"{reference.path}: --layers asks for {unknown[0] if unknown else 'none'}; the file "
            f"stores layers {', '.join(map(str, reference.layers))}."
        )
    pairs = [pair for pair in matched_layers(reference, candidate).pairs if pair[0] in layers]
    reference.layers = [i for i, _ in pairs]
    candidate.layers = sorted({j for _, j in pairs})


def _write_arrays(
    paths: tuple[Path, Path],
    folder: Path,
    tensor: str | None,
    samples: Path | None,
    tokens: Path | None,
) -> tuple[Path, Path]:
    """Write two arrays as activation files; rows of one sample come together there."""
    if tensor is not None and all(path.suffix.lower() == ".npy" for path in paths):
        raise UserError("--tensor is for .safetensors files: a .npy file holds one array.")
    x, y = (_read_array(path, tensor) for path in paths)
    for array, path in zip((x, y), paths, strict=True):
        check_form(array, str(path))
    check_same_length(x.shape, y.shape)
    warn_if_transposed(x.shape, y.shape)
    n_rows = len(x)
    codes = sample_codes(_read_labels(samples, n_rows, "sample"), n_rows)
    token_ids = sample_codes(_read_labels(tokens, n_rows, "token"), n_rows)
    written = folder / "reference.h5", folder / "candidate.h5"
    for array, source, target in zip((x, y), paths, written, strict=True):
        _write_array(array, source, target, codes, token_ids)
    return written


def _write_array(
    array: np.ndarray, source: Path, target: Path, codes: np.ndarray, token_ids: np.ndarray
) -> None:
    order = np.argsort(codes, kind="stable")
    place = np.argsort(order)
    sizes = np.bincount(codes)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    # Counted from 1: position 0 is a place of its own in a text, which rows of an array are not.
    position = np.arange(len(codes)) - np.repeat(offsets[:-1], sizes) + 1
    narrow = array.dtype.kind == "f" and array.dtype.itemsize <= np.dtype(np.float32).itemsize
    dtype = np.dtype(np.float32 if narrow else np.float64)
    with ActivationWriter(
        target,
        header={"model": source.stem, "dataset": ""},
        samples=[str(sample) for sample in range(len(sizes))],
        sample_offsets=offsets,
        tokens={
            "id": token_ids[order],
            "position": position,
            "char_start": position - 1,
            "char_end": position,
        },
        layers=[0],
        width=array.shape[1],
        dtype=dtype.name,
    ) as writer:
        for block in row_blocks(len(array), _BLOCK_ROWS):
            values = np.asarray(array[block]).astype(dtype)
            fault = non_finite(values, rows=np.arange(block.start, block.stop))
            if fault:
                raise UserError(f"{source} holds {fault}. Metrics need finite numbers.")
            writer.write(0, place[block], values)


def _read_array(path: Path, tensor: str | None) -> np.ndarray:
    """Map an array from its file; bfloat16 comes as float32."""
    if path.suffix.lower() == ".npy":
        return _load_npy(path)
    # Imported here: those who give no such file should not wait for it.
    from safetensors import SafetensorError, safe_open

    _check_exists(path)
    try:
        with safe_open(path, framework="numpy") as file:
            name = _tensor_name(path, list(file.keys()), tensor)
            if file.get_slice(name).get_dtype() == "BF16":
                return _read_bfloat16(path, name)
            return file.get_tensor(name)
    except (SafetensorError, OSError, TypeError) as error:
        raise UserError(f"{path}: this array cannot be read ({error}).") from None


def _tensor_name(path: Path, names: list[str], wanted: str | None) -> str:
    found = ", ".join(sorted(names)) or "none"
    if wanted is None and len(names) == 1:
        return names[0]
    if wanted is None:
        raise UserError(f"{path}: say by --tensor which array to compare; it holds {found}.")
    if wanted not in names:
        raise UserError(f"{path}: there is no array {wanted!r}; it holds {found}.")
    return wanted


def _read_bfloat16(path: Path, name: str) -> np.ndarray:
    # NumPy has no such type, so that the library gives none: the bits are read instead.
    from safetensors import deserialize

    stored = dict(deserialize(path.read_bytes()))[name]
    bits = np.frombuffer(stored["data"], dtype="<u2").reshape(stored["shape"])
    return decode(bits, "bfloat16")


def _load_npy(path: Path) -> np.ndarray:
    _check_exists(path)
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except (ValueError, OSError, EOFError) as error:
        raise UserError(
            f"{path}: this is no readable .npy file of numbers or text ({error})."
        ) from None


def _check_exists(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"{path}: there is no such file.")


def _read_labels(path: Path | None, n_rows: int, what: str) -> np.ndarray | None:
    if path is None:
        return None
    labels = np.asarray(_load_npy(path))
    if labels.shape != (n_rows,):
        raise UserError(
            f"{path} must name the {what} of each of the {n_rows} rows, got shape {labels.shape}."
        )
    return labels


def _exclusions(of_files: bool, samples: Path | None, tokens: Path | None) -> tuple[Exclusion, ...]:
    found: tuple[Exclusion, ...] = ("self",)
    if of_files or samples is not None:
        found = (*found, "sample")
    if tokens is not None:
        found = (*found, "type")
    return found


def _labels(reference: Activations, candidate: Activations) -> dict[str, str]:
    """Names of a comparison: the files' own, or their folders' where both files are named alike."""
    paths = [reference.path, candidate.path]
    names = [path.stem for path in paths]
    if names[0] == names[1]:
        names = [path.resolve().parent.name for path in paths]
    return {
        "pair": "~".join(names),
        "reference": str(reference.attrs.get("model") or names[0]),
        "candidate": str(candidate.attrs.get("model") or names[1]),
        "dataset": str(reference.attrs.get("dataset") or ""),
    }


def _shown_layers(
    reference: Activations, candidate: Activations, asked: Sequence[int] | None
) -> list[tuple[int, int]]:
    pairs = matched_layers(reference, candidate).pairs
    return pairs if asked is not None or len(pairs) == 1 else [pairs[0], pairs[-1]]


def _layers_note(asked: Sequence[int] | None) -> str:
    return "" if asked is None else f"only layers {', '.join(map(str, sorted(set(asked))))}"


def _attention_note(reference: Activations, candidate: Activations) -> str:
    modes = [side.attrs.get("attention") for side in (reference, candidate)]
    if modes[0] == modes[1]:
        return ""
    return f"attention differs: reference {modes[0]}, candidate {modes[1]}"

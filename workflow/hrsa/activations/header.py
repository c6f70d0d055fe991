"""The header of an activation file: what was read, by which model, how, with which libraries."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import h5py
import numpy as np

SCHEMA_VERSION = 1
# Raised when an extraction comes to give other states or other rows.
EXTRACTION_VERSION = 1
# Stands where the digest of a header or a layer will be; of its length, and no file's digest.
NO_DIGEST = "0" * 64
LIBRARIES = ("torch", "transformers", "h5py", "numpy")

Header = dict[str, Any]


def extraction_header(
    header: Mapping[str, Any],
    *,
    layers: str | Sequence[int] = "all",
    dtype: str = "float32",
    max_length: int = 512,
    max_tokens: int | None = None,
    sampling_seed: int = 0,
) -> Header:
    """Everything that is known of a file before its model is loaded.

    `extract_activations` writes it, and `header_matches` compares it with a finished file: the
    same arguments there and here keep a file exactly when it would come out the same.

    Parameters
    ----------
    header
        What the caller knows: model, model_sha256, dataset, dataset_sha256, tokenizer_sha256,
        attention, template, seed; and of an embedding model `pooling`, how its folder pools (see
        `hrsa.models.embedding.pooling_of`). Values are text, numbers, booleans, None, or a mapping
        of these. A `pooling` of None is left out: a file of a plain language model has none.
    layers, dtype, max_length, max_tokens, sampling_seed
        As in `extract_activations`.

    Returns
    -------
    dict with those, `schema_version` and `library_versions`.
    """
    # Files from before the entry stay those of the same plain models.
    known = {name: one for name, one in header.items() if name != "pooling" or one is not None}
    return {
        "library_versions": {name: version(name) for name in LIBRARIES},
        **known,
        "schema_version": SCHEMA_VERSION,
        "layers": layers if isinstance(layers, str) else ",".join(str(int(i)) for i in layers),
        "dtype": dtype,
        "max_length": max_length,
        "max_tokens": max_tokens,
        "sampling_seed": sampling_seed,
    }


def write_header(attributes: h5py.AttributeManager, header: Mapping[str, Any]) -> None:
    """Write a header as HDF5 attributes; a mapping inside it becomes `outer.inner` names."""
    for name, value in sorted(flat_header(header).items()):
        if isinstance(value, str):
            attributes[name] = fixed_text([value]).reshape(())
        else:
            attributes[name] = h5py.Empty("S1") if value is None else value


def header_digest(header: Mapping[str, Any]) -> str:
    """SHA-256 of a header as it is read back."""
    return hashlib.sha256(json.dumps(header, sort_keys=True).encode()).hexdigest()


def fixed_text(texts: Sequence[str]) -> np.ndarray:
    """Text as HDF5 strings of one length (n).

    Strings of variable length lie in a heap whose damage can make HDF5 read without end.
    """
    encoded = [text.encode() for text in texts]
    length = max(1, *map(len, encoded))
    return np.array(encoded, dtype=h5py.string_dtype("utf-8", length))


def read_header(attributes: h5py.AttributeManager) -> Header:
    """Read a header back as plain Python values."""
    header: Header = {}
    for name in sorted(attributes):
        outer, _, inner = name.partition(".")
        value = plain(attributes[name])
        if inner:
            header.setdefault(outer, {})[inner] = value
        else:
            header[outer] = value
    return header


def replace_text(attributes: h5py.AttributeManager, name: str, text: str) -> None:
    """Write a text attribute over one of the same length, in its place in the file."""
    attributes.get_id(name).write(fixed_text([text]).reshape(()))


def first_difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str | None:
    """Name of the first entry that one of two flat headers has not, or has with another value."""
    for name in (*wanted, *found):
        if name not in found or name not in wanted or found[name] != wanted[name]:
            return name
    return None


def flat_header(header: Mapping[str, Any]) -> Header:
    """A header with `outer.inner` names in place of its mappings.

    Raises
    ------
    ValueError
        A value cannot be stored.
    """
    flat: Header = {}
    for name, value in header.items():
        items = (
            {f"{name}.{inner}": item for inner, item in value.items()}
            if isinstance(value, Mapping)
            else {name: value}
        )
        for key, item in items.items():
            if not isinstance(item, str | int | float | bool | np.generic | None):
                raise ValueError(
                    f"header value {key}={item!r} is a {type(item).__name__}; allowed are text, "
                    "numbers, booleans, None, and one level of mapping"
                )
        flat.update(items)
    return flat


def plain(value: Any) -> Any:
    """An attribute as a plain Python value."""
    if isinstance(value, h5py.Empty):
        return None
    if isinstance(value, bytes):
        return value.decode()
    return value.item() if isinstance(value, np.generic) else value

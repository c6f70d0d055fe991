"""Activations of one model on one data set: extracted, stored, matched with another model's.

The public names are imported on first use, so that reading a file does not import torch.
"""

from importlib import import_module
from typing import Any

_MODULES = {
    "ActivationWriter": "writer",
    "Activations": "store",
    "PairedRows": "alignment",
    "extract_activations": "extraction",
    "extraction_header": "header",
    "header_matches": "store",
    "join_shards": "shards",
    "open_activations": "store",
    "paired_rows": "alignment",
    "pooled_samples": "pooling",
    "row_set": "alignment",
    "sample_means": "pooling",
}
__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    """Import a public name from its module when it is first asked for (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)

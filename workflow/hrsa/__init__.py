"""HRSA: hierarchical representation similarity analysis of language and embedding models."""

from typing import Any

__all__ = ["compare_models"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for (PEP 562): it brings half the library."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hrsa.two_models import compare_models

    return compare_models

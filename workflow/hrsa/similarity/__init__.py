"""How alike two models' representations are: one function per metric.

``from hrsa.similarity import linear_cka`` loads the module of that metric alone (PEP 562), so that
whoever needs no probe does not wait for scikit-learn.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hrsa.similarity.cka import cka_layers, linear_cka
    from hrsa.similarity.correlation import correlation_layers, dimension_correlation
    from hrsa.similarity.knn import knn_layers, knn_overlap
    from hrsa.similarity.orthogonal_procrustes import procrustes, procrustes_layers
    from hrsa.similarity.probe import cross_model_probe, probe_layers

__all__ = [
    "cka_layers",
    "correlation_layers",
    "cross_model_probe",
    "dimension_correlation",
    "knn_layers",
    "knn_overlap",
    "linear_cka",
    "probe_layers",
    "procrustes",
    "procrustes_layers",
]

# No module bears the name of a function: the module, once imported, would stand in its place.
_HOME = {
    "cka_layers": "cka",
    "correlation_layers": "correlation",
    "cross_model_probe": "probe",
    "dimension_correlation": "correlation",
    "knn_layers": "knn",
    "knn_overlap": "knn",
    "linear_cka": "cka",
    "probe_layers": "probe",
    "procrustes": "orthogonal_procrustes",
    "procrustes_layers": "orthogonal_procrustes",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

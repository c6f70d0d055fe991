"""Two models in one line: their hidden states go to a cache, then every metric that applies.

For those who want a table and no study. What was extracted once is not extracted again, whichever
models it is compared with.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hrsa.activations.header import EXTRACTION_VERSION, extraction_header, header_digest
from hrsa.activations.texts import Truncation
from hrsa.data.datasets import load_dataset
from hrsa.errors import UserError
from hrsa.figures.heatmaps import SHOWN, draw_metric
from hrsa.figures.style import save
from hrsa.models.attention import Attention
from hrsa.models.embedding import end_mark, pooling_of
from hrsa.models.model_files import check_model_folder, is_gguf, weights_sha256
from hrsa.models.retrieve import configuration_sha256, retrieve
from hrsa.similarity.files import OpenPair, open_pair
from hrsa.similarity.pair_table import pair_table
from hrsa.statistics.permutation import N_PERMUTATIONS

CACHE_VARIABLE = "HRSA_CACHE"


@dataclass(frozen=True)
class Reading:
    """How models are read; see `hrsa.activations.extraction.extract_activations`."""

    attention: Attention | None = None
    layers: str | Sequence[int] = "all"
    dtype: str = "float32"
    max_length: int = 512
    truncation: Truncation = "end"
    token_budget: int = 4096
    device: str = "auto"


def compare_models(
    reference: str | Path,
    candidate: str | Path,
    texts: Sequence[str] | pd.DataFrame | str | Path,
    *,
    reading: Reading | None = None,
    metrics: Sequence[str] | None = None,
    ks: Sequence[int] = (10,),
    n_permutations: int = N_PERMUTATIONS,
    figures: str | Path | None = None,
    cache: str | Path | None = None,
) -> pd.DataFrame:
    """Compare two models by their hidden states on some texts.

    Parameters
    ----------
    reference, candidate : str or Path
        A model folder, a GGUF file, or a repository of the hub, as owner/name or
        owner/name@revision.
    texts : sequence of str, DataFrame, str or Path
        The texts; a table with columns id and text; or a file (JSONL, CSV, Parquet with a column
        text; plain text, one a line).
    reading : Reading, optional
        How the models are read: attention, layers, longest text, …
    metrics, ks, n_permutations
        As for `hrsa.similarity.pair_table.pair_table`.
    figures : str or Path, optional
        Folder for heat maps of the metrics that have them.
    cache : str or Path, optional
        Folder for what is downloaded and extracted. Left out: that of the environment variable
        HRSA_CACHE, else ``hrsa`` in the user's cache folder.

    Returns
    -------
    pandas.DataFrame
        Rows of the similarity table (`hrsa.similarity.results.SIMILARITY_COLUMNS`).

    Raises
    ------
    UserError
        A model or the texts cannot be read, or the two have too little in common.
    """
    files = activation_files(reference, candidate, texts, reading=reading, cache=cache)
    with open_models(files, reference, candidate) as pair:
        table = pair_table(pair, metrics, ks=ks, n_permutations=n_permutations)
    if figures is not None:
        draw_heatmaps(table, Path(figures))
    return table


def activation_files(
    reference: str | Path,
    candidate: str | Path,
    texts: Sequence[str] | pd.DataFrame | str | Path,
    *,
    reading: Reading | None = None,
    cache: str | Path | None = None,
) -> tuple[Path, Path]:
    """The activation files of two models; parameters and errors as for `compare_models`."""
    how, folder = reading or Reading(), cache_folder(cache)
    dataset = texts_table(texts)
    first, second = (
        activations_of(model_folder(source, folder), dataset, how, folder, name=_label(source))
        for source in (reference, candidate)
    )
    return first, second


@contextmanager
def open_models(
    files: tuple[Path, Path], reference: str | Path, candidate: str | Path
) -> Iterator[OpenPair]:
    """Open two activation files of the cache under the names that the models have now."""
    with open_pair(*files) as pair:
        names = _label(reference), _label(candidate)
        pair.labels.update(pair="~".join(names), reference=names[0], candidate=names[1])
        yield pair


def cache_folder(wanted: str | Path | None = None) -> Path:
    """The folder for what is downloaded and extracted (see `compare_models`)."""
    if wanted is not None:
        return Path(wanted)
    if os.environ.get(CACHE_VARIABLE):
        return Path(os.environ[CACHE_VARIABLE])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hrsa"


def texts_table(texts: Sequence[str] | pd.DataFrame | str | Path) -> pd.DataFrame:
    """Columns id and text, from what `compare_models` takes."""
    if isinstance(texts, pd.DataFrame):
        return texts.reset_index(drop=True)
    if isinstance(texts, str | Path):
        return load_dataset({"path": str(texts)}, corpus=None, seed=0)[["id", "text"]]
    return pd.DataFrame({"id": [f"{i:06d}" for i in range(len(texts))], "text": list(texts)})


def model_folder(source: str | Path, cache: Path) -> Path:
    """Where a model's files are; one of the hub is fetched once.

    Raises
    ------
    UserError
        There is neither such a place nor such a repository.
    """
    if Path(source).exists():
        return Path(source)
    repository, _, revision = str(source).partition("@")
    if repository.count("/") != 1 or repository.startswith((".", "/", "~")):
        raise UserError(
            f"There is no model at {source}. Give a folder, a .gguf file, or a repository of the "
            "hub as owner/name or owner/name@revision."
        )
    folder = cache / "models" / repository.replace("/", "--") / (revision or "main")
    retrieve(repository, revision or "main", folder)
    return folder


def activations_of(
    model: Path, dataset: pd.DataFrame, reading: Reading, cache: Path, *, name: str
) -> Path:
    """The activation file of a model on some texts; extracted when the cache has none.

    Raises
    ------
    UserError
        torch or transformers is not installed, or the extraction fails.
    """
    check_model_folder(model)
    pooling = pooling_of(model)
    header = {
        "model": name,
        "model_sha256": weights_sha256(model),
        "configuration_sha256": "" if is_gguf(model) else configuration_sha256(model),
        "dataset": "texts",
        "dataset_sha256": _texts_sha256(dataset),
        "template": None,
        "seed": 0,
        "pooling": pooling,
    }
    settings: dict[str, Any] = {
        "layers": reading.layers,
        "dtype": reading.dtype,
        "max_length": reading.max_length,
    }
    # Not the name: one model may be called by several.
    key = {**header, "model": "", "asked": reading.attention, "cut": reading.truncation}
    key["extraction_version"] = EXTRACTION_VERSION
    digest = header_digest(extraction_header(key, **settings))
    path = cache / "activations" / f"{digest[:32]}.h5"
    if path.exists():
        return path
    try:
        from hrsa.activations.extraction import extract_activations
        from hrsa.models.loading import load_backbone
    except ModuleNotFoundError as error:
        raise UserError(
            f"Reading a model needs the package {error.name}, which is not installed. Install "
            "torch and transformers, or compare activation files with `hrsa compare`."
        ) from None
    loaded, tokenizer = load_backbone(
        model, attention=reading.attention, dtype=reading.dtype, device=reading.device
    )
    extract_activations(
        loaded,
        tokenizer,
        dataset,
        path,
        header={**header, "attention": reading.attention, **end_mark(pooling, tokenizer)},
        truncation=reading.truncation,
        token_budget=reading.token_budget,
        **settings,
    )
    return path


def draw_heatmaps(table: pd.DataFrame, folder: Path) -> list[Path]:
    """Draw the heat map of each metric in the table that has one, as PNG and PDF.

    Returns
    -------
    list of Path
        The PNG files.
    """
    drawn = []
    for metric in SHOWN:
        if (table["metric"] == metric).any():
            labelled = table.assign(kind="other", stage="backbone")
            figure = draw_metric(labelled, metric, kinds=("other",))
            target = folder / f"{metric}_heatmap.png"
            folder.mkdir(parents=True, exist_ok=True)
            save(figure, target, target.with_suffix(".pdf"))
            drawn.append(target)
    return drawn


def _label(source: str | Path) -> str:
    """A model's name: of a place on this machine the last part, else as the hub has it."""
    return Path(source).resolve().name if Path(source).exists() else str(source)


def _texts_sha256(dataset: pd.DataFrame) -> str:
    digest = hashlib.sha256()
    for column in ("id", "text"):
        for value in dataset.get(column, []):
            encoded = str(value).encode("utf-8", "surrogatepass")
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.hexdigest()

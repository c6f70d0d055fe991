"""How large the models of a study are, before any of them exists and without a network.

From the architecture that is asked for, from the headers of weights that lie here, or else from the
size that a model's name states; no weight is read and nothing is loaded.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hrsa.errors import UserError
from hrsa.models.model_files import is_gguf, safetensors_header
from hrsa_workflow.instances import Instance
from hrsa_workflow.sources import source_path
from hrsa_workflow.study import Study

IN_NAME = re.compile(r"(?:^|[-_])(\d+(?:\.\d+)?)([bm])(?=$|[-_.])", re.IGNORECASE)
BLOCK = re.compile(r"\.(\d+)\.")
# Names of the embeddings and of the output head, in safetensors and in GGUF files.
TABLES = re.compile(r"embed_tokens|wte|word_embeddings|token_embd|lm_head|embed_out|^output\.")
# What a model is taken for of which only the number of weights is known: Kaplan et al. (2020) have
# 12 · layers · width² weights in the blocks, and most models of 1 to 10 billion about 30 layers.
USUAL_LAYERS = 30
USUAL_VOCABULARY = 128_000
# Of the matrices of a block, the sides of all together over the width.
USUAL_SIDES = 20


@dataclass(frozen=True)
class ModelSize:
    """The weights of a model, by what they do.

    Attributes
    ----------
    blocks : int
        Weights that every token goes through: all but embeddings and output head.
    vocabulary, width, layers : int
    tables : int
        Matrices of vocabulary × width: 1 where the output head is the embeddings, 2 where it has
        weights of its own; 0 where `blocks` counts them too (a size from a name).
    sides : int
        Rows and columns of all matrices in the blocks: LoRA has `rank` weights for each.
    origin : str
        "architecture", "weights" or "name".
    """

    blocks: int
    vocabulary: int
    width: int
    layers: int
    tables: int
    sides: int
    origin: str

    @property
    def parameters(self) -> int:
        """All weights; a matrix that serves twice counts once."""
        return self.blocks + self.tables * self.vocabulary * self.width

    @property
    def writing(self) -> int:
        """Weights that a token is multiplied with when the next one is predicted (N)."""
        return self.blocks + (self.vocabulary * self.width if self.tables else 0)

    @property
    def is_guess(self) -> bool:
        """Whether it is from the model's name alone."""
        return self.origin == "name"


def model_sizes(study: Study) -> dict[str, ModelSize | None]:
    """Sizes of all instances; None where nothing tells one."""
    found: dict[str, ModelSize | None] = {}
    for name in study.instances:
        _find(study, name, found)
    return found


def _find(study: Study, name: str, found: dict[str, ModelSize | None]) -> ModelSize | None:
    if name not in found:
        found[name] = None  # a circle of parents, should there be one, ends here
        instance = study.instances[name]
        if instance.source == "pretrain":
            found[name] = from_architecture(instance.settings["architecture"])
        elif instance.source in ("hub", "path"):
            found[name] = _from_outside(study, instance)
        else:
            parents = (_find(study, parent, found) for parent in parents_of(instance))
            found[name] = next((size for size in parents if size), None)
    return found[name]


def parents_of(instance: Instance) -> list[str]:
    """Instances that one is made from: none, its parent, or the two of a merge."""
    return [name for name in (instance.parent, instance.second) if name]


def from_architecture(settings: Mapping[str, int]) -> ModelSize:
    """Count the weights of a Qwen2 model with tied embeddings, as recipe pretrain makes them.

    Parameters
    ----------
    settings
        layers, width, heads, kv_heads, intermediate, vocabulary. A corpus with few words may give
        a smaller vocabulary.
    """
    width, inner = settings["width"], settings["intermediate"]
    kv_width = width // settings["heads"] * settings["kv_heads"]
    matrices = [(width, width), (width, width), (width, kv_width), (width, kv_width)]
    matrices += [(width, inner)] * 3
    biases, norms = width + 2 * kv_width, 2 * width
    per_layer = sum(a * b for a, b in matrices) + biases + norms
    return ModelSize(
        blocks=settings["layers"] * per_layer + width,
        vocabulary=settings["vocabulary"],
        width=width,
        layers=settings["layers"],
        tables=1,
        sides=settings["layers"] * sum(a + b for a, b in matrices),
        origin="architecture",
    )


def from_weights(path: Path) -> ModelSize | None:
    """Read the shapes of a model folder or GGUF file; None where there is no whole model."""
    try:
        shapes = _shapes(path)
    except (UserError, OSError, ValueError):
        return None
    in_blocks = {name: shape for name, shape in shapes.items() if BLOCK.search(f".{name}")}
    if not in_blocks:
        return None
    tables = {name for name in shapes.keys() - in_blocks.keys() if TABLES.search(name)}
    # a block's matrices and norms share one side, the width
    sides = Counter(side for shape in in_blocks.values() for side in set(shape))
    width = sides.most_common(1)[0][0]
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    table = max((sizes[name] for name in tables), default=0)
    numbers = (BLOCK.search(f".{name}") for name in in_blocks)
    return ModelSize(
        blocks=sum(sizes.values()) - len(tables) * table,
        vocabulary=table // width,
        width=width,
        layers=1 + max(int(number[1]) for number in numbers if number),
        tables=len(tables),
        sides=sum(sum(shape) for shape in in_blocks.values() if len(shape) == 2),
        origin="weights",
    )


def from_name(name: str) -> ModelSize | None:
    """Take the size that a name states, such as ``Qwen2.5-1.5B``, and the usual shape for it."""
    stated = IN_NAME.search(name.rpartition("/")[2])
    if stated is None:
        return None
    weights = round(float(stated[1]) * (1e9 if stated[2].lower() == "b" else 1e6))
    width = round((weights / (12 * USUAL_LAYERS)) ** 0.5)
    return ModelSize(
        blocks=weights,
        vocabulary=USUAL_VOCABULARY,
        width=width,
        layers=USUAL_LAYERS,
        tables=0,
        sides=USUAL_SIDES * width * USUAL_LAYERS,
        origin="name",
    )


def from_repository(source: Mapping[str, Any], folder: Path) -> ModelSize | None:
    """Size of a model of the hub: from its download where it is here, else from its name."""
    return from_weights(folder) or from_name(source["hub"])


def _from_outside(study: Study, instance: Instance) -> ModelSize | None:
    """Size of a model that was not trained here; of an adapter, that of its base."""
    taken_in = Path(study.record(instance.name)).parent
    if (study.root / taken_in / "record.json").exists():
        return from_weights(study.root / taken_in)
    source = study.config["models"][instance.model]
    base = source.get("base")
    if isinstance(base, str):
        return _from_path(study, base, f"models.{instance.model}.base")
    named = base or source
    if "hub" in named:
        revision = named.get("revision", "main")
        folder = Path("resources/models") / named["hub"].replace("/", "--") / revision
        return from_repository(named, study.root / folder)
    return _from_path(study, source["path"], f"models.{instance.model}.path")


def _from_path(study: Study, text: str, key: str) -> ModelSize | None:
    path = source_path(text, study.root, key=key)
    return from_weights(path) or from_name(path.stem if is_gguf(path) else path.name)


@cache
def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of a model's tensors by name, from the headers of its files."""
    if is_gguf(path):
        from gguf import GGUFReader

        return {
            tensor.name: tuple(int(side) for side in tensor.shape)
            for tensor in GGUFReader(path).tensors
        }
    headers = map(safetensors_header, sorted(path.glob("model*.safetensors")))
    return {name: tuple(one["shape"]) for header in headers for name, one in header.items()}

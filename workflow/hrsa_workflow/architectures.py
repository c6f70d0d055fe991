"""Which architecture a model of the study is of."""

import json
from pathlib import Path


def architecture(record: Path) -> str:
    """Name the architecture of a model: its type, depth and width.

    Parameters
    ----------
    record : Path
        The record of an instance, in its folder.

    Returns
    -------
    str
        From the model's `config.json`; of a model without one the name of its folder.
    """
    path = record.parent / "config.json"
    if not path.is_file():
        return record.parent.name
    config = json.loads(path.read_text(encoding="utf-8"))
    size = f"{config.get('num_hidden_layers')} layers, width {config.get('hidden_size')}"
    return f"{config.get('model_type')}, {size}"

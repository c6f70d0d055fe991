import copy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

STUDY = {
    "study": "tiny",
    "models": {
        "base": {"recipe": "pretrain"},
        "sft": {"recipe": "sft", "parent": "base", "seeds": [0, 1]},
        "base-emb": {
            "recipe": "contrastive",
            "parent": "base",
            "seeds": [0, 1, 2],
            "checkpoints": {"seeds": [0], "steps": [20, 40]},
        },
        "sft-emb": {
            "recipe": "contrastive",
            "parent": "sft",
            "seeds": [0, 1],
            "checkpoints": {"seeds": [0], "steps": [40, 80]},
        },
    },
    "datasets": {"topics": {"generator": "topics"}},
    "pairs": [{"name": "base-sft", "kind": "sft", "reference": "base", "candidate": "sft"}],
    "metrics": {"cka": {}, "knn": {}},
}


@pytest.fixture
def study():
    """A valid configuration that a test may change."""
    return copy.deepcopy(STUDY)

"""The smallest corpus and model on which the recipes still do what they do."""

CORPUS = {
    "evaluation": "test",
    "problems": 300,
    "test_problems": 20,
    "prose": 100,
    "topics": {"train": 8, "validation": 8, "test": 8},
    "questions": 20,
    "pairs": 120,
    "retrieval": {"documents": 10, "queries": 5},
}
PRETRAIN = {
    "architecture": {
        "layers": 2,
        "width": 32,
        "heads": 2,
        "kv_heads": 1,
        "intermediate": 64,
        "vocabulary": 384,
    },
    "steps": 3,
    "batch_size": 8,
    "learning_rate": 1e-3,
    "problem_share": 0.6,
    "table_share": 0.15,
    "wrong_share": 0.5,
}

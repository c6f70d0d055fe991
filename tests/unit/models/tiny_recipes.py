"""The smallest corpus and model on which the recipes still do what they do."""

from pathlib import Path

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
COMMON = {
    "steps": 3,
    "batch_size": 4,
    "micro_batch": None,
    "learning_rate": 1e-3,
    "schedule": "cosine",
    "warmup_steps": 1,
    "weight_decay": 0.0,
    "save_every": 50,
    "precision": "float32",
    "gradient_checkpointing": False,
    "lora": None,
    "checkpoints": [2],
    "gpus": 1,
}
SFT = COMMON | {
    "data": "problems",
    "completion": "trace",
    "prompt_format": "plain",
    "packing": False,
    "max_length": 512,
}
CONTINUED = {"match": SFT | {"seed": 1}, "pretrain": PRETRAIN}
RLVR = {key: value for key, value in COMMON.items() if key != "batch_size"} | {
    "data": "problems",
    "prompt_format": "plain",
    "prompts_per_step": 2,
    "completions": 4,
    "schedule": "constant",
    "warmup_steps": 0,
    "temperature": 1.0,
    "beta": 0.0,
    "loss_type": "grpo",
    "max_completion_tokens": 8,
    "verifier": "hash",
    "format_weight": 0.0,
    "patience": 0,
    "difficulty": None,
}
CONTRASTIVE = COMMON | {
    "batch_size": 8,
    "data": ["pairs"],
    "temperature": 0.02,
    "max_length": 64,
    "negatives": 0,
    "without_negatives": [],
    "shares": None,
    "instruction": None,
    "instructions": {},
    "query_template": "Instruct: {instruction}\nQuery: {query}",
}


def training_files(corpus: Path, recipe: str = "pretrain") -> dict[str, Path]:
    """The files of a corpus that a recipe trains on, by name."""
    names = ["pairs"] if recipe == "contrastive" else ["problems", "prose", "questions"]
    return {name: corpus / f"{name}.parquet" for name in names}

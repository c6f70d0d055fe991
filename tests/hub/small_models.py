"""Repositories for the hub that need no torch to be made."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file


def write_model(folder: Path, seed: int = 0) -> Path:
    """What a download is checked for, around a megabyte of weights that mean nothing."""
    folder.mkdir(parents=True)
    weights = np.random.default_rng(seed).standard_normal((512, 512), dtype=np.float32)
    save_file({"weight": weights}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen2"}))
    (folder / "tokenizer.json").write_text(json.dumps({"version": "1.0", "words": ["é"] * 99}))
    (folder / "pytorch_model.bin").write_bytes(b"pickled")
    (folder / "modeling_own.py").write_text("raise SystemExit\n")
    (folder / "README.md").write_text("# A model\n")
    return folder

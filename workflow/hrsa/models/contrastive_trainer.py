"""sentence-transformers' trainer, with what a study needs of it: exact resume, tokens counted."""

from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, set_peft_model_state_dict
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformerTrainer

ADAPTER = "adapter_model.safetensors"
NUM_TOKENS = "num_tokens"


class ContrastiveTrainer(SentenceTransformerTrainer):
    """Counts the tokens that the model reads, and goes on from a checkpoint of LoRA adapters too.

    The log of each step has `num_tokens`, those of all processes since the start: queries with
    their instructions, documents, hard negatives; padding is left out.
    """

    tokens_read = 0
    tokens_before: int | None = None  # a kill; told by the log, once the state is loaded

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Count the batch's tokens before its loss is computed."""
        own = sum(
            int(value.sum()) for name, value in inputs.items() if name.endswith("attention_mask")
        )
        here = torch.tensor(own, device=self.accelerator.device)
        self.tokens_read += int(self.accelerator.reduce(here, reduction="sum"))
        return super().compute_loss(model, inputs, *args, **kwargs)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the tokens to the log of a step."""
        if self.tokens_before is None:
            logged = tokens_by_step(self.state.log_history)
            self.tokens_before = logged[max(logged)] if logged else 0
        if "loss" in logs:
            logs = logs | {NUM_TOKENS: self.tokens_before + self.tokens_read}
        super().log(logs, start_time)

    def _load_from_checkpoint(self, checkpoint_path: str) -> None:  # type: ignore[override]
        """Load the adapters of a LoRA run, whose names the library does not find again."""
        model: Any = self.model
        backbone = model[0].model
        if not isinstance(backbone, PeftModel):
            super()._load_from_checkpoint(checkpoint_path)
            return
        set_peft_model_state_dict(backbone, load_file(Path(checkpoint_path) / ADAPTER))


def tokens_by_step(history: list[dict[str, Any]]) -> dict[int, int]:
    """Tokens that were read up to each step, from the trainer's log."""
    return {entry["step"]: int(entry[NUM_TOKENS]) for entry in history if NUM_TOKENS in entry}

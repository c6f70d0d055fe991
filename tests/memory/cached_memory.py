"""Peak memory of a contrastive step at one and at two global batches, cached or not.

    python tests/memory/cached_memory.py cached|whole

prints the peak resident memory of the process in kilobytes after a step of each batch, the smaller
first. The micro-batch is the same in both; the peak is that of the whole process, imports,
weights, gradients and Adam's moments included.
"""

import sys
from pathlib import Path

STATUS = Path("/proc/self/status")
WIDTH, LAYERS, TOKENS = 512, 3, 64
BATCHES, MICRO_BATCH = (64, 128), 16


def peak() -> int:
    """Peak resident memory of this process so far, in kilobytes."""
    (line,) = [line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1])


def main(kind: str) -> None:
    """Take a step of each batch size and print the peaks."""
    import torch
    from sentence_transformers.sentence_transformer.losses import (
        CachedMultipleNegativesRankingLoss,
        MultipleNegativesRankingLoss,
    )
    from transformers import Qwen2Config, Qwen2Model

    from hrsa.models.contrastive import info_nce

    torch.set_num_threads(1)
    torch.manual_seed(0)
    backbone = Qwen2Model(
        Qwen2Config(
            vocab_size=512,
            hidden_size=WIDTH,
            intermediate_size=WIDTH,
            num_hidden_layers=LAYERS,
            num_attention_heads=8,
            num_key_value_heads=8,
        )
    )
    backbone.config.is_causal = False
    model = _model(backbone)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-5)
    for batch_size in BATCHES:
        micro = MICRO_BATCH if kind == "cached" else None
        loss = info_nce(
            model, {"temperature": 0.02, "micro_batch": micro, "batch_size": batch_size}
        )
        cached = isinstance(loss, CachedMultipleNegativesRankingLoss)
        assert cached == (kind == "cached")
        assert cached or isinstance(loss, MultipleNegativesRankingLoss)
        columns = [
            {
                "input_ids": torch.randint(512, (batch_size, TOKENS)),
                "attention_mask": torch.ones(batch_size, TOKENS, dtype=torch.long),
            }
            for _ in range(2)
        ]
        loss(columns, labels=None).backward()
        optimiser.step()
        optimiser.zero_grad()
        del loss, columns
        print(peak(), flush=True)


def _model(backbone):
    """The backbone under mean pooling, as sentence-transformers' losses call it."""
    import torch

    class MeanPooled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = backbone

        def forward(self, features):
            states = self.backbone(**features).last_hidden_state
            mask = features["attention_mask"].unsqueeze(-1)
            return {"sentence_embedding": (states * mask).sum(1) / mask.sum(1)}

        def __getitem__(self, place):
            return self

    return MeanPooled()


if __name__ == "__main__":
    main(sys.argv[1])

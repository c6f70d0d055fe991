"""`trl`'s GRPO trainer with two losses more, and the KL to the parent measured at every step.

What each loss is, with one optimiser step for each batch of completions, so that the policy that
is trained is the one that sampled and no ratio is ever clipped:

- "grpo" (Shao et al. 2024, arXiv 2402.03300): rewards centred and scaled within the completions of
  a prompt; the mean over the tokens of a completion, then over completions.
- "bnpo": the same, but the mean over all tokens of a micro-batch, whose size it depends on. From
  the paper of this name (Xiao et al. 2025, arXiv 2506.02864) `trl` has no more than that: the
  rewards are not scaled by a beta distribution.
- "dapo" (Yu et al. 2025, arXiv 2503.14476): the same, but the mean over all tokens of the step, and
  the upper bound of clipping at 1.28. `trl` leaves out the paper's dynamic sampling (prompts whose
  completions are all right or all wrong stay in the batch, where they do nothing) and its shaping
  of the reward of overlong completions.
- "dr_grpo" (Liu et al. 2025, arXiv 2503.20783): rewards centred and not scaled; the sum over
  tokens divided by a constant, the number of completions times their greatest length.
- "psr", "nsr" (Zhu et al. 2025, arXiv 2506.01347): the policy gradient on right completions alone
  (advantage 1, and 0 for the others) or on wrong ones alone (−1, and 0 for the others), without a
  baseline; the mean over all tokens of the step. The paper makes several steps on a batch of
  completions; here it is one.
"""

import copy
from typing import Any, Literal

import torch
from peft import PeftModel
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import add_fused_lm_head

# the arguments of GRPOConfig that make each loss what it is
LOSSES: dict[str, dict[str, Any]] = {
    "grpo": {"loss_type": "grpo", "scale_rewards": "group"},
    "bnpo": {"loss_type": "bnpo", "scale_rewards": "group"},
    "dapo": {"loss_type": "dapo", "scale_rewards": "group", "epsilon_high": 0.28},
    "dr_grpo": {"loss_type": "dr_grpo", "scale_rewards": "none"},
    "psr": {"loss_type": "dapo", "scale_rewards": "none"},
    "nsr": {"loss_type": "dapo", "scale_rewards": "none"},
}
SIGNED_LOSSES = ("psr", "nsr")

Batch = dict[str, Any]


def signed_advantages(right: torch.Tensor, loss: Literal["psr", "nsr"]) -> torch.Tensor:
    """Advantages of positive or of negative samples only.

    Parameters
    ----------
    right : Tensor, shape (n,)
        1 for a right completion, 0 for a wrong one.
    loss : {"psr", "nsr"}

    Returns
    -------
    Tensor, shape (n,)
        "psr": 1 for right, 0 for wrong. "nsr": 0 for right, −1 for wrong.
    """
    return right if loss == "psr" else right - 1


class PolicyGradientTrainer(GRPOTrainer):
    """`GRPOTrainer` with the losses "psr" and "nsr", and KL to the parent whatever `beta` is.

    The parent is the model as it is handed over: a frozen copy of it, or, with LoRA, the model with
    its adapter switched off. `trl` would load it again by its name, which not every model has.
    Processes may share the work (DDP); models in pieces (FSDP, DeepSpeed) are not provided for.

    Parameters
    ----------
    model : PreTrainedModel or PeftModel
    loss : str
        A key of `LOSSES`, whose arguments `args` has.
    args : GRPOConfig
    **others
        As in `GRPOTrainer`. The first of the reward functions says which completions are right.
    """

    def __init__(self, model: Any, *, loss: str, args: GRPOConfig, **others: Any):
        parent = None if isinstance(model, PeftModel) else copy.deepcopy(model)
        beta, args.beta = args.beta, 0.0  # for trl makes no second reference then
        super().__init__(model=model, args=args, **others)
        self.beta = args.beta = beta
        self.loss = loss
        self.parent = parent
        if parent is not None:
            parent.eval().requires_grad_(False)
            add_fused_lm_head(parent, temperature=self.temperature)
            self.parent = self.accelerator.prepare_model(parent, evaluation_mode=True)
        self.ref_model = self.parent if beta else None

    def _calculate_rewards(self, *arguments: Any, **named: Any) -> torch.Tensor:
        rewards = super()._calculate_rewards(*arguments, **named)
        self._right = rewards[:, 0]  # of all processes
        return rewards

    def _generate_and_score_completions(self, inputs: list[Batch]) -> Batch:
        scored = super()._generate_and_score_completions(inputs)
        if self.loss in SIGNED_LOSSES:
            start = self.accelerator.process_index * len(inputs)
            right = self._right[start : start + len(inputs)]
            scored["advantages"] = signed_advantages(right, self.loss)  # type: ignore[arg-type]
        return scored

    def _get_per_token_logps_and_entropies(self, *arguments: Any, **named: Any) -> tuple:
        found = super()._get_per_token_logps_and_entropies(*arguments, **named)
        self._last_logps = found[0].detach()
        return found

    def _compute_loss(self, model: Any, inputs: Batch) -> torch.Tensor:
        loss = super()._compute_loss(model, inputs)
        if not self.beta:  # else trl has measured it
            mode = "train" if model.training else "eval"
            self._metrics[mode]["kl"].append(self._kl(self._last_logps, inputs))
        return loss

    @torch.no_grad()
    def _kl(self, own: torch.Tensor, inputs: Batch) -> float:
        """KL(policy ‖ parent) in nats per token: the k3 estimate, as `trl` has it with `beta`.

        Of the sampled tokens alone, exp(d) − d − 1 with d the parent's log-probability less the
        policy's (Schulman 2020, http://joschu.net/blog/kl-approx.html).
        """
        difference = self._parent_logps(inputs) - own
        mask = inputs["completion_mask"]
        sums = torch.stack(
            [((torch.exp(difference) - difference - 1) * mask).sum(), mask.sum().float()]
        )
        total, n_tokens = self.accelerator.reduce(sums, reduction="sum")
        return float(total / n_tokens.clamp(min=1))

    def _parent_logps(self, inputs: Batch) -> torch.Tensor:
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
        mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
        n_kept = inputs["completion_ids"].shape[1]
        if self.parent is not None:
            return self._get_per_token_logps_and_entropies(self.parent, ids, mask, n_kept)[0]
        with self.accelerator.unwrap_model(self.model).disable_adapter():
            return self._get_per_token_logps_and_entropies(self.model, ids, mask, n_kept)[0]

"""How a model attends: causally or in both directions, and by which kernels.

torch and transformers are imported inside the functions that need them: what a configuration says
belongs to jobs that should start in a fraction of a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from hrsa.errors import UserError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel

Attention = Literal["causal", "bidirectional"]
Implementation = Literal["sdpa", "flash_attention_2"]


def attention_mode(config: PreTrainedConfig | dict[str, Any]) -> Attention:
    """Read off a configuration (an object or the content of a config.json) how a model attends."""
    if isinstance(config, dict):
        is_causal = config.get("is_causal", True)
    else:
        is_causal = getattr(config, "is_causal", True)
    return "causal" if is_causal else "bidirectional"


def attention_implementation(device: torch.device | str, dtype: torch.dtype) -> Implementation:
    """Choose the kernels of attention by what is installed.

    Parameters
    ----------
    device
        Where the model is.
    dtype
        Of its weights.

    Returns
    -------
    "flash_attention_2" where its package is installed, the device is a GPU and the model is in
    half precision, the only kind that it computes in; "sdpa", torch's own, everywhere else.
    """
    import torch
    from transformers import utils

    is_fit = torch.device(device).type == "cuda" and dtype in (torch.bfloat16, torch.float16)
    return "flash_attention_2" if is_fit and utils.is_flash_attn_2_available() else "sdpa"


def set_attention(backbone: PreTrainedModel, attention: Attention | None) -> Attention:
    """Set how a loaded backbone attends, and make sure that it does.

    transformers refuses ``is_causal`` as an argument of ``from_pretrained``, and
    sentence-transformers drops it silently: it can only be set on the loaded model, and not every
    architecture obeys.

    Parameters
    ----------
    backbone
        A model without head; afterwards ``backbone.config.is_causal`` says how it attends.
    attention
        "causal", "bidirectional", or None to keep what its configuration says.

    Returns
    -------
    The attention that was observed.

    Raises
    ------
    UserError
        The architecture does not attend as asked.
    """
    name, kind = backbone.config.name_or_path, backbone.config.model_type
    # Where nothing is said, nothing is set: told to be causal, an encoder such as BERT obeys for
    # texts without padding only.
    if attention is not None:
        backbone.config.is_causal = attention == "causal"
    observed = observed_attention(backbone)
    if observed is None or (attention is not None and observed != attention):
        asked = f"was asked to read with {attention} attention" if attention else "was loaded"
        does = f"reads with {observed} attention" if observed else "obeys for some texts only"
        raise UserError(
            f"The model {name} {asked}, but its architecture ({kind}) cannot: it {does}. Leave "
            "`attention:` out for this model, or set what it was trained with."
        )
    backbone.config.is_causal = observed == "causal"
    return observed


def set_attention_and_kernels(backbone: PreTrainedModel, attention: Attention | None) -> Attention:
    """Set how a backbone attends, by the fastest kernels that attend so.

    Where flash-attention does not know the architecture, or does not let it attend as asked, the
    model keeps the kernels it was loaded with.

    Parameters and errors are those of `set_attention`.
    """
    before = backbone.config._attn_implementation
    wanted = attention_implementation(backbone.device, backbone.dtype)
    if wanted != "flash_attention_2":
        return set_attention(backbone, attention)
    try:
        backbone.set_attn_implementation(wanted)
        return set_attention(backbone, attention)
    except (ImportError, ValueError, RuntimeError, UserError):
        backbone.set_attn_implementation(before)
        return set_attention(backbone, attention)


def observed_attention(model: PreTrainedModel) -> Attention | None:
    """Find out how a model attends: does another end of a text move the states before it?

    The forward pass is over eight tokens, alone and beside a padded text, since attention kernels
    may treat the two cases differently: then it is neither, and None. For backbones; with a head,
    give ``model.base_model``.
    """
    import torch

    texts = torch.tensor([[1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 3, 4, 9, 10, 11, 12]])
    embeddings: Any = model.get_input_embeddings()
    texts = (texts % embeddings.num_embeddings).to(model.device)
    longer = torch.nn.functional.pad(torch.cat([texts, texts[:1]]), (0, 1))
    mask = torch.ones_like(longer)
    mask[:2, -1] = 0
    with torch.no_grad():
        alone = model(input_ids=texts).last_hidden_state[:2, :4]
        beside = model(input_ids=longer, attention_mask=mask).last_hidden_state[:2, :4]
    # Two rows of one batch may differ by rounding; what attention brings is far above it. Each
    # position has its own scale, since the first token's state is often a hundred times the rest.
    rounding = max(1e-5, 4 * torch.finfo(alone.dtype).eps)
    moved = {
        bool(((one - other).abs().amax(-1) > rounding * one.abs().amax(-1)).any())
        for one, other in (alone, beside)
    }
    if len(moved) > 1:
        return None
    return "bidirectional" if moved.pop() else "causal"

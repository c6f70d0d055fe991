"""Tiny random models of each family, saved as a user's own would be."""

import json
from pathlib import Path
from typing import Any

import gguf
import torch
from gguf.quants import quantize
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    BertConfig,
    DistilBertConfig,
    LlamaConfig,
    ModernBertConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
    RobertaConfig,
)

DECODERS = {"qwen2": Qwen2Config, "qwen3": Qwen3Config, "llama": LlamaConfig}
ENCODERS = {
    "bert": BertConfig,
    "roberta": RobertaConfig,
    "distilbert": DistilBertConfig,
    "modernbert": ModernBertConfig,
}
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    # Larger than the default, so that attention moves the states of an untrained model visibly.
    "initializer_range": 0.2,
}


def make_family(family: str, tokenizer: PreTrainedTokenizerFast, seed: int = 0, **changes: Any):
    """A random model with the head that its family is trained with."""
    options = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, **SIZES}
    torch.manual_seed(seed)
    if family in DECODERS:
        options["num_key_value_heads"] = 2
        return AutoModelForCausalLM.from_config(DECODERS[family](**{**options, **changes})).eval()
    if family == "distilbert":
        options["hidden_dim"] = options.pop("intermediate_size")
    return AutoModelForMaskedLM.from_config(ENCODERS[family](**{**options, **changes})).eval()


def save_family(
    folder: Path, family: str, tokenizer: PreTrainedTokenizerFast, *, shard: str = "1GB", **how: Any
) -> Path:
    """Write such a model with its tokenizer; `shard` is the most bytes in one file of weights."""
    model = make_family(family, tokenizer, **how)
    model.save_pretrained(folder, max_shard_size=shard)
    tokenizer.save_pretrained(folder)
    return folder


def marked(tokenizer: PreTrainedTokenizerFast, start: str, end: str) -> PreTrainedTokenizerFast:
    """The same tokenizer, with a mark at both ends of a text, as encoders have it."""
    from tokenizers import Tokenizer, processors

    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.add_special_tokens([start, end])
    backend.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}",
        special_tokens=[(mark, backend.token_to_id(mark)) for mark in (start, end)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        cls_token=start,
        sep_token=end,
        pad_token=tokenizer.pad_token,
        model_max_length=64,
    )


def save_gguf(path: Path, family: str, model: Any, tokenizer: PreTrainedTokenizerFast) -> None:
    """Write a Qwen as llama.cpp's converter does, in float32 (Llama's heads lie otherwise)."""
    config = model.config
    writer = gguf.GGUFWriter(path, family)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    description = json.loads(tokenizer.backend_tokenizer.to_str())
    special = set(tokenizer.all_special_tokens)
    tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in special else 1 for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in description["model"]["merges"]])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    kind = {"qwen2": gguf.MODEL_ARCH.QWEN2, "qwen3": gguf.MODEL_ARCH.QWEN3}[family]
    names = gguf.get_tensor_name_map(kind, config.num_hidden_layers)
    for name, weight in model.model.state_dict().items():
        title = names.get_name(f"model.{name}", (".weight", ".bias"))
        stored = gguf.GGMLQuantizationType.F32
        writer.add_tensor(title, quantize(weight.numpy(), stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

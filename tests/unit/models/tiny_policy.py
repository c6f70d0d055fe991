"""A model of a dozen words that solves its problems now and then: reinforcement in seconds."""

from pathlib import Path

import pandas as pd
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from hrsa.models.folder import save_model

WORDS = ["<unk>", "<pad>", "<end>", "####7", "####3", "four", "plus", "three", "is", "one", "two"]
CHAT = (
    "{% for message in messages %}{{ message['role'] }} {{ message['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}is {% endif %}"
)
SETTINGS = {
    "data": "problems",
    "steps": 4,
    "prompts_per_step": 2,
    "completions": 4,
    "micro_batch": None,
    "learning_rate": 1e-2,
    "schedule": "constant",
    "warmup_steps": 0,
    "weight_decay": 0.0,
    "save_every": 100,
    "precision": "auto",
    "gradient_checkpointing": False,
    "lora": None,
    "checkpoints": [],
    "gpus": 1,
    "prompt_format": "plain",
    "temperature": 1.0,
    "beta": 0.0,
    "loss_type": "grpo",
    "max_completion_tokens": 5,
    "verifier": "hash",
    "format_weight": 0.0,
    "patience": 50,
    "difficulty": None,
}


def write_model(folder: Path, *, favourite: str | None = None, chat: bool = False) -> Path:
    """An untrained model; with a favourite word it hardly says another."""
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, "<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="<unk>", pad_token="<pad>", eos_token="<end>"
    )
    if chat:
        tokenizer.chat_template = CHAT
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(WORDS),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            tie_word_embeddings=False,
        )
    )
    if favourite:
        with torch.no_grad():  # the last layer's norm has mean square 1: a constant direction wins
            model.model.norm.weight.zero_()
            model.model.norm.weight[0] = 1
            model.lm_head.weight.zero_()
            model.lm_head.weight[WORDS.index(favourite), 0] = 1
            for layer in model.model.layers:
                layer.mlp.down_proj.weight.zero_()
                layer.self_attn.o_proj.weight.zero_()
            model.model.embed_tokens.weight.fill_(100.0)
            model.lm_head.weight.mul_(50)
    save_model(folder, model, tokenizer)
    return folder


def write_problems(path: Path, answers: list[int], **columns: list) -> Path:
    """Problems of the model's words, with these answers."""
    questions = [f"{WORDS[5 + i % 6]} plus {WORDS[5 + i // 6 % 6]}" for i in range(len(answers))]
    frame = pd.DataFrame({"question": questions, "answer": answers} | columns)
    frame.to_parquet(path, index=False)
    return path

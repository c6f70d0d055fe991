"""How a question is put to a language model: as plain text, or as a chat of its own template.

Training, sampling and scoring ask in the same words, which are written here once.
"""

from pathlib import Path
from typing import Any

from hrsa.errors import UserError

PROMPT_FORMATS = ("plain", "chat")


def as_prompt(question: str, prompt_format: str) -> str | list[dict[str, str]]:
    """A question as `trl` wants it: the text, or a conversation of one user's message."""
    return [{"role": "user", "content": question}] if _is_chat(prompt_format) else question


def as_completion(text: str, prompt_format: str) -> str | list[dict[str, str]]:
    """An answer as `trl` wants it: the text after a blank, or one message of the assistant."""
    return [{"role": "assistant", "content": text}] if _is_chat(prompt_format) else f" {text}"


def prompt_text(tokenizer: Any, question: str, prompt_format: str) -> str:
    """The very characters that a model reads before its answer.

    A chat template writes its own special tokens: tokenize a chat's text with
    `add_special_tokens=False`.
    """
    if not _is_chat(prompt_format):
        return question
    return tokenizer.apply_chat_template(
        as_prompt(question, prompt_format), tokenize=False, add_generation_prompt=True
    )


def completion_text(completion: str | list[dict[str, str]]) -> str:
    """The text of an answer in either form."""
    if isinstance(completion, str):
        return completion
    return "".join(message["content"] for message in completion)


def check_prompt_format(tokenizer: Any, prompt_format: str, model: Path) -> None:
    """Make sure that a model can be asked in this format.

    Raises
    ------
    UserError
        A chat is asked for and the model's tokenizer has no chat template.
    """
    if _is_chat(prompt_format) and not tokenizer.chat_template:
        raise UserError(
            f"`prompt_format` is chat, but the tokenizer of {model} has no chat template. Set "
            "`prompt_format: plain`, or put the template that the model was trained with into its "
            "folder as chat_template.jinja."
        )


def _is_chat(prompt_format: str) -> bool:
    if prompt_format not in PROMPT_FORMATS:
        raise ValueError(f"prompt_format={prompt_format!r}; allowed are {PROMPT_FORMATS}.")
    return prompt_format == "chat"

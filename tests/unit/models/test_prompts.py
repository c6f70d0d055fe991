"""A question is put in the same words in training, sampling and scoring."""

import copy
from pathlib import Path

import pytest

from hrsa.errors import UserError
from hrsa.models.prompts import (
    as_completion,
    as_prompt,
    check_prompt_format,
    completion_text,
    prompt_text,
)

TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture
def chatty(tokenizer):
    chatty = copy.deepcopy(tokenizer)
    chatty.chat_template = TEMPLATE
    return chatty


def test_plain_text_is_the_question_and_the_answer_after_a_blank(tokenizer):
    assert as_prompt("2 + 3?", "plain") == "2 + 3?"
    assert as_completion("5", "plain") == " 5"
    assert prompt_text(tokenizer, "2 + 3?", "plain") == "2 + 3?"


def test_a_chat_is_one_message_of_each(chatty):
    assert as_prompt("2 + 3?", "chat") == [{"role": "user", "content": "2 + 3?"}]
    assert as_completion("5", "chat") == [{"role": "assistant", "content": "5"}]
    assert prompt_text(chatty, "2 + 3?", "chat") == "<user>2 + 3?</user><assistant>"


@pytest.mark.parametrize("prompt_format", ["plain", "chat"])
def test_the_text_of_an_answer_is_the_same_in_both_forms(prompt_format):
    assert completion_text(as_completion("5", prompt_format)).strip() == "5"


def test_a_chat_without_a_template_is_refused(tokenizer, chatty):
    with pytest.raises(UserError, match=r"my/model has no chat template.*prompt_format: plain"):
        check_prompt_format(tokenizer, "chat", Path("my/model"))
    check_prompt_format(chatty, "chat", Path("my/model"))
    check_prompt_format(tokenizer, "plain", Path("my/model"))


def test_an_unknown_format_is_an_error():
    with pytest.raises(ValueError, match="allowed are"):
        as_prompt("2 + 3?", "poem")

"""Checks that an answer is right without a model: the verifiable rewards of RLVR."""

import re

FINAL_NUMBER = re.compile(r"####\s*(-?\d+)")


def final_number(text: str) -> int | None:
    """The number after the last ``####`` of a worked solution, None where there is none."""
    found = FINAL_NUMBER.findall(text)
    return int(found[-1]) if found else None


def is_correct(completion: str, answer: int) -> bool:
    """Whether a worked solution ends in the right number (``#### n``)."""
    return final_number(completion) == int(answer)

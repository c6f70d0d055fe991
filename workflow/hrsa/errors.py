"""The exception that means "the user can mend this", and the one for what does not apply."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


class UserError(Exception):
    """A mistake in what the user gave: a configuration, a file, a model folder.

    The text is one paragraph for a person: what is wrong, in which file or key, what is allowed,
    and what to do. Programs print it without a traceback.
    """


class NotApplicable(UserError):
    """A metric whose mathematics does not allow this pair of models; there is nothing to mend.

    Who asked for this metric of this pair alone is told; a study leaves it out and says so.
    """


def did_you_mean(name: str, known: Iterable[Any], *, most: int = 1) -> str:
    """Give a sentence with the nearest of the known names, to follow another; empty if none is.

    Parameters
    ----------
    name
        What was given; capitals do not matter.
    known
        What is allowed.
    most
        How many names to offer.
    """
    lower = {str(one).lower(): str(one) for one in known}
    near = get_close_matches(name.lower(), lower, n=most, cutoff=0.5)
    offered = " or ".join(f"`{lower[one]}`" for one in near)
    return f" Did you mean {offered}?" if near else ""

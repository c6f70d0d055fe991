"""The exception that means "the user can mend this", and the one for what does not apply."""


class UserError(Exception):
    """A mistake in what the user gave: a configuration, a file, a model folder.

    The text is one paragraph for a person: what is wrong, in which file or key, what is allowed,
    and what to do. Programs print it without a traceback.
    """


class NotApplicable(UserError):
    """A metric whose mathematics does not allow this pair of models; there is nothing to mend.

    Who asked for this metric of this pair alone is told; a study leaves it out and says so.
    """

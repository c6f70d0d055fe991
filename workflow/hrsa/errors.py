"""The one exception that means "the user can mend this"."""


class UserError(Exception):
    """A mistake in what the user gave: a configuration, a file, a model folder.

    The text is one paragraph for a person: what is wrong, in which file or key, what is allowed,
    and what to do. Programs print it without a traceback.
    """

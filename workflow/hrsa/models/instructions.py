r"""Instructions before queries, and where they end.

A query is read as `Instruct: {instruction}\nQuery: {query}`, a document bare, and the mean of the
pooling leaves the instruction's tokens out. sentence-transformers counts those tokens by reading
the prompt alone. A prompt that ends with a space would be counted one token too long: alone, the
space is a token, but before a query byte-level tokenizers join it to the query's first word, which
would then be left out of the mean. So the prompt ends before the space, which goes to the query.
"""

from hrsa.errors import UserError

SPLIT_POINT = " "


def instruction_prompt(template: str, instruction: str | None) -> str | None:
    """What stands before a query, without the space that belongs to the query.

    Parameters
    ----------
    template : str
        With `{query}` at its end after a space, and `{instruction}`.
    instruction : str or None
        None: queries are read bare.

    Raises
    ------
    UserError
        The template has no `{query}` at its end, or no `{instruction}`.
    """
    if instruction is None:
        return None
    ending = SPLIT_POINT + "{query}"
    if not template.endswith(ending) or "{instruction}" not in template:
        raise UserError(
            f"`query_template` is {template!r}; it must hold `{{instruction}}` and end with a "
            "space and `{query}`, so that the instruction's tokens can be left out of the mean."
        )
    return template.removesuffix(ending).replace("{instruction}", instruction)

"""What to do when the Hugging Face Hub answers with an error: wait and ask again, or say why not.

No error of the client is shown or kept as the cause of another: its text may hold the address that
was asked, signed for one reader, and what a server makes of a token.
"""

from __future__ import annotations

import errno
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from time import sleep
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from hrsa.errors import UserError

if TYPE_CHECKING:
    import httpx2

Result = TypeVar("Result")

# Seconds before each further try, where the hub names none.
WAITS = (1.0, 2.0, 4.0, 8.0, 16.0)
# The hub counts requests over windows of five minutes.
LONGEST_WAIT = 300.0
PASSING = (408, 429, 500, 502, 503, 504)


def patiently(action: Callable[[], Result], *, progress: Callable[[], int] = lambda: 0) -> Result:
    """Do something that needs the hub, and again after faults that pass.

    Those are a connection that breaks or times out, too many requests (429) and a server that is
    out of order (5xx). The wait is what the hub asks for, or grows from one second.

    Parameters
    ----------
    action
        Called without arguments until it returns, at most once more than there are `WAITS`.
    progress
        Where the action stands. When it has moved on since the last fault, the tries are counted
        anew: a connection that breaks once a minute still fetches a large file.

    Returns
    -------
    What the action returns.

    Raises
    ------
    Exception
        The last fault, when tries run out, the fault is of another kind, or the hub asks for a
        longer wait than `LONGEST_WAIT`.
    """
    tries, reached = 0, progress()
    while True:
        try:
            return action()
        except Exception as error:
            if progress() > reached:
                tries, reached = 0, progress()
            wait = _wait_after(error, tries)
            if wait is None:
                raise
            tries += 1
            logging.getLogger(__name__).warning(
                "%s; asking again in %g s (try %d of %d).",
                _in_brief(error),
                wait,
                tries + 1,
                len(WAITS) + 1,
            )
            sleep(wait)


@contextmanager
def in_sentences(repository: str, revision: str) -> Iterator[None]:
    """Turn errors of the hub inside the block into sentences for a person.

    Raises
    ------
    UserError
        In place of an error of the hub or of a full disk; others pass as they are.
    """
    try:
        yield
    except Exception as error:
        reason = _reason(error, repository)
        if reason is None:
            raise
        raise UserError(
            f"The model {repository} at revision {revision} cannot be fetched: {reason}"
        ) from None


def refuse_unusable_token() -> None:
    """Refuse a token that no header can carry; the client would quote it in its error.

    Raises
    ------
    UserError
        The token in the environment or in the folder HF_HOME holds other characters than tokens do.
    """
    from huggingface_hub import get_token

    token = get_token()
    if token and not (token.isascii() and token.isprintable()):
        raise UserError(
            "The token for the Hugging Face Hub (the environment variable HF_TOKEN, or the file "
            "`token` in the folder HF_HOME) holds characters that no token has. Copy it anew from "
            "the hub's settings, or unset it for a public model."
        )


def endpoint() -> str:
    """Address of the hub, without the name and password that it may hold."""
    from huggingface_hub import constants

    address = urlsplit(constants.ENDPOINT)
    return address._replace(netloc=address.netloc.rpartition("@")[2]).geturl()


def _wait_after(error: Exception, tries: int) -> float | None:
    """Seconds to wait before the next try, or None where another makes no sense."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    match error:
        case httpx2.ProxyError() | httpx2.UnsupportedProtocol() | httpx2.LocalProtocolError():
            return None
        case httpx2.TransportError():
            asked = None
        case HfHubHTTPError() if error.response.status_code in PASSING:
            asked = asked_wait(error.response)
        case _:
            return None
    if tries >= len(WAITS) or (asked or 0) > LONGEST_WAIT:
        return None
    return WAITS[tries] if asked is None else asked


def asked_wait(response: httpx2.Response) -> float | None:
    """Seconds that an answer asks to wait, by RateLimit (the hub) or Retry-After (number or date).

    None where it names none.
    """
    from huggingface_hub.utils import parse_ratelimit_headers

    limit = parse_ratelimit_headers(response.headers)
    if response.status_code == 429 and limit is not None and limit.remaining == 0:
        return float(limit.reset_in_seconds)
    text = response.headers.get("Retry-After", "").strip()
    if text.isdigit():
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _in_brief(error: Exception) -> str:
    """Name a fault without the text of the client's error."""
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        return f"{endpoint()} answered with HTTP status {error.response.status_code}"
    return f"The connection to {endpoint()} failed ({type(error).__name__})"


def _reason(error: Exception, repository: str) -> str | None:
    """Why a model cannot be fetched, and what to do; None for an error of another kind."""
    import httpx2
    from huggingface_hub import errors

    hub = endpoint()
    match error:
        case UserError():
            return None
        case errors.OfflineModeIsEnabled():
            return (
                "HF_HUB_OFFLINE is set, which forbids the network, and it is not here in full: "
                "neither where downloads lie nor in the cache of HF_HOME. Unset HF_HUB_OFFLINE, or "
                "fetch it on another machine and give its folder as `path:` instead of `hub:`."
            )
        case errors.GatedRepoError():
            return (
                "its owner grants access on request. Ask for it on the model's page at "
                f"{hub}/{repository}, then set the environment variable HF_TOKEN."
            )
        case errors.RevisionNotFoundError():
            return (
                "the repository has no such revision. Give a branch, a tag or a full commit hash "
                "from its page."
            )
        case errors.RepositoryNotFoundError():
            return (
                f"there is no such repository at {hub}, or it is private. Correct `hub:` "
                "(owner/name), or set the environment variable HF_TOKEN."
            )
        case errors.HFValidationError():
            return "that is no name of a repository. Write `hub:` as owner/name."
        case errors.HfHubHTTPError():
            return _reason_of_status(error.response, hub)
        case httpx2.UnsupportedProtocol() | httpx2.InvalidURL():
            return (
                f"{hub} is no address of a hub. Correct the environment variable HF_ENDPOINT: "
                "https:// and a host, such as https://huggingface.co."
            )
        case httpx2.RequestError():
            return (
                f"{hub} cannot be reached, or does not stay so. Check the network and run again: "
                "what has arrived is kept, and it goes on there. Without a network, fetch it on "
                "another machine and give its folder as `path:` instead of `hub:`."
            )
        case json.JSONDecodeError():
            return (
                f"{hub} answered with something that no hub says. Check HF_ENDPOINT, and whether "
                "the network asks for a login first."
            )
        case OSError() if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return (
                "the disk is full. What has arrived is kept; free some space and run again, and it "
                "goes on there."
            )
    return None


def _reason_of_status(response: httpx2.Response, hub: str) -> str:
    status = response.status_code
    if status == 401:
        return (
            f"{hub} refuses the token. Correct the environment variable HF_TOKEN (or the file "
            "`token` in the folder HF_HOME), or unset it for a public model."
        )
    if status == 403:
        return (
            f"{hub} forbids it to the owner of the token, if there is one. Give HF_TOKEN the "
            "right to read this repository."
        )
    wait = asked_wait(response)
    again = "Run again later" if wait is None else f"It asks to wait {wait:g} s: run again then"
    return f"{hub} answered with HTTP status {status}. {again}; what has arrived is kept."

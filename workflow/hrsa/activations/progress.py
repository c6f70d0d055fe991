"""How far an extraction is: a bar on a terminal, a line now and then in a log."""

import sys
import time

from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 30.0


class Progress:
    """Counts tokens; a context manager.

    Parameters
    ----------
    n_tokens : int
        Tokens in all.
    n_done : int
        Tokens that an earlier run did: they count neither for the rate nor for the time left.
    what : str
        What is being read, for the line.
    """

    def __init__(self, n_tokens: int, *, n_done: int = 0, what: str = "") -> None:
        self._total, self._initial, self._done = n_tokens, n_done, n_done
        self._what = f"{what}: " if what else ""
        self._bar = tqdm(
            total=n_tokens,
            initial=n_done,
            desc=what or None,
            unit="token",
            unit_scale=True,
            disable=not sys.stderr.isatty(),
        )
        self._begin = self._last_line = time.monotonic()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def add(self, n_tokens: int) -> None:
        """Count tokens that were written."""
        self._done += n_tokens
        self._bar.update(n_tokens)
        now = time.monotonic()
        if self._bar.disable and now - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = now
            print(self.line(now - self._begin), flush=True)

    def line(self, seconds: float) -> str:
        """What a log says after so many seconds."""
        rate = (self._done - self._initial) / seconds
        left = (self._total - self._done) / rate / 60 if rate else float("inf")
        return (
            f"{self._what}{self._done} of {self._total} tokens, {rate:.0f} tokens/s, "
            f"{left:.1f} minutes left"
        )

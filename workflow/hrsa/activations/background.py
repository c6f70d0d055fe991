"""A thread that writes while the model computes; what waits for it takes bounded memory."""

from collections import deque
from collections.abc import Callable
from threading import Condition, Thread
from typing import Any

# Bytes that may wait to be written.
WAITING_BYTES = 2**26


class BackgroundWriter:
    """Runs calls one after another in a thread of its own; a context manager.

    An error in a call ends the thread, and is raised by the next `put` or at the end of the block.

    Parameters
    ----------
    waiting_bytes : int
        `put` waits while more than this waits already; a single call may be larger.
    """

    def __init__(self, waiting_bytes: int = WAITING_BYTES) -> None:
        self._most = waiting_bytes
        self._waiting = 0
        self._calls: deque[tuple[int, Callable[..., None], tuple[Any, ...]]] = deque()
        self._changed = Condition()
        self._error: BaseException | None = None
        self._is_last = False
        self._thread = Thread(target=self._run, name="writer", daemon=True)

    def __enter__(self) -> "BackgroundWriter":
        self._thread.start()
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        with self._changed:
            if error is not None:
                self._calls.clear()
            self._is_last = True
            self._changed.notify_all()
        self._thread.join()
        if error is None:
            self._raise_error()

    def put(self, n_bytes: int, call: Callable[..., None], *arguments: Any) -> None:
        """Have a call made once those before it are done.

        Parameters
        ----------
        n_bytes : int
            Memory that its arguments hold until then.
        call : callable
        *arguments
        """
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._error is not None
                    or not self._waiting
                    or self._waiting + n_bytes <= self._most
                )
            )
            self._raise_error()
            self._calls.append((n_bytes, call, arguments))
            self._waiting += n_bytes
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._calls or self._is_last)
                if not self._calls:
                    return
                n_bytes, call, arguments = self._calls.popleft()
            try:
                call(*arguments)
            except BaseException as error:
                with self._changed:
                    self._error = error
                    self._calls.clear()
                    self._changed.notify_all()
                return
            del arguments
            with self._changed:
                self._waiting -= n_bytes
                self._changed.notify_all()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

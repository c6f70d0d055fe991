"""Work in several threads whose results come in the order of the tasks.

A matrix product that is spread over all processors leaves them idle before and after it, and what
is not a product runs on one of them alone. Whole tasks side by side, each with its products on one
processor, keep all of them busy. Each task does the same arithmetic wherever it runs, so that
results do not depend on how many threads there are.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any, Protocol, TypeVar

from threadpoolctl import ThreadpoolController

Task = TypeVar("Task")
Result = TypeVar("Result")


class Map(Protocol):
    """Calls a function on each task and yields the results in the order of the tasks."""

    def __call__(
        self, function: Callable[[Task], Result], tasks: Iterable[Task], /
    ) -> Iterator[Result]:
        """Results, one after another."""
        ...


@contextmanager
def workers(most: int | None = None) -> Iterator[Map]:
    """Give a `Map` over threads, products inside it being computed by one processor each.

    Parameters
    ----------
    most : int or None
        Threads at most, one at least. Never more than there are processors for matrix products,
        which OMP_NUM_THREADS and its like limit.

    Yields
    ------
    Map
        Only as many tasks as there are threads are begun ahead of the result that is waited for,
        so that what tasks read and return stays bounded.
    """
    with _one_processor_each() as n_processors:
        n_workers = n_processors if most is None else max(1, min(most, n_processors))
        if n_workers == 1:
            yield map
            return
        with ThreadPoolExecutor(n_workers) as pool:
            yield lambda function, tasks: _in_order(pool, n_workers, function, tasks)


class _Limit:
    """The limit on the threads of products holds for the process: the first who needs it sets it,
    the last one lifts it."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.n_users = 0
        self.n_processors = 1
        self.held: Any = None


_LIMIT = _Limit()


@contextmanager
def _one_processor_each() -> Iterator[int]:
    """Products use one processor each; gives the number that they might use."""
    with _LIMIT.lock:
        if not _LIMIT.n_users:
            _LIMIT.n_processors = _processors()
            _LIMIT.held = _libraries().limit(limits=1, user_api="blas")
            _LIMIT.held.__enter__()
        _LIMIT.n_users += 1
        n_processors = _LIMIT.n_processors
    try:
        yield n_processors
    finally:
        with _LIMIT.lock:
            _LIMIT.n_users -= 1
            if not _LIMIT.n_users:
                _LIMIT.held.__exit__(None, None, None)


@cache
def _libraries() -> ThreadpoolController:
    # looked for once: it takes longer than a small comparison
    return ThreadpoolController()


def _processors() -> int:
    found = _libraries().select(user_api="blas").info()
    return max((library["num_threads"] for library in found), default=1)


def _in_order(
    pool: ThreadPoolExecutor,
    n_ahead: int,
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
) -> Iterator[Result]:
    begun: deque[Future[Result]] = deque()
    for task in tasks:
        begun.append(pool.submit(function, task))
        if len(begun) > n_ahead:
            yield begun.popleft().result()
    while begun:
        yield begun.popleft().result()

"""Calls that run beside each other in threads: Arrow and numpy, where the time goes, do not wait for each other."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache, partial
from typing import Generic, TypeVar

from rnnflow.runtime import environment

THREADS = "RNNFLOW_THREADS"
MAX_VALUES = 2**25
"""Values that calls may hold between them while they run: 128 MiB, beside what they make of them."""

T = TypeVar("T")
R = TypeVar("R")


def number() -> int:
    """Return how many threads `RNNFLOW_THREADS` allows; by default one for each processor that may be used.

    Raises:
        InputError: the variable is no such number.
    """
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return environment.number(THREADS, available, "a number of threads", least=1)


def in_order(function: Callable[[T], R], items: Iterable[T], num_values: int) -> Iterator[R]:
    """Yield `function(item)` for each item, of `num_values` each, while calls for the next ones run."""
    with Calls[R]() as calls:
        for item in items:
            yield from calls.add(num_values, partial(function, item))
        yield from calls.results()


class Calls(Generic[R]):
    """Calls that have begun and whose results were not taken yet: as many as there are threads, and one that waits.

    When the block ends, none of them runs any more. With one thread a call runs in the caller's, while it is added.
    """

    def __init__(self) -> None:
        self._num_threads = number()
        self._begun: deque[tuple[int, Future[R]]] = deque()
        self._num_values = 0

    def __enter__(self) -> "Calls[R]":
        return self

    def __exit__(self, *_: object) -> None:
        futures = [future for _, future in self._begun]
        wait([future for future in futures if not future.cancel()])

    def add(self, num_values: int, call: Callable[[], R]) -> list[R]:
        """Begin a call that holds so many values; return the results of the first ones, which made room for it."""
        if self._num_threads == 1:
            return [call()]
        results = []
        while self._begun and (len(self._begun) > self._num_threads or self._num_values + num_values > MAX_VALUES):
            results.append(self._first())
        self._begun.append((num_values, _pool(self._num_threads).submit(call)))
        self._num_values += num_values
        return results

    def results(self) -> Iterator[R]:
        """Yield the results that are left, in order."""
        while self._begun:
            yield self._first()

    def _first(self) -> R:
        num_values, future = self._begun[0]
        result = future.result()
        self._begun.popleft()
        self._num_values -= num_values
        return result


@cache
def _pool(num_threads: int) -> ThreadPoolExecutor:
    """Return the threads that all calls share, so that they are no more than the machine can run."""
    return ThreadPoolExecutor(num_threads, thread_name_prefix="rnnflow")

"""Apply a function in several threads and yield the results in the order of the items.

This is own code because `ThreadPoolExecutor.map` reads all items at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_order(
    work: Callable[[T], R], items: Iterable[T], threads: int, ahead: int, together: int = 1
) -> Generator[R]:
    """Yield work(item) for every item; up to `ahead` items are started before their results are used.

    The caller's own thread reads the items. Started work whose results are no longer needed is cancelled.
    A thread works on `together` items before it returns them, which is faster where an item takes about a
    millisecond; if one of them fails, none of them is yielded.
    """
    pending: deque[Future[list[R]]] = deque()

    def work_on(chunk: list[T]) -> list[R]:
        return [work(item) for item in chunk]

    with ThreadPoolExecutor(threads) as pool:
        try:
            iterator = iter(items)
            while chunk := list(islice(iterator, together)):
                pending.append(pool.submit(work_on, chunk))
                if len(pending) * together >= ahead:
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

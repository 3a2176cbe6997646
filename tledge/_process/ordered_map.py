"""Work in several threads, with the results in the order of the items."""

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
    """Yield work(item) for every item; up to `ahead` are begun while earlier results are used.

    Items are taken by the caller's own thread. What is begun and not wanted any more is cancelled. A
    thread works on `together` items before it hands them over, which pays where an item takes about a
    millisecond; where one fails, none of those is yielded.
    """
    coming: deque[Future[list[R]]] = deque()

    def many(part: list[T]) -> list[R]:
        return [work(item) for item in part]

    with ThreadPoolExecutor(threads) as pool:
        try:
            left = iter(items)
            while part := list(islice(left, together)):
                coming.append(pool.submit(many, part))
                if len(coming) * together >= ahead:
                    yield from coming.popleft().result()
            while coming:
                yield from coming.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

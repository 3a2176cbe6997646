"""Work in several threads, with the results in the order of the items."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_order(work: Callable[[T], R], items: Iterable[T], threads: int, ahead: int) -> Generator[R]:
    """Yield work(item) for every item; up to `ahead` are begun while earlier results are used.

    Items are taken by the caller's own thread. What is begun and not wanted any more is cancelled.
    """
    coming: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                coming.append(pool.submit(work, item))
                if len(coming) >= ahead:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

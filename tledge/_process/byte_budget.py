"""Limit the bytes that all threads of this process hold at a time for one purpose; further threads wait."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition


class BudgetExhausted(Exception):
    """No bytes became free in time."""


class ByteBudget:
    """Bytes that all threads together may hold at a time. Threads get them in the order in which they ask."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._free = total
        self._waiting: deque[object] = deque()
        self._changed = Condition()

    @contextmanager
    def reserve(self, size: int, seconds: float | None = None) -> Iterator[None]:
        """Reserve `size` bytes for the block.

        Raises BudgetExhausted if they do not become free within so many seconds; None waits for ever, which
        only a size of at most `total` may do.
        """
        self._take(size, seconds)
        try:
            yield
        finally:
            with self._changed:
                self._free += size
                self._changed.notify_all()

    def _take(self, size: int, seconds: float | None) -> None:
        """Wait in the queue: a large reservation is not overtaken by small ones for ever."""
        turn = object()
        with self._changed:
            self._waiting.append(turn)
            try:
                if not self._changed.wait_for(lambda: self._may_take(turn, size), seconds):
                    raise BudgetExhausted(f"{size} bytes did not become free within {seconds} s")
                self._free -= size
            finally:  # also where Ctrl-C ends the waiting
                self._waiting.remove(turn)
                self._changed.notify_all()

    def _may_take(self, turn: object, size: int) -> bool:
        return self._waiting[0] is turn and self._free >= size

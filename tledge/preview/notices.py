"""Tell the owner on the terminal of clients that were cut off, but not more often than a person can read."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from threading import Lock

SECONDS = 30.0
"""A notice of the same kind is told at most so often; those in between are counted."""


class Notices:
    """Notices of several threads; `tell` shows one line to the owner."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._told: dict[str, float] = {}
        self._left_out: Counter[str] = Counter()
        self._lock = Lock()

    def add(self, kind: str, text: str) -> None:
        """Tell `text`, or count it where a notice of its kind was told a moment ago."""
        with self._lock:
            now = time.monotonic()
            if now - self._told.get(kind, -SECONDS) < SECONDS:
                self._left_out[kind] += 1
                return
            self._told[kind] = now
            count = self._left_out.pop(kind, 0)
        self._tell(f"{text} ({count} like this before.)" if count else text)

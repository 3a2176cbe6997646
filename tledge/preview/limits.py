"""Limit what clients of the preview server may send and hold: sizes, time, connections and memory."""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition
from typing import Any

MAX_BODY_BYTES = 32 << 20
"""Largest body of a request: enough for a large photo."""

HEADER_SECONDS = 20.0
"""Time that a client has to send the headers of a request, however slowly it sends them."""

MIN_BODY_BYTES_PER_SECOND = 256 << 10
"""Slowest rate at which a body may arrive."""

MAX_HELD_BYTES = 128 << 20
"""Bytes of request bodies held in memory at a time; further requests wait."""

MAX_CONNECTIONS = 512
"""Connections open at a time; further ones are closed at once, because each takes a thread."""


class BudgetExhausted(Exception):
    """No bytes became free in time."""


class ByteBudget:
    """Bytes that all threads together may hold at a time."""

    def __init__(self, total: int) -> None:
        self._free = total
        self._changed = Condition()

    @contextmanager
    def reserve(self, size: int, seconds: float) -> Iterator[None]:
        """Reserve `size` bytes for the block; raise BudgetExhausted if they do not become free in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._free >= size, seconds):
                raise BudgetExhausted(f"{size} bytes did not become free within {seconds} s")
            self._free -= size
        try:
            yield
        finally:
            with self._changed:
                self._free += size
                self._changed.notify_all()


class DeadlineReader(io.RawIOBase):
    """Read from a connection until `deadline`: a client that sends a byte now and then gains no time."""

    deadline = 0.0
    """The moment, on the monotonic clock, at which reading fails."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def readable(self) -> bool:
        """Report that this stream can be read, as `io.BufferedReader` requires."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the bytes that have arrived; raise TimeoutError at the deadline."""
        self._connection.settimeout(max(self.deadline - time.monotonic(), 1e-3))
        return self._connection.recv_into(buffer)

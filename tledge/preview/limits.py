"""Limit what clients of the preview server may send and take: sizes, time, connections and memory."""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Callable
from typing import Any

MAX_BODY_BYTES = 32 << 20
"""Largest body of a request: enough for a large photo."""

MAX_KEY_BYTES = 1 << 10
"""Largest body of a request that shows the key: it is read before the client is known."""

HEADER_SECONDS = 20.0
"""Time that a client has to send the headers of a request, however slowly it sends them."""

PIECE_BYTES = 64 << 10
"""A client has `PIECE_SECONDS` for each piece of a body, sent or taken. A large one may so take its time on a
slow link, and a client that makes no progress is still cut off."""

PIECE_SECONDS = 20.0
"""Time for a piece of a body: at least 3 KiB a second."""

BUFFER_BYTES = 128 << 10
"""Bytes that the system buffers for a connection in each direction (Linux takes twice this). Without a limit
it buffers megabytes for each client that reads nothing."""

MAX_HELD_BYTES = 128 << 20
"""Bytes of request bodies held in memory at a time; further requests wait."""

TURN_SECONDS = 60.0
"""Time that a request waits until there is room for its body."""

MAX_CONNECTIONS = 512
"""Connections open at a time, because each takes a thread; further ones replace those that only wait."""


class DeadlineReader(io.RawIOBase):
    """Read from a connection until `deadline`: a client that sends a byte now and then gains no time.

    In a body, each piece that has arrived gains time for the next one.
    """

    deadline = 0.0
    """The moment, on the monotonic clock, at which reading fails."""

    received = 0
    """Bytes of the body that have arrived."""

    _is_body = False

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def readable(self) -> bool:
        """Report that this stream can be read, as `io.BufferedReader` requires."""
        return True

    def begin_request(self, seconds: float) -> None:
        """Give the headers of a request so many seconds."""
        self._is_body = False
        self.deadline = time.monotonic() + seconds

    def begin_body(self) -> None:
        """Give each piece of a body `PIECE_SECONDS`."""
        self._is_body = True
        self.received = 0
        self.deadline = time.monotonic() + PIECE_SECONDS

    def readinto(self, buffer: Any) -> int:
        """Read the bytes that have arrived; raise TimeoutError at the deadline."""
        self._connection.settimeout(max(self.deadline - time.monotonic(), 1e-3))
        count = self._connection.recv_into(buffer)
        pieces = self.received // PIECE_BYTES
        self.received += count
        if self._is_body and self.received // PIECE_BYTES > pieces:
            self.deadline = time.monotonic() + PIECE_SECONDS
        return count


class NoProgress(TimeoutError):
    """A client stopped `doing` something ("reading", "sending") with a body; `done` bytes went through."""

    def __init__(self, doing: str, done: int) -> None:
        super().__init__(f"stopped {doing} after {done} bytes")
        self.doing, self.done = doing, done


def send_body(connection: socket.socket, body: bytes) -> None:
    """Send a body, however long that takes; raise NoProgress where a piece is not taken in time."""
    view = memoryview(body)
    connection.settimeout(PIECE_SECONDS)  # of each `sendall` as a whole
    for start in range(0, len(view), PIECE_BYTES):
        try:
            connection.sendall(view[start : start + PIECE_BYTES])
        except TimeoutError:
            raise NoProgress("reading", start) from None


def read_body(reader: DeadlineReader, read: Callable[[int], bytes], length: int) -> bytes:
    """Read a body of `length` bytes, fewer where the client ends it early; raise NoProgress as `send_body`.

    `read` reads from a buffer of `reader`.
    """
    reader.begin_body()
    try:
        return read(length)
    except TimeoutError:
        raise NoProgress("sending", reader.received) from None

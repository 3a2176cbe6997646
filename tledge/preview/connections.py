"""Choose which connections stay open where clients open more than the server holds.

A client that says nothing, reads nothing or has no key must not keep the owner out. So where all places are
taken, a new connection gets the place of another one: the oldest of the client that has most of them.
"""

from __future__ import annotations

import socket
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock


@dataclass
class _Client:
    """The address of a connection's client, and whether a request that showed the key is being served."""

    address: str
    is_served: bool = False


class Connections:
    """The open connections, oldest first, at most so many."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: dict[socket.socket, _Client] = {}
        self._lock = Lock()

    def admit(self, connection: socket.socket, address: str) -> tuple[bool, str]:
        """Give a new connection a place.

        Returns whether it has one, and the address of the client whose connection was closed for it ("" for
        none). It has none where requests with the key are being served at all places.
        """
        with self._lock:
            closed = ""
            if len(self._open) >= self._most:
                if (victim := self._expendable()) is None:
                    return False, closed
                closed = self._open.pop(victim).address
                with suppress(OSError):  # its client has gone meanwhile
                    victim.shutdown(socket.SHUT_RDWR)
            self._open[connection] = _Client(address)
            return True, closed

    def serve(self, connection: socket.socket) -> None:
        """Note that the client showed the key: its connection stays open until `wait_for_request`."""
        with self._lock:
            if client := self._open.get(connection):
                client.is_served = True

    def wait_for_request(self, connection: socket.socket) -> None:
        """Note that a connection waits for a request; it counts as the newest if it was served."""
        with self._lock:
            client = self._open.get(connection)
            if client and client.is_served:
                client.is_served = False
                self._open[connection] = self._open.pop(connection)

    def remove(self, connection: socket.socket) -> None:
        """Give the place of a connection back that has ended."""
        with self._lock:
            self._open.pop(connection, None)

    def _expendable(self) -> socket.socket | None:
        """Return the oldest connection, among those not served, of the address that has most of them."""
        waiting = {
            connection: client.address for connection, client in self._open.items() if not client.is_served
        }
        if not waiting:
            return None
        counts = Counter(waiting.values())
        address = max(counts, key=counts.__getitem__)
        return next(connection for connection, client in waiting.items() if client == address)

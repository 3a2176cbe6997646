"""Read a file once for all clients that take it at the same time, so that memory does not grow with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock


class SharedFiles:
    """Files by name, held in memory while somebody takes them; `read` reads one."""

    def __init__(self, read: Callable[[str], bytes]) -> None:
        self._read = read
        self._held: dict[str, tuple[bytes, int]] = {}
        self._lock = Lock()

    @contextmanager
    def hold(self, name: str) -> Iterator[bytes]:
        """Yield the bytes of a file, which are those that others hold already; read one file at a time."""
        with self._lock:
            data, holders = self._held.get(name) or (self._read(name), 0)
            self._held[name] = (data, holders + 1)
        try:
            yield data
        finally:
            with self._lock:
                data, holders = self._held.pop(name)
                if holders > 1:
                    self._held[name] = (data, holders - 1)

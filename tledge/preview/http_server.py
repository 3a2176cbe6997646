"""Hold the preview's connections: their number, their threads, and what they share."""

from __future__ import annotations

import sys
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import BoundedSemaphore, Lock
from typing import Any

from tledge.preview import addresses, limits
from tledge.preview.site import Site


class PreviewServer(ThreadingHTTPServer):
    """Serve a site until it is shut down. `key` is required from every client; "" admits everyone."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(
        self, site: Site, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], key: str = ""
    ) -> None:
        super().__init__(address, handler)
        self.site = site
        self.key = key
        self.page_files = site.page_files()
        self.bundle_names = frozenset(site.bundle.files.names())
        self.held_bytes = limits.ByteBudget(limits.MAX_HELD_BYTES)
        self._last_file = lru_cache(1)(site.bundle_file)
        self._reading = Lock()
        self._connections = BoundedSemaphore(limits.MAX_CONNECTIONS)

    def bundle_file(self, name: str) -> bytes:
        """Read a file of the bundle, one at a time, and keep the last: many may ask for one model."""
        with self._reading:
            return self._last_file(name)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a connection its thread, or close it where too many are open."""
        if self._connections.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection to its end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()

    @property
    def port(self) -> int:
        """The port on which the server listens."""
        return int(self.server_address[1])

    @property
    def hosts(self) -> frozenset[str]:
        """The `Host` values that are accepted: this machine's own, and with a key its addresses."""
        return addresses.host_names(self.port, lan=bool(self.key))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print the traceback of an error of this server; ignore a client that disconnects."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

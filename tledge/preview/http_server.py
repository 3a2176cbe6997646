"""Hold the preview's connections: their number, their threads, and what they share."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tledge._process.byte_budget import ByteBudget
from tledge.preview import addresses, admission, limits
from tledge.preview.connections import Connections
from tledge.preview.notices import Notices
from tledge.preview.shared_files import SharedFiles
from tledge.preview.site import Site


class PreviewServer(ThreadingHTTPServer):
    """Serve a site until it is shut down, to clients that show `key`.

    With `lan` it answers to this machine's addresses in the network too; `tell` shows a line to its owner.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(
        self,
        site: Site,
        address: tuple[str, int],
        handler: type[BaseHTTPRequestHandler],
        *,
        lan: bool = False,
        tell: Callable[[str], None] = lambda _line: None,
    ) -> None:
        super().__init__(address, handler)
        self.site = site
        self.key = admission.new_key()
        self.lan = lan
        self.page_files = site.page_files()
        self.bundle_names = frozenset(site.bundle.files.names())
        self.bundle_files = SharedFiles(site.bundle_file)
        self.held_bytes = ByteBudget(limits.MAX_HELD_BYTES)
        self.connections = Connections(limits.MAX_CONNECTIONS)
        self.notices = Notices(tell)

    def server_bind(self) -> None:
        """Bind the socket; the connections that it accepts get its small buffers."""
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            self.socket.setsockopt(socket.SOL_SOCKET, option, limits.BUFFER_BYTES)
        super().server_bind()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a connection its thread, or close it where nobody makes room."""
        admitted, closed = self.connections.admit(request, client_address[0])
        if closed:
            self.notices.add(
                "connections",
                f"Preview: {limits.MAX_CONNECTIONS} connections are open, the most that may be; "
                f"for a new one the oldest of {closed} was closed.",
            )
        if admitted:
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection to its end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.connections.remove(request)

    @property
    def port(self) -> int:
        """The port on which the server listens."""
        return int(self.server_address[1])

    @property
    def hosts(self) -> frozenset[str]:
        """The `Host` values that are accepted: this machine's own, and with `lan` its addresses."""
        return addresses.host_names(self.port, lan=self.lan)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print the traceback of an error of this server; ignore a client that disconnects."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

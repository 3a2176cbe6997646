"""Start the server of `tledge preview`, which serves the page and its bundle and asks a run's other models.

It listens on the loopback interface unless told otherwise, accepts only its own host names (a page
elsewhere could otherwise reach it by DNS rebinding), takes POST requests only from its own page, and
serves no file but those of the page and the bundle. With `lan` it listens on the local network, and
the URL contains an access key.
"""

from __future__ import annotations

import secrets

from tledge.errors import RunError
from tledge.preview.handler import RequestHandler
from tledge.preview.http_server import PreviewServer
from tledge.preview.site import Site

PORT = 8765
"""The port that is tried first."""


def start(site: Site, *, port: int | None = None, lan: bool = False) -> PreviewServer:
    """Start a server on the loopback interface, or with `lan` on all interfaces with an access key.

    Args:
        site: What is served.
        port: The port to listen on; without it `PORT`, or a free one where that is taken.
        lan: Listen on the local network too.

    Returns:
        The server, which listens already; its `serve_forever` answers.

    Raises:
        RunError: The chosen port cannot be used.
    """
    host, key = ("0.0.0.0", secrets.token_urlsafe(9)) if lan else ("127.0.0.1", "")
    if port is None:
        try:
            return PreviewServer(site, (host, PORT), RequestHandler, key)
        except OSError:
            return PreviewServer(site, (host, 0), RequestHandler, key)
    try:
        return PreviewServer(site, (host, port), RequestHandler, key)
    except (OSError, OverflowError) as error:
        raise RunError(
            f"--port {port}: cannot be used ({error}). Leave the option out to get a free port."
        ) from error

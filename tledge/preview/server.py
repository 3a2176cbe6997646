"""Start the server of `tledge preview`, which serves the page and its bundle and asks a run's other models.

It listens on the loopback interface unless told otherwise, accepts only its own host names (a page
elsewhere could otherwise reach it by DNS rebinding), takes POST requests only from its own page, and
serves no file but those of the page and the bundle. The page itself is the same for everybody; everything
else needs the access key, because other users of this machine can connect too. With `lan` it also listens on
the local network.
"""

from __future__ import annotations

from collections.abc import Callable

from tledge.errors import RunError
from tledge.preview.handler import RequestHandler
from tledge.preview.http_server import PreviewServer
from tledge.preview.site import Site

PORT = 8765
"""The port that is tried first."""


def start(
    site: Site,
    *,
    port: int | None = None,
    lan: bool = False,
    tell: Callable[[str], None] = lambda _line: None,
) -> PreviewServer:
    """Start a server with a new access key on the loopback interface, or with `lan` on all interfaces.

    Args:
        site: What is served.
        port: The port to listen on; without it `PORT`, or a free one where that is taken.
        lan: Listen on the local network too.
        tell: Shows a line to the owner, about a client that was cut off.

    Returns:
        The server, which listens already; its `serve_forever` answers.

    Raises:
        RunError: The chosen port cannot be used.
    """
    host = "0.0.0.0" if lan else "127.0.0.1"
    if port is None:
        try:
            return PreviewServer(site, (host, PORT), RequestHandler, lan=lan, tell=tell)
        except OSError:
            return PreviewServer(site, (host, 0), RequestHandler, lan=lan, tell=tell)
    try:
        return PreviewServer(site, (host, port), RequestHandler, lan=lan, tell=tell)
    except (OSError, OverflowError) as error:
        raise RunError(
            f"--port {port}: cannot be used ({error}). Leave the option out to get a free port."
        ) from error

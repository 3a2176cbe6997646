"""Read a photo from an http or https address, within limits of size, time and redirects."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit, urlunsplit

from tledge._version import __version__
from tledge.errors import DataError

if TYPE_CHECKING:
    from urllib.request import OpenerDirector

MAX_BYTES = 64 << 20
"""Bytes of a photo; more is not read."""

MAX_REDIRECTS = 5
"""Redirects that are followed, each to http or https, and from https to https alone."""

PATIENCE, WHOLE = 15.0, 60.0
"""Seconds without a byte, and for the whole photo."""

CHUNK = 1 << 16

ADVICE = "Check the address and the network connection."


def is_url(text: str) -> bool:
    """Tell whether an argument is an http or https address."""
    return bool(re.match(r"https?://", text, re.IGNORECASE))


def read_url(address: str) -> bytes:
    """Return the bytes at an http or https address.

    Raises:
        DataError: It cannot be reached, the server refuses, it redirects too often or to another protocol, or
            what it sends is too large or takes too long.
    """
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.request import Request

    deadline = time.monotonic() + WHOLE
    try:
        request = Request(
            _ascii(address), headers={"User-Agent": f"tledge/{__version__}", "Accept": "image/*"}
        )
        with _opener().open(request, timeout=PATIENCE) as response:
            return _read(response, address, deadline)
    except HTTPError as error:
        error.close()
        raise DataError(f"{address}: the server answers {error.code} {_reason(error.reason)}.") from error
    except URLError as error:
        raise DataError(f"{address}: cannot be reached ({_reason(error.reason)}). {ADVICE}") from error
    except (OSError, HTTPException) as error:  # it takes too long, or the connection breaks
        raise DataError(f"{address}: cannot be read ({_reason(error)}). {ADVICE}") from error
    except ValueError as error:
        raise DataError(f"{address}: not a valid address ({error}).") from error


def _ascii(address: str) -> str:
    """Return an address as HTTP takes it: other characters as their codes."""
    parts = urlsplit(address)
    host = parts.netloc.encode("idna").decode() if not parts.netloc.isascii() else parts.netloc
    path, query = quote(parts.path, safe="/%:@!$&'()*+,;=~"), quote(parts.query, safe="/%:@!$&'()*+,;=~?")
    return urlunsplit((parts.scheme, host, path, query, ""))


def _opener() -> OpenerDirector:
    """Return what opens addresses: it follows few redirects, and none to another protocol."""
    from urllib.error import URLError
    from urllib.request import HTTPRedirectHandler, build_opener

    class Redirects(HTTPRedirectHandler):
        max_redirections = MAX_REDIRECTS
        max_repeats = MAX_REDIRECTS

        def redirect_request(self, request: Any, *rest: Any) -> Any:
            target = rest[-1]
            if not is_url(target) or (request.type == "https" and not target.lower().startswith("https:")):
                raise URLError(f"it redirects to {target}")
            return super().redirect_request(request, *rest)

    return build_opener(Redirects)


def _read(response: Any, address: str, deadline: float) -> bytes:
    announced = response.headers.get("Content-Length", "")
    size = int(announced) if announced.isdecimal() else 0
    data = bytearray()
    while size <= MAX_BYTES and (chunk := response.read1(CHUNK)):
        data += chunk
        size = max(size, len(data))
        if time.monotonic() > deadline:
            raise DataError(f"{address}: takes longer than {WHOLE:g} s. Download it first.")
    if size > MAX_BYTES:
        raise DataError(f"{address}: too large; at most {MAX_BYTES >> 20} MiB are read.")
    if len(data) < size:
        raise DataError(f"{address}: the connection ended after {len(data)} of {size} bytes. Try again.")
    return bytes(data)


def _reason(error: object) -> str:
    """Return the reason of an error without its number."""
    return " ".join(str(getattr(error, "strerror", None) or error or type(error).__name__).split())

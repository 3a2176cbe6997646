"""Decide whether a request may be served: one reading, a known host, the page's own origin, the key."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from email.message import Message
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie

from tledge.preview.replies import RequestRefused

COOKIE = "tledge_key"
"""The cookie that holds the access key."""


def require_unambiguous(method: str, version: str, headers: Message) -> None:
    """Raise RequestRefused for a request that a proxy could read in another way (request smuggling)."""
    if version not in ("HTTP/1.0", "HTTP/1.1"):
        raise RequestRefused(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "Expected HTTP/1.1.")
    repeated = any(len(headers.get_all(name, [])) > 1 for name in ("Host", "Content-Length", "Origin"))
    unexpected_body = method != "POST" and headers.get("Content-Length", "0") != "0"
    if repeated or unexpected_body or "Transfer-Encoding" in headers:
        raise RequestRefused(
            HTTPStatus.BAD_REQUEST,
            "The request is ambiguous: expected one Host, one Origin, and Content-Length for POST alone.",
        )


def require_own_page(hosts: frozenset[str], headers: Message) -> None:
    """Raise RequestRefused for a foreign host name (DNS rebinding) and for requests of other pages."""
    host = headers.get("Host", "")
    if host not in hosts:
        raise RequestRefused(HTTPStatus.MISDIRECTED_REQUEST, "This server has another host name.")
    origin = headers.get("Origin")
    if origin is not None and origin != f"http://{host}":
        raise RequestRefused(HTTPStatus.FORBIDDEN, "Only the page of this server may send requests.")


def require_key(key: str, query: Mapping[str, list[str]], headers: Message) -> None:
    """Raise RequestRefused where neither the address nor the cookie holds `key`; "" admits everyone."""
    if key and not hmac.compare_digest(_sent_key(query, headers).encode(), key.encode()):
        raise RequestRefused(
            HTTPStatus.FORBIDDEN, "Open the address with the key that tledge preview printed."
        )


def _sent_key(query: Mapping[str, list[str]], headers: Message) -> str:
    if "key" in query:
        return query["key"][0]
    try:
        cookie = SimpleCookie(headers.get("Cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return cookie.value if cookie else ""

"""Find a TensorFlow Hub module: in a cache of this account alone, else by downloading it from a known host.

A module is a program. So it comes from hosts that are known or named by the user, and the cache that keeps it
must not be one that another account of this machine can write into.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge._io import cache_folder, ownership, resource_errors
from tledge._process import optional_imports
from tledge.errors import MissingError, RecipeError, ResourceError

if TYPE_CHECKING:
    from urllib.request import HTTPRedirectHandler

FILES = "saved_model.pb and variables/"


PATIENCE = 30.0
"""Seconds without a byte after which a download is aborted."""

HOSTS = ("tfhub.dev", "www.kaggle.com", "kaggle.com")
"""Hosts of TensorFlow Hub."""

STORES = ("storage.googleapis.com",)
"""Hosts that these redirect to for the files."""

OTHER_HOSTS = "TLEDGE_HUB_HOSTS"
"""Environment variable: further hosts to download modules from, between commas."""


def resolve(handle: str) -> Path:
    """Return the folder of a SavedModel; download it where `handle` is a TF-Hub address `https://...`.

    An address is looked up in TFHUB_CACHE_DIR, without it in tledge's own cache, and downloaded there.

    Raises:
        MissingError: It is not on this machine and cannot be downloaded; the text says which files to
            put where.
        RecipeError: It would be downloaded from a host that is neither known nor named by the user.
        ResourceError: Another account of this machine could exchange it.
    """
    if handle.startswith("https://"):
        return _module(handle)
    folder = resource_errors.expanded(handle)
    if not (folder / "saved_model.pb").is_file():
        raise MissingError(
            f"{folder}: no SavedModel here. Expected a folder with {FILES}, or an address https://..."
        )
    return folder


def _module(handle: str) -> Path:
    """Return the cache folder of an address, filled by a download where it is empty."""
    folder = _cache_folder(handle)
    _require_own(folder)
    if (folder / "saved_model.pb").is_file():
        return folder
    _require_known_host(handle)
    reason = _download(handle, folder)
    if (folder / "saved_model.pb").is_file():
        return folder
    raise MissingError(
        f"{handle} is not on this machine and could not be downloaded ({reason}). Put its {FILES} "
        f"into {folder}, or give the path of a folder that holds them."
    )


def _cache_folder(handle: str) -> Path:
    """Return the folder in which tensorflow_hub keeps an address: the SHA-1 of its text."""
    named = os.environ.get("TFHUB_CACHE_DIR")
    root = Path(named) if named else cache_folder.cache_root() / "hub"
    return root / hashlib.sha1(handle.encode()).hexdigest()


def _require_own(folder: Path) -> None:
    """Raise ResourceError where another account could exchange a module or something in it."""
    variable = "TFHUB_CACHE_DIR" if os.environ.get("TFHUB_CACHE_DIR") else "TLEDGE_CACHE"
    advice = f"set {variable} to a folder of your own"
    ownership.require_own(folder.parent, "the modules in it, which are programs", advice)
    try:
        reason = ownership.fault_within(folder) if os.path.lexists(folder) else ""
    except OSError as error:
        raise ResourceError(resource_errors.refused(error, folder)) from error
    if reason:
        raise ResourceError(
            f"{folder}: {reason}. It is not used, because a module is a program. Remove it to download it "
            f"again (rm -r {shlex.quote(str(folder))}), or {advice}."
        )


def _require_known_host(handle: str) -> None:
    host = _host(handle)
    if not host:
        raise RecipeError(
            f"[model] backbone: {handle!r} is no address of a module. Expected https://HOST/PATH."
        )
    if host not in (*HOSTS, *_other_hosts()):
        raise RecipeError(
            f"[model] backbone: {handle}: a module is a program, and is downloaded from {HOSTS[0]} and "
            f"{HOSTS[1]} alone. Set {OTHER_HOSTS}={host} if you trust {host}."
        )


def _host(address: str) -> str:
    """Return the host of an address, "" where it is not plainly `https://HOST/...`."""
    plain = re.fullmatch(r"https://([a-z0-9.-]+)(:\d+)?(/.*)?", address, re.IGNORECASE)
    return plain.group(1).lower() if plain else ""


def _other_hosts() -> list[str]:
    return [host.strip().lower() for host in os.environ.get(OTHER_HOSTS, "").split(",") if host.strip()]


def _download(handle: str, folder: Path) -> str:
    """Let tensorflow_hub fill the folder; return what to say if that was not enough."""
    hub = optional_imports.load("tensorflow_hub", "hub")
    try:
        ownership.make_private(folder.parent)
        with _cautious_urllib(), _environment("TFHUB_CACHE_DIR", str(folder.parent)):
            hub.resolve(handle)
        if folder.is_dir():
            folder.chmod(ownership.FOLDER_MODE)  # whatever the umask is
    except Exception as error:  # network, archive and TensorFlow errors, each with a class of its own
        return str(error)
    return "the download has no saved_model.pb"


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


@contextmanager
def _cautious_urllib() -> Iterator[None]:
    """Let urllib wait no longer than `PATIENCE`, and follow redirects to known hosts alone.

    tensorflow_hub calls it and offers no setting for either: behind a silent firewall it waits for minutes.
    """
    import urllib.request

    timeout, redirects = socket.getdefaulttimeout(), urllib.request.HTTPRedirectHandler
    socket.setdefaulttimeout(PATIENCE)
    urllib.request.HTTPRedirectHandler = _redirects_to_known_hosts()  # type: ignore[misc]
    try:
        yield
    finally:
        urllib.request.HTTPRedirectHandler = redirects  # type: ignore[misc]
        socket.setdefaulttimeout(timeout)


def _redirects_to_known_hosts() -> type[HTTPRedirectHandler]:
    """Return the class that follows redirects for urllib."""
    from urllib.error import URLError
    from urllib.request import HTTPRedirectHandler

    class KnownHosts(HTTPRedirectHandler):
        def redirect_request(self, *request: Any) -> Any:
            address = request[-1]
            if (host := _host(address)) not in (*HOSTS, *STORES, *_other_hosts()):
                raise URLError(
                    f"it leads to {address}. Set {OTHER_HOSTS}={host or 'HOST'} if you trust that host"
                )
            return super().redirect_request(*request)

    return KnownHosts

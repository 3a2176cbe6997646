"""Find a TensorFlow Hub module: in its cache, else by downloading it."""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
from pathlib import Path

from tledge._io import resource_errors
from tledge._process import optional_imports
from tledge.errors import MissingError

FILES = "saved_model.pb and variables/"


PATIENCE = 30.0
"""Seconds without a byte after which a download is aborted."""


def resolve(handle: str) -> Path:
    """Return the folder of a SavedModel; download it where `handle` is a TF-Hub address `https://...`.

    An address is looked up in the cache of tensorflow_hub (TFHUB_CACHE_DIR) and downloaded into it.

    Raises:
        MissingError: It is not on this machine and cannot be downloaded; the text says which files to
            put where.
    """
    is_address = handle.startswith("https://")
    folder = _cache_folder(handle) if is_address else resource_errors.expanded(handle)
    exists = (folder / "saved_model.pb").is_file
    reason = _download(handle) if is_address and not exists() else ""
    if exists():
        return folder
    if is_address:
        raise MissingError(
            f"{handle} is not on this machine and could not be downloaded ({reason}). Put its {FILES} "
            f"into {folder}, or give the path of a folder that holds them."
        )
    raise MissingError(
        f"{folder}: no SavedModel here. Expected a folder with {FILES}, or an address https://..."
    )


def _download(handle: str) -> str:
    """Let tensorflow_hub fill its cache; gives what to say if that was not enough."""
    hub = optional_imports.load("tensorflow_hub", "hub")
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)  # it sets none: behind a silent firewall it waits for minutes
    try:
        hub.resolve(handle)
    except Exception as error:  # network, archive and TensorFlow errors, each with a class of its own
        return str(error)
    finally:
        socket.setdefaulttimeout(before)
    return "the download has no saved_model.pb"


def _cache_folder(handle: str) -> Path:
    """Return the folder in which tensorflow_hub keeps an address: the SHA-1 of its text."""
    root = os.environ.get("TFHUB_CACHE_DIR") or Path(tempfile.gettempdir()) / "tfhub_modules"
    return Path(root) / hashlib.sha1(handle.encode()).hexdigest()

"""Find tledge's own cache folder, and make sure that no other account of this machine can change it."""

from __future__ import annotations

import os
from pathlib import Path

from tledge._io import ownership, resource_errors
from tledge.errors import ResourceError


def cache_root() -> Path:
    """Return the folder of all caches: `$TLEDGE_CACHE`, else `tledge` in the user's cache folder."""
    if named := os.environ.get("TLEDGE_CACHE"):
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return resource_errors.expanded(base) / "tledge"


def own_cache_root() -> Path:
    """Return the folder of all caches, which is created for this account alone where it is missing.

    Raises:
        ResourceError: another account could exchange it or a folder above it, or it cannot be created.
    """
    root = cache_root()
    ownership.require_own(root, "what is cached", "set TLEDGE_CACHE to a folder of your own")
    try:
        ownership.make_private(root)
    except OSError as error:
        raise ResourceError(resource_errors.refused(error, root)) from error
    return root

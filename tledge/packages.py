"""What is installed of all that tledge and its extras ask for: what runs and artifacts are made with."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from tledge import __version__
from tledge.shipped import package_key

if TYPE_CHECKING:
    from packaging.requirements import Requirement

ASIDE = {"dev", "docs", "all"}
"""Extras of tledge with which nothing is made, and what only repeats others."""


def made_with() -> dict[str, Any]:
    """Versions of tledge and Python, and of the packages that are installed; JSON takes it."""
    return {"tledge": __version__, "python": platform.python_version(), "packages": dict(installed())}


@cache
def installed() -> dict[str, str]:
    """Versions of the installed packages that tledge, its extras and these in turn ask for, by name.

    Empty where tledge itself is not installed, for then nothing says what it asks for.
    """
    from importlib import metadata

    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [("tledge", extra) for extra in ("", *_extras("tledge")) if extra not in ASIDE]
    while waiting:
        name, extra = waiting.pop()
        if (package_key(name), extra) in seen:
            continue
        seen.add((package_key(name), extra))
        try:
            found[package_key(name)] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        for asked in _asked(name, extra):
            waiting += [(asked.name, one) for one in ("", *sorted(asked.extras))]
    found.pop("tledge", None)
    return dict(sorted(found.items()))


def _extras(name: str) -> Iterable[str]:
    from importlib import metadata

    try:
        return metadata.metadata(name).get_all("Provides-Extra") or ()
    except metadata.PackageNotFoundError:
        return ()


def _asked(name: str, extra: str) -> Iterator[Requirement]:
    """What an installed package requires on this machine with one of its extras, "" for none."""
    from importlib import metadata

    from packaging.requirements import Requirement

    for line in metadata.requires(name) or ():
        asked = Requirement(line)
        if asked.marker is None or asked.marker.evaluate({"extra": extra}):
            yield asked

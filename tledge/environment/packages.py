"""What is installed of all that tledge and its extras ask for: what runs and artifacts are made with."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from tledge._io.resources import package_key
from tledge._version import __version__

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

    try:
        extras = metadata.metadata("tledge").get_all("Provides-Extra") or ()
    except metadata.PackageNotFoundError:
        return {}
    wanted = [extra for extra in ("", *extras) if extra not in ASIDE]
    return closure(one for extra in wanted for one in _asked("tledge", extra))


def closure(roots: Iterable[Requirement]) -> dict[str, str]:
    """Versions of those of the packages that are installed, and of what they ask for, by `package_key`."""
    from importlib import metadata

    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [one for root in roots for one in _parts(root)]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen or name == "tledge":
            continue
        seen.add((name, extra))
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        waiting += [one for asked in _asked(name, extra) for one in _parts(asked)]
    return dict(sorted(found.items()))


def _parts(asked: Requirement) -> list[tuple[str, str]]:
    """A package by itself, and with each extra that is asked for."""
    return [(package_key(asked.name), extra) for extra in ("", *sorted(asked.extras))]


def _asked(name: str, extra: str) -> Iterator[Requirement]:
    """What an installed package requires on this machine with one of its extras, "" for none."""
    from importlib import metadata

    from packaging.requirements import Requirement

    for line in metadata.requires(name) or ():
        asked = Requirement(line)
        if asked.marker is None or asked.marker.evaluate({"extra": extra}):
            yield asked

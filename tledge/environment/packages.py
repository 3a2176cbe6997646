"""List the installed packages that tledge and its extras require; runs and artifacts record them."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from tledge._io.resources import package_key
from tledge._version import __version__

if TYPE_CHECKING:
    from packaging.requirements import Requirement

IGNORED_EXTRAS = {"dev", "docs", "all"}
"""Extras of tledge that make no artifact, and the one that repeats the others."""


def made_with() -> dict[str, Any]:
    """Return the versions of tledge, Python and the installed packages, as values for JSON."""
    return {"tledge": __version__, "python": platform.python_version(), "packages": dict(installed())}


@cache
def installed() -> dict[str, str]:
    """Return the versions of the installed packages that tledge, its extras and these in turn require.

    Empty where tledge itself is not installed, because its requirements are then unknown.
    """
    from importlib import metadata

    try:
        extras = metadata.metadata("tledge").get_all("Provides-Extra") or ()
    except metadata.PackageNotFoundError:
        return {}
    used_extras = [extra for extra in ("", *extras) if extra not in IGNORED_EXTRAS]
    return closure(required for extra in used_extras for required in _requirements("tledge", extra))


def closure(roots: Iterable[Requirement]) -> dict[str, str]:
    """Return the versions of the installed `roots` and of all that they require, by `package_key`."""
    from importlib import metadata

    found_versions: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [pair for root in roots for pair in _name_and_extras(root)]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen or name == "tledge":
            continue
        seen.add((name, extra))
        try:
            found_versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        waiting += [pair for required in _requirements(name, extra) for pair in _name_and_extras(required)]
    return dict(sorted(found_versions.items()))


def _name_and_extras(requirement: Requirement) -> list[tuple[str, str]]:
    """Pair a package's name with "" and with each extra that is required."""
    return [(package_key(requirement.name), extra) for extra in ("", *sorted(requirement.extras))]


def _requirements(name: str, extra: str) -> Iterator[Requirement]:
    """Yield what an installed package requires on this machine with one of its extras, "" for none."""
    from importlib import metadata

    from packaging.requirements import Requirement

    for line in metadata.requires(name) or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield requirement

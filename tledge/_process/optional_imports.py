"""What a thing needs that may not be installed: modules, and the one command that brings them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec


@dataclass(frozen=True)
class Needs:
    """Top-level `modules` that something imports, and the `command` to type where one is missing."""

    modules: tuple[str, ...]
    command: str

    def absent(self) -> tuple[str, ...]:
        """Those of the modules that are not installed; none is imported for that."""
        return tuple(name for name in self.modules if not _is_found(name))


def _is_found(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):  # a finder that refuses; a module without a spec
        return False


def extra(name: str) -> str:
    """The command that installs an extra of tledge."""
    return f"pip install 'tledge[{name}]'"

"""Packages taken away from this process, as if they had never been installed."""

import sys
from collections.abc import Collection, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest


class Blocker:
    """A finder in front of all others that knows nothing of some top-level modules, and says so."""

    def __init__(self, names: Collection[str]) -> None:
        self.names = set(names)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


def block(monkeypatch: pytest.MonkeyPatch, names: Collection[str]) -> None:
    """Make imports of these fail until the test ends, also of what was imported before."""
    for loaded in list(sys.modules):
        if loaded.partition(".")[0] in names:
            monkeypatch.delitem(sys.modules, loaded)
    blocker = Blocker(())
    # It stays, blocking nothing: another list put back would lack the finders that imports added (six).
    sys.meta_path.insert(0, blocker)
    monkeypatch.setattr(blocker, "names", set(names))


def pretend(monkeypatch: pytest.MonkeyPatch, names: Collection[str]) -> None:
    """Make these look installed; nothing is in them."""
    for name in names:
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module)

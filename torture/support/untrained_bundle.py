"""A bundle made without training."""

from __future__ import annotations

from pathlib import Path

from torture.support.workspace import Workspace


def make_bundle(workspace: Workspace) -> Path:
    """Make a bundle without training, once."""
    from tests.helpers import fake_device_bundle

    path = workspace.work / "colours"
    return path if path.is_dir() else fake_device_bundle.make(path)

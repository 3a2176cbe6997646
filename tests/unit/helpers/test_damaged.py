"""The folder of damaged photos holds what the other tests take from it."""

from __future__ import annotations

from pathlib import Path

from tests.helpers import damaged


def test_build_names_every_file(tmp_path: Path) -> None:
    bad = damaged.build(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        *bad,
        *damaged.FINE,
        *damaged.IGNORED,
        damaged.DANGLING,
    }
    assert len(bad) >= 27

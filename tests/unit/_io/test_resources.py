"""What ships beside the code: recipes, projects, and pins."""

from __future__ import annotations

from tledge._io import resources


def test_pins_are_read_by_comparable_names() -> None:
    pins = resources.tested_versions()
    assert len(pins) > 50 and pins["tensorflow-datasets"] and pins["tf-keras"]
    assert [name for name in pins if name != resources.package_key(name)] == []

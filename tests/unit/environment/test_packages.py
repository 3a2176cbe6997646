"""The installed packages that tledge requires, with their extras and markers."""

from __future__ import annotations

import json

from packaging.requirements import Requirement

from tledge.environment import packages


def test_closure_follows_extras_and_markers() -> None:
    found = packages.closure([Requirement("cyclonedx-python-lib[json-validation]"), Requirement("no-such-1")])
    assert {"cyclonedx-python-lib", "jsonschema", "rfc3339-validator"} <= set(found)
    assert "no-such-1" not in found and "colorama" not in found
    plain = packages.closure([Requirement("cyclonedx-python-lib")])
    assert "rfc3339-validator" not in plain


def test_made_with_is_plain_and_names_what_makes() -> None:
    made = packages.made_with()
    assert json.loads(json.dumps(made)) == made
    assert {"numpy", "pillow", "click"} <= set(made["packages"]) and "pytest" not in made["packages"]

"""The schema takes the manifest of a trained bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tledge._io import resources

SCHEMA: dict[str, Any] = json.loads((resources.folder("export") / "manifest.schema.json").read_text("utf-8"))


def test_validator_takes_a_trained_bundle(small_run: Path) -> None:
    validator = pytest.importorskip("jsonschema").Draft202012Validator
    validator(SCHEMA).validate(json.loads((small_run / "bundle" / "manifest.json").read_text("utf-8")))

"""A bundle opened to predict."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.helpers.doubt import FITTED
from tests.helpers.fake_artifacts import bundle
from tledge import reader


def with_confidence(folder: Path, fitted: dict[str, Any] | None) -> Path:
    """The tiny bundle, its manifest naming this confidence."""
    raw = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(raw | {"confidence": fitted}))
    return folder


def test_bundle_brings_its_confidence(tmp_path: Path) -> None:
    folder = with_confidence(bundle(tmp_path / "bundle"), asdict(FITTED))
    assert reader.open_predictor(folder).confidence == FITTED
    assert reader.open_predictor(folder / "tflite-fp32.tflite").confidence is None
    assert reader.open_predictor(with_confidence(folder, None)).confidence is None

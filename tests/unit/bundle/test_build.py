"""What the bundle says of a model's doubt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.helpers.doubt import FITTED, risky, row
from tledge.bundle import build as bundling
from tledge.bundle import manifest
from tledge.run.folder import RunFolder


def test_manifest_and_readme_say_it(tmp_path: Path) -> None:
    trained = RunFolder(risky(tmp_path / "run")).read_run()
    made = bundling._manifest(trained, [row("onnx-fp32", 0.93)], (), {"onnx-fp32": ()}, False, tmp_path)
    assert made.confidence == FITTED and made.artifacts[0].coverage == 0.93
    assert manifest.parse_manifest(manifest.manifest_json(made).encode(), "here") == made
    assert "Where the largest is below 0.62, the model is unsure." in bundling._readme(made, trained, None)
    silent = replace(made, confidence=replace(FITTED, threshold=0.0))
    assert "unsure" not in bundling._readme(silent, trained, None)

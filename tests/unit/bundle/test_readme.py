"""`README.md` of a bundle: the confidence threshold, and users' text that stays plain text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.doubt import FITTED, risky, row
from tledge.bundle import build, readme
from tledge.bundle.manifest import Manifest, Unsupported, manifest_json, parse_manifest
from tledge.run.folder import RunFolder
from tledge.run.records import TrainedRun

pytest.importorskip("jinja2")


@pytest.fixture
def run(tmp_path: Path) -> TrainedRun:
    return RunFolder(risky(tmp_path / "run")).read_run()


@pytest.fixture
def manifest(run: TrainedRun, tmp_path: Path) -> Manifest:
    return build._manifest(run, [row("onnx-fp32", 0.93)], (), {"onnx-fp32": ((), ())}, False, tmp_path)


def test_manifest_holds_the_policy(manifest: Manifest) -> None:
    assert manifest.confidence == FITTED and manifest.artifacts[0].coverage == 0.93
    assert parse_manifest(manifest_json(manifest).encode(), "here") == manifest


def test_readme_names_kernels_that_do_not_run(manifest: Manifest, run: TrainedRun) -> None:
    family = Unsupported("reference", "LiteRT with reference kernels crashed (SIGABRT).")
    artifact = replace(manifest.artifacts[0], unsupported=(family,))
    text = readme.text(replace(manifest, artifacts=(artifact,)), run, None)
    assert "runs with the other kernels alone. LiteRT with reference kernels crashed" in text
    assert "other kernels" not in readme.text(manifest, run, None)


def test_readme_explains_the_threshold(manifest: Manifest, run: TrainedRun) -> None:
    assert 'Predictions with a confidence below 62.0% are treated as "unsure".' in readme.text(
        manifest, run, None
    )
    never_unsure = replace(FITTED, threshold=0.0, reason="too few photos")
    text = readme.text(replace(manifest, confidence=never_unsure), run, None)
    assert "The confidence threshold is not set: too few photos; no prediction is treated" in text
    assert "below" not in text


def test_text_of_users_is_no_markup(manifest: Manifest, run: TrainedRun) -> None:
    hostile = replace(manifest, name="a_b", description="# *big*\n<b>", labels=("c|d", "`e`"))
    text = readme.text(hostile, run, None)
    assert text.startswith("# a\\_b 1\n\n\\# \\*big\\* \\<b\\>\n")
    assert "Classes: c\\|d, \\`e\\`. Input" in text


def test_artifact_that_takes_no_bytes_is_named(run: TrainedRun, manifest: Manifest) -> None:
    wide = replace(manifest.artifacts[0], variant="tflite-int16x8", path="tflite-int16x8.tflite")
    words = "`tflite-int16x8.tflite` takes `int16` instead"
    assert words in readme.text(replace(manifest, artifacts=(wide,)), run, None)
    assert "instead" not in readme.text(manifest, run, None)


def test_many_classes_are_counted(run: TrainedRun, manifest: Manifest) -> None:
    many = replace(manifest, labels=tuple(f"species {number}" for number in range(41)))
    assert "Classes: the 41 lines of `labels.txt`. Input" in readme.text(many, run, None)

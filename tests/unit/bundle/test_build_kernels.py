"""What a bundle records of kernel families that do not run an artifact."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import crashing_models, fake_device_bundle
from tests.helpers.command_line import Cli
from tledge._io import files
from tledge.bundle import build
from tledge.bundle.manifest import manifest_json
from tledge.bundle.reader import open_bundle
from tledge.devices import mcu_sources
from tledge.errors import ArtifactError
from tledge.run.records import ParityRow
from tledge.runtime import sandbox

IMAGES = np.zeros((2, 8, 8, 3), np.uint8)


@pytest.fixture(scope="module", autouse=True)
def no_process_left() -> Iterator[None]:
    yield
    sandbox.close_all()


def recorded(folder: Path, model: bytes, verdict: str = "passed") -> build.Recorded:
    """What a bundle in `folder` records of a tflite-int8."""
    (folder / "golden").mkdir(parents=True)
    path = folder / "tflite-int8.tflite"
    path.write_bytes(model)
    row = ParityRow("tflite-int8", path.name, files.sha256(path), len(model), verdict)
    return build._write_expected(folder / "golden", row, IMAGES)


def test_family_that_crashes_is_recorded_and_the_others_ship(tmp_path: Path) -> None:
    expected, unsupported = recorded(tmp_path, crashing_models.many_labels(600))
    assert [one.kernels for one in expected] == ["xnnpack", "builtin"]
    assert {path.name for path in (tmp_path / "golden").iterdir()} == {
        "tflite-int8.xnnpack.npy", "tflite-int8.builtin.npy",
    }  # fmt: skip
    (family,) = unsupported
    assert family.kernels == "reference" and "malicious" not in family.reason
    assert family.reason.startswith("LiteRT with reference kernels crashed (SIGABRT). Their int8 softmax")


def test_few_labels_run_with_every_family(tmp_path: Path) -> None:
    expected, unsupported = recorded(tmp_path, crashing_models.many_labels(500))
    assert len(expected) == 3 and unsupported == ()


def test_artifact_that_no_family_runs(tmp_path: Path) -> None:
    """It does not ship as verified; unverified it does, and the manifest says so."""
    broken = crashing_models.many_labels(600)[:200]
    with pytest.raises(ArtifactError, match=r"tflite-int8\.tflite: LiteRT does not load it"):
        recorded(tmp_path / "a", broken)
    expected, unsupported = recorded(tmp_path / "b", broken, "failed")
    assert expected == () and [one.kernels for one in unsupported] == ["xnnpack", "builtin", "reference"]


@pytest.fixture
def bundle_without_reference(tmp_path: Path) -> Path:
    """A bundle whose tflite-int8 has no answers with reference kernels, and the reason why."""
    bundle = fake_device_bundle.make(tmp_path / "bundle")
    opened = open_bundle(bundle)
    artifacts = list(opened.manifest.artifacts)
    number = [one.variant for one in artifacts].index("tflite-int8")
    kept = tuple(one for one in artifacts[number].expected if one.kernels != "reference")
    family = build.Unsupported("reference", "LiteRT with reference kernels crashed (SIGABRT).")
    artifacts[number] = replace(artifacts[number], expected=kept, unsupported=(family,))
    text = manifest_json(replace(opened.manifest, artifacts=tuple(artifacts)))
    (bundle / "manifest.json").write_text(text, encoding="utf-8")
    (bundle / "golden" / "tflite-int8.reference.npy").unlink()
    fake_device_bundle.write_sums(bundle)
    return bundle


def test_key_is_written_only_where_needed(bundle_without_reference: Path) -> None:
    artifacts = json.loads((bundle_without_reference / "manifest.json").read_text())["artifacts"]
    assert ["unsupported" in one for one in artifacts] == [
        one["variant"] == "tflite-int8" for one in artifacts
    ]


def test_verify_says_why_a_family_has_no_answers(bundle_without_reference: Path, cli: Cli) -> None:
    assert "At export" not in cli("verify", bundle_without_reference, "--quiet").out
    done = cli("verify", bundle_without_reference, "--quiet", "--kernels", "reference")
    assert done.code == 4 and "At export: LiteRT with reference kernels crashed (SIGABRT)." in done.out


def test_microcontroller_says_why_it_cannot_run_it(bundle_without_reference: Path) -> None:
    bundle = open_bundle(bundle_without_reference)
    with pytest.raises(ArtifactError, match=r"which do not run it\. At export: LiteRT with reference"):
        mcu_sources._expected_outputs(bundle_without_reference / "tflite-int8.tflite", bundle)

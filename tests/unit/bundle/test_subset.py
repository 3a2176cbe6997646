"""The part of a bundle for a device: small, a bundle in itself, with the same answers for its photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import fake_device_bundle
from tledge.bundle import manifest as bundle_manifest
from tledge.bundle import preview_page, subset
from tledge.bundle.reader import open_bundle
from tledge.devices import projects
from tledge.errors import ArtifactError

SIDE, PHOTOS = 224, 19
INT8, FP32 = "tflite-int8", "tflite-fp32"


@pytest.fixture(scope="module")
def usual(shared_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shared bundle grown to usual sizes: 224 px, a float model of 2 MB, photos, and the preview page."""
    folder = tmp_path_factory.mktemp("usual") / "bundle"
    opened = open_bundle(shared_bundle)
    opened.extract(folder)
    rng, count = np.random.default_rng(1), len(opened.manifest.golden)
    np.save(folder / "golden" / "pixels.npy", rng.integers(0, 256, (count, SIDE, SIDE, 3), np.uint8))
    for case in opened.manifest.golden:
        (folder / "golden" / case.photo).write_bytes(rng.bytes(45_000))
    (folder / "tflite-fp32.tflite").write_bytes(rng.bytes(2_000_000))
    (folder / subset.TEXTS[-1]).write_bytes(bytes(60_000))
    manifest = replace(opened.manifest, input=replace(opened.manifest.input, height=SIDE, width=SIDE))
    size, sha256 = 2_000_000, fake_device_bundle.io_files.sha256(folder / "tflite-fp32.tflite")
    float_model = next(entry for entry in manifest.artifacts if entry.variant == FP32)
    others = tuple(entry for entry in manifest.artifacts if entry.variant != FP32)
    manifest = replace(manifest, artifacts=(replace(float_model, bytes=size, sha256=sha256), *others))
    (folder / "manifest.json").write_text(bundle_manifest.manifest_json(manifest), encoding="utf-8")
    (folder / preview_page.NAME).write_bytes(bytes(4_000_000))
    fake_device_bundle.write_sums(folder)
    return folder


def size_of(folder: Path, *left_out: str) -> int:
    """Bytes of all files but those whose name begins with one of `left_out`."""
    names = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(left_out)]
    return sum(path.stat().st_size for path in names)


@pytest.mark.parametrize("name", ["raspberry_pi", "android", "microcontroller", "cpp"])
def test_project_has_two_megabytes_beside_its_model(
    usual: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    target = replace(projects.TARGETS[name], fill=None)  # tflite-micro is not asked of these models
    monkeypatch.setattr(projects, "TARGETS", {name: target})
    filled = projects.fill(name, usual, tmp_path / name)
    generated = 1_250_000 if name == "microcontroller" else 0  # three cases of 2^18 bytes as C arrays
    assert size_of(filled.folder, INT8) + generated < 2_000_000 < size_of(usual, INT8)
    assert filled.variants == (INT8,) and filled.left_out == (FP32,) and filled.photos >= 2
    assert not (filled.folder / "bundle" / preview_page.NAME).exists()


def test_web_has_its_runtime_once(usual: Path, tmp_path: Path) -> None:
    filled = projects.fill("web", usual, tmp_path / "web")
    assert [path.name for path in filled.folder.rglob("*litert.wasm*")] == ["litert.wasm.gz"]
    assert size_of(filled.folder, INT8, "litert") < 2_000_000


def test_part_answers_as_the_whole(usual: Path, tmp_path: Path) -> None:
    whole = open_bundle(usual)
    kept = subset.write(whole, tmp_path / "part", (INT8, FP32), 900_000)
    part = open_bundle(tmp_path / "part")
    part.check_sums()
    assert part.manifest.labels == whole.manifest.labels and kept.variants == (INT8,)
    assert [case.tensor for case in part.manifest.golden] == list(range(len(kept.rows)))
    assert any(case.encoding for case in part.manifest.golden) and len(part.manifest.photos) >= 2
    before, after = whole.golden(), part.golden()
    assert set(after) == {name for name in before if not name.startswith(FP32)}
    for name, array in after.items():
        assert np.array_equal(array, before[name][list(kept.rows)]), name
    for case, row in zip(part.manifest.golden, kept.rows, strict=True):
        assert case.photo == whole.manifest.golden[row].photo


@pytest.mark.parametrize(("room", "variants"), [(0, (INT8,)), (10_000_000, (INT8, FP32))])
def test_room_decides_what_is_left_out(
    usual: Path, tmp_path: Path, room: int, variants: Sequence[str]
) -> None:
    kept = subset.write(open_bundle(usual), tmp_path / "part", (INT8, FP32, "tflite-fp16"), room)
    assert kept.variants == variants
    assert len(kept.rows) == (len(open_bundle(usual).manifest.golden) if room else 1)


def test_first_photos_are_of_different_labels(usual: Path, tmp_path: Path) -> None:
    subset.write(open_bundle(usual), tmp_path / "part", (INT8,), 1_100_000)
    labels = [case.label for case in open_bundle(tmp_path / "part").manifest.photos]
    assert len(set(labels)) == len(labels) >= 2


def test_changed_part_is_refused(usual: Path, tmp_path: Path) -> None:
    subset.write(open_bundle(usual), tmp_path / "part", (INT8,), 0)
    fake_device_bundle.change_byte(tmp_path / "part" / "labels.txt")
    with pytest.raises(ArtifactError, match=r"labels\.txt was changed"):
        open_bundle(tmp_path / "part").check_sums()

"""Bundles made to do harm: nothing is written elsewhere, nothing of theirs runs, words say what is wrong."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.fake_device_bundle import change, write_sums
from tledge import contract, reader, verification, words
from tledge.errors import ArtifactError
from tledge.predict import predict


@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe", b"", b"null", b"[]",
                                  b'{"manifest_version": 1, "manifest_version": 1}',
                                  b'{"manifest_version": 1' + b"0" * 10_000 + b"}"])  # fmt: skip
def test_text_that_is_no_manifest(text: bytes) -> None:
    with pytest.raises(
        ArtifactError, match=r"here: (not a readable tledge manifest|manifest version)"
    ) as refused:
        contract.parse_manifest(text, "here")
    assert len(str(refused.value)) < 500


def test_huge_manifest_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract.json, "loads", lambda *_one, **_two: pytest.fail("parsed"))
    with pytest.raises(ArtifactError, match=f"at most {contract.MAX_BYTES} expected"):
        contract.parse_manifest(b" " * (contract.MAX_BYTES + 1), "here")


LIES: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda raw: raw.update(labels=["\x1b[2J", "a", "b"]), r"labels\[0\]"),
    (lambda raw: raw.update(labels=["a\u202eb", "a", "b"]), r"labels\[0\]"),
    (lambda raw: raw.update(labels=["\ud800", "a", "b"]), r"labels\[0\]"),
    (lambda raw: raw.update(labels=["n" * 2000, "a", "b"]), r"labels\[0\] .* maxLength 1000"),
    (lambda raw: raw.update(labels=["a", "a", "b"]), "uniqueItems"),
    (lambda raw: raw.update(labels="abc"), "labels is 'abc'"),
    (lambda raw: raw.update(description="\x1b[31m"), "description"),
    (lambda raw: raw.update(surprise=1), "'surprise' is unknown"),
    (lambda raw: raw.update(manifest_version=True), "manifest version True"),
    (lambda raw: raw.update(manifest_version=2), "Install a tledge as new"),
    (lambda raw: raw["input"].update(height=0), "input.height is 0"),
    (lambda raw: raw["input"].update(height=10**9), "input.height"),
    (lambda raw: raw["input"].update(height=24.0), "input.height is 24.0"),
    (lambda raw: raw["input"].update(height=True), "input.height is True"),
    (lambda raw: raw["artifacts"][0].update(bytes=10**400), r"artifacts\[0\].bytes"),
    (lambda raw: raw["artifacts"][0].update(path="../x"), r"artifacts\[0\].path"),
    (lambda raw: raw["artifacts"][0].update(path="/x"), r"artifacts\[0\].path"),
    (lambda raw: raw["artifacts"][0].update(path="a\0b"), r"artifacts\[0\].path"),
    (lambda raw: raw["artifacts"][0].update(path="C:x"), r"artifacts\[0\].path"),
    (lambda raw: raw["artifacts"][0].update(output_scale=float("nan")), "output_scale is nan"),
    (lambda raw: raw["artifacts"].append(raw["artifacts"][0]), "stands there twice"),
    (lambda raw: raw["golden"][0].update(photo="../../etc/passwd"), r"golden\[0\].photo"),
    (lambda raw: raw["confidence"].update(temperature=float("inf")), "confidence.temperature is inf"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(LIES)))
def test_manifest_that_lies_is_refused(number: int, shared_bundle: Path) -> None:
    lie, words_ = LIES[number]
    raw = json.loads((shared_bundle / "manifest.json").read_text(encoding="utf-8"))
    lie(raw)
    with pytest.raises(ArtifactError, match=words_) as refused:
        contract.parse_manifest(json.dumps(raw).encode(), "here")
    assert words.printable(refused.value) == str(refused.value) and len(str(refused.value)) < 400


@pytest.mark.parametrize(
    "edit",
    [lambda raw: raw["labels"].pop(), lambda raw: raw["labels"].append("x"),
     lambda raw: raw["input"].update(height=99)],
)  # fmt: skip
def test_manifest_of_another_model_is_refused(edit: Callable[[dict[str, Any]], Any], bundle: Path) -> None:
    change(bundle, edit)
    with pytest.raises(ArtifactError, match="not its manifest"):
        reader.open_predictor(bundle)


def test_links_lead_nowhere(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (bundle / "labels.txt").unlink()
    (bundle / "labels.txt").symlink_to(tmp_path / "secret.txt")
    opened = reader.open_bundle(bundle)
    with pytest.raises(ArtifactError, match=r"has no file labels\.txt"):
        opened.files.read("labels.txt")
    (bundle / "circle").symlink_to("circle")
    for name in ("circle", "a\0b", "../../etc/passwd", "/etc/passwd"):
        with pytest.raises(ArtifactError):
            opened.files.read(name)


def test_large_file_is_not_read(bundle: Path) -> None:
    with (bundle / "tflite-int8.tflite").open("r+b") as file:
        file.truncate(1 << 36)  # of nothing: it takes no room
    with pytest.raises(ArtifactError, match="no file of a bundle"):
        reader.open_predictor(bundle)


def test_folder_of_too_many_files_is_told(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_FILES", 5)
    with pytest.raises(ArtifactError, match="more than 5 files"):
        reader.open_bundle(bundle).files.names()


ANSWERS = "golden/tflite-int8.xnnpack.npy"


def replaced(bundle: Path, kind: str) -> None:
    """Recorded answers that are none."""
    path = bundle / ANSWERS
    found = np.load(path, allow_pickle=False)
    if kind == "objects":
        np.save(path, np.array([Path], object), allow_pickle=True)
    elif kind == "huge":
        text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999, 99999), }".ljust(117) + b"\n"
        path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text)
    elif kind == "text":
        path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", 6) + b"{((((\n")
    else:
        np.save(path, found * np.float32(np.nan) if kind == "NaN" else found[:, :1])
    write_sums(bundle)


@pytest.mark.parametrize("kind", ["objects", "huge", "text"])
def test_answers_that_do_not_load_are_told(kind: str, bundle: Path) -> None:
    replaced(bundle, kind)
    with pytest.raises(ArtifactError, match="is damaged"):
        verification.verify_bundle(bundle)


@pytest.mark.parametrize(
    ("kind", "words_"), [("NaN", "differ from those recorded"), ("shape", "were recorded")]
)
def test_answers_that_say_nothing_do_not_pass(kind: str, words_: str, bundle: Path) -> None:
    """NaN compares with nothing, and a column would be spread over all classes."""
    replaced(bundle, kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        row = {one.variant: one for one in verification.verify_bundle(bundle).rows}["tflite-int8"]
    assert row.verdict == "failed" and words_ in " ".join(row.reasons)


def test_bundle_of_no_artifact_is_told(bundle: Path) -> None:
    change(bundle, lambda raw: raw.update(artifacts=[]))
    with pytest.raises(ArtifactError, match="names no artifact"):
        verification.verify_bundle(bundle)


def test_no_code_of_a_bundle_runs(bundle: Path, tmp_path: Path) -> None:
    """Its README says to work in its folder; other processes of tledge import nothing from there."""
    mark = tmp_path / "ran.txt"
    for name in ("numpy", "json", "tledge", "ai_edge_litert"):
        (bundle / f"{name}.py").write_text(f"open({str(mark)!r}, 'a').write({name!r})\nraise SystemExit(9)\n")
    write_sums(bundle)
    photo = next((bundle / "golden").glob("*.png")).relative_to(bundle)
    for arguments in (["predict", ".", str(photo)], ["verify", "."]):
        command = [sys.executable, "-P", "-m", "tledge", *arguments]
        done = subprocess.run(command, cwd=bundle, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 4) and "Traceback" not in done.stderr  # 4: these models carry no labels
        assert "tflite-int8" in done.stdout or "red" in done.stdout
    assert not mark.exists()


def test_answers_that_are_no_numbers_are_told(shared_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = reader.open_predictor(shared_bundle)
    photo = next((shared_bundle / "golden").glob("*.png"))
    for found, words_ in ((np.full((1, 3), np.nan), "no number"), (np.zeros((1, 4)), "expected")):
        monkeypatch.setattr(predictor.session, "run", lambda _images, found=found: found.astype(np.float32))
        with pytest.raises(ArtifactError, match=words_):
            list(predict(predictor, [photo], 3))

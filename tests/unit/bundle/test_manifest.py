"""The manifest: written, read back, and refused where it is not whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.manifests import MANIFEST
from tledge._io import encoding
from tledge.bundle import manifest
from tledge.bundle.manifest import MANIFEST_VERSION, manifest_json, parse_manifest
from tledge.contract import AbstentionPolicy
from tledge.errors import ArtifactError


def changed(**parts: Any) -> bytes:
    """The manifest as JSON with some of its entries replaced."""
    return json.dumps(json.loads(manifest_json(MANIFEST)) | parts).encode()


def without(name: str) -> bytes:
    raw = json.loads(manifest_json(MANIFEST))
    del raw[name]
    return json.dumps(raw).encode()


def test_manifest_comes_back_whole() -> None:
    assert parse_manifest(manifest_json(MANIFEST).encode(), "here") == MANIFEST


def test_manifest_without_extras_comes_back() -> None:
    bare = replace(MANIFEST, artifacts=(), golden=(), tledge="", unverified=True, confidence=None)
    assert parse_manifest(manifest_json(bare).encode(), "here") == bare


def test_earlier_manifest_knows_no_doubt() -> None:
    found = parse_manifest(without("confidence"), "here")
    assert found == replace(MANIFEST, confidence=None)


@pytest.mark.parametrize(
    ("heat", "threshold"),
    [(0.0, 0.5), (-1.0, 0.5), (inf, 0.5), (nan, 0.5), (1.0, -0.1), (1.0, 1.1), (1, nan)],
)
def test_senseless_confidence_is_refused(heat: float, threshold: float) -> None:
    with pytest.raises(ValueError, match="temperature"):
        AbstentionPolicy(heat, threshold)
    text = changed(confidence={"temperature": heat, "threshold": threshold})
    with pytest.raises(ArtifactError, match="here: the manifest is incomplete or changed"):
        parse_manifest(text, "here")


def test_manifest_text_is_readable() -> None:
    text = manifest_json(MANIFEST)
    assert text.endswith("}\n") and text.startswith('{\n  "artifacts": [\n    {\n')
    assert "チューリップ" in text
    assert list(json.loads(text)) == sorted(json.loads(text))


@pytest.mark.parametrize("version", [MANIFEST_VERSION + 1, 0, "1", None])
def test_other_version_is_refused(version: object) -> None:
    with pytest.raises(ArtifactError, match=rf"here: manifest version {version!r}.*Install"):
        parse_manifest(changed(manifest_version=version), "here")


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"3", b'"text"', b"{}", b"\xff\xfe", b"null"])
def test_damaged_manifest_is_refused(text: bytes) -> None:
    with pytest.raises(ArtifactError, match=r"zip/manifest\.json: not a readable tledge manifest"):
        parse_manifest(text, "zip/manifest.json")


@pytest.mark.parametrize("name", ["name", "labels", "input", "artifacts", "golden", "parameters"])
def test_incomplete_manifest_is_refused(name: str) -> None:
    with pytest.raises(ArtifactError, match=rf"here: the manifest is incomplete.*{name}"):
        parse_manifest(without(name), "here")


@pytest.mark.parametrize(
    "parts",
    [
        {"labels": None},
        {"input": None},
        {"input": {"height": 3}},
        {"artifacts": [{"variant": "onnx-fp32"}]},
        {"artifacts": 3},
        {"golden": [None]},
        {"confidence": 3},
        {"confidence": {}},
        {"confidence": {"temperature": 1.0}},
        {"confidence": {"temperature": "1.0", "threshold": 0.5}},
        {"surprise": 1},
    ],
    ids=str,
)
def test_changed_manifest_is_refused(parts: dict[str, Any]) -> None:
    with pytest.raises(ArtifactError, match="here: the manifest is incomplete or changed"):
        parse_manifest(changed(**parts), "here")


@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe", b"", b"null", b"[]",
                                  b'{"manifest_version": 1, "manifest_version": 1}',
                                  b'{"manifest_version": 1' + b"0" * 10_000 + b"}"])  # fmt: skip
def test_text_that_is_no_manifest(text: bytes) -> None:
    with pytest.raises(
        ArtifactError, match=r"here: (not a readable tledge manifest|manifest version)"
    ) as refused:
        manifest.parse_manifest(text, "here")
    assert len(str(refused.value)) < 500


def test_huge_manifest_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest.json, "loads", lambda *_one, **_two: pytest.fail("parsed"))
    with pytest.raises(ArtifactError, match=f"at most {manifest.MAX_BYTES} expected"):
        manifest.parse_manifest(b" " * (manifest.MAX_BYTES + 1), "here")


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
    (lambda raw: raw.update(manifest_version=2), "Install the version of tledge that made"),
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
    (lambda raw: raw["artifacts"].append(raw["artifacts"][0]), "is listed twice"),
    (lambda raw: raw["golden"][0].update(photo="../../etc/passwd"), r"golden\[0\].photo"),
    (lambda raw: raw["confidence"].update(temperature=float("inf")), "confidence.temperature is inf"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(LIES)))
def test_manifest_that_lies_is_refused(number: int, shared_bundle: Path) -> None:
    lie, words_ = LIES[number]
    raw = json.loads((shared_bundle / "manifest.json").read_text(encoding="utf-8"))
    lie(raw)
    with pytest.raises(ArtifactError, match=words_) as refused:
        manifest.parse_manifest(json.dumps(raw).encode(), "here")
    assert encoding.printable(refused.value) == str(refused.value) and len(str(refused.value)) < 400


def test_label_has_its_index_in_the_output() -> None:
    assert [MANIFEST.label_index(label) for label in MANIFEST.labels] == [0, 1, 2]
    with pytest.raises(ValueError, match="index"):
        MANIFEST.label_index("tulip")

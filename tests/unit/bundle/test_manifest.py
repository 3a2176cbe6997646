"""The manifest: written, read back, and refused where it is not whole."""

from __future__ import annotations

import json
from dataclasses import replace
from math import inf, nan
from typing import Any

import pytest

from tests.helpers.manifests import MANIFEST
from tledge.contract import MANIFEST_VERSION, Confidence, manifest_json, parse_manifest
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
        Confidence(heat, threshold)
    text = changed(confidence={"temperature": heat, "threshold": threshold})
    with pytest.raises(ArtifactError, match="here: the manifest is incomplete or changed"):
        parse_manifest(text, "here")


def test_manifest_text_is_readable() -> None:
    text = manifest_json(MANIFEST)
    assert text.endswith("}\n")
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

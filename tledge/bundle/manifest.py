"""The manifest of a bundle: its values, read and written."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from tledge._io import json_schema, resources
from tledge._io.json_records import from_json
from tledge.contract import OUTPUT_NAME, AbstentionPolicy, InputSpec
from tledge.errors import ArtifactError

MANIFEST_VERSION = 1


MAX_BYTES = 1 << 24
"""Longer manifests are refused before they are read; those of a thousand classes take 100 KB."""


@dataclass(frozen=True)
class Expected:
    """What an artifact answered to the golden pixels at export, with one kind of kernels.

    `path` is an `.npy` of float32[cases, classes]; another machine with the same kernels may differ
    from it by `tolerance` in a probability.
    """

    kernels: str
    path: str
    tolerance: float


@dataclass(frozen=True)
class Shipped:
    """One artifact in a bundle, with what verification found.

    `expected` are its answers to the golden pixels. `coverage` is the share of test photos that it
    answers by the manifest's `confidence`, and `answered_error` the share wrong among these. Where its
    output is integers, a probability is `output_scale * (value - output_zero_point)`; a scale of 0 means
    that it gives probabilities.
    """

    variant: str
    path: str
    sha256: str
    bytes: int
    verdict: str
    accuracy: float | None = None
    agreement: float | None = None
    kernels: str = ""
    coverage: float | None = None
    answered_error: float | None = None
    expected: tuple[Expected, ...] = ()
    output_scale: float = 0.0
    output_zero_point: int = 0


@dataclass(frozen=True)
class GoldenCase:
    """One photo of the bundle: its encoded file, its label and its class by Keras.

    `tensor` is its row in `golden/pixels.npy`, uint8[cases, H, W, 3], what it is prepared to, in
    `golden/keras.npy`, float32[cases, classes], and in the answers of every artifact. `encoding`
    says what is special about a copy that was made of another photo to show that it is read.
    """

    photo: str
    label: str
    keras: str
    tensor: int
    encoding: str = ""


@dataclass(frozen=True)
class Manifest:
    """`manifest.json` of a bundle: all that varies between two bundles of the same layout.

    `sbom` is the path of its bill of materials, CycloneDX in JSON; empty where it has none.
    """

    name: str
    version: str
    description: str
    synthetic: bool
    labels: tuple[str, ...]
    input: InputSpec
    parameters: int
    artifacts: tuple[Shipped, ...]
    golden: tuple[GoldenCase, ...] = ()
    unverified: bool = False
    output: str = OUTPUT_NAME
    tledge: str = ""
    manifest_version: int = MANIFEST_VERSION
    confidence: AbstentionPolicy | None = None
    sbom: str = ""

    @property
    def photos(self) -> tuple[GoldenCase, ...]:
        """The golden photos as they came, without the copies in other encodings."""
        return tuple(one for one in self.golden if not one.encoding)

    def label_index(self, label: str) -> int:
        """Index of `label` in the output; raises ValueError where there is none."""
        return self.labels.index(label)


def manifest_json(manifest: Manifest) -> str:
    """The text of `manifest.json`: sorted keys, two spaces, a newline at the end."""
    return json.dumps(asdict(manifest), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def parse_manifest(text: bytes, where: str) -> Manifest:
    """The value of `manifest.json`, held to `export/manifest.schema.json`.

    Raises ArtifactError where it is damaged, incomplete or written by a later tledge.
    """
    try:
        raw = _json(text)
        version = raw["manifest_version"]
    except (ValueError, KeyError, TypeError, RecursionError, MemoryError) as error:
        raise ArtifactError(f"{where}: not a readable tledge manifest ({error!r:.300}).") from error
    if type(version) is not int or version != MANIFEST_VERSION:
        raise ArtifactError(
            f"{where}: manifest version {version!r:.80}, this tledge reads {MANIFEST_VERSION}. "
            "Install a tledge as new as the one that made the bundle."
        )
    try:
        json_schema.validate(raw, _schema(), _schema())
        return _manifest(raw)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{where}: the manifest is incomplete or changed ({error}).") from error


def _json(text: bytes) -> Any:
    """JSON of no more than `MAX_BYTES`, with every name once in an object."""
    if len(text) > MAX_BYTES:
        raise ValueError(f"{len(text)} bytes, at most {MAX_BYTES} expected")
    return json.loads(text, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in an object")
    return found


@cache
def _schema() -> dict[str, Any]:
    path = resources.folder("export") / "manifest.schema.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _manifest(raw: object) -> Manifest:
    manifest = from_json(Manifest, raw)
    for names in zip(*((artifact.variant, artifact.path) for artifact in manifest.artifacts), strict=True):
        if len(set(names)) < len(names):
            raise ValueError(f"an artifact stands there twice: {', '.join(names)}")
    return manifest

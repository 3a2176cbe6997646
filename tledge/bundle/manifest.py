"""Read and write the manifest of a bundle."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from tledge._io import json_schema, resources
from tledge._io.json_records import from_json, to_json
from tledge.contract import OUTPUT_NAME, AbstentionPolicy, InputSpec
from tledge.errors import ArtifactError

MANIFEST_VERSION = 1

PROVISIONAL_KEYS = (
    "provisional", "independent_images", "independent_agreement", "independent_low", "independent_high",
    "accuracy_change",
)  # fmt: skip
"""Keys that `manifest.json` has for provisional artifacts alone: earlier versions do not know them."""

MAX_BYTES = 1 << 24
"""Larger manifests are refused before they are parsed; one of a thousand classes takes 100 KB."""


@dataclass(frozen=True)
class Expected:
    """An artifact's predictions for the golden pixels at export, with one kernel family.

    `path` is an `.npy` of float32[cases, classes]; on another machine with the same kernel family a
    probability may differ by `tolerance`.
    """

    kernels: str
    path: str
    tolerance: float


@dataclass(frozen=True)
class Unsupported:
    """A kernel family that did not run an artifact for the golden pixels at export, and why."""

    kernels: str
    reason: str


@dataclass(frozen=True)
class Shipped:
    """One artifact in a bundle, with its results of verification.

    `expected` are its predictions for the golden pixels, by kernel family; `unsupported` are the families
    that do not run it, a key that `manifest.json` has only where there are any. `coverage` is the share of
    test photos that are not rejected by the manifest's `confidence`, and `answered_error` the selective
    error, the share of wrong predictions among these. Where the output is integers, a probability is
    `output_scale * (value - output_zero_point)`; a scale of 0 means that the output is probabilities.

    `provisional` marks an artifact that is "undecided" only because images are too few. It agrees with
    Keras on `independent_agreement` of `independent_images` images, with 95 % bounds, and its accuracy on
    the test photos is Keras' plus `accuracy_change`. `manifest.json` has these keys for such artifacts alone.
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
    unsupported: tuple[Unsupported, ...] = ()
    provisional: bool = False
    independent_images: int | None = None
    independent_agreement: float | None = None
    independent_low: float | None = None
    independent_high: float | None = None
    accuracy_change: float | None = None

    def unsupported_reason(self, kernels: str) -> str:
        """Return why a kernel family does not run it; "" where nothing is recorded."""
        return next((entry.reason for entry in self.unsupported if entry.kernels == kernels), "")


@dataclass(frozen=True)
class GoldenCase:
    """One photo of the bundle: its encoded file, its label and the class that Keras predicts.

    `tensor` is its row in `golden/pixels.npy`, uint8[cases, H, W, 3], the preprocessed pixels, in
    `golden/keras.npy`, float32[cases, classes], and in the predictions of every artifact. `encoding`
    names the special encoding of a copy of another photo, which shows that it can be decoded.
    """

    photo: str
    label: str
    keras: str
    tensor: int
    encoding: str = ""


@dataclass(frozen=True)
class Manifest:
    """`manifest.json` of a bundle: everything that varies between two bundles of the same layout.

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
        """The golden photos without the copies in other encodings."""
        return tuple(case for case in self.golden if not case.encoding)

    def label_index(self, label: str) -> int:
        """Return the index of `label` in the output; raise ValueError for an unknown label."""
        return self.labels.index(label)


def manifest_json(manifest: Manifest) -> str:
    """Return the text of `manifest.json`: sorted keys, two spaces, a newline at the end."""
    raw = to_json(manifest)
    for artifact in raw["artifacts"]:
        if not artifact["unsupported"]:
            del artifact["unsupported"]  # earlier versions of tledge do not know it
        if not artifact["provisional"]:
            for name in PROVISIONAL_KEYS:
                del artifact[name]
    return json.dumps(raw, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def parse_manifest(text: bytes, where: str) -> Manifest:
    """Parse `manifest.json` and validate it by `export/manifest.schema.json`.

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
            "Install the version of tledge that made the bundle, or a newer one."
        )
    try:
        json_schema.validate(raw, _schema(), _schema())
        return _manifest(raw)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{where}: the manifest is incomplete or changed ({error}).") from error


def _json(text: bytes) -> Any:
    """Parse JSON of at most `MAX_BYTES` in which no object repeats a name."""
    if len(text) > MAX_BYTES:
        raise ValueError(f"{len(text)} bytes, at most {MAX_BYTES} expected")
    return json.loads(text, object_pairs_hook=_unique_names)


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("an object repeats a name")
    return values


@cache
def _schema() -> dict[str, Any]:
    path = resources.folder("export") / "manifest.schema.json"
    schema: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return schema


def _manifest(raw: object) -> Manifest:
    manifest = from_json(Manifest, raw)
    for names in zip(*((artifact.variant, artifact.path) for artifact in manifest.artifacts), strict=True):
        if len(set(names)) < len(names):
            raise ValueError(f"an artifact is listed twice: {', '.join(names)}")
    return manifest

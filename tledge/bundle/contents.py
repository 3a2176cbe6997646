"""Inspect a bundle without running its models: its manifest, and artifact by artifact what is inside."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from tledge._io import files as io_files
from tledge.bundle.manifest import Shipped
from tledge.bundle.reader import Bundle, open_bundle
from tledge.contract import AbstentionPolicy, InputSpec
from tledge.errors import ArtifactError, MissingError
from tledge.formats.base import Structure
from tledge.formats.registry import VARIANTS
from tledge.runtime.model_file import ModelFile, ModelSource


@dataclass(frozen=True)
class ArtifactContents:
    """An artifact as the manifest lists it, and its `structure`.

    `missing` names what is not installed here to inspect it, and the command that installs it; `fault` says
    why the file is damaged. In both cases there is no structure.
    """

    variant: str
    path: str
    bytes: int
    sha256: str
    verdict: str
    accuracy: float | None
    agreement: float | None
    structure: Structure | None = None
    missing: str = ""
    fault: str = ""


@dataclass(frozen=True)
class BundleContents:
    """A bundle's manifest in short, and its artifacts; `signature` says whether it is signed."""

    name: str
    version: str
    description: str
    synthetic: bool
    unverified: bool
    labels: tuple[str, ...]
    input: InputSpec
    parameters: int
    confidence: AbstentionPolicy | None
    golden_photos: int
    signature: str
    artifacts: tuple[ArtifactContents, ...]


def inspect_bundle(path: Path) -> BundleContents:
    """Inspect a bundle folder or zip; raise ArtifactError where it is damaged as a whole."""
    bundle = open_bundle(path)
    manifest = bundle.manifest
    return BundleContents(
        manifest.name,
        manifest.version,
        manifest.description,
        manifest.synthetic,
        manifest.unverified,
        manifest.labels,
        manifest.input,
        manifest.parameters,
        manifest.confidence,
        len(manifest.photos),
        bundle.signature_description,
        tuple(_contents(bundle, entry) for entry in manifest.artifacts),
    )


def _contents(bundle: Bundle, entry: Shipped) -> ArtifactContents:
    structure, missing, fault = None, "", ""
    try:
        with tempfile.TemporaryDirectory() as scratch:
            structure = _structure(bundle, entry, Path(scratch))
    except MissingError as error:
        missing = str(error)
    except ArtifactError as error:
        fault = str(error)
    return ArtifactContents(
        entry.variant, entry.path, entry.bytes, entry.sha256, entry.verdict, entry.accuracy, entry.agreement,
        structure, missing, fault,
    )  # fmt: skip


def _structure(bundle: Bundle, entry: Shipped, scratch: Path) -> Structure:
    if entry.variant not in VARIANTS:
        raise ArtifactError(f"{entry.path}: no such variant: {entry.variant}.")
    return VARIANTS[entry.variant].format.inspect(extract_artifact(bundle, entry, scratch))


def extract_artifact(bundle: Bundle, entry: Shipped, scratch: Path) -> ModelSource:
    """Read an artifact's file, or write the folder of a SavedModel below `scratch`.

    Raises ArtifactError where it is not in the bundle or not what the manifest names.
    """
    bundle.extract(scratch, entry.path)
    path = (scratch / entry.path).resolve()
    if not path.is_relative_to(scratch.resolve()) or not path.exists():
        raise ArtifactError(f"{bundle.path}: {entry.path} is not in the bundle.")
    source = ModelFile(entry.path, path.read_bytes()) if path.is_file() else path
    digest = source.sha256 if isinstance(source, ModelFile) else io_files.sha256(source)
    if digest != entry.sha256:
        raise ArtifactError(f"{entry.path}: not the file that manifest.json names (SHA-256 differs).")
    return source

"""Find the artifacts to measure: those of a bundle, of a run, or one model file.

Each is placed where another process can open it, after its hash was compared with its record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge._io import files
from tledge.bundle.manifest import Shipped
from tledge.bundle.reader import Bundle, is_bundle, open_bundle
from tledge.errors import ArtifactError, RecipeError, RunError
from tledge.formats.registry import VARIANTS
from tledge.run.folder import RunFolder, is_run
from tledge.run.records import Artifact, ParityRow

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_IMAGES = 64
"""Images of a run that are fed in turn; more would only use memory."""

DEVICE_SUFFIXES = (".tflite", ".onnx")


@dataclass(frozen=True)
class Subject:
    """An artifact: its variant, its path in the bundle or run, and the file to open.

    `accuracy` was measured at verification with `accuracy_kernels`; it and `verdict` are empty where
    nothing was verified. `fault` is the reason why the file does not match its record, which has the
    hash `sha256`.
    """

    variant: str
    path: str
    file: Path
    bytes: int
    accuracy: float | None = None
    accuracy_kernels: str = ""
    verdict: str = ""
    fault: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class Subjects:
    """A model's artifacts, and the `.npy` of images uint8[N, H, W, 3] for them (None: random bytes)."""

    name: str
    artifacts: tuple[Subject, ...]
    images: Path | None
    synthetic: bool = False


def find(path: Path, scratch: Path) -> Subjects:
    """Return the artifacts at `path`; files of a bundle are unpacked below `scratch`.

    Raises RecipeError where nothing can be measured, ArtifactError for a damaged bundle, RunError for
    a run without artifacts.
    """
    if is_run(path):
        return _of_run(RunFolder(path), scratch)
    if is_bundle(path):
        return _of_bundle(open_bundle(path), scratch)
    if not path.exists():
        raise RecipeError(f"{path}: no such bundle, run or model file.")
    if path.is_dir() or files.ending(path) not in DEVICE_SUFFIXES:
        raise RecipeError(f"{path}: expected a bundle (folder or zip), a run, or a .tflite or .onnx file.")
    loose = Subject(path.stem, str(path), path, files.size_of(path), sha256=files.sha256(path))
    return Subjects(path.name, (loose,), None)


def chosen(subjects: Sequence[Subject], names: Sequence[str]) -> list[Subject]:
    """Return the artifacts of the named variants, or all; raise RecipeError for an unknown variant."""
    variants = [subject.variant for subject in subjects]
    for name in names:
        if name not in variants:
            raise RecipeError(f"--variant {name}: not available. Expected one of {', '.join(variants)}.")
    return [subject for subject in subjects if not names or subject.variant in names]


def _of_bundle(bundle: Bundle, scratch: Path) -> Subjects:
    pixels = bundle.golden().get("pixels")
    images = _save_images(pixels, scratch, f"{bundle.path}: golden/pixels.npy is missing: no pixels to feed.")
    entries = enumerate(bundle.manifest.artifacts)
    artifacts = tuple(_unpack(bundle, entry, scratch / str(number)) for number, entry in entries)
    return Subjects(bundle.manifest.name, artifacts, images, bundle.manifest.synthetic)


def _unpack(bundle: Bundle, entry: Shipped, folder: Path) -> Subject:
    file = folder / Path(entry.path).name
    subject = Subject(
        entry.variant, entry.path, file, entry.bytes, entry.accuracy, entry.kernels, entry.verdict,
        sha256=entry.sha256,
    )  # fmt: skip
    if files.ending(entry.path) not in DEVICE_SUFFIXES:
        return subject
    try:
        data = bundle.files.read(entry.path)
    except ArtifactError as error:
        return replace(subject, fault=str(error))
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        return replace(subject, fault=f"{entry.path} was changed or damaged (SHA-256 differs).")
    folder.mkdir()
    file.write_bytes(data)
    return subject


def _of_run(folder: RunFolder, scratch: Path) -> Subjects:
    order = list(VARIANTS)
    artifacts = [artifact for artifact in folder.read_artifacts() if artifact.variant in VARIANTS]
    if not artifacts:
        raise RunError(f"{folder.path}: no artifacts to measure. Run `tledge export {folder.path}`.")
    photos = folder.read_golden().images[:MAX_IMAGES]
    images = _save_images(photos, scratch, f"{folder.golden}: holds no images to feed. Train again.")
    rows = folder.read_parity().rows if folder.parity.is_file() else ()
    artifacts.sort(key=lambda artifact: order.index(artifact.variant))
    run = folder.read_run()
    subjects = tuple(_exported(folder, artifact, rows) for artifact in artifacts)
    return Subjects(run.name, subjects, images, run.synthetic)


def _exported(folder: RunFolder, artifact: Artifact, rows: Sequence[ParityRow]) -> Subject:
    file = folder.member(artifact.path)
    subject = Subject(artifact.variant, artifact.path, file, artifact.bytes, sha256=artifact.sha256)
    if not file.exists():
        return replace(subject, fault=f"{artifact.path} is missing. Export again.")
    if folder.sha256(file) != artifact.sha256:
        return replace(subject, fault=f"{artifact.path} changed after it was exported (SHA-256 differs).")
    for row in rows:
        if row.variant == artifact.variant and row.sha256 == artifact.sha256:
            return replace(subject, accuracy=row.accuracy, accuracy_kernels=row.kernels, verdict=row.verdict)
    return subject


def _save_images(images: NDArray[Any] | None, scratch: Path, complaint: str) -> Path:
    import numpy as np

    if images is None or images.ndim != 4 or not len(images) or images.dtype != np.uint8:
        raise ArtifactError(complaint)
    np.save(scratch / "images.npy", images)
    return scratch / "images.npy"

"""Open a run or a bundle to predict photos from the field: its contract, its models, and what it has seen."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from tledge._io import cache_folder, files
from tledge._process import keras_settings, optional_imports
from tledge.bundle import model_files
from tledge.bundle.model_files import DEVICE_SUFFIXES, Subject
from tledge.bundle.reader import is_bundle, open_bundle
from tledge.bundle.signing import PublicKey
from tledge.contract import AbstentionPolicy, InputSpec
from tledge.data import cache_index
from tledge.errors import ArtifactError, MissingError, RecipeError, TledgeError
from tledge.formats.registry import FORMATS
from tledge.models.keras_session import KerasSession
from tledge.run.folder import RunFolder, is_run
from tledge.runtime.model_file import read_model
from tledge.runtime.sessions import Session

KERAS = "keras"
"""Name of the Keras model among the artifacts."""


@dataclass(frozen=True)
class FieldModel:
    """What photos are predicted with: the contract, the artifacts, and what is known of training and test."""

    name: str
    labels: tuple[str, ...]
    input: InputSpec
    policy: AbstentionPolicy | None
    artifacts: tuple[Subject, ...]
    test_images: int | None
    keras: Path | None = None
    keras_accuracy: float | None = None
    trained_on: frozenset[str] = frozenset()
    tested_on: frozenset[str] = frozenset()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Opening:
    """A model that can be opened: its name, how, and the accuracy recorded on so many test images."""

    name: str
    open: Callable[[], Session]
    accuracy: float | None
    images: int | None


def open_model(path: Path, scratch: Path, key: PublicKey | None) -> FieldModel:
    """Open a run or a bundle; files of a bundle are unpacked below `scratch`. Raises as `verify_photos`."""
    if is_run(path):
        if key:
            raise RecipeError(f"{path}: --key checks the signature of a bundle, and this is a run.")
        return _open_run(RunFolder(path), scratch)
    if not is_bundle(path):
        raise RecipeError(f"{path}: expected a finished run, or a bundle (folder or zip).")
    bundle = open_bundle(path, key)
    manifest = bundle.manifest
    counts = [entry.independent_images for entry in manifest.artifacts if entry.independent_images]
    unknown = "A bundle does not list its training photos. Name the run to have them left out."
    return FieldModel(
        manifest.name, manifest.labels, manifest.input, manifest.confidence,
        model_files.find(path, scratch).artifacts, max(counts, default=None), remarks=(unknown,),
    )  # fmt: skip


def _open_run(folder: RunFolder, scratch: Path) -> FieldModel:
    run = folder.read_run()
    golden = folder.read_golden()
    keras_accuracy = float((golden.probabilities.argmax(1) == golden.labels).mean())
    trained, tested, remarks = _known_photos(Path(run.cache), frozenset(golden.ids))
    artifacts = model_files.find(folder.path, scratch).artifacts if folder.read_artifacts() else ()
    return FieldModel(
        run.name, run.labels, run.input, run.confidence, artifacts, len(golden.labels),
        folder.model, keras_accuracy, trained, tested, remarks,
    )  # fmt: skip


def _known_photos(
    cache: Path, test_ids: Collection[str]
) -> tuple[frozenset[str], frozenset[str], tuple[str, ...]]:
    """Return the hashes of the training and validation photos, those of the test photos, and remarks."""
    for folder in (cache, cache_folder.cache_root() / cache.name):
        try:
            _header, rows = cache_index.read(folder / "index.json")
        except (TledgeError, OSError):
            continue
        tested = frozenset(row.sha256 for row in rows if row.id in test_ids)
        return frozenset(row.sha256 for row in rows) - tested, tested, ()
    gone = "The cache of the training photos is gone: whether some of them are among these was not checked."
    return frozenset(), frozenset(), (gone,)


def openings(model: FieldModel, kernels: str) -> list[Opening]:
    """Return Keras, if the model has it, and every artifact."""
    found = []
    if model.keras is not None and model.keras.is_file():
        found.append(Opening(KERAS, _keras_opener(model.keras), model.keras_accuracy, model.test_images))
    for subject in model.artifacts:
        images = model.test_images if subject.accuracy is not None else None
        found.append(Opening(subject.variant, _artifact_opener(subject, kernels), subject.accuracy, images))
    return found


def _keras_opener(path: Path) -> Callable[[], Session]:
    def open_keras() -> Session:
        if missing := optional_imports.Needs(("keras", keras_settings.BACKENDS[0]), "").absent():
            raise MissingError(f"Keras is not opened: {', '.join(missing)} is not installed here.")
        return KerasSession(path)

    return open_keras


def _artifact_opener(subject: Subject, kernels: str) -> Callable[[], Session]:
    def open_artifact() -> Session:
        if subject.fault:
            raise ArtifactError(subject.fault)
        if files.ending(subject.path) not in DEVICE_SUFFIXES:
            raise MissingError("a SavedModel has the graph of Keras and is not run here")
        return FORMATS[files.ending(subject.path)[1:]].open(read_model(subject.file), kernels)

    return open_artifact

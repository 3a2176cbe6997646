"""Open a bundle, a run or a model file to predict with it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tledge import contract
from tledge._io import file_guard
from tledge._process import keras_settings, optional_imports, signals
from tledge.bundle.manifest import Shipped
from tledge.bundle.reader import Bundle, bundle_session, is_bundle, open_bundle
from tledge.bundle.signing import PublicKey
from tledge.contract import AbstentionPolicy
from tledge.data.labels import alike_pairs, parse_labels_file, spelled
from tledge.errors import ArtifactError, MissingError, RecipeError
from tledge.models.keras_session import KerasSession
from tledge.preprocessing.scaling import Scaling
from tledge.run import folder as run_folder
from tledge.runtime import sessions
from tledge.runtime.model_file import read_model
from tledge.runtime.sessions import Session

if TYPE_CHECKING:
    from tledge.formats.loose_model import LooseSession

PREFERRED = ("tflite-int8", "tflite-fp32", "tflite-fp16", "tflite-dynamic")
"""Variants of a bundle in the order they are chosen in; then any other."""

UNCALIBRATED = (
    "uncalibrated: no temperature was fitted for this model, so confidences are its raw probabilities."
)
"""What is said once where there is no abstention policy: a single file, or a bundle of an early version."""

MAX_LABELS = 1 << 20
"""Bytes of a `labels.txt` beside a model; one of 20,000 labels takes less."""


@dataclass(frozen=True)
class InputChoices:
    """What the user says of the input of a loose file: its scaling, and the size where it takes any."""

    scaling: Scaling | None = None
    image_size: tuple[int, int] | None = None


NO_CHOICES = InputChoices()


@dataclass(frozen=True)
class Predictor:
    """An opened model with its labels.

    Attributes:
        session: The model in its runtime.
        labels: The name of each class, in the order of the model's output.
        size: Height and width in pixels of the images it takes; None where it takes any.
        variant: The artifact's variant; the file's name without its suffix for a loose file.
        remarks: What the user should know: synthetic images, not verified, the signature.
        confidence: The bundle's temperature and confidence threshold; None for a loose file.
        pixel_range: The values of black and white in photos deeper than 8 bits, where the bundle has them.
    """

    session: Session
    labels: tuple[str, ...]
    size: tuple[int, int] | None
    variant: str
    remarks: tuple[str, ...] = ()
    confidence: AbstentionPolicy | None = None
    pixel_range: tuple[float, ...] = ()

    @property
    def calibrated(self) -> bool:
        """Whether a temperature was fitted, so that the confidences are calibrated."""
        return self.confidence is not None


def open_predictor(
    path: Path,
    variant: str | None = None,
    kernels: str = "xnnpack",
    key: PublicKey | None = None,
    choices: InputChoices = NO_CHOICES,
) -> Predictor:
    """Open an artifact of a bundle, or a loose `.tflite` or `.onnx` file, in another process.

    Args:
        path: A bundle (folder or zip), a run folder, or a model file. A run without a bundle is opened as its
            Keras model.
        variant: The artifact of a bundle; int8 first without it.
        kernels: LiteRT's kernel family: "xnnpack", "builtin" or "reference".
        key: The public key that the bundle must be signed with.
        choices: What the user says of the input of a loose file.

    Returns:
        The opened model; each file is read once.

    Raises:
        RecipeError: there is no such path or variant, `variant` or `key` was passed with a loose file or
            choices with another one, or the scaling of a loose file is not known.
        ArtifactError: a file is damaged, or the owner of `key` did not sign the bundle.
        MissingError: the runtime is not installed, or TensorFlow is not for a run without a bundle.
        RunError: the bundle of a run is a link, or its Keras model is damaged.
    """
    if path.is_dir() and not is_bundle(path) and is_bundle(path / "bundle"):
        file_guard.require_no_link(path / "bundle", path)
        path = path / "bundle"
    if is_bundle(path):
        require_no_choices(path, choices)
        return _open_bundled(open_bundle(path, key), variant, kernels)
    if run_folder.is_run(path):
        require_no_choices(path, choices)
        return _open_trained(path, variant, key)
    if not path.is_file():
        raise RecipeError(f"{path}: no such model, bundle or run.")
    if variant:
        raise RecipeError(f"{path}: --variant chooses within a bundle, and this is a single file.")
    if key:
        raise RecipeError(f"{path}: --key checks the signature of a bundle, and this is a single file.")
    return _open_loose(path, kernels, choices)


def require_no_choices(path: Path, choices: InputChoices) -> None:
    """Raise RecipeError where choices were passed for a bundle or a run, whose input is known."""
    if choices != NO_CHOICES:
        raise RecipeError(
            f"{path}: --scaling and --image-size are for single .tflite and .onnx files. The models of a "
            "bundle or run take RGB bytes of the size that it records."
        )


def _open_trained(path: Path, variant: str | None, key: PublicKey | None) -> Predictor:
    """Open the Keras model of a run that has no bundle yet, in another process."""
    export = f"Type: tledge export {signals.quoted(str(path))}"
    if variant or key:
        option = "--variant chooses within a bundle" if variant else "--key checks the signature of a bundle"
        raise RecipeError(f"{path}: {option}, and this run has none yet. {export}")
    folder = run_folder.RunFolder(path)
    run = folder.read_run()
    backend = os.environ.get(keras_settings.VARIABLE) or keras_settings.BACKENDS[0]
    if missing := optional_imports.Needs(("keras", backend), "").absent():
        raise MissingError(
            f"{path}: has no bundle yet, and its Keras model needs {', '.join(missing)}, not installed here. "
            f"{export} (or {optional_imports.install_command('train')})"
        )
    remarks = (f"{path} has no bundle yet: its Keras model predicts, which takes seconds to open. {export}",)
    size = (run.input.height, run.input.width)
    session = KerasSession(folder.model)
    return Predictor(
        session,
        run.labels,
        size,
        "keras",
        remarks,
        confidence=run.confidence,
        pixel_range=run.input.pixel_range,
    )


def _open_bundled(bundle: Bundle, variant: str | None, kernels: str) -> Predictor:
    manifest = bundle.manifest
    entry = _choose(bundle, variant)
    session = bundle_session(bundle, entry, kernels)
    size = (manifest.input.height, manifest.input.width)
    classes = session.classes
    if session.image_size != size or classes not in (None, len(manifest.labels)):
        raise ArtifactError(
            f"{bundle.path}: manifest.json does not match the model: it lists {len(manifest.labels)} labels "
            f"and images of {size}, {entry.path} has {classes} outputs and takes {session.image_size}."
        )
    remarks = (*_remarks(bundle, entry), *_alike_remarks(manifest.labels))
    if manifest.confidence is None:
        remarks = (*remarks, UNCALIBRATED)
    more = (manifest.confidence, manifest.input.pixel_range)
    return Predictor(session, manifest.labels, size, entry.variant, remarks, *more)


def _remarks(bundle: Bundle, entry: Shipped) -> list[str]:
    remarks = []
    if bundle.manifest.synthetic:
        remarks.append("This model was trained on synthetic photos.")
    if entry.provisional:
        remarks.append(
            f"{entry.path} is provisional: {entry.independent_images} images are too few to confirm that it "
            "predicts as the Keras model does."
        )
    elif entry.verdict != "passed":
        remarks.append(f"{entry.path} was bundled without passing verification ({entry.verdict}).")
    if signature := bundle.signature_description:
        remarks.append(signature)
    return remarks


def _choose(bundle: Bundle, variant: str | None) -> Shipped:
    entries = {entry.variant: entry for entry in bundle.manifest.artifacts}
    for name in (variant,) if variant else (*PREFERRED, *entries):
        if name in entries:
            return entries[name]
    raise RecipeError(
        f"{bundle.path}: has no artifact {variant}. Its artifacts: {', '.join(entries) or 'none'}."
    )


def _open_loose(path: Path, kernels: str, choices: InputChoices) -> Predictor:
    """Read the file once, and open its bytes in another process."""
    from tledge.formats.loose_model import open_loose  # bundles do without the formats

    sessions.check_suffix(path)
    model = read_model(path)
    opened = open_loose(model, kernels, scaling=choices.scaling, image_size=choices.image_size)
    session = opened.session
    labels = opened.labels or labels_beside(opened.session, path)
    if session.classes not in (None, len(labels)):
        raise ArtifactError(f"{path}: returns {session.classes} values but has {len(labels)} labels.")
    checked = contract.checked_labels(labels, str(path))
    remarks = (*opened.remarks, *_alike_remarks(checked), UNCALIBRATED)
    return Predictor(session, checked, opened.preprocessing.size, path.stem, remarks)


def _alike_remarks(labels: tuple[str, ...]) -> tuple[str, ...]:
    """Return a remark where two classes have labels that look alike, as an early run may have."""
    return tuple(
        f"two classes have labels that look alike: {spelled(first)} and {spelled(second)}"
        for first, second in alike_pairs(labels)[:1]
    )


def labels_beside(session: LooseSession, path: Path) -> tuple[str, ...]:
    """Return the labels of a `.onnx` file's properties, else those of the `labels.txt` beside the file."""
    labels = _parse_label_list(session.metadata.get("labels", "null"), path)
    if labels:
        return tuple(labels)
    if session.classes is None:
        raise ArtifactError(f"{path}: states neither its labels nor how many values it returns.")
    return _neighbour_labels(path, session.classes)


def _parse_label_list(text: str, path: Path) -> list[str] | None:
    try:
        labels = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path}: its property `labels` is not a JSON list ({error}).") from error
    return [str(label) for label in labels] if isinstance(labels, list) else None


def _neighbour_labels(path: Path, classes: int) -> tuple[str, ...]:
    """Read `labels.txt` beside the file; without it number the classes, for other tools store no names."""
    beside = path.with_name("labels.txt")
    if beside.is_file():
        try:
            data = file_guard.read_bytes(beside, follow=True, limit=MAX_LABELS, error=ArtifactError)
            return parse_labels_file(data)
        except (OSError, ValueError) as error:
            raise ArtifactError(f"{beside}: not a list of labels ({error}).") from error
    return tuple(str(number) for number in range(classes))

"""Open a bundle, a run or a model file to predict with it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tledge import contract
from tledge.bundle.manifest import Shipped
from tledge.bundle.reader import Bundle, bundle_session, is_bundle, open_bundle
from tledge.bundle.signing import PublicKey
from tledge.contract import AbstentionPolicy
from tledge.errors import ArtifactError, RecipeError
from tledge.formats import tflite_metadata
from tledge.runtime import sandbox, sessions
from tledge.runtime.sessions import LiteRTSession, OnnxSession, Session

PREFERRED = ("tflite-int8", "tflite-fp32", "tflite-fp16", "tflite-dynamic")


@dataclass(frozen=True)
class Predictor:
    """An opened model with its labels and its input size (height, width).

    `remarks` are what its user should know: synthetic photos, not verified. `confidence` is the
    bundle's; a loose file has none.
    """

    session: Session
    labels: tuple[str, ...]
    size: tuple[int, int]
    variant: str
    remarks: tuple[str, ...] = ()
    confidence: AbstentionPolicy | None = None


def open_predictor(
    path: Path, variant: str | None = None, kernels: str = "xnnpack", key: PublicKey | None = None
) -> Predictor:
    """Open a bundle's artifact (int8 first, or the named variant) or a loose `.tflite`/`.onnx`.

    Raises RecipeError for a variant that is not there, ArtifactError for damaged files and, with a
    `key`, for a bundle that its owner did not sign.
    """
    if path.is_dir() and not is_bundle(path) and (path / "bundle" / "manifest.json").is_file():
        path = path / "bundle"
    if is_bundle(path):
        return _from_bundle(open_bundle(path, key), variant, kernels)
    if not path.is_file():
        raise RecipeError(f"{path}: no such model, bundle or run.")
    if variant:
        raise RecipeError(f"{path}: --variant chooses within a bundle, and this is a single file.")
    if key:
        raise RecipeError(f"{path}: --key checks the signature of a bundle, and this is a single file.")
    return _loose(path, kernels)


def _from_bundle(bundle: Bundle, variant: str | None, kernels: str) -> Predictor:
    entry = _choose(bundle, variant)
    session = bundle_session(bundle, entry, kernels)
    spec = bundle.manifest.input
    size = (spec.height, spec.width)
    classes = session.classes
    if session.image_size != size or classes not in (None, len(bundle.manifest.labels)):
        raise ArtifactError(
            f"{bundle.path}: the manifest tells of {len(bundle.manifest.labels)} labels and images of "
            f"{spec.height} x {spec.width}, {entry.path} of {classes} and {session.image_size}: "
            "not its manifest."
        )
    remarks = []
    if bundle.manifest.synthetic:
        remarks.append("This model was trained on synthetic photos.")
    if entry.verdict != "passed":
        remarks.append(f"{entry.path} was bundled without passing verification ({entry.verdict}).")
    if told := bundle.signature_told:
        remarks.append(told)
    fitted = bundle.manifest.confidence
    return Predictor(session, bundle.manifest.labels, size, entry.variant, tuple(remarks), fitted)


def _choose(bundle: Bundle, variant: str | None) -> Shipped:
    entries = {one.variant: one for one in bundle.manifest.artifacts}
    for name in (variant,) if variant else (*PREFERRED, *entries):
        if name in entries:
            return entries[name]
    raise RecipeError(f"{bundle.path}: has no artifact {variant}. It has {', '.join(entries) or 'none'}.")


def _loose(path: Path, kernels: str) -> Predictor:
    if path.suffix in (".tflite", ".onnx"):
        sandbox.require(path.read_bytes(), path.name, kernels)
    session = sessions.open_session(path, kernels)
    labels = _labels(session, path)
    if session.classes not in (None, len(labels)):
        raise ArtifactError(f"{path}: gives {session.classes} values and carries {len(labels)} labels.")
    return Predictor(session, contract.checked_labels(labels, str(path)), session.image_size, path.stem)


def _labels(session: LiteRTSession | OnnxSession, path: Path) -> tuple[str, ...]:
    """Those that the file carries, else those beside it."""
    if isinstance(session, OnnxSession):
        found: object = _listed(session.metadata.get("labels", "null"), path)
    else:
        found = tflite_metadata.read_metadata(path.read_bytes()).get("labels")
    if isinstance(found, (list, tuple)) and found:
        return tuple(found)
    if session.classes is None:
        raise ArtifactError(f"{path}: says neither its labels nor how many values it gives.")
    return _neighbour_labels(path, session.classes)


def _listed(text: str, path: Path) -> list[str] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path}: its labels property is no JSON list ({error}).") from error
    return [str(one) for one in found] if isinstance(found, list) else None


def _neighbour_labels(path: Path, classes: int) -> tuple[str, ...]:
    """`labels.txt` beside the file, else numbers: a model made elsewhere may carry no names."""
    beside = path.with_name("labels.txt")
    if beside.is_file():
        try:
            return contract.parse_labels(beside.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ArtifactError(f"{beside}: no list of labels ({error}).") from error
    return tuple(str(number) for number in range(classes))

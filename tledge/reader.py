"""Reading what was shipped: a bundle (folder or zip, never unpacked) or a loose model file."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tledge import contract, runtime, tflite_metadata
from tledge.contract import Confidence, Manifest, Shipped
from tledge.errors import ArtifactError, MissingError, RecipeError
from tledge.runtime import LiteRTSession, OnnxSession, Session

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_MEMBER = 1 << 29
"""Larger members of a zip are refused before they are read."""

PREFERRED = ("tflite-int8", "tflite-fp32", "tflite-fp16", "tflite-dynamic")


class Files(Protocol):
    """The files of a bundle by their path in it."""

    def names(self) -> list[str]:
        """Paths of all files, sorted, with forward slashes."""

    def read(self, name: str) -> bytes:
        """Content of one file; raises ArtifactError where it is missing or damaged."""


class FolderFiles:
    """Files of an unpacked bundle."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self) -> list[str]:
        found = (path for path in self._root.rglob("*") if path.is_file())
        return sorted(path.relative_to(self._root).as_posix() for path in found)

    def read(self, name: str) -> bytes:
        path = (self._root / name).resolve()
        if not path.is_relative_to(self._root.resolve()) or not path.is_file():
            raise ArtifactError(f"{self._root}: the bundle has no file {name}.")
        return path.read_bytes()


class ZipFiles:
    """Files of a zipped bundle, read in place."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise ArtifactError(f"{path}: not a zip file, or truncated ({error}).") from error

    def names(self) -> list[str]:
        return sorted(name for name in self._zip.namelist() if not name.endswith("/"))

    def read(self, name: str) -> bytes:
        try:
            if self._zip.getinfo(name).file_size > MAX_MEMBER:
                raise ArtifactError(f"{self._path}: {name} is larger than {MAX_MEMBER} bytes.")
            return self._zip.read(name)
        except (KeyError, zipfile.BadZipFile, OSError, RuntimeError, EOFError, zlib.error) as error:
            raise ArtifactError(f"{self._path}: cannot read {name} ({error}).") from error


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: its files and its manifest."""

    path: Path
    files: Files
    manifest: Manifest

    def golden(self) -> dict[str, NDArray[Any]]:
        """The arrays `golden/*.npy` by name: `pixels`, `keras`, and the artifacts' answers."""
        names = [one for one in self.files.names() if one.startswith("golden/") and one.endswith(".npy")]
        return {Path(name).stem: self._array(name) for name in names}

    def check_sums(self) -> None:
        """Raise ArtifactError unless every file stands in SHA256SUMS with its hash, and no other is there."""
        listed = {}
        for line in self.files.read("SHA256SUMS").decode("utf-8", "replace").splitlines():
            digest, _, name = line.partition("  ")
            listed[name] = digest
        present = [name for name in self.files.names() if name != "SHA256SUMS"]
        strange = sorted(set(present) ^ set(listed))
        if strange:
            raise ArtifactError(f"{self.path}: files and SHA256SUMS differ: {', '.join(strange[:5])}.")
        for name in present:
            if hashlib.sha256(self.files.read(name)).hexdigest() != listed[name]:
                raise ArtifactError(f"{self.path}: {name} was changed or damaged (SHA-256 differs).")

    def extract(self, folder: Path, wanted: str = "") -> None:
        """Write the file or folder `wanted` of the bundle (all of it, where empty) below `folder`.

        Raises ArtifactError where a name points elsewhere.
        """
        for name in self.files.names():
            if wanted and name != wanted and not name.startswith(f"{wanted}/"):
                continue
            target = (folder / name).resolve()
            if not target.is_relative_to(folder.resolve()):
                raise ArtifactError(f"{self.path}: {name} points out of the bundle.")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(self.files.read(name))

    def _array(self, name: str) -> NDArray[Any]:
        import numpy as np

        try:
            found: NDArray[Any] = np.load(io.BytesIO(self.files.read(name)), allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise ArtifactError(f"{self.path}: {name} is damaged ({error}).") from error
        return found


def is_bundle(path: Path) -> bool:
    """True for a folder with a manifest, and for any zip."""
    return (path / "manifest.json").is_file() or path.suffix == ".zip"


def open_bundle(path: Path) -> Bundle:
    """Open a bundle folder or zip; raises ArtifactError where it is none or damaged."""
    if not path.exists():
        raise RecipeError(f"{path}: no such file or folder.")
    files: Files = FolderFiles(path) if path.is_dir() else ZipFiles(path)
    text = files.read("manifest.json")
    return Bundle(path, files, contract.parse_manifest(text, f"{path}/manifest.json"))


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
    confidence: Confidence | None = None


def open_predictor(path: Path, variant: str | None = None, kernels: str = "xnnpack") -> Predictor:
    """Open a bundle's artifact (int8 first, or the named variant) or a loose `.tflite`/`.onnx`.

    Raises RecipeError for a variant that is not there, ArtifactError for damaged files.
    """
    if path.is_dir() and not is_bundle(path) and (path / "bundle" / "manifest.json").is_file():
        path = path / "bundle"
    if is_bundle(path):
        return _from_bundle(open_bundle(path), variant, kernels)
    if not path.is_file():
        raise RecipeError(f"{path}: no such model, bundle or run.")
    if variant:
        raise RecipeError(f"{path}: --variant chooses within a bundle, and this is a single file.")
    return _loose(path, kernels)


def _from_bundle(bundle: Bundle, variant: str | None, kernels: str) -> Predictor:
    entry = _choose(bundle, variant)
    session = bundle_session(bundle, entry, kernels)
    spec = bundle.manifest.input
    size = (spec.height, spec.width)
    remarks = []
    if bundle.manifest.synthetic:
        remarks.append("This model was trained on synthetic photos.")
    if entry.verdict != "passed":
        remarks.append(f"{entry.path} was bundled without passing verification ({entry.verdict}).")
    fitted = bundle.manifest.confidence
    return Predictor(session, bundle.manifest.labels, size, entry.variant, tuple(remarks), fitted)


def _choose(bundle: Bundle, variant: str | None) -> Shipped:
    entries = {one.variant: one for one in bundle.manifest.artifacts}
    for name in (variant,) if variant else (*PREFERRED, *entries):
        if name in entries:
            return entries[name]
    raise RecipeError(f"{bundle.path}: has no artifact {variant}. It has {', '.join(entries) or 'none'}.")


def bundle_session(bundle: Bundle, entry: Shipped, kernels: str = "xnnpack") -> Session:
    """Open an artifact of a bundle.

    Raises ArtifactError where its hash is not the manifest's, MissingError for a SavedModel.
    """
    if entry.path.endswith((".tflite", ".onnx")):
        data = model_bytes(bundle, entry)
        if entry.path.endswith(".tflite"):
            return LiteRTSession(data, entry.path, kernels)
        return OnnxSession(data, entry.path)
    raise MissingError(
        f"{entry.path}: a SavedModel; serve it with TensorFlow, or predict with another variant."
    )


def model_bytes(bundle: Bundle, entry: Shipped) -> bytes:
    """The file of an artifact; raises ArtifactError where it is missing or its hash is not the manifest's."""
    data = bundle.files.read(entry.path)
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise ArtifactError(f"{bundle.path}: {entry.path} was changed or damaged (SHA-256 differs).")
    return data


def _loose(path: Path, kernels: str) -> Predictor:
    session = runtime.open_session(path, kernels)
    if isinstance(session, OnnxSession):
        labels: Sequence[str] | None = _listed(session.metadata.get("labels", "null"), path)
        shape, classes = session.input.shape, session.output.shape[-1]
    else:
        assert isinstance(session, LiteRTSession)
        found = tflite_metadata.read_metadata(path.read_bytes()).get("labels")
        labels = found if isinstance(found, (list, tuple)) else None
        shape, classes = session.input_shape, session.output_shape[-1]
    if len(shape) != 4 or shape[3] != 3 or not all(isinstance(one, int) for one in (*shape[1:], classes)):
        raise ArtifactError(f"{path}: takes {list(shape)}, expected one image as [N, height, width, 3].")
    names = tuple(labels) if labels else _neighbour_labels(path, int(classes))
    if len(names) != int(classes):
        raise ArtifactError(f"{path}: gives {classes} values and carries {len(names)} labels.")
    return Predictor(session, names, (int(shape[1]), int(shape[2])), path.stem)


def _listed(text: str, path: Path) -> list[str] | None:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ArtifactError(f"{path}: its labels property is no JSON list ({error}).") from error
    return [str(one) for one in found] if isinstance(found, list) else None


def _neighbour_labels(path: Path, classes: int) -> tuple[str, ...]:
    """`labels.txt` beside the file, else numbers: a model made elsewhere may carry no names."""
    beside = path.with_name("labels.txt")
    if beside.is_file():
        return contract.parse_labels(beside.read_text(encoding="utf-8"))
    return tuple(str(number) for number in range(classes))

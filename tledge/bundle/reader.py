"""Read a bundle (a folder or a zip, never unpacked) and open its artifacts."""

from __future__ import annotations

import hashlib
import io
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tledge._io import file_guard, folder_guard, npy, zip_guard
from tledge._io import files as io_files
from tledge.bundle import manifest as bundle_manifest
from tledge.bundle import signing
from tledge.bundle.manifest import Manifest, Shipped
from tledge.bundle.signing import PublicKey
from tledge.errors import ArtifactError, MissingError, RecipeError
from tledge.runtime import sandbox
from tledge.runtime.model_file import ModelFile
from tledge.runtime.sandbox import OpenedSession

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_MEMBER = 1 << 29
"""Bytes; larger files of a bundle are refused before they are read."""

MAX_FILES = 10_000
"""A folder with more files is not a bundle."""


class Files(Protocol):
    """The files of a bundle by their path in it."""

    def names(self) -> list[str]:
        """Return the paths of all files, sorted, with forward slashes."""

    def read(self, name: str) -> bytes:
        """Read one file; raise ArtifactError where it is missing or damaged."""


class FolderFiles:
    """Files of an unpacked bundle."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self) -> list[str]:
        return [entry.name for entry in folder_guard.files(self._root, ArtifactError, MAX_FILES)]

    def read(self, name: str) -> bytes:
        try:
            path = self._root / name
            return file_guard.read_bytes(path, below=self._root, limit=MAX_MEMBER, error=ArtifactError)
        except (FileNotFoundError, NotADirectoryError):
            raise ArtifactError(f"{self._root}: the bundle has no file {name}.") from None
        except (OSError, ValueError) as error:  # a name with a zero byte, or too long
            raise ArtifactError(f"{self._root}: cannot read {name!r} ({error}).") from error


class ZipFiles:
    """Files of a zipped bundle, read in place."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._zip = zip_guard.open_zip(path, error=ArtifactError)
        except zip_guard.DAMAGE as error:
            raise ArtifactError(f"{path}: not a zip file of a bundle, or truncated ({error}).") from error

    def names(self) -> list[str]:
        return sorted(name for name in self._zip.namelist() if not name.endswith("/"))

    def read(self, name: str) -> bytes:
        try:
            if self._zip.getinfo(name).file_size > MAX_MEMBER:
                raise ArtifactError(f"{self._path}: {name} is larger than {MAX_MEMBER} bytes.")
            return self._zip.read(name)
        except zip_guard.DAMAGE as error:
            raise ArtifactError(f"{self._path}: cannot read {name} ({error}).") from error


class SummedFiles:
    """Files of a bundle that are compared with its SHA256SUMS whenever one is read.

    SHA256SUMS and its signature are those that were passed, whatever comes into their place later. Raises
    ArtifactError unless the bundle has exactly the files that SHA256SUMS lists, and its signature.
    """

    def __init__(self, path: Path, files: Files, sums: bytes, signature: bytes | None = None) -> None:
        self._path, self._files = path, files
        self._kept = {signing.SIGNED: sums} | ({} if signature is None else {signing.NAME: signature})
        lines = (line.partition("  ") for line in sums.decode("utf-8", "replace").splitlines())
        self._listed = {name: digest for digest, _, name in lines}
        present = [name for name in files.names() if name not in (signing.SIGNED, signing.NAME)]
        differing = sorted(set(present) ^ set(self._listed))
        if differing:
            raise ArtifactError(f"{path}: files and SHA256SUMS differ: {', '.join(differing[:5])}.")
        if repeated := [name for name, count in Counter(present).items() if count > 1]:
            raise ArtifactError(f"{path}: holds more than one {repeated[0]}.")

    def names(self) -> list[str]:
        return sorted([*self._listed, *self._kept])

    def read(self, name: str) -> bytes:
        if name in self._kept:
            return self._kept[name]
        if name not in self._listed:
            raise ArtifactError(f"{self._path}: {name} is not in SHA256SUMS.")
        data = self._files.read(name)
        if hashlib.sha256(data).hexdigest() != self._listed[name]:
            raise ArtifactError(f"{self._path}: {name} was changed or damaged (SHA-256 differs).")
        return data

    def check(self) -> None:
        """Raise ArtifactError unless every file has the hash that SHA256SUMS lists."""
        for name in self._listed:
            self.read(name)


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: its files and its manifest.

    `checked` is the fingerprint of the key that verified its signature; empty where none did.
    """

    path: Path
    files: Files
    manifest: Manifest
    checked: str = ""

    @property
    def signed_by(self) -> str:
        """The fingerprint in its signature, a mere claim unless `checked`; empty without a signature.

        Raises ArtifactError where the signature is damaged.
        """
        if signing.NAME not in self.files.names():
            return ""
        return signing.read(self.files.read(signing.NAME), str(self.path))[0]

    @property
    def signature_description(self) -> str:
        """A sentence about its signature; empty where it has none. Raises like `signed_by`."""
        if self.checked:
            return f"Signed by {self.checked}, and unchanged since."
        claimed = self.signed_by
        return f"Signature by {claimed}, not verified: pass the public key with --key." if claimed else ""

    def golden(self) -> dict[str, NDArray[Any]]:
        """Read the arrays `golden/*.npy` by name: `pixels`, `keras`, and the artifacts' predictions."""
        names = [name for name in self.files.names() if name.startswith("golden/") and name.endswith(".npy")]
        return {Path(name).stem: self._array(name) for name in names}

    def check_sums(self) -> None:
        """Raise ArtifactError unless SHA256SUMS lists exactly the files here, with their hashes."""
        SummedFiles(self.path, self.files, self.files.read(signing.SIGNED)).check()

    def extract(self, folder: Path, wanted: str = "") -> None:
        """Write the file or folder `wanted` of the bundle (everything, where empty) below `folder`.

        Raises ArtifactError for a name that points out of the bundle.
        """
        for name in self.files.names():
            if not zip_guard.is_plain(name):
                raise ArtifactError(
                    f"{self.path}: {name!r} points out of the bundle, or is not a portable name."
                )
            if wanted and name != wanted and not name.startswith(f"{wanted}/"):
                continue
            target = (folder / name).resolve()
            if not target.is_relative_to(folder.resolve()):
                raise ArtifactError(f"{self.path}: {name} points out of the bundle.")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(self.files.read(name))

    def _array(self, name: str) -> NDArray[Any]:
        try:
            content = self.files.read(name)
            return npy.read_array(io.BytesIO(content), len(content))
        except (ArtifactError, MemoryError):
            raise
        except Exception as error:  # its header is a Python literal, which fails with many exceptions
            raise ArtifactError(f"{self.path}: {name} is damaged ({error}).") from error


def is_bundle(path: Path) -> bool:
    """Check whether a path is a folder with a manifest, or a zip; what else may lie there is told later."""
    return os.path.lexists(path / "manifest.json") or path.suffix.lower() == ".zip"


def open_bundle(path: Path, key: PublicKey | None = None) -> Bundle:
    """Open a bundle folder or zip.

    Args:
        path: The folder or zip.
        key: The public key to verify all files with; without it no signature is checked.

    Raises:
        RecipeError: Nothing is at `path`.
        ArtifactError: It is not a bundle, is damaged, or is not what the owner of `key` signed.
    """
    if not path.exists():
        raise RecipeError(f"{path}: no such file or folder.")
    files: Files = FolderFiles(path) if path.is_dir() else ZipFiles(path)
    if key is not None:
        files = _signed(path, files, key)
    text = files.read("manifest.json")
    manifest = bundle_manifest.parse_manifest(text, f"{path}/manifest.json")
    return Bundle(path, files, manifest, key.fingerprint if key else "")


def _signed(path: Path, files: Files, key: PublicKey) -> SummedFiles:
    """Return the files of a bundle after checking that the owner of `key` signed all of them."""
    if signing.NAME not in files.names():
        raise ArtifactError(f"{path}: not signed, {signing.NAME} is missing; --key is {key.fingerprint}.")
    sums, signature = files.read(signing.SIGNED), files.read(signing.NAME)
    key.check(sums, signature, str(path))
    summed = SummedFiles(path, files, sums, signature)
    summed.check()
    return summed


def bundle_session(bundle: Bundle, entry: Shipped, kernels: str = "xnnpack") -> OpenedSession:
    """Open an artifact of a bundle, in another process.

    Raises ArtifactError where its hash is not the manifest's or it does not open, MissingError for a
    SavedModel.
    """
    if io_files.ending(entry.path) in (".tflite", ".onnx"):
        return sandbox.open_session(ModelFile(entry.path, model_bytes(bundle, entry)), kernels)
    raise MissingError(
        f"{entry.path}: a SavedModel; serve it with TensorFlow, or predict with another variant."
    )


def model_bytes(bundle: Bundle, entry: Shipped) -> bytes:
    """Read an artifact's file; raise ArtifactError where it is missing or its hash differs."""
    data = bundle.files.read(entry.path)
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise ArtifactError(f"{bundle.path}: {entry.path} was changed or damaged (SHA-256 differs).")
    return data

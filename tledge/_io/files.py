"""Read and write files: text, JSON, hashes, and reproducible zips."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tledge._io import atomic, encoding, file_guard, folder_guard
from tledge._io.json_records import from_json, to_json
from tledge.errors import RunError

if TYPE_CHECKING:
    from zipfile import ZipInfo

T = TypeVar("T")

MAX_JSON = 1 << 28
"""Largest JSON file of a run or cache that is read, in bytes; one of a million photos takes less."""


def ending(path: Path | str) -> str:
    """Return the ending of a file's name in lower case, such as ".tflite"; "" where it has none."""
    return Path(path).suffix.lower()


@contextmanager
def complete(path: Path, advice: str) -> Iterator[None]:
    """Turn the error of a missing, unknown or wrong field of the JSON file at `path` into a RunError with "
    "advice."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        cause = str(error) if isinstance(error, ValueError) else repr(error)
        raise RunError(
            f"{path}: incomplete, or written by another version of tledge ({cause}). {advice}"
        ) from error


def read_json(path: Path, what: str, advice: str) -> dict[str, Any]:
    """Read the object in a JSON file of a run; raise RunError with `what` was expected, and advice."""
    try:
        raw = json.loads(file_guard.read_bytes(path, limit=MAX_JSON))
    except FileNotFoundError:
        raise RunError(f"{path.parent}: not {what}: {path.name} is missing. {advice}") from None
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path}: damaged ({error}). {advice}") from error
    if not isinstance(raw, dict):
        raise RunError(f"{path}: expected a JSON object. {advice}")
    return raw


def read_record(kind: type[T], path: Path, what: str, advice: str, again: str = "") -> T:
    """Read a value of `kind` from the JSON object in a file of a run; see `from_json`.

    Raises:
        RunError: the file is missing or no JSON object: `what` was expected, followed by `advice`; or a field
            is missing, unknown or of another type, followed by `again` (without it: `advice`).
    """
    raw = read_json(path, what, advice)
    with complete(path, again or advice):
        return from_json(kind, raw)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically; raise RunError if a folder has that name."""
    if os.path.isdir(path):  # Path.is_dir raises for impossible paths
        raise RunError(
            f"{path}: is a folder, expected the name of a file to write. Move the folder, or choose another "
            f"name."
        )
    with atomic.replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write a dataclass, or an object or list that may contain some, as JSON; atomically."""
    write_text(path, encoding.as_json(to_json(value)) + "\n")


def sha256(path: Path) -> str:
    """Hash a file, or a folder: the names and hashes of its files (`combined_sha256`).

    Raises RunError for a pipe or a device, and for anything but files and folders below a folder.
    """
    if path.is_dir():
        files = folder_guard.files(path)
        return combined_sha256({Path(entry.name): _sha256(entry.path, path) for entry in files})
    return _sha256(path)


def _sha256(path: Path, below: Path | None = None) -> str:
    """Hash a file; below a folder, it must be no link."""
    digest = hashlib.sha256()
    with file_guard.open_file(path, below=below, follow=below is None) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def combined_sha256(hashes: Mapping[Path, str]) -> str:
    """Hash a folder by the SHA-256 of its files, which are named relative to it, in order of name."""
    digest = hashlib.sha256()
    for name in sorted(hashes):
        digest.update(f"{name.as_posix()}\0{hashes[name]}\n".encode())
    return digest.hexdigest()


def size_of(path: Path) -> int:
    """Count the bytes of a file, or of all files of a folder; raise RunError as `sha256` does."""
    if path.is_dir():
        return sum(entry.path.lstat().st_size for entry in folder_guard.files(path))
    return path.stat().st_size


def copy(source: Path, target: Path, *, below: Path) -> None:
    """Copy a file, or a folder and all in it, that lies below a folder of others; `target` must not exist.

    Raises RunError for links, pipes and devices, as the path, as a part of it below `below`, or in it.
    """
    file_guard.require_no_link(source, below)
    if not source.is_dir():
        _copy_file(source, target, below)
        return
    target.mkdir()
    for entry in folder_guard.entries(source):
        if entry.is_folder:
            (target / entry.name).mkdir()
        else:
            _copy_file(entry.path, target / entry.name, below)


def _copy_file(source: Path, target: Path, below: Path) -> None:
    with file_guard.open_file(source, below=below) as original, target.open("xb") as copy:
        shutil.copyfileobj(original, copy, 1 << 20)


def canonical_zip(source: Path, target: Path, rewrite: Callable[[str, bytes], bytes] | None = None) -> None:
    """Zip a folder, or zip a zip again, with sorted names and fixed times: equal content gives equal bytes.

    `rewrite(name, data)` may change a member.
    """
    import zipfile

    change = rewrite or (lambda _name, data: data)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in _members(source):
            entry = reproducible_entry(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            out.writestr(entry, change(name, data))


def reproducible_entry(name: str) -> ZipInfo:
    """Return an entry for a zip with a fixed time, system and permissions; it is not compressed."""
    from zipfile import ZipInfo

    entry = ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    entry.create_system = 3  # Unix, also on Windows
    entry.external_attr = 0o644 << 16
    return entry


def _members(source: Path) -> Iterator[tuple[str, bytes]]:
    import zipfile

    if source.is_dir():
        for entry in folder_guard.files(source):
            yield entry.name, file_guard.read_bytes(entry.path, below=source)
        return
    with zipfile.ZipFile(source) as packed:
        for name in sorted(packed.namelist()):
            yield name, packed.read(name)

"""Save photos that were classified wrongly, with their correct label, for the next training.

What lies in the folder is trained on, and others may be able to write beside it. So nothing is written behind
a link, or into a folder of another user, and what is written can be read by the user alone.
"""

from __future__ import annotations

import hashlib
import os
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock

from tledge._io import atomic, file_guard, folder_guard, resource_errors
from tledge.errors import DataError, ResourceError
from tledge.preprocessing import image

FILE_SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "GIF": ".gif", "BMP": ".bmp", "TIFF": ".tif"}

MAX_FOLDER_BYTES = 2 << 30
"""Bytes of photos in a folder: without a limit, a client could fill the disk."""

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)

_one_at_a_time = Lock()


def keep(folder: Path, label: str, labels: Sequence[str], data: bytes, *, chosen: bool = False) -> Path:
    """Save an encoded photo as `folder/<label>/<start of its SHA-256>.<suffix>` and return the path.

    The folder is a source to train on (`folder:` in a recipe). The same photo is saved once for a
    label. `chosen` says that the user named the folder: it may be a link, and another user's.

    Raises:
        DataError: The label is unknown, the data is not a photo, or the folder is full.
        ResourceError: Nothing can be written there, or a folder is a link or another user's.
    """
    if label not in labels:
        raise DataError(f"{label!r}: unknown label. Known: {', '.join(labels)}.")
    if Path(label).name != label or label in (".", ".."):
        raise DataError(f"{label!r}: this label cannot be the name of a folder.")
    with _one_at_a_time:  # one photo in memory, and none beside the limit of the folder
        file_format = image.preprocess_with_facts(data, (1, 1))[1].format
        if file_format not in FILE_SUFFIXES:
            raise DataError(f"{file_format} photos cannot be saved here. Expected a JPEG or PNG.")
        _require_room(folder, len(data))
        path = folder / label / (hashlib.sha256(data).hexdigest()[:16] + FILE_SUFFIXES[file_format])
        with resource_errors.resource_errors_explained(path):
            _save(folder, path, data, chosen)
    return path


def _require_room(folder: Path, size: int) -> None:
    found = folder_guard.walk(folder) if folder.is_dir() else ()
    used = sum(entry.path.lstat().st_size for entry in found if entry.is_file)
    if used + size > MAX_FOLDER_BYTES:
        raise DataError(
            f"{folder}: full, it holds at most {MAX_FOLDER_BYTES >> 20} MiB of photos. "
            "Move them to your training photos, or choose another folder with --feedback."
        )


def _save(folder: Path, path: Path, data: bytes, chosen: bool) -> None:
    """Write a photo atomically, each folder opened from the one above: none can be exchanged for a link."""
    if os.open not in os.supports_dir_fd:  # Windows
        for place in ([] if chosen else [folder]) + [path.parent]:
            if place.is_symlink():
                raise _refusal(place, place.lstat())
        with atomic.replacing(path) as temporary:
            temporary.write_bytes(data)
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _own_folder(folder, None, chosen) as top, _own_folder(path.parent, top, False) as parent:
        _require_name(path.parent, top)
        _write(path.name, data, parent)


def _require_name(path: Path, parent: int) -> None:
    """Raise ResourceError where the disk took the folder of another label for that of this one.

    On a disk that does not tell upper from lower case, photos of `Cat` and `cat` would lie in one folder.
    """
    names = {unicodedata.normalize("NFC", name): name for name in os.listdir(parent)}
    wanted = unicodedata.normalize("NFC", path.name)
    if wanted not in names:
        other = next((name for folded, name in names.items() if folded.casefold() == wanted.casefold()), "")
        raise ResourceError(
            f"{path}: this disk takes it for the folder {other!r} of another label, so no photo is saved "
            "there. Choose a folder on another disk with --feedback."
        )


@contextmanager
def _own_folder(path: Path, parent: int | None, chosen: bool) -> Iterator[int]:
    """Open a folder, which is made where it is missing, and yield its descriptor.

    `parent` is the descriptor of the folder that it lies in. Raises ResourceError where it is a link, no
    folder or another user's, unless it is `chosen`.
    """
    name = path.name if parent is not None else str(path)
    try:
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=parent)
        found = os.stat(name, dir_fd=parent, follow_symlinks=chosen)
        if not stat.S_ISDIR(found.st_mode):
            raise _refusal(path, found)
        descriptor = os.open(name, _FOLDER | (0 if chosen else os.O_NOFOLLOW), dir_fd=parent)
    except OSError as error:
        raise ResourceError(resource_errors.refused(error, path)) from error
    try:
        facts = os.fstat(descriptor)
        if not chosen and facts.st_uid != os.geteuid():
            raise _refusal(path, facts)
        yield descriptor
    finally:
        os.close(descriptor)


def _refusal(path: Path, facts: os.stat_result) -> ResourceError:
    """Return the error for what lies in the place of a folder of the user's own."""
    if stat.S_ISDIR(facts.st_mode):
        return ResourceError(
            f"{path}: belongs to another user, so no photo is saved there. "
            "Remove it, or choose another folder with --feedback."
        )
    return ResourceError(str(file_guard.refusal(path, facts.st_mode, ResourceError, "a folder")))


def _write(name: str, data: bytes, parent: int) -> None:
    """Write a file into the folder of a descriptor: under another name first, then flushed and renamed."""
    temporary = f".{name}{atomic.UNFINISHED}{os.urandom(8).hex()}"
    descriptor = os.open(temporary, _NEW_FILE, 0o600, dir_fd=parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=parent)
        raise
    os.fsync(parent)

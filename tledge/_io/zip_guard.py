"""Open downloaded zip files only if every entry is a regular file with a safe name and a plausible size."""

from __future__ import annotations

import io
import os
import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

from tledge._io import file_guard
from tledge.errors import RunError, TledgeError

DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError, KeyError, ValueError, RuntimeError,
          OverflowError, MemoryError)  # fmt: skip
"""Exceptions of `zipfile` for damaged archives, encrypted members and unknown compressions."""

DIRECTORY = 1 << 20
"""Largest size of the list of entries in bytes: about ten thousand entries."""

NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f\\:*?\"<>|/\ud800-\udfff]{1,200}")
"""A file name that every system accepts: no control characters, drives or separators."""

SLACK, RATIO = 64 << 20, 100
"""An archive may unpack to `SLACK` bytes plus `RATIO` times its own size; bundles unpack to twice theirs."""


class _LimitedReads(io.BufferedReader):
    """A file that limits each read: `zipfile` reads the whole list of entries at once, however long."""

    def __init__(self, file: io.BufferedReader, limit: int) -> None:
        super().__init__(file.detach())
        self._limit: int | None = max(limit, 1 << 17)  # a comment at the end may take 64 KiB

    def lift(self) -> None:
        """Limit reads no more: the list of entries has been read."""
        self._limit = None

    def read(self, size: int | None = -1) -> bytes:
        if self._limit is None:
            return super().read(size)
        data = super().read(self._limit + 1 if size is None or size < 0 else min(size, self._limit + 1))
        if len(data) > self._limit:
            raise zipfile.BadZipFile(f"its list of entries is larger than {self._limit} bytes")
        return data


class _OwnedZip(zipfile.ZipFile):
    """A zip that closes the file that it reads from."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._owned = file
        super().__init__(file)

    def close(self) -> None:
        super().close()
        self._owned.close()


def open_zip(
    path: Path, directory: int = DIRECTORY, bounded: bool = True, error: type[TledgeError] = RunError
) -> zipfile.ZipFile:
    """Open the zip file at `path` if its entries can safely be read and written below a folder.

    The file is opened once: what is read from it later was checked, also where its name gets another file.

    Args:
        path: the zip file, or a link to one.
        directory: largest size of the list of entries in bytes.
        bounded: also limit the size that it unpacks to.
        error: the class of error to raise where there is no regular file.

    Raises:
        BadZipFile: it is unsafe; the message says why. Damaged files raise any of `DAMAGE`.
        TledgeError: of class `error`: it is a pipe, a device or a folder.
    """
    file = _LimitedReads(file_guard.open_file(path, follow=True, error=error), directory)
    try:
        packed = _OwnedZip(file)
        check(packed.infolist())
        total = sum(entry.file_size for entry in packed.infolist())
        if bounded and total > SLACK + RATIO * os.fstat(file.fileno()).st_size:
            raise zipfile.BadZipFile(f"it would unpack to {total} bytes, too much for its size")
    except BaseException:
        file.close()
        raise
    file.lift()
    return packed


def check(entries: Iterable[zipfile.ZipInfo]) -> None:
    """Raise BadZipFile for links, encrypted entries, unsafe names and duplicate names."""
    seen: set[str] = set()
    folders: set[str] = set()
    for entry in entries:
        name = entry.filename.removesuffix("/")
        if not is_plain(name):
            raise zipfile.BadZipFile(f"{name[:200]!r} is not a safe file name")
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or entry.flag_bits & 1:
            raise zipfile.BadZipFile(f"{name!r} is a link, a device or encrypted")
        key = _key(name)
        if key in seen:
            raise zipfile.BadZipFile(f"{name!r} is a duplicate entry")
        seen.add(key)
        parents = key.split("/")[:-1]
        folders |= {"/".join(parents[: count + 1]) for count in range(len(parents))}
        if entry.is_dir():
            seen.discard(key)
            folders.add(key)
    if both := sorted(seen & folders):
        raise zipfile.BadZipFile(f"{both[0]!r} is both a file and a folder")


def is_plain(name: str) -> bool:
    """Tell whether a name is a relative path with forward slashes that stays in its folder on every "
    "system."""
    parts = name.split("/")
    return len(parts) <= 16 and all(NAME.fullmatch(part) and part not in (".", "..") for part in parts)


def _key(name: str) -> str:
    """Normalize a name, so that names which some systems do not distinguish become equal."""
    return unicodedata.normalize("NFC", name).casefold()

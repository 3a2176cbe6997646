"""Zip files of strangers: opened only where every entry is a plain file, plainly named and not too large."""

from __future__ import annotations

import io
import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError, KeyError, ValueError, RuntimeError,
          OverflowError, MemoryError)  # fmt: skip
"""What `zipfile` raises for damaged archives, encrypted members and compressions that it does not know."""

DIRECTORY = 1 << 20
"""Bytes that the list of entries may take: some ten thousand entries."""

NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f\\:*?\"<>|/\ud800-\udfff]{1,200}")
"""A file's name that every system takes: no control characters, drives or separators."""

SLACK, RATIO = 64 << 20, 100
"""An archive may unpack to `SLACK` bytes and `RATIO` times its own size; a bundle is about twice its own."""


class _Guarded(io.BufferedReader):
    """A file whose single reads are limited: `zipfile` reads the list of entries, however long, at once."""

    def __init__(self, file: io.RawIOBase, limit: int) -> None:
        super().__init__(file)
        self._limit = max(limit, 1 << 17)  # a comment at the end may take 64 KiB

    def read(self, size: int | None = -1) -> bytes:
        found = super().read(self._limit + 1 if size is None or size < 0 else min(size, self._limit + 1))
        if len(found) > self._limit:
            raise zipfile.BadZipFile(f"its list of entries is larger than {self._limit} bytes")
        return found


def open_zip(path: Path, directory: int = DIRECTORY, bounded: bool = True) -> zipfile.ZipFile:
    """The zip file at `path`, whose entries can be read and written below a folder without harm.

    `directory` limits the bytes of the list of entries, `bounded` says whether what it unpacks to is limited.
    Raises BadZipFile, or another of `DAMAGE`, saying what is wrong.
    """
    with _Guarded(path.open("rb", buffering=0), directory) as file, zipfile.ZipFile(file) as packed:
        check(packed.infolist())
        total = sum(one.file_size for one in packed.infolist())
    if bounded and total > SLACK + RATIO * path.stat().st_size:
        raise zipfile.BadZipFile(f"it would unpack to {total} bytes, too many for its size")
    return zipfile.ZipFile(path)


def check(entries: Iterable[zipfile.ZipInfo]) -> None:
    """Raise BadZipFile for links, encryption, names that point elsewhere, and names that stand twice."""
    seen: set[str] = set()
    folders: set[str] = set()
    for one in entries:
        name = one.filename.removesuffix("/")
        if not is_plain(name):
            raise zipfile.BadZipFile(f"{name[:200]!r} is no name of a file within a folder")
        kind = stat.S_IFMT(one.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or one.flag_bits & 1:
            raise zipfile.BadZipFile(f"{name!r} is a link, a device or encrypted")
        key = _key(name)
        if key in seen:
            raise zipfile.BadZipFile(f"{name!r} stands there twice")
        seen.add(key)
        parents = key.split("/")[:-1]
        folders |= {"/".join(parents[: count + 1]) for count in range(len(parents))}
        if one.is_dir():
            seen.discard(key)
            folders.add(key)
    if both := sorted(seen & folders):
        raise zipfile.BadZipFile(f"{both[0]!r} is a file and a folder")


def is_plain(name: str) -> bool:
    """True for a relative path with forward slashes that stays within its folder, on every system."""
    parts = name.split("/")
    return len(parts) <= 16 and all(NAME.fullmatch(one) and one not in (".", "..") for one in parts)


def _key(name: str) -> str:
    """What two names have in common that some systems take for one."""
    return unicodedata.normalize("NFC", name).casefold()

"""Decompress what somebody else compressed, up to a limit: a few bytes can stand for gigabytes."""

from __future__ import annotations

import zipfile
import zlib


def inflate(data: bytes, limit: int) -> bytes:
    """Decompress zlib data to at most `limit` bytes.

    Raises:
        ValueError: it is damaged or cut, or there is more in it; no more than `limit` bytes were unpacked.
    """
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(data, limit + 1)
    except zlib.error as error:
        raise ValueError(f"does not unpack ({error})") from error
    if len(content) > limit:
        raise ValueError(f"unpacks to more than {limit} bytes")
    if not stream.eof:
        raise ValueError("does not unpack (it is cut)")
    return content


def read_member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """Decompress a member of a zip archive to at most `limit` bytes.

    Raises:
        KeyError: there is no such member.
        ValueError: it unpacks to more.
        `zip_guard.DAMAGE`: the archive is damaged.
    """
    entry = archive.getinfo(name)
    if entry.file_size > limit:
        raise ValueError(f"unpacks to {entry.file_size} bytes, more than {limit}")
    with archive.open(entry) as member:
        return member.read(limit)  # no member gives more than its entry says

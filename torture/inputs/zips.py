"""Zip files of every kind of harm, made of a good bundle's or cache's."""

from __future__ import annotations

import stat
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

Entry = tuple[zipfile.ZipInfo, bytes]


def read_entries(zip_path: Path) -> list[Entry]:
    """Read the entries of a good bundle's zip, to be written again with one of them changed."""
    with zipfile.ZipFile(zip_path) as packed:
        return [
            (entry, packed.read(entry)) for entry in packed.infolist() if entry.filename != "preview.html"
        ]


def write_zip(path: Path, parts: list[Entry]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for entry, data in parts:
            packed.writestr(entry, data)
    return path


def with_entry(name: str, data: bytes = b"harm", mode: int = 0) -> Callable[[Path, list[Entry]], None]:
    """Build a writer of the bundle with one more entry."""

    def made(path: Path, parts: list[Entry]) -> None:
        entry = zipfile.ZipInfo(name)
        entry.filename = name  # also what ZipInfo would have made safe
        entry.external_attr = mode << 16
        write_zip(path, [*parts, (entry, data)])

    return made


def _bomb(size: int) -> Callable[[Path, list[Entry]], None]:
    def made(path: Path, parts: list[Entry]) -> None:
        entry = zipfile.ZipInfo("golden/big.npy")
        entry.compress_type = zipfile.ZIP_DEFLATED
        write_zip(path, [*parts, (entry, bytes(size))])

    return made


def _nested(path: Path, parts: list[Entry]) -> None:
    data = bytes(32 << 20)
    for level in range(3):
        inner = path.with_name(f"inner-{level}.zip")
        with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as packed:
            for number in range(8):
                packed.writestr(f"{number}.zip", data)
        data = inner.read_bytes()
    with_entry("golden/inner.zip", data)(path, parts)


def _overlapping(path: Path, parts: list[Entry]) -> None:
    """List many names in the directory for the data of one."""
    write_zip(path, parts)
    data = bytearray(path.read_bytes())
    end = data.rindex(b"PK\5\6")
    size, start = struct.unpack_from("<II", data, end + 12)
    directory = bytes(data[start : start + size])
    first = directory[: 46 + sum(struct.unpack_from("<HHH", directory, 28))]
    length = struct.unpack_from("<H", first, 28)[0]
    copies = [first[:46] + f"{n:0{length}d}".encode()[-length:] + first[46 + length :] for n in range(500)]
    new_directory = directory + b"".join(copies)
    tail = bytearray(data[end:])
    count = struct.unpack_from("<H", tail, 10)[0] + len(copies)
    struct.pack_into("<HHI", tail, 8, count, count, len(new_directory))
    path.write_bytes(bytes(data[:start]) + new_directory + bytes(tail))


def _lying_size(path: Path, parts: list[Entry]) -> None:
    """Claim in the directory that the manifest is four bytes, or four gigabytes."""
    write_zip(path, parts)
    data = bytearray(path.read_bytes())
    at = data.rindex(b"manifest.json", 0, data.rindex(b"PK\5\6")) - 46
    struct.pack_into("<I", data, at + 24, 4 if path.stem.endswith("small") else 0xFFFFFFF0)
    path.write_bytes(data)


def _encrypted(path: Path, parts: list[Entry]) -> None:
    write_zip(path, parts)
    data = bytearray(path.read_bytes())
    at = data.rindex(b"manifest.json", 0, data.rindex(b"PK\5\6")) - 46
    data[at + 8] |= 1
    path.write_bytes(data)


def _compression(path: Path, parts: list[Entry]) -> None:
    write_zip(path, parts)
    data = bytearray(path.read_bytes())
    at = data.rindex(b"manifest.json", 0, data.rindex(b"PK\5\6")) - 46
    struct.pack_into("<H", data, at + 10, 99)
    path.write_bytes(data)


def _many(count: int, name: str = "golden/{}") -> Callable[[Path, list[Entry]], None]:
    def made(path: Path, parts: list[Entry]) -> None:
        entries = [(zipfile.ZipInfo(name.format(number)), b"") for number in range(count)]
        with zipfile.ZipFile(path, "w") as packed:
            for entry, data in (*parts, *entries):
                packed.writestr(entry, data)

    return made


def _twice(path: Path, parts: list[Entry]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's own
        write_zip(path, [*parts, (zipfile.ZipInfo("manifest.json"), b"{}")])


def _cut(share: float) -> Callable[[Path, list[Entry]], None]:
    def made(path: Path, parts: list[Entry]) -> None:
        data = write_zip(path, parts).read_bytes()
        path.write_bytes(data[: int(len(data) * share)])

    return made


HOSTILE_ZIPS: dict[str, Callable[[Path, list[Entry]], None]] = {
    "slip": with_entry("../escaped.txt"),
    "slip within": with_entry("golden/../../escaped.txt"),
    "absolute": with_entry("/tmp/tledge-torture-escaped.txt"),
    "drive": with_entry("C:/escaped.txt"),
    "drive alone": with_entry("C:escaped.txt"),
    "backslash": with_entry("..\\escaped.txt"),
    "share": with_entry("//host/share/escaped.txt"),
    "link": with_entry("golden/link.txt", b"/etc/passwd", stat.S_IFLNK | 0o777),
    "link over the model": with_entry("tflite-int8.tflite/x", b"../..", stat.S_IFLNK | 0o777),
    "device": with_entry("golden/null", b"", stat.S_IFCHR | 0o666),
    "pipe": with_entry("golden/pipe", b"", stat.S_IFIFO | 0o666),
    "twice": _twice,
    "letter case": with_entry("MANIFEST.json", b"{}"),
    "file and folder": with_entry("manifest.json/inner.txt"),
    "line break": with_entry("golden/a\nb.txt"),
    "escape": with_entry("golden/\x1b[2J.txt"),
    "very long name": with_entry("golden/" + "n" * 3000),
    "very deep": with_entry("d/" * 5000 + "x"),
    "dots": with_entry("golden/./x.txt"),
    "empty name": with_entry("golden//x.txt"),
    "bomb": _bomb(1 << 30),
    "bomb above the limit": _bomb((1 << 29) + 1),
    "nested bomb": _nested,
    "overlapping": _overlapping,
    "size small": _lying_size,
    "size large": _lying_size,
    "encrypted": _encrypted,
    "compression": _compression,
    "100,000 entries": _many(100_000),
    "huge directory": _many(2000, "golden/" + "n" * 5000 + "{}"),
    "cut at the half": _cut(0.5),
    "cut at the end": _cut(0.999),
}
"""What becomes of the entries of a good zip file, written to a path."""

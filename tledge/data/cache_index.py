"""Read and write the index of a prepared cache, a row per photo, and find damage in the cache.

`index.json` is one JSON object: a line with the header, a line per row, and a line with
the SHA-256 of those before it, so that a cut or changed index shows. Neither reading nor writing
holds the whole text: a million rows take 370 MB in memory, the text and its parse would add 900 MB.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import IO, Any

from tledge._io import file_guard, files, ownership
from tledge._io.json_records import from_json
from tledge._io.npy import HEADER
from tledge.errors import RunError
from tledge.progress import Progress, start_task

ALWAYS_HASHED = 1 << 30
"""Bytes of pixels up to which they are hashed whenever a cache is used: about a second of SHA-256."""

PATIENCE = 2.0
"""Seconds of hashing after which a progress task is shown."""

ORIGINAL = re.compile(r"[\w-]+\.(jpg|png)")
"""Name of a photo in `originals/`; any other could lead out of the cache."""

_ADVICE = "Run `tledge data RECIPE`, which makes it again."


@dataclass(frozen=True, slots=True)
class Row:
    """One prepared image: the source's id, label and split, and facts of the photo.

    `sha256` and `bytes` are of the encoded photo, `mode` is Pillow's, `width` and `height` are
    upright, `orientation` is the EXIF tag, `file` names the file that held many records, and
    `offset` is the photo's first byte in that file where photos are streamed from it.
    """

    id: str
    label: str
    split: str
    sha256: str
    original: str = ""
    file: str = ""
    format: str = ""
    mode: str = ""
    width: int = 0
    height: int = 0
    orientation: int = 1
    bytes: int = 0
    offset: int = 0


_DEFAULTS: dict[str, Any] = {column.name: column.default for column in fields(Row)}
_REPEATED = ("label", "split", "file", "format", "mode", "width", "height")
"""Columns of which few values serve many rows: each value is kept once in memory."""


@dataclass(frozen=True)
class CacheHeader:
    """What all rows share; `pixels` is the SHA-256 of `images.npy`, "" where none is kept.

    `side` is that of the square images; `source` and `options` say where streamed photos are read;
    `pixel_range` is the recipe's. `labels` are those of the rows as the source spells them; `order` are all
    labels in the order of the source, where it has one.
    """

    labels: tuple[str, ...]
    skipped: tuple[str, ...]
    side: int
    pixels: str = ""
    source: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    pixel_range: tuple[float, ...] = ()
    order: tuple[str, ...] = ()


_ADDED = ("pixel_range", "order")
"""Facts that came after the first caches were made: left out of a file that lacks them."""


def row_line(row: Row) -> bytes:
    """Format a row as JSON on one line, without what has its default."""
    facts = ((name, default, getattr(row, name)) for name, default in _DEFAULTS.items())
    return json.dumps({name: value for name, default, value in facts if value != default}).encode()


def write(path: Path, header: CacheHeader, lines: Iterable[bytes]) -> None:
    """Write an index whose rows are lines of JSON already."""
    digest = hashlib.sha256()
    with open(path, "wb", opener=ownership.private) as out:
        for text in _text(header, lines):
            digest.update(text)
            out.write(text)
        out.write(_end(digest.hexdigest()))


def _end(digest: str) -> bytes:
    return f'], "sha256": "{digest}"}}\n'.encode()


def _text(header: CacheHeader, lines: Iterable[bytes]) -> Iterator[bytes]:
    facts = {name: value for name, value in vars(header).items() if value or name not in _ADDED}
    yield json.dumps(facts).encode()[:-1] + b', "rows": [\n'
    between = b""
    for line in lines:
        yield between + line.rstrip(b"\n")
        between = b",\n"
    yield b"\n"


def read(path: Path) -> tuple[CacheHeader, tuple[Row, ...]]:
    """Read an index; raises RunError where it is missing, cut, changed or of another version of tledge."""
    try:
        with file_guard.open_file(path) as file, files.complete(path, _ADVICE):
            return _read(file)
    except OSError as error:
        raise RunError(
            f"{path.parent}: no prepared cache ({error.strerror}: {path.name}). {_ADVICE}"
        ) from error


def _read(file: IO[bytes]) -> tuple[CacheHeader, tuple[Row, ...]]:
    """Parse an index; raises ValueError and the like where it is not complete."""
    first = file.readline()
    digest = hashlib.sha256(first)
    facts = json.loads(first.removesuffix(b', "rows": [\n') + b"}")
    rows: list[Row] = []
    repeated: dict[Any, Any] = {}
    for line in file:
        if line.startswith(b"]"):
            if line != _end(digest.hexdigest()):
                raise ValueError("its SHA-256 differs: it was changed or damaged")
            return from_json(CacheHeader, facts), tuple(rows)
        digest.update(line)
        rows.append(_row(json.loads(line.rstrip(b",\n")), repeated))
    raise ValueError("its end is missing")


def _row(facts: dict[str, Any], repeated: dict[Any, Any]) -> Row:
    for name in _REPEATED:
        if name in facts:
            facts[name] = repeated.setdefault(facts[name], facts[name])
    row = Row(**facts)
    if row.original and not ORIGINAL.fullmatch(row.original):
        raise ValueError(f"{row.original[:100]!r} is not the name of a kept photo")
    return row


OUTDATED = ("I", "F")
"""Modes that rows have from before pixels deeper than 8 bits had a rule: these were white or black."""


def find_damage(folder: Path, header: CacheHeader, rows: tuple[Row, ...], progress: Progress) -> str:
    """Say what is damaged in a prepared cache, "" where nothing is.

    Sizes are always compared. Hashing reads all pixels, at about 1.1 GB/s of one core and no faster
    than the disk: a second for `ALWAYS_HASHED` bytes, two minutes and more for a million images of
    224 pixels. So larger caches are only hashed where size, time of change or time of the inode's change
    (which no program sets) are not those of the last check. A bit that the disk changes without
    changing these is only found in smaller caches.
    """
    if damage := _wrong_size(folder, header, rows):
        return damage
    if any(row.mode in OUTDATED or row.mode.startswith("I;16") for row in rows):
        return "an earlier version of tledge prepared photos deeper than 8 bits, by another rule"
    path = folder / "images.npy"
    if header.pixels and path.stat().st_size > ALWAYS_HASHED and _last_checked(folder) == _stamp(path):
        return ""
    if header.pixels and _sha256(path, progress) != header.pixels:
        return "images.npy was changed or damaged (SHA-256 differs)"
    for row in rows:
        if row.original and files.sha256(folder / "originals" / row.original) != row.sha256:
            return f"originals/{row.original} was changed or damaged (SHA-256 differs)"
    note_checked(folder)
    return ""


def _wrong_size(folder: Path, header: CacheHeader, rows: tuple[Row, ...]) -> str:
    """Say which file is missing or has another size than it was written with."""
    expected_sizes = {f"originals/{row.original}": row.bytes for row in rows if row.original}
    if header.pixels:
        expected_sizes["images.npy"] = HEADER + len(rows) * header.side * header.side * 3
    for name, size in expected_sizes.items():
        path = folder / name
        actual = path.stat().st_size if path.is_file() else None
        if actual != size:
            return f"{name} is missing" if actual is None else f"{name} has {actual} bytes, expected {size}"
    return ""


def note_checked(folder: Path) -> None:
    """Remember that the pixels were undamaged, so that large ones need no hashing next time."""
    path = folder / "images.npy"
    if path.is_file() and path.stat().st_size > ALWAYS_HASHED:
        with contextlib.suppress(OSError):  # a cache that is shared read-only
            files.write_json(folder / "checked.json", _stamp(path))


def _last_checked(folder: Path) -> list[int] | None:
    """Return the stamp of the pixels that were checked last."""
    try:
        stamp: list[int] = json.loads((folder / "checked.json").read_bytes())
    except (OSError, ValueError):
        return None
    return stamp


def _stamp(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def _sha256(path: Path, progress: Progress) -> str:
    """Hash a file with SHA-256, with a progress task where it takes long."""
    digest, begun, size = hashlib.sha256(), time.monotonic(), 1 << 20
    with path.open("rb") as file, contextlib.ExitStack() as stack:
        task = None
        while block := file.read(size):
            digest.update(block)
            if task:
                task.advance()
            elif time.monotonic() - begun > PATIENCE:
                total = -(-path.stat().st_size // size)
                task = stack.enter_context(start_task(progress, "check the cache", total))
                task.advance(file.tell() // size)
    return digest.hexdigest()

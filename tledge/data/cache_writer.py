"""Write a cache folder photo by photo, so that a killed command can be resumed.

While a folder is filled it holds two files that grow together:

    images.npy   128 bytes reserved for the header, then the pixels of one image after another
    rows.jsonl   a line of JSON per photo: its row of the index, or why the photo was skipped

The pixels reach the disk before the lines that describe them, so a complete line means that its pixels are
complete. `resume` cuts off whatever follows the last complete pair. `finish` writes the header of
`images.npy` and turns the lines into `index.json`. An index of streamed photos has no `images.npy`.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

from tledge._io import files, npy, ownership
from tledge._io.npy import HEADER
from tledge.data import cache_index
from tledge.data.cache import ORIGINALS
from tledge.data.cache_index import CacheHeader, Row
from tledge.data.sources.base import Record, printable_id
from tledge.errors import DataError, MissingError, TledgeError
from tledge.preprocessing.bit_depth import COLOUR, PIXEL_RANGE
from tledge.preprocessing.image import ImageFacts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BLOCK = 256
"""Photos appended between two flushes; a killed command loses at most as many."""

SUFFIXES = {"JPEG": ".jpg", "PNG": ".png"}
"""Formats of which original files are kept: every device reads them."""

MAX_LISTED = 200
"""Unusable photos named in one message."""


@dataclass(frozen=True)
class DecodedPhoto:
    """A photo's pixels, its facts and the SHA-256 of its encoded bytes, which are not kept in memory."""

    record: Record
    pixels: NDArray[np.uint8]
    facts: ImageFacts
    sha256: str


@dataclass(frozen=True)
class UnusablePhoto:
    """A photo that cannot be used, and why."""

    record: Record
    error: TledgeError


Decoded = DecodedPhoto | UnusablePhoto


@dataclass
class _Summary:
    """What the lines of `rows.jsonl` say together."""

    images: int = 0
    labels: set[str] = field(default_factory=set)
    skipped: list[str] = field(default_factory=list)
    lacking_library: list[str] = field(default_factory=list)

    @property
    def photos(self) -> int:
        return self.images + len(self.skipped) + len(self.lacking_library)


class CacheWriter:
    """Fill one cache folder: `resume` once, `append` photos in the source's order, then `finish`.

    Use it as a context manager, which closes its files. `expected` is the number of photos that the source
    announces; a wrong number does no harm.
    """

    def __init__(self, folder: Path, header: CacheHeader, expected: int) -> None:
        self._folder, self._header, self._expected = folder, header, expected
        self._image_bytes = header.side * header.side * 3
        self._pixels: IO[bytes] | None = None
        self._open_files = ExitStack()
        self._unwritten: list[bytes] = []
        self._originals: Counter[tuple[str, str]] = Counter()
        self._resumed = False
        # SHA-256 that images.npy will have if this command writes exactly the expected number of images.
        self._digest = hashlib.sha256(npy.npy_header((expected, header.side, header.side, 3)))

    def __enter__(self) -> Self:
        if not self._header.source:
            self._pixels = self._open("images.npy", "ab")
        self._lines = self._open("rows.jsonl", "ab+")
        return self

    def _open(self, name: str, mode: str) -> IO[bytes]:
        """Open a file of the folder for the lifetime of the context; photos are private."""
        return self._open_files.enter_context(open(self._folder / name, mode, opener=ownership.private))

    def __exit__(self, *_error: object) -> None:
        self._open_files.close()

    def resume(self) -> int:
        """Cut both files back to the last complete photo; return the number of photos done already."""
        photos_done = images = end = 0
        images_on_disk = self._complete_images()
        self._lines.seek(0)
        for line in self._lines:
            entry = _complete_entry(line)
            if entry is None or images + ("skipped" not in entry) > images_on_disk:
                break
            photos_done, images, end = photos_done + 1, images + ("skipped" not in entry), end + len(line)
            if entry.get("original"):
                self._originals[entry["split"], entry["label"]] += 1
        self._lines.truncate(end)
        self._lines.seek(end)
        if self._pixels:
            self._pixels.truncate(HEADER + self._image_bytes * images)
            self._pixels.seek(0, os.SEEK_END)
        self._resumed = photos_done > 0
        return photos_done

    def _complete_images(self) -> int:
        """Return the number of images behind the header; reserve the header's bytes if missing."""
        if not self._pixels:
            return sys.maxsize
        if self._pixels.tell() < HEADER:
            self._pixels.write(bytes(HEADER - self._pixels.tell()))
        return (self._pixels.tell() - HEADER) // self._image_bytes

    def append(self, photos: Sequence[Decoded]) -> None:
        """Add the next photos: their pixels with one write, and a line for each."""
        if self._pixels:
            pixels = b"".join([photo.pixels.data for photo in photos if isinstance(photo, DecodedPhoto)])
            self._pixels.write(pixels)
            if not self._resumed:
                self._digest.update(pixels)
        self._unwritten += [self._line(photo) for photo in photos]
        if len(self._unwritten) >= BLOCK:
            self._flush()

    def _flush(self) -> None:
        """Write pixels before lines: a complete line promises complete pixels."""
        if self._pixels:
            self._pixels.flush()
            os.fsync(self._pixels.fileno())
        self._lines.writelines(self._unwritten)
        self._lines.flush()
        self._unwritten.clear()

    def _line(self, photo: Decoded) -> bytes:
        """Return the line of `rows.jsonl` for one photo; keep its original file if it is among the first."""
        record = photo.record
        if isinstance(photo, UnusablePhoto):
            reason = f"{printable_id(record.id)}: {photo.error}"
            return json.dumps({"skipped": reason, "kind": type(photo.error).__name__}).encode() + b"\n"
        offset = record.where() if self._header.source else 0
        original = self._keep_original(photo) if self._is_read_by_devices(photo.facts) else ""
        origin = (record.id, record.label, record.split, photo.sha256, original, record.file)
        return cache_index.row_line(Row(*origin, **vars(photo.facts), offset=offset)) + b"\n"

    def _is_read_by_devices(self, facts: ImageFacts) -> bool:
        """Check whether every device prepares the file alike: none knows the recipe's pixel range."""
        is_deep = facts.mode.startswith("L;") or facts.mode in COLOUR
        return facts.format in SUFFIXES and not (is_deep and self._header.pixel_range)

    def _keep_original(self, photo: DecodedPhoto) -> str:
        """Keep the encoded file of the first few photos of a class and split; return its name, or "".

        The file is read again, because holding the bytes of all photos decoded ahead takes gigabytes. A file
        that changed meanwhile is not kept.
        """
        place = (photo.record.split, photo.record.label)
        if self._originals[place] >= ORIGINALS:
            return ""
        content = _read_again(photo.record)
        if hashlib.sha256(content).hexdigest() != photo.sha256:
            return ""
        self._originals[place] += 1
        number = f"{len(self._originals):03d}-{self._originals.total():04d}"
        name = number + SUFFIXES[photo.facts.format]
        (self._folder / "originals").mkdir(ownership.FOLDER_MODE, exist_ok=True)
        with open(self._folder / "originals" / name, "wb", opener=ownership.private) as out:
            out.write(content)
        return name

    def finish(self, on_bad: str) -> None:
        """Complete `images.npy`, and write `index.json` from the lines.

        Raises MissingError where a library is missing to decode some photos, and DataError where there is no
        photo at all, or where photos cannot be used and `on_bad` is not "skip".
        """
        self._flush()
        self._open_files.close()
        summary = self._summary()
        _require_usable(summary, on_bad)
        labels, skipped = tuple(sorted(summary.labels)), tuple(summary.skipped)
        header = replace(self._header, labels=labels, skipped=skipped)
        if not header.source:
            header = replace(header, pixels=self._complete_pixels(summary.images))
        with (self._folder / "rows.jsonl").open("rb") as lines:
            rows = (line for line in lines if not line.startswith(b'{"skipped"'))
            cache_index.write(self._folder / "index", header, rows)
        cache_index.note_checked(self._folder)
        os.replace(self._folder / "index", self._folder / "index.json")

    def _summary(self) -> _Summary:
        summary = _Summary()
        with (self._folder / "rows.jsonl").open("rb") as lines:
            for entry in map(json.loads, lines):
                if "skipped" not in entry:
                    summary.images += 1
                    summary.labels.add(entry["label"])
                elif entry["kind"] == "MissingError":
                    summary.lacking_library.append(entry["skipped"])
                else:
                    summary.skipped.append(entry["skipped"])
        return summary

    def _complete_pixels(self, images: int) -> str:
        """Write the header of `images.npy`; return the file's SHA-256.

        The file is read again only where the digest that was computed while writing does not apply: this
        command did not write all images, or not as many as were expected.
        """
        path = self._folder / "images.npy"
        with path.open("r+b") as pixels:
            pixels.write(npy.npy_header((images, self._header.side, self._header.side, 3)))
        if self._resumed or images != self._expected:
            return files.sha256(path)
        return self._digest.hexdigest()


def _complete_entry(line: bytes) -> dict[str, str] | None:
    """Parse a line of `rows.jsonl`; None where a kill or a power failure left it incomplete."""
    try:
        entry: dict[str, str] = json.loads(line)
    except ValueError:
        return None
    return entry if line.endswith(b"\n") else None


def _read_again(record: Record) -> bytes:
    try:
        return record.read()
    except (OSError, DataError):  # the file disappeared after it was decoded
        return b""


def _require_usable(summary: _Summary, on_bad: str) -> None:
    if summary.lacking_library:
        raise MissingError(_refusal(summary.lacking_library, summary.photos, ""))
    if summary.skipped and (on_bad != "skip" or not summary.images):
        advice = ' Remove them, or set [data] on_bad = "skip" to continue without them.'
        if any(PIXEL_RANGE in reason for reason in summary.skipped):
            advice = f" Set {PIXEL_RANGE} for those whose pixels are deeper than 8 bits."
        elif not summary.images:
            advice = " None is left: name a [data] source with photos that can be decoded."
        raise DataError(_refusal(summary.skipped, summary.photos, advice))
    if not summary.images:
        raise DataError("[data] source: it holds no photos. Expected some; check what it points at.")


def _refusal(unusable: list[str], photos: int, advice: str) -> str:
    """Name all unusable photos, and say what to do."""
    more = len(unusable) - MAX_LISTED
    listed = [*unusable[:MAX_LISTED], *([f"and {more} more"] if more > 0 else [])]
    return "\n  ".join([f"{len(unusable)} of {photos} photos cannot be used.{advice}", *listed])

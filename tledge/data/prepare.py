"""Files that are filled piece by piece, and how a killed command goes on with prepared photos.

`images.npy` gets the pixels, behind a place for its header, and `rows.jsonl` a line per photo. Where
photos are streamed there are no pixels to keep, and `pixels` is None.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING

from tledge._io import atomic, files, lockfile, npy, resource_errors
from tledge._io.npy import HEADER
from tledge._process.ordered_map import in_order
from tledge.config import Data
from tledge.data import cache_index
from tledge.data.cache import ORIGINALS, Prepared, cache_root, open_cache, prepared_from
from tledge.data.cache_index import CacheHeader, Row
from tledge.data.sources.base import Record, Source, check_names, shown
from tledge.data.sources.options import source_options
from tledge.data.sources.registry import SOURCES
from tledge.errors import DataError, MissingError, RunError, TledgeError
from tledge.preprocessing import image
from tledge.preprocessing.image import ImageFacts
from tledge.progress import SILENT, Progress, track

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Decoded = tuple[Record, NDArray[np.uint8], ImageFacts, str] | tuple[Record, TledgeError]
    """A photo's pixels, facts and the SHA-256 of its bytes, which are not kept; or why it cannot be used."""
    import numpy as np


def flush(pixels: IO[bytes] | None, lines: IO[bytes], waiting: list[bytes]) -> None:
    """Pixels first: a line that stands means that its pixels do."""
    if pixels:
        pixels.flush()
        os.fsync(pixels.fileno())
    lines.writelines(waiting)
    lines.flush()
    waiting.clear()


def resume(pixels: IO[bytes] | None, lines: IO[bytes], each: int) -> tuple[int, Counter[tuple[str, str]]]:
    """Cut both files back to the last whole photo; gives photos done and originals kept of each place."""
    lines.seek(0)
    images_left = _whole_images(pixels, each) if pixels else sys.maxsize
    done = images = end = 0
    kept: Counter[tuple[str, str]] = Counter()
    for line in lines:
        row = _entry(line)
        if row is None or images + ("skipped" not in row) > images_left:
            break
        done, images, end = done + 1, images + ("skipped" not in row), end + len(line)
        kept[row.get("split", ""), row.get("label", "")] += bool(row.get("original"))
    lines.truncate(end)
    lines.seek(end)
    if pixels:
        pixels.truncate(HEADER + each * images)
        pixels.seek(0, os.SEEK_END)
    return done, +kept


def _whole_images(pixels: IO[bytes], each: int) -> int:
    """Images behind the header, for which place is made where it is not there."""
    if pixels.tell() < HEADER:
        pixels.write(bytes(HEADER - pixels.tell()))
    return (pixels.tell() - HEADER) // each


def _entry(line: bytes) -> dict[str, str] | None:
    """A line of `rows.jsonl`; None where a kill or a power failure left no whole one."""
    try:
        row: dict[str, str] = json.loads(line)
    except ValueError:
        return None
    return row if line.endswith(b"\n") else None


def entries(folder: Path) -> Iterator[dict[str, str]]:
    """Every line of `rows.jsonl`: the facts of a photo, or why it is `skipped`."""
    with (folder / "rows.jsonl").open("rb") as lines:
        yield from map(json.loads, lines)


LAYOUT = 3
"""Version of the cache folder; part of every cache key."""


SUFFIXES = {"JPEG": ".jpg", "PNG": ".png"}
"""Formats of which originals are kept: every device reads them."""


BLOCK = 256
"""Photos decoded between two moments that a killed command can go on from."""


AHEAD = 256
"""Photos that are decoded while earlier ones are written."""


TOGETHER = 8
"""Photos that a thread decodes at a time, and that are written with one call.

Small ones take a millisecond, of which threads waiting for each other were a sixth; large ones leave a core
idle at the end for as long as so many take.
"""


MAX_LISTED = 200
"""Unusable photos named in one message."""


def prepare(data: Data, size: int, progress: Progress = SILENT, *, wait: bool = False) -> Prepared:
    """Decode every photo of the source to `size` x `size`, or find the cache that has them.

    `wait` lets another command that is preparing the same finish first. Raises DataError naming
    every photo that does not decode (unless `on_bad` is "skip"), MissingError where a library is
    missing to decode some, ResourceError where the disk is too small, RunError where, without `wait`,
    another command is at it, and what the source raises. Nothing stands under the cache's name unless it is
    complete, and what was damaged since (`index.fault`) is made anew.
    """
    options = source_options(data)
    name = data.source.partition(":")[0]
    source = SOURCES[name].module
    if not data.cache:
        source.reader(options)  # refuses before anything is read
    parts = (data.source, sorted(options.items()), source.fingerprint(options), size)
    text = repr((*parts, data.on_bad, image.PREPARATION, LAYOUT, *(() if data.cache else ("streamed",))))
    folder = cache_root() / hashlib.sha256(text.encode()).hexdigest()[:24]
    if found := _whole(folder, progress):
        return found
    head = (
        CacheHeader((), (), size) if data.cache else CacheHeader((), (), size, source=name, options=options)
    )
    _make(folder, source, options, head, data.on_bad, progress, wait=wait)
    return open_cache(folder)


def _whole(folder: Path, progress: Progress) -> Prepared | None:
    """The cache in a folder; None where there is none, or, which is said, a damaged one."""
    if not folder.is_dir():
        return None
    try:
        head, rows = cache_index.read(folder / "index.json")
        damage = cache_index.fault(folder, head, rows, progress)
    except RunError as error:
        damage = str(error)
    if not damage:
        return prepared_from(folder, head, rows)
    progress.say(f"{folder}: damaged, so the photos are prepared anew: {damage}")
    return None


def _make(
    folder: Path,
    source: Source,
    options: Mapping[str, object],
    head: CacheHeader,
    on_bad: str,
    progress: Progress,
    *,
    wait: bool,
) -> None:
    """Fill the partial folder, going on where a killed command stopped, and rename it."""
    count = source.count(options)
    partial = folder.with_name(f".{folder.name}.partial")
    with resource_errors.resource_errors_explained(folder.parent), alone(folder, wait=wait):
        if _whole(folder, SILENT):  # another command was faster
            return
        try:
            if not (partial / "index.json").is_file():
                if not head.source:
                    _require_space(partial, count, head.side, progress)
                partial.mkdir(exist_ok=True)
                hashed = _fill(partial, source.records(options), count, head, progress)
                _finish(partial, head, on_bad, {count: hashed} if hashed else {})
        except (DataError, MissingError):
            shutil.rmtree(partial, ignore_errors=True)
            raise
        (partial / "rows.jsonl").unlink(missing_ok=True)
        atomic.settle(partial)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(partial, folder)


def _require_space(partial: Path, count: int, size: int, progress: Progress) -> None:
    """Say how large the cache will be; raises ResourceError where the disk cannot hold it."""
    there = partial / "images.npy"
    done = there.stat().st_size if there.is_file() else 0
    wanted = count * size * size * 3 - done
    progress.say(f"{count} photos to prepare at {size}x{size}: {wanted / 1e6:.0f} MB in {partial.parent}")
    resource_errors.require_space(
        partial.parent, wanted, f"{count} photos at {size}x{size}", "or lower image_size"
    )


def alone(folder: Path, *, wait: bool = False) -> AbstractContextManager[bool]:
    """Hold the lock beside the cache folder; `wait` for another command that has it, or raise RunError."""
    refusal = f"{folder}: another command is preparing these photos"
    folder.parent.mkdir(parents=True, exist_ok=True)
    return lockfile.hold(folder.with_name(f".{folder.name}.lock"), refusal, wait=wait)


def _fill(folder: Path, records: Iterator[Record], count: int, head: CacheHeader, progress: Progress) -> str:
    """Append every record that is not there yet: pixels to `images.npy`, a line to `rows.jsonl`.

    Gives the SHA-256 that `images.npy` will have with `count` images, hashed while others are decoded; ""
    where some were there already.
    """
    whole = hashlib.sha256(npy.npy_header((count, head.side, head.side, 3)))
    with (
        nullcontext() if head.source else (folder / "images.npy").open("ab") as pixels,
        (folder / "rows.jsonl").open("ab+") as lines,
    ):
        done, kept = resume(pixels, lines, head.side * head.side * 3)
        waiting: list[bytes] = []
        decoded = _decoded(islice(records, done, None), head.side)
        left = None if count < done else count - done
        with closing(track(progress, decoded, "prepare", left)) as tracked:
            while together := list(islice(tracked, min(TOGETHER, BLOCK))):
                if pixels:
                    made = b"".join([one[1].data for one in together if not isinstance(one[1], TledgeError)])
                    pixels.write(made)
                    if not done:
                        whole.update(made)
                waiting += [_line(folder, one, kept, streamed=not pixels) for one in together]
                if len(waiting) >= BLOCK:
                    flush(pixels, lines, waiting)
        flush(pixels, lines, waiting)
    return "" if done else whole.hexdigest()


def _line(folder: Path, one: Decoded, kept: Counter[tuple[str, str]], *, streamed: bool) -> bytes:
    """The line of `rows.jsonl` for one photo."""
    record = one[0]
    if isinstance(one[1], TledgeError):
        kind = type(one[1]).__name__
        return json.dumps({"skipped": f"{shown(record.id)}: {one[1]}", "kind": kind}).encode() + b"\n"
    _, _, facts, digest = one
    offset = record.where() if streamed else 0
    original = _keep_original(folder, record, digest, facts.format, kept) if facts.format in SUFFIXES else ""
    where = (record.id, record.label, record.split, digest, original, record.file)
    return cache_index.line_of(Row(*where, **vars(facts), offset=offset)) + b"\n"


def _finish(folder: Path, head: CacheHeader, on_bad: str, hashed: Mapping[int, str]) -> None:
    """Complete the header of `images.npy`, and turn the lines into `index.json`.

    `hashed` has the SHA-256 of `images.npy` for a count of images, where it is known already.
    """
    count, labels = 0, set()
    skipped: list[str] = []
    lacking: list[str] = []
    for entry in entries(folder):
        if "skipped" in entry:
            (lacking if entry["kind"] == "MissingError" else skipped).append(entry["skipped"])
        else:
            count += 1
            labels.add(entry["label"])
    total = count + len(skipped) + len(lacking)
    if lacking:
        raise MissingError(_refusal(lacking, total, "skip"))
    if skipped and (on_bad != "skip" or not count):
        raise DataError(_refusal(skipped, total, on_bad))
    if not count:
        raise DataError("[data] source: it holds no photos. Expected some; check what it points at.")
    head = replace(head, labels=tuple(sorted(labels)), skipped=tuple(skipped))
    if not head.source:
        with (folder / "images.npy").open("r+b") as pixels:
            pixels.write(npy.npy_header((count, head.side, head.side, 3)))
        head = replace(head, pixels=hashed.get(count) or files.sha256(folder / "images.npy"))
    with (folder / "rows.jsonl").open("rb") as lines:
        cache_index.write(
            folder / "index", head, (line for line in lines if not line.startswith(b'{"skipped"'))
        )
    cache_index.note_checked(folder)
    os.replace(folder / "index", folder / "index.json")


def _refusal(skipped: list[str], total: int, on_bad: str) -> str:
    """All unusable photos by name, and what to do."""
    more = len(skipped) - MAX_LISTED
    listed = [*skipped[:MAX_LISTED], *([f"and {more} more"] if more > 0 else [])]
    advice = "" if on_bad == "skip" else ' Remove them, or set [data] on_bad = "skip" to go on without them.'
    head = f"{len(skipped)} of {total} photos cannot be used.{advice}"
    return "\n  ".join([head, *listed])


def _decoded(records: Iterator[Record], size: int) -> Generator[Decoded]:
    """Prepare records in parallel, in order; Pillow lets other threads run while it decodes."""

    def one(record: Record) -> Decoded:
        try:
            check_names(record)
            data = record.read()
            pixels, facts = image.examine(data, (size, size))
            return record, pixels, facts, hashlib.sha256(data).hexdigest()
        except (DataError, MissingError) as error:
            return record, error
        except OSError as error:
            return record, DataError(f"cannot be read ({error}).")

    return in_order(one, records, os.cpu_count() or 1, AHEAD, min(TOGETHER, BLOCK, AHEAD))


def _keep_original(
    folder: Path, record: Record, digest: str, kind: str, kept: Counter[tuple[str, str]]
) -> str:
    """Keep the first few photos of a class and split as they came; gives the file's name.

    They are read again, for to hold the bytes of all that is decoded ahead takes gigabytes; one that
    is not the same any more is not kept.
    """
    place = (record.split, record.label)
    if kept[place] >= ORIGINALS:
        return ""
    data = _read_again(record)
    if hashlib.sha256(data).hexdigest() != digest:
        return ""
    kept[place] += 1
    name = f"{len(kept):03d}-{sum(kept.values()):04d}{SUFFIXES[kind]}"
    (folder / "originals").mkdir(exist_ok=True)
    (folder / "originals" / name).write_bytes(data)
    return name


def _read_again(record: Record) -> bytes:
    try:
        return record.read()
    except (OSError, DataError):  # it went away after it was decoded
        return b""

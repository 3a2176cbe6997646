"""Prepare the photos of a source: decode each one once into a cache folder, or find that folder."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from itertools import islice
from pathlib import Path

from tledge._io import atomic, cache_folder, lockfile, ownership, resource_errors
from tledge._process import processors
from tledge._process.ordered_map import in_order
from tledge.config import Data
from tledge.data import cache_index, cache_writer, labels
from tledge.data.cache import Prepared, open_cache, prepared_from, with_classes
from tledge.data.cache_index import CacheHeader
from tledge.data.cache_writer import CacheWriter, Decoded, DecodedPhoto, UnusablePhoto
from tledge.data.sources.base import Record, Scan, require_printable
from tledge.data.sources.options import read_options, stored_options
from tledge.data.sources.registry import SOURCES
from tledge.errors import DataError, MissingError, RunError
from tledge.preprocessing import image
from tledge.progress import SILENT, Progress, track

LAYOUT = 3
"""Version of the cache folder; part of every cache key."""

AHEAD = 256
"""Photos that are decoded while earlier ones are written."""

TOGETHER = 8
"""Photos that a thread decodes at a time, and that are written with one call.

With fewer, threads that decode small photos (a millisecond each) spend a sixth of the time waiting for each
other; with more, a core is idle at the end for as long as so many large photos take.
"""


def prepare_dataset(data: Data, size: int, progress: Progress = SILENT, *, wait: bool = False) -> Prepared:
    """Decode every photo of the source to `size` x `size`, or find the cache that holds them.

    Nothing stands under the cache's name unless it is complete; a cache that was damaged since
    (`cache_index.find_damage`) is made again.

    Args:
        wait: Let another command that is preparing the same photos finish first.

    Raises:
        DataError: Names every photo that does not decode, unless `on_bad` is "skip".
        MissingError: A library to decode some photos is missing.
        ResourceError: The disk is too small.
        RunError: Another command is preparing the same photos, and `wait` is False.
        TledgeError: Whatever the source raises.
    """
    options, listed = read_options(data)
    name = data.source.partition(":")[0]
    source = SOURCES[name].module
    if not data.cache:
        source.reader(options)  # refuses before anything is read
    scan = source.scan(options)
    parts = (data.source, sorted(stored_options(name, options).items()), scan.fingerprint(), size)
    more = [*([] if data.cache else ["streamed"]), *([data.pixel_range] if data.pixel_range else [])]
    text = repr((*parts, data.on_bad, image.PREPROCESSING, LAYOUT, *more))
    folder = cache_folder.own_cache_root() / hashlib.sha256(text.encode()).hexdigest()[:24]
    order = tuple(scan.order())
    if prepared := _undamaged(folder, progress):
        return with_labels(replace(prepared, left_out=scan.left_out()), listed, order)
    # Refuses labels before any photo is decoded; photos with a blank one are refused, or skipped, one by one.
    _classes(filter(labels.normalized, scan.labels()), listed, order)
    header = CacheHeader((), (), size, pixel_range=data.pixel_range, order=order)
    if not data.cache:
        header = replace(header, source=name, options=options)
    _make(folder, scan, header, data.on_bad, progress, wait=wait)
    return with_labels(replace(open_cache(folder), left_out=scan.left_out()), listed, order)


def with_labels(prepared: Prepared, listed: Sequence[str], order: Sequence[str] = ()) -> Prepared:
    """Give a cache, which keeps labels as the source spells them, its classes by the rule for labels.

    Args:
        listed: The labels that the recipe lists.
        order: The labels in the order of the source; if empty, what the cache says of that.
    """
    return with_classes(prepared, _classes(prepared.labels, listed, order or prepared.source_order))


def _classes(found: Iterable[str], listed: Sequence[str], order: Sequence[str]) -> labels.ClassList:
    return labels.class_list(found, listed or order, "recipe" if listed else "source")


def _undamaged(folder: Path, progress: Progress) -> Prepared | None:
    """Return the cache in a folder; None where there is none or, which is reported, a damaged one."""
    if not folder.is_dir():
        return None
    if reason := ownership.fault_within(folder):
        progress.say(f"{folder}: {reason}, so it is not used and the photos are prepared again")
        return None
    try:
        header, rows = cache_index.read(folder / "index.json")
        damage = cache_index.find_damage(folder, header, rows, progress)
    except RunError as error:
        damage = str(error)
    if not damage:
        return prepared_from(folder, header, rows)
    progress.say(f"{folder}: damaged, so the photos are prepared again: {damage}")
    return None


def _make(
    folder: Path, scan: Scan, header: CacheHeader, on_bad: str, progress: Progress, *, wait: bool
) -> None:
    """Fill the partial folder, resuming where a killed command stopped, and rename it."""
    count = scan.count()
    partial = folder.with_name(f".{folder.name}.partial")
    with resource_errors.resource_errors_explained(folder.parent), hold_lock(folder, wait=wait):
        ownership.remove_of_others(folder)  # as was said before
        if reason := ownership.remove_of_others(partial):
            progress.say(f"{partial}: {reason}, so it is not completed but made again")
        if _undamaged(folder, SILENT):  # another command was faster
            return
        try:
            if not (partial / "index.json").is_file():
                if not header.source:
                    _require_space(partial, count, header.side, progress)
                partial.mkdir(ownership.FOLDER_MODE, exist_ok=True)
                _fill(partial, scan, count, header, on_bad, progress)
        except (DataError, MissingError):
            shutil.rmtree(partial, ignore_errors=True)
            raise
        (partial / "rows.jsonl").unlink(missing_ok=True)
        atomic.flush(partial)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(partial, folder)


def _require_space(partial: Path, count: int, size: int, progress: Progress) -> None:
    """Say how large the cache will be; raises ResourceError where the disk cannot hold it."""
    pixels = partial / "images.npy"
    bytes_done = pixels.stat().st_size if pixels.is_file() else 0
    bytes_needed = count * size * size * 3 - bytes_done
    progress.say(
        f"{count} photos to prepare at {size}x{size}: {bytes_needed / 1e6:.0f} MB in {partial.parent}"
    )
    resource_errors.require_space(
        partial.parent, bytes_needed, f"{count} photos at {size}x{size}", "or lower image_size"
    )


def hold_lock(folder: Path, *, wait: bool = False) -> AbstractContextManager[bool]:
    """Hold the lock beside a cache folder; where another command has it, wait for it or raise RunError."""
    refusal = f"{folder}: another command is preparing these photos"
    ownership.make_private(folder.parent)
    return lockfile.hold(lockfile.beside(folder), refusal, wait=wait)


def _fill(folder: Path, scan: Scan, count: int, header: CacheHeader, on_bad: str, progress: Progress) -> None:
    """Decode every photo that is not in the folder yet, and complete the folder."""
    batch_size = min(TOGETHER, cache_writer.BLOCK)
    with CacheWriter(folder, header, count) as writer:
        photos_done = writer.resume()
        decoded = _decoded(islice(scan.records(), photos_done, None), header)
        remaining = None if count < photos_done else count - photos_done
        with closing(track(progress, decoded, "prepare", remaining)) as tracked:
            while batch := list(islice(tracked, batch_size)):
                writer.append(batch)
        writer.finish(on_bad)


def _decoded(records: Iterator[Record], header: CacheHeader) -> Generator[Decoded]:
    """Decode records in parallel, in order; Pillow lets other threads run while it decodes."""

    def decode(record: Record) -> Decoded:
        try:
            require_printable(record)
            data = record.read()
            size = (header.side, header.side)
            pixels, facts = image.preprocess_with_facts(data, size, header.pixel_range)
            return DecodedPhoto(record, pixels, facts, hashlib.sha256(data).hexdigest())
        except (DataError, MissingError) as error:
            return UnusablePhoto(record, error)
        except OSError as error:
            return UnusablePhoto(record, DataError(f"cannot be read ({error})."))

    at_once = min(TOGETHER, cache_writer.BLOCK, AHEAD)
    return in_order(decode, records, processors.usable(), AHEAD, at_once)

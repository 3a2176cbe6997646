"""The prepared data: every photo decoded once into a memory-mapped cache.

A cache folder holds `images.npy` (uint8[N, H, W, 3]), `index.json` (a row per image), and
`originals/`: some encoded photos of each class and source split, for the golden set. Its name is a hash of
the source, its options, its content and the size, so a changed photo makes another cache. While it
is made it lies under a name that begins with a dot, and a killed command goes on from there. A
cache that is no longer as it was made is made anew. With `[data] cache = false` there is no
`images.npy`: every photo is looked at once for the index, and decoded again whenever it is asked for.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from tledge import progress
from tledge._io import atomic, lockfile, resource_errors
from tledge._process.ordered_map import in_order
from tledge.config import Data
from tledge.data import cache_index
from tledge.data import prepare as data_prepare
from tledge.data.cache_index import Head, Row
from tledge.data.sources.base import Record, Source, check_names, shown
from tledge.data.sources.registry import SOURCES
from tledge.data.streaming import Images, Streamed
from tledge.errors import DataError, MissingError, RecipeError, RunError, TledgeError
from tledge.preprocessing import image
from tledge.preprocessing.image import Facts
from tledge.run import folder as run_folder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Decoded = tuple[Record, NDArray[np.uint8], Facts, str] | tuple[Record, TledgeError]
    """A photo's pixels, facts and the SHA-256 of its bytes, which are not kept; or why it cannot be used."""

LAYOUT = 3
"""Version of the cache folder; part of every cache key."""

ORIGINALS = 6
"""Encoded photos kept per class and source split."""

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


@dataclass(frozen=True)
class Prepared:
    """A cache folder and what is in it; `skipped` names photos that did not decode, and why.

    `streamed` is the head of an index without a cache of pixels.
    """

    folder: Path
    labels: tuple[str, ...]
    rows: tuple[Row, ...]
    skipped: tuple[str, ...]
    streamed: Head | None = None

    def images(self) -> Images:
        """All images uint8[N, H, W, 3]: memory-mapped, or decoded when they are asked for."""
        import numpy as np

        if self.streamed:
            return self._stream
        found: NDArray[np.uint8] = np.load(self.folder / "images.npy", mmap_mode="r")
        return found

    @cached_property
    def _stream(self) -> Streamed:
        assert self.streamed is not None
        read = SOURCES[self.streamed.source].module.reader(self.streamed.options)
        return Streamed(self.rows, read, self.streamed.side)

    def label_indices(self) -> NDArray[np.int64]:
        """Index of every image's label: int64[N]."""
        import numpy as np

        index = {label: number for number, label in enumerate(self.labels)}
        return np.array([index[row.label] for row in self.rows], np.int64)


def cache_root() -> Path:
    """Where caches lie: `$TLEDGE_CACHE`, else `tledge` in the user's cache folder."""
    if named := os.environ.get("TLEDGE_CACHE"):
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return resource_errors.expanded(base) / "tledge"


def source_options(data: Data) -> dict[str, object]:
    """All options of the recipe's source, defaults filled in; unknown keys raise RecipeError."""
    name, _, argument = data.source.partition(":")
    entry = SOURCES[name]
    unknown = sorted(set(data.options) - set(entry.module.OPTIONS))
    if unknown:
        raise RecipeError(
            f"[data] source {name!r} has no option {unknown[0]!r}. "
            f"Its options: {', '.join(sorted(entry.module.OPTIONS))}."
        )
    for key, value in data.options.items():
        if type(value) is not type(entry.module.OPTIONS[key]):
            raise RecipeError(f"[data] {key}: expected such as {entry.module.OPTIONS[key]!r}, got {value!r}.")
    chosen = {**entry.module.OPTIONS, **data.options}
    if argument and not entry.argument:
        raise RecipeError(f"[data] source {name!r} takes nothing after a colon, got {argument!r}.")
    if argument:
        chosen[entry.argument] = argument
    if entry.argument and not chosen[entry.argument]:
        raise RecipeError(f'[data] source {name!r} needs its {entry.argument}: "{name}:...".')
    return chosen


def prepare(
    data: Data, size: int, watch: progress.Progress = progress.SILENT, *, wait: bool = False
) -> Prepared:
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
    if found := _whole(folder, watch):
        return found
    head = Head((), (), size) if data.cache else Head((), (), size, source=name, options=options)
    _make(folder, source, options, head, data.on_bad, watch, wait=wait)
    return open_cache(folder)


def _whole(folder: Path, watch: progress.Progress) -> Prepared | None:
    """The cache in a folder; None where there is none, or, which is said, a damaged one."""
    if not folder.is_dir():
        return None
    try:
        head, rows = cache_index.read(folder / "index.json")
        damage = cache_index.fault(folder, head, rows, watch)
    except RunError as error:
        damage = str(error)
    if not damage:
        return _prepared(folder, head, rows)
    watch.say(f"{folder}: damaged, so the photos are prepared anew: {damage}")
    return None


def _make(
    folder: Path,
    source: Source,
    options: Mapping[str, object],
    head: Head,
    on_bad: str,
    watch: progress.Progress,
    *,
    wait: bool,
) -> None:
    """Fill the partial folder, going on where a killed command stopped, and rename it."""
    count = source.count(options)
    partial = folder.with_name(f".{folder.name}.partial")
    with resource_errors.explained(folder.parent), alone(folder, wait=wait):
        if _whole(folder, progress.SILENT):  # another command was faster
            return
        try:
            if not (partial / "index.json").is_file():
                if not head.source:
                    _require_space(partial, count, head.side, watch)
                partial.mkdir(exist_ok=True)
                hashed = _fill(partial, source.records(options), count, head, watch)
                _finish(partial, head, on_bad, {count: hashed} if hashed else {})
        except (DataError, MissingError):
            shutil.rmtree(partial, ignore_errors=True)
            raise
        (partial / "rows.jsonl").unlink(missing_ok=True)
        atomic.settle(partial)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(partial, folder)


def _require_space(partial: Path, count: int, size: int, watch: progress.Progress) -> None:
    """Say how large the cache will be; raises ResourceError where the disk cannot hold it."""
    there = partial / "images.npy"
    done = there.stat().st_size if there.is_file() else 0
    wanted = count * size * size * 3 - done
    watch.say(f"{count} photos to prepare at {size}x{size}: {wanted / 1e6:.0f} MB in {partial.parent}")
    resource_errors.require_space(
        partial.parent, wanted, f"{count} photos at {size}x{size}", "or lower image_size"
    )


def alone(folder: Path, *, wait: bool = False) -> AbstractContextManager[bool]:
    """Hold the lock beside the cache folder; `wait` for another command that has it, or raise RunError."""
    refusal = f"{folder}: another command is preparing these photos"
    folder.parent.mkdir(parents=True, exist_ok=True)
    return lockfile.hold(folder.with_name(f".{folder.name}.lock"), refusal, wait=wait)


def open_cache(folder: Path) -> Prepared:
    """Open a cache folder; raises RunError where it is gone or its index is damaged."""
    return _prepared(folder, *cache_index.read(folder / "index.json"))


def _prepared(folder: Path, head: Head, rows: tuple[Row, ...]) -> Prepared:
    return Prepared(folder, head.labels, rows, head.skipped, head if head.source else None)


def _fill(folder: Path, records: Iterator[Record], count: int, head: Head, watch: progress.Progress) -> str:
    """Append every record that is not there yet: pixels to `images.npy`, a line to `rows.jsonl`.

    Gives the SHA-256 that `images.npy` will have with `count` images, hashed while others are decoded; ""
    where some were there already.
    """
    whole = hashlib.sha256(data_prepare.npy_header((count, head.side, head.side, 3)))
    with (
        nullcontext() if head.source else (folder / "images.npy").open("ab") as pixels,
        (folder / "rows.jsonl").open("ab+") as lines,
    ):
        done, kept = data_prepare.go_on(pixels, lines, head.side * head.side * 3)
        waiting: list[bytes] = []
        decoded = _decoded(islice(records, done, None), head.side)
        left = None if count < done else count - done
        with closing(progress.track(watch, decoded, "prepare", left)) as tracked:
            while together := list(islice(tracked, min(TOGETHER, BLOCK))):
                if pixels:
                    made = b"".join([one[1].data for one in together if not isinstance(one[1], TledgeError)])
                    pixels.write(made)
                    if not done:
                        whole.update(made)
                waiting += [_line(folder, one, kept, streamed=not pixels) for one in together]
                if len(waiting) >= BLOCK:
                    data_prepare.flush(pixels, lines, waiting)
        data_prepare.flush(pixels, lines, waiting)
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


def _finish(folder: Path, head: Head, on_bad: str, hashed: Mapping[int, str]) -> None:
    """Complete the header of `images.npy`, and turn the lines into `index.json`.

    `hashed` has the SHA-256 of `images.npy` for a count of images, where it is known already.
    """
    count, labels = 0, set()
    skipped: list[str] = []
    lacking: list[str] = []
    for entry in data_prepare.entries(folder):
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
            pixels.write(data_prepare.npy_header((count, head.side, head.side, 3)))
        head = replace(head, pixels=hashed.get(count) or run_folder.sha256(folder / "images.npy"))
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


def pick_originals(prepared: Prepared, rows: NDArray[np.int64], count: int) -> list[int]:
    """Up to `count` of `rows` whose encoded photo was kept, classes in turn."""
    by_label: dict[str, list[int]] = {label: [] for label in prepared.labels}
    for row in rows.tolist():
        if prepared.rows[row].original:
            by_label[prepared.rows[row].label].append(row)
    turns = zip(*(([*kept, *[-1] * ORIGINALS])[:ORIGINALS] for kept in by_label.values()), strict=True)
    return [row for turn in turns for row in turn if row >= 0][:count]


def by_class_in_turn(labels: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """Up to `count` positions in labels int64[N], seeded, the classes taking turns; ascending."""
    import numpy as np

    order = np.random.default_rng([seed, 7]).permutation(len(labels))
    seen: Counter[int] = Counter()
    turns: list[tuple[int, int, int]] = []
    for position in order.tolist():
        turns.append((seen[int(labels[position])], len(turns), position))
        seen[int(labels[position])] += 1
    return np.array(sorted(position for _turn, _n, position in sorted(turns)[:count]), np.int64)

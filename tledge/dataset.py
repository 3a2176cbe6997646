"""The prepared data: every photo decoded once into a memory-mapped cache.

A cache folder holds `images.npy` (uint8[N, H, W, 3]), `index.json` (a row per image), and
`originals/`: some encoded photos of each class and source split, for the golden set. Its name is a hash of
the source, its options, its content and the size, so a changed photo makes another cache. While it
is made it lies under a name that begins with a dot, and a killed command goes on from there.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING

from tledge import images, progress, runs
from tledge.errors import DataError, MissingError, RecipeError, RunError, TledgeError
from tledge.images import Facts
from tledge.sources import SOURCES
from tledge.sources.base import Record, Source
from tledge.tables import Data

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Decoded = tuple[Record, NDArray[np.uint8], Facts, bytes] | tuple[Record, TledgeError]

LAYOUT = 2
"""Version of the cache folder; part of every cache key."""

ORIGINALS = 6
"""Encoded photos kept per class and source split."""

SUFFIXES = {"JPEG": ".jpg", "PNG": ".png"}
"""Formats of which originals are kept: every device reads them."""

HEADER = 128
"""Bytes before the pixels in `images.npy`; its shape is filled in when all are there."""

BLOCK = 256
"""Photos decoded between two moments that a killed command can go on from."""

POLL = 0.2
"""Seconds between two looks whether another command has finished."""

MAX_LISTED = 200
"""Unusable photos named in one message."""


@dataclass(frozen=True)
class Row:
    """One prepared image: the source's id, label and split, and what the photo was.

    `sha256` and `bytes` are of the encoded photo, `mode` is Pillow's, `width` and `height` are
    upright, `orientation` is the EXIF tag, `file` names the file that held many records.
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


@dataclass(frozen=True)
class Prepared:
    """A cache folder and what is in it; `skipped` names photos that did not decode, and why."""

    folder: Path
    labels: tuple[str, ...]
    rows: tuple[Row, ...]
    skipped: tuple[str, ...]

    def images(self) -> NDArray[np.uint8]:
        """All images, memory-mapped: uint8[N, H, W, 3]."""
        import numpy as np

        found: NDArray[np.uint8] = np.load(self.folder / "images.npy", mmap_mode="r")
        return found

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
    return Path(base).expanduser() / "tledge"


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
    missing to decode some, RunError where the disk is too small or, without `wait`, another command
    is at it, and what the source raises. Nothing stands under the cache's name unless it is complete.
    """
    options = source_options(data)
    source = SOURCES[data.source.partition(":")[0]].module
    parts = (data.source, sorted(options.items()), source.fingerprint(options), size)
    text = repr((*parts, data.on_bad, images.PREPARATION, LAYOUT))
    folder = cache_root() / hashlib.sha256(text.encode()).hexdigest()[:24]
    if not (folder / "index.json").is_file():
        _make(folder, source, options, size, data.on_bad, watch, wait=wait)
    return open_cache(folder)


def _make(
    folder: Path,
    source: Source,
    options: Mapping[str, object],
    size: int,
    on_bad: str,
    watch: progress.Progress,
    *,
    wait: bool,
) -> None:
    """Fill the partial folder, going on where a killed command stopped, and rename it."""
    count = source.count(options)
    partial = folder.with_name(f".{folder.name}.partial")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with alone(folder, wait=wait):
        if (folder / "index.json").is_file():  # another command was faster
            return
        try:
            if not (partial / "index.json").is_file():
                _require_space(partial, count, size, watch)
                partial.mkdir(exist_ok=True)
                _fill(partial, source.records(options), count, size, watch)
                _finish(partial, size, on_bad)
        except (DataError, MissingError):
            shutil.rmtree(partial, ignore_errors=True)
            raise
        (partial / "rows.jsonl").unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(partial, folder)


def _require_space(partial: Path, count: int, size: int, watch: progress.Progress) -> None:
    """Say how large the cache will be; raises RunError where the disk cannot hold it."""
    there = partial / "images.npy"
    done = there.stat().st_size if there.is_file() else 0
    wanted, free = count * size * size * 3 - done, shutil.disk_usage(partial.parent).free
    watch.say(f"{count} photos to prepare at {size}x{size}: {wanted / 1e6:.0f} MB in {partial.parent}")
    if wanted > free:
        raise RunError(
            f"{partial.parent}: {count} photos at {size}x{size} take {wanted / 1e9:.2f} GB more, "
            f"{free / 1e9:.2f} GB are free. Point TLEDGE_CACHE at a larger disk, or lower image_size."
        )


@contextmanager
def alone(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock beside the cache folder; `wait` for another command that has it, or raise RunError."""
    try:
        import fcntl
    except ImportError:  # Windows has no such lock
        yield
        return
    path = folder.with_name(f".{folder.name}.lock")
    while True:
        with path.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                    raise OSError("the lock was given back in between")
            except OSError as error:
                if not wait:
                    raise RunError(
                        f"{folder}: another command is preparing these photos; wait for it."
                    ) from error
                time.sleep(POLL)
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def open_cache(folder: Path) -> Prepared:
    """Open a cache folder; raises RunError where it is gone or damaged."""
    raw = runs.read_json(folder / "index.json", "a prepared cache", "Run `tledge data RECIPE`.")
    with runs.complete(folder / "index.json", "Remove the folder and run `tledge data RECIPE`."):
        rows = tuple(Row(**row) for row in raw["rows"])
        return Prepared(folder, tuple(raw["labels"]), rows, tuple(raw["skipped"]))


def _fill(folder: Path, records: Iterator[Record], count: int, size: int, watch: progress.Progress) -> None:
    """Append every record that is not there yet: pixels to `images.npy`, a line to `rows.jsonl`."""
    with (folder / "images.npy").open("ab") as pixels, (folder / "rows.jsonl").open("ab+") as lines:
        done = _go_on(pixels, lines, size * size * 3)
        kept = Counter((row["split"], row["label"]) for row in done if row.get("original"))
        waiting: list[bytes] = []
        decoded = _decoded(islice(records, len(done), None), size)
        left = None if count < len(done) else count - len(done)
        with closing(progress.track(watch, decoded, "prepare", left)) as tracked:
            for one in tracked:
                waiting.append(_line(folder, one, pixels, kept))
                if len(waiting) == BLOCK:
                    _flush(pixels, lines, waiting)
        _flush(pixels, lines, waiting)


def _line(folder: Path, one: Decoded, pixels: IO[bytes], kept: Counter[tuple[str, str]]) -> bytes:
    """Write one photo's pixels; gives its line of `rows.jsonl`."""
    record = one[0]
    if isinstance(one[1], TledgeError):
        kind = type(one[1]).__name__
        return json.dumps({"skipped": f"{record.id}: {one[1]}", "kind": kind}).encode() + b"\n"
    _, image, facts, data = one
    pixels.write(image.tobytes())
    original = _keep_original(folder, record, data, facts.format, kept) if facts.format in SUFFIXES else ""
    digest = hashlib.sha256(data).hexdigest()
    row = Row(record.id, record.label, record.split, digest, original, record.file, **asdict(facts))
    return json.dumps(vars(row)).encode() + b"\n"


def _flush(pixels: IO[bytes], lines: IO[bytes], waiting: list[bytes]) -> None:
    """Pixels first: a line that stands means that its pixels do."""
    pixels.flush()
    os.fsync(pixels.fileno())
    lines.writelines(waiting)
    lines.flush()
    waiting.clear()


def _go_on(pixels: IO[bytes], lines: IO[bytes], each: int) -> list[dict[str, str]]:
    """Cut both files back to the last whole photo; gives what stands before it."""
    lines.seek(0)
    whole: list[dict[str, str]] = []
    if pixels.tell() < HEADER:
        pixels.write(bytes(HEADER - pixels.tell()))
    images_left, end = (pixels.tell() - HEADER) // each, 0
    for line in lines:
        if not line.endswith(b"\n"):
            break
        try:
            row = json.loads(line)
        except ValueError:  # what a power failure left
            break
        images_left -= "skipped" not in row
        if images_left < 0:
            break
        whole.append(row)
        end += len(line)
    lines.truncate(end)
    lines.seek(end)
    pixels.truncate(HEADER + each * sum("skipped" not in row for row in whole))
    pixels.seek(0, os.SEEK_END)
    return whole


def _finish(folder: Path, size: int, on_bad: str) -> None:
    """Complete the header of `images.npy`, and turn the lines into `index.json`."""
    entries = [json.loads(line) for line in (folder / "rows.jsonl").read_bytes().splitlines()]
    skipped = [entry["skipped"] for entry in entries if "skipped" in entry]
    rows = [entry for entry in entries if "skipped" not in entry]
    if lacking := [entry["skipped"] for entry in entries if entry.get("kind") == "MissingError"]:
        raise MissingError(_refusal(lacking, len(entries), "skip"))
    if skipped and (on_bad != "skip" or not rows):
        raise DataError(_refusal(skipped, len(entries), on_bad))
    if not rows:
        raise DataError("[data] source: it holds no photos. Expected some; check what it points at.")
    with (folder / "images.npy").open("r+b") as pixels:
        pixels.write(_npy_header((len(rows), size, size, 3)))
    index = {"labels": sorted({row["label"] for row in rows}), "skipped": skipped, "rows": rows}
    (folder / "index").write_text(json.dumps(index), encoding="utf-8")
    os.replace(folder / "index", folder / "index.json")


def _refusal(skipped: list[str], total: int, on_bad: str) -> str:
    """All unusable photos by name, and what to do."""
    more = len(skipped) - MAX_LISTED
    listed = [*skipped[:MAX_LISTED], *([f"and {more} more"] if more > 0 else [])]
    advice = "" if on_bad == "skip" else ' Remove them, or set [data] on_bad = "skip" to go on without them.'
    head = f"{len(skipped)} of {total} photos cannot be used.{advice}"
    return "\n  ".join([head, *listed])


def _decoded(records: Iterator[Record], size: int) -> Iterator[Decoded]:
    """Prepare records in parallel, in order; Pillow lets other threads run while it decodes."""

    def one(record: Record) -> Decoded:
        try:
            data = record.read()
            pixels, facts = images.examine(data, (size, size))
            return record, pixels, facts, data
        except (DataError, MissingError) as error:
            return record, error
        except OSError as error:
            return record, DataError(f"cannot be read ({error}).")

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        while block := list(islice(records, BLOCK)):
            yield from pool.map(one, block)


def _keep_original(
    folder: Path, record: Record, data: bytes, kind: str, kept: Counter[tuple[str, str]]
) -> str:
    """Keep the first few photos of a class and split as they came; gives the file's name."""
    place = (record.split, record.label)
    if kept[place] >= ORIGINALS:
        return ""
    kept[place] += 1
    name = f"{len(kept):03d}-{sum(kept.values()):04d}{SUFFIXES[kind]}"
    (folder / "originals").mkdir(exist_ok=True)
    (folder / "originals" / name).write_bytes(data)
    return name


def _npy_header(shape: tuple[int, ...]) -> bytes:
    """The header of an `.npy` file of uint8 (format 1.0), padded to the place kept for it."""
    facts = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"
    text = facts.ljust(HEADER - 11).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


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

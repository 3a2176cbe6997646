"""The prepared data: every photo decoded once into a memory-mapped cache, then split.

A cache folder holds `images.npy` (uint8[N, H, W, 3]), `index.json` (a row per image), and
`originals/`: some encoded photos of each class and source split, for the golden set. Its name is a hash of
the source, its options, its content and the size, so a changed photo makes another cache.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from tledge import images, progress, runs
from tledge.errors import DataError, RecipeError
from tledge.similarity import GROUPING, near_duplicate_groups
from tledge.sources import SOURCES
from tledge.sources.base import Record
from tledge.tables import Data, Splits, Take

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ORIGINALS = 6
"""Encoded photos kept per class and source split."""

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Row:
    """One prepared image: the source's id, label and split, and the SHA-256 of the photo."""

    id: str
    label: str
    split: str
    sha256: str
    original: str = ""


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


def prepare(data: Data, size: int, watch: progress.Progress = progress.SILENT) -> Prepared:
    """Decode every photo of the source to `size` x `size`, or find the cache that has them.

    Raises DataError for a photo that does not decode (unless `on_bad` is "skip"), and what the
    source raises. Nothing is left under the cache's name unless it is complete.
    """
    options = source_options(data)
    source = SOURCES[data.source.partition(":")[0]].module
    parts = (data.source, sorted(options.items()), source.fingerprint(options), size)
    text = repr((*parts, data.on_bad, images.PREPARATION))
    folder = cache_root() / hashlib.sha256(text.encode()).hexdigest()[:24]
    if not (folder / "index.json").is_file():
        with runs.replacing(folder) as made:
            made.mkdir()
            _fill(made, source.records(options), size, data.on_bad, watch)
    return open_cache(folder)


def open_cache(folder: Path) -> Prepared:
    """Open a cache folder; raises RunError where it is gone or damaged."""
    raw = runs.read_json(folder / "index.json", "a prepared cache", "Run `tledge data RECIPE`.")
    with runs.complete(folder / "index.json", "Remove the folder and run `tledge data RECIPE`."):
        rows = tuple(Row(**row) for row in raw["rows"])
        return Prepared(folder, tuple(raw["labels"]), rows, tuple(raw["skipped"]))


def _fill(folder: Path, records: Iterator[Record], size: int, on_bad: str, watch: progress.Progress) -> None:
    import numpy as np

    rows: list[Row] = []
    skipped: list[str] = []
    kept: Counter[tuple[str, str]] = Counter()
    tracked = progress.track(watch, _decoded(records, size), "prepare", None)
    with (folder / "pixels").open("wb") as out, closing(tracked) as done:
        for record, pixels, data in done:
            if isinstance(pixels, DataError):
                _refuse(record, pixels, on_bad, skipped)
                continue
            out.write(pixels.tobytes())
            original = _keep_original(folder, record, data, kept)
            digest = hashlib.sha256(data).hexdigest()
            rows.append(Row(record.id, record.label, record.split, digest, original))
    if not rows:
        raise DataError(f"No photo could be used; {len(skipped)} did not decode.")
    _to_npy(folder / "pixels", folder / "images.npy", (len(rows), size, size, 3), np.dtype(np.uint8))
    labels = sorted({row.label for row in rows})
    index = {"labels": labels, "skipped": skipped, "rows": [vars(row) for row in rows]}
    (folder / "index.json").write_text(json.dumps(index), encoding="utf-8")


def _refuse(record: Record, error: DataError, on_bad: str, skipped: list[str]) -> None:
    if on_bad != "skip":
        raise DataError(f'{record.id}: {error} Remove it, or set [data] on_bad = "skip" to go on without it.')
    skipped.append(f"{record.id}: {error}")


def _decoded(
    records: Iterator[Record], size: int
) -> Iterator[tuple[Record, NDArray[np.uint8] | DataError, bytes]]:
    """Prepare records in parallel, in order; Pillow lets other threads run while it decodes."""

    def one(record: Record) -> tuple[Record, NDArray[np.uint8] | DataError, bytes]:
        data = b""
        try:
            data = record.read()
            return record, images.prepare(data, (size, size)), data
        except DataError as error:
            return record, error, data
        except OSError as error:
            return record, DataError(f"cannot be read ({error})."), data

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        while block := list(islice(records, 256)):
            yield from pool.map(one, block)


def _keep_original(folder: Path, record: Record, data: bytes, kept: Counter[tuple[str, str]]) -> str:
    """Keep the first few photos of a class and split as they came; gives the file's name."""
    place = (record.split, record.label)
    if kept[place] >= ORIGINALS:
        return ""
    kept[place] += 1
    suffix = ".png" if data.startswith(b"\x89PNG") else ".jpg"
    name = f"{len(kept):03d}-{sum(kept.values()):04d}{suffix}"
    (folder / "originals").mkdir(exist_ok=True)
    (folder / "originals" / name).write_bytes(data)
    return name


def _to_npy(raw: Path, target: Path, shape: tuple[int, ...], dtype: np.dtype[np.uint8]) -> None:
    """Put an `.npy` header before raw pixels without holding them in memory."""
    import shutil

    import numpy as np

    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    with target.open("wb") as out, raw.open("rb") as pixels:
        np.lib.format.write_array_header_2_0(out, header)
        shutil.copyfileobj(pixels, out, 1 << 20)
    raw.unlink()


def split(prepared: Prepared, data: Data, seed: int) -> dict[str, NDArray[np.int64]]:
    """Row numbers of "train", "validation" and "test", disjoint, ascending, the same for a seed.

    A share of a source split is taken by class and, with `group`, by whole near-duplicate groups.
    Raises DataError for a source split that does not exist or a split that ends up empty.
    """
    import numpy as np

    groups = _groups(prepared) if data.group == "near-duplicates" else np.arange(len(prepared.rows))
    origin = np.array([row.split for row in prepared.rows])
    free = np.ones(len(prepared.rows), bool)
    made: dict[str, NDArray[np.int64]] = {}
    wanted = _takes(data.splits)
    for name in sorted(wanted, key=lambda one: wanted[one].fraction is None):
        take = wanted[name]
        _require(prepared, name, take)
        whole = np.flatnonzero(origin == take.origin)
        made[name] = _share(prepared, whole, free[whole], groups, take.fraction, seed)
        free[made[name]] = False
    for name, rows in made.items():
        if not len(rows):
            raise DataError(f"[data.splits] {name}: no photo is left for it.")
    labels = prepared.label_indices()
    lacking = set(range(len(prepared.labels))) - set(labels[made["train"]].tolist())
    if lacking:
        names = ", ".join(prepared.labels[one] for one in sorted(lacking))
        raise DataError(f"[data.splits] train: no photo of {names} is left for it.")
    return {name: made[name] for name in SPLITS}


def _takes(splits: Splits) -> dict[str, Take]:
    return {"train": splits.train, "validation": splits.validation, "test": splits.test}


def _require(prepared: Prepared, name: str, take: Take) -> None:
    known = sorted({row.split for row in prepared.rows})
    if take.origin not in known:
        raise DataError(
            f"[data.splits] {name}: the source has no split {take.origin!r}. It has {', '.join(known)}."
        )


def _groups(prepared: Prepared) -> NDArray[np.int64]:
    """Near-duplicate groups of a cache, computed once and kept beside it."""
    import numpy as np

    path = prepared.folder / f"groups-{GROUPING}.npy"
    if not path.is_file():
        with runs.replacing(path) as made:
            np.save(made, near_duplicate_groups(prepared.images()))
    found: NDArray[np.int64] = np.load(path)
    return found


def _share(
    prepared: Prepared,
    whole: NDArray[np.int64],
    free: NDArray[np.bool_],
    groups: NDArray[np.int64],
    fraction: float | None,
    seed: int,
) -> NDArray[np.int64]:
    """The free rows of a source split, or about `fraction` of its classes from them, in whole groups."""
    import numpy as np

    candidates = whole[free]
    if fraction is None:
        return candidates
    labels = prepared.label_indices()[candidates]
    members = groups[candidates]
    all_labels = prepared.label_indices()[whole]
    rng = np.random.default_rng([seed, len(candidates)])
    taken: set[int] = set()
    for label in np.unique(labels):
        own = members[labels == label]
        goal = fraction * int((all_labels == label).sum())
        order = rng.permutation(np.unique(own))
        taken |= _fill_up(own, order, goal)
    return candidates[np.isin(members, sorted(taken))]


def _fill_up(own: NDArray[np.int64], order: NDArray[np.int64], goal: float) -> set[int]:
    """Groups in this order whose sizes add up to the goal, never past it by over half a group."""
    sizes = Counter(own.tolist())
    total = 0.0
    taken: set[int] = set()
    for group in order.tolist():
        is_last_chance = not taken and goal >= 1 and group == order[-1] and len(order) > 1
        if total + sizes[group] / 2 <= goal or is_last_chance:
            taken.add(group)
            total += sizes[group]
    return taken


def counts(prepared: Prepared, rows: Mapping[str, NDArray[np.int64]]) -> dict[str, dict[str, int]]:
    """Images per split and label."""
    labels = [row.label for row in prepared.rows]
    return {
        name: {label: sum(labels[row] == label for row in chosen) for label in prepared.labels}
        for name, chosen in rows.items()
    }


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

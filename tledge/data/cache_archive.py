"""A prepared cache as one file that travels: packed here, unpacked and trained from on another machine.

The file is an uncompressed zip of the cache folder's members and of `cache.json`, which says what
they were made from and holds their SHA-256. An unpacked cache lies below the cache root under the
key that it has here, so a run knows it by the same name on both machines.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tledge._io import atomic, lockfile, resource_errors, zip_guard
from tledge._io.json_records import from_json
from tledge.config import Data
from tledge.data import cache, prepare
from tledge.data.cache import Prepared
from tledge.data.sources import options as sources_options
from tledge.errors import DataError, MissingError, RecipeError, RunError
from tledge.preprocessing import image
from tledge.progress import SILENT, Progress, Task, start_task

if TYPE_CHECKING:
    import zipfile

FORMAT = 1
"""Version of the file; raise it when an older tledge could not read it."""

NOTE = "cache.json"
DIRECTORY = 1 << 28
"""Bytes of the zip's list of entries, and of the note: a hundred each for two million photos."""

BLOCK = 1 << 20
"""Bytes in memory at a time: a cache may be larger than memory."""

MEMBER = re.compile(r"images\.npy|index\.json|originals/[\w-]+\.(jpg|png)")
"""Names that a cache folder has; anything else is neither packed nor unpacked."""

AGAIN = "Pack it again: tledge data RECIPE --pack cache.zip."
COPY = "Copy it again from where it was packed."


@dataclass(frozen=True)
class ArchiveHeader:
    """What `cache.json` says; `members` gives SHA-256 and size in bytes by name."""

    key: str
    source: str
    options: dict[str, object]
    image_size: int
    on_bad: str
    preparation: int
    layout: int
    members: dict[str, tuple[str, int]]
    format: int = FORMAT


def pack(prepared: Prepared, data: Data, size: int, out: Path, progress: Progress = SILENT) -> None:
    """Write the cache `prepared`, made from `data` at `size` pixels, as the zip file `out`.

    The same cache gives the same bytes. Raises RunError where `out` is a folder, ResourceError where
    the disk is full, RecipeError where the recipe keeps no cache.
    """
    import zipfile

    if out.is_dir():
        raise RunError(f"{out}: a folder; --pack takes the name of a file to write.")
    if not data.cache:
        raise RecipeError("[data] cache = false keeps no pixels, so there is nothing to pack. Leave it out.")
    paths = {path.relative_to(prepared.folder).as_posix(): path for path in prepared.folder.rglob("*")}
    names = sorted(name for name in paths if MEMBER.fullmatch(name))
    wanted = sum(paths[name].stat().st_size for name in names)
    out.parent.mkdir(parents=True, exist_ok=True)
    with lockfile.hold(out.with_name(f".{out.name}.lock"), f"{out}: another command is writing this file"):
        atomic.remove_leftovers(out.parent, out.name)
        resource_errors.require_space(out.parent, wanted, "the photos", "or name another place with --pack")
        members: dict[str, tuple[str, int]] = {}
        with (
            atomic.replacing(out) as made,
            zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as packed,
            start_task(progress, "pack", wanted) as task,
        ):
            for name in names:
                with paths[name].open("rb") as source, _new_member(packed, name) as target:
                    members[name] = _copy(source, target, task)
            note = _note(prepared, data, size, members)
            with _new_member(packed, NOTE) as target:
                target.write((json.dumps(vars(note), indent=2, ensure_ascii=False) + "\n").encode())


def _note(prepared: Prepared, data: Data, size: int, members: dict[str, tuple[str, int]]) -> ArchiveHeader:
    return ArchiveHeader(**_asked(data, size), key=prepared.folder.name, members=members)


def _asked(data: Data, size: int) -> dict[str, Any]:
    """What a cache is made from beside the photos themselves, by the names of `Note`."""
    return {
        "source": data.source.partition(":")[0],
        "options": sources_options.source_options(data),
        "image_size": size,
        "on_bad": data.on_bad,
        "preparation": image.PREPROCESSING,
        "layout": prepare.LAYOUT,
    }


def _new_member(packed: zipfile.ZipFile, name: str) -> IO[bytes]:
    """An uncompressed member without the time of day; zip64, so that no size is too large."""
    import zipfile

    entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    entry.create_system = 3  # Unix, also where made on Windows
    entry.external_attr = 0o644 << 16
    return packed.open(entry, "w", force_zip64=True)


def _copy(source: IO[bytes], target: IO[bytes], task: Task, most: float = math.inf) -> tuple[str, int]:
    """Copy block by block; gives SHA-256 and bytes, those so far where there are more than `most`."""
    digest, count = hashlib.sha256(), 0
    while count <= most and (block := source.read(BLOCK)):
        digest.update(block)
        target.write(block)
        count += len(block)
        task.advance(len(block))
    return digest.hexdigest(), count


def unpack(path: Path, data: Data, size: int, progress: Progress = SILENT) -> Prepared:
    """The prepared cache in `path`, a file that `pack` wrote or a folder that it was unzipped to.

    Its members are copied below the cache root, checked, unless they are there already. The source
    is not touched. Options are compared as the recipe writes them, paths too: photos in
    `folder:photos` need not be here, and need not have been in the same place.

    Raises RecipeError where `data` or `size` ask for another cache, DataError naming what is
    damaged or does not belong there, MissingError where there is no such file, ResourceError where
    the disk is too small.
    """
    with _opened(path) as member:
        note = _read_note(path, member)
        _require_same(path, note, _asked(data, size))
        folder = cache.cache_root() / note.key
        folder.parent.mkdir(parents=True, exist_ok=True)
        with prepare.hold_lock(folder, wait=True):
            atomic.remove_leftovers(folder.parent, folder.name)
            if not (folder / "index.json").is_file():
                _fill(path, note, member, folder, progress)
    return cache.open_cache(folder)


@contextmanager
def _opened(path: Path) -> Iterator[Callable[[str], IO[bytes]]]:
    """How to open a member by name; raises DataError for names that no cache has."""
    if path.is_dir():
        yield lambda name: (path / name).open("rb")
        return
    if not path.is_file():
        raise MissingError(f"{path}: no such file or folder. Write it with `tledge data RECIPE --pack`.")
    try:
        packed = zip_guard.open_zip(path, DIRECTORY, bounded=False)
    except zip_guard.DAMAGE as error:
        raise DataError(f"{path}: not a whole zip file, perhaps cut short ({error}). {COPY}") from error
    with packed:
        names = packed.namelist()
        strange = [name for name in names if name != NOTE and not MEMBER.fullmatch(name)]
        if strange or len(set(names)) < len(names):
            raise DataError(f"{path}: {(strange or ['a name twice'])[0]} is no part of a cache. {AGAIN}")
        yield packed.open


def _read_note(path: Path, member: Callable[[str], IO[bytes]]) -> ArchiveHeader:
    """Read and check `cache.json`."""
    try:
        with member(NOTE) as file:
            raw = json.loads(_limited(file))
        note = from_json(ArchiveHeader, raw)
        known = {"images.npy", "index.json"} <= note.members.keys() and all(
            map(MEMBER.fullmatch, note.members)
        )
        if not re.fullmatch(r"[0-9a-f]{24}", note.key) or not known:
            raise ValueError("unknown names")
    except (KeyError, FileNotFoundError):
        raise DataError(f"{path}: holds no {NOTE}, so it is no packed cache. {AGAIN}") from None
    except Exception as error:  # whatever zipfile and json make of damage
        raise DataError(f"{path}: {NOTE} is damaged ({error}). {COPY}") from error
    if note.format != FORMAT:
        raise DataError(f"{path}: format {note.format}, this tledge reads {FORMAT}. {AGAIN}")
    return note


def _limited(file: IO[bytes]) -> bytes:
    """The content of a member, as long as it is no larger than the list of all photos could be."""
    found = file.read(DIRECTORY + 1)
    if len(found) > DIRECTORY:
        raise ValueError(f"larger than {DIRECTORY} bytes")
    return found


def _require_same(path: Path, note: ArchiveHeader, asked: dict[str, Any]) -> None:
    """Raise RecipeError naming everything in which the cache is not what the recipe asks for."""
    wanted, found = (_flat(values) for values in (asked, vars(note)))
    other = [
        f"{name}: the recipe says {wanted.get(name)!r}, the cache was made with {found.get(name)!r}"
        for name in wanted
        if wanted.get(name) != found.get(name)
    ]
    if other:
        raise RecipeError("\n  ".join([f"{path}: not the cache of this recipe.", *other]))


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Options beside the rest, by the names that a recipe gives them."""
    tables = {"image_size": "[model] image_size", "preparation": "preparation of photos", "layout": "layout"}
    plain = {
        tables.get(name, f"[data] {name}"): value
        for name, value in values.items()
        if name not in ("options", "key", "members", "format")
    }
    return plain | {f"[data] {name}": value for name, value in values["options"].items()}


def _fill(
    path: Path,
    note: ArchiveHeader,
    member: Callable[[str], IO[bytes]],
    folder: Path,
    progress: Progress,
) -> None:
    """Copy all members to the cache's folder, which stands only if every one is whole."""
    wanted = sum(size for _hash, size in note.members.values())
    resource_errors.require_space(folder.parent, wanted, "the photos", "where caches are unpacked")
    with atomic.replacing(folder) as made, start_task(progress, "unpack", wanted) as task:
        (made / "originals").mkdir(parents=True)
        for name, expected in note.members.items():
            try:
                with member(name) as source, (made / name).open("wb") as target:
                    whole = _copy(source, target, task, most=expected[1]) == expected
            except zip_guard.DAMAGE as error:
                if resource_errors.is_full(error):
                    raise
                raise DataError(f"{path}: {name} is damaged or missing ({error}). {COPY}") from error
            if not whole:
                raise DataError(f"{path}: {name} is damaged: not the bytes that were packed. {COPY}")

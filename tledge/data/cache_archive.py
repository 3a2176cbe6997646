"""Pack a prepared cache into one file, and unpack that on another machine to train from it.

The file is an uncompressed zip of the cache folder's members and of `cache.json`, which describes what
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
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tledge._io import (
    atomic,
    cache_folder,
    file_guard,
    files,
    folder_guard,
    lockfile,
    ownership,
    resource_errors,
    zip_guard,
)
from tledge._io.json_records import from_json, omitted_by_default, to_json
from tledge.config import Data
from tledge.data import cache, prepare
from tledge.data.cache import Prepared
from tledge.data.sources.options import read_options, stored_options, with_defaults
from tledge.errors import DataError, RecipeError, RunError
from tledge.preprocessing import image
from tledge.progress import SILENT, Progress, Task, start_task

if TYPE_CHECKING:
    import zipfile

FORMAT = 1
"""Version of the file; raise it when an older tledge could not read it."""

HEADER_NAME = "cache.json"
DIRECTORY = 1 << 28
"""Bytes of the zip's list of entries, and of `cache.json`, at most: a hundred each for two million photos."""

BLOCK = 1 << 20
"""Bytes copied at a time: a cache may be larger than memory."""

MEMBER = re.compile(r"images\.npy|index\.json|originals/[\w-]+\.(jpg|png)")
"""Names of members; anything else is neither packed nor unpacked."""

PACK_AGAIN = "Pack it again: tledge data RECIPE --pack cache.zip."
COPY_AGAIN = "Copy it again from where it was packed."


@dataclass(frozen=True)
class ArchiveHeader:
    """The content of `cache.json`; `members` gives SHA-256 and size in bytes by name."""

    key: str
    source: str
    options: dict[str, object]
    image_size: int
    on_bad: str
    preparation: int
    layout: int
    members: dict[str, tuple[str, int]]
    format: int = FORMAT
    pixel_range: tuple[float, ...] = field(default=(), metadata=omitted_by_default())


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
    paths = {entry.name: entry.path for entry in folder_guard.files(prepared.folder, DataError)}
    names = sorted(name for name in paths if MEMBER.fullmatch(name))
    total_bytes = sum(paths[name].stat().st_size for name in names)
    out.parent.mkdir(parents=True, exist_ok=True)
    with lockfile.hold(lockfile.beside(out), f"{out}: another command is writing this file"):
        atomic.remove_leftovers(out.parent, out.name)
        resource_errors.require_space(
            out.parent, total_bytes, "the photos", "or choose another location with --pack"
        )
        members: dict[str, tuple[str, int]] = {}
        with (
            atomic.replacing(out) as partial,
            zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as packed,
            start_task(progress, "pack", total_bytes) as task,
        ):
            for name in names:
                with _open(prepared.folder, name) as source, _new_member(packed, name) as target:
                    members[name] = _copy(source, target, task)
            header = _header(prepared, data, size, members)
            with _new_member(packed, HEADER_NAME) as target:
                target.write((json.dumps(to_json(header), indent=2, ensure_ascii=False) + "\n").encode())


def _header(prepared: Prepared, data: Data, size: int, members: dict[str, tuple[str, int]]) -> ArchiveHeader:
    return ArchiveHeader(**_origin(data, size), key=prepared.folder.name, members=members)


def _origin(data: Data, size: int) -> dict[str, Any]:
    """Return what a cache is made from except the photos, by the names of `ArchiveHeader`."""
    name = data.source.partition(":")[0]
    return {
        "source": name,
        "options": stored_options(name, read_options(data)[0]),
        "image_size": size,
        "on_bad": data.on_bad,
        "preparation": image.PREPROCESSING,
        "layout": prepare.LAYOUT,
        "pixel_range": data.pixel_range,
    }


def _new_member(packed: zipfile.ZipFile, name: str) -> IO[bytes]:
    """Open a new uncompressed member without the time of day; zip64, so that no size is too large."""
    return packed.open(files.reproducible_entry(name), "w", force_zip64=True)


def _copy(source: IO[bytes], target: IO[bytes], task: Task, most: float = math.inf) -> tuple[str, int]:
    """Copy block by block, at most a block beyond `most` bytes; return SHA-256 and size of the copy."""
    digest, count = hashlib.sha256(), 0
    while count <= most and (block := source.read(BLOCK)):
        digest.update(block)
        target.write(block)
        count += len(block)
        task.advance(len(block))
    return digest.hexdigest(), count


def unpack(path: Path, data: Data, size: int, progress: Progress = SILENT) -> Prepared:
    """Unpack the prepared cache in `path`, a file that `pack` wrote or a folder that it was unzipped to.

    Its members are copied below the cache root, checked, unless they are there already. The source
    is not touched. Options are compared as the recipe writes them, paths too: photos in
    `folder:photos` need not be here, and need not have been in the same place.

    Raises RecipeError where there is no such file, or `data` or `size` ask for another cache, DataError
    naming what is damaged or does not belong there, ResourceError where the disk is too small.
    """
    with _open_archive(path) as member:
        header = _read_header(path, member)
        _require_same(path, header, _origin(data, size))
        folder = cache_folder.own_cache_root() / header.key
        with prepare.hold_lock(folder, wait=True):
            atomic.remove_leftovers(folder.parent, folder.name)
            if reason := ownership.remove_of_others(folder):
                progress.say(f"{folder}: {reason}, so it was not used and is unpacked again")
            if not (folder / "index.json").is_file():
                _fill(path, header, member, folder, progress)
    return prepare.with_labels(cache.open_cache(folder), read_options(data)[1])


@contextmanager
def _open_archive(path: Path) -> Iterator[Callable[[str], IO[bytes]]]:
    """Yield a function that opens a member by name; raises DataError for names that no cache has."""
    if path.is_dir():
        yield lambda name: _open(path, name)
        return
    if not path.is_file():
        raise RecipeError(f"{path}: no such file or folder. Write it with `tledge data RECIPE --pack`.")
    try:
        packed = zip_guard.open_zip(path, DIRECTORY, bounded=False, error=DataError)
    except zip_guard.DAMAGE as error:
        raise DataError(
            f"{path}: not a complete zip file, perhaps cut short ({error}). {COPY_AGAIN}"
        ) from error
    with packed:
        names = packed.namelist()
        unknown = [name for name in names if name != HEADER_NAME and not MEMBER.fullmatch(name)]
        if unknown or len(set(names)) < len(names):
            raise DataError(
                f"{path}: {(unknown or ['a name twice'])[0]} is not part of a cache. {PACK_AGAIN}"
            )
        yield packed.open


def _open(folder: Path, name: str) -> IO[bytes]:
    """Open a member in a folder; raise DataError for a link, a pipe or a device."""
    return file_guard.open_file(folder / name, below=folder, error=DataError)


def _read_header(path: Path, member: Callable[[str], IO[bytes]]) -> ArchiveHeader:
    """Read and check `cache.json`."""
    try:
        with member(HEADER_NAME) as file:
            raw = json.loads(_read_limited(file))
        header = from_json(ArchiveHeader, raw)
        required = {"images.npy", "index.json"} <= header.members.keys()
        is_known = required and all(map(MEMBER.fullmatch, header.members))
        if not re.fullmatch(r"[0-9a-f]{24}", header.key) or not is_known:
            raise ValueError("unknown names")
    except (KeyError, FileNotFoundError):
        raise DataError(
            f"{path}: contains no {HEADER_NAME}, so it is not a packed cache. {PACK_AGAIN}"
        ) from None
    except Exception as error:  # whatever zipfile and json make of damage
        raise DataError(f"{path}: {HEADER_NAME} is damaged ({error}). {COPY_AGAIN}") from error
    if header.format != FORMAT:
        raise DataError(
            f"{path}: format {header.format}, this version of tledge reads {FORMAT}. {PACK_AGAIN}"
        )
    return header


def _read_limited(file: IO[bytes]) -> bytes:
    """Read a member; raises ValueError where it is larger than `DIRECTORY`."""
    content = file.read(DIRECTORY + 1)
    if len(content) > DIRECTORY:
        raise ValueError(f"larger than {DIRECTORY} bytes")
    return content


def _require_same(path: Path, header: ArchiveHeader, recipe_values: dict[str, Any]) -> None:
    """Raise RecipeError naming everything in which the cache is not what the recipe asks for."""
    expected, actual = (_flatten(values) for values in (recipe_values, vars(header)))
    differences = [
        f"{name}: the recipe says {expected.get(name)!r}, the cache was made with {actual.get(name)!r}"
        for name in expected
        if expected.get(name) != actual.get(name)
    ]
    if differences:
        raise RecipeError("\n  ".join([f"{path}: not the cache of this recipe.", *differences]))


def _flatten(values: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten the options into the rest, by the names that a recipe gives them."""
    tables = {"image_size": "[model] image_size", "preparation": "preparation of photos", "layout": "layout"}
    plain = {
        tables.get(name, f"[data] {name}"): value
        for name, value in values.items()
        if name not in ("options", "key", "members", "format")
    }
    options = with_defaults(values["source"], values["options"])
    return plain | {f"[data] {name}": value for name, value in options.items()}


def _fill(
    path: Path,
    header: ArchiveHeader,
    member: Callable[[str], IO[bytes]],
    folder: Path,
    progress: Progress,
) -> None:
    """Copy all members to the cache's folder, which appears only if every one is undamaged."""
    total_bytes = sum(size for _hash, size in header.members.values())
    resource_errors.require_space(folder.parent, total_bytes, "the photos", "where caches are unpacked")
    with atomic.replacing(folder) as partial, start_task(progress, "unpack", total_bytes) as task:
        for place in (partial, partial / "originals"):
            place.mkdir(ownership.FOLDER_MODE)
        for name, expected in header.members.items():
            try:
                with member(name) as source, open(partial / name, "wb", opener=ownership.private) as target:
                    is_equal = _copy(source, target, task, most=expected[1]) == expected
            except zip_guard.DAMAGE as error:
                if resource_errors.is_full(error):
                    raise
                raise DataError(f"{path}: {name} is damaged or missing ({error}). {COPY_AGAIN}") from error
            if not is_equal:
                raise DataError(f"{path}: {name} is damaged: not the bytes that were packed. {COPY_AGAIN}")

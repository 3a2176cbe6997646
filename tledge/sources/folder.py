"""Source `folder`: photos in folders, `ROOT/<split>/<label>/photo` or `ROOT/<label>/photo`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from tledge.errors import DataError, MissingError
from tledge.sources.base import Record

OPTIONS: dict[str, object] = {"path": ""}
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"}


def fingerprint(options: Mapping[str, object]) -> str:
    """Names, sizes and times of all photos: changes when a photo does."""
    root = _root(options)
    stats = [(path.relative_to(root).as_posix(), path.stat()) for path in _photos(root)]
    return repr([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats])


def records(options: Mapping[str, object]) -> Iterator[Record]:
    """Every photo, in order of path; photos without a split folder are all in split `train`.

    Raises MissingError where the folder is not there, DataError where it holds no photos or
    photos at mixed depths.
    """
    root = _root(options)
    photos = list(_photos(root))
    depths = {len(path.relative_to(root).parts) for path in photos}
    if not photos or not depths <= {2, 3} or len(depths) > 1:
        raise DataError(
            f"{root}: expected photos as <split>/<label>/photo or <label>/photo, found "
            f"{len(photos)} photos at depths {sorted(depths)}."
        )
    for path in photos:
        *split, label, _name = path.relative_to(root).parts
        name = path.relative_to(root).as_posix()
        yield Record(name, label, split[0] if split else "train", partial(Path.read_bytes, path))


def _root(options: Mapping[str, object]) -> Path:
    root = Path(str(options["path"])).expanduser()
    if not root.is_dir():
        raise MissingError(f'{root}: no such folder of photos. Set [data] source = "folder:PATH".')
    return root


def _photos(root: Path) -> Iterator[Path]:
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            yield path

"""Check files under final names: whether each is complete, and what has to be the same."""

from __future__ import annotations

import json
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tledge._io import files as io_files

GROWING = {"logs", "tensorboard"}
"""Folders of a run whose files are appended to: text of converters, and events that readers follow."""

TIMED = {"run.json", "environment.json", "history.csv", "report.html", "report.md", "bench.json", "bench.png"}
"""Files of a run that tell seconds or the time of day; so do the records of artifacts."""


def _json(path: Path) -> None:
    json.loads(path.read_bytes())


def _array(path: Path) -> None:
    import numpy as np

    np.load(path, allow_pickle=False)


def _arrays(path: Path) -> None:
    import numpy as np

    with path.open("rb") as file, np.load(file, allow_pickle=False) as packed:
        for name in packed.files:
            packed[name]


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path) as packed:
        if bad := packed.testzip():
            raise ValueError(f"its member {bad} is damaged")


def _picture(path: Path) -> None:
    from PIL import Image

    with Image.open(path) as image:
        image.load()


def _page(path: Path) -> None:
    if not path.read_text(encoding="utf-8").rstrip().endswith("</html>"):
        raise ValueError("its end is missing")


def _text(path: Path) -> None:
    if not path.read_text(encoding="utf-8").endswith("\n"):
        raise ValueError("its last line is cut off")


def _hash(path: Path) -> None:
    if len(path.read_text(encoding="utf-8")) != 64:
        raise ValueError("no SHA-256")


CHECKS: dict[str, Callable[[Path], object]] = {
    "": _text,  # SHA256SUMS
    ".csv": _text,
    ".html": _page,
    ".jpg": _picture,
    ".json": _json,
    ".keras": _zip,
    ".md": _text,
    ".npy": _array,
    ".npz": _arrays,
    ".png": _picture,
    ".sha256": _hash,
    ".toml": lambda path: tomllib.loads(path.read_text(encoding="utf-8")),
    ".txt": _text,
    ".zip": _zip,
}
"""What opens a file, by suffix, and raises where it is not whole. Models are told by their hashes."""

MODELS = {".tflite", ".onnx"}


def files(folder: Path) -> Iterator[Path]:
    """Yield every file that no temporary name leads to."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.startswith("."):
            continue
        yield from files(path) if path.is_dir() else (path,)


def temporary_names(folder: Path) -> list[str]:
    """List what lies below a folder under temporary names."""
    hidden = folder.rglob(".*") if folder.is_dir() else ()
    return sorted(path.relative_to(folder).as_posix() for path in hidden)


def incomplete_files(folder: Path, models: set[str]) -> list[str]:
    """List what is not complete below a folder, and why; `models` are the hashes of an uninterrupted run."""
    faults = []
    for path in files(folder):
        if path.relative_to(folder).parts[0] in GROWING:
            continue
        try:
            if path.suffix in MODELS and io_files.sha256(path) not in models:
                raise ValueError("not the bytes of an uninterrupted run")
            if path.suffix not in MODELS:
                CHECKS[path.suffix](path)
        except KeyError:
            faults.append(f"{path.name}: nobody has said how to check it")
        except Exception as error:  # whatever readers make of half a file
            faults.append(f"{path.relative_to(folder.parent)}: {error!r}")
    return [*faults, *_outside_sums(folder / "bundle")]


def _outside_sums(bundle: Path) -> list[str]:
    """List where a bundle is not what its SHA256SUMS names."""
    if not bundle.is_dir():
        return []
    if not (bundle / "SHA256SUMS").is_file():
        return ["bundle: stands without SHA256SUMS"]
    named = dict(line.split("  ", 1)[::-1] for line in (bundle / "SHA256SUMS").read_text().splitlines())
    there = {path.relative_to(bundle).as_posix(): io_files.sha256(path) for path in files(bundle)}
    there.pop("SHA256SUMS")
    return [] if there == named else ["bundle: not what its SHA256SUMS names"]


def hashes(folder: Path) -> dict[str, str]:
    """Compute the SHA-256 of every file that an interruption must not change, by its path."""
    paths = {path.relative_to(folder): path for path in files(folder)}
    return {
        name.as_posix(): io_files.sha256(path)
        for name, path in paths.items()
        if name.parts[0] not in GROWING | TIMED
        and not (name.parts[0] == "artifacts" and name.suffix == ".json")
    }


def differing_names(actual: dict[str, str], expected: dict[str, str]) -> list[str]:
    """List files that are not as they should be, missing or too many."""
    return sorted(name for name in actual.keys() | expected.keys() if actual.get(name) != expected.get(name))


def changed_since(folder: Path, moment: float) -> list[str]:
    """List files whose content or name is newer than a moment, in seconds of the clock."""
    return [path.relative_to(folder).as_posix() for path in files(folder) if path.stat().st_ctime > moment]

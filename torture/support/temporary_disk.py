"""A small disk that can be full, and checks of what has to be complete afterwards."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from torture.support.observation import CannotRun

FILLER = ".filler"


@dataclass(frozen=True)
class Disk:
    """A mounted tmpfs."""

    path: Path

    def leave_free(self, free: int) -> None:
        """Fill it so that `free` bytes are left, rounded to whole pages."""
        self.remove_filler()
        used = shutil.disk_usage(self.path).free - free
        with (self.path / FILLER).open("wb") as file:
            if used > 0:
                os.posix_fallocate(file.fileno(), 0, used)

    def remove_filler(self) -> None:
        """Remove the filling."""
        (self.path / FILLER).unlink(missing_ok=True)

    def replace_content(self, folder: Path) -> None:
        """Hold exactly what `folder` holds."""
        empty_folder(self.path)
        shutil.copytree(folder, self.path, dirs_exist_ok=True)


def empty_folder(folder: Path) -> None:
    """Remove everything in `folder`."""
    for old in folder.iterdir():
        shutil.rmtree(old) if old.is_dir() else old.unlink()


@contextmanager
def mounted(path: Path, mib: int = 64) -> Iterator[Disk]:
    """Mount a disk of `mib` MiB at `path` until the block ends; raise CannotRun where that is not allowed."""
    path.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=0755", "tmpfs", str(path)]
    try:
        mounting = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise CannotRun(f"no tmpfs can be mounted: {error}") from error
    if mounting.returncode:
        raise CannotRun(
            f"no tmpfs can be mounted ({mounting.stderr.strip()}): run as root, or `unshare -rm` first"
        )
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=False)


def file_hashes(folder: Path) -> dict[str, str]:
    """Compute the SHA-256 of every file below `folder` that has its final name, by that name."""
    from tledge._io import files

    paths = (Path(top, name) for top, _, names in os.walk(folder, followlinks=True) for name in names)
    named = ((path.relative_to(folder), path) for path in sorted(paths))
    return {
        str(name): files.sha256(path)
        for name, path in named
        if not any(part.startswith(".") for part in name.parts)
    }


def lost_files(before: Mapping[str, str], folder: Path, after: Mapping[str, str]) -> list[str]:
    """List what a failed command must not leave: files that are gone, cut, neither old nor new.

    `after` is what the same command gives where it succeeds; files that tell seconds are read instead.
    """
    here = file_hashes(folder)
    results = (name for name in before if "logs" not in Path(name).parts)
    gone = [f"{name} is gone" for name in results if name not in here]
    known = {**before, **after}
    others = [name for name, sha256 in here.items() if sha256 not in (before.get(name), after.get(name))]
    faults = [f"{name}: {why}" for name in others if (why := _fault(folder / name, name in known))]
    return gone + faults


def temporary_names(folder: Path) -> list[str]:
    """List half-written work under temporary names, apart from what a command resumes from."""
    kept_endings = (".partial", ".lock", FILLER)
    return [str(path) for path in folder.rglob(".*") if not path.name.endswith(kept_endings)]


def _fault(path: Path, is_known: bool) -> str:
    """Explain why a file with content of its own is not complete; "" where it is."""
    try:
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        elif path.suffix == ".toml":
            tomllib.loads(path.read_text(encoding="utf-8"))
        elif path.suffix in (".npz", ".keras", ".zip"):
            with zipfile.ZipFile(path) as packed:
                packed.testzip()
        elif path.suffix == ".html":
            return "" if path.read_text(encoding="utf-8").rstrip().endswith("</html>") else "cut"
        elif path.suffix in (".png", ".jpg"):
            _decode(path)
        elif path.suffix in (".npy", ".tflite", ".onnx") or not is_known:
            return "" if _may_vary(path) else "neither the old content nor the new"
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        return f"damaged ({error})"
    return ""


def _may_vary(path: Path) -> bool:
    """Check for logs, checkpoints and event files, which hold times, and for unfinished ones."""
    return bool({"logs", "checkpoints", "tensorboard"} & set(path.parts)) or path.suffix in (".csv", ".md")


def _decode(path: Path) -> None:
    """Decode an image; raise OSError where it is cut."""
    from PIL import Image

    with Image.open(path) as picture:
        picture.load()

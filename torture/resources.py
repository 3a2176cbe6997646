"""Disks that are full, memory that is short, conversions that hang, native code that crashes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import child
import disk
from case import CannotRun, Case, Seen
from material import Material

LEVELS = (0, 4 << 10, 64 << 10, 1 << 20)
"""Bytes that are free when a command starts on a full disk."""

MARK = "TLEDGE_TORTURE_CASE"


@dataclass(frozen=True)
class Stage:
    """A command on a disk that holds what came before it, and files that must come out the same."""

    name: str
    command: tuple[str, ...]
    again: tuple[str, ...] = ()
    """The command after there is room, where it is another."""
    same: tuple[str, ...] = ()
    reduced: tuple[int, ...] = ()
    """Levels of the reduced run."""
    full: str = ""
    """The one thing that lies on the full disk: `TLEDGE_CACHE` or `TMPDIR`; everything where it is ""."""


STAGES = (
    Stage("init", ("init", "photos", "--out", "mine.toml"), reduced=(0,)),
    Stage(
        "data", ("data", "tiny.toml", "--quiet"), same=("cache/*/images.npy", "cache/*/index.json"),
        reduced=(0, 1 << 20),
    ),
    Stage(
        "train", ("train", "tiny.toml", "--quiet"), ("train", "tiny.toml", "--quiet", "--resume"),
        same=("runs/tiny/model.keras", "runs/tiny/golden.npz"), reduced=(1 << 20,),
    ),
    Stage(
        "train on views", ("train", "views.toml", "--out", "views", "--quiet"),
        ("train", "views.toml", "--out", "views", "--quiet", "--resume"), same=("views/model.keras",),
    ),
    Stage(
        "export", ("export", "runs/tiny", "--variant", "onnx-fp32", "--quiet"),
        same=("runs/tiny/artifacts/*.tflite", "runs/tiny/artifacts/*.onnx", "runs/tiny/*.zip"), reduced=(64 << 10,),
    ),
    Stage("verify", ("verify", "runs/tiny", "--quiet"), reduced=(0,)),
    Stage("bundle", ("bundle", "runs/tiny", "--quiet"), same=("runs/tiny/*.zip",), reduced=(1 << 20,)),
    Stage(
        "target", ("bundle", "runs/tiny/bundle", "--target", "raspberry_pi", "--out", "pi"),
        same=("pi/bundle/*.tflite",), reduced=(64 << 10,),
    ),
    Stage("report", ("report", "runs/tiny"), reduced=(4 << 10,)),
    Stage("bench", ("bench", "runs/tiny", "--variant", "tflite-fp32", "--threads", "1", "--quiet")),
    Stage("layers", ("inspect", "runs/tiny", "--quantization", "--quiet")),
    Stage(
        "cache", ("data", "tiny.toml", "--quiet"), same=("cache/*/images.npy",), full="TLEDGE_CACHE", reduced=(0,)
    ),
    Stage("scratch", ("verify", "runs/tiny/bundle", "--quiet"), full="TMPDIR", reduced=(64 << 10,)),
    Stage(
        "scratch of the converter", ("export", "runs/tiny", "--variant", "onnx-fp32", "--quiet"),
        same=("runs/tiny/artifacts/*.tflite",), full="TMPDIR",
    ),
)  # fmt: skip

MADE_BY_EXPORT = (
    "artifacts", "bundle", "logs", "parity.json", "report.*", "*.zip", "calibration.json",
    "evidence/*flips*", "evidence/*uncorrected*", "evidence/calibration.npy",
)  # fmt: skip


def disk_full(stage: Stage, material: Material) -> Seen:
    """Begin a stage with little room, again and again; then with room, which has to finish it."""
    slug = stage.name.replace(" ", "-")
    before, after = _before(stage, material, slug), _reference(stage, material, slug)
    levels = stage.reduced if material.reduced else (*LEVELS, *_chances(stage, material))
    short: list[str] = []
    ends: list[child.Ended] = []
    with disk.mounted(material.folder(f"{slug}-disk")) as small:
        for free in levels:
            home = _home(stage, material, slug, small, before)
            old = disk.files(home)
            small.leave(free)
            ends.append(_run(stage.command, material, home, small))
            faults = [*_ill(ends[-1]), *disk.lost(old, home, after), *_left(home, small)]
            small.make_room()
            if ends[-1].code:
                ends.append(_run(stage.again or stage.command, material, home, small))
                faults += _unfinished(stage, ends[-1], home, after)
            short += [f"{free} bytes free: {fault}" for fault in faults]
    failed = sum(one.code == 1 for one in ends)
    if not failed:
        short.append("never failed: the disk was not what it wrote to")
    return Seen(
        f"{failed} of {len(levels)} times the disk was full and it said so; then finished",
        tuple(short), crashes=sum(one.crashed for one in ends), hangs=sum(one.hung for one in ends),
        peak=max(one.peak for one in ends),
    )  # fmt: skip


def _chances(stage: Stage, material: Material) -> list[int]:
    """More levels, by chance, where stages write most."""
    chance = material.chance(stage.name)
    return [chance.randrange(8 << 10, 4 << 20) for _ in range(4)]


def _before(stage: Stage, material: Material, slug: str) -> Path:
    """A folder with what a stage starts from: recipes and photos, for later ones the run."""
    folder = material.folder(f"{slug}-before")
    (folder / "tmp").mkdir()
    recipe = material.recipe(folder)
    views = recipe.read_text(encoding="utf-8") + '[augment]\nflip = "horizontal"\nviews = 3\n'
    (folder / "views.toml").write_text(views, encoding="utf-8")
    if stage.command[0] in ("init", "data"):
        _photos(material, folder / "photos")
    elif stage.command[0] == "train":
        material.run  # noqa: B018  # fills the cache
        shutil.copytree(material.work / "cache", folder / "cache")
    else:
        run = shutil.copytree(material.run, folder / "runs" / "tiny")
        for pattern in MADE_BY_EXPORT if stage.command[0] == "export" else ():
            for path in run.glob(pattern):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    return folder


def _photos(material: Material, folder: Path) -> None:
    """A few photos of two labels, those of the golden set."""
    for number, path in enumerate(sorted((material.run / "golden").glob("*.jpg"))):
        target = folder / ("cat", "dog")[number % 2] / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def _reference(stage: Stage, material: Material, slug: str) -> dict[str, str]:
    """SHA-256 of what a stage makes where there is room."""
    home = Path(
        shutil.copytree(_before(stage, material, slug), material.folder(f"{slug}-after"), dirs_exist_ok=True)
    )
    if all(pattern.startswith("runs/") for pattern in stage.same):  # made already
        shutil.rmtree(home / "runs", ignore_errors=True)
        shutil.copytree(material.run, home / "runs" / "tiny")
    else:
        ended = _run(stage.command, material, home, None)
        if ended.code:
            raise RuntimeError(f"{stage.name} fails where there is room: {ended.tail}\n{ended.err}")
    return disk.files(home)


def _home(stage: Stage, material: Material, slug: str, small: disk.Disk, before: Path) -> Path:
    """Where the command runs: on the disk, or beside it where only one thing lies there."""
    home = small.path
    if stage.full:
        home = material.folder(f"{slug}-home")
        shutil.copytree(before, home, dirs_exist_ok=True)
        place = home / ("cache" if stage.full == "TLEDGE_CACHE" else "tmp")
        shutil.rmtree(place, ignore_errors=True)
        (small.path / "own").mkdir(exist_ok=True)
        for old in (small.path / "own").iterdir():
            shutil.rmtree(old)
        place.symlink_to(small.path / "own")
    else:
        small.put(before)
    return home


def _run(command: Sequence[str], material: Material, home: Path, small: disk.Disk | None) -> child.Ended:
    env = {"TLEDGE_CACHE": str(home / "cache"), "TMPDIR": str(home / "tmp")}
    return material.tledge(*command, cwd=home, env=env)


def _ill(ended: child.Ended) -> list[str]:
    """What a command on a full disk did wrong; it may as well have had enough."""
    if ended.code == 0:
        return []
    named = "disk is full" in ended.err and "MiB free" in ended.err and "Make room" in ended.err
    return [] if ended.code == 1 and named and not ended.crashed else [ended.tail]


def _left(home: Path, small: disk.Disk) -> list[str]:
    scratch = [str(path) for path in (home / "tmp").glob("*")]
    return [f"left behind: {name}" for name in (*disk.temporary(home), *scratch)]


def _unfinished(stage: Stage, ended: child.Ended, home: Path, after: dict[str, str]) -> list[str]:
    """What is wrong after the same command had room."""
    found = [] if ended.code == 0 else [f"with room again: {ended.tail}"]
    for pattern in stage.same:
        names = [str(path.relative_to(home)) for path in home.glob(pattern)]
        wanted = [name for name in after if Path(name).match(pattern)]
        found += [] if names else [f"with room again: no {pattern}"]
        hashes = disk.files(home)
        found += [f"with room again: {name} is another" for name in wanted if hashes.get(name) != after[name]]
    return found


CASES: tuple[Case, ...] = (
    *(
        Case(
            f"disk full: {stage.name}",
            "says that the disk is full, where and what to do; nothing half-written; then finishes",
            partial(disk_full, stage),
            reduced=bool(stage.reduced),
        )
        for stage in STAGES
    ),
)

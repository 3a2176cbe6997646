"""Commands on a disk that is full."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torture.support import processes, temporary_disk
from torture.support.case import Case
from torture.support.observation import Observation
from torture.support.workspace import Workspace

LEVELS = (0, 4 << 10, 64 << 10, 1 << 20)
"""Bytes that are free when a command starts on a full disk."""


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
    Stage("init", ("init", "photos", "--out", "mine.toml")),
    Stage(
        "data", ("data", "tiny.toml", "--quiet"), same=("cache/*/images.npy", "cache/*/index.json"),
        reduced=(0, 1 << 20),
    ),
    Stage(
        "train", ("train", "tiny.toml", "--quiet"), ("train", "tiny.toml", "--quiet", "--resume"),
        same=("runs/tiny/model.keras", "runs/tiny/golden.npz"),
    ),
    Stage(
        "train on views", ("train", "views.toml", "--out", "views", "--quiet"),
        ("train", "views.toml", "--out", "views", "--quiet", "--resume"), same=("views/model.keras",),
    ),
    Stage(
        "export", ("export", "runs/tiny", "--variant", "onnx-fp32", "--quiet"),
        same=("runs/tiny/artifacts/*.tflite", "runs/tiny/artifacts/*.onnx", "runs/tiny/*.zip"),
        reduced=(64 << 10,),
    ),
    Stage("verify", ("verify", "runs/tiny", "--quiet"), reduced=(0,)),
    Stage("bundle", ("bundle", "runs/tiny", "--quiet"), same=("runs/tiny/*.zip",), reduced=(1 << 20,)),
    Stage(
        "target", ("bundle", "runs/tiny/bundle", "--target", "raspberry_pi", "--out", "pi"),
        same=("pi/bundle/*.tflite",),
    ),
    Stage("report", ("report", "runs/tiny")),
    Stage("bench", ("bench", "runs/tiny", "--variant", "tflite-fp32", "--threads", "1", "--quiet")),
    Stage("layers", ("inspect", "runs/tiny", "--quantization", "--quiet")),
    Stage(
        "cache", ("data", "tiny.toml", "--quiet"), same=("cache/*/images.npy",), full="TLEDGE_CACHE",
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


def disk_full(stage: Stage, workspace: Workspace) -> Observation:
    """Begin a stage with little room, again and again; then with room, which has to finish it."""
    slug = stage.name.replace(" ", "-")
    before, after = _before(stage, workspace, slug), _reference(stage, workspace, slug)
    levels = stage.reduced if workspace.reduced else _levels(stage, workspace)
    shortfalls: list[str] = []
    ends: list[processes.ProcessResult] = []
    with temporary_disk.mounted(workspace.folder(f"{slug}-disk")) as small:
        for free in levels:
            home = _home(stage, workspace, slug, small, before)
            old = temporary_disk.files(home)
            small.leave(free)
            ends.append(_run(stage.command, workspace, home, small))
            faults = [*_ill(ends[-1]), *temporary_disk.lost(old, home, after), *_left(home, small)]
            small.make_room()
            if ends[-1].code:
                ends.append(_run(stage.again or stage.command, workspace, home, small))
                faults += _unfinished(stage, ends[-1], home, after)
            shortfalls += [f"{free} bytes free: {fault}" for fault in faults]
    failed = sum("disk is full" in one.err for one in ends)
    if not failed:
        shortfalls.append("never failed: the disk was not what it wrote to")
    return Observation(
        f"{failed} of {len(levels)} times the disk was full and it said so; then finished",
        tuple(shortfalls),
        crashes=sum(one.crashed for one in ends),
        hangs=sum(one.hung for one in ends),
        peak=max(one.peak for one in ends),
    )


def _levels(stage: Stage, workspace: Workspace) -> tuple[int, ...]:
    """Bytes to leave, some by chance; fewer for what loads TensorFlow each time."""
    chance = workspace.chance(stage.name)
    if stage.command[0] in ("train", "export", "inspect"):
        return (*LEVELS[::2], chance.randrange(100 << 10, 1 << 20))
    return (*LEVELS, *(chance.randrange(8 << 10, 4 << 20) for _ in range(4)))


def _before(stage: Stage, workspace: Workspace, slug: str) -> Path:
    """A folder with what a stage starts from: recipes and photos, for later ones the run."""
    folder = workspace.folder(f"{slug}-before")
    (folder / "tmp").mkdir()
    recipe = workspace.recipe(folder)
    views = recipe.read_text(encoding="utf-8") + '[augment]\nflip = "horizontal"\nviews = 3\n'
    (folder / "views.toml").write_text(views, encoding="utf-8")
    if stage.command[0] in ("init", "data"):
        _photos(workspace, folder / "photos")
    elif stage.command[0] == "train":
        workspace.run  # noqa: B018  # fills the cache
        shutil.copytree(workspace.work / "cache", folder / "cache")
    else:
        run = shutil.copytree(workspace.run, folder / "runs" / "tiny")
        for pattern in MADE_BY_EXPORT if stage.command[0] == "export" else ():
            for path in run.glob(pattern):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    return folder


def _photos(workspace: Workspace, folder: Path) -> None:
    """A few photos of two labels, those of the golden set."""
    for number, path in enumerate(sorted((workspace.run / "golden").glob("*.jpg"))):
        target = folder / ("cat", "dog")[number % 2] / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def _reference(stage: Stage, workspace: Workspace, slug: str) -> dict[str, str]:
    """SHA-256 of what a stage makes where there is room."""
    home = Path(
        shutil.copytree(
            _before(stage, workspace, slug), workspace.folder(f"{slug}-after"), dirs_exist_ok=True
        )
    )
    if all(pattern.startswith("runs/") for pattern in stage.same):  # made already
        shutil.rmtree(home / "runs", ignore_errors=True)
        shutil.copytree(workspace.run, home / "runs" / "tiny")
    else:
        ended = _run(stage.command, workspace, home, None)
        if ended.code:
            raise RuntimeError(f"{stage.name} fails where there is room: {ended.tail}\n{ended.err}")
    return temporary_disk.files(home)


def _home(stage: Stage, workspace: Workspace, slug: str, small: temporary_disk.Disk, before: Path) -> Path:
    """Where the command runs: on the disk, or beside it where only one thing lies there."""
    home = small.path
    if stage.full:
        home = workspace.folder(f"{slug}-home")
        shutil.copytree(before, home, dirs_exist_ok=True)
        place = home / ("cache" if stage.full == "TLEDGE_CACHE" else "tmp")
        shutil.rmtree(place, ignore_errors=True)
        (small.path / "own").mkdir(exist_ok=True)
        temporary_disk.empty(small.path / "own")
        place.symlink_to(small.path / "own")
    else:
        small.put(before)
    return home


def _run(
    command: Sequence[str], workspace: Workspace, home: Path, small: temporary_disk.Disk | None
) -> processes.ProcessResult:
    env = {"TLEDGE_CACHE": str(home / "cache"), "TMPDIR": str(home / "tmp")}
    return workspace.tledge(*command, cwd=home, env=env)


def _ill(ended: processes.ProcessResult) -> list[str]:
    """What a command on a full disk did wrong; it may as well have had enough."""
    if ended.code == 0:
        return []
    named = "disk is full" in ended.err and "MiB free" in ended.err and "Make room" in ended.err
    return [] if ended.code == 1 and named and not ended.crashed else [ended.tail]


def _left(home: Path, small: temporary_disk.Disk) -> list[str]:
    scratch = [str(path) for path in (home / "tmp").glob("*")]
    return [f"left behind: {name}" for name in (*temporary_disk.temporary(home), *scratch)]


def _unfinished(stage: Stage, ended: processes.ProcessResult, home: Path, after: dict[str, str]) -> list[str]:
    """What is wrong after the same command had room."""
    found = [] if ended.code == 0 else [f"with room again: {ended.tail}"]
    for pattern in stage.same:
        names = [str(path.relative_to(home)) for path in home.glob(pattern)]
        wanted = [name for name in after if Path(name).match(pattern)]
        found += [] if names else [f"with room again: no {pattern}"]
        hashes = temporary_disk.files(home)
        found += [f"with room again: {name} is another" for name in wanted if hashes.get(name) != after[name]]
    return found


def feedback_full(workspace: Workspace) -> Observation:
    """Keep a picture of the preview on a full disk, then with room."""
    run = workspace.own_run("feedback-run")
    photo = (run / "golden" / "00.jpg").read_bytes()
    shortfalls: list[str] = []
    with (
        temporary_disk.mounted(workspace.folder("feedback-disk")) as small,
        _preview(workspace, run, small.path) as url,
    ):
        for free, wanted in ((0, "disk is full"), (1 << 20, "path")):
            small.leave(free)
            told = _posted(f"{url}api/feedback?label=rock", photo)
            if wanted not in told:
                shortfalls.append(f"{free} bytes free: {told}")
            shortfalls += [
                f"{free} bytes free: left behind: {name}" for name in temporary_disk.temporary(small.path)
            ]
        kept = [path.read_bytes() == photo for path in small.path.glob("rock/*")]
    if kept != [True]:
        shortfalls.append(f"kept pictures: {kept}")
    return Observation("refused with the reason at 0 bytes free, kept with 1 MiB", tuple(shortfalls))


@contextmanager
def _preview(workspace: Workspace, run: Path, feedback: Path) -> Iterator[str]:
    """A preview's address while it runs."""
    command = [*processes.TLEDGE, "preview", run, "--feedback", feedback, "--no-browser", "--json"]
    process = subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        env=dict(workspace.env),
        start_new_session=True,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "}\n")
        yield json.loads("".join(lines) + "}")["url"]
    finally:
        processes.end(process.pid, signal.SIGKILL)
        process.communicate()


def _posted(url: str, data: bytes) -> str:
    """What a server answers, whatever the status; an exception's text where it does not."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=20) as reply:
            return str(reply.read().decode())
    except urllib.error.HTTPError as error:
        return str(error.read().decode())
    except OSError as error:
        return repr(error)


def predict_full(workspace: Workspace) -> Observation:
    """Predict where nothing can be written at all."""
    run = workspace.run
    with temporary_disk.mounted(workspace.folder("predict-disk")) as small:
        (small.path / "tmp").mkdir()
        small.leave(0)
        env = {"TLEDGE_CACHE": str(small.path), "TMPDIR": str(small.path / "tmp"), "HOME": str(small.path)}
        ends = [
            workspace.tledge("predict", model, run / "golden" / "00.jpg", cwd=small.path, env=env)
            for model in (run / "bundle", next(run.glob("*.zip")), run / "artifacts" / "onnx-fp32.onnx")
        ]
    shortfalls = tuple(one.tail for one in ends if one.code)
    return Observation(f"{len(ends)} models answered", shortfalls, peak=max(one.peak for one in ends))


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
    Case("disk full: feedback of the preview", "refused with the reason, not half-written", feedback_full),
    Case("disk full: predict", "works, for it writes nothing", predict_full),
)

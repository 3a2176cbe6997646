"""Commands on a full disk."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torture.support import processes, temporary_disk
from torture.support.case import Case
from torture.support.observation import Observation
from torture.support.preview_server import running_server
from torture.support.workspace import Workspace

LEVELS = (0, 4 << 10, 64 << 10, 1 << 20)
"""Bytes that are free when a command starts on a full disk."""


@dataclass(frozen=True)
class CommandOnDisk:
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


COMMANDS = (
    CommandOnDisk("init", ("init", "photos", "--out", "mine.toml")),
    CommandOnDisk(
        "data", ("data", "tiny.toml", "--quiet"), same=("cache/*/images.npy", "cache/*/index.json"),
        reduced=(0, 1 << 20),
    ),
    CommandOnDisk(
        "train", ("train", "tiny.toml", "--quiet"), ("train", "tiny.toml", "--quiet", "--resume"),
        same=("runs/tiny/model.keras", "runs/tiny/golden.npz"),
    ),
    CommandOnDisk(
        "train on views", ("train", "views.toml", "--out", "views", "--quiet"),
        ("train", "views.toml", "--out", "views", "--quiet", "--resume"), same=("views/model.keras",),
    ),
    CommandOnDisk(
        "export", ("export", "runs/tiny", "--force", "--variant", "onnx-fp32", "--quiet"),
        same=("runs/tiny/artifacts/*.tflite", "runs/tiny/artifacts/*.onnx", "runs/tiny/*.zip"),
        reduced=(64 << 10,),
    ),
    CommandOnDisk("verify", ("verify", "runs/tiny", "--quiet"), reduced=(0,)),
    CommandOnDisk(
        "bundle", ("bundle", "runs/tiny", "--quiet"), same=("runs/tiny/*.zip",), reduced=(1 << 20,),
    ),
    CommandOnDisk(
        "target", ("bundle", "runs/tiny/bundle", "--target", "raspberry_pi", "--out", "pi"),
        same=("pi/bundle/*.tflite",),
    ),
    CommandOnDisk("report", ("report", "runs/tiny")),
    CommandOnDisk("bench", ("bench", "runs/tiny", "--variant", "tflite-fp32", "--threads", "1", "--quiet")),
    CommandOnDisk("layers", ("inspect", "runs/tiny", "--quantization", "--quiet")),
    CommandOnDisk(
        "cache", ("data", "tiny.toml", "--quiet"), same=("cache/*/images.npy",), full="TLEDGE_CACHE",
    ),
    CommandOnDisk("scratch", ("verify", "runs/tiny/bundle", "--quiet"), full="TMPDIR", reduced=(64 << 10,)),
    CommandOnDisk(
        "scratch of the converter", ("export", "runs/tiny", "--force", "--variant", "onnx-fp32", "--quiet"),
        same=("runs/tiny/artifacts/*.tflite",), full="TMPDIR",
    ),
)  # fmt: skip

MADE_BY_EXPORT = (
    "artifacts", "bundle", "logs", "parity.json", "report.*", "*.zip", "calibration.json",
    "evidence/*flips*", "evidence/*uncorrected*", "evidence/calibration.npy",
)  # fmt: skip


def disk_full(stage: CommandOnDisk, workspace: Workspace) -> Observation:
    """Start a command with little room, again and again; then with room, which has to finish it."""
    slug = stage.name.replace(" ", "-")
    before, after = _starting_folder(stage, workspace, slug), _expected_hashes(stage, workspace, slug)
    levels = stage.reduced if workspace.reduced else _levels(stage, workspace)
    shortfalls: list[str] = []
    results: list[processes.ProcessResult] = []
    with temporary_disk.mounted(workspace.folder(f"{slug}-disk")) as disk:
        for free in levels:
            home = _working_folder(stage, workspace, slug, disk, before)
            old = temporary_disk.file_hashes(home)
            disk.leave_free(free)
            results.append(_run(stage.command, workspace, home, disk))
            faults = [
                *_failure_faults(results[-1]),
                *temporary_disk.lost_files(old, home, after),
                *_leftovers(home, disk),
            ]
            disk.remove_filler()
            if results[-1].code:
                results.append(_run(stage.again or stage.command, workspace, home, disk))
                faults += _completion_faults(stage, results[-1], home, after)
            shortfalls += [f"{free} bytes free: {fault}" for fault in faults]
    failed = sum("disk is full" in result.err for result in results)
    if not failed:
        shortfalls.append("never failed: the disk was not what it wrote to")
    return Observation(
        f"{failed} of {len(levels)} times the disk was full and it said so; then finished",
        tuple(shortfalls),
        crashes=sum(result.crashed for result in results),
        hangs=sum(result.hung for result in results),
        peak=max(result.peak for result in results),
    )


def _levels(stage: CommandOnDisk, workspace: Workspace) -> tuple[int, ...]:
    """Return the bytes to leave, some by chance; fewer for commands that load TensorFlow each time."""
    rng = workspace.rng(stage.name)
    if stage.command[0] in ("train", "export", "inspect"):
        return (*LEVELS[::2], rng.randrange(100 << 10, 1 << 20))
    return (*LEVELS, *(rng.randrange(8 << 10, 4 << 20) for _ in range(4)))


def _starting_folder(stage: CommandOnDisk, workspace: Workspace, slug: str) -> Path:
    """Write what a command starts from: recipes and photos, for later ones the run."""
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
    """Copy a few photos of the golden set under two labels."""
    for number, path in enumerate(sorted((workspace.run / "golden").glob("*.jpg"))):
        target = folder / ("cat", "dog")[number % 2] / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def _expected_hashes(stage: CommandOnDisk, workspace: Workspace, slug: str) -> dict[str, str]:
    """Run the command where there is room; return the SHA-256 of what it makes."""
    home = Path(
        shutil.copytree(
            _starting_folder(stage, workspace, slug), workspace.folder(f"{slug}-after"), dirs_exist_ok=True
        )
    )
    if all(pattern.startswith("runs/") for pattern in stage.same):  # made already
        shutil.rmtree(home / "runs", ignore_errors=True)
        shutil.copytree(workspace.run, home / "runs" / "tiny")
    else:
        result = _run(stage.command, workspace, home, None)
        if result.code:
            raise RuntimeError(f"{stage.name} fails where there is room: {result.tail}\n{result.err}")
    return temporary_disk.file_hashes(home)


def _working_folder(
    stage: CommandOnDisk, workspace: Workspace, slug: str, disk: temporary_disk.Disk, before: Path
) -> Path:
    """Prepare where the command runs: on the disk, or beside it where only one folder lies there."""
    home = disk.path
    if stage.full:
        home = workspace.folder(f"{slug}-home")
        shutil.copytree(before, home, dirs_exist_ok=True)
        data_folder = home / ("cache" if stage.full == "TLEDGE_CACHE" else "tmp")
        shutil.rmtree(data_folder, ignore_errors=True)
        (disk.path / "own").mkdir(exist_ok=True)
        temporary_disk.empty_folder(disk.path / "own")
        data_folder.symlink_to(disk.path / "own")
    else:
        disk.replace_content(before)
    return home


def _run(
    command: Sequence[str], workspace: Workspace, home: Path, disk: temporary_disk.Disk | None
) -> processes.ProcessResult:
    env = {"TLEDGE_CACHE": str(home / "cache"), "TMPDIR": str(home / "tmp")}
    return workspace.tledge(*command, cwd=home, env=env)


def _failure_faults(result: processes.ProcessResult) -> list[str]:
    """List what a command on a full disk did wrong; it may also have had enough room."""
    if result.code == 0:
        return []
    named = "disk is full" in result.err and "MiB free" in result.err and "Make room" in result.err
    return [] if result.code == 1 and named and not result.crashed else [result.tail]


def _leftovers(home: Path, disk: temporary_disk.Disk) -> list[str]:
    scratch = [str(path) for path in (home / "tmp").glob("*")]
    return [f"left behind: {name}" for name in (*temporary_disk.temporary_names(home), *scratch)]


def _completion_faults(
    stage: CommandOnDisk, result: processes.ProcessResult, home: Path, after: dict[str, str]
) -> list[str]:
    """List what is wrong after the same command had room."""
    faults = [] if result.code == 0 else [f"with room again: {result.tail}"]
    for pattern in stage.same:
        names = [str(path.relative_to(home)) for path in home.glob(pattern)]
        wanted = [name for name in after if Path(name).match(pattern)]
        faults += [] if names else [f"with room again: no {pattern}"]
        hashes = temporary_disk.file_hashes(home)
        faults += [
            f"with room again: {name} is another" for name in wanted if hashes.get(name) != after[name]
        ]
    return faults


def feedback_full(workspace: Workspace) -> Observation:
    """Keep an image of the preview on a full disk, then with room."""
    run = workspace.own_run("feedback-run")
    photo = (run / "golden" / "00.jpg").read_bytes()
    shortfalls: list[str] = []
    with (
        temporary_disk.mounted(workspace.folder("feedback-disk")) as disk,
        running_server(workspace, run, "full-disk", "--feedback", disk.path) as server,
    ):
        for free, wanted in ((0, "disk is full"), (1 << 20, "path")):
            disk.leave_free(free)
            answer = server.request("/api/feedback?label=rock", photo)[1].decode()
            if wanted not in answer:
                shortfalls.append(f"{free} bytes free: {answer}")
            shortfalls += [
                f"{free} bytes free: left behind: {name}"
                for name in temporary_disk.temporary_names(disk.path)
            ]
        are_equal = [path.read_bytes() == photo for path in disk.path.glob("rock/*")]
    if are_equal != [True]:
        shortfalls.append(f"kept pictures: {are_equal}")
    return Observation("refused with the reason at 0 bytes free, kept with 1 MiB", tuple(shortfalls))


def predict_full(workspace: Workspace) -> Observation:
    """Predict where nothing can be written at all."""
    run = workspace.run
    with temporary_disk.mounted(workspace.folder("predict-disk")) as disk:
        (disk.path / "tmp").mkdir()
        disk.leave_free(0)
        env = {"TLEDGE_CACHE": str(disk.path), "TMPDIR": str(disk.path / "tmp"), "HOME": str(disk.path)}
        results = [
            workspace.tledge("predict", model, run / "golden" / "00.jpg", cwd=disk.path, env=env)
            for model in (run / "bundle", next(run.glob("*.zip")), run / "artifacts" / "onnx-fp32.onnx")
        ]
    shortfalls = tuple(result.tail for result in results if result.code)
    return Observation(
        f"{len(results)} models answered", shortfalls, peak=max(result.peak for result in results)
    )


CASES: tuple[Case, ...] = (
    *(
        Case(
            f"disk full: {stage.name}",
            "says that the disk is full, where and what to do; nothing half-written; then finishes",
            partial(disk_full, stage),
            reduced=bool(stage.reduced),
        )
        for stage in COMMANDS
    ),
    Case("disk full: feedback of the preview", "refused with the reason, not half-written", feedback_full),
    Case("disk full: predict", "works, for it writes nothing", predict_full),
)

"""Disks that are full, memory that is short, conversions that hang, native code that crashes."""

from __future__ import annotations

import json
import os
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

import child
import disk
import workers
from case import Case, Seen
from ground import Ground

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


def disk_full(stage: Stage, ground: Ground) -> Seen:
    """Begin a stage with little room, again and again; then with room, which has to finish it."""
    slug = stage.name.replace(" ", "-")
    before, after = _before(stage, ground, slug), _reference(stage, ground, slug)
    levels = stage.reduced if ground.reduced else _levels(stage, ground)
    short: list[str] = []
    ends: list[child.Ended] = []
    with disk.mounted(ground.folder(f"{slug}-disk")) as small:
        for free in levels:
            home = _home(stage, ground, slug, small, before)
            old = disk.files(home)
            small.leave(free)
            ends.append(_run(stage.command, ground, home, small))
            faults = [*_ill(ends[-1]), *disk.lost(old, home, after), *_left(home, small)]
            small.make_room()
            if ends[-1].code:
                ends.append(_run(stage.again or stage.command, ground, home, small))
                faults += _unfinished(stage, ends[-1], home, after)
            short += [f"{free} bytes free: {fault}" for fault in faults]
    failed = sum("disk is full" in one.err for one in ends)
    if not failed:
        short.append("never failed: the disk was not what it wrote to")
    return Seen(
        f"{failed} of {len(levels)} times the disk was full and it said so; then finished",
        tuple(short), crashes=sum(one.crashed for one in ends), hangs=sum(one.hung for one in ends),
        peak=max(one.peak for one in ends),
    )  # fmt: skip


def _levels(stage: Stage, ground: Ground) -> tuple[int, ...]:
    """Bytes to leave, some by chance; fewer for what loads TensorFlow each time."""
    chance = ground.chance(stage.name)
    if stage.command[0] in ("train", "export", "inspect"):
        return (*LEVELS[::2], chance.randrange(100 << 10, 1 << 20))
    return (*LEVELS, *(chance.randrange(8 << 10, 4 << 20) for _ in range(4)))


def _before(stage: Stage, ground: Ground, slug: str) -> Path:
    """A folder with what a stage starts from: recipes and photos, for later ones the run."""
    folder = ground.folder(f"{slug}-before")
    (folder / "tmp").mkdir()
    recipe = ground.recipe(folder)
    views = recipe.read_text(encoding="utf-8") + '[augment]\nflip = "horizontal"\nviews = 3\n'
    (folder / "views.toml").write_text(views, encoding="utf-8")
    if stage.command[0] in ("init", "data"):
        _photos(ground, folder / "photos")
    elif stage.command[0] == "train":
        ground.run  # noqa: B018  # fills the cache
        shutil.copytree(ground.work / "cache", folder / "cache")
    else:
        run = shutil.copytree(ground.run, folder / "runs" / "tiny")
        for pattern in MADE_BY_EXPORT if stage.command[0] == "export" else ():
            for path in run.glob(pattern):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    return folder


def _photos(ground: Ground, folder: Path) -> None:
    """A few photos of two labels, those of the golden set."""
    for number, path in enumerate(sorted((ground.run / "golden").glob("*.jpg"))):
        target = folder / ("cat", "dog")[number % 2] / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def _reference(stage: Stage, ground: Ground, slug: str) -> dict[str, str]:
    """SHA-256 of what a stage makes where there is room."""
    home = Path(
        shutil.copytree(_before(stage, ground, slug), ground.folder(f"{slug}-after"), dirs_exist_ok=True)
    )
    if all(pattern.startswith("runs/") for pattern in stage.same):  # made already
        shutil.rmtree(home / "runs", ignore_errors=True)
        shutil.copytree(ground.run, home / "runs" / "tiny")
    else:
        ended = _run(stage.command, ground, home, None)
        if ended.code:
            raise RuntimeError(f"{stage.name} fails where there is room: {ended.tail}\n{ended.err}")
    return disk.files(home)


def _home(stage: Stage, ground: Ground, slug: str, small: disk.Disk, before: Path) -> Path:
    """Where the command runs: on the disk, or beside it where only one thing lies there."""
    home = small.path
    if stage.full:
        home = ground.folder(f"{slug}-home")
        shutil.copytree(before, home, dirs_exist_ok=True)
        place = home / ("cache" if stage.full == "TLEDGE_CACHE" else "tmp")
        shutil.rmtree(place, ignore_errors=True)
        (small.path / "own").mkdir(exist_ok=True)
        disk.empty(small.path / "own")
        place.symlink_to(small.path / "own")
    else:
        small.put(before)
    return home


def _run(command: Sequence[str], ground: Ground, home: Path, small: disk.Disk | None) -> child.Ended:
    env = {"TLEDGE_CACHE": str(home / "cache"), "TMPDIR": str(home / "tmp")}
    return ground.tledge(*command, cwd=home, env=env)


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


def feedback_full(ground: Ground) -> Seen:
    """Keep a picture of the preview on a full disk, then with room."""
    run = ground.own_run("feedback-run")
    photo = (run / "golden" / "00.jpg").read_bytes()
    short: list[str] = []
    with disk.mounted(ground.folder("feedback-disk")) as small, _preview(ground, run, small.path) as url:
        for free, wanted in ((0, "disk is full"), (1 << 20, "path")):
            small.leave(free)
            told = _posted(f"{url}api/feedback?label=rock", photo)
            if wanted not in told:
                short.append(f"{free} bytes free: {told}")
            short += [f"{free} bytes free: left behind: {name}" for name in disk.temporary(small.path)]
        kept = [path.read_bytes() == photo for path in small.path.glob("rock/*")]
    if kept != [True]:
        short.append(f"kept pictures: {kept}")
    return Seen("refused with the reason at 0 bytes free, kept with 1 MiB", tuple(short))


@contextmanager
def _preview(ground: Ground, run: Path, feedback: Path) -> Iterator[str]:
    """A preview's address while it runs."""
    command = [*child.TLEDGE, "preview", run, "--feedback", feedback, "--no-browser", "--json"]
    process = subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        env=dict(ground.env),
        start_new_session=True,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "}\n")
        yield json.loads("".join(lines) + "}")["url"]
    finally:
        child.end(process.pid, signal.SIGKILL)
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


def predict_full(ground: Ground) -> Seen:
    """Predict where nothing can be written at all."""
    run = ground.run
    with disk.mounted(ground.folder("predict-disk")) as small:
        (small.path / "tmp").mkdir()
        small.leave(0)
        env = {"TLEDGE_CACHE": str(small.path), "TMPDIR": str(small.path / "tmp"), "HOME": str(small.path)}
        ends = [
            ground.tledge("predict", model, run / "golden" / "00.jpg", cwd=small.path, env=env)
            for model in (run / "bundle", next(run.glob("*.zip")), run / "artifacts" / "onnx-fp32.onnx")
        ]
    short = tuple(one.tail for one in ends if one.code)
    return Seen(f"{len(ends)} models answered", short, peak=max(one.peak for one in ends))


def little_memory(ground: Ground) -> Seen:
    """Limit the address space that converters may take, by the recipe and by the shell."""
    run = ground.own_run("memory-run")
    limits = (1000,) if ground.reduced else (300, 600, 1000, 1400, 1800, 2200)
    short: list[str] = []
    ends: list[child.Ended] = []
    for limit in limits:
        _set(run, "memory_mib", limit)
        ends.append(ground.tledge("export", run, "--quiet"))
        short += _unnamed(ends[-1], "out of memory")
    _set(run, "memory_mib", 0)
    for limit in () if ground.reduced else (1000, 2000):
        ends.append(ground.tledge("export", run, "--quiet", memory=limit))
        short += _unnamed(ends[-1], "out of memory")
    if not ground.reduced:
        ends.append(ground.tledge("export", run, "--quiet"))
        short += [ends[-1].tail] if ends[-1].code else []
    named = sum("out of memory" in one.err for one in ends)
    return Seen(f"{named} of {len(ends)} exports ran out of memory and said so", tuple(short),
                crashes=sum(one.crashed for one in ends), peak=max(one.peak for one in ends))  # fmt: skip


def _set(run: Path, name: str, value: int) -> None:
    """Change a key of [export] in a run's recipe."""
    lines = (run / "recipe.toml").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not line.startswith(f"{name} =")]
    kept.insert(kept.index("[export]") + 1, f"{name} = {value}")
    (run / "recipe.toml").write_text("\n".join(kept) + "\n", encoding="utf-8")


def _unnamed(ended: child.Ended, *words: str, code: int = 1) -> list[str]:
    """Where an end is not the expected one, or does not say all `words`."""
    missing = [word for word in words if word not in ended.err + ended.out]
    if ended.code == code and not missing and not ended.crashed and not ended.hung:
        return []
    return [f"no {missing}: exit {ended.code}: {ended.err[-400:]}" if missing else ended.tail]


def struck(ground: Ground) -> Seen:
    """Hit converters at random moments: crashes, the kernel's killing, and a stop that never goes on."""
    run = ground.own_run("struck-run")
    before = disk.files(run)
    chance = ground.chance("struck converter")
    signals = {
        signal.SIGSEGV: ("crashed (SIGSEGV)", "Log: "),
        signal.SIGKILL: ("was killed (SIGKILL), often for want of memory", "Log: "),
        signal.SIGABRT: ("crashed (SIGABRT)", "Log: "),
        signal.SIGBUS: ("crashed (SIGBUS)", "Log: "),
        signal.SIGSTOP: ("took more than 4 s and was stopped", "Raise [export] timeout"),
    }
    tried = (signal.SIGSEGV, signal.SIGSTOP) if ground.reduced else (*signals, *signals)
    short: list[str] = []
    ends: list[child.Ended] = []
    for number, one in enumerate(tried):
        _set(run, "timeout", 4 if one == signal.SIGSTOP else 900)
        mark = f"struck-{number}-{os.getpid()}"
        with workers.hit("tledge.formats.registry", one, mark, chance.uniform(0, 1.5)) as found:
            ends.append(ground.tledge("export", run, "--quiet", env={workers.MARK: mark}))
        faults = _unnamed(ends[-1], *signals[one]) if found else ["no converter was seen"]
        if ends[-1].seconds > 60:
            faults.append(f"only after {ends[-1].seconds:.0f} s")
        faults += [f"process {left} was left" for left in workers.of(mark)]
        faults += disk.lost(before, run, before)
        short += [f"{signal.Signals(one).name}: {fault}" for fault in faults]
    return Seen(f"{len(ends)} converters hit, each cause named, earlier artifacts whole", tuple(short),
                kills=len(ends), crashes=sum(one.crashed for one in ends),
                hangs=sum(one.hung for one in ends), peak=max(one.peak for one in ends))  # fmt: skip


STRUCK = (
    (("bench", "RUN", "--variant", "tflite-fp32", "--threads", "1", "--quiet"), "tledge.benchmark.worker", 4),
    (("bundle", "RUN", "--target", "microcontroller"), "tledge.devices.tflite_micro_worker", 4),
    (("bundle", "RUN", "--target", "microcontroller"), "ethosu.vela", 4),
    (("doctor",), "tledge.environment.gpu_probe", 0),
)
"""Commands, a module that they run in a process of its own, and the exit code where it crashes."""


def struck_others(ground: Ground) -> Seen:
    """Hit the other processes: what measures, what runs tflite-micro, Vela, what loads a library."""
    short: list[str] = []
    ends: list[child.Ended] = []
    for number, (command, module, code) in enumerate(STRUCK[:1] if ground.reduced else STRUCK):
        run = ground.own_run("struck-other")
        mark = f"other-{number}-{os.getpid()}"
        with workers.hit(module, signal.SIGSEGV, mark, 0.2) as found:
            arguments = [str(run) if part == "RUN" else part for part in command]
            ends.append(ground.tledge(*arguments, env={workers.MARK: mark}))
        faults = _unnamed(ends[-1], "SIGSEGV", code=code) if found else ["was not seen"]
        short += [f"{module}: {fault}" for fault in (*faults, *map(str, workers.of(mark)))]
    return Seen(f"{len(ends)} processes crashed, each was named", tuple(short), kills=len(ends),
                crashes=sum(one.crashed for one in ends), peak=max(one.peak for one in ends))  # fmt: skip


NAMED = "the cause is named with its log's last words; what was there before is whole"

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
    Case("little memory for converters", "named, with how to go on", little_memory),
    Case("converters crash, are killed, hang", NAMED, struck),
    Case("other processes crash", NAMED, struck_others, reduced=False),
)

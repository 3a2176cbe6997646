"""Broken and mutated recipes, and other files that people write by hand."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from torture.support import command_batch, processes
from torture.support.case import Case
from torture.support.observation import CannotRun, Observation
from torture.support.workspace import ROOT, Workspace

BROKEN = ROOT / "tests" / "broken_recipes"
LEAST = 60
"""Broken recipes that there are at least."""

MEMORY = 1024
"""MiB of address space for a process that reads a recipe: far below what an endless file would take."""


def faults(ended: processes.ProcessResult, code: int, words: Sequence[str], least: str = "") -> list[str]:
    """What falls short of an end with this exit code, these words in stderr, and no traceback."""
    found = []
    if ended.hung:
        found.append("hung")
    if ended.code != code:
        found.append(f"exit {ended.code} instead of {code}")
    if ended.crashed:
        found.append("traceback or crash")
    found += [f"does not say {word!r}" for word in words if word not in ended.err]
    return [f"{least}{one}: {ended.tail}" for one in found]


def seen(ends: Sequence[processes.ProcessResult], said: str, shortfalls: Sequence[str]) -> Observation:
    """A case's result, its crashes and hangs counted from the ends."""
    return Observation(
        said,
        tuple(shortfalls[:10]),
        files=len(ends),
        crashes=sum(one.crashed for one in ends),
        hangs=sum(one.hung for one in ends),
        peak=max((one.peak for one in ends), default=0.0),
    )


def broken(workspace: Workspace) -> Observation:
    """Every broken recipe through `tledge train`; some of them in processes of their own."""
    paths = sorted(BROKEN.glob("*.toml"))
    folder = workspace.folder("broken")
    alone = workspace.chance("broken").sample(paths, workspace.count(12, 3))
    jobs = [["train", path, "--out", folder / "run", "--quiet"] for path in [*paths, *alone]]
    ends = command_batch.run(workspace, folder, jobs[: len(paths)])
    ends += [workspace.tledge(*job) for job in jobs[len(paths) :]]
    shortfalls = [f"{len(ends)} of {len(jobs)} commands ended"] if len(ends) < len(jobs) else []
    for path, ended in zip([*paths, *alone], ends, strict=False):
        first = path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# expect: ")
        shortfalls += faults(ended, 2, (first, path.name), f"{path.name}: ")
    if len(paths) < LEAST:
        shortfalls.append(f"{len(paths)} broken recipes, at least {LEAST} wanted")
    if (folder / "run").exists():
        shortfalls.append("a broken recipe wrote a run folder")
    return seen(ends, f"{len(paths)} recipes, {len(alone)} of them in processes of their own", shortfalls)


def mutated(workspace: Workspace) -> Observation:
    """Mutated recipes, `--set`, CSV files, coordinators and label lists, drawn by hypothesis."""
    wanted = workspace.count(20_000, 1_500)
    told = workspace.folder("mutated") / "fuzz.json"
    command = processes.python_module("torture.workers.recipe_fuzzer", wanted, workspace.seed, told)
    ended = processes.run(command, workspace.env, timeout=1200, memory=2048)
    if not told.is_file():
        return seen([ended], "", [f"the process that reads them broke: {ended.tail}"])
    found = json.loads(told.read_text(encoding="utf-8"))
    counts = found["examples"]
    shortfalls = [f"{name}: {what}" for name, what in found["failed"].items()]
    if sum(counts.values()) < 0.97 * wanted:  # shares are rounded down, and small sets run out
        shortfalls.append(f"only {sum(counts.values())} of {wanted} examples were tried")
    said = ", ".join(f"{name} {count}" for name, count in counts.items())
    return Observation(
        said, tuple(shortfalls), files=sum(counts.values()), hangs=int(ended.hung), peak=ended.peak
    )


def no_file(workspace: Workspace) -> Observation:
    """Recipes that are folders, pipes, devices, gigabytes, or of another encoding."""
    folder = workspace.folder("no file")
    made = {name: make(folder / name) for name, (make, _code, _words) in ODD.items()}
    shortfalls: list[str] = []
    ends = []
    for name, (_make, code, words) in ODD.items():
        job = ("data", made[name], "--out", folder / "sheets", "--quiet")
        ends.append(workspace.tledge(*job, cwd=folder, timeout=30, memory=MEMORY))
        shortfalls += faults(ends[-1], code, words, f"{name}: ")
    return seen(ends, f"{len(ends)} recipes that are no files of text, peak memory below", shortfalls)


def _text(text: str, encoding: str = "utf-8") -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        path.write_bytes(text.encode(encoding))
        return path

    return make


def _link(target: str) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        path.symlink_to(target)
        return path

    return make


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def _sparse(path: Path) -> Path:
    path.touch()
    os.truncate(path, 1 << 30)
    return path


GOOD = """[data]
source = "drawn"
train = 12
test = 6
size = 32
[model]
backbone = "tiny"
weights = "none"
image_size = 32
[[stage]]
epochs = 1
"""
ODD: dict[str, tuple[Callable[[Path], Path], int, tuple[str, ...]]] = {
    "folder.toml": (_folder, 2, ("not a file",)),
    "pipe.toml": (_pipe, 2, ("not a file",)),
    "zero.toml": (_link("/dev/zero"), 2, ("not a file",)),
    "null.toml": (_link("/dev/null"), 2, ("not a file",)),
    "dangling.toml": (_link("nowhere.toml"), 2, ("no such recipe",)),
    "loop.toml": (_link("loop.toml"), 2, ("no such recipe",)),
    "gigabyte.toml": (_sparse, 2, ("more than",)),
    "b" * 300: (lambda path: path, 2, ("name too long",)),
    "utf-16.toml": (_text(GOOD, "utf-16"), 2, ("not UTF-8",)),
    "latin-1.toml": (_text(f"# Gr\xfc\xdfe\n{GOOD}", "latin-1"), 2, ("not UTF-8",)),
    "dots.toml": (_text(".".join("a" * 200_000) + " = 1"), 2, ("more than 64 names",)),
    "ten-megabytes.toml": (_text(GOOD + "# " + "x" * 10_000_000), 2, ("more than",)),
    "windows.toml": (_text(GOOD.replace("\n", "\r\n"), "utf-8-sig"), 0, ()),
}
"""How each is made, the exit code, and what has to be said."""


def unreadable(workspace: Workspace) -> Observation:
    """A recipe that this user may not read."""
    if os.geteuid() == 0:
        raise CannotRun("root may read everything; run as another user")
    path = workspace.folder("unreadable") / "secret.toml"
    path.write_text(GOOD, encoding="utf-8")
    path.chmod(0)
    ended = workspace.tledge("data", path, "--quiet")
    return seen([ended], "1 recipe without permission", faults(ended, 2, ("cannot be read",)))


CASES = (
    Case("broken recipes", "each is refused with exit 2 and its own message, and writes nothing", broken),
    Case("mutated recipes", "a recipe or a short RecipeError that names its place, soon", mutated),
    Case("recipes that are no text", "refused soon, without memory or a hang", no_file),
) + (() if os.geteuid() == 0 else (Case("unreadable recipe", "refused by name", unreadable),))

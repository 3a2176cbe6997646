"""Broken and mutated recipes, and other files that people write by hand."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import child
import in_turn
from case import CannotRun, Case, Seen
from ground import ROOT, Ground

BROKEN = ROOT / "tests" / "unit" / "recipe" / "broken_recipes"
LEAST = 60
"""Broken recipes that there are at least."""

MEMORY = 1024
"""MiB of address space for a process that reads a recipe: far below what an endless file would take."""


def faults(ended: child.Ended, code: int, words: Sequence[str], least: str = "") -> list[str]:
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


def seen(ends: Sequence[child.Ended], said: str, short: Sequence[str]) -> Seen:
    """A case's result, its crashes and hangs counted from the ends."""
    return Seen(
        said,
        tuple(short[:10]),
        files=len(ends),
        crashes=sum(one.crashed for one in ends),
        hangs=sum(one.hung for one in ends),
        peak=max((one.peak for one in ends), default=0.0),
    )


def broken(ground: Ground) -> Seen:
    """Every broken recipe through `tledge train`; some of them in processes of their own."""
    paths = sorted(BROKEN.glob("*.toml"))
    folder = ground.folder("broken")
    alone = ground.chance("broken").sample(paths, ground.count(12, 3))
    jobs = [["train", path, "--out", folder / "run", "--quiet"] for path in [*paths, *alone]]
    ends = in_turn.run(ground, folder, jobs[: len(paths)])
    ends += [ground.tledge(*job) for job in jobs[len(paths) :]]
    short = [f"{len(ends)} of {len(jobs)} commands ended"] if len(ends) < len(jobs) else []
    for path, ended in zip([*paths, *alone], ends, strict=False):
        first = path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# expect: ")
        short += faults(ended, 2, (first, path.name), f"{path.name}: ")
    if len(paths) < LEAST:
        short.append(f"{len(paths)} broken recipes, at least {LEAST} wanted")
    if (folder / "run").exists():
        short.append("a broken recipe wrote a run folder")
    return seen(ends, f"{len(paths)} recipes, {len(alone)} of them in processes of their own", short)


def mutated(ground: Ground) -> Seen:
    """Mutated recipes, `--set`, CSV files, coordinators and label lists, drawn by hypothesis."""
    wanted = ground.count(20_000, 1_500)
    told = ground.folder("mutated") / "fuzz.json"
    command = [sys.executable, ROOT / "torture" / "fuzz.py", wanted, ground.seed, told]
    ended = child.run(command, ground.env, timeout=1200, memory=2048)
    if not told.is_file():
        return seen([ended], "", [f"the process that reads them broke: {ended.tail}"])
    found = json.loads(told.read_text(encoding="utf-8"))
    counts = found["examples"]
    short = [f"{name}: {what}" for name, what in found["failed"].items()]
    if sum(counts.values()) < 0.97 * wanted:  # shares are rounded down, and small sets run out
        short.append(f"only {sum(counts.values())} of {wanted} examples were tried")
    said = ", ".join(f"{name} {count}" for name, count in counts.items())
    return Seen(said, tuple(short), files=sum(counts.values()), hangs=int(ended.hung), peak=ended.peak)


def no_file(ground: Ground) -> Seen:
    """Recipes that are folders, pipes, devices, gigabytes, or of another encoding."""
    folder = ground.folder("no file")
    made = {name: make(folder / name) for name, (make, _code, _words) in ODD.items()}
    short: list[str] = []
    ends = []
    for name, (_make, code, words) in ODD.items():
        job = ("data", made[name], "--out", folder / "sheets", "--quiet")
        ends.append(ground.tledge(*job, cwd=folder, timeout=30, memory=MEMORY))
        short += faults(ends[-1], code, words, f"{name}: ")
    return seen(ends, f"{len(ends)} recipes that are no files of text, peak memory below", short)


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


def unreadable(ground: Ground) -> Seen:
    """A recipe that this user may not read."""
    if os.geteuid() == 0:
        raise CannotRun("root may read everything; run as another user")
    path = ground.folder("unreadable") / "secret.toml"
    path.write_text(GOOD, encoding="utf-8")
    path.chmod(0)
    ended = ground.tledge("data", path, "--quiet")
    return seen([ended], "1 recipe without permission", faults(ended, 2, ("cannot be read",)))


CASES = (
    Case("broken recipes", "each is refused with exit 2 and its own message, and writes nothing", broken),
    Case("mutated recipes", "a recipe or a short RecipeError that names its place, soon", mutated),
    Case("recipes that are no text", "refused soon, without memory or a hang", no_file),
) + (() if os.geteuid() == 0 else (Case("unreadable recipe", "refused by name", unreadable),))

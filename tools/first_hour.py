"""The first hour: the tutorial's commands on a few photos, one by one, each timed and checked.

    python tools/first_hour.py PHOTOS [--keras-home DIR] [--work DIR] [--full] [--before COMMIT]

Takes 3 labels of 60 photos out of PHOTOS, the same for the same --seed, and types what
docs/tutorial.md says, from `tledge init` to the self-test of the Raspberry Pi project, in a terminal
of 80 columns. The training is the page's short one, or with --full the whole one. Exit code 0 where

- every command ends with 0, or with a code and a last sentence that names the command to type next,
- no command leaves the screen blank for more than two seconds,
- the bundle at the end holds tflite-int8, and the self-test passes.

Seconds on a busy machine say little: what counts for the screen is the CPU time until the first
output. With --before, the code of COMMIT walks from `init` to its bundle too, in this environment,
and the ratio of both times is printed.
"""

from __future__ import annotations

import argparse
import dataclasses
import errno
import fcntl
import json
import os
import pty
import random
import re
import select
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import newcomer
from pages import blocks

COLUMNS, LINES = 80, 40
BLANK_SCREEN = 2.0
"""CPU seconds that a command may take before it shows something."""
NEXT_STEP = re.compile(r"\btledge [a-z]+|(?<!\S)--[a-z]")
"""What the end of an output names where it says what to do next: a command or an option."""
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|\x07")


@dataclass(frozen=True)
class Measured:
    """A command that ran: its exit code, its output, and how long it took."""

    command: str
    code: int
    output: str
    seconds: float
    cpu: float
    first_output: float
    """CPU seconds until something could be read."""
    silence: float
    """Longest time without output, in seconds."""

    @property
    def fault(self) -> str:
        """What a newcomer would stumble over; "" if nothing."""
        end = " ".join(self.output.splitlines()[-6:])
        if self.code and not NEXT_STEP.search(end):
            return f"{self.command}: exit code {self.code}, and the end names no next command: {end}"
        if self.command.startswith("tledge ") and self.first_output > BLANK_SCREEN:
            return f"{self.command}: nothing on the screen for {self.first_output:.1f} CPU seconds"
        return ""


def subset(photos: Path, to: Path, labels: int = 3, each: int = 60, seed: int = 0) -> None:
    """Copy `each` photos of some labels; the same photos for the same seed."""
    root = photos / "train" if (photos / "train").is_dir() else photos
    names = sorted(path.name for path in root.iterdir() if path.is_dir())
    draw = random.Random(seed)
    for label in sorted(draw.sample(names, labels)):
        found = sorted(path for path in (root / label).iterdir() if path.is_file())
        (to / label).mkdir(parents=True)
        for path in draw.sample(found, each):
            shutil.copy2(path, to / label / path.name)


def commands(environment: Path, full: bool) -> list[str]:
    """List the tutorial's commands, one a line, without those that a newcomer leaves out here."""
    steps = newcomer.plan(blocks(newcomer.PAGE), environment)
    whole = "tledge train mine.toml\n"
    texts = ((step, whole if full and step.block.text == whole else step.text) for step in steps)
    return [line for step, text in texts for line in dataclasses.replace(step.block, text=text).commands]


def run(command: str, folder: Path, environment: dict[str, str], state: Path) -> Measured:
    """Run one command in a pseudo-terminal; `state` carries folder and variables to the next one."""
    keep = f"{{ export -p; printf 'cd %q\\n' \"$PWD\"; }} > {shlex.quote(str(state))}"
    before = f". {shlex.quote(str(state))}\n" if state.exists() else ""
    script = f"{before}trap {shlex.quote(keep)} EXIT\n{command}\n"
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    began = time.monotonic()
    process = subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder, env={**environment, "TERM": "xterm-256color"},
        stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    try:
        output, first, silence = _follow(process, master)
    finally:
        os.close(master)
    _pid, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    cpu = usage.ru_utime + usage.ru_stime
    return Measured(
        command,
        process.returncode,
        output,
        time.monotonic() - began,
        cpu,
        cpu if first is None else first,
        silence,
    )


def _follow(process: subprocess.Popen[bytes], master: int) -> tuple[str, float | None, float]:
    """Read until the terminal closes; gives the text, the CPU time of the first of it, the longest pause."""
    parts: list[bytes] = []
    first, silence, last = None, 0.0, time.monotonic()
    while data := _read(master):
        silence, last = max(silence, time.monotonic() - last), time.monotonic()
        parts.append(data)
        if first is None and readable(data):
            first = cpu_of_tree(process.pid)
    return readable(b"".join(parts)), first, silence


def readable(data: bytes) -> str:
    """Return what a terminal leaves to read: no controls, and of a line written over the last text."""
    lines = CONTROL.sub("", data.decode(errors="replace").replace("\r\n", "\n")).split("\n")
    texts = ([part.rstrip() for part in line.split("\r") if part.strip()] for line in lines)
    return "\n".join(parts[-1] if parts else "" for parts in texts).strip()


def _read(master: int) -> bytes:
    select.select([master], [], [])
    try:
        return os.read(master, 65536)
    except OSError as error:  # so Linux says that the last process closed the terminal
        if error.errno == errno.EIO:
            return b""
        raise


def cpu_of_tree(pid: int) -> float:
    """Return the CPU seconds of a process, of those it started, and of those of these that ended."""
    stats = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it ended in between
            continue
        stats[int(path.parent.name)] = (int(fields[1]), sum(map(int, fields[11:15])))
    tree = {pid}
    for child in sorted(stats):  # children are younger than their parents
        if stats[child][0] in tree:
            tree.add(child)
    return sum(stats[one][1] for one in tree if one in stats) / os.sysconf("SC_CLK_TCK")


def walk(lines: Sequence[str], work: Path, environment: dict[str, str]) -> Iterator[Measured]:
    """Run the commands one after the other in `work`, also behind one that failed."""
    state = work / "state.sh"
    for line in lines:
        yield run(line, work, environment, state)


def table(found: Sequence[Measured]) -> str:
    """Write the times of the commands, and their sum, as lines of a table."""
    head = f"{'command':<44} {'code':>4} {'seconds':>8} {'CPU s':>8} {'first':>6} {'pause':>6}"
    rows = [
        f"{_short(one.command):<44} {one.code:>4} {one.seconds:>8.1f} {one.cpu:>8.1f} "
        f"{one.first_output:>6.2f} {one.silence:>6.1f}"
        for one in found
    ]
    total = (
        f"{'all':<44} {'':>4} {sum(one.seconds for one in found):>8.1f} {sum(one.cpu for one in found):>8.1f}"
    )
    return "\n".join([head, *rows, total])


def _short(command: str) -> str:
    return command if len(command) <= 44 else command[:43] + "…"


def missing(work: Path, found: Sequence[Measured]) -> list[str]:
    """List what does not stand at the end of the path."""
    bundle = work / "runs" / "mine" / "bundle" / "manifest.json"
    faults = []
    if not bundle.is_file():
        faults.append(f"no bundle: {bundle} is missing")
    elif not any(one["variant"] == "tflite-int8" for one in json.loads(bundle.read_text())["artifacts"]):
        faults.append(f"{bundle} lists no tflite-int8")
    if not any("self-test passed" in one.output for one in found if "--self-test" in one.command):
        faults.append("the self-test of the Raspberry Pi project did not pass")
    return faults


def prepare(asked: argparse.Namespace, work: Path) -> dict[str, str]:
    """Lay out photos and a home of its own in `work`; gives the environment of the commands."""
    work.mkdir(parents=True)
    subset(asked.photos, work / "photos", asked.labels, asked.each, asked.seed)
    shutil.copy2(min((work / "photos").rglob("*.*")), work / "photo.jpg")
    return newcomer.surroundings(work / "home", asked.keras_home)


@contextmanager
def older(commit: str) -> Iterator[Path]:
    """Check out a commit beside this one, for a while."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "before"
        git = ["git", "-C", str(newcomer.ROOT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(folder), commit], check=True)
        try:
            yield folder
        finally:
            subprocess.run([*git, "remove", "--force", str(folder)], check=True)


def to_bundle(asked: argparse.Namespace, work: Path, code: Path) -> list[Measured]:
    """Walk from `init` to a bundle with the tledge that lies in `code`.

    Where `export` wrote no bundle, the command that does is typed too.
    """
    environment = {**prepare(asked, work), "PYTHONPATH": str(code)}
    lines = commands(Path(sys.prefix), full=True)
    ends = next(place for place, line in enumerate(lines) if line.startswith("tledge export "))
    found = list(walk(lines[: ends + 1], work, environment))
    if not (work / "runs" / "mine" / "bundle").exists():
        found += walk([lines[0], "tledge bundle runs/mine"], work, environment)
    return [one for one in found if one.command.startswith("tledge ")]


def compare(asked: argparse.Namespace, work: Path) -> int:
    """Walk with the older code and with this one, and print both and the ratio; gives the exit code."""
    with older(asked.before) as code:
        before = to_bundle(asked, work / "before", code)
    after = to_bundle(asked, work / "after", newcomer.ROOT)
    print(f"\n{asked.before}:\n{table(before)}\n\nthis code:\n{table(after)}\n")
    seconds, cpu = (
        sum(getattr(one, name) for one in after) / sum(getattr(one, name) for one in before)
        for name in ("seconds", "cpu")
    )
    print(
        f"init to bundle, this code / {asked.before}: {seconds:.2f} of the seconds, {cpu:.2f} of the CPU time"
    )
    return int(not (work / "after" / "runs" / "mine" / "bundle" / "manifest.json").is_file())


def first_hour(asked: argparse.Namespace, work: Path) -> int:
    """Take the whole path, print times and faults; gives the exit code."""
    found = []
    environment = prepare(asked, work)
    for one in walk(commands(Path(sys.prefix), asked.full), work, environment):
        print(f"$ {one.command}\n{one.output}\n", flush=True)
        found.append(one)
    faults = [*filter(None, (one.fault for one in found)), *missing(work, found)]
    print(table(found), *(f"FAULT {fault}" for fault in faults), sep="\n")
    return int(bool(faults))


def main() -> int:
    """Take the path with the arguments of the command line; gives the exit code."""
    parser = argparse.ArgumentParser(description="Walk the tutorial with a few photos, timed and checked.")
    parser.add_argument("photos", type=Path, help="a folder for each label, or train/ with such folders")
    parser.add_argument("--keras-home", type=Path, help="offline: a folder with Keras' models/")
    parser.add_argument("--work", type=Path, help="new folder to work in; else one that is removed")
    parser.add_argument("--labels", type=int, default=3)
    parser.add_argument("--each", type=int, default=60, help="photos of each label")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--full", action="store_true", help="the whole training, not the page's short one")
    parser.add_argument("--before", metavar="COMMIT", help="compare init to bundle with the code of COMMIT")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = (asked.work or Path(scratch)).resolve()
        return (compare if asked.before else first_hour)(asked, work / "tledge")


if __name__ == "__main__":
    sys.exit(main())

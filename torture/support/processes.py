"""Run tledge as users start it: in a process of its own, with its end, output, time and memory measured."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from torture.support.observation import CannotRun

TLEDGE = (sys.executable, "-m", "tledge")


def python_module(name: str, *arguments: object) -> list[object]:
    """Build the command that runs a module of this checkout; the workspace's environment finds it."""
    return [sys.executable, "-m", name, *arguments]


ORPHAN_SECONDS = 5.0
"""Seconds that processes have to end after the one that started them."""

TRACEBACK = "Traceback (most recent call last)"
CRASHES = {-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS, -signal.SIGFPE, -signal.SIGILL}


@dataclass(frozen=True)
class ProcessResult:
    """How a process ended: its exit code, negative after a signal.

    `peak` is the largest resident set of it or a child in MiB, `own` without pages of files, which
    the system takes back when it wants them (the process alone, looked at 20 times a second). `at` is
    when, by the clock; `orphans` went on without it for longer than they may.
    """

    code: int
    out: str
    err: str
    seconds: float
    peak: float
    hung: bool = False
    at: float = 0.0
    orphans: int = 0
    own: float = 0.0

    @property
    def crashed(self) -> bool:
        """Check whether it ended in native code, or with an error that nobody caught."""
        return self.code in CRASHES or TRACEBACK in self.err or TRACEBACK in self.out

    @property
    def tail(self) -> str:
        """Return exit code and last line, to name it by."""
        lines = (self.err.strip() or self.out.strip()).splitlines()
        return f"exit {self.code}: {lines[-1] if lines else 'no output'}"


def run(
    command: Sequence[object],
    env: Mapping[str, str],
    cwd: Path | None = None,
    *,
    timeout: float = 300,
    memory: int | None = None,
    kill_after: float | None = None,
    with_signal: int = signal.SIGKILL,
    is_root: bool = True,
    leader: bool = False,
) -> ProcessResult:
    """Run a command to its end, at most `timeout` seconds; then its whole process group is killed.

    `memory` limits the address space, in MiB. After `kill_after` seconds its process group gets
    `with_signal`, or with `leader` it alone; then those that it started have `ORPHAN_SECONDS` seconds to end.
    Without `is_root` the modes of files hold for it as for everyone, also where root runs this.
    """
    if not is_root and os.geteuid() == 0:
        command = [*unprivileged(), *command]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.monotonic()
        child = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd=cwd,
            env=dict(env),
            start_new_session=True,
        )
        if memory is not None:
            resource.prlimit(child.pid, resource.RLIMIT_AS, (memory << 20, memory << 20))
        hung = threading.Event()
        timers = [threading.Timer(timeout, lambda: (hung.set(), send_signal(child.pid, signal.SIGKILL)))]
        if kill_after is not None:
            timers.append(threading.Timer(kill_after, send_signal, (child.pid, with_signal, leader)))
        for timer in timers:
            timer.start()
        try:
            status, usage, own, high = _wait(child.pid)
        except BaseException:  # Ctrl-C: nobody goes on in a folder that is about to be removed
            send_signal(child.pid, signal.SIGKILL)
            child.wait()
            raise
        finally:
            for timer in timers:
                timer.cancel()
        child.returncode = os.waitstatus_to_exitcode(status)
        seconds, at = time.monotonic() - began, time.time()
        orphans = surviving_processes(child.pid) if kill_after is not None else []
        send_signal(child.pid, signal.SIGKILL)  # whoever it left behind
        texts, peak = (_text(out), _text(err)), _peak(usage, high)
        return ProcessResult(child.returncode, *texts, seconds, peak, hung.is_set(), at, len(orphans), own)


def unprivileged() -> list[str]:
    """Return what to put before a command of root, so that it writes only where modes allow it."""
    if shutil.which("setpriv") is None:
        raise CannotRun("root writes everywhere: install setpriv (util-linux), or run as another user")
    return ["setpriv", "--bounding-set=-dac_override", "--"]


OTHER_USER = 65534
"""A user ID that owns nothing here: that of `nobody`."""


def other_user() -> list[str]:
    """Return what to put before a command of root, so that another user runs it.

    That user may read everything, because this checkout may lie where only root may; it writes only
    where modes allow it.
    """
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        raise CannotRun("another user is needed: run as root, with setpriv (util-linux)")
    identity = [f"--reuid={OTHER_USER}", f"--regid={OTHER_USER}", "--clear-groups"]
    reads = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    return ["setpriv", *identity, *reads, "--"]


def surviving_processes(group: int) -> list[int]:
    """List processes of a group that are still there `ORPHAN_SECONDS` from now."""
    until = time.monotonic() + ORPHAN_SECONDS
    while (remaining := group_members(group)) and time.monotonic() < until:
        time.sleep(0.02)
    return remaining


def group_members(group: int) -> list[int]:
    """List processes of a group that have not ended."""
    processes = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _parent, of = path.read_text().rpartition(")")[2].split()[:3]
            if int(of) == group and state != "Z":
                processes.append(int(path.parent.name))
    return processes


def send_signal(group: int, with_signal: int, leader: bool = False) -> None:
    """Send a signal to a process group, or to its `leader` alone, which may have ended."""
    try:
        (os.kill if leader else os.killpg)(group, with_signal)
    except ProcessLookupError:
        return


def _wait(pid: int) -> tuple[int, resource.struct_rusage, float, float]:
    """Wait for a process; return its status, what it used, and the peaks of its own and of all its memory."""
    own = high = 0.0
    while True:
        result, status, usage = os.wait4(pid, os.WNOHANG)
        if result:
            return status, usage, own, high
        own, high = max(own, own_memory(pid)), max(high, _status_figure(pid, "VmHWM"))
        time.sleep(0.05)


def _peak(usage: resource.struct_rusage, watched_peak: float) -> float:
    """Compute the MiB that a process and those it waited for took at their peak.

    Linux counts in what this process itself once held, whose memory the other shared until it began its
    program. Where that is more, only what was `seen` of the process itself is known.
    """
    own_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return usage.ru_maxrss / 1024 if usage.ru_maxrss > own_peak else watched_peak


def own_memory(pid: int | str) -> float:
    """Read the MiB of resident memory that no file backs; 0 where the process is gone."""
    return _status_figure(pid, "RssAnon")


def _status_figure(pid: int | str, name: str) -> float:
    """Read one of the kernel's figures about a process' memory, in MiB; 0 where the process is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(name)), 0.0)


def _text(file) -> str:  # type: ignore[no-untyped-def]
    file.seek(0)
    return str(file.read().decode("utf-8", errors="replace"))
